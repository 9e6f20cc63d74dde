//! Faults to plant in a map, to prove that each is charged to its culprit.
//!
//! In: the map. Out: faults with the series they make slow and who is to be told.
//! Left out on purpose: faults of `user` and `unknown`, whom nobody can mend, and two faults at once.

use std::collections::{BTreeMap, BTreeSet};

use map::{EdgeKey, NodeId};

use crate::topology::{JudgedEdge, Topology, is_nobody};

/// Services that wait for the culprit of a node's fault at most. The others would be symptoms in the same way, and a leaf of
/// a large map has hundreds of them.
const MOST_WAITING: usize = 20;
/// The same for the fault of one edge or component, of which there are many.
const MOST_WAITING_NEAR: usize = 6;

/// How something is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Edges into and out of a service are slow, its own time is not.
    Network,
    /// A service spends more time in its own code.
    OwnTime,
    /// A node that reports no spans is slow: the edges into it are.
    FarSide,
    /// One edge is slow, named by its id, and nothing else.
    Edge(String, EdgeKey),
}

/// One fault.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// The node that has to be charged.
    pub(crate) culprit: NodeId,
    /// What is at fault.
    pub(crate) form: Form,
    /// Services besides the culprit that are slow because of the fault, and over how many calls they wait for the culprit;
    /// only so many of them, entry points first, then the nearest.
    pub(crate) waiting: BTreeMap<NodeId, u32>,
    /// True where the culprit is slow as its callers see it: a slow edge leaves the service that it leads to alone, unless
    /// that waits for the caller in turn.
    culprit_waits: bool,
    /// How many nodes wait for the culprit in all.
    weight: usize,
    /// True where an entry point is slow because of the fault.
    pub(crate) felt: bool,
}

/// A fault for every node that can be charged, those first for which most services wait, and before them one of the
/// network where the map has a place for it.
pub(crate) fn of_nodes(topology: &Topology<'_>) -> Vec<Fault> {
    let forms = topology
        .nodes()
        .iter()
        .filter_map(|id| Some((*id, form(topology, id)?)));
    let mut faults: Vec<Fault> = forms
        .map(|(id, form)| of_node(topology, id, form, MOST_WAITING))
        .collect();
    faults.sort_by(|a, b| b.weight.cmp(&a.weight).then_with(|| a.culprit.cmp(&b.culprit)));
    let network = network_candidate(topology).map(|id| of_node(topology, id, Form::Network, MOST_WAITING));
    network.into_iter().chain(faults).collect()
}

/// A member of a strongly connected component spends more time in its own code: everyone around waits for everyone.
pub(crate) fn of_member(topology: &Topology<'_>, member: &NodeId) -> Option<Fault> {
    let form = form(topology, member)?;
    Some(of_node(topology, member, form, MOST_WAITING_NEAR))
}

/// One edge is slow.
///
/// The culprit follows from the map by DESIGN's rule said anew, not by the alert rules: a healthy edge speaks for both of
/// its ends. Of the two ends of the slow edge that one is charged which has fewer healthy edges besides, and the callee
/// where they have as many. So a callee that serves its other callers well is not charged with what one of them sees.
/// `user` and `unknown` are never charged.
pub(crate) fn of_edge(topology: &Topology<'_>, edge: &JudgedEdge<'_>) -> Fault {
    let EdgeKey { client, server, .. } = edge.key;
    let healthy = |end: &NodeId| {
        topology
            .judged_at(end)
            .filter(|other| other.id != edge.id)
            .count()
    };
    let caller = client != server && (is_nobody(server) || healthy(server) > healthy(client));
    // The caller waits for the slow edge, and whoever waits for the caller does.
    let slow = topology
        .waiters(client)
        .into_iter()
        .filter(|(_, id)| topology.is_service(id));
    let (culprit, further) = if caller { (client, 0) } else { (server, 1) };
    let slow: Vec<(u32, &NodeId)> = slow.map(|(hops, id)| (hops + further, id)).collect();
    let form = Form::Edge(edge.id.clone(), edge.key.clone());
    fault(topology, culprit, form, &slow, MOST_WAITING_NEAR)
}

