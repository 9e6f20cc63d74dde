//! What all traces together say: the map, the series, and a verdict on each trace.
//!
//! In: reports of shards, addresses that services claim, counts that readers and agents made. Out: [`Map`], the latest
//! minutes, series, verdicts for tail sampling, and a state that can be saved and restored.
//! One thread owns it; a request costs it a lookup of its edge and one addition per histogram.
//! Left out on purpose: time and tasks. The map is written out when somebody asks for it, not while requests are counted.

mod agents;
mod baselines;
mod chains;
mod counted;
mod counts;
mod edges;
mod ending;
mod flows;
mod identity;
mod judge;
mod nodes;
mod planning;
mod prefetch;
mod roots;
mod save;
mod tally;
mod write;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use baseline::{Observation, Verdict};
use foldhash::fast::FixedState;
use map::{ConnectionType, EdgeKey, Language, Map, NodeId, Services};

use crate::assemble::{Assembly, Call, FanOut, FlowSeen, Visit};
use crate::names::Node;
use crate::read::Rejection;
use crate::recent::{Latency, Recent};
use crate::series::{Observed, Request, SeriesLimits, SeriesStore, SpanKey};
use crate::shard::{Closing, CutShort, Report, SpanDelta};

use counted::Counted;
use counts::{Counts, Family};
use edges::{Edges, Folded, Gone, Pair, Times};
use flows::{Flows, News, Remembered};
use identity::Identity;
use judge::Judge;
use nodes::Nodes;

pub use agents::EdgeCounts;
pub use baselines::{Baseline, BaselineChange, Change, ChangeRefused, PinnedBy};
pub use identity::MapBudget;
pub use save::RestoreError;

/// Everything that a ledger needs to be told.
#[derive(Clone, Debug)]
pub struct LedgerSettings {
    /// Learning.
    pub baseline: baseline::Settings,
    /// Ids of nodes and edges whose baselines the configuration holds: a lasting shift of them is never learned.
    pub pins: Vec<String>,
    /// Size of the map.
    pub budget: MapBudget,
    /// What people state.
    pub services: Services,
    /// Size of the span metrics.
    pub series: SeriesLimits,
    /// Nodes and edges that nothing was seen of for so long are removed, and their series end. Default 24 h: long enough
    /// for what runs once a day, since a counter that ends and begins anew loses its first increase.
    pub stale_after: Duration,
    /// How long a flow is remembered, so that a replay does not count it again: as long as a shard may hold its trace.
    pub remember_flows: Duration,
}

impl LedgerSettings {
    /// Settings with the default bounds.
    pub fn new(baseline: baseline::Settings, budget: MapBudget, services: Services) -> Self {
        Self {
            baseline,
            pins: Vec::new(),
            budget,
            services,
            series: SeriesLimits::default(),
            stale_after: Duration::from_hours(24),
            remember_flows: Duration::from_mins(10),
        }
    }
}

/// What one trace is worth to tail sampling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// True where any visit or call took longer than its own baseline allows.
    pub slow: bool,
    /// The edges that it passed, each by a hash of its id that is the same in every run, and whether the call failed.
    pub edges: Vec<(u64, bool)>,
}

/// Map, series and baselines.
#[derive(Debug)]
pub struct Ledger {
    settings: LedgerSettings,
    identity: Identity,
    edges: Edges,
    nodes: Nodes,
    flows: Flows,
    /// What services are written in. Whoever reads says it once, so it outlives a service that falls silent.
    languages: BTreeMap<Node, Language>,
    series: SeriesStore,
    judge: Judge,
    recent: Recent,
    counts: Counts,
    remembered: Remembered,
    roots: roots::Roots,
    /// Where calls between two ends are counted, as long as nothing new is learned.
    routes: HashMap<Pair, Route, FixedState>,
    /// Where spans are counted, likewise: by operation, kind and status.
    span_routes: HashMap<(u32, u8, u8), SpanRoute, FixedState>,
    /// True where ends that a budget folded together share a slot.
    any_folded: bool,
    /// Where the calls of the trace that is applied are counted.
    ways: Vec<Way>,
    /// Visits of the trace that is applied whose chain of calls is worth an example.
    deeper: Vec<Visit>,
    /// Edges that corrections took back while a trace is applied.
    emptied: Vec<Gone>,
    /// When edges and nodes were last looked through, nanoseconds.
    swept: u64,
}

