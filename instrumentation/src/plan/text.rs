//! What was decided, in words.
//!
//! In: the system and its solution. Out: entries of the plan with their reasons, what it gives up, a summary.
//! Left out on purpose: deciding.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use map::{NodeId, NodeKind};

use super::optimise::Solution;
use super::system::{System, per_cent};
use super::{GivenUp, Mode, Plan, PlannedEdge, PlannedRoot, Sight, WINDOW, detection_delay, three};

/// Entries of what is given up; the rest is one line.
const MOST_GIVEN_UP: usize = 100;
/// Bytes of a gibibyte.
const GIB: f64 = 1_073_741_824.0;
/// Reasons that are told of an edge.
const REASONS: usize = 3;

pub(super) fn root(system: &System, solution: &Solution, at: usize, unforeseen: f64) -> PlannedRoot {
    let (facts, root) = (&system.roots[at], &system.problem.roots[at]);
    let share = solution.shares[at];
    let hourly = root.rate * share * 3_600.0;
    let spans = root
        .spans
        .iter()
        .find(|(budget, _)| *budget == 0)
        .map_or(0.0, |(_, spans)| *spans);
    let of_edges: f64 = root
        .passes
        .iter()
        .filter(|pass| !solution.quiet[pass.edge])
        .flat_map(|pass| {
            system.problem.edges[pass.edge]
                .spans
                .iter()
                .map(move |of| (pass, of))
        })
        .filter(|(_, (budget, _))| *budget == 0)
        .map(|(pass, (_, spans))| spans * pass.requests)
        .sum();
    let each = format!(
        "{:.1} spans a trace, {} traces/s",
        spans + of_edges,
        three(root.rate)
    );
    let reason = if facts.pinned {
        format!("pinned in `services`; {each}")
    } else if share >= 1.0 {
        format!("all of them: {each}")
    } else {
        format!("{hourly:.0} traces an hour are kept: {each}")
    };
    PlannedRoot {
        node: facts.key.node.clone(),
        caller: facts.caller.clone(),
        operation: Some(facts.key.operation.clone()).filter(|name| !name.is_empty()),
        share: three(share),
        traces_per_second: three(root.rate),
        spans_per_trace: three(spans + of_edges),
        most_per_second: headroom(system, solution, at, unforeseen)
            .filter(|_| !facts.pinned)
            .map(|room| three(share * root.rate * room)),
        pinned: facts.pinned,
        reason,
    }
}

/// How many times the traffic of a root the budgets that it draws on have room for, 1 or more; `None` where none bounds it.
fn headroom(system: &System, solution: &Solution, at: usize, unforeseen: f64) -> Option<f64> {
    let (problem, root) = (&system.problem, &system.problem.roots[at]);
    let of_edges = root
        .passes
        .iter()
        .filter(|pass| !solution.quiet[pass.edge])
        .flat_map(|pass| &problem.edges[pass.edge].spans);
    let draws = root.spans.iter().chain(of_edges);
    draws
        .filter(|(budget, spans)| *spans > 0.0 && problem.budgets[*budget].is_finite())
        .map(|(budget, _)| {
            let planned = solution.cost[*budget] * unforeseen;
            (problem.budgets[*budget] / planned.max(f64::MIN_POSITIVE)).max(1.0)
        })
        .min_by(f64::total_cmp)
}

pub(super) fn edge(system: &System, solution: &Solution, at: usize) -> PlannedEdge {
    let (facts, edge) = (&system.edges[at], &system.problem.edges[at]);
    let quiet = solution.quiet[at];
    let mode = match facts.pinned.filter(|_| !edge.spans.is_empty()) {
        Some(pinned) => pinned,
        None if !quiet => Mode::Span,
        None if facts.chatty.is_some() => Mode::Count,
        None => Mode::Log,
    };
    let recorded = system.problem.requests(at, &solution.shares);
    let share = if quiet || facts.rate <= 0.0 {
        0.0
    } else {
        recorded / facts.rate
    };
    PlannedEdge {
        client: facts.key.client.clone(),
        server: facts.key.server.clone(),
        connection_type: facts.key.connection_type,
        mode,
        share: three(share.min(1.0)),
        requests_per_second: three(facts.rate),
        reason: reason(system, at, mode),
    }
}

