//! W3C Trace Context Level 2: what one hop makes of the headers it gets.
//!
//! The cases are those the W3C test suite asks of a service, said in our own words and on a header map.
//! Each row: headers in, then what must come out.

mod support;

use http::header::HeaderMap;
use propagation::{
    MAX_TRACESTATE_MEMBERS, Propagator, SpanContext, SpanId, TraceFlags, TraceState, TraceStateError,
    parse_traceparent,
};
use support::{CountedIds, PARENT, TRACE, extract, headers, hop, reasons, values};

const VALID: &str = "00-12345678901234567890123456789012-1234567890123456-00";

/// The one `traceparent` of these headers, which must be a valid version 00.
fn traceparent(carrier: &HeaderMap) -> (String, String, TraceFlags) {
    let all = values(carrier, "traceparent");
    let [value] = all.as_slice() else {
        panic!("one `traceparent` expected, not {all:?}")
    };
    assert!(
        value.starts_with("00-") && value.len() == 55,
        "`{value}` is not version 00"
    );
    let (trace_id, span_id, flags) = parse_traceparent(value.as_bytes()).expect("a valid `traceparent`");
    (trace_id.to_string(), span_id.to_string(), flags)
}

#[track_caller]
fn continues(value: &str) {
    let (trace_id, span_id, _) = traceparent(&hop(&[("traceparent", value)]));
    assert_eq!(trace_id, TRACE, "`{value}` must be continued");
    assert_ne!(span_id, PARENT, "`{value}` must get a new parent id");
}

#[track_caller]
fn restarts(value: &str, reason: &str) {
    let (trace_id, _, flags) = traceparent(&hop(&[("traceparent", value)]));
    assert!(
        trace_id.starts_with("ee"),
        "`{value}` must start a new trace, not {trace_id}"
    );
    assert!(flags.is_random(), "a new trace must say that its id is random");
    assert_eq!(
        reasons(&extract(&[("traceparent", value)])),
        [reason],
        "reason for `{value}`"
    );
}

/// `states` beside a valid `traceparent`; `sent` is the one `tracestate` that must come out, if any.
#[track_caller]
fn tracestate(states: &[&str], sent: Option<&str>, expected_reasons: &[&str]) {
    let mut lines = vec![("traceparent", VALID)];
    lines.extend(states.iter().map(|state| ("tracestate", *state)));
    let out = hop(&lines);
    assert_eq!(
        traceparent(&out).0,
        TRACE,
        "no `tracestate` may spoil `traceparent`: {states:?}"
    );
    assert_eq!(
        values(&out, "tracestate"),
        sent.into_iter().collect::<Vec<_>>(),
        "for {states:?}"
    );
    assert_eq!(
        reasons(&extract(&lines)),
        expected_reasons,
        "reasons for {states:?}"
    );
}

#[test]
fn a_request_without_context_starts_a_trace_with_a_random_id_and_no_tracestate() {
    let out = hop(&[]);
    let (trace_id, _, flags) = traceparent(&out);
    assert!(trace_id.starts_with("ee"));
    assert_eq!(flags.bits(), 0b11);
    assert!(values(&out, "tracestate").is_empty());
}

#[test]
fn a_valid_traceparent_is_continued_with_a_new_parent_id() {
    continues("00-12345678901234567890123456789012-1234567890123456-01");
}

#[test]
fn two_traceparents_start_a_new_trace() {
    let other = "00-12345678901234567890123456789011-1234567890123456-01";
    for lines in [
        [("traceparent", VALID), ("traceparent", other)],
        [("traceparent", VALID); 2],
    ] {
        assert!(traceparent(&hop(&lines)).0.starts_with("ee"));
        assert_eq!(reasons(&extract(&lines)), ["traceparent_duplicated"]);
    }
}

#[test]
fn a_traceparent_merged_from_two_starts_a_new_trace() {
    restarts(&format!("{VALID},{VALID}"), "traceparent_malformed");
}

