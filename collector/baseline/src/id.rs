//! The words that callers and baselines share.
//!
//! In: dense numbers that the caller gives to names. Out: keys. Left out on purpose: the names themselves.

use serde::{Deserialize, Serialize};

/// A node or an edge of the map, by the caller's number. Numbers are dense: a table has a row for each up to the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entity(pub u32);

/// What is asked of an entity, such as `GET /cart`, by the caller's number. One number may occur at many entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Operation(pub u32);

impl Operation {
    /// The operations of an entity that found no room of their own, taken together. Not for the caller to give.
    pub const OTHER: Self = Self(u32::MAX);
}

/// `service.version` of the callee, by the caller's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u16);

impl Version {
    /// The callee does not say its version.
    pub const UNKNOWN: Self = Self(0);
}

/// Which of a request's two times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Of a visit without its outgoing calls, or of an edge without its callee.
    Own,
    /// With them.
    Total,
}

impl Measure {
    /// The value of the label `measure`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Total => "total",
        }
    }
}

/// Where an operation's present edge was taken from, the most particular first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// This hour of this weekday, in past weeks.
    HourOfWeek,
    /// This hour, on past days.
    HourOfDay,
    /// All hours.
    AllHours,
    /// Requests of the version before: the present one has too few of its own.
    PreviousVersion,
}

impl Source {
    /// The value of the label `source`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HourOfWeek => "hour_of_week",
            Self::HourOfDay => "hour_of_day",
            Self::AllHours => "all_hours",
            Self::PreviousVersion => "previous_version",
        }
    }
}
