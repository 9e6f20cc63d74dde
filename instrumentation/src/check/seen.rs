//! The map as the checks look at it.
//!
//! In: a map, perhaps a contract, settings. Out: who waits for whom, where work enters, and whether there are statistics at all.
//! Left out on purpose: findings.

use std::collections::{BTreeMap, BTreeSet};

use map::{ConnectionType, Edge, EdgeKey, Map, Node, NodeId, NodeKind};

use super::finding::Needs;
use super::settings::CheckSettings;

pub(super) struct Seen<'a> {
    pub(super) map: &'a Map,
    pub(super) contract: Option<&'a Map>,
    pub(super) settings: &'a CheckSettings,
    /// Where work enters: what users call and what is declared, else services that call and that nobody calls.
    pub(super) entries: BTreeSet<&'a NodeId>,
    /// Whom each node waits for; a destination waits for nobody.
    pub(super) waits: BTreeMap<&'a NodeId, BTreeSet<&'a NodeId>>,
}

impl<'a> Seen<'a> {
    pub(super) fn new(map: &'a Map, contract: Option<&'a Map>, settings: &'a CheckSettings) -> Self {
        let mut waits: BTreeMap<&NodeId, BTreeSet<&NodeId>> = BTreeMap::new();
        for key in map.edges.keys().filter(|key| waits_for(map, key)) {
            waits.entry(&key.client).or_default().insert(&key.server);
        }
        let stated = map.entry_points();
        let mut entries: BTreeSet<&NodeId> = map.nodes.keys().filter(|id| stated.contains(*id)).collect();
        if entries.is_empty() {
            let called: BTreeSet<&NodeId> = waits.values().flatten().copied().collect();
            entries = waits.keys().copied().filter(|id| !called.contains(id)).collect();
        }
        Self {
            map,
            contract,
            settings,
            entries,
            waits,
        }
    }

    /// What is missing to look for something; `None` where nothing is.
    pub(super) fn lacks(&self, needs: Needs) -> Option<&'static str> {
        let any = |is: fn(&Edge) -> bool| self.map.edges.values().any(is);
        let has = match needs {
            Needs::Topology => true,
            Needs::Requests => any(|edge| edge.stats.requests > 0.0),
            Needs::Failures => any(|edge| edge.stats.failed > 0.0),
            Needs::Contract => self.contract.is_some(),
        };
        match needs {
            _ if has => None,
            Needs::Topology => None,
            Needs::Requests => Some(
                "the map has no statistics: it was written by hand, or its `.stats.yaml` is not beside it",
            ),
            Needs::Failures => Some("no request of the map failed, or nothing says which did"),
            Needs::Contract => Some("there is no committed map to compare with: give `--against`"),
        }
    }

    /// Edges over which somebody waits, with enough requests to say something.
    pub(super) fn busy(&self) -> impl Iterator<Item = (&'a EdgeKey, &'a Edge)> {
        let enough = self.settings.min_requests as f64;
        let map = self.map;
        map.edges
            .iter()
            .filter(move |(key, edge)| waits_for(map, key) && edge.stats.requests >= enough)
    }

    /// A node's own part of the map; an empty one where only edges tell of it.
    pub(super) fn node(&self, id: &NodeId) -> Option<&'a Node> {
        self.map.nodes.get(id)
    }

    /// True for a service that reported enough requests of its own.
    pub(super) fn reports(&self, id: &NodeId) -> bool {
        self.node(id).is_some_and(|node| {
            node.kind == NodeKind::Service && node.stats.requests >= self.settings.min_requests as f64
        })
    }

    /// Requests of a node by the evidence of its own spans alone, whose caller is `client`.
    pub(super) fn edges_between(&self, client: &str, server: &NodeId) -> impl Iterator<Item = &'a Edge> {
        let edges = self.map.edges.iter();
        edges
            .filter(move |(key, _)| key.client.as_str() == client && key.server == *server)
            .map(|(_, edge)| edge)
    }

    /// The share of a node's requests that it failed by itself, so far as statistics tell; `None` where they do not, as on a map on
    /// which nothing ever failed: whose spans have no status is not available to 100 %.
    ///
    /// What failed because a call failed is not its own. A node that reports nothing is known by its callers.
    pub(super) fn own_failures(&self, id: &NodeId) -> Option<f64> {
        if self.lacks(Needs::Failures).is_some() {
            return None;
        }
        let own = self
            .node(id)
            .map(|node| &node.stats)
            .filter(|stats| stats.requests > 0.0);
        if let Some(stats) = own {
            let passed: f64 = self.map.callees(id).map(|(_, edge)| edge.stats.passed_on).sum();
            return Some(((stats.failed - passed) / stats.requests).clamp(0.0, 1.0));
        }
        let (failed, requests) = self
            .map
            .callers(id)
            .map(|(_, edge)| (edge.stats.failed, edge.stats.requests))
            .fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        (requests > 0.0).then(|| (failed / requests).clamp(0.0, 1.0))
    }
}

/// Whether the caller of an edge waits for the callee: not a broker, nor who sends to a service through one that has no name. Nodes
/// that stand for many are no one.
pub(super) fn waits_for(map: &Map, key: &EdgeKey) -> bool {
    let (caller, callee) = (map.kind(&key.client), map.kind(&key.server));
    let many = |kind| matches!(kind, NodeKind::User | NodeKind::Unknown | NodeKind::Overflow);
    let unnamed_broker =
        key.connection_type == ConnectionType::MessagingSystem && callee == NodeKind::Service;
    !(many(caller) || many(callee) || caller == NodeKind::Destination || unnamed_broker)
}
