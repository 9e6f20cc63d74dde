//! The latest minutes of every node and edge, for the page.
//!
//! In: the series as they stand at a time. Out: counts and latencies of the last five to ten minutes, so that a change
//! shows whatever the system did before.
//! Left out on purpose: counting. What came lately is what the series count now less what they counted then. Nothing of
//! it outlives the process or reaches a file; series over time are Prometheus'.

use std::collections::HashMap;
use std::time::Duration;

use map::Histogram;

use crate::series::{EntitySeries, SeriesStore, Timing};

/// How long requests are gathered before the older half is forgotten.
const TURN: Duration = Duration::from_mins(5);

/// What the series counted when the last two turns began, by the number of their node or edge.
#[derive(Debug, Default)]
pub struct Recent {
    current: HashMap<u32, Reading>,
    previous: HashMap<u32, Reading>,
    /// When the current turn began, nanoseconds.
    since: u64,
}

/// What a series counted at a time.
#[derive(Clone, Debug, Default)]
struct Reading {
    requests: f64,
    failed: f64,
    total: Timing,
    own: Timing,
}

/// What a node or edge did lately.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    /// Requests.
    pub requests: u64,
    /// Those that failed.
    pub failed: u64,
    /// Their duration in seconds.
    pub total: Histogram,
    /// Their own time in seconds.
    pub own: Histogram,
}

impl Recent {
    /// Begins a turn where one is due at `now`, nanoseconds on a clock that does not go back.
    pub fn turn(&mut self, store: &SeriesStore, now: u64) {
        let turn = TURN.as_nanos() as u64;
        let age = now.saturating_sub(self.since);
        if age < turn {
            return;
        }
        let read = |(at, series): (u32, &EntitySeries)| (at, Reading::of(series));
        let reading: HashMap<u32, Reading> = store.entities.iter().map(read).collect();
        self.previous = if age < 2 * turn {
            std::mem::take(&mut self.current)
        } else {
            reading.clone()
        };
        self.current = reading;
        self.since = now;
    }

    /// Forgets an entity whose number is given back.
    pub fn forget(&mut self, at: u32) {
        self.current.remove(&at);
        self.previous.remove(&at);
    }

    /// What a node or edge did lately; empty where it did nothing.
    pub fn of(&self, store: &SeriesStore, id: &str) -> Latency {
        let Some((at, series)) = store
            .find_entity(id)
            .and_then(|at| Some((at, store.entities.get(at)?)))
        else {
            return Latency::default();
        };
        let none = Reading::default();
        let then = self.previous.get(&at).unwrap_or(&none);
        let whole = |count: f64| count.round().max(0.0) as u64;
        Latency {
            requests: whole(series.requests - then.requests),
            failed: whole(series.failed - then.failed),
            total: series.total.since(&then.total).to_histogram(),
            own: series.own.since(&then.own).to_histogram(),
        }
    }
}

impl Reading {
    fn of(series: &EntitySeries) -> Self {
        Self {
            requests: series.requests,
            failed: series.failed,
            total: series.total.clone(),
            own: series.own.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::{Observed, Request};

    fn observe(recent: &mut Recent, store: &mut SeriesStore, seconds: f64, minute: u64) {
        let now = minute * 60_000_000_000;
        recent.turn(store, now);
        let at = store.node_of(&"payment".into());
        let seen = Some(Observed::of(seconds));
        let request = Request {
            trace: &[1; 16],
            now,
            weight: 1.0,
            failed: false,
            own_failed: false,
            own: seen,
            total: seen,
            critical: 0.0,
            counted_elsewhere: false,
        };
        store.entities.get_mut(at).unwrap().request(&request, None);
    }

    #[test]
    fn what_is_older_than_two_turns_is_forgotten_and_what_is_younger_than_one_is_not() {
        let (mut recent, mut store) = (Recent::default(), SeriesStore::default());
        (0..5).for_each(|minute| observe(&mut recent, &mut store, 0.02, minute));
        observe(&mut recent, &mut store, 0.4, 6);
        assert_eq!(
            recent.of(&store, "payment").requests,
            6,
            "the turn before still counts"
        );
        observe(&mut recent, &mut store, 0.4, 11);
        let latest = recent.of(&store, "payment");
        assert_eq!(latest.requests, 2);
        assert!(latest.own.quantile(0.01).is_some_and(|s| s > 0.3), "{latest:?}");
        observe(&mut recent, &mut store, 0.02, 60);
        assert_eq!(
            recent.of(&store, "payment").requests,
            1,
            "after an hour of silence nothing old is left"
        );
        assert_eq!(recent.of(&store, "stranger").requests, 0);
    }
}