/// Where calls of one pair of ends are counted.
#[derive(Clone, Copy, Debug)]
struct Route {
    generation: u32,
    edge: u32,
    /// In the service graph; `None` for edges by way of a broker, which flows count.
    graph: Option<u32>,
    entity: u32,
    hash: u64,
    folded: Folded,
}

/// Where a call is counted, and with which times.
#[derive(Clone, Copy, Debug)]
struct Way {
    route: Route,
    times: Times,
}

#[derive(Clone, Copy, Debug)]
struct SpanRoute {
    generation: u32,
    node: u32,
    series: u32,
    folded: bool,
}

/// Beyond this many pairs of ends the routes are found anew.
const MAX_ROUTES: usize = 1 << 18;

impl Ledger {
    /// A ledger that has seen nothing.
    pub fn new(settings: LedgerSettings) -> Self {
        Self {
            identity: Identity::new(settings.budget),
            edges: Edges::default(),
            nodes: Nodes::default(),
            flows: Flows::default(),
            languages: BTreeMap::new(),
            series: SeriesStore::default(),
            judge: Judge::new(settings.baseline.clone(), settings.pins.clone()),
            recent: Recent::default(),
            counts: Counts::default(),
            remembered: Remembered::default(),
            roots: roots::Roots::default(),
            routes: HashMap::default(),
            span_routes: HashMap::default(),
            any_folded: false,
            ways: Vec::new(),
            deeper: Vec::new(),
            emptied: Vec::new(),
            swept: 0,
            settings,
        }
    }

    /// Notes a service that reports spans, of which one began at `at`. [`Ledger::take`] does so for every span.
    pub fn service_seen(&mut self, service: Node, at: u64, now: u64) {
        self.service(service, now).seen.note(at);
        self.end_renamed();
    }

    /// A SERVER span of `service` says that it was dialled at `address`: a peer known only by that address becomes the
    /// service, and is itself again once another service claims the address too.
    pub fn claim(&mut self, address: &Arc<str>, service: Node) {
        let service = self.identity.service(service);
        self.identity.note_address(address, service);
        self.end_renamed();
    }

    /// An SDK says what `service` is written in. Of several the smallest counts, in whatever order they come.
    pub fn speaks(&mut self, service: Node, language: Language) {
        let known = self.languages.entry(service).or_insert(language);
        *known = language.min(*known);
    }

    /// Counts spans that readers could not use.
    pub fn reject(&mut self, reason: Rejection, n: u64) {
        self.counts.reject(reason, n);
    }

    /// Counts spans of batches that came before, by their sender's own word.
    pub fn repeated(&mut self, spans: u64) {
        self.counts.outcomes.duplicate += spans;
    }

