//! What a plan would have kept of recorded traces, beside the same share of all.
//!
//! In: a recording, its faults, a budget as a share of its spans. Out: for each fault how many slow traces of the edges to the node at
//! fault there were, and how many of them each way of sampling keeps.
//! Left out on purpose: tail sampling, which would have to be sent everything first.
//!
//! The recording is taken down to what agents before every service make: the entry span of each visit and the calling span of each call.
//! So every edge has two spans whose mode can be chosen; where an edge is quiet, neither comes, and it keeps no trace.
//!
//! Traces are sampled where they begin, by a hash of their id and a seed. The planner sees nothing but what was kept, with its weights,
//! and the counts of agents; it looks again every [`PlanSettings::interval`] of the recording's time. Evenly sampled is the same number of spans in the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use instrumentation::plan::pace::{Limit, Meter, Pool, Room};
use instrumentation::plan::{self, Budget, Mode, Plan, PlanSettings, PlannedRoot};
use map::roots::RootKey;
use map::{ConnectionType, Histogram, NodeId};
use otlp::Kind;

use super::faults::Class;
use super::{BacktestSettings, Fault, Learning, Recording, TICK, begun};
use crate::planner::{Glance, Planner};
use crate::read::{Extracted, Received};
use crate::span::TraceId;

/// Seconds without a span in this many are no time of the recording.
const GAP: u64 = 60_000_000_000;
/// A call is slow above the healthy 95th percentile of its kind by this factor, and by so many nanoseconds.
const SLOW_FACTOR: f64 = 1.2;
/// See [`SLOW_FACTOR`].
const SLOW_BY: u64 = 5_000_000;
/// Slow traces that are enough to look into a fault.
pub const ENOUGH_TRACES: f64 = 20.0;

/// What was kept of one fault, in the mean of all seeds.
#[derive(Clone, Debug)]
pub struct Survived {
    /// The fault.
    pub fault: Fault,
    /// Traces with a slow call to the node during the fault.
    pub slow: usize,
    /// Of them those that the plan keeps.
    pub planned: f64,
    /// Of them those that an even share keeps.
    pub even: f64,
    /// In how many of the seeds the plan keeps at least [`ENOUGH_TRACES`], 0 to 1; the same of the even share.
    pub enough: (f64, f64),
}

/// What was kept of a recording.
#[derive(Clone, Debug)]
pub struct Sampled {
    /// By fault, in the order of time. Controls are left out.
    pub faults: Vec<Survived>,
    /// The share of all spans that the plan kept, in the mean.
    pub share: f64,
}

/// Samples the recording both ways, once for each seed.
pub fn sampled(
    recording: &Recording,
    faults: &[Fault],
    settings: &BacktestSettings,
    (plan, share): (&PlanSettings, f64),
    seeds: u64,
) -> Sampled {
    let reduced = Reduced::new(recording);
    let recording = &reduced.recording;
    let traces = Traces::new(recording);
    let slow = slow_traces(recording, faults);
    let mut kept = vec![Sums::default(); faults.len()];
    let mut shares = 0.0;
    for seed in 0..seeds {
        let planned = planned(&reduced, faults, settings, (plan, share), (&traces, seed));
        let even_share = planned.spans as f64 / recording.len().max(1) as f64;
        shares += even_share;
        for (sums, slow) in kept.iter_mut().zip(&slow) {
            let by_plan = distinct(slow.iter().filter(|call| planned.calls.contains(*call)));
            // Another seed, so that neither is lucky in the same traces.
            let evenly = distinct(
                slow.iter()
                    .filter(|(trace, _)| uniform(trace, seed ^ EVEN) < even_share),
            );
            sums.planned += by_plan;
            sums.even += evenly;
            sums.planned_enough += f64::from(u8::from(by_plan >= ENOUGH_TRACES));
            sums.even_enough += f64::from(u8::from(evenly >= ENOUGH_TRACES));
        }
    }
    let n = seeds.max(1) as f64;
    let survived = |fault: &Fault, slow: &BTreeSet<EdgeOf>, sums: &Sums| Survived {
        fault: fault.clone(),
        slow: distinct(slow.iter()) as usize,
        planned: sums.planned / n,
        even: sums.even / n,
        enough: (sums.planned_enough / n, sums.even_enough / n),
    };
    let all = faults.iter().zip(&slow).zip(&kept);
    Sampled {
        faults: all
            .filter(|((fault, _), _)| fault.class() != Class::Control)
            .map(|((fault, slow), sums)| survived(fault, slow, sums))
            .collect(),
        share: shares / n,
    }
}