#[test]
fn header_names_match_in_any_case_and_only_as_spelled() {
    for (name, found) in [
        ("traceparent", true),
        ("TraceParent", true),
        ("TrAcEpArEnT", true),
        ("TRACEPARENT", true),
        ("trace-parent", false),
        ("trace.parent", false),
    ] {
        assert_eq!(traceparent(&hop(&[(name, VALID)])).0 == TRACE, found, "`{name}`");
        let record = Propagator::default().extract(&support::records(&[(name, VALID)]));
        assert_eq!(record.context.is_some(), found, "`{name}` in queue metadata");
    }
    for (name, found) in [
        ("TraceState", true),
        ("TrAcEsTaTe", true),
        ("TRACESTATE", true),
        ("trace-state", false),
        ("trace.state", false),
    ] {
        let out = hop(&[("traceparent", VALID), (name, "foo=1")]);
        assert_eq!(values(&out, "tracestate") == ["foo=1"], found, "`{name}`");
    }
}

#[test]
fn version_00_ends_after_its_flags() {
    restarts(&format!("{VALID}."), "traceparent_malformed");
    restarts(&format!("{VALID}-"), "traceparent_malformed");
    restarts(
        &format!("{VALID}-what-the-future-will-be-like"),
        "traceparent_malformed",
    );
}

#[test]
fn a_later_version_is_read_as_00_and_sent_as_00() {
    let later = "cc-12345678901234567890123456789012-1234567890123456-01";
    continues(later);
    continues(&format!("{later}-what-the-future-will-be-like"));
    continues(&format!("{later}-"));
    restarts(
        &format!("{later}.what-the-future-will-be-like"),
        "traceparent_malformed",
    );
    restarts(&later[..54], "traceparent_malformed");
}

#[test]
fn a_malformed_field_starts_a_new_trace() {
    for value in [
        // version
        "ff-12345678901234567890123456789012-1234567890123456-01",
        ".0-12345678901234567890123456789012-1234567890123456-01",
        "0.-12345678901234567890123456789012-1234567890123456-01",
        "CC-12345678901234567890123456789012-1234567890123456-01",
        "000-12345678901234567890123456789012-1234567890123456-01",
        "0000-12345678901234567890123456789012-1234567890123456-01",
        "0-12345678901234567890123456789012-1234567890123456-01",
        "00_12345678901234567890123456789012-1234567890123456-01",
        // trace id
        "00-00000000000000000000000000000000-1234567890123456-01",
        "00-.2345678901234567890123456789012-1234567890123456-01",
        "00-1234567890123456789012345678901.-1234567890123456-01",
        "00-1234567890123456789012345678901A-1234567890123456-01",
        "00-123456789012345678901234567890123-1234567890123456-01",
        "00-1234567890123456789012345678901-1234567890123456-01",
        "00-1234567890123456789012345678901-12345678901234567-01",
        // parent id
        "00-12345678901234567890123456789012-0000000000000000-01",
        "00-12345678901234567890123456789012-.234567890123456-01",
        "00-12345678901234567890123456789012-123456789012345.-01",
        "00-12345678901234567890123456789012-123456789012345F-01",
        "00-12345678901234567890123456789012-12345678901234567-01",
        "00-12345678901234567890123456789012-123456789012345-01",
        // flags
        "00-12345678901234567890123456789012-1234567890123456-.0",
        "00-12345678901234567890123456789012-1234567890123456-0.",
        "00-12345678901234567890123456789012-1234567890123456-0A",
        "00-12345678901234567890123456789012-1234567890123456-001",
        "00-12345678901234567890123456789012-1234567890123456-1",
        // nothing at all
        "",
        "-",
        "------------------------------------------------------------",
    ] {
        restarts(value, "traceparent_malformed");
    }
}

#[test]
fn whitespace_around_a_traceparent_is_ignored() {
    for value in [
        format!(" {VALID}"),
        format!("\t{VALID}"),
        format!("{VALID} "),
        format!("{VALID}\t"),
        format!("\t {VALID} \t"),
    ] {
        continues(&value);
    }
}

#[test]
fn continuing_keeps_sampled_and_random_and_clears_every_other_flag() {
    for (flags, kept) in [
        ("00", 0),
        ("01", 1),
        ("02", 2),
        ("03", 3),
        ("04", 0),
        ("fe", 2),
        ("ff", 3),
    ] {
        let value = format!("00-{TRACE}-{PARENT}-{flags}");
        assert_eq!(
            traceparent(&hop(&[("traceparent", &value)])).2.bits(),
            kept,
            "`{value}`"
        );
    }
}

