//! What is normal for each operation of an entity, to be read by people.
//!
//! In: the state. Out: plain numbers.
//! Left out on purpose: verdicts, and how the numbers are learned.

use crate::baselines::Baselines;
use crate::id::{Entity, Operation, Source};
use crate::sketch::Edge;

/// What is normal for one operation of an entity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normal {
    /// The operation; [`Operation::OTHER`] for those that share one baseline.
    pub operation: Operation,
    /// Requests are judged. Where they are not yet, all but `requests` is of no meaning.
    pub judged: bool,
    /// Requests that were learned from, older ones weighing less; before the operation is judged, those that came.
    pub requests: f64,
    /// Where the edge of own time was taken from.
    pub source: Source,
    /// Of own time.
    pub own: Normality,
    /// Of total time.
    pub total: Normality,
    /// Share of requests that is expected to fail without a callee's failure, above 0 and below 1.
    pub own_failed: f64,
    /// Share of requests that is expected to fail, above 0 and below 1.
    pub failed: f64,
    /// When the latest request came, unix nanoseconds.
    pub last_seen: u64,
}

/// What is normal in one of the two times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normality {
    /// Longer is slow, in seconds.
    pub slow_above: f64,
    /// The share of requests that is expected to be slow, 0 to 1.
    pub slow_share: f64,
    /// The median in seconds; `None` where an older version learned it without.
    pub median: Option<f64>,
}

impl From<Edge> for Normality {
    fn from(edge: Edge) -> Self {
        let median = f64::from(edge.usual);
        Self {
            slow_above: f64::from(edge.seconds),
            slow_share: f64::from(edge.expected),
            median: (median > 0.0).then_some(median),
        }
    }
}

impl Baselines {
    /// What is normal for each operation of an entity, in the order of their first requests.
    pub fn normals(&self, entity: Entity) -> impl Iterator<Item = Normal> + '_ {
        self.states_of(entity).map(|(_, state)| state.normal())
    }
}
