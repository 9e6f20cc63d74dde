//! W3C Baggage: what is read from the header, what is left out, and that it is sent on as it came.

use propagation::{Baggage, BaggageLoss, MAX_BAGGAGE_BYTES, MAX_BAGGAGE_MEMBERS};

fn read(text: &str) -> (Baggage, Vec<BaggageLoss>) {
    let mut lost = Vec::new();
    let baggage = Baggage::parse(text.as_bytes(), &mut |loss| lost.push(loss));
    (baggage, lost)
}

/// Each member as `key=decoded value`, then `;property` and `;property=value`.
fn shown(text: &str) -> Vec<String> {
    let (baggage, lost) = read(text);
    assert_eq!(lost, [], "`{text}`");
    let show = |member: &propagation::BaggageMember| {
        let properties = member.properties().map(|property| match property.value {
            None => format!(";{}", property.key),
            Some(value) => format!(";{}={value}", property.key),
        });
        format!(
            "{}={}{}",
            member.key(),
            member.value(),
            properties.collect::<String>()
        )
    };
    baggage.members().iter().map(show).collect()
}

#[test]
fn members_and_properties_are_read_whatever_the_whitespace_between_them() {
    for (text, expected) in [
        ("SomeKey=SomeValue", vec!["SomeKey=SomeValue"]),
        ("a=1;p,b=2;q=r", vec!["a=1;p", "b=2;q=r"]),
        (
            "a \t = \t 1 \t ; \t p \t , \t b = 2 ; q \t = \t r;s",
            vec!["a=1;p", "b=2;q=r;s"],
        ),
        ("a=1=2", vec!["a=1=2"]),
        ("a=", vec!["a="]),
        ("a=1;p=;q", vec!["a=1;p=;q"]),
        (
            "userId =   alice,,isProduction = false,",
            vec!["userId=alice", "isProduction=false"],
        ),
        ("a=1,b=2,a=3", vec!["a=1", "b=2", "a=3"]),
        ("", vec![]),
    ] {
        assert_eq!(shown(text), expected, "`{text}`");
    }
}

#[test]
fn values_are_percent_decoded_on_reading_and_only_there() {
    for (text, value) in [
        ("k=DF%2028", "DF 28"),
        (
            "k=%09%20%22%27%3B%3Dasdf%21%40%23%24%25%5E%26%2A%28%29",
            "\t \"';=asdf!@#$%^&*()",
        ),
        ("k=%c3%A9", "\u{e9}"),
        ("k=1+1", "1+1"),
        ("k=100%", "100%"),
        ("k=%4", "%4"),
        ("k=%zz%41", "%zzA"),
        ("k=%+1", "%+1"),
        ("k=%ff", "\u{fffd}"),
    ] {
        let (baggage, lost) = read(text);
        assert_eq!(
            (baggage.get("k").as_deref(), lost),
            (Some(value), vec![]),
            "`{text}`"
        );
        assert_eq!(baggage.to_string(), text);
    }
}

#[test]
fn a_malformed_member_is_left_out_and_its_neighbours_are_kept() {
    for member in [
        "noequals", "=1", "b c=1", "b(=1", "b=a b", "b=\"x\"", "b=a\\b", "b=\u{e9}", "b=1;", "b=1;;p",
        "b=1;=x", "b=1;p q", ";p",
    ] {
        let (baggage, lost) = read(&format!("a=1,{member},c=3"));
        assert_eq!(baggage.to_string(), "a=1,c=3", "`{member}`");
        assert_eq!(lost, [BaggageLoss::Malformed], "`{member}`");
    }
}

#[test]
fn the_65th_member_is_left_out() {
    let text = (0..=MAX_BAGGAGE_MEMBERS)
        .map(|n| format!("k{n}=v"))
        .collect::<Vec<_>>()
        .join(",");
    let (baggage, lost) = read(&text);
    assert_eq!((baggage.members().len(), baggage.get("k64")), (64, None));
    assert_eq!(lost, [BaggageLoss::TooManyMembers]);
}

#[test]
fn a_member_beyond_8192_bytes_is_left_out_whole_and_a_shorter_one_may_follow() {
    let first = format!("a={}", "0".repeat(MAX_BAGGAGE_BYTES - 10));
    let (baggage, lost) = read(&format!("{first},b=12345,c=123,d=1"));
    assert_eq!(
        baggage.to_string(),
        format!("{first},b=12345"),
        "exactly 8192 bytes"
    );
    assert_eq!(baggage.to_string().len(), MAX_BAGGAGE_BYTES);
    assert_eq!(lost, [BaggageLoss::TooLong; 2]);
    let (baggage, lost) = read(&format!("{first}0,b=12345,c=1"));
    assert_eq!(baggage.to_string(), format!("{first}0,c=1"));
    assert_eq!(lost, [BaggageLoss::TooLong]);
}
