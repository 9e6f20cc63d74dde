//! The text of a dashboard: where its node stands, who answers for it, and what to ask first.
//!
//! In: the topology and a node. Out: Markdown.
//! Left out on purpose: what an alert means. The generated runbooks say that, one page an alert.

use std::fmt::Write as _;

use map::catalogue::{
    FAILED, OWN_SECONDS, QUEUE_SECONDS, RECORDED_CULPRIT_SLOWS, RECORDED_OWN_EVIDENCE, REQUESTS,
    TOTAL_SECONDS,
};
use map::{NodeId, Objective};

use crate::promql::{Subject, edges_into, edges_out_of, service};
use crate::settings::Histograms;
use crate::text::{markdown, utc_minute};
use crate::topology::{Presence, Topology};

/// Neighbours that are named; the tables have all.
const MOST_NAMES: usize = 12;
/// The range of the queries, which are to be run by hand.
const RANGE: &str = "[5m]";

/// The text of a service that the viewer does not pick.
pub(crate) fn of_service(topology: &Topology<'_>, id: &NodeId) -> String {
    let mut text = vanished(topology, id, "service");
    let _ = write!(text, "**{}** · {}", markdown(id.as_str()), owner(topology, id));
    if topology.is_entry_point(id) {
        text += "\n\nWork enters the system here: what is slow or fails here is slow or fails for users.";
    }
    let callers = topology.callers(id).iter().map(|key| &key.client);
    let callees = topology.callees(id).iter().map(|key| &key.server);
    let _ = write!(
        text,
        "\n\n**Called by** {}",
        names(callers, "nobody that is known")
    );
    let _ = write!(text, "\n\n**Calls** {}", names(callees, "nobody"));
    for objective in topology.objectives(id) {
        let _ = write!(text, "\n\n**Promised** {}", promise(objective));
    }
    text += "\n\n**First**: is own time above what was learned? Then it is this service: its last version, its \
        processor, its locks. If not, follow the callee that grew in *Where the time goes*. If only one caller \
        complains, look at that edge.";
    text
}

/// The text of the dashboard of any service.
pub(crate) fn of_any_service(topology: &Topology<'_>) -> String {
    let count = topology.services().count();
    format!(
        "One dashboard for each of {count} services: pick one above, or come by a link from a table. Databases and \
         peers that report nothing themselves have their callers here, and nothing else.\n\n**First**: is own time \
         above what was learned? Then it is this service. If not, follow the callee that grew in *Where the time \
         goes*. If only one caller complains, look at that edge."
    )
}

/// The text of a queue that the viewer does not pick.
pub(crate) fn of_queue(topology: &Topology<'_>, id: &NodeId) -> String {
    let mut text = vanished(topology, id, "queue");
    let _ = write!(text, "**{}** · {}", markdown(id.as_str()), owner(topology, id));
    let producers = topology.callers(id).iter().map(|key| &key.client);
    let consumers = topology.callees(id).iter().map(|key| &key.server);
    let _ = write!(
        text,
        "\n\n**Producers** {}",
        names(producers, "none that is known")
    );
    let _ = write!(
        text,
        "\n\n**Consumers** {}",
        names(consumers, "none that is known")
    );
    text + QUEUE_FIRST
}

/// The text of the dashboard of any queue.
pub(crate) fn of_any_queue(topology: &Topology<'_>) -> String {
    let count = topology.queues().count();
    format!("One dashboard for each of {count} queues, topics and streams: pick one above.{QUEUE_FIRST}")
}

const QUEUE_FIRST: &str = "\n\n**First**: does *Backlog growth* stay above 0? Then consumers are too slow or too \
    few: their dashboards say which. If it is 0 and messages wait all the same, they wait for a batch, a timer or a \
    retry. Nobody who sends here waits for who reads, so a slow queue pages only where an objective says so.";

/// The text of the dashboard of any edge.
pub(crate) const OF_EDGE: &str = "Pick caller and callee above, or come by a link from a table.\n\n**Caller and callee \
    both slow, gap small**: the callee. **Caller slow, callee not**: the gap between them, which is network, \
    connection pool, proxy, or a caller that has no processor to read the answer. Whether it is the caller's side or \
    the callee's, *The same callee from other callers* says: if they wait as well, it is the callee's.\n\n**Retries or \
    fan-out up**: the callee's load is made here.\n\nA callee that reports nothing itself has no time of its own: all \
    of it stands in the gap.";

