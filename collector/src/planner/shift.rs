//! Edges that became slow by what agents count of them, whether they have spans or not.
//!
//! In: the client seconds of every counted edge so far, again and again. Out: edges of which many more requests are slow than usual, each
//! with how much is waited there beyond what is usual.
//! Left out on purpose: whose fault that is. Here it only decides who gets spans.
//!
//! The margin above the usual 95th percentile and the evidence are those of `baseline` and of the alerts (`map::evidence`).

use std::collections::BTreeMap;

use map::evidence::is_degraded;
use map::{EdgeKey, Histogram, Map};

/// Requests that make a baseline.
const ENOUGH: u64 = 200;
/// How far above the usual 95th percentile a request is slow.
const FACTOR: f64 = 1.2;
/// Likewise, seconds.
const BY: f64 = 0.005;
/// The latest requests are forgotten by half in so many seconds.
const HALF: f64 = 60.0;
/// What is usual is forgotten by half in so many.
const USUAL_HALF: f64 = 6.0 * 3_600.0;

/// What is usual of each counted edge.
#[derive(Debug, Default)]
pub(super) struct Shifts {
    edges: BTreeMap<EdgeKey, Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    /// All so far.
    last: Histogram,
    usual: Histogram,
    recent: Histogram,
}

impl Shifts {
    /// Edges that are slow now, `seconds` after the last look, each with the seconds that its latest requests took beyond the usual.
    pub(super) fn look(&mut self, map: &Map, seconds: f64) -> BTreeMap<EdgeKey, f64> {
        self.edges.retain(|key, _| map.edges.contains_key(key));
        let counted = map.edges.iter().filter(|(_, edge)| edge.evidence.counted > 0);
        let mut slow = BTreeMap::new();
        for (key, edge) in counted {
            let of = self.edges.entry(key.clone()).or_default();
            if of.look(&edge.stats.client, seconds) {
                slow.insert(key.clone(), of.excess());
            }
        }
        slow
    }
}

impl Counted {
    fn excess(&self) -> f64 {
        let usual = self.usual.mean().unwrap_or_default() * self.recent.count() as f64;
        (self.recent.sum() - usual).max(0.0)
    }

    fn look(&mut self, all: &Histogram, seconds: f64) -> bool {
        let mut new = all.clone();
        // After a restart of the counts all of them are new.
        if self.last.count() <= all.count() {
            new.subtract(&self.last);
        }
        self.last = all.clone();
        self.recent
            .decay((-std::f64::consts::LN_2 * seconds / HALF).exp());
        self.recent.merge(&new);
        let Some(usual) = self.usual.quantile(0.95).filter(|_| self.usual.count() >= ENOUGH) else {
            self.usual.merge(&new);
            return false;
        };
        let limit = (usual * FACTOR).max(usual + BY);
        let above = |of: &Histogram| {
            let slow = of.buckets().filter(|(bound, _)| *bound > limit);
            slow.map(|(_, n)| n).sum::<u64>() as f64
        };
        // The rule of succession, as in `baseline`.
        let expected = (above(&self.usual) + 1.0) / (self.usual.count() as f64 + 2.0);
        let judged = self.recent.count() as f64;
        let slow = is_degraded(judged, above(&self.recent), judged * expected);
        if !slow {
            self.usual
                .decay((-std::f64::consts::LN_2 * seconds / USUAL_HALF).exp());
            self.usual.merge(&new);
        }
        slow
    }
}

#[cfg(test)]
mod tests {
    use map::Edge;

    use super::*;

    /// So many requests of so many seconds each come in fifteen seconds.
    fn look(shifts: &mut Shifts, map: &mut Map, requests: usize, seconds: f64) -> usize {
        let edge = map.edges.values_mut().next().expect("an edge");
        for n in 0..requests {
            // A spread of a tenth.
            edge.stats
                .client
                .observe(seconds * (1.0 + 0.01 * (n % 10) as f64));
        }
        shifts.look(map, 15.0).len()
    }

    fn counted(counted: u64) -> Map {
        let key = EdgeKey::new("cart".into(), "redis".into(), map::ConnectionType::Database);
        let mut edge = Edge::default();
        edge.evidence.counted = counted;
        let mut map = Map::default();
        map.edges.insert(key, edge);
        map
    }

    #[test]
    fn an_edge_without_spans_that_becomes_slow_is_seen_by_its_counts_and_its_end_too() {
        let (mut shifts, mut map) = (Shifts::default(), counted(1));
        for _ in 0..20 {
            assert_eq!(look(&mut shifts, &mut map, 100, 0.01), 0);
        }
        assert_eq!(look(&mut shifts, &mut map, 100, 0.2), 1);
        for _ in 0..40 {
            look(&mut shifts, &mut map, 100, 0.2);
        }
        assert_eq!(
            look(&mut shifts, &mut map, 100, 0.2),
            1,
            "what is slow is not learned"
        );
        for _ in 0..30 {
            look(&mut shifts, &mut map, 100, 0.01);
        }
        assert_eq!(look(&mut shifts, &mut map, 100, 0.01), 0);
    }

    #[test]
    fn a_few_slow_requests_and_an_edge_that_nobody_counts_are_no_shift() {
        let (mut shifts, mut map) = (Shifts::default(), counted(1));
        for _ in 0..20 {
            look(&mut shifts, &mut map, 100, 0.01);
        }
        assert_eq!(look(&mut shifts, &mut map, 2, 0.2), 0);
        let (mut shifts, mut map) = (Shifts::default(), counted(0));
        for _ in 0..20 {
            look(&mut shifts, &mut map, 100, 0.01);
        }
        assert_eq!(look(&mut shifts, &mut map, 100, 0.2), 0);
    }
}