/// Over all seeds.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    planned: f64,
    even: f64,
    planned_enough: f64,
    even_enough: f64,
}

/// Turns a seed into that of the other way.
const EVEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A trace, and an edge that it passes.
type EdgeOf = (TraceId, (NodeId, NodeId));

/// How many traces there are among these.
fn distinct<'a>(calls: impl Iterator<Item = &'a EdgeOf>) -> f64 {
    calls.map(|(trace, _)| *trace).collect::<BTreeSet<_>>().len() as f64
}

/// What agents would have recorded.
struct Reduced {
    recording: Recording,
    /// The edge whose mode decides about a span.
    edges: HashMap<(TraceId, u64), (NodeId, NodeId)>,
}

impl Reduced {
    fn new(recording: &Recording) -> Self {
        let service = |received: &Received| received.span.operation.service;
        let by_id: HashMap<(TraceId, u64), &Received> = recording
            .spans()
            .iter()
            .map(|received| ((received.trace, received.span.id), received))
            .collect();
        let mut kinds: HashMap<(TraceId, u64), Kind> = HashMap::new();
        let mut edges: HashMap<(TraceId, u64), (NodeId, NodeId)> = HashMap::new();
        for received in recording.spans() {
            let parent = by_id.get(&(received.trace, received.span.parent_id));
            let key = (received.trace, received.span.id);
            match parent {
                Some(parent) if service(parent) == service(received) => {}
                None => {
                    kinds.insert(key, Kind::Server);
                }
                Some(parent) => {
                    kinds.insert(key, Kind::Server);
                    let calling = (parent.trace, parent.span.id);
                    kinds.entry(calling).or_insert(Kind::Client);
                    let (Some(from), Some(to)) = (service(parent), service(received)) else {
                        continue;
                    };
                    let edge = (from.id.clone(), to.id.clone());
                    edges.entry(calling).or_insert_with(|| edge.clone());
                    edges.insert(key, edge);
                }
            }
        }
        // The nearest ancestor that agents see takes the place of those that they do not.
        let seen_above = |received: &Received| {
            let mut at = received.span.parent_id;
            for _ in 0..64 {
                match by_id.get(&(received.trace, at)) {
                    Some(_) if kinds.contains_key(&(received.trace, at)) => break,
                    Some(parent) => at = parent.span.parent_id,
                    None => break,
                }
            }
            at
        };
        let seen = |received: &Received| {
            let kind = *kinds.get(&(received.trace, received.span.id))?;
            let mut received = received.clone();
            received.span.parent_id = seen_above(&received);
            received.span.kind = kind;
            Some(received)
        };
        let spans = recording.spans().iter().filter_map(seen).collect();
        // A span that is an entry and calls is kept for its own edge.
        Self {
            recording: recording.with(spans),
            edges,
        }
    }
}

impl Reduced {
    /// Agents count calls whether they record them or not.
    fn count(&self, received: &Received, counts: &mut HashMap<(NodeId, NodeId), Histogram>) {
        let edge = self.edges.get(&(received.trace, received.span.id));
        if let Some(edge) = edge.filter(|_| received.span.kind == Kind::Client) {
            let took = (received.span.end - received.span.start) as f64 / 1e9;
            counts.entry(edge.clone()).or_default().observe(took);
        }
    }
}

/// What a plan keeps.
struct Kept {
    /// Spans.
    spans: usize,
    /// Traces by the edges of which their spans came.
    calls: BTreeSet<EdgeOf>,
}

/// Where a trace begins.
struct Begin {
    key: RootKey,
    /// Whether the recording has its first span: else it began where nobody knows the share.
    is_whole: bool,
}

/// Where the traces of a recording begin.
struct Traces {
    roots: HashMap<TraceId, Begin>,
    /// Spans a second while there are any.
    rate: f64,
}

