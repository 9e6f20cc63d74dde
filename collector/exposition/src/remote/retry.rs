//! What an answer asks for, and when to try again.
//!
//! In: the status and headers of an answer, the number of tries, a random number. Out: a verdict, a delay.
//! Left out on purpose: the waiting itself, and the random source. A `Retry-After` that is a date is not read; the
//! backoff holds then.
//! Source: Remote-Write 2.0, "Response" and "Retries & Backoff"; RFC 9110 §10.2.3.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use super::stats::DropReason;

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// A longer `Retry-After` is taken as this: a mistaken day would empty the queue.
const LONGEST_HINT: Duration = Duration::from_mins(5);

/// What an answer says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Taken. What a receiver of 2.0 wrote: samples and native histograms; `None` from all others.
    Taken { written: Option<u64> },
    /// Send again, not before this time is over.
    Retry(Duration),
    /// Not in this version of the protocol. `certain` where the answer says so itself; a 400 may have other reasons.
    OtherVersion { certain: bool },
    /// Never send again.
    Drop(DropReason),
}

pub(super) fn judge(status: StatusCode, headers: &HeaderMap) -> Verdict {
    match status.as_u16() {
        200..300 => Verdict::Taken {
            written: written(headers),
        },
        429 | 500.. => Verdict::Retry(retry_after(headers)),
        415 => Verdict::OtherVersion { certain: true },
        400 => Verdict::OtherVersion { certain: false },
        401 | 403 => Verdict::Drop(DropReason::Unauthorized),
        _ => Verdict::Drop(DropReason::Refused),
    }
}

/// A receiver of 2.0 must name all three headers; one is enough to know it as such.
fn written(headers: &HeaderMap) -> Option<u64> {
    let count = |name: &str| -> Option<u64> { headers.get(name)?.to_str().ok()?.trim().parse().ok() };
    let samples = count("x-prometheus-remote-write-samples-written");
    let histograms = count("x-prometheus-remote-write-histograms-written");
    let exemplars = count("x-prometheus-remote-write-exemplars-written");
    samples.or(histograms).or(exemplars)?;
    Some(samples.unwrap_or(0).saturating_add(histograms.unwrap_or(0)))
}

fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok());
    seconds
        .map_or(Duration::ZERO, Duration::from_secs)
        .min(LONGEST_HINT)
}

/// The delay before try number `tries` + 1: between half and all of 100 ms · 2^(tries - 1), at most 10 s, and never
/// less than the receiver asked for. `dice` is random in [0, 1).
pub(super) fn delay(tries: u32, hint: Duration, dice: f64) -> Duration {
    let doublings = tries.saturating_sub(1).min(16);
    let ceiling = FIRST_BACKOFF.saturating_mul(1 << doublings).min(LONGEST_BACKOFF);
    hint.max(ceiling.mul_f64(0.5 + dice.clamp(0.0, 1.0) / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)]) -> Verdict {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        judge(StatusCode::from_u16(status).unwrap(), &headers.collect())
    }

    #[test]
    fn only_overload_and_faults_of_the_receiver_are_tried_again() {
        for status in [429, 500, 502, 503, 599] {
            assert_eq!(answer(status, &[]), Verdict::Retry(Duration::ZERO), "{status}");
        }
        for status in [301, 404, 409, 413] {
            assert_eq!(
                answer(status, &[]),
                Verdict::Drop(DropReason::Refused),
                "{status}"
            );
        }
        for status in [401, 403] {
            assert_eq!(
                answer(status, &[]),
                Verdict::Drop(DropReason::Unauthorized),
                "{status}"
            );
        }
        assert_eq!(answer(415, &[]), Verdict::OtherVersion { certain: true });
        assert_eq!(answer(400, &[]), Verdict::OtherVersion { certain: false });
    }

    #[test]
    fn retry_after_is_kept_within_reason() {
        assert_eq!(
            answer(503, &[("retry-after", "7")]),
            Verdict::Retry(Duration::from_secs(7))
        );
        assert_eq!(
            answer(429, &[("retry-after", "86400")]),
            Verdict::Retry(LONGEST_HINT)
        );
        for odd in ["-1", "Wed, 21 Oct 2026 07:28:00 GMT", "1.5"] {
            assert_eq!(
                answer(503, &[("retry-after", odd)]),
                Verdict::Retry(Duration::ZERO),
                "{odd}"
            );
        }
    }

    #[test]
    fn a_receiver_of_the_new_version_says_what_it_wrote() {
        let samples = ("x-prometheus-remote-write-samples-written", "3");
        let histograms = ("x-prometheus-remote-write-histograms-written", "2");
        let exemplars = ("x-prometheus-remote-write-exemplars-written", "0");
        for (headers, written) in [
            (&[][..], None),
            (&[samples, histograms], Some(5)),
            (&[exemplars], Some(0)),
            (&[("x-prometheus-remote-write-samples-written", "many")], None),
        ] {
            assert_eq!(answer(204, headers), Verdict::Taken { written }, "{headers:?}");
        }
    }

    #[test]
    fn the_backoff_doubles_to_ten_seconds_and_keeps_to_the_hint() {
        let longest = [1, 2, 3, 7, 8, 40].map(|tries| delay(tries, Duration::ZERO, 1.0).as_millis());
        assert_eq!(longest, [100, 200, 400, 6_400, 10_000, 10_000]);
        assert_eq!(delay(3, Duration::ZERO, 0.0), Duration::from_millis(200));
        assert_eq!(delay(1, Duration::from_secs(9), 0.5), Duration::from_secs(9));
    }
}
