//! Why the API server gave no useful answer, and how long to leave it alone.
//!
//! In: errors and statuses. Out: a [`Failure`] with one [`Reason`] of a closed list, to be counted; a delay.
//! Left out on purpose: the waiting itself, and the random source.

use std::time::Duration;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

const FIRST_DELAY: Duration = Duration::from_secs(1);

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The server does not go back as far as a watch or a list was: 410.
    Expired,
    /// There is no connection, or it broke, or nothing came in time.
    Connection,
    /// Its certificate is not to be verified.
    Tls,
    /// There is no token.
    NoToken,
    /// It does not know the token: 401.
    Unauthorized,
    /// The service account must not: 403.
    Forbidden,
    /// It has no time: 429, or 5xx.
    Busy,
    /// Another status.
    Refused,
    /// What it said is not what was asked for.
    Malformed,
    /// What it said is longer than it can be.
    TooLarge,
}

impl Reason {
    /// Each of them.
    pub const ALL: [Self; 10] = [
        Self::Expired,
        Self::Connection,
        Self::Tls,
        Self::NoToken,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Busy,
        Self::Refused,
        Self::Malformed,
        Self::TooLarge,
    ];

    /// As it is called in series and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Connection => "connection",
            Self::Tls => "tls",
            Self::NoToken => "no_token",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Busy => "busy",
            Self::Refused => "refused",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
        }
    }
}

/// Why there is no answer, or not all of one.
#[derive(Debug, Clone)]
pub struct Failure {
    /// To be counted.
    pub reason: Reason,
    /// How long the API server asks to be left alone.
    pub retry_after: Duration,
    /// To be told; it holds no secret.
    pub cause: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.cause)
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// With the whole chain of causes.
    pub fn new(reason: Reason, cause: impl Into<BoxError>) -> Self {
        let cause: BoxError = cause.into();
        let first: &dyn std::error::Error = &*cause;
        let causes = std::iter::successors(Some(first), |error| error.source());
        Self {
            reason,
            retry_after: Duration::ZERO,
            cause: causes.map(ToString::to_string).collect::<Vec<_>>().join(": "),
        }
    }

    /// What a status that is no success means, of an answer or of an event.
    pub fn of_status(code: u16) -> Self {
        let reason = match code {
            401 => Reason::Unauthorized,
            403 => Reason::Forbidden,
            410 => Reason::Expired,
            429 | 500.. => Reason::Busy,
            _ => Reason::Refused,
        };
        Self::new(reason, format!("the API server answers {code}"))
    }

    /// Whether the same question may have another answer later, with nobody doing anything.
    pub fn may_pass(&self) -> bool {
        matches!(self.reason, Reason::Connection | Reason::Busy | Reason::Expired)
    }
}

/// The delay before the try after `failures`: full jitter below 1 s · 2^(failures - 1), at most `longest`, and never less
/// than the server asked for. `dice` is random in [0, 1).
/// Source: "Exponential Backoff and Jitter".
pub fn delay(failures: u32, longest: Duration, hint: Duration, dice: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let ceiling = FIRST_DELAY.saturating_mul(1 << doublings).min(longest);
    hint + ceiling.mul_f64(dice.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_a_hint_is_kept_to() {
        let longest = Duration::from_secs(30);
        let seconds =
            |failures, hint, dice| delay(failures, longest, Duration::from_secs(hint), dice).as_secs();
        let doubling: Vec<_> = (1..8).map(|failures| seconds(failures, 0, 1.0)).collect();
        assert_eq!(doubling, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(seconds(u32::MAX, 0, 1.0), 30);
        assert_eq!(
            (seconds(1, 7, 0.0), seconds(3, 7, 0.5), seconds(3, 0, 0.0)),
            (7, 9, 0)
        );
    }

    #[test]
    fn a_status_is_counted_by_what_it_asks_of_us() {
        let reasons =
            [401, 403, 404, 410, 429, 500, 503].map(|code| Failure::of_status(code).reason.as_str());
        assert_eq!(
            reasons,
            [
                "unauthorized",
                "forbidden",
                "refused",
                "expired",
                "busy",
                "busy",
                "busy"
            ]
        );
    }
}
