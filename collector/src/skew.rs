//! How long the other half of a call is waited for, learned from how late halves came before.
//!
//! In: for pairs whose halves came far apart, the operation of the half that was first and how long it waited; when a
//! snapshot is cut. Out: [`Waits`] by operation, and those that were in force before, for a replay.
//! Left out on purpose: halves that come together. They are most, and the only use of them is to say how many they are.
//!
//! An operation of a service is as fine as an edge is known while its other half is missing. Waits change only where the
//! stream is cut, so that a replay can change them at the same places and close the same traces at the same times.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use map::NodeId;
use serde::{Deserialize, Serialize};

use crate::names::{Node, Operation};
use crate::shard::Report;

/// Halves that come within this time, nanoseconds, came together: every wait covers it.
pub const TOGETHER: u64 = 500_000_000;
/// Upper bounds of skews, milliseconds: two to the octave.
const BOUNDS: [u64; 14] = [
    707, 1_000, 1_414, 2_000, 2_828, 4_000, 5_657, 8_000, 11_314, 16_000, 22_627, 32_000, 45_255, 64_000,
];
/// Of the halves of an operation at most this share may come after its wait.
const LATE_SHARE: f64 = 0.001;
/// Fewer late halves than this are an accident, not a habit.
const FEWEST: f64 = 3.0;
/// After so long what was seen counts half, nanoseconds.
const HALF_LIFE: u64 = 600_000_000_000;
/// Operations whose halves come late and are remembered; those beyond are waited for as all others.
const MAX_OPERATIONS: usize = 4_096;

/// A half of a call waited for the other: the operation of the half that came first, and nanoseconds.
pub type Skew = (Operation, u64);

/// How long halves are waited for beyond the common wait, by their operations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits(HashMap<usize, (Operation, u64), RandomState>);

impl Waits {
    /// True where nobody is waited for longer than for all others.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How long the other half of a span of this operation is waited for, nanoseconds; 0 for no longer than any.
    pub fn of(&self, operation: Operation) -> u64 {
        self.0.get(&operation.index()).map_or(0, |(_, wait)| *wait)
    }
}

/// The halves of one operation.
#[derive(Clone, Debug)]
struct Seen {
    operation: Operation,
    /// Its spans since the first of its halves came late.
    spans: f64,
    late: [f64; BOUNDS.len()],
}

/// What was learned, and the waits that followed from it.
#[derive(Debug)]
pub struct Skews {
    /// The common wait and the longest, nanoseconds.
    bounds: (u64, u64),
    seen: HashMap<usize, Seen, RandomState>,
    halved: u64,
    /// The waits that were in force, oldest first; the last are in force now.
    history: VecDeque<InForce>,
}

/// Waits that are in force from a cut on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// The cut's position in the journal.
    pub position: u64,
    /// The cut's time, nanoseconds since 1970: what was due by then was due by the waits before.
    pub time: u64,
    /// How long halves are waited for.
    pub waits: Arc<Waits>,
}