fn reason(system: &System, at: usize, mode: Mode) -> String {
    let (facts, edge) = (&system.edges[at], &system.problem.edges[at]);
    if facts.pinned.is_some() && !edge.spans.is_empty() {
        return "pinned in `services`".to_owned();
    }
    let mut told: Vec<String> = match (mode, facts.chatty) {
        (Mode::Count, Some(calls)) => vec![format!(
            "a chatty leaf, {calls:.1} calls a visit and nobody behind it"
        )],
        (Mode::Log, _) => vec!["its spans say less than the same number elsewhere".to_owned()],
        _ => Vec::new(),
    };
    if mode != Mode::Span
        && let Some(spread) = facts.spread.filter(|spread| *spread < 4.0)
    {
        told.push(format!(
            "steady: its 99th percentile is {spread:.1} times its median"
        ));
    }
    told.extend(facts.reasons.iter().take(REASONS).cloned());
    if mode == Mode::Span && edge.spans.is_empty() {
        told.push("spans of SDKs, which follow the share of their trace alone".to_owned());
    }
    if facts.rate <= 0.0 {
        told.push("no trace passed it lately".to_owned());
    }
    if told.is_empty() {
        told.push("there is room for it".to_owned());
    }
    told.join("; ")
}

/// What nobody sees, or sees later than with all spans.
pub(super) fn gives_up(sight: &Sight<'_>, system: &System, solution: &Solution) -> Vec<GivenUp> {
    let mut found = Vec::new();
    if solution.kept < 1.0 {
        found.push(GivenUp {
            id: "plan".to_owned(),
            what: format!(
                "the budget has room for {} of what must be kept of every edge and operation",
                per_cent(solution.kept)
            ),
            detection_delay: None,
        });
    }
    let recorded = recorded_visits(system, solution);
    found.extend(quiet_edges(system, solution, &recorded));
    found.extend(slower_nodes(sight, system, &recorded));
    found.extend(failures(system, solution));
    let beyond = found.len().saturating_sub(MOST_GIVEN_UP);
    if beyond > 0 {
        found.truncate(MOST_GIVEN_UP);
        found.push(GivenUp {
            id: "plan".to_owned(),
            what: format!("{beyond} more of the kind"),
            detection_delay: None,
        });
    }
    found
}

/// Visits a second of each node: those that are recorded, and all.
fn recorded_visits<'a>(system: &'a System, solution: &Solution) -> BTreeMap<&'a NodeId, (f64, f64)> {
    let mut visits: BTreeMap<&NodeId, (f64, f64)> = BTreeMap::new();
    for (at, facts) in system.edges.iter().enumerate() {
        let of = visits.entry(&facts.key.server).or_default();
        of.1 += facts.rate;
        if !solution.quiet[at] {
            of.0 += system.problem.requests(at, &solution.shares);
        }
    }
    for (facts, (root, share)) in system
        .roots
        .iter()
        .zip(system.problem.roots.iter().zip(&solution.shares))
    {
        // What users call is an edge already.
        if facts.caller.as_str() != NodeId::USER {
            let of = visits.entry(&facts.key.node).or_default();
            of.0 += root.rate * share;
            of.1 += root.rate;
        }
    }
    visits
}

fn quiet_edges(
    system: &System,
    solution: &Solution,
    recorded: &BTreeMap<&NodeId, (f64, f64)>,
) -> Vec<GivenUp> {
    let quiet = system
        .edges
        .iter()
        .enumerate()
        .filter(|(at, _)| solution.quiet[*at]);
    let given = |(_, facts): (usize, &super::system::EdgeFacts)| {
        let caller = recorded
            .get(&facts.key.client)
            .map_or(0.0, |(recorded, _)| *recorded);
        GivenUp {
            id: facts.id.clone(),
            what: format!(
                "no own time and no vote; what is slow there is charged to {}",
                facts.key.client
            ),
            detection_delay: detection_delay(caller),
        }
    };
    quiet.map(given).collect()
}

