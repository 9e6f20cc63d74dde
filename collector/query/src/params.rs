//! The query string of a request.
//!
//! In: `a=1&b=x%20y`. Out: values by name, read as numbers, durations and times.
//! Left out on purpose: unknown parameters, which clients of every age send and which change nothing.

use std::str::FromStr;

use store::TimeRange;

use crate::api::Failure;
use crate::{duration, time};

/// A decoded query string. Empty values count as absent, as in Tempo and Jaeger.
#[derive(Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    pub(crate) fn of(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(
            pairs
                .into_owned()
                .filter(|(_, value)| !value.is_empty())
                .collect(),
        )
    }

    /// The first value of this name.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let first = self.0.iter().find(|(key, _)| key == name);
        first.map(|(_, value)| value.as_str())
    }

    /// Every value of this name, in their order.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let number = text.parse().map(Some);
        number.map_err(|_| wrong(name, text, "a whole number"))
    }

    /// A count that must be at least 1, or `default` where it is absent; at most `cap`.
    pub(crate) fn count(&self, name: &str, default: usize, cap: usize) -> Result<usize, Failure> {
        match self.number::<u64>(name)? {
            Some(0) => Err(wrong(name, "0", "at least 1")),
            Some(count) => Ok(usize::try_from(count).unwrap_or(cap).min(cap)),
            None => Ok(default.min(cap)),
        }
    }

    /// Nanoseconds of a duration such as `200ms`.
    pub(crate) fn duration(&self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let nanos = duration::parse(text).map(Some);
        nanos.map_err(|error| Failure::BadRequest(format!("parameter `{name}`: {error}")))
    }

    /// Nanoseconds since 1970 of an RFC 3339 time.
    pub(crate) fn rfc3339(&self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let nanos = time::rfc3339(text).map(Some);
        nanos.ok_or_else(|| wrong(name, text, "a time such as `2026-11-22T04:05:06.789Z`"))
    }

    /// `start` and `end` in whole units of `unit` nanoseconds since 1970, both inclusive; open where they are absent.
    pub(crate) fn range(&self, unit: u64) -> Result<TimeRange, Failure> {
        let (start, end) = (self.unit_time("start", unit)?, self.unit_time("end", unit)?);
        let range = TimeRange {
            start: start.unwrap_or(0),
            end: end.map_or(u64::MAX, |end| end.saturating_add(unit)),
        };
        ordered(range)
    }

    /// A number of `unit` nanoseconds since 1970, with or without a fraction.
    pub(crate) fn unit_time(&self, name: &str, unit: u64) -> Result<Option<u64>, Failure> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        if let Ok(whole) = text.parse::<u64>() {
            return Ok(Some(whole.saturating_mul(unit)));
        }
        match text.parse::<f64>() {
            Ok(fractional) if fractional >= 0.0 && fractional.is_finite() => {
                Ok(Some((fractional * unit as f64) as u64))
            }
            _ => Err(wrong(name, text, "a time since 1970 as a number")),
        }
    }
}

/// `range`, which must not be empty.
pub(crate) fn ordered(range: TimeRange) -> Result<TimeRange, Failure> {
    if range.start >= range.end {
        return Err(Failure::BadRequest("`start` must be before `end`".to_owned()));
    }
    Ok(range)
}

fn wrong(name: &str, text: &str, right: &str) -> Failure {
    let shown: String = text.chars().take(40).collect();
    Failure::BadRequest(format!("parameter `{name}` is `{shown}` but must be {right}"))
}

/// A trace id of at most 32 hexadecimal digits; zeros are added at its front.
pub(crate) fn trace_id(text: &str) -> Result<[u8; 16], Failure> {
    let digits = !text.is_empty() && text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = u128::from_str_radix(text, 16).ok().filter(|_| digits);
    id.map(u128::to_be_bytes).ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        Failure::BadRequest(format!(
            "`{shown}` is no trace id: write up to 32 hexadecimal digits"
        ))
    })
}
