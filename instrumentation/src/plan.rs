//! The plan: which edges are traced, which only joined in logs, which only counted, and which share of traces is recorded.
//!
//! In: the map, what began traces over some time, a budget, the plan before. Out: a [`Plan`]: a share for each operation that begins
//! traces, a mode for each edge, each with its reason; what it costs, saves and gives up.
//! Left out on purpose: telling it to agents and SDKs, and any clock: time is an argument.
//!
//! A share is chosen where a trace begins, so that whoever takes part decides alike; edges further inside have the shares of the traces
//! that pass them. A mode takes an edge out of the traces that are recorded: only where agents make its spans, since an SDK makes
//! its own whatever we wish. The objective is that of `optimise`; every weight is in `system`.

mod optimise;
pub mod pace;
mod settings;
mod system;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use config::{Finding, HumanDuration};
use map::evidence::{DEFAULT_THRESHOLD_NATS, evidence_nats};
use map::roots::{Root, RootKey};
use map::{ConnectionType, EdgeKey, Map, NodeId, NodeKind, UnixNanos};
use serde::{Deserialize, Serialize};

pub use map::Mode;
pub use optimise::{Edge, Need, Pass, Problem, Root as ProblemRoot, Solution};
pub use settings::{Budget, PlanSettings, problems};

use system::System;

/// Where the plan lies, below the output directory.
pub const PLAN_PATH: &str = "plan.yaml";
/// The version of the file that this build writes, and of the document for agents.
pub const VERSION: u32 = 1;

/// A plan before stays where it costs no more than this part of its budget beyond it.
const TOLERATED: f64 = 1.03;
/// It does not stay where it would use less than this part of what a new one does.
const LEFT_UNUSED: f64 = 0.9;
/// It stays where a new one is worth no more than this factor.
const WORTH_A_CHANGE: f64 = 1.05;
/// A new plan leaves so much of the budget free, for traffic that grows until the next.
const FREE: f64 = 0.03;
/// The usual share of slow requests, by which detection delays are told.
const EXPECTED_SHARE: f64 = 0.05;
/// The longest window of the alerts, seconds.
const LONGEST_WINDOW: f64 = 6.0 * 3_600.0;
/// The window of the alerts, seconds.
const WINDOW: f64 = 300.0;

/// What there is to see.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The map.
    pub map: &'a Map,
    /// What began traces during `seconds`. Where it is empty it is estimated from the entry points and edges of the map.
    pub roots: &'a BTreeMap<RootKey, Root>,
    /// Over how long `roots` were counted; of the map where they are empty.
    pub seconds: f64,
    /// The time, nanoseconds since 1970.
    pub now: UnixNanos,
    /// Edges that are degraded now, each with how bad that is beside the others, above 0 to 1.
    pub degraded: &'a BTreeMap<EdgeKey, f64>,
    /// Which share of a service's requests each of its operations is.
    pub operations: &'a BTreeMap<NodeId, Vec<f64>>,
    /// What a span costs on the wire, bytes.
    pub span_bytes: f64,
    /// Spans that come for each that a plan foresees; 1 where nobody has compared them.
    pub unforeseen: f64,
}

/// The plan, and `plan.yaml`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Version of the format.
    pub version: u32,
    /// Names what was decided: two plans with one revision decide the same.
    pub revision: String,
    /// What it may cost, costs and saves.
    pub totals: Totals,
    /// Where traces begin. What stands in none of them is recorded.
    pub roots: Vec<PlannedRoot>,
    /// Every edge of the map.
    pub edges: Vec<PlannedEdge>,
    /// What nobody sees by it, or sees later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gives_up: Vec<GivenUp>,
}

/// Costs in spans a second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// What is allowed, as it is written in the settings.
    pub budget: String,
    /// That in spans a second; absent where there is no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_spans_per_second: Option<f64>,
    /// What tracing everything would cost.
    pub offered_spans_per_second: f64,
    /// What the plan costs.
    pub planned_spans_per_second: f64,
    /// The same in bytes a day, on the wire.
    pub planned_bytes_per_day: f64,
    /// Which part of what must be kept (`min_traces`, `min_judged`) has room.
    pub kept: f64,
    /// Teams with a budget of their own: what is allowed and what the plan costs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub teams: BTreeMap<String, TeamTotals>,
}

/// Costs of a team, spans a second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeamTotals {
    /// What is allowed.
    pub budget_spans_per_second: f64,
    /// What the plan costs.
    pub planned_spans_per_second: f64,
}

