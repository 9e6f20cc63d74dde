//! Grafana's variables in a query, as Prometheus has to get it.
//!
//! In: a query of a panel. Out: the query with intervals filled in, and with every choice of a viewer open.
//! Left out on purpose: formats of variables such as `${x:csv}`; a matcher with any variable in it matches all.
//! Source: Grafana documentation, "Global variables", "Variable syntax".

use std::time::Duration;

/// Replaces `$__rate_interval` and its like, and lets matchers on other variables match all.
pub(super) fn filled_in(query: &str, step: Duration, range: Duration) -> String {
    let mut filled = open(query);
    let (step_seconds, range_seconds) = (step.as_secs(), range.as_secs());
    let known = [
        ("rate_interval_ms", format!("{}", step.as_millis())),
        ("rate_interval", format!("{step_seconds}s")),
        ("interval_ms", format!("{}", step.as_millis())),
        ("interval", format!("{step_seconds}s")),
        ("range_ms", format!("{}", range.as_millis())),
        ("range_s", format!("{range_seconds}")),
        ("range", format!("{range_seconds}s")),
    ];
    // Longer names come before those that they begin with.
    for (name, value) in known {
        filled = filled
            .replace(&format!("${{__{name}}}"), &value)
            .replace(&format!("$__{name}"), &value);
    }
    filled
}

/// Matchers whose value names a variable become `=~".*"`.
fn open(query: &str) -> String {
    let mut out = String::with_capacity(query.len());
    let mut rest = query;
    while let Some(begin) = rest.find(['"', '\'', '`']) {
        let end = string_end(&rest[begin..]).map_or(rest.len(), |length| begin + length);
        let (before, literal) = (&rest[..begin], &rest[begin..end]);
        let operator = ["=~", "!~", "!=", "="]
            .into_iter()
            .find(|operator| before.trim_end().ends_with(operator));
        if let Some(operator) = operator.filter(|_| names_a_variable(literal)) {
            let before = before.trim_end();
            out.push_str(&before[..before.len() - operator.len()]);
            out.push_str("=~\".*\"");
        } else {
            out.push_str(before);
            out.push_str(literal);
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// The length of the string literal that `text` begins with, quotes included.
fn string_end(text: &str) -> Option<usize> {
    let quote = text.chars().next()?;
    let mut escaped = false;
    for (index, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            c if c == quote => return Some(index + c.len_utf8()),
            _ => {}
        }
    }
    None
}

/// `$name`, `${name}` or `[[name]]`; `$1` is a group of a regular expression, and `$` at its end an anchor.
fn names_a_variable(literal: &str) -> bool {
    let after = |c: char| c.is_ascii_alphabetic() || c == '_' || c == '{';
    let dollar = literal
        .match_indices('$')
        .any(|(index, _)| literal[index + 1..].starts_with(after));
    dollar || literal.contains("[[") && !literal.contains("[[:")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(query: &str) -> String {
        filled_in(query, Duration::from_mins(5), Duration::from_hours(1))
    }

    #[test]
    fn intervals_are_filled_in_whole() {
        assert_eq!(
            filled("rate(a[$__rate_interval]) + $__range_s"),
            "rate(a[300s]) + 3600"
        );
        assert_eq!(
            filled("increase(a[${__range}]) / $__interval_ms"),
            "increase(a[3600s]) / 300000"
        );
    }

    #[test]
    fn what_a_viewer_picks_is_left_open() {
        assert_eq!(
            filled(r#"a{id="$service", b!~"x|$y", c = '${z:regex}', d="[[w]]"}"#),
            r#"a{id=~".*", b=~".*", c =~".*", d=~".*"}"#
        );
    }

    #[test]
    fn strings_without_variables_stay_as_they_are() {
        for query in [
            r#"label_replace(a{b="c$"}, "x", "$1", "y", "(.*)")"#,
            r#"a{b="quote \" $", c=`\`, d="€[[:alpha:]]"}"#,
            r#"a{b="not ended"#,
            "",
        ] {
            assert_eq!(filled(query), query);
        }
    }
}