fn vanished(topology: &Topology<'_>, id: &NodeId, what: &str) -> String {
    match topology.presence(id) {
        Presence::Vanished { since } => format!(
            "### Not seen since {}\n\nThis {what} has sent nothing since, while others did. If it was taken out of \
             service, nothing is to be done: this dashboard goes by itself. If not, it is down, or its spans no longer \
             arrive: look at *Does the collector see everything* on the overview.\n\n",
            utc_minute(since)
        ),
        Presence::Present | Presence::Retired => String::new(),
    }
}

fn owner(topology: &Topology<'_>, id: &NodeId) -> String {
    let owner = topology.map.owner(id);
    let tier = if owner.tier.is_empty() {
        String::new()
    } else {
        format!(", tier {}", markdown(&owner.tier))
    };
    format!("team {}{tier}", markdown(&owner.team))
}

fn names<'a>(nodes: impl Iterator<Item = &'a NodeId>, nobody: &str) -> String {
    let mut nodes: Vec<&NodeId> = nodes.collect();
    nodes.dedup();
    if nodes.is_empty() {
        return nobody.to_owned();
    }
    let named: Vec<String> = nodes
        .iter()
        .take(MOST_NAMES)
        .map(|id| markdown(id.as_str()))
        .collect();
    let more = nodes.len().saturating_sub(MOST_NAMES);
    let rest = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    named.join(", ") + &rest
}

fn promise(objective: &Objective) -> String {
    format!(
        "{} % of requests within {}, over {}",
        percent(objective.target),
        objective.latency,
        objective.window
    )
}

/// A ratio in percent, without the noise of its binary form.
fn percent(ratio: f64) -> f64 {
    (ratio * 1e8).round() / 1e6
}

/// Queries about a service, as code.
pub(crate) fn service_queries(topology: &Topology<'_>, subject: Subject<'_>) -> String {
    let (own, into, out) = (service(subject), edges_into(subject), edges_out_of(subject));
    let id = subject.literal();
    let waiting = format!("max by (id) ({RECORDED_CULPRIT_SLOWS}{{culprit={id}}})");
    fenced(&[
        (
            "requests per second",
            format!("sum(rate({REQUESTS}{{{own}}}{RANGE}))"),
        ),
        (
            "failures by caller",
            format!("sum by (client) (rate({FAILED}{{{into}}}{RANGE}))"),
        ),
        ("own time", p95(topology, OWN_SECONDS, &own)),
        (
            "waiting for each callee",
            p95_by(topology, "server", TOTAL_SECONDS, &out),
        ),
        (
            "evidence that it is slow itself",
            format!("max({RECORDED_OWN_EVIDENCE}{{{own}}})"),
        ),
        ("who waits for it while it is the culprit", waiting),
    ])
}

/// Queries about a queue, as code.
pub(crate) fn queue_queries(topology: &Topology<'_>, subject: Subject<'_>) -> String {
    let (into, out) = (edges_into(subject), edges_out_of(subject));
    fenced(&[
        (
            "sent per second",
            format!("sum by (client) (rate({REQUESTS}{{{into}}}{RANGE}))"),
        ),
        (
            "received per second",
            format!("sum by (server) (rate({REQUESTS}{{{out}}}{RANGE}))"),
        ),
        ("seconds in the queue", p95(topology, QUEUE_SECONDS, &out)),
    ])
}

fn p95(topology: &Topology<'_>, histogram: &str, matchers: &str) -> String {
    p95_by(topology, "", histogram, matchers)
}

fn p95_by(topology: &Topology<'_>, by: &str, histogram: &str, matchers: &str) -> String {
    let (labels, suffix) = match (topology.settings.histograms, by) {
        (Histograms::Classic, "") => (" by (le)".to_owned(), "_bucket"),
        (Histograms::Classic, by) => (format!(" by ({by}, le)"), "_bucket"),
        (Histograms::Native, "") => (String::new(), ""),
        (Histograms::Native, by) => (format!(" by ({by})"), ""),
    };
    format!("histogram_quantile(0.95, sum{labels} (rate({histogram}{suffix}{{{matchers}}}{RANGE})))")
}

/// Queries as code, which neither Markdown nor Grafana reads: a literal has no line end, and no variable but the one that
/// the viewer picks.
fn fenced(queries: &[(&str, String)]) -> String {
    if queries.iter().any(|(_, expr)| expr.len() > MOST_OF_A_QUERY) {
        return "The name is too long to repeat here: *Inspect, Query* of each panel above has the queries."
            .to_owned();
    }
    let mut text = "```promql\n".to_owned();
    for (what, expr) in queries {
        let _ = writeln!(text, "# {what}\n{expr}");
    }
    text + "```\n"
}

/// Longest query that is repeated as text, in bytes.
const MOST_OF_A_QUERY: usize = 600;
