//! The map as a problem of numbers, and the names behind them.
//!
//! In: the map, what began traces over some time, settings. Out: a [`System`].
//! Left out on purpose: deciding (`optimise`), and what was decided before.

use std::collections::{BTreeMap, BTreeSet};

use map::roots::{Passed, Root, RootKey};
use map::{ConnectionType, Edge, EdgeKey, Map, NodeId, NodeKind, Owner};

use super::optimise::{self, Need, Pass, Problem};
use super::{Mode, PlanSettings, Sight};

/// Rounds in which visits spread over a map without roots; deeper chains than that are estimated too short.
const ROUNDS: usize = 64;
/// What the edge is worth where it is worst now.
const DEGRADED: f64 = 50.0;
/// What steady edges are worth: those to a service, without which it has no own time; to a database or a peer, whose time is its
/// caller's otherwise; to a chatty leaf.
const SERVICE: f64 = 0.5;
const VIRTUAL: f64 = 0.2;
const CHATTY: f64 = 0.05;
/// Seconds of an hour, and of the window of the alerts.
const HOUR: f64 = 3_600.0;
const WINDOW: f64 = 300.0;

/// What is to be decided, with names.
pub(super) struct System {
    pub(super) problem: Problem,
    pub(super) roots: Vec<RootFacts>,
    pub(super) edges: Vec<EdgeFacts>,
    /// Teams with a budget of their own; the budget of the first has index 1.
    pub(super) teams: Vec<String>,
}

/// A root by its names.
pub(super) struct RootFacts {
    pub(super) key: RootKey,
    /// `user`, or `unknown` where nobody that we know of calls.
    pub(super) caller: NodeId,
    /// Where people pinned its share: who says so.
    pub(super) pinned: bool,
}

/// An edge by its names.
pub(super) struct EdgeFacts {
    pub(super) key: EdgeKey,
    /// Its id in series and in the page.
    pub(super) id: String,
    /// Why it is worth its spans.
    pub(super) reasons: Vec<String>,
    /// The mode that people pinned.
    pub(super) pinned: Option<Mode>,
    /// Called often by each visit, and nobody behind it.
    pub(super) chatty: Option<f64>,
    /// Requests a second, whether recorded or not.
    pub(super) rate: f64,
    /// The 99th percentile of its own time over the median.
    pub(super) spread: Option<f64>,
}

impl System {
    pub(super) fn new(sight: &Sight<'_>, settings: &PlanSettings) -> Self {
        let map = sight.map;
        let teams: Vec<String> = settings.teams.keys().cloned().collect();
        let estimated;
        let seen = if sight.roots.is_empty() {
            estimated = estimate(map);
            &estimated
        } else {
            sight.roots
        };
        let keys: Vec<&EdgeKey> = map.edges.keys().collect();
        let at: BTreeMap<&EdgeKey, usize> = keys.iter().enumerate().map(|(at, key)| (*key, at)).collect();
        let (budgets, whole) = (Budgets::new(map, &teams), Whole::new(map));
        let edges: Vec<(EdgeFacts, optimise::Edge)> = map
            .edges
            .iter()
            .map(|(key, edge)| edge_of((sight, &whole), settings, &budgets, key, edge))
            .collect();
        let (mut facts, edges): (Vec<EdgeFacts>, Vec<optimise::Edge>) = edges.into_iter().unzip();
        let mut roots = Vec::new();
        let mut root_facts = Vec::new();
        for (key, root) in seen.iter().filter(|(_, root)| root.traces > 0.0) {
            let of = root_of(sight, &budgets, &at, &edges, key, root);
            for pass in &of.passes {
                facts[pass.edge].rate += of.rate * pass.requests;
            }
            root_facts.push(RootFacts {
                caller: whole.caller_of(&key.node),
                pinned: of.pinned.is_some(),
                key: key.clone(),
            });
            roots.push(of);
        }
        let limits = teams.iter().filter_map(|team| settings.teams.get(team));
        let limits = std::iter::once(&settings.budget).chain(limits);
        let mut problem = Problem {
            roots,
            edges,
            needs: Vec::new(),
            budgets: limits
                .map(|budget| budget.spans_per_second(settings, sight.span_bytes))
                .collect(),
            enough: f64::from(settings.min_traces.max(1)),
        };
        problem.needs = needs(sight, settings, &problem, &root_facts, &keys);
        Self {
            problem,
            roots: root_facts,
            edges: facts,
            teams,
        }
    }
}

