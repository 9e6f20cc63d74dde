//! A chain of calls down to a culprit, with the stars around it, and its series before, during and after a fault.
//!
//! In: the map, settings. Out: counters of the service graph, in whole milliseconds so that they are exact.
//! Left out on purpose: calls in parallel, whose seconds do not add up, and edges by way of a broker, where nobody waits.

use std::collections::{BTreeMap, BTreeSet};

use map::{ConnectionType, EdgeKey, NodeId, NodeKind};

use super::super::{FACTOR, FEWEST, MARGIN_SECONDS, usual};
use crate::onset::interval;
use crate::prometheus::{InputSeries, series};
use crate::settings::AlertSettings;
use crate::topology::Topology;

/// Milliseconds of a node's own time, and of an edge's.
const OWN: u64 = 20;
const BETWEEN: u64 = 2;
/// Callees of a service on the chain that are not on it, at most.
const MOST_BESIDE: usize = 3;
/// Samples by which a phase is longer than what it waits for.
const SLACK: u64 = 4;
/// Samples of one wait at most, so that no setting makes a test without end.
const MOST_SAMPLES: u64 = 20_000;
/// Requests in an hour at most: fewer than it takes for a note that nothing is usual yet.
const MOST_REQUESTS_PER_HOUR: f64 = 900.0;

/// How long everything takes, in samples.
pub(super) struct Times {
    pub(super) healthy: u64,
    pub(super) slow: u64,
    pub(super) hold: u64,
    recovered: u64,
    window: u64,
}

impl Times {
    pub(super) fn new(settings: &AlertSettings, felt: bool) -> Self {
        let samples = |time: config::HumanDuration| {
            u64::try_from(time.get().as_nanos().div_ceil(interval(settings).as_nanos()))
                .map_or(MOST_SAMPLES, |n| n.min(MOST_SAMPLES))
        };
        let hold = samples(if felt {
            settings.page_for
        } else {
            settings.ticket_for
        });
        let window = samples(settings.window);
        Self {
            healthy: window + samples(settings.fixed.learn) + samples(usual::every(settings)) + SLACK,
            slow: 1 + hold + SLACK,
            hold,
            recovered: samples(settings.recent()) + samples(settings.keep_firing_for) + SLACK,
            window,
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.healthy + self.slow + self.recovered
    }

    /// A counter that rises by `healthy` thousandths at each sample, by `slow` while the fault lasts.
    fn counter(&self, healthy: u64, slow: u64) -> String {
        let units = |thousandths: u64| thousandths as f64 / 1000.0;
        if healthy == slow {
            return format!("0+{}x{}", units(healthy), self.end());
        }
        let fault = self.healthy * healthy;
        let recovery = fault + self.slow * slow;
        format!(
            "0+{}x{} {}+{}x{} {}+{}x{}",
            units(healthy),
            self.healthy,
            units(fault + slow),
            units(slow),
            self.slow - 1,
            units(recovery + healthy),
            units(healthy),
            self.recovered - 1
        )
    }
}

/// What is planted.
pub(super) struct Scene<'a> {
    /// Services from the root down, the culprit last.
    chain: Vec<&'a NodeId>,
    /// The edge that leads to the root, where the map has one.
    entry: Option<&'a EdgeKey>,
    /// The edges of the chain and those beside it.
    edges: Vec<&'a EdgeKey>,
    is_felt: bool,
    is_service: bool,
}

impl<'a> Scene<'a> {
    /// The fault of a node; `None` where its seconds are in no series.
    pub(super) fn of(topology: &Topology<'a>, culprit: &'a NodeId) -> Option<Self> {
        let is_service = topology.is_service(culprit);
        if topology.map().kind(culprit) == NodeKind::Destination {
            return None;
        }
        let entry_of = |id: &NodeId| {
            let mut edges = topology.map().edges.keys();
            edges.find(|key| key.server == *id && key.client != *id && !topology.is_service(&key.client))
        };
        let waiters = topology.waiters(culprit);
        let mut felt = waiters.iter().filter(|(_, id)| {
            topology.is_service(id) && topology.is_entry_point(id) && entry_of(id).is_some()
        });
        let paths = felt.find_map(|(_, root)| Some((path(topology, root, culprit)?, true)));
        let (chain, is_felt) = paths.or_else(|| {
            // Nobody feels it: the nearest caller alone shows it.
            let unfelt = !waiters.iter().any(|(_, id)| topology.is_entry_point(id));
            let mut callers = waiters
                .iter()
                .filter(|(hops, id)| *hops == 1 && topology.is_service(id));
            let chain = callers.find_map(|(_, caller)| path(topology, caller, culprit))?;
            unfelt.then_some((chain, false))
        })?;
        let mut edges: Vec<&EdgeKey> = Vec::new();
        let mut seen: BTreeSet<&NodeId> = chain.iter().copied().collect();
        for pair in chain.windows(2) {
            edges.push(calls(topology, pair[0]).find(|key| key.server == *pair[1])?);
        }
        for caller in chain.iter().filter(|id| topology.is_service(id)) {
            let beside = calls(topology, caller).filter(|key| seen.insert(&key.server));
            edges.extend(beside.take(MOST_BESIDE));
        }
        let entry = if is_felt { entry_of(chain.first()?) } else { None };
        Some(Self {
            chain,
            entry,
            edges,
            is_felt,
            is_service,
        })
    }

