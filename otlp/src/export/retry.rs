//! Whether a failed request may be sent again, and when.
//!
//! In: the status of a failed request, the number of tries, a random number. Out: a reason to drop, or a delay.
//! Left out on purpose: the waiting itself, and the random source.
//! Source: OTLP specification 1.x, "Failures" and "OTLP/gRPC Throttling".

use super::DropReason;
use std::error::Error as _;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// A longer `RetryInfo` is taken as this: a mistaken hour would fill the buffer.
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
    fn the_backoff_doubles_to_five_seconds_and_keeps_to_the_hint() {
        let ceilings = [1, 2, 3, 6, 7, 40].map(|tries| delay(tries, Duration::ZERO, 1.0).as_millis());
        assert_eq!(ceilings, [100, 200, 400, 3_200, 5_000, 5_000]);
        assert_eq!(delay(3, Duration::ZERO, 0.25), Duration::from_millis(100));
        assert_eq!(delay(1, Duration::from_secs(9), 0.5), Duration::from_secs(9));
    }
}
