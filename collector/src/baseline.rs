//! What is normal for an operation, learned from its own requests.
//!
//! In: own and total seconds of each request, by entity and operation. Out: a [`Verdict`] per request once the
//! operation is known, `None` before. The edge of an operation lies a margin above its 95th percentile; the share of
//! requests above it is measured, never assumed.
//! Left out on purpose: hours of the week, versions and pinning, which widen this form; and windows, which are the
//! rules'. Intervals that are degraded themselves are never learned.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use map::Histogram;
use map::evidence::is_degraded;
use serde::{Deserialize, Serialize};

/// How baselines are learned.
#[derive(Clone, Copy, Debug)]
pub struct BaselineSettings {
    /// An operation is unjudged until it was watched this long.
    pub learn: Duration,
    /// And until it had this many requests.
    pub min_requests: u64,
    /// What was learned is renewed this often.
    pub refresh: Duration,
    /// The edge is at least this much above the 95th percentile…
    pub margin: Duration,
    /// … and at least this many times it.
    pub factor: f64,
}

/// What one request says against its operation's baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Its own time exceeded the edge.
    pub own_slow: bool,
    /// Share of requests that were expected to.
    pub own_expected: f64,
    /// Its total time exceeded the edge.
    pub total_slow: bool,
    /// Share of requests that were expected to.
    pub total_expected: f64,
}

/// All operations of all entities.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Baselines {
    entities: BTreeMap<String, BTreeMap<Arc<str>, Operation>>,
}

/// Operations of one entity beyond this many share one baseline.
const MAX_OPERATIONS: usize = 200;
/// The name that they share.
const OTHER_OPERATIONS: &str = "__other__";
/// The edge is looked for above this quantile.
const QUANTILE: f64 = 0.95;
/// How much of the past remains at each renewal.
const KEEP: f64 = 0.8;

#[derive(Debug, Serialize, Deserialize)]
struct Operation {
    own: Measure,
    total: Measure,
    /// When the current interval began, nanoseconds of this process' clock: 0, its start, after a restart.
    #[serde(skip)]
    since: u64,
}

/// One measure of one operation.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Measure {
    edge: Option<Edge>,
    /// What the edge was taken from.
    learned: Histogram,
    /// The current interval.
    recent: Histogram,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Edge {
    seconds: f64,
    expected: f64,
}

/// The learned edges of an entity's busiest operation, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learned {
    /// Of own time.
    pub own: f64,
    /// Of total time.
    pub total: f64,
}

impl Baselines {
    /// Judges a request by its operation's baseline, and learns from it for the next one.
    ///
    /// `now` in nanoseconds; it must not go back for one operation. `None` while the operation is unjudged.
    pub fn judge(
        &mut self,
        entity: &str,
        operation: &Arc<str>,
        own: f64,
        total: f64,
        now: u64,
        settings: &BaselineSettings,
    ) -> Option<Verdict> {
        if !self.entities.contains_key(entity) {
            self.entities.insert(entity.to_owned(), BTreeMap::new());
        }
        let operations = self.entities.get_mut(entity)?;
        let full = operations.len() >= MAX_OPERATIONS && !operations.contains_key(operation);
        let name = if full {
            Arc::from(OTHER_OPERATIONS)
        } else {
            Arc::clone(operation)
        };
        let operation = operations.entry(name).or_insert_with(|| Operation::new(now));
        operation.renew_if_due(now, settings);
        let verdict = operation.verdict(own, total);
        operation.own.recent.observe(own);
        operation.total.recent.observe(total);
        verdict
    }

    /// The edges of an entity's busiest operation; `None` while it is unjudged.
    pub fn learned(&self, entity: &str) -> Option<Learned> {
        let operations = self.entities.get(entity)?.values();
        let known = operations.filter_map(|op| {
            let learned = Learned {
                own: op.own.edge?.seconds,
                total: op.total.edge?.seconds,
            };
            Some((op.own.learned.count(), learned))
        });
        known.max_by_key(|(count, _)| *count).map(|(_, learned)| learned)
    }

    /// Forgets an entity that is no longer in the map.
    pub fn forget(&mut self, entity: &str) {
        self.entities.remove(entity);
    }
}

impl Operation {
    fn new(now: u64) -> Self {
        Self {
            own: Measure::default(),
            total: Measure::default(),
            since: now,
        }
    }

    fn verdict(&self, own: f64, total: f64) -> Option<Verdict> {
        let (own_edge, total_edge) = (self.own.edge?, self.total.edge?);
        Some(Verdict {
            own_slow: own > own_edge.seconds,
            own_expected: own_edge.expected,
            total_slow: total > total_edge.seconds,
            total_expected: total_edge.expected,
        })
    }

    fn renew_if_due(&mut self, now: u64, settings: &BaselineSettings) {
        let known = self.own.edge.is_some();
        let interval = if known { settings.refresh } else { settings.learn };
        let watched = now.saturating_sub(self.since) >= interval.as_nanos() as u64;
        if !watched || self.own.recent.count() < settings.min_requests {
            return;
        }
        self.since = now;
        self.own.renew(settings);
        self.total.renew(settings);
    }
}