impl Traces {
    fn new(recording: &Recording) -> Self {
        let mut first: HashMap<TraceId, &Received> = HashMap::new();
        let mut active = 0;
        let mut before = recording.extent().0;
        for received in recording.spans() {
            let earliest = first.entry(received.trace).or_insert(received);
            let begins = |received: &Received| (received.span.parent_id != 0, received.span.start);
            if begins(received) < begins(earliest) {
                *earliest = received;
            }
            active += (received.span.end - before).min(GAP);
            before = received.span.end;
        }
        let root = |(trace, received): (TraceId, &Received)| {
            let operation = &received.span.operation;
            let node = operation
                .service
                .map_or("unknown".into(), |service| service.id.clone());
            let key = RootKey {
                node,
                operation: operation.get().name.to_string(),
            };
            let is_whole = received.span.parent_id == 0;
            (trace, Begin { key, is_whole })
        };
        Self {
            roots: first.into_iter().map(root).collect(),
            rate: recording.len() as f64 / (active as f64 / 1e9).max(1.0),
        }
    }
}

/// What a planner keeps.
fn planned(
    reduced: &Reduced,
    faults: &[Fault],
    settings: &BacktestSettings,
    (plan, share): (&PlanSettings, f64),
    (traces, seed): (&Traces, u64),
) -> Kept {
    let recording = &reduced.recording;
    let mut engine = begun(recording, faults, Learning::Offline, settings);
    let plan = PlanSettings {
        budget: Budget {
            spans_per_second: Some(traces.rate * share),
            ..Budget::default()
        },
        ..plan.clone()
    };
    let every = u64::try_from(plan.interval.get().as_nanos()).unwrap_or(u64::MAX);
    let mut planner = Planner::new(plan);
    let (first, _) = recording.extent();
    // What agents counted before the recording is what they count of it without its faults, as for baselines.
    let labelled: Vec<_> = faults.iter().map(Fault::window).collect();
    let mut counts: HashMap<(NodeId, NodeId), Histogram> = HashMap::new();
    for received in recording.outside(&labelled).spans() {
        reduced.count(received, &mut counts);
    }
    planner.look(&by_agents(engine.glance(first), &counts), None);
    let mut quiet: BTreeSet<(NodeId, NodeId)> = BTreeSet::new();
    let mut all = Kept {
        spans: 0,
        calls: BTreeSet::new(),
    };
    let mut agents = Agents::new(share, seed);
    let mut decided: HashMap<TraceId, Option<f32>> = HashMap::new();
    let _ = engine.take(recording.introduction(), first);
    let (mut now, mut skipped) = (first - first % TICK, 0);
    let mut due = first + every;
    let mut rest = recording.spans();
    while let Some(next) = rest.first() {
        // Gaps are no time: rates are those of what was recorded.
        let after = next.span.end - next.span.end % TICK;
        if after > now + GAP {
            skipped += after - now - TICK;
            now = after - TICK;
        }
        now += TICK;
        let (ended, later) = rest.split_at(rest.partition_point(|received| received.span.end <= now));
        rest = later;
        let mut kept = Vec::new();
        for received in ended {
            let weight = *decided.entry(received.trace).or_insert_with(|| {
                let root = traces.roots.get(&received.trace)?;
                agents.begin(root, received.span.end - skipped)
            });
            let edge = reduced.edges.get(&(received.trace, received.span.id));
            reduced.count(received, &mut counts);
            if let Some(weight) = weight.filter(|_| edge.is_none_or(|edge| !quiet.contains(edge))) {
                all.calls.extend(edge.map(|edge| (received.trace, edge.clone())));
                let mut received = received.clone();
                received.span.weight = weight;
                kept.push(received);
            }
        }
        all.spans += kept.len();
        let extracted = Extracted {
            spans: kept,
            ..Extracted::default()
        };
        let taken = engine.take(extracted, now);
        debug_assert!(taken.is_ok(), "a table without a bound is never full");
        engine.tick(now);
        if now - skipped >= due {
            due = now - skipped + every;
            let mut glance = by_agents(engine.glance(now), &counts);
            glance.now -= skipped;
            if let Some(plan) = planner.look(&glance, None) {
                agents.follow(plan);
                let without = plan.edges.iter().filter(|edge| edge.mode != Mode::Span);
                quiet = without
                    .map(|edge| (edge.client.clone(), edge.server.clone()))
                    .collect();
            }
        }
    }
    all
}

