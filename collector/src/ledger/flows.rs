//! Messages followed from producer to consumer, and which of them were counted.
//!
//! In: flows, added and taken back. Out: [`map::Flow`]s, and whether a flow was counted before, in this life or the last.
//! Left out on purpose: counters for Prometheus; they have their own keeper (`series`).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use map::{Flow, FlowKey, Sample};
use serde::{Deserialize, Serialize};

use super::identity::{Identity, overflow};
use crate::assemble::FlowSeen;
use crate::names::Node;
use crate::series::Slab;

/// Producer, destination and consumer.
pub(super) type Ends = (Node, Option<Node>, Node);

/// One flow as spans name it.
#[derive(Clone, Debug)]
pub(super) struct FlowSlot {
    pub(super) ends: Ends,
    pub(super) flow: Flow,
    pub(super) messages: u64,
    /// Its edge in the service graph, and the generation in which that was found.
    pub(super) graph: Option<(u32, u32)>,
    pub(super) touched: u64,
}

/// All flows.
#[derive(Debug, Default)]
pub(super) struct Flows {
    pub(super) slots: Slab<FlowSlot>,
    by_ends: HashMap<Ends, u32>,
}

impl Flows {
    /// The slot of a flow's ends, by the nodes that stand for its services.
    pub(super) fn find(&self, seen: &FlowSeen, identity: &Identity) -> Option<u32> {
        self.by_ends.get(&resolve(seen, identity)).copied()
    }

    /// The same; where the budget is spent, the overflow's.
    pub(super) fn find_or_add(&mut self, seen: &FlowSeen, identity: &Identity) -> u32 {
        let ends = resolve(seen, identity);
        let full = self.by_ends.len() >= identity.budget.edges && !self.by_ends.contains_key(&ends);
        self.of(if full {
            (overflow(), None, overflow())
        } else {
            ends
        })
    }

    fn of(&mut self, ends: Ends) -> u32 {
        if let Some(at) = self.by_ends.get(&ends) {
            return *at;
        }
        let at = self.slots.insert(FlowSlot {
            ends,
            flow: Flow::default(),
            messages: 0,
            graph: None,
            touched: 0,
        });
        self.by_ends.insert(ends, at);
        at
    }

    /// Puts a flow back that was saved.
    pub(super) fn restore(&mut self, saved: FlowSlot) {
        let at = self.of(saved.ends);
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = saved;
        }
    }

    /// Removes a slot.
    pub(super) fn remove(&mut self, at: u32) {
        if let Some(slot) = self.slots.remove(at) {
            self.by_ends.remove(&slot.ends);
        }
    }

    /// All flows as the map shows them.
    pub(super) fn to_map(&self, identity: &Identity) -> BTreeMap<FlowKey, Flow> {
        let mut flows: BTreeMap<FlowKey, Flow> = BTreeMap::new();
        for (_, slot) in self.slots.iter() {
            let (producer, destination, consumer) = slot.ends;
            let key = FlowKey {
                producer: identity.display(producer),
                destination: destination.map(|node| identity.display(identity.canonical(node, None))),
                consumer: identity.display(consumer),
            };
            let flow = flows.entry(key).or_default();
            flow.requests += slot.flow.requests;
            flow.failed += slot.flow.failed;
            flow.queue.merge(&slot.flow.queue);
        }
        flows
    }
}

fn resolve(seen: &FlowSeen, identity: &Identity) -> Ends {
    let destination = seen.destination.map(|node| identity.canonical(node, None));
    (
        identity.service(seen.producer),
        destination,
        identity.service(seen.consumer),
    )
}

impl FlowSlot {
    pub(super) fn add(&mut self, seen: &FlowSeen, queue: Sample, now: u64) {
        let weight = f64::from(seen.weight);
        self.touched = now;
        self.messages += 1;
        self.flow.requests += weight;
        self.flow.failed += if seen.failed { weight } else { 0.0 };
        self.flow.queue.add(queue);
    }

