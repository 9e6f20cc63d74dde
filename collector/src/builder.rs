//! The map as it grows: names become nodes, calls become edges, peers turn out to be services.
//!
//! In: what traces say, added and taken back. Out: the [`Map`], and which edges changed their name.
//! Left out on purpose: counters for Prometheus. They never go back and have their own keeper (`series`).

mod naming;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use map::{EdgeKey, Evidence, FlowKey, Map, NodeId, NodeKind, Services};
use serde::{Deserialize, Serialize};

use crate::assemble::{Basis, Call, FlowSeen, Visit};
use crate::span::TraceId;

/// How many nodes and edges the map may hold; beyond that rare virtual nodes are folded together.
#[derive(Clone, Copy, Debug)]
pub struct MapBudget {
    /// Nodes of all kinds.
    pub nodes: usize,
    /// Edges.
    pub edges: usize,
}

impl Default for MapBudget {
    fn default() -> Self {
        Self {
            nodes: 5_000,
            edges: 50_000,
        }
    }
}

/// Builds the map.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Builder {
    map: Map,
    /// Addresses that SERVER spans say they were dialled at.
    addresses: BTreeMap<Arc<str>, Claim>,
    #[serde(skip)]
    budget: MapBudget,
    /// Services by their bare name.
    #[serde(skip)]
    bare_names: HashMap<Arc<str>, BTreeSet<NodeId>>,
    /// Edges whose key no longer exists because a node was merged into another or got another id.
    #[serde(skip)]
    renamed: Vec<Named>,
    /// Edges that corrections took back.
    #[serde(skip)]
    emptied: Vec<Named>,
}

/// Whose address it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Claim {
    /// Of one service.
    One(NodeId),
    /// Several services answer there, as behind a gateway: it names none of them.
    Shared,
}

/// The key of an edge and the id of its series.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// Caller, callee and connection.
    pub key: EdgeKey,
    /// `client->server`.
    pub id: String,
}

impl Builder {
    /// An empty map with what people state about its nodes.
    pub fn new(services: Services, budget: MapBudget) -> Self {
        let mut builder = Self::default();
        builder.configure(services, budget);
        builder
    }

    /// Sets what does not come from spans; a restored builder needs it too.
    pub fn configure(&mut self, services: Services, budget: MapBudget) {
        self.map.services = services;
        self.budget = budget;
        let own = self
            .map
            .nodes
            .iter()
            .filter(|(_, node)| node.kind == NodeKind::Service);
        let own: Vec<NodeId> = own.map(|(id, _)| id.clone()).collect();
        for id in own {
            self.note_bare_name(&id);
        }
    }

    /// The map as it stands.
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// Edges that ended because a peer turned out to be a service, since the last call.
    pub fn take_renamed(&mut self) -> Vec<Named> {
        std::mem::take(&mut self.renamed)
    }

    /// Edges that corrections took back, since the last call.
    pub fn take_emptied(&mut self) -> Vec<Named> {
        std::mem::take(&mut self.emptied)
    }

    /// Notes a service that reports spans; a peer of that name becomes it. Returns the node that stands for it, which
    /// beyond the budget is the overflow node.
    pub fn note_service(&mut self, id: &NodeId, at: u64) -> NodeId {
        let kind = self.map.nodes.get(id).map(|node| node.kind);
        let node = if kind == Some(NodeKind::Service) {
            id.clone()
        } else {
            self.service(id)
        };
        if node != *id {
            let overflow = map::Node {
                kind: NodeKind::Overflow,
                ..map::Node::default()
            };
            self.map
                .nodes
                .entry(node.clone())
                .or_insert(overflow)
                .seen
                .note(at);
            return node;
        }
        if kind != Some(NodeKind::Service) {
            self.note_bare_name(id);
            match kind {
                Some(NodeKind::External) => self.merge(id, id),
                Some(other) if !is_reserved(id) => self.rename(id, &clashing(id, other)),
                _ => {}
            }
            self.map.nodes.entry(id.clone()).or_default().kind = NodeKind::Service;
            let bare = NodeId::new(id.name());
            let is_peer = self
                .map
                .nodes
                .get(&bare)
                .is_some_and(|node| node.kind == NodeKind::External);
            if is_peer && self.unique_by_bare_name(id.name()).is_some() {
                self.merge(&bare, id);
            }
        }
        if let Some(node) = self.map.nodes.get_mut(id) {
            node.seen.note(at);
        }
        node
    }

