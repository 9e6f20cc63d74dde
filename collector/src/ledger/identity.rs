//! Which node of the map somebody is: addresses, names that clash, the budget.
//!
//! In: nodes as spans name them, services that report, addresses that are claimed. Out: the node that stands for each,
//! and the id that the map calls it by, the same as long as nothing new is learned. What was learned raises
//! [`Identity::generation`], so that whoever keeps an answer knows when to ask again.
//! Left out on purpose: edges and counts; because edges keep the nodes as spans named them, nothing has to be moved when
//! a peer turns out to be a service, or a service's address turns out to be shared.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use map::{ConnectionType, NodeId, NodeKind};

use crate::names::{End, Node, OVERFLOW};

/// How many nodes and edges the map may hold; beyond that rare ones are folded together.
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

/// Whose address it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Claim {
    /// Of one service.
    One(Node),
    /// Several services answer there, as behind a gateway: it names none of them. Up to [`MAX_SHARERS`] of them are known.
    Shared(BTreeSet<Node>),
}

const MAX_SHARERS: usize = 8;

/// A node of the map.
#[derive(Clone, Copy, Debug, Default)]
struct Presence {
    /// A service that reports spans.
    noted: bool,
    /// Edges that end at it.
    edges: u32,
}

impl Presence {
    fn is_there(self) -> bool {
        self.noted || self.edges > 0
    }
}

/// Who is who.
#[derive(Debug, Default)]
pub(super) struct Identity {
    pub(super) budget: MapBudget,
    /// By the index of a node that stands for something.
    presence: Vec<Presence>,
    present: usize,
    /// Who is called by an id where several could be.
    owners: HashMap<NodeId, Node>,
    /// Ids that several nodes have had a claim to.
    contested: HashSet<NodeId>,
    addresses: HashMap<Arc<str>, Claim>,
    /// Services by their bare name.
    bare_names: HashMap<Arc<str>, BTreeSet<Node>>,
    generation: u32,
    /// True where edges may be called otherwise than they were.
    relearn: bool,
}

impl Identity {
    pub(super) fn new(budget: MapBudget) -> Self {
        Self {
            budget,
            ..Self::default()
        }
    }

    /// Rises with everything that could change an answer.
    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    /// Makes every kept answer be asked for again.
    pub(super) fn forget_answers(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// True once after something was learned of nodes that edges end at.
    pub(super) fn take_relearn(&mut self) -> bool {
        std::mem::take(&mut self.relearn)
    }

    /// Notes a service that reports spans. Returns the node that stands for it, which beyond the budget is the overflow
    /// node.
    pub(super) fn note_service(&mut self, service: Node) -> Node {
        if self.of(service).noted {
            return service;
        }
        let node = self.service(service);
        if node != service {
            self.change(node, |p| p.noted = true);
            return node;
        }
        self.change(service, |p| p.noted = true);
        let owner = self.owners.insert(service.id.clone(), service);
        let bare = self.bare_names.entry(service.id.name().into()).or_default();
        bare.insert(service);
        let namesakes = Node::of(&End::new(NodeId::new(service.id.name()), NodeKind::External));
        let external = Node::of(&End::new(service.id.clone(), NodeKind::External));
        // A peer of this name, or somebody else who was called by it until now.
        if owner.is_some_and(|owner| owner != service) {
            self.contested.insert(service.id.clone());
            self.relearn = true;
        }
        self.relearn |= self.is_there(namesakes) || self.is_there(external);
        self.forget_answers();
        service
    }

    /// Forgets that a service reports.
    pub(super) fn unnote_service(&mut self, service: Node) {
        self.change(service, |p| p.noted = false);
        let bare: Arc<str> = service.id.name().into();
        if let Some(services) = self.bare_names.get_mut(&bare) {
            services.remove(&service);
            if services.is_empty() {
                self.bare_names.remove(&bare);
            }
        }
        self.addresses.retain(|_, claim| *claim != Claim::One(service));
        self.relearn = true;
        self.forget_answers();
    }

    /// True where edges end at a node.
    pub(super) fn has_edges(&self, node: Node) -> bool {
        self.of(node).edges > 0
    }

    /// True for a service that reports spans.
    pub(super) fn is_noted(&self, node: Node) -> bool {
        self.of(node).noted
    }

    /// Notes that `service` answers at `address`; a peer known only by that address becomes it, unless another service
    /// answers there too: then the address names neither, and the peer is itself again.
    pub(super) fn note_address(&mut self, address: &Arc<str>, service: Node) {
        let room = self.addresses.len() < self.budget.nodes.max(1) * 4;
        match self.addresses.get_mut(address) {
            Some(Claim::One(holder)) if *holder == service => return,
            Some(claim @ Claim::One(_)) => {
                let Claim::One(holder) = *claim else { return };
                *claim = Claim::Shared(BTreeSet::from([holder, service]));
            }
            Some(Claim::Shared(sharers)) => {
                if sharers.len() < MAX_SHARERS {
                    sharers.insert(service);
                }
                return;
            }
            None if !room => return,
            None => {
                self.addresses.insert(Arc::clone(address), Claim::One(service));
            }
        }
        self.relearn = true;
        self.forget_answers();
    }

    /// Who answers at an address that names nobody.
    pub(super) fn sharers(&self, address: &str) -> impl Iterator<Item = Node> + '_ {
        let sharers = match self.addresses.get(address) {
            Some(Claim::Shared(sharers)) => Some(sharers),
            _ => None,
        };
        sharers.into_iter().flatten().copied()
    }

    /// All addresses with their claims.
    pub(super) fn addresses(&self) -> &HashMap<Arc<str>, Claim> {
        &self.addresses
    }

