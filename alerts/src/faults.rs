//! Faults to plant in a map, to prove that each is charged to its culprit.
//!
//! In: the map. Out: faults with the series they make slow and who is to be told, the most depended-on node first.
//! Left out on purpose: faults of `user` and `unknown`, whom nobody can mend, and two faults at once.

use std::collections::{BTreeMap, BTreeSet};

use map::{EdgeKey, Map, NodeId, NodeKind};

/// Services that wait for the culprit of one fault at most. The others would be symptoms in the same way, and a leaf of
/// a large map has hundreds of them.
const MOST_WAITING: usize = 20;

/// How a node is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    /// Edges into and out of a service are slow, its own time is not.
    Network,
    /// A service spends more time in its own code.
    OwnTime,
    /// A node that reports no spans is slow: the edges into it are.
    FarSide,
}

/// One fault.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// The node at fault.
    pub(crate) culprit: NodeId,
    /// How it is at fault.
    pub(crate) form: Form,
    /// Services that wait for the culprit, without itself, and over how many calls: at most [`MOST_WAITING`] of them,
    /// entry points first, then the nearest.
    pub(crate) waiting: BTreeMap<NodeId, u32>,
    /// How many nodes wait for the culprit in all.
    weight: usize,
    /// True where an entry point waits for the culprit, or is it.
    pub(crate) felt: bool,
}

/// What faults need to know of a map, computed once.
pub(crate) struct Topology<'a> {
    map: &'a Map,
    /// By node, who waits for it over how many calls; itself over 0.
    waiting: BTreeMap<NodeId, Vec<(u32, NodeId)>>,
    entry_points: BTreeSet<NodeId>,
    /// By node, the services that call it, itself left out.
    callers: BTreeMap<&'a NodeId, BTreeSet<&'a NodeId>>,
    /// By service, the nodes that it calls, itself left out.
    callees: BTreeMap<&'a NodeId, BTreeSet<&'a NodeId>>,
}

impl<'a> Topology<'a> {
    pub(crate) fn new(map: &'a Map) -> Self {
        let mut topology = Self {
            map,
            waiting: BTreeMap::new(),
            entry_points: map.entry_points(),
            callers: BTreeMap::new(),
            callees: BTreeMap::new(),
        };
        for pair in map::reach::reach(map, usize::MAX).0 {
            topology
                .waiting
                .entry(pair.culprit)
                .or_default()
                .push((pair.hops, pair.id));
        }
        for key in map.edges.keys().filter(|key| key.client != key.server) {
            if topology.is_judged(key) {
                topology
                    .callers
                    .entry(&key.server)
                    .or_default()
                    .insert(&key.client);
                topology
                    .callees
                    .entry(&key.client)
                    .or_default()
                    .insert(&key.server);
            }
        }
        topology
    }

    /// Every fault that can be planted: one of the network, where the map has a place for it, then one for each node
    /// that can be charged, those first for which most services wait.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let forms = self.waiting.keys().filter_map(|id| Some((id, self.form(id)?)));
        let mut faults: Vec<Fault> = forms.map(|(id, form)| self.fault(id, form)).collect();
        faults.sort_by(|a, b| b.weight.cmp(&a.weight).then_with(|| a.culprit.cmp(&b.culprit)));
        let network = self.network_candidate().map(|id| self.fault(id, Form::Network));
        network.into_iter().chain(faults).collect()
    }

    /// Edges with own time, which is measured at the caller: those whose caller is a service.
    pub(crate) fn judged_edges(&self) -> impl Iterator<Item = &'a EdgeKey> + '_ {
        self.map.edges.keys().filter(|key| self.is_judged(key))
    }

    /// The node, the services that call it and the nodes that it calls.
    pub(crate) fn with_neighbours(&self, id: &'a NodeId) -> BTreeSet<&'a NodeId> {
        let neighbours = [self.callers.get(id), self.callees.get(id)]
            .into_iter()
            .flatten()
            .flatten()
            .copied();
        neighbours.chain([id]).collect()
    }

    fn is_judged(&self, key: &EdgeKey) -> bool {
        self.is_service(&key.client)
    }

    pub(crate) fn is_service(&self, id: &NodeId) -> bool {
        self.map.kind(id) == NodeKind::Service
    }

    pub(crate) fn is_entry_point(&self, id: &NodeId) -> bool {
        self.entry_points.contains(id)
    }

    pub(crate) fn map(&self) -> &'a Map {
        self.map
    }

    fn form(&self, id: &NodeId) -> Option<Form> {
        if self.is_service(id) {
            return Some(Form::OwnTime);
        }
        self.callers.contains_key(id).then_some(Form::FarSide)
    }

    fn fault(&self, culprit: &NodeId, form: Form) -> Fault {
        let all = self.waiting.get(culprit).map_or(&[][..], Vec::as_slice);
        let mut services: Vec<&(u32, NodeId)> = all
            .iter()
            .filter(|(hops, id)| *hops > 0 && self.is_service(id))
            .collect();
        services.sort_by_key(|(hops, id)| (!self.is_entry_point(id), *hops, id));
        services.truncate(MOST_WAITING);
        let waiting: BTreeMap<NodeId, u32> = services
            .into_iter()
            .map(|(hops, id)| (id.clone(), *hops))
            .collect();
        let itself = self.is_service(culprit) && self.is_entry_point(culprit);
        let felt = itself || waiting.keys().any(|id| self.is_entry_point(id));
        Fault {
            culprit: culprit.clone(),
            form,
            waiting,
            weight: all.len(),
            felt,
        }
    }

    /// The service with most neighbours, if it has a caller and a callee besides itself. With one neighbour only, both
    /// ends explain the slow edges equally well.
    fn network_candidate(&self) -> Option<&NodeId> {
        let services = self.waiting.keys().filter(|id| self.is_service(id));
        let placed = services.filter_map(|id| {
            let (callers, callees) = (self.callers.get(id)?, self.callees.get(id)?);
            let neighbours = callers.union(callees).count();
            (neighbours > 1).then_some((neighbours, id))
        });
        placed
            .max_by(|a, b| a.0.cmp(&b.0).then_with(|| b.1.cmp(a.1)))
            .map(|(_, id)| id)
    }
}

impl Fault {
    /// True where the fault slows the edge's own time.
    pub(crate) fn slows_edge(&self, key: &EdgeKey) -> bool {
        match self.form {
            Form::Network => key.server == self.culprit || key.client == self.culprit,
            Form::FarSide => key.server == self.culprit,
            Form::OwnTime => false,
        }
    }

    /// True where the fault slows the service's own time.
    pub(crate) fn slows_own_time(&self, id: &NodeId) -> bool {
        self.form == Form::OwnTime && *id == self.culprit
    }

    /// True where the fault slows the service as its callers see it.
    pub(crate) fn slows_total(&self, id: &NodeId) -> bool {
        *id == self.culprit || self.waiting.contains_key(id)
    }

    /// The fault in a sentence's beginning.
    pub(crate) fn title(&self) -> String {
        let culprit = &self.culprit;
        match self.form {
            Form::Network => format!("the network around {culprit} is slow"),
            Form::OwnTime => format!("{culprit} is slow by itself"),
            Form::FarSide => format!("{culprit}, which reports no spans, is slow"),
        }
    }
}
