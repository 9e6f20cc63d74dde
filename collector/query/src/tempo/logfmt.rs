//! `key=value` pairs, as Tempo's search before `TraceQL` takes its tags.
//!
//! In: `service.name=cart http.url="/a b"`. Out: keys and values.
//! Left out on purpose: keys without a value, which ask for nothing.
//!
//! Source: <https://brandur.org/logfmt>.

use crate::api::Failure;

/// The pairs of `text`, in their order.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, Failure> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace());
        let (key, behind) = rest
            .split_at_checked(end.unwrap_or(rest.len()))
            .unwrap_or((rest, ""));
        let (Some(behind), false) = (behind.strip_prefix('='), key.is_empty()) else {
            let shown: String = rest.chars().take(40).collect();
            return Err(wrong(&format!("`{shown}` must be `key=value`")));
        };
        let (value, behind) = value(behind)?;
        pairs.push((key.to_owned(), value));
        rest = behind.trim_start();
    }
    Ok(pairs)
}

/// The value that `text` begins with, and what follows it.
fn value(text: &str) -> Result<(String, &str), Failure> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (value, rest) = text.split_at_checked(end).unwrap_or((text, ""));
        return Ok((value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => return Ok((value, characters.as_str())),
            '\\' => match characters.next() {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some(escaped) => value.push(escaped),
                None => break,
            },
            plain => value.push(plain),
        }
    }
    Err(wrong("a quoted value has no end, write `\"` behind it"))
}

fn wrong(what: &str) -> Failure {
    Failure::BadRequest(format!("parameter `tags`: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_quoted_values_are_read() {
        let read = pairs(r#" service.name=cart  http.url="/a \"b\"" empty= x=1"#).expect("logfmt");
        let read: Vec<_> = read
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        let expected = [
            ("service.name", "cart"),
            ("http.url", r#"/a "b""#),
            ("empty", ""),
            ("x", "1"),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn what_is_no_pair_is_refused() {
        for text in ["cart", "=cart", "a=1 b", r#"a="x"#, r#"a="x\"#] {
            assert!(pairs(text).is_err(), "{text}");
        }
    }
}
