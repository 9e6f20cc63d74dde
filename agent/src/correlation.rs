//! The requests in flight of one workload, and which of them an outbound call belongs to.
//!
//! In: inbound requests as they begin and end; contexts and correlation ids that outbound calls carry.
//! Out: the one request in flight that carried context or an exact id points to, or none; and whether only one was in
//! flight at all, which `exclusive.rs` makes something of.
//! Left out on purpose: order and likelihood. Of two candidates neither is taken.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use propagation::{CorrelationId, SpanContext, TraceId};

/// Requests in flight that are remembered: at about 400 bytes each, 26 MB. Beyond it requests pass and are not candidates.
const MAX_IN_FLIGHT: usize = 65_536;

/// An inbound request in flight.
#[derive(Debug)]
pub(crate) struct Live {
    /// The agent's span of it, or the caller's where the trace is not recorded.
    pub(crate) context: SpanContext,
    /// Its correlation id.
    pub(crate) correlation: CorrelationId,
}

/// What a correlation id says about an outbound call.
#[derive(Debug)]
pub(crate) enum Match {
    /// Exactly one request in flight has it.
    One(Arc<Live>),
    /// Several have it: a caller's retries, or a fan-in.
    Several,
    /// None has it.
    None,
}

/// How many requests are in flight, as far as a call that carries nothing is concerned.
#[derive(Debug)]
pub(crate) enum InFlight {
    /// None.
    None,
    /// One, and no other was since it began.
    Alone(Arc<Live>),
    /// Several, or one that was not always alone.
    Several,
}

/// The requests in flight of one workload.
#[derive(Debug)]
pub(crate) struct LiveRequests {
    tables: Mutex<Tables>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Tables {
    entered: u64,
    count: usize,
    /// The key of the request that is in flight and has been alone since it began.
    alone: Option<(u64, Arc<Live>)>,
    by_trace: HashMap<TraceId, Group>,
    by_id: HashMap<CorrelationId, Group>,
}

/// Requests in flight that have something in common, each with its key; nearly always one.
#[derive(Debug)]
enum Group {
    One(u64, Arc<Live>),
    Several(HashMap<u64, Arc<Live>>),
}

/// Keeps a request among those in flight until dropped.
#[derive(Debug)]
pub(crate) struct LiveGuard {
    requests: Arc<LiveRequests>,
    live: Arc<Live>,
    key: u64,
}

impl Default for LiveRequests {
    fn default() -> Self {
        Self {
            tables: Mutex::default(),
            limit: MAX_IN_FLIGHT,
        }
    }
}

impl LiveRequests {
    /// Remembers a request until the guard is dropped; `None` if too many are in flight already.
    pub(crate) fn enter(
        self: &Arc<Self>,
        context: SpanContext,
        correlation: CorrelationId,
    ) -> Option<LiveGuard> {
        let mut tables = self.lock();
        if tables.count >= self.limit {
            return None;
        }
        tables.count += 1;
        tables.entered += 1;
        let key = tables.entered;
        let live = Arc::new(Live { context, correlation });
        tables.alone = (tables.count == 1).then(|| (key, live.clone()));
        remember(&mut tables.by_trace, live.context.trace_id, key, &live);
        remember(&mut tables.by_id, live.correlation.clone(), key, &live);
        drop(tables);
        Some(LiveGuard {
            requests: self.clone(),
            live,
            key,
        })
    }

    /// The correlation id of the request in flight that `carried` continues: the one whose span it names, else what all
    /// requests in flight of its trace agree on.
    pub(crate) fn correlation_of(&self, carried: &SpanContext) -> Option<CorrelationId> {
        let tables = self.lock();
        let mut of_trace = tables.by_trace.get(&carried.trace_id)?.members();
        if let Some(parent) = of_trace
            .clone()
            .find(|live| live.context.span_id == carried.span_id)
        {
            return Some(parent.correlation.clone());
        }
        let first = of_trace.next()?;
        of_trace
            .all(|live| live.correlation == first.correlation)
            .then(|| first.correlation.clone())
    }

    /// The request in flight that has this correlation id.
    pub(crate) fn by_id(&self, id: &CorrelationId) -> Match {
        let tables = self.lock();
        let Some(group) = tables.by_id.get(id) else {
            return Match::None;
        };
        let mut candidates = group.members();
        match (candidates.next(), candidates.next()) {
            (Some(live), None) => Match::One(live.clone()),
            (Some(_), Some(_)) => Match::Several,
            (None, _) => Match::None,
        }
    }

