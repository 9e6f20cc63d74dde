//! The series of a planted fault, as promtool reads them.
//!
//! In: a fault, the map, the lengths of its phases. Out: info series and counters of what is near the fault.
//! Left out on purpose: what is further than two calls from the fault, by which the rules do not charge.

use std::collections::{BTreeMap, BTreeSet};

use map::NodeId;
use map::catalogue::{
    ENTRYPOINT_INFO, JUDGED, NODE_INFO, OWN_SLOW, OWN_SLOW_EXPECTED, OWNER_INFO, REACH_INFO, TOTAL_SLOW,
    TOTAL_SLOW_EXPECTED,
};

use crate::faults::Fault;
use crate::onset::Load;
use crate::prometheus::{InputSeries, series};
use crate::topology::{JudgedEdge, Topology};

/// Judged edges of one test at most: those at the fault's ends first.
const MOST_EDGES: usize = 24;
/// Edges at one end of a fault at most, besides the faulty one. An end that has more keeps more than the other end, since
/// the ends are weighed by them.
const MOST_AT_END: usize = 10;

/// Lengths of the three phases, in samples.
#[derive(Clone, Copy)]
pub(crate) struct Phases {
    pub(crate) healthy: u64,
    pub(crate) slow: u64,
    pub(crate) recovered: u64,
}

impl Phases {
    pub(crate) fn end(&self) -> u64 {
        self.healthy + self.slow + self.recovered
    }

    /// A counter that rises by `healthy` at each sample, by `slow` while the fault lasts.
    fn counter(&self, healthy: u64, slow: u64) -> String {
        if healthy == slow {
            return format!("0+{healthy}x{}", self.end());
        }
        let fault = self.healthy * healthy;
        let recovery = fault + self.slow * slow;
        format!(
            "0+{healthy}x{} {}+{slow}x{} {}+{healthy}x{}",
            self.healthy,
            fault + slow,
            self.slow - 1,
            recovery + healthy,
            self.recovered - 1
        )
    }
}

/// What is near one fault.
pub(crate) struct Scene<'a> {
    fault: &'a Fault,
    topology: &'a Topology<'a>,
    edges: Vec<&'a JudgedEdge<'a>>,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(fault: &'a Fault, topology: &'a Topology<'a>) -> Self {
        Self {
            fault,
            topology,
            edges: edges(fault, topology),
        }
    }

    /// How many services and edges the fault slows in their own time.
    pub(crate) fn slowed(&self) -> usize {
        let edges = self
            .edges
            .iter()
            .filter(|edge| self.fault.slows_edge(edge))
            .count();
        edges + self.services().filter(|id| self.fault.slows_own_time(id)).count()
    }

    /// All series of the scene.
    pub(crate) fn series(&self, phases: &Phases, load: Load) -> Vec<InputSeries> {
        let (healthy, all) = (load.slow, load.requests);
        let counter = |name: &str, labels: &[(&str, &str)], slow: bool| InputSeries {
            series: series(name, labels),
            values: match name {
                JUDGED => phases.counter(all, all),
                _ => phases.counter(healthy, if slow { all } else { healthy }),
            },
        };
        let mut found = self.info(phases);
        for id in self.services() {
            let (own, total) = (self.fault.slows_own_time(id), self.fault.slows_total(id));
            let slow = [
                (JUDGED, false),
                (OWN_SLOW, own),
                (OWN_SLOW_EXPECTED, false),
                (TOTAL_SLOW, total),
                (TOTAL_SLOW_EXPECTED, false),
            ];
            let labels = [("id", id.as_str()), ("kind", "service")];
            found.extend(slow.map(|(name, slow)| counter(name, &labels, slow)));
        }
        for edge in &self.edges {
            let labels = [
                ("id", edge.id.as_str()),
                ("kind", "edge"),
                ("client", edge.key.client.as_str()),
                ("server", edge.key.server.as_str()),
            ];
            let slow = [
                (JUDGED, false),
                (OWN_SLOW, self.fault.slows_edge(edge)),
                (OWN_SLOW_EXPECTED, false),
            ];
            found.extend(slow.map(|(name, slow)| counter(name, &labels, slow)));
        }
        found
    }

    /// The services of the scene: the fault's ends and those who wait for the culprit.
    fn services(&self) -> impl Iterator<Item = &NodeId> {
        let nodes: BTreeSet<&NodeId> = self.nodes().into_keys().chain(self.fault.ends()).collect();
        nodes.into_iter().filter(|id| self.topology.is_service(id))
    }

    /// The culprit and those who wait for it, with the calls between them.
    fn nodes(&self) -> BTreeMap<&NodeId, u32> {
        let waiting = self.fault.waiting.iter().map(|(id, hops)| (id, *hops));
        waiting.chain([(&self.fault.culprit, 0)]).collect()
    }

    fn info(&self, phases: &Phases) -> Vec<InputSeries> {
        let (map, culprit) = (self.topology.map(), self.fault.culprit.as_str());
        let mut found = Vec::new();
        let mut say = |name: &str, labels: &[(&str, &str)]| {
            found.push(InputSeries {
                series: series(name, labels),
                values: format!("1x{}", phases.end()),
            });
        };
        for (node, hops) in self.nodes() {
            let (id, owner) = (node.as_str(), map.owner(node));
            say(
                OWNER_INFO,
                &[("id", id), ("team", &owner.team), ("tier", &owner.tier)],
            );
            say(NODE_INFO, &[("id", id), ("kind", map.kind(node).as_str())]);
            say(
                REACH_INFO,
                &[("id", id), ("culprit", culprit), ("hops", &hops.to_string())],
            );
            if hops > 0 {
                say(REACH_INFO, &[("id", id), ("culprit", id), ("hops", "0")]);
            }
            if self.topology.is_entry_point(node) {
                say(ENTRYPOINT_INFO, &[("id", id)]);
            }
        }
        found
    }
}