/// A share of the traces that begin with an operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedRoot {
    /// The service of the first span.
    pub node: NodeId,
    /// Who calls it there: `user`, or `unknown`.
    pub caller: NodeId,
    /// The name of the first span; absent where the share is for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The share that is recorded, 0 to 1.
    pub share: f64,
    /// Traces a second, recorded or not.
    pub traces_per_second: f64,
    /// Spans of a recorded trace.
    #[serde(default)]
    pub spans_per_trace: f64,
    /// Recorded traces a second that the budgets have room for: of growing traffic no more are, until the next plan. Absent where no
    /// budget bounds them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_per_second: Option<f64>,
    /// Whether somebody pinned it in `services`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    /// Why so many.
    pub reason: String,
}

/// How much is told of an edge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedEdge {
    /// Who calls.
    pub client: NodeId,
    /// Who is called.
    pub server: NodeId,
    /// How.
    #[serde(default, skip_serializing_if = "is_direct")]
    pub connection_type: ConnectionType,
    /// How much is told.
    pub mode: Mode,
    /// Share of its requests of which spans are kept, 0 to 1.
    pub share: f64,
    /// Requests a second.
    pub requests_per_second: f64,
    /// Why so much.
    pub reason: String,
}

/// What the plan costs those who look for faults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenUp {
    /// Id of a node or an edge, or `plan`.
    pub id: String,
    /// What.
    pub what: String,
    /// How long it takes until slow requests are evidence enough, if all are slow; absent where that is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detection_delay: Option<HumanDuration>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_direct(connection: &ConnectionType) -> bool {
    *connection == ConnectionType::Direct
}

/// The best plan within the budget, or the one before where a change is not worth it.
pub fn plan(sight: &Sight<'_>, settings: &PlanSettings, previous: Option<&Plan>) -> Plan {
    let mut system = System::new(sight, settings);
    let budgets = system.problem.budgets.clone();
    for budget in &mut system.problem.budgets {
        *budget *= (1.0 - FREE) / sight.unforeseen.max(0.01);
    }
    let mut solution = system.problem.solve();
    for (budget, of) in system.problem.budgets.iter_mut().zip(&budgets) {
        *budget = of / sight.unforeseen.max(0.01);
    }
    if let Some(before) = previous.and_then(|previous| before(previous, &system, &solution)) {
        solution = before;
    }
    system.problem.budgets = budgets;
    write(sight, settings, &system, &solution)
}

/// What the plan before decided, where it still does.
fn before(previous: &Plan, system: &System, new: &Solution) -> Option<Solution> {
    let problem = &system.problem;
    if problem.budgets.iter().all(|budget| budget.is_infinite()) {
        return None;
    }
    let shares: BTreeMap<(&NodeId, Option<&str>), f64> = previous
        .roots
        .iter()
        .map(|root| {
            (
                (&root.node, root.operation.as_deref()),
                root.share.clamp(0.0, 1.0),
            )
        })
        .collect();
    let modes: BTreeMap<(&NodeId, &NodeId, ConnectionType), Mode> = previous
        .edges
        .iter()
        .map(|edge| ((&edge.client, &edge.server, edge.connection_type), edge.mode))
        .collect();
    let share = |(at, root): (usize, &system::RootFacts)| {
        let operation = Some(root.key.operation.as_str()).filter(|name| !name.is_empty());
        let before = shares.get(&(&root.key.node, operation)).copied();
        // What people pin, and what is new, is as the new plan has it.
        if root.pinned { None } else { before }.unwrap_or(new.shares[at])
    };
    let shares: Vec<f64> = system.roots.iter().enumerate().map(share).collect();
    let quiet = |(at, edge): (usize, &system::EdgeFacts)| {
        let of = &problem.edges[at];
        let key = (&edge.key.client, &edge.key.server, edge.key.connection_type);
        match modes.get(&key) {
            Some(mode) if of.switchable => *mode != Mode::Span,
            _ => new.quiet[at],
        }
    };
    let quiet: Vec<bool> = system.edges.iter().enumerate().map(quiet).collect();
    let cost = problem.cost_of(&shares, &quiet);
    let value = problem.value(&shares, &quiet);
    let too_dear = cost
        .iter()
        .zip(&problem.budgets)
        .any(|(cost, most)| *cost > most * TOLERATED);
    let lacks = problem.needs.iter().any(|need| {
        let have = |shares: &[f64]| {
            need.from
                .iter()
                .map(|(root, rate)| shares[*root] * rate)
                .sum::<f64>()
        };
        !need.is_void(&quiet) && have(&shares) < 0.8 * have(&new.shares).min(need.want)
    });
    let spare = cost
        .iter()
        .zip(&new.cost)
        .any(|(cost, new)| *cost < new * LEFT_UNUSED);
    let stays = !too_dear && !lacks && !spare && new.value <= value * WORTH_A_CHANGE;
    stays.then_some(Solution {
        shares,
        quiet,
        cost,
        value,
        kept: new.kept,
    })
}