/// Whose budget a service's spans are paid from besides the system's.
struct Budgets {
    of_node: BTreeMap<NodeId, usize>,
}

impl Budgets {
    fn new(map: &Map, teams: &[String]) -> Self {
        let of = |id: &NodeId| {
            let Owner { team, .. } = map.owner(id);
            teams.iter().position(|one| *one == team).map(|at| at + 1)
        };
        let of_node = map.nodes.keys().filter_map(|id| Some((id.clone(), of(id)?)));
        Self {
            of_node: if teams.is_empty() {
                BTreeMap::new()
            } else {
                of_node.collect()
            },
        }
    }

    /// `spans` of a service, by budget.
    fn charge(&self, node: &NodeId, spans: f64, to: &mut BTreeMap<usize, f64>) {
        *to.entry(0).or_default() += spans;
        if let Some(team) = self.of_node.get(node) {
            *to.entry(*team).or_default() += spans;
        }
    }
}

fn edge_of(
    (sight, whole): (&Sight<'_>, &Whole<'_>),
    settings: &PlanSettings,
    budgets: &Budgets,
    key: &EdgeKey,
    edge: &Edge,
) -> (EdgeFacts, optimise::Edge) {
    let map = sight.map;
    let by_agents = spans_by_agents(map, key);
    let mut spans = BTreeMap::new();
    if by_agents > 0.0 {
        budgets.charge(&key.client, 1.0, &mut spans);
    }
    if by_agents > 1.0 {
        budgets.charge(&key.server, 1.0, &mut spans);
    }
    let by_agents = by_agents > 0.0;
    let pinned = pinned_mode(map, key);
    let (weight, reasons) = weigh((sight, whole), settings, key, edge);
    let decided = optimise::Edge {
        weight,
        switchable: by_agents && pinned.is_none(),
        pinned_quiet: by_agents && pinned.is_some_and(|mode| mode != Mode::Span),
        spans: spans.into_iter().collect(),
    };
    let facts = EdgeFacts {
        id: map.edge_id(key),
        key: key.clone(),
        reasons,
        pinned,
        chatty: whole.chatty(settings, key, edge),
        rate: 0.0,
        spread: spread(edge),
    };
    (facts, decided)
}

/// Spans of a request on an edge that its mode decides about: where the caller's agent counts an edge itself, it and the callee's agent
/// make them.
pub(super) fn spans_by_agents(map: &Map, key: &EdgeKey) -> f64 {
    let nobody = matches!(key.client.as_str(), NodeId::USER | NodeId::UNKNOWN);
    let Some(edge) = map.edges.get(key).filter(|edge| edge.evidence.counted > 0) else {
        return 0.0;
    };
    if nobody || map.kind(&key.client) == NodeKind::Destination {
        return 0.0;
    }
    let answers = !map.kind(&key.server).is_virtual() && !edge.stats.server.is_empty();
    if answers { 2.0 } else { 1.0 }
}

/// What people state about an edge, at its caller: by the callee's id, or its bare name.
pub(super) fn pinned_mode(map: &Map, key: &EdgeKey) -> Option<Mode> {
    let settings = map::services::settings_of(&map.services, &key.client)?;
    let edges = &settings.plan.edges;
    edges
        .get(key.server.as_str())
        .or_else(|| edges.get(key.server.name()))
        .copied()
}

/// What edges are weighed against, once for all of them.
struct Whole<'a> {
    /// Seconds on the critical path of all traces.
    waited: f64,
    /// When the first edge was first seen.
    began: Option<u64>,
    /// Requests by callee.
    served: BTreeMap<&'a NodeId, f64>,
    /// Who calls anybody.
    callers: BTreeSet<&'a NodeId>,
    /// Whom users call.
    by_users: BTreeSet<&'a NodeId>,
}