#[test]
fn a_tracestate_without_a_valid_traceparent_is_discarded() {
    for lines in [
        vec![("tracestate", "foo=1,bar=2")],
        vec![("traceparent", "garbage"), ("tracestate", "foo=1")],
        vec![
            ("traceparent", VALID),
            ("traceparent", VALID),
            ("tracestate", "foo=1"),
        ],
    ] {
        assert!(values(&hop(&lines), "tracestate").is_empty(), "{lines:?}");
        assert_eq!(
            reasons(&extract(&lines)).last(),
            Some(&"tracestate_without_traceparent"),
            "{lines:?}"
        );
    }
}

#[test]
fn a_tracestate_is_sent_on_as_it_came() {
    let everything_legal = concat!(
        "abcdefghijklmnopqrstuvwxyz0123456789_-*/@a-z0-9_-*/= !\"#$%&'()*+-./0123456789:;<>?@",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"
    );
    let tenant = format!("{}@{}=1", "t".repeat(241), "v".repeat(14));
    let longest = format!("{}={}", "z".repeat(256), "v".repeat(256));
    for state in [
        "foo=1,bar=2",
        "foo=1, bar=2",
        "foo=1 \t , \t bar=2, \t baz=3",
        "foo=1\t \t,\t \tbar=2,\t \tbaz=3",
        "0foo=1",
        "tenant@system=1",
        "foo@=1,foo@bar@baz=1",
        everything_legal,
        &tenant,
        &longest,
    ] {
        tracestate(&[state], Some(state), &[]);
    }
}

#[test]
fn whitespace_around_a_whole_tracestate_is_dropped_and_in_front_of_a_value_it_counts() {
    for state in [" foo=1", "\tfoo=1", "foo=1 ", "foo=1\t", "\t foo=1 \t"] {
        tracestate(&[state], Some("foo=1"), &[]);
    }
    let state = TraceState::parse(b" foo=  1 ,bar=2 ").expect("legal");
    assert_eq!(
        state.members().collect::<Vec<_>>(),
        [("foo", "  1"), ("bar", "2")]
    );
}

#[test]
fn several_tracestates_are_one_list_in_their_order() {
    let sent = Some("foo=1,bar=2,rojo=1,congo=2,baz=3");
    tracestate(&["foo=1,bar=2", "rojo=1,congo=2", "baz=3"], sent, &[]);
}

#[test]
fn empty_members_are_legal_and_not_sent_on() {
    tracestate(&[""], None, &[]);
    tracestate(&[" , \t,"], None, &[]);
    tracestate(&["foo=1", ""], Some("foo=1"), &[]);
    tracestate(&["", "foo=1"], Some("foo=1"), &[]);
    tracestate(&["foo=1", "", "bar=2"], Some("foo=1,bar=2"), &[]);
    tracestate(&["foo=1,,  ,bar=2,"], Some("foo=1,bar=2"), &[]);
}

#[test]
fn a_duplicated_key_is_kept_as_it_came_and_counted() {
    let reasons = ["tracestate_key_duplicated"];
    tracestate(&["foo=1,foo=1"], Some("foo=1,foo=1"), &reasons);
    tracestate(&["foo=1,foo=2"], Some("foo=1,foo=2"), &reasons);
    tracestate(&["foo=1", "foo=1"], Some("foo=1,foo=1"), &reasons);
    tracestate(&["foo=1", "foo=2"], Some("foo=1,foo=2"), &reasons);
}

#[test]
fn one_malformed_member_drops_the_whole_tracestate() {
    for state in [
        "foo =1",
        "FOO=1",
        "foo.bar=1",
        "@foo=1,bar=2",
        "_foo=1",
        "=1",
        "foo",
        "foo=bar=baz",
        "foo=,bar=3",
        "foo= ,bar=3",
        "foo=\u{e9}",
        "f\u{f6}o=1",
        "bar=2,foo=a\tb",
    ] {
        tracestate(&[state], None, &["tracestate_malformed"]);
    }
}

#[test]
fn an_oversized_key_or_value_drops_the_whole_tracestate() {
    let key = format!("{}=1", "z".repeat(257));
    let tenant = format!("{}@v=1", "t".repeat(255));
    let value = format!("z={}", "v".repeat(257));
    tracestate(&["foo=1", &key], None, &["tracestate_key_too_long"]);
    tracestate(&["foo=1", &tenant], None, &["tracestate_key_too_long"]);
    tracestate(&["foo=1", &value], None, &["tracestate_value_too_long"]);
}

