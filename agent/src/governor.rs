//! How much one parent may gather.
//!
//! In: each call that is about to become a child. Out: whether it may, or which bound it meets.
//! Left out on purpose: what happens then, which is the caller's: a trace of its own, with a link.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use propagation::{SpanId, TraceId};

use crate::config::CorrelationConfig;

/// Parents, and traces, that are watched at a time, at about 100 bytes each. Beyond it more are not watched.
const MAX_WATCHED: usize = 16_384;
/// Where there is no room, those that nothing was added to for so long make some.
const IDLE: Duration = Duration::from_mins(1);

/// The bound that a call meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cap {
    /// The parent has too many children.
    Children,
    /// The parent got its first child too long ago.
    Age,
    /// The workload has added too much to the trace.
    Spans,
}

impl Cap {
    /// Its label, and the reason on the link.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Children => "children",
            Self::Age => "age",
            Self::Spans => "spans",
        }
    }
}

/// Watches the parents and traces of one workload.
#[derive(Debug)]
pub(crate) struct Governor {
    max_children: u32,
    max_age: Duration,
    max_spans: u32,
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    parents: HashMap<(TraceId, SpanId), Gathered>,
    traces: HashMap<TraceId, Gathered>,
}

#[derive(Debug, Clone, Copy)]
struct Gathered {
    count: u32,
    first: Instant,
    last: Instant,
}

impl Governor {
    pub(crate) fn new(config: &CorrelationConfig) -> Self {
        Self {
            max_children: config.max_children,
            max_age: config.max_age.0,
            max_spans: config.max_spans,
            tables: Mutex::default(),
        }
    }

    /// Whether a call at `now` may become a child of `parent`; if so it is counted.
    ///
    /// # Errors
    /// The bound that it meets.
    pub(crate) fn admit(&self, trace: TraceId, parent: SpanId, now: Instant) -> Result<(), Cap> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let Tables { parents, traces } = &mut *tables;
        let (mut of_trace, mut of_parent) = (
            watched(traces, trace, now),
            watched(parents, (trace, parent), now),
        );
        if of_trace.as_ref().is_some_and(|of| of.count >= self.max_spans) {
            return Err(Cap::Spans);
        }
        if let Some(of) = &of_parent {
            if of.count >= self.max_children {
                return Err(Cap::Children);
            }
            if now.saturating_duration_since(of.first) > self.max_age {
                return Err(Cap::Age);
            }
        }
        for gathered in [&mut of_trace, &mut of_parent].into_iter().flatten() {
            gathered.count = gathered.count.saturating_add(1);
        }
        Ok(())
    }
}

/// The entry of `key`, made where there is room for it.
fn watched<K: Eq + Hash>(table: &mut HashMap<K, Gathered>, key: K, now: Instant) -> Option<&mut Gathered> {
    if table.len() >= MAX_WATCHED && !table.contains_key(&key) {
        table.retain(|_, gathered| now.saturating_duration_since(gathered.last) < IDLE);
        if table.len() >= MAX_WATCHED {
            return None;
        }
    }
    let gathered = table.entry(key).or_insert(Gathered {
        count: 0,
        first: now,
        last: now,
    });
    gathered.last = now;
    Some(gathered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn governor(max_children: u32, max_spans: u32) -> Governor {
        Governor::new(&CorrelationConfig {
            max_children,
            max_spans,
            ..CorrelationConfig::default()
        })
    }

    fn ids(n: u64) -> (TraceId, SpanId) {
        let trace = u128::from(n) + 1;
        let trace = TraceId::from_bytes(trace.to_be_bytes()).expect("an id");
        (trace, SpanId::from_bytes([1; 8]).expect("an id"))
    }

    #[test]
    fn a_parent_has_so_many_children_and_no_more() {
        let (governor, now) = (governor(2, 100), Instant::now());
        let ((one, parent), (other, _)) = (ids(1), ids(2));
        assert_eq!(governor.admit(one, parent, now), Ok(()));
        assert_eq!(governor.admit(one, parent, now), Ok(()));
        assert_eq!(governor.admit(one, parent, now), Err(Cap::Children));
        assert_eq!(governor.admit(other, parent, now), Ok(()));
    }

    #[test]
    fn a_parent_has_children_for_so_long_and_no_longer() {
        let (governor, now) = (governor(9, 100), Instant::now());
        let (trace, parent) = ids(1);
        let hour = Duration::from_hours(1);
        assert_eq!(governor.admit(trace, parent, now), Ok(()));
        assert_eq!(governor.admit(trace, parent, now + hour), Ok(()));
        let later = now + hour + Duration::from_nanos(1);
        assert_eq!(governor.admit(trace, parent, later), Err(Cap::Age));
    }

    #[test]
    fn a_trace_gets_so_many_calls_whatever_their_parents() {
        let (governor, now) = (governor(9, 2), Instant::now());
        let (trace, parent) = ids(1);
        let other = SpanId::from_bytes([2; 8]).expect("an id");
        assert_eq!(governor.admit(trace, parent, now), Ok(()));
        assert_eq!(governor.admit(trace, other, now), Ok(()));
        assert_eq!(governor.admit(trace, parent, now), Err(Cap::Spans));
    }

    #[test]
    fn what_is_watched_is_bounded_and_idle_ones_make_room() {
        let (governor, now) = (governor(1, 1), Instant::now());
        for n in 0..MAX_WATCHED as u64 + 10 {
            let (trace, parent) = ids(n);
            assert_eq!(governor.admit(trace, parent, now), Ok(()));
        }
        let len = |governor: &Governor| governor.tables.lock().expect("a lock").parents.len();
        assert_eq!(len(&governor), MAX_WATCHED);
        let (trace, parent) = ids(MAX_WATCHED as u64 + 20);
        assert_eq!(governor.admit(trace, parent, now + IDLE), Ok(()));
        assert_eq!(len(&governor), 1);
    }
}
