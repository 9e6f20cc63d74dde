//! What traces say of edges, by the ends that spans name, and how that reads as a map.
//!
//! In: calls, added and taken back. Out: [`map::Edge`]s under the names that their ends have now.
//! An edge is kept under its ends as spans name them, not as the map does, so that a call is taken back exactly where it
//! was added whatever was learned of its ends meanwhile, and what merges can also part again.
//! Left out on purpose: counters for Prometheus. They never go back and have their own keeper (`series`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;
use map::{ConnectionType, EdgeKey, Evidence, NodeId, Seen};

use super::identity::{Identity, overflow};
use super::tally::Tally;
use crate::assemble::{Basis, Call};
use crate::names::Node;
use crate::series::{Observed, Slab};
use crate::span::TraceId;

/// Caller, callee and, where it is set, the connection, as spans name them.
pub(super) type Pair = (Node, Node, Option<ConnectionType>);

/// One edge as spans name it.
#[derive(Clone, Debug)]
pub(super) struct EdgeSlot {
    pub(super) pair: Pair,
    /// The nodes that stand for its ends.
    pub(super) ends: (Node, Node),
    /// What the map calls it.
    pub(super) key: EdgeKey,
    pub(super) stats: Tally,
    pub(super) evidence: Evidence,
    pub(super) seen: Seen,
    /// The three newest examples, the newest at `examples_noted - 1` modulo 3.
    pub(super) examples: [TraceId; 3],
    pub(super) examples_noted: u64,
    /// When it was last counted, nanoseconds of the collector's clock.
    pub(super) touched: u64,
}

/// What is saved of an edge beside its ends.
pub(super) struct SavedSlot {
    pub(super) stats: Tally,
    pub(super) evidence: Evidence,
    pub(super) seen: Seen,
    pub(super) examples: [TraceId; 3],
    pub(super) examples_noted: u64,
    pub(super) touched: u64,
}

/// The times of a call, each with its place in the histograms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) client: Option<Observed>,
    pub(super) server: Option<Observed>,
    pub(super) own: Option<Observed>,
    pub(super) queue: Option<Observed>,
}

impl Times {
    pub(super) fn of(call: &Call) -> Self {
        let client = call.client_seconds.map(Observed::of);
        let server = call.server_seconds.map(Observed::of);
        // Where the far side reports nothing the whole calling span is own time.
        let own = if call.own == call.client_seconds {
            client
        } else {
            call.own.map(Observed::of)
        };
        Self {
            client,
            server,
            own,
            queue: call.queue.map(Observed::of),
        }
    }
}

/// All edges.
#[derive(Debug, Default)]
pub(super) struct Edges {
    pub(super) slots: Slab<EdgeSlot>,
    by_pair: HashMap<Pair, u32, FixedState>,
    /// How many slots read as one edge of the map, and the id of its series.
    keys: HashMap<EdgeKey, (u32, Arc<str>)>,
    /// How many edges of the map have one id.
    ids: HashMap<Arc<str>, u32>,
}

/// An edge that the map no longer has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) key: EdgeKey,
    /// The id of its series.
    pub(super) id: Arc<str>,
}

impl Edges {
    /// True where the map has the edge.
    pub(super) fn holds(&self, key: &EdgeKey) -> bool {
        self.keys.contains_key(key)
    }

    /// True where an edge of the map has the id.
    pub(super) fn holds_id(&self, id: &str) -> bool {
        self.ids.contains_key(id)
    }

    /// The id of an edge's series.
    pub(super) fn id(&self, key: &EdgeKey) -> Option<&Arc<str>> {
        self.keys.get(key).map(|(_, id)| id)
    }

    /// The slot of a call's ends, where there is one.
    pub(super) fn find(&self, pair: Pair) -> Option<u32> {
        self.by_pair.get(&pair).copied()
    }

    /// The slot that calls between these ends are added to, and whether a budget took their names away.
    ///
    /// `pair` is taken as it is while there is room, then by the nodes that stand for its ends, then as the overflow.
    pub(super) fn find_or_add(&mut self, pair: Pair, identity: &mut Identity) -> (u32, Folded) {
        let (client, server) = resolve(pair, identity);
        let (mut folded, mut pair) = (Folded::No, pair);
        if client == overflow() || server == overflow() {
            let named = |raw: Node, node: Node| if node == overflow() { node } else { raw };
            pair = (named(pair.0, client), named(pair.1, server), pair.2);
            folded = Folded::Node;
        }
        if let Some(at) = self.find(pair) {
            return (at, folded);
        }
        let key = key_of((client, server), pair.2, identity);
        if self.keys.len() >= identity.budget.edges && !self.keys.contains_key(&key) {
            pair = (client, overflow(), Some(ConnectionType::VirtualNode));
            folded = Folded::Edge;
        } else if self.slots.len() >= identity.budget.edges.saturating_mul(2) {
            pair = (client, server, pair.2);
        }
        let at = self.find(pair).unwrap_or_else(|| self.add(pair, identity));
        (at, folded)
    }