    /// True where no message is left.
    pub(super) fn take_back(&mut self, seen: &FlowSeen) -> bool {
        let weight = f64::from(seen.weight);
        self.messages = self.messages.saturating_sub(1);
        self.flow.requests = (self.flow.requests - weight).max(0.0);
        self.flow.failed = (self.flow.failed - if seen.failed { weight } else { 0.0 }).max(0.0);
        self.flow.queue.remove(seen.queue);
        self.messages == 0
    }
}

/// At most this many flows are remembered; beyond it the oldest is forgotten early.
const MAX_REMEMBERED: usize = 500_000;

/// Which flows were counted lately, so that a replay counts none twice.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub(super) struct Remembered {
    /// How often a flow's key was counted, and how many of those the map holds.
    counts: HashMap<u64, Times>,
    order: VecDeque<(u64, u64)>,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Times {
    counted: u32,
    held: u32,
}

/// What is new about a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It was never seen.
    All,
    /// It was counted, and taken back from the map since.
    MapOnly,
    /// Map and counters have it.
    Nothing,
}

impl Remembered {
    /// Notes a flow at `now`. `again` is how many of the same key the same trace told of at the same time, this included:
    /// a batch may hold twins.
    pub(super) fn note(&mut self, key: u64, again: u32, now: u64) -> News {
        let times = self.counts.entry(key).or_insert_with(|| {
            self.order.push_back((now, key));
            Times::default()
        });
        if times.held >= again {
            return News::Nothing;
        }
        times.held += 1;
        if times.counted >= again {
            return News::MapOnly;
        }
        times.counted += 1;
        News::All
    }

    /// Notes that a flow was taken back from the map.
    pub(super) fn take_back(&mut self, key: u64) {
        if let Some(times) = self.counts.get_mut(&key) {
            times.held = times.held.saturating_sub(1);
        }
    }

    /// Forgets what is older than `keep`.
    pub(super) fn forget(&mut self, now: u64, keep: Duration) {
        let keep = u64::try_from(keep.as_nanos()).unwrap_or(u64::MAX);
        while let Some(&(at, key)) = self.order.front() {
            if at.saturating_add(keep) > now && self.order.len() <= MAX_REMEMBERED {
                break;
            }
            self.order.pop_front();
            self.counts.remove(&key);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }
}

#[derive(Serialize, Deserialize)]
struct Saved(Vec<(u64, u64, Times)>);

impl From<Saved> for Remembered {
    fn from(Saved(flows): Saved) -> Self {
        Self {
            order: flows.iter().map(|(at, key, _)| (*at, *key)).collect(),
            counts: flows.into_iter().map(|(_, key, times)| (key, times)).collect(),
        }
    }
}

impl From<Remembered> for Saved {
    fn from(flows: Remembered) -> Self {
        Self::of(&flows)
    }
}

impl Saved {
    fn of(flows: &Remembered) -> Self {
        let times = |key: &u64| flows.counts.get(key).copied().unwrap_or_default();
        Self(
            flows
                .order
                .iter()
                .map(|(at, key)| (*at, *key, times(key)))
                .collect(),
        )
    }
}

impl Clone for Remembered {
    fn clone(&self) -> Self {
        Self::from(Saved::of(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_is_counted_once_and_told_to_the_map_as_often_as_it_was_taken_back() {
        let mut flows = Remembered::default();
        assert_eq!(flows.note(7, 1, 10), News::All);
        assert_eq!(flows.note(7, 1, 11), News::Nothing);
        flows.take_back(7);
        assert_eq!(flows.note(7, 1, 12), News::MapOnly);
        assert_eq!(
            flows.note(7, 2, 12),
            News::All,
            "its twin in the same batch is another"
        );
        let saved = serde_json::to_string(&flows.clone()).unwrap();
        let mut flows: Remembered = serde_json::from_str(&saved).unwrap();
        assert_eq!(flows.note(7, 2, 13), News::Nothing);
        flows.forget(70, Duration::from_nanos(60));
        assert_eq!(flows.len(), 0);
        assert_eq!(flows.note(7, 1, 71), News::All);
    }
}