#[test]
fn a_tracestate_of_32_members_is_kept_and_one_of_33_dropped() {
    let members = |count: usize| {
        (1..=count)
            .map(|n| format!("bar{n:02}={n:02}"))
            .collect::<Vec<_>>()
    };
    let full = members(32);
    let split = [full[..10].join(","), full[10..20].join(","), full[20..].join(",")];
    tracestate(&split.each_ref().map(String::as_str), Some(&full.join(",")), &[]);
    let over = members(33);
    let split = [over[..10].join(","), over[10..].join(",")];
    tracestate(
        &split.each_ref().map(String::as_str),
        None,
        &["tracestate_too_many_members"],
    );
}

#[test]
fn three_calls_of_one_request_share_its_trace_and_have_three_parent_ids() {
    let mut ids = CountedIds::default();
    for lines in [
        vec![("traceparent", VALID)],
        vec![],
        vec![("traceparent", "00-0-0-00")],
    ] {
        let server = extract(&lines).continue_or_start(&mut ids, true);
        let calls = [(); 3].map(|()| server.child(SpanId::generate(&mut ids)));
        assert!(calls.iter().all(|call| call.trace_id == server.trace_id));
        assert!(calls[0].span_id != calls[1].span_id && calls[1].span_id != calls[2].span_id);
    }
}

#[test]
fn injecting_replaces_all_old_values_and_leaves_other_headers_alone() {
    let mut carrier = headers(&[
        ("traceparent", VALID),
        ("traceparent", VALID),
        ("tracestate", "foo=1"),
        ("tracestate", "bar=1"),
        ("baggage", "user=alice"),
        ("cookie", "a"),
        ("cookie", "b"),
    ]);
    let propagator = Propagator::default();
    let context = SpanContext::start(&mut CountedIds::default(), false);
    let correlation = propagation::CorrelationId::from_trace_id(context.trace_id);
    propagator
        .inject(&mut carrier, &context, &correlation, None)
        .expect("room");
    assert_eq!(traceparent(&carrier).0, context.trace_id.to_string());
    assert!(
        values(&carrier, "tracestate").is_empty(),
        "a new trace has no `tracestate`"
    );
    assert_eq!(values(&carrier, "baggage"), ["user=alice"]);
    assert_eq!(values(&carrier, "cookie"), ["a", "b"]);
}

#[test]
fn setting_a_member_moves_it_to_the_left_and_keeps_the_order_of_the_others() {
    let mut state = TraceState::parse(b"foo=1, tm=old,bar=2,tm=older").expect("legal");
    assert_eq!(state.set("tm", "new"), Ok(0));
    assert_eq!(state.as_str(), "tm=new,foo=1,bar=2");
    assert!(state.remove("tm") && !state.remove("tm"));
    assert_eq!(state.as_str(), "foo=1,bar=2");
}

#[test]
fn setting_a_33rd_member_drops_the_right_most_and_says_so() {
    let full = (1..=32).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
    let mut state = TraceState::parse(full.as_bytes()).expect("legal");
    assert_eq!(state.set("tm", "x"), Ok(1));
    assert_eq!(
        (state.len(), state.get("k31"), state.get("k32")),
        (MAX_TRACESTATE_MEMBERS, Some("v"), None)
    );
    assert_eq!(
        state.set("tm", "y"),
        Ok(0),
        "replacing our own costs nobody a place"
    );
}

#[test]
fn a_member_that_breaks_the_grammar_is_not_set() {
    let mut state = TraceState::parse(b"foo=1").expect("legal");
    for (key, value, error) in [
        ("Tm", "1", TraceStateError::Key),
        ("", "1", TraceStateError::Key),
        ("tm", "", TraceStateError::Value),
        ("tm", "a,b=c", TraceStateError::Value),
        ("tm", "a ", TraceStateError::Value),
    ] {
        assert_eq!(state.set(key, value), Err(error), "{key}={value}");
    }
    assert_eq!(state.as_str(), "foo=1");
}

#[test]
fn cutting_a_tracestate_takes_long_members_first_and_then_the_last() {
    let long = format!("long={}", "x".repeat(124));
    let text = format!("a=1,{long},b=2,c=3");
    let cut = |max_len| {
        let mut state = TraceState::parse(text.as_bytes()).expect("legal");
        (state.truncate(max_len), state.to_string())
    };
    assert_eq!(cut(text.len()), (0, text.clone()));
    assert_eq!(cut(text.len() - 1), (1, "a=1,b=2,c=3".to_owned()));
    assert_eq!(cut(10), (2, "a=1,b=2".to_owned()));
    assert_eq!(cut(0), (4, String::new()));
}