impl Measure {
    fn renew(&mut self, settings: &BaselineSettings) {
        let recent = std::mem::take(&mut self.recent);
        if let Some(edge) = self.edge {
            let count = recent.count() as f64;
            let slow = above(&recent, edge.seconds) as f64;
            if is_degraded(count, slow, count * edge.expected) {
                return; // a degraded interval is no example of what is normal
            }
            self.learned.decay(KEEP);
        }
        self.learned.merge(&recent);
        self.edge = edge_of(&self.learned, settings);
    }
}

/// The edge above the 95th percentile, with the share that lies above it by Laplace's rule of succession: a share
/// of 0 of 200 is evidence for something rare, not for something impossible.
fn edge_of(learned: &Histogram, settings: &BaselineSettings) -> Option<Edge> {
    let p95 = learned.edge(QUANTILE)?.seconds;
    let seconds = (p95 * settings.factor).max(p95 + settings.margin.as_secs_f64());
    let expected = (above(learned, seconds) + 1) as f64 / (learned.count() + 2) as f64;
    Some(Edge { seconds, expected })
}

/// Observations in buckets that lie wholly above `seconds`, and of the bucket around it those that count as above.
///
/// The bucket that holds the edge counts as above: expecting a little too much is the careful side.
fn above(histogram: &Histogram, seconds: f64) -> u64 {
    histogram
        .buckets()
        .filter(|&(upper, _)| upper > seconds)
        .map(|(_, n)| n)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: BaselineSettings = BaselineSettings {
        learn: Duration::from_mins(1),
        min_requests: 200,
        refresh: Duration::from_mins(10),
        margin: Duration::from_millis(5),
        factor: 1.2,
    };

    /// Feeds `n` requests of `seconds`, ten a second from `from` seconds on; returns the verdicts.
    fn feed(b: &mut Baselines, n: u64, seconds: f64, from: u64) -> Vec<Option<Verdict>> {
        let at = |i: u64| from * 1_000_000_000 + i * 100_000_000;
        (0..n)
            .map(|i| b.judge("payment", &"POST /pay".into(), seconds, seconds, at(i), &SETTINGS))
            .collect()
    }

    #[test]
    fn an_operation_is_unjudged_until_it_was_watched_long_enough_and_often_enough() {
        let mut b = Baselines::default();
        assert!(
            feed(&mut b, 600, 0.02, 0).iter().all(Option::is_none),
            "599 requests in less than a minute"
        );
        assert!(feed(&mut b, 1, 0.02, 61)[0].is_some());
        let mut rare = Baselines::default();
        feed(&mut rare, 100, 0.02, 0);
        assert!(
            feed(&mut rare, 99, 0.02, 100_000).iter().all(Option::is_none),
            "199 requests are too few"
        );
    }

    #[test]
    fn a_request_is_slow_beyond_the_margin_and_the_expected_share_is_never_zero() {
        let mut b = Baselines::default();
        feed(&mut b, 700, 0.02, 0);
        let normal = feed(&mut b, 1, 0.024, 71)[0].unwrap();
        assert!(!normal.own_slow, "4 ms more are within the margin");
        assert!(
            normal.own_expected > 0.0 && normal.own_expected < 0.01,
            "{normal:?}"
        );
        assert!(feed(&mut b, 1, 0.42, 72)[0].unwrap().own_slow);
    }

    #[test]
    fn a_degraded_interval_is_not_learned() {
        let mut b = Baselines::default();
        feed(&mut b, 700, 0.02, 0);
        let before = b.learned("payment").unwrap();
        feed(&mut b, 7000, 0.42, 100);
        assert_eq!(b.learned("payment").unwrap(), before);
        assert!(
            feed(&mut b, 1, 0.42, 801)[0].unwrap().own_slow,
            "still slow after the interval"
        );
    }

    #[test]
    fn after_a_restart_the_edge_is_renewed_by_the_new_clock() {
        let mut b = Baselines::default();
        feed(&mut b, 700, 0.02, 10_000);
        let before = b.learned("payment").unwrap().own;
        let mut b: Baselines = serde_json::from_str(&serde_json::to_string(&b).unwrap()).unwrap();
        assert_eq!(b.learned("payment").unwrap().own.to_bits(), before.to_bits());
        feed(&mut b, 13_000, 0.015, 0);
        let after = b.learned("payment").unwrap().own;
        assert!(
            after < before,
            "{after} is not below {before}: twenty minutes passed since the restart"
        );
    }

    #[test]
    fn a_healthy_interval_renews_the_edge() {
        let mut b = Baselines::default();
        feed(&mut b, 700, 0.02, 0);
        let before = b.learned("payment").unwrap().own;
        for hour in 1..20 {
            feed(&mut b, 700, 0.015, hour * 1000);
        }
        let after = b.learned("payment").unwrap().own;
        assert!(after < before, "{after} is not below {before}");
    }
}