fn write(sight: &Sight<'_>, settings: &PlanSettings, system: &System, solution: &Solution) -> Plan {
    let problem = &system.problem;
    let ones = vec![1.0; problem.roots.len()];
    let loud = vec![false; problem.edges.len()];
    let offered = problem.cost_of(&ones, &loud);
    let first = |cost: &[f64]| cost.first().copied().unwrap_or_default();
    let planned = first(&solution.cost) * sight.unforeseen;
    let roots: Vec<PlannedRoot> = (0..system.roots.len())
        .map(|at| text::root(system, solution, at, sight.unforeseen))
        .collect();
    let edges: Vec<PlannedEdge> = (0..system.edges.len())
        .map(|at| text::edge(system, solution, at))
        .collect();
    let budget = problem.budgets.first().copied().unwrap_or(f64::INFINITY);
    let team = |(at, team): (usize, &String)| {
        let totals = TeamTotals {
            budget_spans_per_second: three(problem.budgets[at + 1]),
            planned_spans_per_second: three(solution.cost[at + 1] * sight.unforeseen),
        };
        (team.clone(), totals)
    };
    let mut plan = Plan {
        version: VERSION,
        revision: String::new(),
        totals: Totals {
            budget: settings.budget.in_words(),
            budget_spans_per_second: budget.is_finite().then(|| three(budget)),
            offered_spans_per_second: three(first(&offered)),
            planned_spans_per_second: three(planned),
            planned_bytes_per_day: three(planned * sight.span_bytes * 86_400.0),
            kept: three(solution.kept),
            teams: system.teams.iter().enumerate().map(team).collect(),
        },
        gives_up: text::gives_up(sight, system, solution),
        roots,
        edges,
    };
    plan.revision = revision(&plan);
    plan
}

/// Three figures, so that a plan says the same while the system does.
fn three(value: f64) -> f64 {
    if !value.is_finite() || value == 0.0 {
        return 0.0;
    }
    let scale = 10f64.powi(2 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

/// FNV-1a of what was decided.
fn revision(plan: &Plan) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    for root in &plan.roots {
        add(root.node.as_str().as_bytes());
        add(root.operation.as_deref().unwrap_or_default().as_bytes());
        add(&root.share.to_le_bytes());
    }
    for edge in &plan.edges {
        add(edge.client.as_str().as_bytes());
        add(edge.server.as_str().as_bytes());
        add(&[edge.connection_type as u8, edge.mode as u8]);
    }
    format!("{hash:016x}")
}

/// How long until so many requests a second are evidence, if all are slow; `None` where no window of the alerts holds enough.
pub fn detection_delay(requests_per_second: f64) -> Option<HumanDuration> {
    let enough = (1..=64).find(|n| {
        let n = f64::from(*n);
        evidence_nats(n, n, n * EXPECTED_SHARE) > DEFAULT_THRESHOLD_NATS
    })?;
    let seconds = f64::from(enough) / requests_per_second;
    (seconds <= LONGEST_WINDOW).then(|| HumanDuration::from_secs((seconds.ceil() as u64).max(1)))
}

/// Why a budget cannot hold what must be kept, with the budget that could.
pub fn shortage(plan: &Plan, settings: &PlanSettings) -> Option<Finding> {
    if plan.totals.kept >= 1.0 {
        return None;
    }
    let budget = plan.totals.budget_spans_per_second;
    let budget = budget.map_or_else(
        || "the budgets of `teams` have".to_owned(),
        |budget| format!("a budget of {budget} spans/s has"),
    );
    Some(Finding {
        path: "generate.plan.budget".to_owned(),
        message: format!(
            "{budget} room for {} of what must be kept: {} traces of each edge an hour and {} requests of \
             each operation in five minutes",
            system::per_cent(plan.totals.kept),
            settings.min_traces,
            settings.min_judged
        ),
        hint: Some(
            "raise it, take out shares that are pinned in `services`, or lower `min_traces` and `min_judged`"
                .to_owned(),
        ),
    })
}

/// Teams with a budget whom no service belongs to. Keys are below `prefix`.
pub fn unknown_teams(map: &Map, settings: &PlanSettings, prefix: &str) -> Vec<Finding> {
    let teams: BTreeSet<String> = map.nodes.keys().map(|id| map.owner(id).team).collect();
    let unknown = settings.teams.keys().filter(|team| !teams.contains(*team));
    let finding = |team: &String| Finding {
        path: format!("{prefix}.teams.{team}"),
        message: format!("no service of the map belongs to team `{team}`"),
        hint: Some("state `team` of its services in `services`, or take it out".to_owned()),
    };
    unknown.map(finding).collect()
}

/// What people pinned that the map does not have or that cannot be. Keys are those of the section `services`.
pub fn pin_problems(map: &Map) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, service) in &map.services {
        let path = format!("services.{name}.plan");
        let ids = map
            .nodes
            .keys()
            .filter(|id| id.as_str() == name || id.name() == name);
        let callees: BTreeSet<&NodeId> = ids
            .flat_map(|id| map.callees(id).map(|(key, _)| &key.server))
            .collect();
        for callee in service.plan.edges.keys() {
            let named = |id: &&&NodeId| id.as_str() == callee || id.name() == callee;
            if callees.iter().any(|id| named(&id)) {
                continue;
            }
            let known: Vec<&str> = callees.iter().map(|id| id.as_str()).take(6).collect();
            found.push(Finding {
                path: format!("{path}.edges.{callee}"),
                message: format!("`{name}` does not call `{callee}` on the map"),
                hint: Some(if known.is_empty() {
                    "it calls nobody: take it out".to_owned()
                } else {
                    format!("it calls {}", known.join(", "))
                }),
            });
        }
        let without_agents = service.plan.edges.iter().filter(|(_, mode)| **mode != Mode::Span);
        for (callee, mode) in without_agents {
            let of = |(key, _): &(&EdgeKey, &map::Edge)| {
                let client = key.client.as_str() == name || key.client.name() == name;
                client && (key.server.as_str() == callee || key.server.name() == callee)
            };
            let seen = map.edges.iter().find(of);
            if let Some((_, edge)) = seen
                && edge.stats.requests > 0.0
                && edge.evidence.counted == 0
            {
                found.push(Finding {
                    path: format!("{path}.edges.{callee}"),
                    message: format!(
                        "`{name}` is to tell of `{callee}` by `{}`, but no agent counts that edge: its spans come from SDKs, which no \
                         mode reaches",
                        mode_word(*mode)
                    ),
                    hint: Some("put an agent there, or take it out".to_owned()),
                });
            }
        }
    }
    found
}

fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Span => "span",
        Mode::Log => "log",
        Mode::Count => "count",
    }
}

impl Plan {
    /// As `plan.yaml`.
    ///
    /// # Panics
    /// Never: plain data of strings and numbers serialises.
    pub fn to_yaml(&self) -> String {
        serde_yaml::to_string(self).expect("plain data of strings and numbers serialises")
    }

    /// From the text of a `plan.yaml`; `None` where it is none of this version, which then is no plan before.
    pub fn from_yaml(text: &str) -> Option<Self> {
        let plan: Self = serde_yaml::from_str(text).ok()?;
        (plan.version == VERSION).then_some(plan)
    }

    /// The document that agents read, as `agent.plan.url` gives it.
    pub fn document(&self, map: &Map) -> serde_json::Value {
        let edge = |edge: &PlannedEdge| {
            serde_json::json!({
                "caller": edge.client,
                "callee": edge.server,
                "addresses": addresses(map, &edge.server),
                "mode": edge.mode,
            })
        };
        let quiet = self.edges.iter().filter(|edge| edge.mode != Mode::Span).map(edge);
        let mut begun: BTreeMap<(&NodeId, &NodeId), Vec<&PlannedRoot>> = BTreeMap::new();
        for root in &self.roots {
            begun.entry((&root.node, &root.caller)).or_default().push(root);
        }
        // Where everything is recorded and nothing bounds it, nobody is told to: another sampler may be configured.
        begun.retain(|_, roots| {
            let decides =
                |root: &&PlannedRoot| root.pinned || root.share < 1.0 || root.most_per_second.is_some();
            roots.iter().any(decides)
        });
        let root = |((node, caller), roots): ((&NodeId, &NodeId), Vec<&PlannedRoot>)| {
            let operations: Vec<_> = roots
                .iter()
                .filter_map(|root| {
                    let operation = root.operation.as_deref()?;
                    Some(serde_json::json!({
                        "operation": operation,
                        "share": root.share,
                        "limit": root.most_per_second,
                        "spans": root.spans_per_trace,
                    }))
                })
                .collect();
            let otherwise = otherwise(&roots);
            serde_json::json!({
                "caller": caller,
                "callee": node,
                "share": otherwise.share,
                "limit": otherwise.limit.map(|limit| limit.traces),
                "spans": otherwise.limit.map(|limit| limit.spans),
                "operations": operations,
            })
        };
        let edges: Vec<_> = quiet.chain(begun.into_iter().map(root)).collect();
        serde_json::json!({
            "version": VERSION,
            "revision": self.revision,
            "edges": edges,
        })
    }
}