impl<'a> Whole<'a> {
    fn new(map: &'a Map) -> Self {
        let mut served: BTreeMap<&NodeId, f64> = BTreeMap::new();
        for (key, edge) in &map.edges {
            *served.entry(&key.server).or_default() += edge.stats.requests;
        }
        let by_users = map.edges.keys().filter(|key| key.client.as_str() == NodeId::USER);
        Self {
            waited: map.nodes.values().map(|node| node.stats.critical).sum::<f64>()
                + map.edges.values().map(|edge| edge.stats.critical).sum::<f64>(),
            began: map
                .edges
                .values()
                .map(|edge| edge.seen.first)
                .filter(|first| *first > 0)
                .min(),
            served,
            callers: map.edges.keys().map(|key| &key.client).collect(),
            by_users: by_users.map(|key| &key.server).collect(),
        }
    }

    /// Calls of a visit, where they are many and nobody is behind the callee.
    fn chatty(&self, settings: &PlanSettings, key: &EdgeKey, edge: &Edge) -> Option<f64> {
        let calls = edge.stats.fan_out.mean()?;
        (!self.callers.contains(&key.server) && calls >= settings.chatty_calls).then_some(calls)
    }

    /// `user` where users call the node, else `unknown`.
    fn caller_of(&self, node: &NodeId) -> NodeId {
        if self.by_users.contains(node) {
            NodeId::user()
        } else {
            NodeId::unknown()
        }
    }
}

fn spread(edge: &Edge) -> Option<f64> {
    let of = if edge.stats.own.is_empty() {
        &edge.stats.client
    } else {
        &edge.stats.own
    };
    let (median, high) = (of.quantile(0.5)?, of.quantile(0.99)?);
    (median > 0.0 && of.count() >= 100).then(|| high / median)
}

