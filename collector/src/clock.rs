//! The collector's time: nanoseconds since 1970 that never go back.
//!
//! In: the system's clock, and the latest time that an earlier run used. Out: a time at least as late.
//! Left out on purpose: following a clock that is set back while we run. Waiting and learning need time that passes.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clock that does not go back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
    base: u64,
}

impl Clock {
    /// A clock that shows the system's time, or `floor` where that is later.
    pub(crate) fn after(floor: u64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or(Duration::ZERO).as_nanos() as u64;
        Self {
            started: Instant::now(),
            base: now.max(floor),
        }
    }

    /// Nanoseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        self.base.saturating_add(self.started.elapsed().as_nanos() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_between_two_runs_goes_on_from_where_it_was() {
        let far = 5_000_000_000_000_000_000;
        assert!(Clock::after(far).now() >= far);
        let now = Clock::after(0).now();
        assert!(now > 1_700_000_000_000_000_000 && now < far, "{now}");
    }
}