    /// How many requests are in flight.
    pub(crate) fn in_flight(&self) -> InFlight {
        let tables = self.lock();
        match (&tables.alone, tables.count) {
            (Some((_, live)), _) => InFlight::Alone(live.clone()),
            (None, 0) => InFlight::None,
            (None, _) => InFlight::Several,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LiveGuard {
    fn drop(&mut self) {
        let mut tables = self.requests.lock();
        tables.count = tables.count.saturating_sub(1);
        tables.alone = tables.alone.take().filter(|(key, _)| *key != self.key);
        forget(&mut tables.by_trace, &self.live.context.trace_id, self.key);
        forget(&mut tables.by_id, &self.live.correlation, self.key);
    }
}

fn remember<K: Eq + Hash>(groups: &mut HashMap<K, Group>, name: K, key: u64, live: &Arc<Live>) {
    match groups.entry(name) {
        Entry::Vacant(vacant) => drop(vacant.insert(Group::One(key, live.clone()))),
        Entry::Occupied(mut occupied) => match occupied.get_mut() {
            Group::Several(members) => drop(members.insert(key, live.clone())),
            Group::One(first, only) => {
                let members = [(*first, only.clone()), (key, live.clone())];
                occupied.insert(Group::Several(members.into()));
            }
        },
    }
}

fn forget<K: Eq + Hash>(groups: &mut HashMap<K, Group>, name: &K, key: u64) {
    let is_empty = match groups.get_mut(name) {
        Some(Group::One(only, _)) => *only == key,
        Some(Group::Several(members)) => {
            members.remove(&key);
            members.is_empty()
        }
        None => false,
    };
    if is_empty {
        groups.remove(name);
    }
}

impl Group {
    fn members(&self) -> impl Iterator<Item = &Arc<Live>> + Clone {
        let (one, several) = match self {
            Self::One(_, live) => (Some(live), None),
            Self::Several(members) => (None, Some(members.values())),
        };
        one.into_iter().chain(several.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use propagation::SpanId;

    fn context(trace: u8, span: u8) -> SpanContext {
        let mut ids = (|| [trace; 16], || [span; 8]);
        SpanContext::start(&mut ids, true)
    }

    fn id(text: &str) -> CorrelationId {
        CorrelationId::parse(text.as_bytes()).expect("a correlation id")
    }

    fn parent(found: &Match) -> Option<SpanId> {
        match found {
            Match::One(live) => Some(live.context.span_id),
            Match::Several | Match::None => None,
        }
    }

    #[test]
    fn an_id_points_to_a_request_only_while_exactly_one_in_flight_has_it() {
        let requests = Arc::new(LiveRequests::default());
        let first = requests.enter(context(1, 1), id("order-7"));
        let expected = context(1, 1).span_id;
        assert_eq!(parent(&requests.by_id(&id("order-7"))), Some(expected));
        let retry = requests.enter(context(2, 2), id("order-7"));
        assert!(matches!(requests.by_id(&id("order-7")), Match::Several));
        drop(retry);
        assert_eq!(parent(&requests.by_id(&id("order-7"))), Some(expected));
        drop(first);
        assert!(matches!(requests.by_id(&id("order-7")), Match::None));
        assert!(
            requests.lock().by_trace.is_empty(),
            "nothing is kept of requests that ended"
        );
    }

    #[test]
    fn a_carried_context_finds_the_correlation_id_by_span_then_by_what_its_trace_agrees_on() {
        let requests = Arc::new(LiveRequests::default());
        let _one = requests.enter(context(1, 1), id("a"));
        assert_eq!(
            requests.correlation_of(&context(1, 9)),
            Some(id("a")),
            "an SDK's span within it"
        );
        let _two = requests.enter(context(1, 2), id("b"));
        assert_eq!(requests.correlation_of(&context(1, 2)), Some(id("b")));
        assert_eq!(
            requests.correlation_of(&context(1, 9)),
            None,
            "two requests of one trace disagree"
        );
        assert_eq!(requests.correlation_of(&context(3, 1)), None);
    }

    #[test]
    fn a_request_is_alone_only_if_no_other_was_in_flight_since_it_began() {
        let requests = Arc::new(LiveRequests::default());
        let alone = || match requests.in_flight() {
            InFlight::None => "none",
            InFlight::Alone(_) => "alone",
            InFlight::Several => "several",
        };
        assert_eq!(alone(), "none");
        let first = requests.enter(context(1, 1), id("a"));
        assert_eq!(alone(), "alone");
        let second = requests.enter(context(2, 2), id("b"));
        assert_eq!(alone(), "several");
        drop(second);
        assert_eq!(alone(), "several", "the other may have left work behind");
        drop(first);
        assert_eq!(alone(), "none");
        let third = requests.enter(context(3, 3), id("c"));
        assert_eq!(alone(), "alone");
        drop(third);
        assert_eq!(alone(), "none");
    }

    #[test]
    fn at_the_bound_a_request_is_not_remembered_and_its_end_makes_room() {
        let requests = Arc::new(LiveRequests {
            limit: 1,
            ..LiveRequests::default()
        });
        let first = requests.enter(context(1, 1), id("a"));
        assert!(first.is_some());
        assert!(requests.enter(context(2, 2), id("b")).is_none());
        drop(first);
        assert!(requests.enter(context(2, 2), id("b")).is_some());
    }
}