/// Agents where traces begin, as one.
struct Agents {
    /// Of everything until there is a plan, and of traces that began elsewhere.
    first: f64,
    nodes: BTreeMap<NodeId, OfNode>,
    seed: u64,
    drawn: u64,
}

/// What an agent knows of a service.
#[derive(Default)]
struct OfNode {
    pool: (Pool, f64),
    otherwise: Planned,
    roots: BTreeMap<String, Planned>,
}

#[derive(Default)]
struct Planned {
    share: f64,
    limit: Option<Limit>,
    meter: Meter,
}

impl Agents {
    fn new(first: f64, seed: u64) -> Self {
        Self {
            first,
            nodes: BTreeMap::new(),
            seed,
            drawn: 0,
        }
    }

    fn follow(&mut self, plan: &Plan) {
        let mut of_nodes: BTreeMap<&NodeId, Vec<&PlannedRoot>> = BTreeMap::new();
        for root in &plan.roots {
            of_nodes.entry(&root.node).or_default().push(root);
        }
        for (node, roots) in of_nodes {
            let of_node = self.nodes.entry(node.clone()).or_default();
            let otherwise = plan::otherwise(&roots);
            (of_node.otherwise.share, of_node.otherwise.limit) = (otherwise.share, otherwise.limit);
            let mut before = std::mem::take(&mut of_node.roots);
            for root in roots {
                let name = root.operation.clone().unwrap_or_default();
                let mut planned = before.remove(&name).unwrap_or_default();
                (planned.share, planned.limit) = (root.share, root.limit());
                of_node.roots.insert(name, planned);
            }
            let limits = of_node.roots.values().filter_map(|planned| planned.limit);
            of_node.pool.1 = limits.map(|limit| limit.traces * limit.spans).sum();
        }
    }

    /// A trace begins; how many it stands for if it is recorded.
    fn begin(&mut self, begin: &Begin, now: u64) -> Option<f32> {
        let (seed, drawn) = (self.seed, &mut self.drawn);
        let mut random = || {
            *drawn += 1;
            uniform(&drawn.to_le_bytes(), seed)
        };
        let root = &begin.key;
        let Some(of_node) = self.nodes.get(&root.node).filter(|_| begin.is_whole) else {
            return (random() < self.first).then(|| (1.0 / self.first) as f32);
        };
        let planned = of_node.roots.get(&root.operation).unwrap_or(&of_node.otherwise);
        let room = planned.limit.map(|limit| Room {
            limit,
            pool: (&of_node.pool.0, of_node.pool.1),
            part: 1.0,
        });
        let turn = planned.meter.begin(now, planned.share, room, random);
        turn.recorded.then(|| (1.0 / turn.share) as f32)
    }
}

/// As if agents counted every edge between services.
fn by_agents(mut glance: Glance, counts: &HashMap<(NodeId, NodeId), Histogram>) -> Glance {
    for (key, edge) in &mut glance.map.edges {
        if key.connection_type == ConnectionType::Direct {
            edge.evidence.counted = edge.evidence.counted.max(1);
            let of = counts.get(&(key.client.clone(), key.server.clone()));
            edge.stats.client = of.cloned().unwrap_or_default();
            edge.stats.requests = edge.stats.client.count() as f64;
        }
    }
    glance
}

