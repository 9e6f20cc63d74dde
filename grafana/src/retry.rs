//! Whether to ask again, and when.
//!
//! In: an answer's status and `Retry-After`, how often was tried, a random number, the time. Out: a verdict, a delay.
//! Left out on purpose: the waiting itself, and the random source.
//! Source: RFC 9110 §10.2.3 (`Retry-After`); "Exponential Backoff and Jitter", full jitter above a floor of a half.

use std::time::{Duration, SystemTime};

use http::StatusCode;

const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// Whether the same request may have another answer later. A 500 may: Grafana gives it while its database is locked.
pub(crate) fn may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// How long a `Retry-After` asks to wait, in seconds or as a date. A date that has passed is now.
pub(crate) fn hint(after: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = after.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(after.trim()).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// The delay before try number `tries` + 1: between half and all of 250 ms · 2^(tries - 1), at most 10 s, and never less
/// than was asked for. `dice` is random in [0, 1).
pub(crate) fn delay(tries: u32, hint: Duration, dice: f64) -> Duration {
    let doublings = tries.saturating_sub(1).min(16);
    let ceiling = FIRST_BACKOFF.saturating_mul(1 << doublings).min(LONGEST_BACKOFF);
    hint.max(ceiling.mul_f64(0.5 + dice.clamp(0.0, 1.0) / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_asked_again() {
        let passing: Vec<u16> = (100..600)
            .filter(|&code| may_pass(StatusCode::from_u16(code).unwrap()))
            .collect();
        assert_eq!(passing, [408, 429, 500, 502, 503, 504]);
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now = httpdate::parse_http_date("Wed, 21 Oct 2026 07:28:00 GMT").unwrap();
        for (text, seconds) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Wed, 21 Oct 2026 07:28:09 GMT", Some(9)),
            ("Wed, 21 Oct 2020 07:28:09 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            assert_eq!(hint(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn the_backoff_doubles_to_ten_seconds_and_keeps_to_the_hint() {
        let longest = [1, 2, 3, 6, 7, 40].map(|tries| delay(tries, Duration::ZERO, 1.0).as_millis());
        assert_eq!(longest, [250, 500, 1_000, 8_000, 10_000, 10_000]);
        assert_eq!(delay(2, Duration::ZERO, 0.0), Duration::from_millis(250));
        assert_eq!(delay(1, Duration::from_secs(9), 0.5), Duration::from_secs(9));
    }
}