    /// Where a call was added whose ends have no slot of their own.
    pub(super) fn find_folded(&self, pair: Pair, identity: &Identity) -> Option<u32> {
        let (client, server) = resolve(pair, identity);
        let full = self.keys.len() >= identity.budget.edges;
        let beyond = full.then_some((client, overflow(), Some(ConnectionType::VirtualNode)));
        let canonical = self.find((client, server, pair.2));
        canonical.or_else(|| beyond.and_then(|pair| self.find(pair)))
    }

    fn add(&mut self, pair: Pair, identity: &mut Identity) -> u32 {
        let ends = resolve(pair, identity);
        // Held first: what an id's owner is called decides over the next of that id.
        identity.hold(ends.0);
        identity.hold(ends.1);
        let key = key_of(ends, pair.2, identity);
        self.take_key(&key, ends.1);
        let at = self.slots.insert(EdgeSlot {
            pair,
            ends,
            key,
            stats: Tally::default(),
            evidence: Evidence::default(),
            seen: Seen::default(),
            examples: [[0; 16]; 3],
            examples_noted: 0,
            touched: 0,
        });
        self.by_pair.insert(pair, at);
        at
    }

    /// Puts an edge back that was saved.
    pub(super) fn restore(&mut self, pair: Pair, saved: SavedSlot, identity: &mut Identity) {
        let at = self.find(pair).unwrap_or_else(|| self.add(pair, identity));
        if let Some(slot) = self.slots.get_mut(at) {
            slot.stats = saved.stats;
            slot.evidence = saved.evidence;
            slot.seen = saved.seen;
            slot.examples = saved.examples;
            slot.examples_noted = saved.examples_noted;
            slot.touched = saved.touched;
        }
    }

    /// Removes a slot; returns the edge where no other slot reads as the same.
    pub(super) fn remove(&mut self, at: u32, identity: &mut Identity) -> Option<Gone> {
        let slot = self.slots.remove(at)?;
        self.by_pair.remove(&slot.pair);
        identity.release(slot.ends.0);
        identity.release(slot.ends.1);
        self.drop_key(&slot.key)
    }

    /// Names every edge anew; returns those that the map has no more under their old name.
    pub(super) fn rename(&mut self, identity: &mut Identity) -> Renamed {
        let mut moved = Vec::new();
        for (at, slot) in self.slots.iter() {
            let ends = resolve(slot.pair, identity);
            if ends != slot.ends {
                moved.push((at, ends));
            }
        }
        for (at, ends) in moved {
            let Some(slot) = self.slots.get_mut(at) else {
                continue;
            };
            let old = std::mem::replace(&mut slot.ends, ends);
            for (new, old) in [(ends.0, old.0), (ends.1, old.1)] {
                identity.hold(new);
                identity.release(old);
            }
        }
        // An id whose owner went belongs to the next that has a claim to it.
        for (_, slot) in self.slots.iter() {
            identity.own(slot.ends.0);
            identity.own(slot.ends.1);
        }
        // Only now is it known who is there, and by that what each is called.
        let mut renamed = Vec::new();
        for (at, slot) in self.slots.iter() {
            let key = key_of(slot.ends, slot.pair.2, identity);
            if key != slot.key {
                renamed.push((at, key));
            }
        }
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for (at, key) in renamed {
            let Some(slot) = self.slots.get_mut(at) else {
                continue;
            };
            let server = slot.ends.1;
            old.push(std::mem::replace(&mut slot.key, key.clone()));
            self.take_key(&key, server);
            new.push(key);
        }
        let gone = old.iter().filter_map(|key| self.drop_key(key)).collect();
        Renamed { gone, new }
    }

    /// One slot more reads as the edge.
    fn take_key(&mut self, key: &EdgeKey, server: Node) {
        if let Some((count, _)) = self.keys.get_mut(key) {
            *count += 1;
            return;
        }
        let id: Arc<str> = key.id(server.kind).into();
        *self.ids.entry(Arc::clone(&id)).or_default() += 1;
        self.keys.insert(key.clone(), (1, id));
    }

    /// One slot less reads as the edge; the edge where it was the last.
    fn drop_key(&mut self, key: &EdgeKey) -> Option<Gone> {
        let (count, _) = self.keys.get_mut(key)?;
        *count = count.saturating_sub(1);
        if *count > 0 {
            return None;
        }
        let (key, (_, id)) = self.keys.remove_entry(key)?;
        if let Some(count) = self.ids.get_mut(&id) {
            *count -= 1;
            if *count == 0 {
                self.ids.remove(&id);
            }
        }
        Some(Gone { key, id })
    }

