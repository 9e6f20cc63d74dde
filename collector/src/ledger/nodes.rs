//! What traces say of nodes themselves.
//!
//! In: visits, added and taken back. Out: [`map::Node`]s of services that report.
//! Left out on purpose: nodes that only their callers tell of; these follow from the edges.

use std::collections::BTreeMap;

use map::{LONGEST_CHAIN, Language, NodeId, NodeKind, NodeStats, Seen};

use super::identity::Identity;
use crate::assemble::Visit;
use crate::names::Node;
use crate::series::{Observed, SeriesStore};

/// One service.
#[derive(Clone, Debug)]
pub(super) struct NodeSlot {
    pub(super) node: Node,
    pub(super) stats: NodeStats,
    pub(super) seen: Seen,
    /// Its series.
    pub(super) entity: u32,
    /// When it was last heard of, nanoseconds of the collector's clock.
    pub(super) touched: u64,
    /// False once it was removed; its place stays for its return.
    pub(super) alive: bool,
}

/// All services.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    slots: Vec<NodeSlot>,
    /// By the index of the node, its slot plus one; 0 for none.
    by_node: Vec<u32>,
}

impl Nodes {
    /// The slot of a service.
    #[inline]
    pub(super) fn find(&self, node: Node) -> Option<u32> {
        self.by_node.get(node.index())?.checked_sub(1)
    }

    /// The same, made where it is new. Its series are there from then on, at 0.
    #[inline]
    pub(super) fn find_or_add(&mut self, node: Node, series: &mut SeriesStore) -> u32 {
        match self.find(node) {
            Some(at) if self.slots.get(at as usize).is_some_and(|slot| slot.alive) => at,
            found => self.add(found, node, series),
        }
    }

    #[cold]
    fn add(&mut self, found: Option<u32>, node: Node, series: &mut SeriesStore) -> u32 {
        let slot = NodeSlot {
            node,
            stats: NodeStats::default(),
            seen: Seen::default(),
            entity: series.node_of(&node.get().id),
            touched: 0,
            alive: true,
        };
        if let Some(at) = found {
            self.slots[at as usize] = slot;
            return at;
        }
        if self.by_node.len() <= node.index() {
            self.by_node.resize(node.index() + 1, 0);
        }
        self.slots.push(slot);
        self.by_node[node.index()] = self.slots.len() as u32;
        self.slots.len() as u32 - 1
    }

    /// Puts a service back that was saved.
    pub(super) fn restore(&mut self, saved: NodeSlot, series: &mut SeriesStore) {
        let at = self.find_or_add(saved.node, series);
        let slot = self.get_mut(at);
        *slot = NodeSlot {
            entity: slot.entity,
            ..saved
        };
    }

    /// Forgets a service; its place stays for its return.
    pub(super) fn remove(&mut self, node: Node) {
        if let Some(at) = self.find(node) {
            self.get_mut(at).alive = false;
        }
    }

    /// A slot by the number that [`Nodes::find`] gave.
    #[inline]
    pub(super) fn get_mut(&mut self, at: u32) -> &mut NodeSlot {
        &mut self.slots[at as usize]
    }

    /// All that are alive.
    pub(super) fn iter(&self) -> impl Iterator<Item = &NodeSlot> {
        self.slots.iter().filter(|slot| slot.alive)
    }

    /// All nodes that report, as the map shows them.
    pub(super) fn to_map(
        &self,
        identity: &Identity,
        languages: &BTreeMap<Node, Language>,
    ) -> BTreeMap<NodeId, map::Node> {
        let reporting = self.iter().filter(|slot| identity.is_noted(slot.node));
        let node = |slot: &NodeSlot| {
            let node = map::Node {
                kind: match slot.node.kind {
                    NodeKind::Overflow => NodeKind::Overflow,
                    _ => NodeKind::Service,
                },
                stats: slot.stats.clone(),
                seen: slot.seen,
                language: languages.get(&slot.node).copied(),
                ..map::Node::default()
            };
            (identity.display(slot.node), node)
        };
        reporting.map(node).collect()
    }
}

impl NodeSlot {
    /// Adds a visit; true where the chain that it begins is worth an example.
    #[inline]
    pub(super) fn add(&mut self, visit: &Visit, own: Observed, total: Observed) -> bool {
        let weight = f64::from(visit.weight);
        let stats = &mut self.stats;
        stats.requests += weight;
        stats.failed += if visit.failed { weight } else { 0.0 };
        stats.critical += visit.critical * weight;
        stats.total.add(total.sample());
        stats.own.add(own.sample());
        let Some(calls) = calls_of(visit) else {
            return false;
        };
        if stats.chains.len() <= calls {
            stats.chains.resize(calls + 1, 0);
        }
        stats.chains[calls] += 1;
        let known = stats.longest_chain.as_ref().map_or(0, |chain| chain.nodes.len());
        // As deep as the example it becomes the example every so often, so that the trace is one that is still kept.
        calls >= known.max(1) || calls + 1 == known && stats.chains[calls].is_multiple_of(256)
    }

    /// Takes a visit back.
    pub(super) fn take_back(&mut self, visit: &Visit) {
        let weight = f64::from(visit.weight);
        let stats = &mut self.stats;
        stats.requests = (stats.requests - weight).max(0.0);
        stats.failed = (stats.failed - if visit.failed { weight } else { 0.0 }).max(0.0);
        stats.critical = (stats.critical - visit.critical * weight).max(0.0);
        stats.total.remove(visit.total);
        stats.own.remove(visit.own);
        let Some(calls) = calls_of(visit) else {
            return;
        };
        if let Some(count) = stats.chains.get_mut(calls) {
            *count = count.saturating_sub(1);
        }
        let deepest = stats.deepest().map_or(0, |calls| calls + 1);
        if stats
            .longest_chain
            .as_ref()
            .is_some_and(|chain| chain.nodes.len() > deepest)
        {
            stats.longest_chain = None;
        }
    }
}

/// Calls on the longest way that begins with a visit; `None` where it begins none.
fn calls_of(visit: &Visit) -> Option<usize> {
    let calls = usize::from(visit.chain).checked_sub(1)?;
    Some(calls.min(LONGEST_CHAIN))
}
