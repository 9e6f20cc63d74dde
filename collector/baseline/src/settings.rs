//! How baselines are learned.
//!
//! In: nothing. Out: numbers with a default each. Left out on purpose: YAML, which is the collector's.

use std::time::Duration;

/// How baselines are learned, and how much memory that may take.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// An operation is unjudged until it was watched this long. Default 5 minutes.
    pub learn: Duration,
    /// And until it had this many requests; an hour's slot counts from this many. Default 200.
    pub min_requests: u64,
    /// What was learned becomes the edge this often, and at every full hour. Default 1 hour.
    pub refresh: Duration,
    /// The edge is at least this much above the 95th percentile. Default 5 ms.
    pub margin: Duration,
    /// And at least this many times the 95th percentile. Default 1.2.
    pub factor: f64,
    /// False judges every hour by all hours. Default true.
    pub hours: bool,
    /// A shift that has lasted this long raises a ticket. Default 6 hours.
    pub shift_after: Duration,
    /// A ticket that is this old is learned, unless the entity is pinned. Default 6 hours: with `shift_after` half a
    /// day, in which somebody was at work.
    pub learn_after: Duration,
    /// Operations of one entity beyond this many share one baseline. Default 200.
    pub max_operations: usize,
    /// Bytes for everything. Default 128 MiB: a baseline of their own for 87,000 operations (1,536 bytes for each), or
    /// for fewer with their hours, which take at most half: 23 KB each by the week, and 3 KB by the day for those that
    /// come once a quarter is taken. Operations without room share one baseline per entity.
    pub max_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            learn: Duration::from_mins(5),
            min_requests: 200,
            refresh: Duration::from_hours(1),
            margin: Duration::from_millis(5),
            factor: 1.2,
            hours: true,
            shift_after: Duration::from_hours(6),
            learn_after: Duration::from_hours(6),
            max_operations: 200,
            max_bytes: 128 << 20,
        }
    }
}