    /// Puts a claim back that was saved.
    pub(super) fn restore_address(&mut self, address: Arc<str>, claim: Claim) {
        self.addresses.insert(address, claim);
    }

    /// Who is called by an id that others have a claim to too.
    pub(super) fn contested(&self) -> impl Iterator<Item = Node> + '_ {
        self.contested
            .iter()
            .filter_map(|id| self.owners.get(id).copied())
    }

    /// Gives a contested id to the node that had it when it was saved.
    pub(super) fn restore_owner(&mut self, node: Node) {
        self.contested.insert(node.id.clone());
        self.owners.insert(node.id.clone(), node);
    }

    /// The node that stands for `raw`. A peer that is named like its own caller is another node: a keyspace or host that
    /// shares the service's name.
    pub(super) fn canonical(&self, raw: Node, caller: Option<Node>) -> Node {
        match raw.kind {
            NodeKind::User | NodeKind::Unknown | NodeKind::Overflow => return raw,
            NodeKind::Service => return self.service(raw),
            NodeKind::External => {
                let held = raw.address.as_ref().and_then(|address| self.holder(address));
                let named = || self.service_named(raw).filter(|service| Some(*service) != caller);
                if let Some(service) = held.or_else(named) {
                    return self.service(service);
                }
            }
            _ => {}
        }
        let node = match raw.address {
            Some(_) => Node::of(&End::new(raw.id.clone(), raw.kind)),
            None => raw,
        };
        if self.fits(node) { node } else { overflow() }
    }

    /// The service itself, or the overflow node where it came when the budget was spent.
    pub(super) fn service(&self, service: Node) -> Node {
        if self.fits(service) { service } else { overflow() }
    }

    fn fits(&self, node: Node) -> bool {
        self.present < self.budget.nodes || self.is_there(node) || is_reserved(&node.id)
    }

    /// What the map calls a node.
    pub(super) fn display(&self, node: Node) -> NodeId {
        let clashes = match node.kind {
            NodeKind::User | NodeKind::Unknown | NodeKind::Overflow | NodeKind::Service => false,
            _ => self.owners.get(&node.id).is_some_and(|owner| *owner != node) || is_reserved(&node.id),
        };
        if clashes {
            return NodeId::new(format!("{} ({})", node.id, node.kind));
        }
        node.id.clone()
    }

    /// How an edge between two nodes is labelled, where nothing else decides.
    pub(super) fn connection(client: Node, server: Node) -> ConnectionType {
        match client.kind {
            NodeKind::User | NodeKind::Unknown => ConnectionType::VirtualNode,
            _ => server.kind.connection_type(),
        }
    }

    /// An edge ends at `node` from now on.
    pub(super) fn hold(&mut self, node: Node) {
        self.change(node, |p| p.edges += 1);
        self.own(node);
    }

    /// Gives `node` its id where nobody has it; a service takes it from others.
    pub(super) fn own(&mut self, node: Node) {
        let owner = *self.owners.entry(node.id.clone()).or_insert(node);
        if owner == node {
            return;
        }
        self.contested.insert(node.id.clone());
        if node.kind == NodeKind::Service && owner.kind != NodeKind::Service {
            self.owners.insert(node.id.clone(), node);
            self.relearn = true;
        }
    }

    /// An edge no longer ends at `node`.
    pub(super) fn release(&mut self, node: Node) {
        self.change(node, |p| p.edges = p.edges.saturating_sub(1));
        if !self.is_there(node) && self.owners.get(&node.id) == Some(&node) {
            self.owners.remove(&node.id);
            self.relearn |= self.contested.remove(&node.id);
        }
    }

    /// Nodes that edges end at or that report, by the index of their name.
    pub(super) fn is_there(&self, node: Node) -> bool {
        self.of(node).is_there()
    }

    fn of(&self, node: Node) -> Presence {
        self.presence.get(node.index()).copied().unwrap_or_default()
    }

    fn change(&mut self, node: Node, change: impl FnOnce(&mut Presence)) {
        if self.presence.len() <= node.index() {
            self.presence.resize(node.index() + 1, Presence::default());
        }
        let Some(presence) = self.presence.get_mut(node.index()) else {
            return;
        };
        let before = presence.is_there();
        change(presence);
        match (before, presence.is_there()) {
            (false, true) => self.present += 1,
            (true, false) => self.present -= 1,
            _ => {}
        }
    }

    /// The one service that answers at an address.
    fn holder(&self, address: &Arc<str>) -> Option<Node> {
        match self.addresses.get(address) {
            Some(Claim::One(service)) => Some(*service),
            _ => None,
        }
    }

    /// The service of a peer's id, else the only one of this bare name.
    fn service_named(&self, peer: Node) -> Option<Node> {
        let exact = self.owners.get(&peer.id).copied();
        if let Some(service) = exact.filter(|node| node.kind == NodeKind::Service && self.is_noted(*node)) {
            return Some(service);
        }
        let services = self.bare_names.get(peer.id.as_str()).filter(|s| s.len() == 1)?;
        services.first().copied()
    }
}

/// The node into which everything beyond the budget is folded.
pub(super) fn overflow() -> Node {
    static OVERFLOWED: std::sync::LazyLock<Node> =
        std::sync::LazyLock::new(|| Node::of(&End::new(NodeId::from(OVERFLOW), NodeKind::Overflow)));
    *OVERFLOWED
}

/// True for ids that no kind has a claim to.
fn is_reserved(id: &NodeId) -> bool {
    matches!(id.as_str(), NodeId::USER | NodeId::UNKNOWN | OVERFLOW)
}
