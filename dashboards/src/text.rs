//! Foreign text where Grafana, Markdown or HTML would read it as something else.
//!
//! In: names, whatever they contain. Out: the same names, to be read by people.
//! Left out on purpose: literals of queries, see [`crate::promql`]; JSON, which the serializer escapes.

use std::fmt::Write as _;

use map::model::UnixNanos;

/// Longest name in a title or a text, in characters.
const MOST_CHARACTERS: usize = 80;

/// Foreign text as it may stand in titles, descriptions and links.
///
/// Grafana replaces `$name`, `${name}` and `[[name]]` there and knows no escape: a word joiner after the sign stops
/// that and is not seen. Control characters become spaces. What turns the direction of writing is left out, so that
/// a name cannot rearrange the words beside it; scripts that are written from right to left need none of those.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '$' => shown.push_str("$\u{2060}"),
            '[' => shown.push_str("[\u{2060}"),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => shown.push(' '),
            c => shown.push(c),
        }
    }
    shown
}

/// At most 80 characters of a text.
pub(crate) fn clipped(text: &str) -> String {
    if text.chars().count() <= MOST_CHARACTERS {
        return text.to_owned();
    }
    text.chars().take(MOST_CHARACTERS - 1).chain(['…']).collect()
}

/// Foreign text within Markdown: every sign that Markdown, HTML or Grafana reads is an entity, which none of them does.
pub(crate) fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in clipped(&shown(text)).chars() {
        if c.is_ascii_punctuation() && !"-./".contains(c) {
            let _ = write!(escaped, "&#{};", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// A time to the minute, as `2026-11-22 17:05 UTC`.
///
/// Days become dates by Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
pub(crate) fn utc_minute(at: UnixNanos) -> String {
    let minutes = at / 60_000_000_000;
    let (days, minute) = (minutes / 1440 + 719_468, minutes % 1440);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02} UTC",
        minute / 60,
        minute % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_written_as_clocks_show_it() {
        let at = |seconds: u64| utc_minute(seconds * 1_000_000_000);
        assert_eq!(at(0), "1970-01-01 00:00 UTC");
        assert_eq!(at(951_782_399), "2000-02-28 23:59 UTC");
        assert_eq!(at(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(at(1_795_367_100), "2026-11-22 17:05 UTC");
    }

    #[test]
    fn no_sign_of_a_name_means_anything_to_markdown_html_or_grafana() {
        assert_eq!(markdown("prod/cart-1"), "prod/cart-1");
        let all: String = (' '..='~').chain(['\n', '\u{202e}']).collect();
        let escaped: String = all.chars().map(|c| markdown(&c.to_string())).collect();
        let entities = escaped.replace("&#", "").replace(';', "");
        let plain = |c: char| c.is_alphanumeric() || " -./\u{2060}".contains(c);
        assert!(entities.chars().all(plain), "{entities}");
    }

    #[test]
    fn a_long_name_is_cut_to_what_fits() {
        assert_eq!(clipped(&"本".repeat(80)).chars().count(), 80);
        assert_eq!(clipped(&"本".repeat(4096)).chars().count(), 80);
        assert!(clipped(&"本".repeat(81)).ends_with('…'));
    }
}