/// What diagnosis has of an edge, above 0, and why: what a steady edge of its kind is worth, and more for what may be or is wrong there.
fn weigh(
    (sight, whole): (&Sight<'_>, &Whole<'_>),
    settings: &PlanSettings,
    key: &EdgeKey,
    edge: &Edge,
) -> (f64, Vec<String>) {
    let mut found: Vec<(f64, String)> = Vec::new();
    let map = sight.map;
    if let Some(severity) = sight.degraded.get(key) {
        found.push((DEGRADED * severity, "it is degraded now".to_owned()));
    }
    let behind = map.nodes.get(&key.server).map_or(0.0, |node| node.stats.critical);
    let served = whole.served.get(&key.server).copied().unwrap_or_default();
    let share = edge.stats.requests / served.max(f64::MIN_POSITIVE);
    let critical = (edge.stats.critical + behind * share.min(1.0)) / whole.waited.max(f64::MIN_POSITIVE);
    if critical >= 0.01 {
        found.push((
            4.0 * critical,
            format!("{:.0} % of what users wait passes there", 100.0 * critical),
        ));
    }
    if let Some(spread) = spread(edge).filter(|spread| *spread >= 4.0) {
        let weight = (spread.log10() / 2.0).min(1.0);
        found.push((
            weight,
            format!("its 99th percentile is {spread:.0} times its median"),
        ));
    }
    let failed = edge.stats.failed / edge.stats.requests.max(f64::MIN_POSITIVE);
    if edge.stats.failed > 0.0 {
        let weight = (0.2 + 10.0 * failed).min(1.5);
        found.push((weight, format!("{} of its requests fail", per_cent(failed))));
    }
    let fresh = u64::try_from(settings.new_for.get().as_nanos()).unwrap_or(u64::MAX);
    let age = sight.now.saturating_sub(edge.seen.first);
    // In a map that is new itself everything is.
    let map_is_old = whole
        .began
        .is_some_and(|began| sight.now.saturating_sub(began) > fresh);
    if map_is_old && edge.seen.first > 0 && age < fresh {
        found.push((1.0, "it is new".to_owned()));
    }
    let torn = edge.evidence.server_only + edge.evidence.bridged;
    if torn > 0 && (key.client.as_str() == NodeId::UNKNOWN || torn * 20 > edge.evidence_total()) {
        let told = "context breaks there".to_owned();
        found.push((1.0, told));
    }
    if let Some(tier) = map::services::settings_of(&map.services, &key.server).and_then(|of| of.tier)
        && tier <= 1
    {
        found.push((0.5, format!("{} has tier {tier}", key.server)));
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    let base = if whole.chatty(settings, key, edge).is_some() {
        CHATTY
    } else if map.kind(&key.server).is_virtual() {
        VIRTUAL
    } else {
        SERVICE
    };
    let weight = base + found.iter().map(|(weight, _)| weight).sum::<f64>();
    (weight, found.into_iter().map(|(_, reason)| reason).collect())
}

pub(super) fn per_cent(share: f64) -> String {
    match share * 100.0 {
        all if all >= 10.0 => format!("{all:.0} %"),
        some if some >= 0.1 => format!("{some:.1} %"),
        few => format!("{few:.3} %"),
    }
}

fn root_of(
    sight: &Sight<'_>,
    budgets: &Budgets,
    at: &BTreeMap<&EdgeKey, usize>,
    edges: &[optimise::Edge],
    key: &RootKey,
    root: &Root,
) -> optimise::Root {
    let looked = root.looked.max(f64::MIN_POSITIVE);
    let pass = |(key, passed): (&EdgeKey, &Passed)| {
        Some(Pass {
            edge: *at.get(key)?,
            traces: (passed.traces / looked).min(1.0),
            requests: passed.requests / looked,
        })
    };
    let passes: Vec<Pass> = root.edges.iter().filter_map(pass).collect();
    let by_mode = |pass: &Pass| {
        let spans = edges[pass.edge].spans.iter().find(|(budget, _)| *budget == 0);
        spans.map_or(0.0, |(_, spans)| spans * pass.requests)
    };
    // What agents leave out now is not among the spans that came.
    let fixed = (root.spans / looked - passes.iter().map(by_mode).sum::<f64>()).max(0.0);
    optimise::Root {
        rate: root.traces / sight.seconds.max(1.0),
        spans: shared_out(budgets, key, root, fixed),
        pinned: map::services::settings_of(&sight.map.services, &key.node)
            .and_then(|of| of.plan.share)
            .filter(|share| share.is_finite())
            .map(|share| share.clamp(0.0, 1.0)),
        passes,
    }
}

/// Spans of a trace among the services that it visits, by how often each is.
fn shared_out(budgets: &Budgets, key: &RootKey, root: &Root, spans: f64) -> Vec<(usize, f64)> {
    let mut visits: BTreeMap<&NodeId, f64> = BTreeMap::from([(&key.node, root.looked)]);
    for (edge, passed) in &root.edges {
        *visits.entry(&edge.client).or_default() += passed.requests;
        *visits.entry(&edge.server).or_default() += passed.requests;
    }
    visits.retain(|node, _| !matches!(node.as_str(), NodeId::USER | NodeId::UNKNOWN));
    let all: f64 = visits.values().sum();
    let mut by = BTreeMap::from([(0, 0.0)]);
    for (node, of) in visits {
        budgets.charge(node, spans * of / all.max(f64::MIN_POSITIVE), &mut by);
    }
    by.into_iter().collect()
}

fn needs(
    sight: &Sight<'_>,
    settings: &PlanSettings,
    problem: &Problem,
    roots: &[RootFacts],
    keys: &[&EdgeKey],
) -> Vec<Need> {
    let traces = f64::from(settings.min_traces) / HOUR;
    let judged = f64::from(settings.min_judged) / WINDOW;
    let mut passed: Vec<Vec<(usize, f64, f64)>> = vec![Vec::new(); keys.len()];
    for (at, root) in problem.roots.iter().enumerate() {
        for pass in &root.passes {
            passed[pass.edge].push((at, root.rate * pass.traces, root.rate * pass.requests));
        }
    }
    let mut needs = Vec::new();
    for (edge, key) in keys
        .iter()
        .enumerate()
        .filter(|(edge, _)| !passed[*edge].is_empty())
    {
        let stats = &sight.map.edges[*key].stats;
        let from = |share: f64| {
            passed[edge]
                .iter()
                .map(|(at, rate, _)| (*at, rate * share))
                .collect()
        };
        needs.push(Need {
            from: from(1.0),
            want: traces,
            edges: vec![edge],
            failures: false,
        });
        if stats.failed > 0.0 {
            needs.push(Need {
                from: from((stats.failed / stats.requests.max(f64::MIN_POSITIVE)).min(1.0)),
                want: traces,
                edges: vec![edge],
                failures: true,
            });
        }
    }
    for (at, root) in problem.roots.iter().enumerate() {
        needs.push(Need {
            from: vec![(at, root.rate)],
            want: judged,
            edges: Vec::new(),
            failures: false,
        });
    }
    // Operations of services further inside, reached by whoever reaches their service.
    let mut reached: BTreeMap<&NodeId, Vec<(usize, f64)>> = BTreeMap::new();
    let mut into: BTreeMap<&NodeId, Vec<usize>> = BTreeMap::new();
    for (edge, key) in keys.iter().enumerate() {
        into.entry(&key.server).or_default().push(edge);
        let to = reached.entry(&key.server).or_default();
        to.extend(passed[edge].iter().map(|(at, _, requests)| (*at, *requests)));
    }
    let begins: BTreeSet<&NodeId> = roots.iter().map(|root| &root.key.node).collect();
    for (node, shares) in sight.operations {
        let Some(from) = reached.get(node).filter(|_| !begins.contains(node)) else {
            continue;
        };
        // All want as many and come from the same roots: what the rarest needs, the others have.
        let rarest = shares
            .iter()
            .copied()
            .filter(|share| *share > 0.0)
            .min_by(f64::total_cmp);
        if let Some(share) = rarest {
            needs.push(Need {
                from: from.iter().map(|(at, rate)| (*at, rate * share)).collect(),
                want: judged,
                edges: into.get(node).cloned().unwrap_or_default(),
                failures: false,
            });
        }
    }
    // Those with the fewest sources first: what they need of them, others then have.
    needs.sort_by_key(|need| need.from.len());
    needs
}

/// Roots of a map that has seen none: every entry point is one, and how often each edge is passed follows from how often a
/// visit of its caller calls, as if that did not depend on who asked.
fn estimate(map: &Map) -> BTreeMap<RootKey, Root> {
    let mut visits: BTreeMap<&NodeId, f64> = BTreeMap::new();
    let mut begun: BTreeMap<&NodeId, f64> = BTreeMap::new();
    for (key, edge) in &map.edges {
        *visits.entry(&key.server).or_default() += edge.stats.requests;
        if matches!(key.client.as_str(), NodeId::USER | NodeId::UNKNOWN) {
            *begun.entry(&key.server).or_default() += edge.stats.requests;
        }
    }
    let of_visit = |key: &EdgeKey, edge: &Edge| {
        let visits = visits.get(&key.client).copied().unwrap_or_default();
        (visits > 0.0).then(|| (edge.stats.requests / visits).min(1_000.0))
    };
    let root = |(node, traces): (&&NodeId, &f64)| {
        let mut at: BTreeMap<&NodeId, f64> = BTreeMap::from([(*node, 1.0)]);
        let mut edges: BTreeMap<EdgeKey, Passed> = BTreeMap::new();
        for _ in 0..ROUNDS {
            let mut next: BTreeMap<&NodeId, f64> = BTreeMap::new();
            for (client, visits) in at {
                for (key, edge) in map.callees(client) {
                    let requests = visits * of_visit(key, edge).unwrap_or_default();
                    // Less than one of ten thousand traces; in a cycle this ends it.
                    if requests < 1e-4 {
                        continue;
                    }
                    edges.entry(key.clone()).or_default().requests += requests * traces;
                    *next.entry(&key.server).or_default() += requests;
                }
            }
            if next.is_empty() {
                break;
            }
            at = next;
        }
        for (key, edge) in map
            .callers(node)
            .filter(|(key, _)| key.client.as_str() == NodeId::USER)
        {
            edges.entry(key.clone()).or_default().requests += edge.stats.requests.min(*traces);
        }
        for passed in edges.values_mut() {
            passed.traces = passed.requests.min(*traces);
        }
        let spans = |(key, passed): (&EdgeKey, &Passed)| match key.connection_type {
            _ if map.kind(&key.client) == NodeKind::Destination => passed.requests,
            ConnectionType::Direct => 2.0 * passed.requests,
            _ => passed.requests,
        };
        let spans = traces + edges.iter().map(spans).sum::<f64>();
        let root = Root {
            traces: *traces,
            plain: 0.0,
            failed: 0.0,
            looked: *traces,
            spans,
            seen: spans,
            edges,
        };
        let key = RootKey {
            node: (*node).clone(),
            operation: String::new(),
        };
        (key, root)
    };
    begun.iter().map(root).collect()
}