    /// All edges as the map shows them.
    pub(super) fn to_map(&self) -> BTreeMap<EdgeKey, map::Edge> {
        let mut edges: BTreeMap<EdgeKey, map::Edge> = BTreeMap::new();
        for (_, slot) in self.slots.iter() {
            let edge = slot.to_edge();
            match edges.entry(slot.key.clone()) {
                std::collections::btree_map::Entry::Vacant(place) => {
                    place.insert(edge);
                }
                std::collections::btree_map::Entry::Occupied(mut place) => place.get_mut().merge(edge),
            }
        }
        edges
    }
}

/// What came of edges that are called otherwise.
#[derive(Debug)]
pub(super) struct Renamed {
    /// Those of the old names that no edge has any more.
    pub(super) gone: Vec<Gone>,
    /// The new names, some of which other edges had before.
    pub(super) new: Vec<EdgeKey>,
}

/// Whether a budget took the names of a request's ends away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Folded {
    /// It has them.
    No,
    /// The budget of nodes did.
    Node,
    /// The budget of edges did.
    Edge,
}

fn resolve(pair: Pair, identity: &Identity) -> (Node, Node) {
    let client = identity.canonical(pair.0, None);
    (client, identity.canonical(pair.1, Some(client)))
}

fn key_of(ends: (Node, Node), connection: Option<ConnectionType>, identity: &Identity) -> EdgeKey {
    let connection = connection.unwrap_or_else(|| Identity::connection(ends.0, ends.1));
    EdgeKey::new(identity.display(ends.0), identity.display(ends.1), connection)
}

impl EdgeSlot {
    /// Adds a call.
    #[inline]
    pub(super) fn add(&mut self, call: &Call, times: &Times, trace: &TraceId, now: u64) {
        self.touched = now;
        self.seen.note(call.start);
        self.stats.add(call, times);
        *evidence(&mut self.evidence, call.evidence) += 1;
        // A new example every so often: enough to find a recent trace, without writing every id.
        let total = evidence_total(&self.evidence) - self.evidence.counted;
        if total < 4 || total.is_multiple_of(64) {
            self.note_example(trace);
        }
    }

    fn note_example(&mut self, trace: &TraceId) {
        if let Some(place) = self.examples.get_mut((self.examples_noted % 3) as usize) {
            *place = *trace;
            self.examples_noted += 1;
        }
    }

    /// Takes a call back; true where nothing speaks for the edge any more.
    pub(super) fn take_back(&mut self, call: &Call) -> bool {
        self.stats.take_back(call, &Times::of(call));
        let count = evidence(&mut self.evidence, call.evidence);
        *count = count.saturating_sub(1);
        evidence_total(&self.evidence) == 0
    }

    fn to_edge(&self) -> map::Edge {
        let kept = self.examples_noted.min(3);
        let newest_last = (self.examples_noted - kept)..self.examples_noted;
        let examples = newest_last
            .filter_map(|i| self.examples.get((i % 3) as usize))
            .map(hex);
        map::Edge {
            stats: self.stats.to_stats(),
            evidence: self.evidence.clone(),
            seen: self.seen,
            examples: examples.collect(),
        }
    }

    /// Bytes that it occupies.
    pub(super) fn footprint(&self) -> usize {
        size_of::<Self>() + self.stats.footprint()
    }

    /// The name under which a peer was known before it turned out to be `server`.
    pub(super) fn alias(&self) -> Option<(&NodeId, &NodeId)> {
        let (raw, node) = (self.pair.1, self.ends.1);
        let aliased = raw.kind == map::NodeKind::External && node.kind == map::NodeKind::Service;
        aliased.then_some((&raw.get().id, &self.key.server))
    }
}

fn evidence_total(of: &Evidence) -> u64 {
    of.paired + of.hinted + of.linked + of.client_only + of.server_only + of.bridged + of.counted
}

fn evidence(of: &mut Evidence, basis: Basis) -> &mut u64 {
    match basis {
        Basis::Paired => &mut of.paired,
        Basis::Hinted => &mut of.hinted,
        Basis::Linked => &mut of.linked,
        Basis::ClientOnly => &mut of.client_only,
        Basis::ServerOnly => &mut of.server_only,
        Basis::Bridged => &mut of.bridged,
    }
}

/// A trace id as pages and files write it.
pub(super) fn hex(id: &TraceId) -> String {
    use std::fmt::Write as _;
    id.iter().fold(String::with_capacity(32), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