    /// Notes that `service` answers at `address`; a peer known only by that address becomes it.
    pub fn note_address(&mut self, address: &Arc<str>, service: &NodeId) {
        match self.addresses.get(address) {
            Some(Claim::One(holder)) if holder == service => return,
            Some(Claim::One(_)) => {
                self.addresses.insert(Arc::clone(address), Claim::Shared);
                return;
            }
            Some(Claim::Shared) => return,
            None => {}
        }
        if self.addresses.len() >= self.budget.nodes.max(1) * 4 {
            return;
        }
        self.addresses
            .insert(Arc::clone(address), Claim::One(service.clone()));
        let peer = NodeId::new(Arc::clone(address));
        if self
            .map
            .nodes
            .get(&peer)
            .is_some_and(|node| node.kind == NodeKind::External)
        {
            self.merge(&peer, service);
        }
    }

    fn merge(&mut self, from: &NodeId, into: &NodeId) {
        self.end_edges_of(from);
        self.map.merge_node(from, into);
    }

    fn rename(&mut self, from: &NodeId, into: &NodeId) {
        self.end_edges_of(from);
        self.map.rename_node(from, into);
    }

    fn end_edges_of(&mut self, id: &NodeId) {
        let touched = self
            .map
            .edges
            .keys()
            .filter(|key| key.client == *id || key.server == *id);
        let touched = touched.map(|key| Named {
            key: key.clone(),
            id: self.map.edge_id(key),
        });
        self.renamed.extend(touched);
    }

    /// Adds a visit to its node; returns the node.
    pub fn add_visit(&mut self, visit: &Visit) -> NodeId {
        let node = self.service(&visit.service);
        if let Some(stats) = self.node_stats(visit) {
            stats.requests += visit.weight;
            stats.failed += if visit.failed { visit.weight } else { 0.0 };
            stats.total.observe(visit.total);
            stats.own.observe(visit.own);
        }
        node
    }

    /// Takes a visit back that was added before.
    pub fn remove_visit(&mut self, visit: &Visit) {
        let Some(stats) = self.node_stats(visit) else {
            return;
        };
        stats.requests = (stats.requests - visit.weight).max(0.0);
        stats.failed = (stats.failed - if visit.failed { visit.weight } else { 0.0 }).max(0.0);
        stats.total.remove(visit.total);
        stats.own.remove(visit.own);
    }

    /// Adds a call to its edge; returns the edge.
    pub fn add_call(&mut self, call: &Call, trace: &TraceId) -> Named {
        let key = self.key(call);
        for (id, kind) in [(&key.client, call.client.kind), (&key.server, call.server.kind)] {
            let kind = if id.as_str() == OVERFLOW {
                NodeKind::Overflow
            } else {
                kind
            };
            let node = self.map.nodes.entry(id.clone()).or_insert_with(|| map::Node {
                kind,
                ..map::Node::default()
            });
            node.seen.note(call.start);
        }
        let edge = self.map.edges.entry(key.clone()).or_default();
        edge.seen.note(call.start);
        edge.stats.requests += call.weight;
        edge.stats.failed += if call.failed { call.weight } else { 0.0 };
        call.client_seconds.inspect(|s| edge.stats.client.observe(*s));
        call.server_seconds.inspect(|s| edge.stats.server.observe(*s));
        call.own.inspect(|s| edge.stats.own.observe(*s));
        call.queue.inspect(|s| edge.stats.queue.observe(*s));
        *evidence(&mut edge.evidence, call.evidence) += 1;
        // A new example every so often: enough to find a recent trace, without making text of every id.
        if edge.stats.requests < 4.0 || edge.evidence_total().is_multiple_of(64) {
            edge.note_example(hex(trace));
        }
        let id = self.map.edge_id(&key);
        Named { key, id }
    }