fn of_node(topology: &Topology<'_>, culprit: &NodeId, form: Form, most: usize) -> Fault {
    let slow: Vec<(u32, &NodeId)> = topology.waiters(culprit);
    fault(topology, culprit, form, &slow, most)
}

fn fault(
    topology: &Topology<'_>,
    culprit: &NodeId,
    form: Form,
    slow: &[(u32, &NodeId)],
    most: usize,
) -> Fault {
    let mut services: Vec<&(u32, &NodeId)> = slow.iter().filter(|(_, id)| topology.is_service(id)).collect();
    let felt = services.iter().any(|(_, id)| topology.is_entry_point(id));
    let culprit_waits = services.iter().any(|(_, id)| *id == culprit);
    services.retain(|(_, id)| *id != culprit);
    services.sort_by_key(|(hops, id)| (!topology.is_entry_point(id), *hops, *id));
    let waiting = services
        .iter()
        .take(most)
        .map(|(hops, id)| ((*id).clone(), *hops));
    Fault {
        culprit: culprit.clone(),
        form,
        waiting: waiting.collect(),
        culprit_waits,
        weight: slow.len(),
        felt,
    }
}

fn form(topology: &Topology<'_>, id: &NodeId) -> Option<Form> {
    if topology.is_service(id) {
        return Some(Form::OwnTime);
    }
    let mut edges = topology.judged_at(id);
    edges.any(|edge| edge.key.server == *id).then_some(Form::FarSide)
}

/// The service with most neighbours, if it has a caller and a callee besides itself. With one neighbour only, both ends
/// explain the slow edges equally well.
fn network_candidate<'a>(topology: &Topology<'a>) -> Option<&'a NodeId> {
    let services = topology.nodes().iter().filter(|id| topology.is_service(id));
    let placed = services.filter_map(|id| {
        let (mut callers, mut callees) = (BTreeSet::new(), BTreeSet::new());
        for EdgeKey { client, server, .. } in topology.judged_at(id).map(|edge| edge.key) {
            if client != server {
                let _ = if server == *id {
                    callers.insert(client)
                } else {
                    callees.insert(server)
                };
            }
        }
        let neighbours = callers.union(&callees).count();
        (!callers.is_empty() && !callees.is_empty() && neighbours > 1).then_some((neighbours, *id))
    });
    placed
        .max_by(|a, b| a.0.cmp(&b.0).then_with(|| b.1.cmp(a.1)))
        .map(|(_, id)| id)
}

impl Fault {
    /// True where the fault slows the edge's own time.
    pub(crate) fn slows_edge(&self, edge: &JudgedEdge<'_>) -> bool {
        let EdgeKey { client, server, .. } = edge.key;
        match &self.form {
            Form::Network => *server == self.culprit || *client == self.culprit,
            Form::FarSide => *server == self.culprit,
            Form::OwnTime => false,
            Form::Edge(id, _) => *id == edge.id,
        }
    }

    /// True where the fault slows the service's own time.
    pub(crate) fn slows_own_time(&self, id: &NodeId) -> bool {
        self.form == Form::OwnTime && *id == self.culprit
    }

    /// True where the fault slows the service as its callers see it.
    pub(crate) fn slows_total(&self, id: &NodeId) -> bool {
        self.waiting.contains_key(id) || self.culprit_waits && *id == self.culprit
    }

    /// The nodes at which the fault is, whose edges decide whom to charge.
    pub(crate) fn ends(&self) -> Vec<&NodeId> {
        match &self.form {
            Form::Edge(_, key) if key.client != key.server => vec![&key.client, &key.server],
            _ => vec![&self.culprit],
        }
    }

    /// The fault in a sentence's beginning.
    pub(crate) fn title(&self) -> String {
        let culprit = &self.culprit;
        match &self.form {
            Form::Network => format!("the network around {culprit} is slow"),
            Form::OwnTime => format!("{culprit} is slow by itself"),
            Form::FarSide => format!("{culprit}, which reports no spans, is slow"),
            Form::Edge(id, _) => format!("{id} is slow and nothing else, which is charged to {culprit}"),
        }
    }
}
