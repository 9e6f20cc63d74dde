//! Durations as people write them.
//!
//! In: `500ms`, `5m`, `1h 30m`. Out: [`HumanDuration`], and one spelling of each duration for files and queries.
//! Left out on purpose: months and years. They have no fixed length, and `M` beside `m` invites the mistake.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Nanoseconds of each unit that is written, largest first.
const UNITS: [(u128, &str); 7] = [
    (86_400_000_000_000, "d"),
    (3_600_000_000_000, "h"),
    (60_000_000_000, "m"),
    (1_000_000_000, "s"),
    (1_000_000, "ms"),
    (1_000, "us"),
    (1, "ns"),
];

/// A span of time that a person writes as `500ms`, `90s`, `5m`, `1h 30m` or `30d`.
///
/// Units are `ns`, `us`, `ms`, `s`, `m`, `h`, `d` and `w`, and the longer words for them; a number without a unit is
/// refused, except `0`. Displayed and serialized as whole numbers of the largest unit that fits exactly: `90s`, `5m`, `1d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HumanDuration(pub Duration);

/// A text that is no duration; says what would be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Digits alone.
    #[error("{value} has no unit: write a duration such as `500ms`, `5m` or `1h`")]
    NoUnit {
        /// The text as written, in backticks.
        value: String,
    },
    /// A unit whose length depends on the calendar.
    #[error("{value} counts in months or years, which have no fixed length: write days such as `30d`")]
    Calendar {
        /// The text as written, in backticks.
        value: String,
    },
    /// Anything else, and what is longer than 2⁶⁴ seconds.
    #[error("{value} is no duration: write such as `500ms`, `5m` or `1h`")]
    Malformed {
        /// The text as written, in backticks.
        value: String,
    },
}

impl HumanDuration {
    /// `n` milliseconds.
    pub const fn from_millis(n: u64) -> Self {
        Self(Duration::from_millis(n))
    }

    /// `n` seconds.
    pub const fn from_secs(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }

    /// The duration as the standard library has it.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// The duration as Prometheus reads it in rules and range selectors: `5m`, `30s`, `1500ms`, `0s`.
    ///
    /// Prometheus counts in whole milliseconds; a rest is rounded up, so that no duration turns into 0, which
    /// Prometheus refuses in a range. Source: Prometheus documentation, "Querying basics", time durations.
    pub fn as_prometheus(self) -> String {
        const MILLI: u128 = 1_000_000;
        written(self.0.as_nanos().div_ceil(MILLI) * MILLI)
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&written(self.0.as_nanos()))
    }
}

fn written(nanos: u128) -> String {
    if nanos == 0 {
        return "0s".to_owned();
    }
    let exact = UNITS.iter().find(|(unit, _)| nanos.is_multiple_of(*unit));
    exact.map_or_else(
        || format!("{nanos}ns"),
        |(unit, name)| format!("{}{name}", nanos / unit),
    )
}

impl FromStr for HumanDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let trimmed = text.trim();
        let value = || crate::problem::quoted(text);
        if trimmed == "0" {
            return Ok(Self(Duration::ZERO));
        }
        if trimmed.parse::<f64>().is_ok() {
            return Err(DurationError::NoUnit { value: value() });
        }
        let mut words = trimmed.split(|c: char| !c.is_alphabetic());
        if words.any(|word| {
            matches!(word, "M" | "y" | "yr" | "yrs") || word.starts_with("month") || word.starts_with("year")
        }) {
            return Err(DurationError::Calendar { value: value() });
        }
        humantime::parse_duration(trimmed)
            .map(Self)
            .map_err(|_| DurationError::Malformed { value: value() })
    }
}

impl From<Duration> for HumanDuration {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl From<HumanDuration> for Duration {
    fn from(duration: HumanDuration) -> Self {
        duration.0
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(crate::unit::UnitVisitor::new(
            "a duration such as `500ms`, `5m` or `1h`",
        ))
    }
}

impl crate::unit::Unit for HumanDuration {
    fn from_number(number: u64) -> Result<Self, String> {
        number
            .to_string()
            .parse()
            .map_err(|error: DurationError| error.to_string())
    }
}

impl JsonSchema for HumanDuration {
    fn schema_name() -> Cow<'static, str> {
        "HumanDuration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A duration with its unit (`ns`, `us`, `ms`, `s`, `m`, `h`, `d`, `w`), or 0.",
            "pattern": "^\\s*(0|([0-9.]+\\s*[a-zµ]+\\s*)+)\\s*$",
            "examples": ["500ms", "5m", "1h"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = match text.parse::<HumanDuration>() {
            Ok(duration) => duration.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{text:?}");
    }

    #[test]
    fn a_duration_is_written_in_the_largest_unit_that_fits_exactly() {
        check("5m", "5m");
        check("300s", "5m");
        check("90s", "90s");
        check("1h 30m", "90m");
        check("1500ms", "1500ms");
        check("0", "0s");
        check("0ms", "0s");
        check("1w", "7d");
        check("250us", "250us");
    }

    #[test]
    fn what_is_no_duration_is_answered_with_the_value_and_an_example() {
        check(
            "5",
            "`5` has no unit: write a duration such as `500ms`, `5m` or `1h`",
        );
        check("5x", "`5x` is no duration: write such as `500ms`, `5m` or `1h`");
        check("-5m", "`-5m` is no duration: write such as `500ms`, `5m` or `1h`");
        check("", "`` is no duration: write such as `500ms`, `5m` or `1h`");
        check(
            "99999999999999999999w",
            "`99999999999999999999w` is no duration: write such as `500ms`, `5m` or `1h`",
        );
        check(
            "1M",
            "`1M` counts in months or years, which have no fixed length: write days such as `30d`",
        );
    }

    #[test]
    fn prometheus_gets_whole_milliseconds_and_never_a_zero_for_something() {
        assert_eq!(HumanDuration::from_secs(300).as_prometheus(), "5m");
        assert_eq!(HumanDuration::from_secs(30).as_prometheus(), "30s");
        assert_eq!(HumanDuration::from_millis(1500).as_prometheus(), "1500ms");
        assert_eq!(HumanDuration(Duration::from_nanos(1)).as_prometheus(), "1ms");
        assert_eq!(
            HumanDuration(Duration::MAX).as_prometheus(),
            "18446744073709551616s"
        );
    }

    #[test]
    fn every_written_duration_is_read_back_as_itself() {
        for nanos in [
            1,
            999,
            1_000,
            1_500_000,
            60_000_000_000,
            86_400_000_000_000,
            u64::MAX,
        ] {
            let duration = HumanDuration(Duration::from_nanos(nanos));
            assert_eq!(duration.to_string().parse(), Ok(duration));
        }
    }
}