    /// Takes a call back that was added before; an edge without requests goes.
    pub fn remove_call(&mut self, call: &Call) {
        let key = self.key(call);
        let Some(edge) = self.map.edges.get_mut(&key) else {
            return;
        };
        edge.stats.requests = (edge.stats.requests - call.weight).max(0.0);
        edge.stats.failed = (edge.stats.failed - if call.failed { call.weight } else { 0.0 }).max(0.0);
        call.client_seconds.inspect(|s| edge.stats.client.remove(*s));
        call.server_seconds.inspect(|s| edge.stats.server.remove(*s));
        call.own.inspect(|s| edge.stats.own.remove(*s));
        call.queue.inspect(|s| edge.stats.queue.remove(*s));
        let count = evidence(&mut edge.evidence, call.evidence);
        *count = count.saturating_sub(1);
        if edge.evidence_total() == 0 {
            self.emptied.push(Named {
                key: key.clone(),
                id: self.map.edge_id(&key),
            });
            self.map.edges.remove(&key);
            self.drop_if_alone(&key.server);
            self.drop_if_alone(&key.client);
        }
    }

    /// Adds a followed message; returns its flow.
    pub fn add_flow(&mut self, seen: &FlowSeen) -> FlowKey {
        let key = self.flow_key(seen);
        let flow = self.map.flows.entry(key.clone()).or_default();
        flow.requests += seen.weight;
        flow.failed += if seen.failed { seen.weight } else { 0.0 };
        flow.queue.observe(seen.queue);
        key
    }

    /// Takes a followed message back.
    pub fn remove_flow(&mut self, seen: &FlowSeen) {
        let key = self.flow_key(seen);
        let Some(flow) = self.map.flows.get_mut(&key) else {
            return;
        };
        flow.requests = (flow.requests - seen.weight).max(0.0);
        flow.failed = (flow.failed - if seen.failed { seen.weight } else { 0.0 }).max(0.0);
        flow.queue.remove(seen.queue);
        if flow.queue.is_empty() {
            self.map.flows.remove(&key);
        }
    }

    fn node_stats(&mut self, visit: &Visit) -> Option<&mut map::NodeStats> {
        let id = self.service(&visit.service);
        self.map.nodes.get_mut(&id).map(|node| &mut node.stats)
    }

    fn drop_if_alone(&mut self, id: &NodeId) {
        let is_virtual = self.map.kind(id).is_virtual();
        if is_virtual
            && !self
                .map
                .edges
                .keys()
                .any(|key| key.client == *id || key.server == *id)
        {
            self.map.nodes.remove(id);
        }
    }
}

/// The id of a node whose own id another node of another kind has.
fn clashing(id: &NodeId, kind: NodeKind) -> NodeId {
    NodeId::new(format!("{id} ({kind})"))
}

/// True for ids that no kind has a claim to.
fn is_reserved(id: &NodeId) -> bool {
    matches!(id.as_str(), NodeId::USER | NodeId::UNKNOWN | OVERFLOW)
}

/// The node into which everything beyond the budget is folded.
pub const OVERFLOW: &str = "__overflow__";

fn evidence(of: &mut Evidence, basis: Basis) -> &mut u64 {
    match basis {
        Basis::Paired => &mut of.paired,
        Basis::Linked => &mut of.linked,
        Basis::ClientOnly => &mut of.client_only,
        Basis::ServerOnly => &mut of.server_only,
        Basis::Bridged => &mut of.bridged,
    }
}

fn hex(id: &TraceId) -> String {
    use std::fmt::Write as _;
    id.iter().fold(String::with_capacity(32), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
