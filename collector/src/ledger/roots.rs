//! With which operations traces begin, and which edges they pass.
//!
//! In: traces as they close. Out: [`map::Root`]s.
//! Left out on purpose: late spans. A trace is counted as it was when it first closed, so that a replay counts the same.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;
use map::roots::{OTHER_OPERATIONS, Passed, Root, RootKey};

use super::edges::{Edges, Pair};
use super::identity::Identity;
use crate::assemble::Call;
use crate::names::Node;
use crate::shard::Closing;

/// Operations that are told apart; the others of a service are one.
const MAX_ROOTS: usize = 1_024;
/// Edges of one operation that are remembered.
const MAX_EDGES: usize = 512;
/// So many traces of an operation are looked into one by one, then one of [`ONE_OF`] by its id.
const ALL_OF: u64 = 4_096;
/// See [`ALL_OF`].
const ONE_OF: u8 = 8;

/// All operations that begin traces.
#[derive(Debug, Default)]
pub(super) struct Roots {
    by: HashMap<(Node, Arc<str>), RootTally, FixedState>,
    /// Spans of all traces that closed, with or without one, since the start.
    spans: u64,
}

/// One of them.
#[derive(Clone, Debug, Default)]
pub(super) struct RootTally {
    /// Without edges.
    pub(super) root: Root,
    pub(super) closed: u64,
    /// When the last one closed, nanoseconds.
    pub(super) touched: u64,
    pub(super) edges: HashMap<Pair, PairTally, FixedState>,
}

/// An edge that its traces pass.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PairTally {
    pub(super) passed: Passed,
    /// The number of the last trace that did.
    last: u64,
}

impl Roots {
    /// Counts a trace that closes for the first time.
    pub(super) fn note(&mut self, closing: &Closing) {
        if closing.late {
            return;
        }
        self.spans += u64::from(closing.spans);
        let Some(root) = closing.root else {
            return;
        };
        let Some(node) = root.operation.service else {
            return;
        };
        let mut visits = closing.added.visits.iter();
        let first = visits.find(|visit| visit.operation == root.operation && visit.start == root.start);
        let weight = first.map_or(1.0, |visit| f64::from(visit.weight));
        let tally = self.tally(node, &root.operation.get().name);
        tally.closed += 1;
        tally.touched = closing.time;
        tally.root.traces += weight;
        tally.root.seen += f64::from(closing.spans);
        tally.root.plain += if (weight - 1.0).abs() < f64::EPSILON {
            weight
        } else {
            0.0
        };
        tally.root.failed += if root.failed { weight } else { 0.0 };
        if tally.closed > ALL_OF && !closing.trace[15].is_multiple_of(ONE_OF) {
            return;
        }
        tally.root.looked += weight;
        tally.root.spans += weight * f64::from(closing.spans);
        for call in &closing.added.calls {
            tally.pass(call, weight);
        }
    }

    fn tally(&mut self, node: Node, operation: &Arc<str>) -> &mut RootTally {
        let mut key = (node, Arc::clone(operation));
        if self.by.len() >= MAX_ROOTS && !self.by.contains_key(&key) {
            key.1 = OTHER_OPERATIONS.into();
        }
        self.by.entry(key).or_default()
    }

    /// Spans of all traces that closed for the first time since the start.
    pub(super) fn spans(&self) -> u64 {
        self.spans
    }

    /// Forgets operations with which no trace began since.
    pub(super) fn sweep(&mut self, before: u64) {
        self.by.retain(|_, tally| tally.touched >= before);
    }

    /// All of them, by id and name.
    pub(super) fn sorted(&self) -> Vec<(&(Node, Arc<str>), &RootTally)> {
        let mut all: Vec<_> = self.by.iter().collect();
        all.sort_by(|((a, of_a), _), ((b, of_b), _)| (&a.id, of_a).cmp(&(&b.id, of_b)));
        all
    }

    /// Puts one back that was saved.
    pub(super) fn restore(&mut self, key: (Node, Arc<str>), tally: RootTally) {
        self.by.insert(key, tally);
    }

    /// As the map shows them. Edges that it no longer has are left out.
    pub(super) fn to_map(&self, edges: &Edges, identity: &Identity) -> BTreeMap<RootKey, Root> {
        let mut roots: BTreeMap<RootKey, Root> = BTreeMap::new();
        for ((node, operation), tally) in &self.by {
            let key = RootKey {
                node: identity.display(*node),
                operation: operation.to_string(),
            };
            let root = roots.entry(key).or_default();
            root.traces += tally.root.traces;
            root.plain += tally.root.plain;
            root.failed += tally.root.failed;
            root.looked += tally.root.looked;
            root.spans += tally.root.spans;
            root.seen += tally.root.seen;
            for (pair, of) in &tally.edges {
                let Some(slot) = edges.find(*pair).and_then(|at| edges.slots.get(at)) else {
                    continue;
                };
                let passed = root.edges.entry(slot.key.clone()).or_default();
                passed.traces += of.passed.traces;
                passed.requests += of.passed.requests;
            }
        }
        roots
    }
}

impl RootTally {
    fn pass(&mut self, call: &Call, weight: f64) {
        let pair = (call.client, call.server, call.connection);
        if self.edges.len() >= MAX_EDGES && !self.edges.contains_key(&pair) {
            return;
        }
        let of = self.edges.entry(pair).or_default();
        of.passed.requests += weight;
        if std::mem::replace(&mut of.last, self.closed) != self.closed {
            of.passed.traces += weight;
        }
    }
}

impl PairTally {
    /// One that was saved.
    pub(super) fn of(passed: Passed) -> Self {
        Self { passed, last: 0 }
    }
}