    /// Takes what a shard reports; returns what each of its closings is worth, in their order.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "nobody reads a report twice: it would be counted twice"
    )]
    pub fn take(&mut self, report: Report) -> Vec<Judged> {
        self.begin(report.time);
        self.counts.outcomes.add(&report.outcomes);
        let CutShort { closed, forgotten } = report.cut_short;
        self.counts.add(Family::CutShort, "closed", closed);
        self.counts.add(Family::CutShort, "forgotten", forgotten);
        for delta in &report.spans {
            self.spans(delta, report.time);
        }
        self.end_renamed();
        report
            .closings
            .iter()
            .map(|closing| self.close(closing))
            .collect()
    }

    /// What is due by `now`: a turn of the latest minutes, and the end of what is stale.
    fn begin(&mut self, now: u64) {
        self.recent.turn(&self.series, now);
        self.remembered.forget(now, self.settings.remember_flows);
        self.sweep(now);
        self.judge.sweep(&self.series, now);
    }

    /// The node of a service that reports, made where it is new.
    fn service(&mut self, service: Node, now: u64) -> &mut nodes::NodeSlot {
        let node = self.identity.note_service(service);
        self.counts.fold(node != service, "node");
        let at = self.nodes.find_or_add(node, &mut self.series);
        let slot = self.nodes.get_mut(at);
        slot.touched = slot.touched.max(now);
        slot
    }

    fn spans(&mut self, delta: &SpanDelta, now: u64) {
        let Some(service) = delta.operation.service else {
            return;
        };
        let route = self.span_route(delta, service, now);
        let slot = self.nodes.get_mut(route.node);
        slot.touched = slot.touched.max(now);
        slot.seen.note(delta.first);
        slot.seen.note(delta.last);
        self.counts.fold(route.folded, "span_name");
        if let Some(series) = self.series.spans.get_mut(route.series) {
            series.add(delta);
        }
    }

    fn span_route(&mut self, delta: &SpanDelta, service: Node, now: u64) -> SpanRoute {
        let key = (
            delta.operation.index() as u32,
            delta.kind.number() as u8,
            delta.status.number() as u8,
        );
        let generation = self.identity.generation();
        if let Some(route) = self
            .span_routes
            .get(&key)
            .filter(|route| route.generation == generation)
        {
            return *route;
        }
        let node = self.identity.note_service(service);
        self.service(service, now);
        let label = SpanKey {
            service: self.identity.display(node),
            name: Arc::clone(&delta.operation.get().name),
            kind: delta.kind.into(),
            status: delta.status.into(),
        };
        let (series, folded) = self.series.span_of(label, self.settings.series);
        let route = SpanRoute {
            generation: self.identity.generation(),
            node: self.nodes.find_or_add(node, &mut self.series),
            series,
            folded,
        };
        if self.span_routes.len() >= MAX_ROUTES {
            self.span_routes.clear();
        }
        self.span_routes.insert(key, route);
        route
    }

    fn close(&mut self, closing: &Closing) -> Judged {
        self.take_back(&closing.removed);
        let added = &closing.added;
        self.counts.unnamed_peers += added.unnamed_peers;
        let before = Counted::of(&closing.removed, added);
        let (mut slow, mut edges) = (false, Vec::with_capacity(added.calls.len()));
        for (i, visit) in added.visits.iter().enumerate() {
            slow |= self.visit(visit, before.visit(i), closing);
        }
        let ways = self.ways(&added.calls);
        for (i, (call, way)) in added.calls.iter().zip(&ways).enumerate() {
            slow |= self.call(call, way, before.call(i), closing, &mut edges);
        }
        self.ways = ways;
        if !self.deeper.is_empty() {
            self.note_chains(closing);
        }
        for peer in &added.unnamed {
            let service = self.identity.service(peer.client);
            let at = self.nodes.find_or_add(service, &mut self.series);
            self.nodes.get_mut(at).stats.unnamed_peers += 1;
        }
        for (i, flow) in added.flows.iter().enumerate() {
            let twins = added.flows.iter().take(i + 1).filter(|twin| twin.key == flow.key);
            let again = if i < MAX_TWINS {
                twins.count() as u32
            } else {
                u32::MAX
            };
            self.flow(flow, before.flow(i), again, closing.time);
        }
        for (i, fan_out) in added.fan_outs.iter().enumerate() {
            self.fan_out(fan_out, before.fan_out(i));
        }
        self.roots.note(closing);
        self.end_renamed();
        self.end_emptied();
        Judged { slow, edges }
    }

    fn visit(&mut self, visit: &Visit, counted: bool, closing: &Closing) -> bool {
        let service = self.identity.service(service_of(visit));
        let at = self.nodes.find_or_add(service, &mut self.series);
        let (own, total) = (Observed::of(visit.own), Observed::of(visit.total));
        let slot = self.nodes.get_mut(at);
        let deeper = slot.add(visit, own, total);
        let entity = slot.entity;
        if deeper {
            self.deeper.push(*visit);
        }
        if counted {
            return false;
        }
        let Some(series) = self.series.entities.get_mut(entity) else {
            return false;
        };
        let now = closing.time;
        let judge = &mut self.judge;
        let verdict = if visit.complete {
            let seen = Observation {
                own: visit.own,
                total: visit.total,
                own_failed: visit.own_failed,
                failed: visit.failed,
            };
            judge.judge(entity, visit.operation, &seen, now)
        } else {
            None
        };
        let request = Request {
            trace: &closing.trace,
            now,
            weight: f64::from(visit.weight),
            failed: visit.failed,
            own_failed: visit.own_failed,
            own: Some(own),
            total: Some(total),
            critical: visit.critical,
            counted_elsewhere: false,
        };
        series.request(&request, verdict);
        series.versions.count(visit.operation.version(), &request);
        is_slow(verdict)
    }

    /// Where calls are counted, which is learned of all before the first is: see [`prefetch`].
    fn ways(&mut self, calls: &[Call]) -> Vec<Way> {
        let mut ways = std::mem::take(&mut self.ways);
        ways.clear();
        for call in calls {
            let route = self.route((call.client, call.server, call.connection));
            let times = Times::of(call);
            ways.push(Way { route, times });
        }
        self.prefetch(calls, &ways);
        ways
    }

    fn call(
        &mut self,
        call: &Call,
        way: &Way,
        counted: bool,
        closing: &Closing,
        passed: &mut Vec<(u64, bool)>,
    ) -> bool {
        let Way { route, times } = way;
        let now = closing.time;
        if let Some(slot) = self.edges.slots.get_mut(route.edge) {
            slot.add(call, times, &closing.trace, now);
        }
        passed.push((route.hash, call.failed));
        if counted {
            return false;
        }
        self.counts.call(call.evidence, route.folded);
        let weight = f64::from(call.weight);
        if let Some(graph) = route.graph.and_then(|at| self.series.graph.get_mut(at)) {
            if !call.counted_elsewhere {
                graph.count(weight, call.failed);
                times.client.inspect(|s| graph.client.observe(*s, weight));
            }
            times.server.inspect(|s| graph.server.observe(*s, weight));
            graph
                .exemplars
                .note(&closing.trace, now, call.client_seconds, call.server_seconds);
        }
        let Some(series) = self.series.entities.get_mut(route.entity) else {
            return false;
        };
        // What a message spends on the way to its consumer is the time that it lies in the queue.
        let times_judged = call.own.zip(call.client_seconds).or(call.queue.zip(call.queue));
        let verdict = times_judged.and_then(|(own, total)| {
            let seen = Observation {
                own,
                total,
                own_failed: call.own_failed,
                failed: call.failed,
            };
            self.judge.judge(route.entity, call.operation, &seen, now)
        });
        let client = times.client.filter(|_| !call.counted_elsewhere);
        let request = Request {
            trace: &closing.trace,
            now,
            weight,
            failed: call.failed,
            own_failed: call.own_failed,
            own: times.own,
            total: client.or(times.server.filter(|_| !call.counted_elsewhere)),
            critical: call.critical_each(),
            counted_elsewhere: call.counted_elsewhere,
        };
        series.request(&request, verdict);
        series.retries += if call.retry { weight } else { 0.0 };
        if let Some(queue) = times.queue {
            series.queue.get_or_insert_default().observe(queue, weight);
        }
        is_slow(verdict)
    }

    fn flow(&mut self, flow: &FlowSeen, counted: bool, again: u32, now: u64) {
        let news = self.remembered.note(flow.key, again, now);
        if news == News::Nothing {
            self.counts.flows_again += 1;
            return;
        }
        let at = self.flows.find_or_add(flow, &self.identity);
        let queue = Observed::of(flow.queue);
        let Some(slot) = self.flows.slots.get_mut(at) else {
            return;
        };
        slot.add(flow, queue.sample(), now);
        if counted || news == News::MapOnly {
            return;
        }
        let generation = self.identity.generation();
        let graph = match slot.graph {
            Some((graph, then)) if then == generation => graph,
            _ => {
                let (producer, _, consumer) = slot.ends;
                let [producer, consumer] = [producer, consumer].map(|node| self.identity.display(node));
                let key = EdgeKey::new(producer, consumer, ConnectionType::MessagingSystem);
                let graph = self.series.graph_of(&key);
                slot.graph = Some((graph, generation));
                graph
            }
        };
        let weight = f64::from(flow.weight);
        if let Some(graph) = self.series.graph.get_mut(graph) {
            graph.count(weight, flow.failed);
            if let Some(seconds) = flow.client_seconds {
                graph.client.observe(Observed::of(seconds), weight);
            }
            graph.server.observe(Observed::of(flow.server_seconds), weight);
            graph.queue.get_or_insert_default().observe(queue, weight);
        }
    }

    fn fan_out(&mut self, seen: &FanOut, counted: bool) {
        let Some(route) = self.known_route(seen.client, seen.server) else {
            return;
        };
        if let Some(slot) = self.edges.slots.get_mut(route.edge) {
            slot.stats.fan_out(seen.calls);
        }
        if !counted && let Some(series) = self.series.entities.get_mut(route.entity) {
            series.fan_out.observe(seen.calls);
        }
    }

    /// Where calls of two ends are counted.
    #[inline]
    fn route(&mut self, pair: Pair) -> Route {
        let generation = self.identity.generation();
        match self.routes.get(&pair) {
            Some(route) if route.generation == generation => *route,
            _ => self.find_route(pair),
        }
    }

    #[cold]
    fn find_route(&mut self, pair: Pair) -> Route {
        let (edge, folded) = self.edges.find_or_add(pair, &mut self.identity);
        let mut route = Route {
            generation: self.identity.generation(),
            edge,
            graph: None,
            entity: u32::MAX,
            hash: 0,
            folded,
        };
        self.any_folded |= folded != Folded::No;
        if let Some(slot) = self.edges.slots.get(edge) {
            self.any_folded |= slot.pair != pair;
            let key = slot.key.clone();
            (route.entity, route.graph, route.hash) = self.begin_series(&key);
        }
        if self.routes.len() >= MAX_ROUTES {
            self.routes.clear();
        }
        self.routes.insert(pair, route);
        route
    }

    /// The series of an edge, from 0 where they are new: its own, that in the service graph unless flows count it, and
    /// the hash of its id.
    fn begin_series(&mut self, key: &EdgeKey) -> (u32, Option<u32>, u64) {
        let id = self.edges.id(key).map_or_else(Arc::default, Arc::clone);
        let followed = key.connection_type == ConnectionType::MessagingSystem;
        let graph = (!followed).then(|| self.series.graph_of(key));
        (self.series.edge_of(&id, key), graph, hash_of(&id))
    }

    /// Where calls of two ends were counted before, whatever connects them.
    fn known_route(&self, client: Node, server: Node) -> Option<Route> {
        let generation = self.identity.generation();
        [None, Some(ConnectionType::MessagingSystem)]
            .into_iter()
            .find_map(|connection| {
                let route = self.routes.get(&(client, server, connection))?;
                (route.generation == generation).then_some(*route)
            })
    }

    fn take_back(&mut self, removed: &Assembly) {
        self.counts.correct(removed);
        for visit in &removed.visits {
            let service = self.identity.service(service_of(visit));
            if let Some(at) = self.nodes.find(service) {
                self.nodes.get_mut(at).take_back(visit);
            }
        }
        for peer in &removed.unnamed {
            if let Some(at) = self.nodes.find(self.identity.service(peer.client)) {
                let stats = &mut self.nodes.get_mut(at).stats;
                stats.unnamed_peers = stats.unnamed_peers.saturating_sub(1);
            }
        }
        for fan_out in &removed.fan_outs {
            let edge = self
                .known_route(fan_out.client, fan_out.server)
                .map(|route| route.edge);
            if let Some(slot) = edge.and_then(|at| self.edges.slots.get_mut(at)) {
                slot.stats.take_fan_out_back(fan_out.calls);
            }
        }
        for call in &removed.calls {
            self.take_call_back(call);
        }
        for flow in &removed.flows {
            self.remembered.take_back(flow.key);
            let Some(at) = self.flows.find(flow, &self.identity) else {
                continue;
            };
            if self
                .flows
                .slots
                .get_mut(at)
                .is_some_and(|slot| slot.take_back(flow))
            {
                self.flows.remove(at);
            }
        }
    }

    fn take_call_back(&mut self, call: &Call) {
        let pair = (call.client, call.server, call.connection);
        let generation = self.identity.generation();
        let known = self
            .routes
            .get(&pair)
            .filter(|route| route.generation == generation);
        let edge = known.map(|route| route.edge).or_else(|| self.edges.find(pair));
        // Where nothing is known of the pair it was folded, or went to the nodes that stand for its ends.
        let edge = edge.or_else(|| self.edges.find_folded(pair, &self.identity));
        let Some(at) = edge else {
            return;
        };
        if self
            .edges
            .slots
            .get_mut(at)
            .is_some_and(|slot| slot.take_back(call))
        {
            let pair = self.edges.slots.get(at).map(|slot| slot.pair);
            self.emptied.extend(self.edges.remove(at, &mut self.identity));
            self.drop_route(pair);
        }
    }

    /// Forgets the way to a slot that was removed, before its number is given to another.
    fn drop_route(&mut self, pair: Option<Pair>) {
        if let Some(pair) = pair {
            self.routes.remove(&pair);
        }
        if std::mem::take(&mut self.any_folded) {
            self.identity.forget_answers();
        }
    }

    /// What nodes and edges did in the latest minutes, by the id of their series.
    pub fn recent(&self, id: &str) -> Latency {
        self.recent.of(&self.series, id)
    }

    /// All series.
    pub fn series(&self) -> &SeriesStore {
        &self.series
    }

    /// The map as it stands, written out: about 4 µs an edge.
    pub fn map(&self) -> Map {
        let edges = self.edges.to_map();
        let mut nodes = self.nodes.to_map(&self.identity, &self.languages);
        for (_, slot) in self.edges.slots.iter() {
            for (node, id) in [(slot.ends.0, &slot.key.client), (slot.ends.1, &slot.key.server)] {
                let entry = nodes.entry(id.clone()).or_insert_with(|| map::Node {
                    kind: node.kind,
                    shared_by: self.sharers(node),
                    ..map::Node::default()
                });
                entry.seen.note(slot.seen.first);
                entry.seen.note(slot.seen.last);
            }
            if let Some((alias, service)) = slot.alias()
                && let Some(entry) = nodes.get_mut(service)
                && alias != service
            {
                entry.aliases.insert(alias.to_string());
            }
        }
        for (key, edge) in edges
            .iter()
            .filter(|(key, _)| key.client.as_str() == NodeId::UNKNOWN)
        {
            if let Some(node) = nodes.get_mut(&key.server) {
                node.stats.orphans = edge.evidence.server_only;
            }
        }
        Map {
            nodes,
            edges,
            flows: self.flows.to_map(&self.identity),
            roots: self.roots.to_map(&self.edges, &self.identity),
            services: self.settings.services.clone(),
            nameless_spans: self.counts.outcomes.no_service,
        }
    }

    fn sharers(&self, node: Node) -> std::collections::BTreeSet<NodeId> {
        let sharers = self.identity.sharers(node.id.as_str());
        sharers.map(|service| self.identity.display(service)).collect()
    }

    /// Bytes that edges and series occupy, about.
    pub fn footprint(&self) -> usize {
        let edges: usize = self.edges.slots.iter().map(|(_, slot)| slot.footprint()).sum();
        edges + self.series.footprint() + self.routes.capacity() * (size_of::<(Pair, Route)>() + 1)
    }
}

/// Of so many flows of one trace it is looked whether they are twins; a trace with more is counted without.
const MAX_TWINS: usize = 256;

fn service_of(visit: &Visit) -> Node {
    visit.operation.service.unwrap_or_else(Node::unknown)
}

fn is_slow(verdict: Option<Verdict>) -> bool {
    verdict.is_some_and(|verdict| verdict.own_slow || verdict.total_slow)
}

/// FNV-1a, which stays the same from version to version.
fn hash_of(id: &str) -> u64 {
    id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