/// Services whose slowness would show within a window if everything were traced, and now takes longer.
fn slower_nodes(
    sight: &Sight<'_>,
    system: &System,
    recorded: &BTreeMap<&NodeId, (f64, f64)>,
) -> Vec<GivenUp> {
    let services: BTreeSet<&NodeId> = system
        .edges
        .iter()
        .map(|facts| &facts.key.server)
        .filter(|id| sight.map.kind(id) == NodeKind::Service)
        .collect();
    let given = |id: &&NodeId| {
        let (recorded, all) = recorded.get(*id).copied().unwrap_or_default();
        let (now, then) = (detection_delay(recorded), detection_delay(all)?);
        let later =
            now.is_none_or(|now| now.get().as_secs_f64() > WINDOW.max(then.get().as_secs_f64() * 1.5));
        later.then(|| GivenUp {
            id: id.to_string(),
            what: if recorded > 0.0 {
                format!("with all spans it would show after {then}")
            } else {
                format!("no own time and no vote; with spans it would show after {then}")
            },
            detection_delay: now,
        })
    };
    services.iter().filter_map(given).collect()
}

/// Edges of whose failures fewer traces are kept than wanted.
fn failures(system: &System, solution: &Solution) -> Vec<GivenUp> {
    let of_failures = system.problem.needs.iter().filter(|need| need.failures);
    let given = |need: &super::Need| {
        let edge = need
            .edges
            .first()
            .copied()
            .filter(|edge| !solution.quiet[*edge])?;
        let have: f64 = need
            .from
            .iter()
            .map(|(root, rate)| solution.shares[*root] * rate)
            .sum();
        let all: f64 = need.from.iter().map(|(_, rate)| rate).sum();
        let wanted = need.want.min(all);
        (have < 0.95 * wanted).then(|| GivenUp {
            id: system.edges[edge].id.clone(),
            what: format!(
                "{:.1} traces of its failures an hour instead of {:.1}",
                have * 3_600.0,
                wanted * 3_600.0
            ),
            detection_delay: None,
        })
    };
    of_failures.filter_map(given).collect()
}

/// What a plan costs, saves and gives up.
pub(super) fn summary(plan: &Plan) -> String {
    let totals = &plan.totals;
    let (offered, planned) = (totals.offered_spans_per_second, totals.planned_spans_per_second);
    let mut out = String::new();
    let saved = if offered > 0.0 {
        1.0 - planned / offered
    } else {
        0.0
    };
    let _ = writeln!(
        out,
        "plan: {planned} of {offered} spans/s ({} saved), {:.1} GiB of spans a day; budget: {}",
        per_cent(saved.max(0.0)),
        totals.planned_bytes_per_day / GIB,
        totals.budget
    );
    let of = |mode: Mode| plan.edges.iter().filter(|edge| edge.mode == mode).count();
    let sampled = plan.roots.iter().filter(|root| root.share < 1.0).count();
    let _ = writeln!(
        out,
        "plan: {} edges with spans, {} in logs, {} counted; {sampled} of {} operations that begin traces are sampled",
        of(Mode::Span),
        of(Mode::Log),
        of(Mode::Count),
        plan.roots.len()
    );
    for given in plan.gives_up.iter().take(5) {
        let delay = given.detection_delay.map_or_else(
            || String::from("no detection by its own"),
            |delay| format!("detection after {delay}"),
        );
        let delay = if given.id == "plan" {
            String::new()
        } else {
            format!(" ({delay})")
        };
        let _ = writeln!(out, "plan gives up: {}: {}{delay}", given.id, given.what);
    }
    if plan.gives_up.len() > 5 {
        let _ = writeln!(
            out,
            "plan gives up: {} more in `plan.yaml`",
            plan.gives_up.len() - 5
        );
    }
    out
}