/// What holds for operations that stand in no plan yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Otherwise {
    /// The share that is recorded, 0 to 1.
    pub share: f64,
    /// How much; `None` where no budget bounds it.
    pub limit: Option<pace::Limit>,
}

/// Of what stands in no plan yet as much may be recorded as this part of what does.
const NEW: f64 = 0.1;

/// What holds for operations that stand in no plan yet, beside those of the same service that do: all of the first of them are recorded,
/// unless somebody said otherwise for all. What is new is rare, and what is not comes into the next plan.
pub fn otherwise(roots: &[&PlannedRoot]) -> Otherwise {
    let pinned = || roots.iter().find(|root| root.pinned).copied();
    if let Some(root) = of_all(roots).or_else(pinned) {
        return Otherwise {
            share: root.share,
            limit: root.limit(),
        };
    }
    let limits = || roots.iter().filter_map(|root| root.limit());
    let spans: f64 = limits().map(|limit| limit.traces * limit.spans).sum();
    let traces: f64 = limits().map(|limit| limit.traces).sum();
    let bound = !roots.is_empty() && roots.iter().all(|root| root.most_per_second.is_some());
    Otherwise {
        share: 1.0,
        limit: bound.then(|| pace::Limit {
            traces: NEW * traces,
            spans: if traces > 0.0 { spans / traces } else { 1.0 },
        }),
    }
}

impl PlannedRoot {
    /// How much may be recorded in the whole system; `None` where no budget bounds it.
    pub fn limit(&self) -> Option<pace::Limit> {
        Some(pace::Limit {
            traces: self.most_per_second?,
            spans: self.spans_per_trace,
        })
    }
}

/// The root that stands for all operations without one of their own.
fn of_all<'a>(roots: &[&'a PlannedRoot]) -> Option<&'a PlannedRoot> {
    let all = |root: &&&PlannedRoot| {
        let operation = root.operation.as_deref();
        operation.is_none_or(|operation| operation == map::roots::OTHER_OPERATIONS)
    };
    roots.iter().find(all).copied()
}

/// Addresses of a callee that agents are told.
const MOST_ADDRESSES: usize = 64;

/// Under which addresses callers dial a node, as far as the map knows.
fn addresses(map: &Map, id: &NodeId) -> BTreeSet<String> {
    let mut found: BTreeSet<String> = map
        .nodes
        .get(id)
        .map(|node| node.aliases.clone())
        .unwrap_or_default();
    match map.kind(id) {
        NodeKind::Database => found.extend(id.as_str().rsplit_once('@').map(|(_, host)| host.to_owned())),
        NodeKind::External => found.extend([id.as_str().to_owned()]),
        NodeKind::Service => found.extend([id.name().to_owned()]),
        _ => {}
    }
    found.retain(|address| !address.is_empty());
    found.into_iter().take(MOST_ADDRESSES).collect()
}

/// A plan for a map by itself, as `tracemap generate` has it: rates are those of the time that it was seen.
pub fn of_map(map: &Map, settings: &PlanSettings, previous: Option<&Plan>) -> Plan {
    let seen = map.edges.values().map(|edge| edge.seen);
    let first = seen.clone().map(|seen| seen.first).filter(|at| *at > 0).min();
    let last = seen.map(|seen| seen.last).max().unwrap_or_default();
    let seconds = last.saturating_sub(first.unwrap_or(last)) as f64 / 1e9;
    let sight = Sight {
        map,
        roots: &map.roots,
        seconds: seconds.max(1.0),
        now: last,
        degraded: &BTreeMap::new(),
        operations: &BTreeMap::new(),
        span_bytes: settings.span_bytes.0 as f64,
        unforeseen: 1.0,
    };
    plan(&sight, settings, previous)
}

/// Spans of a request on an edge that its mode decides about; 0 where no agent makes them.
pub fn spans_by_agents(map: &Map, key: &EdgeKey) -> f64 {
    system::spans_by_agents(map, key)
}

/// What a plan costs, saves and gives up, in a few lines for people.
pub fn summary(plan: &Plan) -> String {
    text::summary(plan)
}

#[cfg(test)]
mod tests;
