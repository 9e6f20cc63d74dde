//! Durations as Go and Prometheus write them.
//!
//! In: `1.5s`, `1h30m`, `2d`. Out: nanoseconds.
//! Left out on purpose: negative durations, which no trace has.

/// Units and their nanoseconds; the longer of two that begin alike stands first.
const UNITS: [(&str, u64); 10] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("w", 604_800_000_000_000),
];

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no duration: write a number and a unit, as in `200ms`, `1.5s` or `1h30m`")]
pub(crate) struct DurationError {
    text: String,
}

/// The nanoseconds that `text` says, at most `u64::MAX`, a part of a nanosecond cut off.
///
/// Units are `ns`, `us`, `µs`, `ms`, `s`, `m`, `h` (Go), `d`, `w` and `y` of 365 days (Prometheus); `0` needs none.
pub(crate) fn parse(text: &str) -> Result<u64, DurationError> {
    let error = || DurationError {
        text: text.chars().take(40).collect(),
    };
    if text == "0" {
        return Ok(0);
    }
    let mut rest = text;
    let mut nanos = 0_u64;
    while !rest.is_empty() {
        let (number, behind) = number(rest).ok_or_else(error)?;
        let (unit, behind) = unit(behind).ok_or_else(error)?;
        nanos = nanos.saturating_add(scaled(number, unit).ok_or_else(error)?);
        rest = behind;
    }
    if text.is_empty() { Err(error()) } else { Ok(nanos) }
}

fn number(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at_checked(end)?;
    number
        .contains(|c: char| c.is_ascii_digit())
        .then_some((number, rest))
}

fn unit(text: &str) -> Option<(u64, &str)> {
    if let Some(rest) = text.strip_prefix('y') {
        return Some((365 * 86_400_000_000_000, rest));
    }
    UNITS
        .iter()
        .find_map(|(name, nanos)| Some((*nanos, text.strip_prefix(name)?)))
}

/// `number` times `unit`, exact for whole numbers.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    if number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(number.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(unit));
    }
    let number: f64 = number.parse().ok()?;
    Some((number * unit as f64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_go_and_prometheus_are_read() {
        for (text, nanos) in [
            ("0", 0),
            ("200ms", 200_000_000),
            ("1.5s", 1_500_000_000),
            ("1h30m", 5_400_000_000_000),
            ("10µs", 10_000),
            ("10us", 10_000),
            (".5s", 500_000_000),
            ("7ns", 7),
            ("1d", 86_400_000_000_000),
            ("1w", 604_800_000_000_000),
            ("1y", 31_536_000_000_000_000),
            ("99999999999y", u64::MAX),
        ] {
            assert_eq!(parse(text), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn what_has_no_unit_or_no_number_is_no_duration() {
        for text in ["", "5", "s", ".s", "1.2.3s", "5 s", "-1s", "1x", "1s5", "µs"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