/// The edges of the fault's ends and of their neighbours, in this order, each once and only so many.
fn edges<'a>(fault: &Fault, topology: &'a Topology<'_>) -> Vec<&'a JudgedEdge<'a>> {
    let ends = fault.ends();
    let most = match ends.as_slice() {
        [one, other] => most_at_ends(topology.judged_at(one).count(), topology.judged_at(other).count()),
        _ => [MOST_EDGES; 2],
    };
    let mut seen = BTreeSet::new();
    let (mut near, mut further) = (Vec::new(), Vec::new());
    for (end, most) in ends.iter().zip(most) {
        let (faulty, others): (Vec<_>, Vec<_>) =
            topology.judged_at(end).partition(|edge| fault.slows_edge(edge));
        near.extend(faulty.into_iter().take(MOST_EDGES));
        let (between, others): (Vec<_>, Vec<_>) = others
            .into_iter()
            .partition(|edge| ends.contains(&&edge.key.client) && ends.contains(&&edge.key.server));
        near.extend(between.into_iter().chain(others).take(most));
    }
    near.retain(|edge| seen.insert(&edge.id));
    let neighbours: BTreeSet<&NodeId> = near
        .iter()
        .flat_map(|edge| [&edge.key.client, &edge.key.server])
        .filter(|id| !ends.contains(id))
        .collect();
    for neighbour in neighbours {
        let beyond = topology.judged_at(neighbour);
        // An edge of an end that was left out above would weigh there.
        further.extend(
            beyond.filter(|edge| !ends.contains(&&edge.key.client) && !ends.contains(&&edge.key.server)),
        );
    }
    further.retain(|edge| seen.insert(&edge.id));
    let room = MOST_EDGES.saturating_sub(near.len());
    near.into_iter().chain(further.into_iter().take(room)).collect()
}

/// How many edges of two ends to keep, such that the end with more keeps more.
fn most_at_ends(one: usize, other: usize) -> [usize; 2] {
    match one.cmp(&other) {
        std::cmp::Ordering::Less => [MOST_AT_END - 1, MOST_AT_END],
        std::cmp::Ordering::Equal => [MOST_AT_END; 2],
        std::cmp::Ordering::Greater => [MOST_AT_END, MOST_AT_END - 1],
    }
}
