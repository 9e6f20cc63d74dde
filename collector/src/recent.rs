//! The latest minutes of every node and edge, for the page.
//!
//! In: requests as they are counted. Out: counts and latencies of the last five to ten minutes, so that a change shows
//! whatever the system did before.
//! Left out on purpose: anything that outlives the process or reaches a file; series over time are Prometheus'.

use std::collections::HashMap;
use std::time::Duration;

use map::Histogram;

/// How long requests are gathered before the older half is forgotten.
const TURN: Duration = Duration::from_mins(5);

/// Requests of the last one to two turns, by the id of their node's or edge's series.
#[derive(Debug, Default)]
pub struct Recent {
    current: HashMap<String, Latency>,
    previous: HashMap<String, Latency>,
    /// When the current turn began, nanoseconds.
    since: u64,
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

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Observation {
    /// Its duration in seconds, where it is known.
    pub total: Option<f64>,
    /// Its own time in seconds, where it is known.
    pub own: Option<f64>,
    /// True where it failed.
    pub failed: bool,
}

impl Recent {
    /// Adds a request that was counted at `now`, nanoseconds on a clock that does not go back.
    pub fn observe(&mut self, id: &str, seen: Observation, now: u64) {
        let turn = TURN.as_nanos() as u64;
        let age = now.saturating_sub(self.since);
        if age >= turn {
            let last = std::mem::take(&mut self.current);
            self.previous = if age < 2 * turn { last } else { HashMap::new() };
            self.since = now;
        }
        if !self.current.contains_key(id) {
            self.current.insert(id.to_owned(), Latency::default());
        }
        let Some(latency) = self.current.get_mut(id) else {
            return;
        };
        latency.requests += 1;
        latency.failed += u64::from(seen.failed);
        seen.total.inspect(|seconds| latency.total.observe(*seconds));
        seen.own.inspect(|seconds| latency.own.observe(*seconds));
    }

    /// What `id` did lately; empty where it did nothing.
    pub fn of(&self, id: &str) -> Latency {
        let mut sum = self.previous.get(id).cloned().unwrap_or_default();
        if let Some(current) = self.current.get(id) {
            sum.requests += current.requests;
            sum.failed += current.failed;
            sum.total.merge(&current.total);
            sum.own.merge(&current.own);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observe(recent: &mut Recent, seconds: f64, minute: u64) {
        let seen = Observation {
            total: Some(seconds),
            own: Some(seconds),
            failed: false,
        };
        recent.observe("payment", seen, minute * 60_000_000_000);
    }

    #[test]
    fn what_is_older_than_two_turns_is_forgotten_and_what_is_younger_than_one_is_not() {
        let mut recent = Recent::default();
        (0..5).for_each(|minute| observe(&mut recent, 0.02, minute));
        observe(&mut recent, 0.4, 6);
        assert_eq!(recent.of("payment").requests, 6, "the turn before still counts");
        observe(&mut recent, 0.4, 11);
        let latest = recent.of("payment");
        assert_eq!(latest.requests, 2);
        assert!(latest.own.quantile(0.01).is_some_and(|s| s > 0.3), "{latest:?}");
        observe(&mut recent, 0.02, 60);
        assert_eq!(
            recent.of("payment").requests,
            1,
            "after an hour of silence nothing old is left"
        );
        assert_eq!(recent.of("stranger").requests, 0);
    }
}