    pub(super) fn culprit(&self) -> &'a NodeId {
        self.chain[self.chain.len() - 1]
    }

    /// True where an entry point is slow because of the fault.
    pub(super) fn felt(&self) -> bool {
        self.is_felt
    }

    /// Services that are slow because they wait for the culprit.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &'a NodeId> {
        self.chain[..self.chain.len() - 1].iter().copied()
    }

    pub(super) fn series(&self, times: &Times, settings: &AlertSettings) -> Vec<InputSeries> {
        let took = self.milliseconds();
        let delay = delay(&took, times, settings);
        let requests = requests(times, settings);
        let fixed = &settings.fixed;
        let mut found = Vec::new();
        let mut say = |side: &str, key: &EdgeKey, milliseconds: u64| {
            let slow = if self.chain.contains(&&key.server) {
                delay
            } else {
                0
            };
            let labels = [
                ("client", key.client.as_str()),
                ("server", key.server.as_str()),
                ("connection_type", key.connection_type.as_str()),
            ];
            let name = if side == "server" {
                &fixed.server_seconds
            } else {
                &fixed.client_seconds
            };
            let sums = (requests * milliseconds, requests * (milliseconds + slow));
            found.extend([
                InputSeries {
                    series: series(&format!("{name}_count"), &labels),
                    values: times.counter(requests * 1000, requests * 1000),
                },
                InputSeries {
                    series: series(&format!("{name}_sum"), &labels),
                    values: times.counter(sums.0, sums.1),
                },
            ]);
        };
        for key in &self.edges {
            let callee = took[&key.server];
            say("client", key, callee + BETWEEN);
            if self.is_service || key.server != *self.culprit() {
                say("server", key, callee);
            }
        }
        if let Some(key) = self.entry {
            say("server", key, took[&key.server]);
        }
        found
    }

    /// Milliseconds that each node takes with its calls, which are made one after another.
    fn milliseconds(&self) -> BTreeMap<&'a NodeId, u64> {
        let mut took = BTreeMap::new();
        for id in self
            .edges
            .iter()
            .map(|key| &key.server)
            .chain(self.chain.iter().copied())
        {
            took.insert(id, OWN);
        }
        for caller in self.chain.iter().rev() {
            let calls = self.edges.iter().filter(|key| key.client == **caller);
            let waited: u64 = calls.map(|key| took[&key.server] + BETWEEN).sum();
            took.insert(*caller, OWN + waited);
        }
        took
    }
}

/// Milliseconds of the fault: so many that a single slow sample of a window is twice what any rule asks for.
fn delay(took: &BTreeMap<&NodeId, u64>, times: &Times, settings: &AlertSettings) -> u64 {
    let longest = took.values().max().copied().unwrap_or(OWN) as f64 / 1000.0;
    let nats = settings.evidence_threshold.max(settings.suspect_threshold);
    let least = FACTOR * longest + MARGIN_SECONDS + (2.0 * nats).sqrt() * usual::least_spread(longest);
    (2.0 * least * times.window as f64 * 1000.0).ceil() as u64
}

/// Requests of every edge between two samples.
fn requests(times: &Times, settings: &AlertSettings) -> u64 {
    let unnoted = (MOST_REQUESTS_PER_HOUR * interval(settings).as_secs_f64() / 3600.0) as u64;
    unnoted.max(u64::from(2 * FEWEST).div_ceil(times.window))
}

/// A way of calls between two nodes, the shortest.
fn path<'a>(topology: &Topology<'a>, from: &'a NodeId, to: &'a NodeId) -> Option<Vec<&'a NodeId>> {
    let hops: BTreeMap<&NodeId, u32> = topology
        .waiters(to)
        .into_iter()
        .map(|(hops, id)| (id, hops))
        .collect();
    let mut way = vec![from];
    while let Some(at) = way.last().copied().filter(|at| *at != to) {
        let left = *hops.get(at)?;
        let next =
            calls(topology, at).find(|key| hops.get(&key.server).is_some_and(|then| then + 1 == left))?;
        way.push(&next.server);
    }
    Some(way)
}

/// The calls of a service that it waits for.
fn calls<'t, 'a>(topology: &'t Topology<'a>, caller: &'t NodeId) -> impl Iterator<Item = &'a EdgeKey> + 't {
    let map = topology.map();
    topology
        .is_service(caller)
        .then(|| map.edges.keys().filter(move |key| key.client == *caller))
        .into_iter()
        .flatten()
        .filter(move |key| {
            key.server != *caller
                && key.connection_type != ConnectionType::MessagingSystem
                && map.kind(&key.server) != NodeKind::Destination
        })
}
