//! Whether a failed request may be sent again, and when.
//!
//! In: the status of a failed request, the number of tries, a random number, the time. Out: a reason to drop, or a delay.
//! Left out on purpose: the waiting itself, and the random source.
//! Source: OTLP specification 1.x, "Failures", "OTLP/gRPC Throttling" and "OTLP/HTTP Throttling"; RFC 9110, 10.2.3 (`Retry-After`).

use super::DropReason;
use http::StatusCode;
use std::error::Error as _;
use std::time::{Duration, SystemTime};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// A longer `RetryInfo` or `Retry-After` is taken as this: a mistaken hour would fill the buffer.
const LONGEST_HINT: Duration = Duration::from_mins(1);

/// What a failure asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Send again, not before this time is over.
    Retry(Duration),
    /// Never send again.
    Drop(DropReason),
}

/// What `status` asks for. One that did not come from the collector but from the connection is always retried.
pub(super) fn judge(status: &Status) -> Failure {
    let hint = status.get_details_retry_info().and_then(|info| info.retry_delay);
    let retry = Failure::Retry(hint.unwrap_or_default().min(LONGEST_HINT));
    if status.source().is_some() {
        return retry;
    }
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => retry,
        Code::ResourceExhausted if hint.is_some() => retry,
        Code::ResourceExhausted => Failure::Drop(DropReason::Exhausted),
        Code::InvalidArgument => Failure::Drop(DropReason::Invalid),
        Code::Unauthenticated | Code::PermissionDenied => Failure::Drop(DropReason::Unauthorized),
        Code::Unimplemented => Failure::Drop(DropReason::Unimplemented),
        _ => Failure::Drop(DropReason::Refused),
    }
}

/// What an answer of HTTP asks for. `after` is its `Retry-After`, in seconds or as a date.
pub(super) fn judge_http(code: StatusCode, after: Option<&str>, now: SystemTime) -> Failure {
    match code.as_u16() {
        429 | 502 | 503 | 504 => {
            let hint = after.and_then(|after| until(after.trim(), now));
            Failure::Retry(hint.unwrap_or_default().min(LONGEST_HINT))
        }
        400 | 422 => Failure::Drop(DropReason::Invalid),
        401 | 403 => Failure::Drop(DropReason::Unauthorized),
        413 => Failure::Drop(DropReason::TooLarge),
        // A path that is not there, another method, a compression that is not known: whoever listens does not take this.
        404 | 405 | 415 | 501 => Failure::Drop(DropReason::Unimplemented),
        _ => Failure::Drop(DropReason::Refused),
    }
}

/// How long `Retry-After` asks to wait. A date that has passed is now.
fn until(after: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = after.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(after).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// The delay before try number `tries` + 1: full jitter below 100 ms · 2^(tries - 1), at most 5 s, and never
/// less than the collector asked for. `dice` is random in [0, 1).
pub(super) fn delay(tries: u32, hint: Duration, dice: f64) -> Duration {
    let doublings = tries.saturating_sub(1).min(16);
    let ceiling = FIRST_BACKOFF.saturating_mul(1 << doublings).min(LONGEST_BACKOFF);
    hint.max(ceiling.mul_f64(dice.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    const RETRY: Failure = Failure::Retry(Duration::ZERO);

    #[test]
    fn the_codes_of_passing_conditions_are_retried_and_all_others_dropped() {
        let verdicts: Vec<_> = (1..=16)
            .map(|code| (code, judge(&Status::new(Code::from_i32(code), ""))))
            .collect();
        let retried: Vec<_> = verdicts
            .iter()
            .filter(|(_, verdict)| *verdict == RETRY)
            .map(|v| v.0)
            .collect();
        assert_eq!(retried, [1, 4, 10, 11, 14, 15]);
        assert_eq!(verdicts[2], (3, Failure::Drop(DropReason::Invalid)));
        assert_eq!(verdicts[6], (7, Failure::Drop(DropReason::Unauthorized)));
        assert_eq!(verdicts[7], (8, Failure::Drop(DropReason::Exhausted)));
        assert_eq!(verdicts[11], (12, Failure::Drop(DropReason::Unimplemented)));
        assert_eq!(verdicts[12], (13, Failure::Drop(DropReason::Refused)));
    }

    #[test]
    fn an_exhausted_budget_is_retried_only_with_retry_info() {
        let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(3)));
        let throttled = Status::with_error_details(Code::ResourceExhausted, "later", details);
        assert_eq!(judge(&throttled), Failure::Retry(Duration::from_secs(3)));
    }

    #[test]
    fn a_connection_that_breaks_is_retried_whatever_code_it_was_given() {
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert_eq!(judge(&Status::from_error(Box::new(broken))), RETRY);
    }

    #[test]
    fn an_absurd_retry_delay_is_cut() {
        let details = ErrorDetails::with_retry_info(Some(Duration::from_hours(24)));
        let status = Status::with_error_details(Code::Unavailable, "tomorrow", details);
        assert_eq!(judge(&status), Failure::Retry(Duration::from_mins(1)));
    }

    #[test]
    fn the_answers_of_passing_conditions_are_retried_and_all_others_dropped() {
        let judged = |code| {
            judge_http(
                StatusCode::from_u16(code).expect("a code"),
                None,
                SystemTime::now(),
            )
        };
        for code in [429, 502, 503, 504] {
            assert_eq!(judged(code), RETRY, "{code}");
        }
        let dropped = [
            (400, DropReason::Invalid),
            (401, DropReason::Unauthorized),
            (404, DropReason::Unimplemented),
            (413, DropReason::TooLarge),
            (302, DropReason::Refused),
            (408, DropReason::Refused),
            (500, DropReason::Refused),
        ];
        for (code, reason) in dropped {
            assert_eq!(judged(code), Failure::Drop(reason), "{code}");
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date_and_cut_where_it_is_absurd() {
        // 1994-11-06 08:49:37 UTC
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let asked = |after| match judge_http(StatusCode::SERVICE_UNAVAILABLE, Some(after), now) {
            Failure::Retry(hint) => hint.as_secs(),
            Failure::Drop(reason) => panic!("dropped as {reason:?}"),
        };
        let hints = [
            "7",
            " 7 ",
            "Sun, 06 Nov 1994 08:49:40 GMT",
            "Sun, 06 Nov 1994 08:49:30 GMT",
            "soon",
            "-1",
            "86400",
        ];
        assert_eq!(hints.map(asked), [7, 7, 3, 0, 0, 0, 60]);
    }

    #[test]
    fn the_backoff_doubles_to_five_seconds_and_keeps_to_the_hint() {
        let ceilings = [1, 2, 3, 6, 7, 40].map(|tries| delay(tries, Duration::ZERO, 1.0).as_millis());
        assert_eq!(ceilings, [100, 200, 400, 3_200, 5_000, 5_000]);
        assert_eq!(delay(3, Duration::ZERO, 0.25), Duration::from_millis(100));
        assert_eq!(delay(1, Duration::from_secs(9), 0.5), Duration::from_secs(9));
    }
}