/// A number from 0 to 1 that some bytes and a seed always have (FNV-1a, then the finaliser of `SplitMix64`).
fn uniform(bytes: &[u8], seed: u64) -> f64 {
    let bytes = bytes.iter().copied().chain(seed.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

/// By fault, the traces in which a call to its node was slow while it lasted, each with the edge of the call.
fn slow_traces(recording: &Recording, faults: &[Fault]) -> Vec<BTreeSet<EdgeOf>> {
    let by_id: HashMap<(TraceId, u64), &Received> = recording
        .spans()
        .iter()
        .map(|received| ((received.trace, received.span.id), received))
        .collect();
    let mut calls: Vec<Call> = Vec::new();
    for received in recording.spans() {
        let Some(service) = received.span.operation.service else {
            continue;
        };
        let parent = by_id.get(&(received.trace, received.span.parent_id));
        let caller = parent.filter(|parent| parent.span.operation.service != Some(service));
        let Some(caller) = caller.filter(|_| faults.iter().any(|fault| fault.is_at(service.id.as_str())))
        else {
            continue;
        };
        calls.push(Call {
            trace: received.trace,
            caller: caller
                .span
                .operation
                .service
                .map_or("unknown".into(), |caller| caller.id.clone()),
            callee: service.id.as_str().to_owned(),
            operation: received.span.operation.get().name.to_string(),
            start: caller.span.start,
            took: caller.span.end - caller.span.start,
        });
    }
    let mut healthy: HashMap<(&str, &str), Vec<u64>> = HashMap::new();
    for call in &calls {
        // What others' faults do to the calls of a node is part of what is usual there.
        let at_fault = |fault: &&Fault| fault.is_at(&call.callee) && fault.window().contains(&call.start);
        if !faults.iter().any(|fault| at_fault(&fault)) {
            healthy
                .entry((&call.callee, &call.operation))
                .or_default()
                .push(call.took);
        }
    }
    let usual: HashMap<(&str, &str), u64> = healthy
        .into_iter()
        .map(|(key, mut took)| {
            took.sort_unstable();
            let high = took[(took.len() - 1) * 95 / 100];
            (key, ((high as f64 * SLOW_FACTOR) as u64).max(high + SLOW_BY))
        })
        .collect();
    let of_fault = |fault: &Fault| {
        let window = fault.at..fault.window().end;
        let slow = calls.iter().filter(|call| {
            let most = usual.get(&(call.callee.as_str(), call.operation.as_str()));
            fault.is_at(&call.callee)
                && window.contains(&call.start)
                && most.is_some_and(|most| call.took > *most)
        });
        slow.map(|call| (call.trace, (call.caller.clone(), call.callee.as_str().into())))
            .collect()
    };
    faults.iter().map(of_fault).collect()
}

/// A call to a node that is at fault at some time.
struct Call {
    trace: TraceId,
    caller: NodeId,
    callee: String,
    operation: String,
    start: u64,
    took: u64,
}

/// As a table for people.
pub fn sampled_text(sampled: &Sampled) -> String {
    use std::fmt::Write as _;

    let mut text = format!(
        "{:.2} % of all spans kept\nfault | slow traces | kept by the plan | kept evenly | 20 kept: plan, evenly\n",
        100.0 * sampled.share
    );
    for of in &sampled.faults {
        let _ = writeln!(
            text,
            "{} {} {} | {} | {:.1} | {:.1} | {:.0} %, {:.0} %",
            humantime::format_rfc3339_seconds(
                std::time::UNIX_EPOCH + std::time::Duration::from_nanos(of.fault.at)
            ),
            of.fault.service,
            of.fault.kind,
            of.slow,
            of.planned,
            of.even,
            100.0 * of.enough.0,
            100.0 * of.enough.1
        );
    }
    let could: Vec<&Survived> = sampled
        .faults
        .iter()
        .filter(|of| of.slow as f64 >= ENOUGH_TRACES)
        .collect();
    if could.is_empty() {
        text.push_str("no fault has 20 slow traces\n");
        return text;
    }
    let mean = |of: fn(&Survived) -> f64| could.iter().map(|one| of(one)).sum::<f64>() / could.len() as f64;
    let _ = writeln!(
        text,
        "of {} faults with 20 slow traces or more, the plan keeps 20 in {:.0} %, an even share in {:.0} %",
        could.len(),
        100.0 * mean(|of| of.enough.0),
        100.0 * mean(|of| of.enough.1)
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_even_and_another_seed_draws_otherwise() {
        let trace = |n: u64| {
            let mut id = [7; 16];
            id[8..].copy_from_slice(&n.to_be_bytes());
            id
        };
        let below = (0..10_000).filter(|n| uniform(&trace(*n), 1) < 0.1).count();
        assert!((900..1_100).contains(&below), "{below}");
        let both = (0..10_000).filter(|n| uniform(&trace(*n), 1) < 0.1 && uniform(&trace(*n), 2) < 0.1);
        assert!((50..160).contains(&both.count()));
    }
}