/// What a snapshot holds of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedSkews {
    seen: Vec<SavedSeen>,
    history: Vec<SavedInForce>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedInForce {
    position: u64,
    time: u64,
    waits: Vec<(SavedOperation, u64)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedSeen {
    operation: SavedOperation,
    spans: f64,
    late: Vec<f64>,
}

/// The service and the name; the service is missing where nobody said it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct SavedOperation(Option<NodeId>, Arc<str>);

impl SavedOperation {
    fn of(operation: Operation) -> Self {
        let key = operation.get();
        Self(
            key.service.map(|service| service.get().id.clone()),
            Arc::clone(&key.name),
        )
    }

    fn restored(&self) -> Operation {
        Operation::of(self.0.clone().map(Node::service), &self.1)
    }
}

impl Skews {
    /// Nothing learned yet. No wait will be below `wait`, which all have, nor above `longest`.
    pub fn new(wait: Duration, longest: Duration) -> Self {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self {
            bounds: (nanos(wait), nanos(longest)),
            seen: HashMap::default(),
            halved: 0,
            history: VecDeque::new(),
        }
    }

    /// Learns from what a shard reports.
    pub fn note(&mut self, report: &Report) {
        for &(operation, nanos) in &report.skews {
            if self.seen.len() >= MAX_OPERATIONS && !self.seen.contains_key(&operation.index()) {
                continue;
            }
            let seen = self.seen.entry(operation.index()).or_insert_with(|| Seen {
                operation,
                spans: 0.0,
                late: [0.0; BOUNDS.len()],
            });
            let at = BOUNDS.partition_point(|bound| bound * 1_000_000 < nanos);
            // What is later than the last bound cannot be waited for.
            if let Some(late) = seen.late.get_mut(at) {
                *late += 1.0;
            }
        }
        if self.seen.is_empty() {
            return;
        }
        for delta in &report.spans {
            if let Some(seen) = self.seen.get_mut(&delta.operation.index()) {
                seen.spans += delta.calls;
            }
        }
        self.fade(report.time);
    }

    fn fade(&mut self, now: u64) {
        if self.halved == 0 {
            self.halved = now;
        }
        if now.saturating_sub(self.halved) < HALF_LIFE {
            return;
        }
        self.halved = now;
        self.seen.retain(|_, seen| {
            seen.spans /= 2.0;
            seen.late.iter_mut().for_each(|late| *late /= 2.0);
            seen.late.iter().sum::<f64>() >= FEWEST / 4.0
        });
    }

    /// The waits that what was learned asks for.
    pub fn waits(&self) -> Waits {
        let waits = self.seen.iter().filter_map(|(&index, seen)| {
            let wait = self.wait(seen)?;
            Some((index, (seen.operation, wait)))
        });
        Waits(waits.collect())
    }

    /// The shortest wait that all but [`LATE_SHARE`] of the halves come within, of those that can be waited for.
    fn wait(&self, seen: &Seen) -> Option<u64> {
        let (wait, longest) = self.bounds;
        let bounds = BOUNDS.map(|bound| bound * 1_000_000);
        let within = bounds.partition_point(|bound| *bound <= longest);
        let late = seen.late.get(..within)?;
        if late.iter().sum::<f64>() < FEWEST {
            return None;
        }
        let allowed = seen.spans * LATE_SHARE;
        let mut beyond = 0.0;
        let needed = late.iter().zip(bounds).rev().find(|(late, _)| {
            beyond += **late;
            beyond > allowed
        });
        needed.map(|(_, bound)| bound).filter(|bound| *bound > wait)
    }

    /// Notes which waits are in force from a cut on, and forgets those that no replay from position `oldest` needs.
    pub fn change(&mut self, to: InForce, oldest: u64) {
        if self.history.back().is_none_or(|last| *last.waits != *to.waits) {
            self.history.push_back(to);
        }
        while self.history.get(1).is_some_and(|next| next.position <= oldest) {
            self.history.pop_front();
        }
    }

    /// For a snapshot.
    pub fn save(&self) -> SavedSkews {
        let seen = self.seen.values().map(|seen| SavedSeen {
            operation: SavedOperation::of(seen.operation),
            spans: seen.spans,
            late: seen.late.to_vec(),
        });
        let history = self.history.iter().map(|then| {
            let waits = then.waits.0.values();
            let mut waits: Vec<_> = waits
                .map(|(operation, wait)| (SavedOperation::of(*operation), *wait))
                .collect();
            waits.sort();
            SavedInForce {
                position: then.position,
                time: then.time,
                waits,
            }
        });
        let by_name: BTreeMap<_, _> = seen.map(|seen| (seen.operation.clone(), seen)).collect();
        SavedSkews {
            seen: by_name.into_values().collect(),
            history: history.collect(),
        }
    }

    /// Takes up what a snapshot holds.
    pub fn restore(&mut self, saved: &SavedSkews) {
        for SavedSeen {
            operation,
            spans,
            late,
        } in &saved.seen
        {
            let operation = operation.restored();
            let mut seen = Seen {
                operation,
                spans: *spans,
                late: [0.0; BOUNDS.len()],
            };
            seen.late.iter_mut().zip(late).for_each(|(to, from)| *to = *from);
            self.seen.insert(operation.index(), seen);
        }
        self.history = saved.in_force().into();
    }
}

impl SavedSkews {
    /// The waits that were in force, oldest first.
    pub fn in_force(&self) -> Vec<InForce> {
        let restored = self.history.iter().map(|then| {
            let waits = then.waits.iter().map(|(operation, wait)| {
                let operation = operation.restored();
                (operation.index(), (operation, *wait))
            });
            InForce {
                position: then.position,
                time: then.time,
                waits: Arc::new(Waits(waits.collect())),
            }
        });
        restored.collect()
    }
}

#[cfg(test)]
mod tests {
    use otlp::{Kind, StatusCode};

    use super::*;
    use crate::shard::{Latency, SpanDelta};

    const SECOND: u64 = 1_000_000_000;

    fn operation(name: &str) -> Operation {
        Operation::of(Some(Node::service("skew-web".into())), name)
    }

    fn report(time: u64, calls: f64, skews: Vec<Skew>) -> Report {
        let delta = SpanDelta {
            operation: operation("slow"),
            kind: Kind::Client,
            status: StatusCode::Unset,
            calls,
            latency: Latency::default(),
            first: 0,
            last: 0,
            exemplar: None,
        };
        Report {
            time,
            spans: vec![delta],
            skews,
            ..Report::default()
        }
    }

    fn learned(skews: &Skews) -> u64 {
        skews.waits().of(operation("slow"))
    }

    fn skews() -> Skews {
        Skews::new(Duration::from_secs(2), Duration::from_secs(30))
    }

    #[test]
    fn halves_that_use_to_come_late_are_waited_for_and_no_others() {
        let mut skews = skews();
        skews.note(&report(1, 100.0, vec![(operation("slow"), 5 * SECOND); 40]));
        assert_eq!(learned(&skews), 5_657_000_000);
        assert_eq!(skews.waits().of(operation("fast")), 0);
    }

    #[test]
    fn two_accidents_are_no_habit_and_one_in_a_thousand_may_be_late() {
        let mut skews = skews();
        let late = |n| vec![(operation("slow"), 5 * SECOND); n];
        skews.note(&report(1, 10.0, late(2)));
        assert_eq!(learned(&skews), 0);
        skews.note(&report(2, 2_990.0, late(1)));
        assert_eq!(learned(&skews), 0, "three of three thousand");
        skews.note(&report(3, 0.0, late(1)));
        assert_eq!(learned(&skews), 5_657_000_000, "four of three thousand");
    }

    #[test]
    fn nobody_waits_for_what_cannot_be_waited_for_nor_longer_than_is_allowed() {
        let mut skews = skews();
        let late = |seconds, n| vec![(operation("slow"), seconds * SECOND); n];
        skews.note(&report(1, 10.0, late(40, 50)));
        assert_eq!(learned(&skews), 0, "beyond the longest wait");
        skews.note(&report(1, 10.0, late(1, 50)));
        assert_eq!(learned(&skews), 0, "the common wait covers it");
        skews.note(&report(1, 10.0, late(20, 50)));
        assert_eq!(learned(&skews), 22_627_000_000);
    }

    #[test]
    fn a_habit_that_ended_is_forgotten() {
        let mut skews = skews();
        skews.note(&report(1, 10.0, vec![(operation("slow"), 5 * SECOND); 10]));
        assert!(learned(&skews) > 0);
        for round in 1..=4 {
            skews.note(&report(1 + round * HALF_LIFE, 10.0, Vec::new()));
        }
        assert_eq!((learned(&skews), skews.seen.len()), (0, 0));
    }

    #[test]
    fn a_snapshot_holds_what_was_learned_and_the_waits_that_a_replay_needs() {
        let from = |position, waits: &Arc<Waits>| InForce {
            position,
            time: position * SECOND,
            waits: Arc::clone(waits),
        };
        let (none, mut skews) = (Arc::default(), skews());
        skews.change(from(10, &none), 0);
        skews.note(&report(1, 10.0, vec![(operation("slow"), 5 * SECOND); 10]));
        let waits = Arc::new(skews.waits());
        skews.change(from(20, &waits), 5);
        skews.change(from(30, &waits), 5);
        let saved = skews.save();
        assert_eq!(saved.in_force(), [from(10, &none), from(20, &waits)]);
        let mut restored = self::skews();
        restored.restore(&saved);
        assert_eq!((restored.waits(), restored.save()), ((*waits).clone(), saved));
        restored.change(from(40, &none), 20);
        assert_eq!(restored.save().in_force(), [from(20, &waits), from(40, &none)]);
    }
}
