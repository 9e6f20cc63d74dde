//! Where traces begin, and which edges they then pass.
//!
//! In: what was seen of whole traces. Out: for each operation with which traces begin, how many did, how many spans they have
//! and how often they pass each edge. The plan of what is sampled needs it: a share is chosen where a trace begins.
//! Left out on purpose: paths; which edges a trace passes together is not told apart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{EdgeKey, NodeId};

/// The name under which operations are folded together where there are too many.
pub const OTHER_OPERATIONS: &str = "__overflow__";

/// An operation with which traces begin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RootKey {
    /// The service of the first span.
    pub node: NodeId,
    /// Its name.
    pub operation: String,
}

/// Traces that begin with one operation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Root {
    /// How many, weighted by sampling probability.
    pub traces: f64,
    /// Of them those that were weighed as one each: nobody said by which share they were sampled.
    pub plain: f64,
    /// Of them those whose first span is an error.
    pub failed: f64,
    /// Of them those that were looked into: all at first, then a share of them by trace id.
    pub looked: f64,
    /// Spans of those that were looked into, weighted.
    pub spans: f64,
    /// Spans of all of them, as they came: not weighted.
    pub seen: f64,
    /// What those that were looked into passed.
    #[serde(with = "crate::pairs")]
    pub edges: BTreeMap<EdgeKey, Passed>,
}

/// How often traces passed an edge, weighted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Passed {
    /// Traces that did at all.
    pub traces: f64,
    /// Requests.
    pub requests: f64,
}

impl Root {
    /// What came since `before`; nothing where `before` has seen more, as after a restart.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        if before.traces > self.traces || before.looked > self.looked {
            return self.clone();
        }
        let looked = self.looked - before.looked;
        let passed = |(key, now): (&EdgeKey, &Passed)| {
            let then = before.edges.get(key).copied().unwrap_or_default();
            let traces = now.traces - then.traces;
            if traces <= 0.0 {
                return None;
            }
            // An edge that comes back under its name brings all its past; no more traces passed it than were looked into.
            let part = (looked / traces).min(1.0);
            let since = Passed {
                traces: traces * part,
                requests: (now.requests - then.requests).max(0.0) * part,
            };
            Some((key.clone(), since))
        };
        Self {
            traces: self.traces - before.traces,
            plain: (self.plain - before.plain).max(0.0),
            failed: (self.failed - before.failed).max(0.0),
            looked,
            spans: (self.spans - before.spans).max(0.0),
            seen: (self.seen - before.seen).max(0.0),
            edges: self.edges.iter().filter_map(passed).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ConnectionType;

    #[test]
    fn what_came_since_is_the_difference_and_after_a_restart_all_of_it() {
        let key = EdgeKey::new("web".into(), "cart".into(), ConnectionType::Direct);
        let of = |n: f64| Root {
            traces: n,
            plain: n,
            failed: 0.0,
            looked: n,
            spans: 3.0 * n,
            seen: 3.0 * n,
            edges: BTreeMap::from([(
                key.clone(),
                Passed {
                    traces: n,
                    requests: 2.0 * n,
                },
            )]),
        };
        assert_eq!(of(10.0).since(&of(4.0)), of(6.0));
        assert_eq!(of(3.0).since(&of(4.0)), of(3.0));
        assert!(of(4.0).since(&of(4.0)).edges.is_empty());
        let mut without = of(4.0);
        without.edges.clear();
        let back = &of(10.0).since(&without).edges[&key];
        assert_eq!((back.traces, back.requests), (6.0, 12.0), "its past is no news");
    }
}
