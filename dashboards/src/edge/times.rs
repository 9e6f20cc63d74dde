//! Is the call slow, and on which side?
//!
//! In: the topology's settings. Out: the caller's time, the callee's, and the gap; that of other callers beside it.
//! Left out on purpose: why a side is slow; the dashboards of its nodes say that.

use map::catalogue::{
    BASELINE_SECONDS, EDGE_SERVER_SECONDS, OWN_SECONDS, RECORDED_OWN_EXPECTED, RECORDED_OWN_SHARE,
    TOTAL_SECONDS,
};

use super::{ends, picked};
use crate::layout::Layout;
use crate::links::{CLIENT, SERVER};
use crate::panel::{Text, lines, over_time, reference};
use crate::promql::{EDGES, failed_share, once, requests};
use crate::topology::Topology;

/// Title of the panel that only edges between two services that report fill.
pub(crate) const CALLEE: &str = "Callee's own view";

/// Title of the panel that only edges with a calling span fill.
pub(crate) const LEARNED: &str = "Slow share against expected share";

pub(super) fn panels(layout: &mut Layout, topology: &Topology<'_>) {
    let (edge, times) = (picked(), topology.times);
    layout.row("Is the call slow or failing, and on which side?");
    layout.panel(
        8,
        8,
        lines(REQUESTS, vec![over_time("A", requests("", &edge), "requests")]),
    );
    layout.panel(
        8,
        8,
        lines(FAILED, vec![over_time("A", failed_share("", &edge), "failed")]),
    );
    let percentile = |ref_id, q, legend| {
        let mut target = over_time(ref_id, times.quantile(q, "", TOTAL_SECONDS, &edge), legend);
        target.exemplar = true;
        target
    };
    let caller = vec![
        percentile("A", 0.5, "p50"),
        percentile("B", 0.95, "p95"),
        percentile("C", 0.99, "p99"),
    ];
    layout.panel(8, 8, lines(CALLER, caller));
    let mean = |histogram, matchers: &str| times.mean("", histogram, matchers);
    let sides = vec![
        over_time("A", mean(TOTAL_SECONDS, &edge), "caller waits"),
        over_time("B", mean(OWN_SECONDS, &edge), "gap"),
    ];
    layout.panel(8, 8, lines(AGAINST, sides));
    let server = |q| times.quantile(q, "", EDGE_SERVER_SECONDS, &ends());
    let callee = vec![
        over_time("A", server(0.5), "p50"),
        over_time("B", server(0.95), "p95"),
    ];
    let mut panel = lines(CALLEE_TEXT, callee);
    panel.field_config.defaults.no_value = Some("the callee reports nothing itself");
    layout.panel(8, 8, panel);
    let learned = once(
        "",
        BASELINE_SECONDS,
        &format!(r#"id="${CLIENT}->${SERVER}",measure="own""#),
    );
    let gap = vec![
        over_time("A", times.quantile(0.95, "", OWN_SECONDS, &edge), "p95"),
        over_time("B", learned, "learned"),
    ];
    let mut panel = lines(GAP, gap);
    panel.field_config.overrides.push(reference("learned"));
    layout.panel(8, 8, panel);
    layout.row("Whose side is it?");
    let to_same = format!(r#"{EDGES},server="${SERVER}""#);
    let others = times.quantile(0.95, "client", OWN_SECONDS, &to_same);
    layout.panel(12, 8, lines(OTHERS, vec![over_time("A", others, "{{client}}")]));
    let shares = vec![
        over_time("A", once("", RECORDED_OWN_SHARE, &edge), "slow"),
        over_time("B", once("", RECORDED_OWN_EXPECTED, &edge), "expected"),
    ];
    let mut panel = lines(SHARE, shares);
    panel.field_config.overrides.push(reference("expected"));
    layout.panel(12, 8, panel);
}

const REQUESTS: Text = Text {
    title: "Requests",
    description: "Calls per second from the picked caller to the picked callee. If it rises while the caller's own \
        requests do not, look at retries and fan-out below.",
    unit: "reqps",
};

const FAILED: Text = Text {
    title: "Failed share",
    description: "Share of calls that failed on either side. If the callee's own failed share is lower, calls die \
        before they reach it: network, timeouts, or a proxy that refuses.",
    unit: "percentunit",
};

const CALLER: Text = Text {
    title: "Caller waits",
    description: "How long the caller waits by its own span: the median, the 95th and the 99th percentile. Dots are \
        single calls with a trace to open.",
    unit: "s",
};

const AGAINST: Text = Text {
    title: "Caller against gap",
    description: "Mean seconds the caller waits, and the part of it that is not the callee's: network, connection pool, \
        waiting to be sent. What lies between the two curves is the callee. The gap alone rising is not the callee.",
    unit: "s",
};

const CALLEE_TEXT: Text = Text {
    title: CALLEE,
    description: "How long the callee takes for these calls by its own span. Slow here and fast before: open the \
        callee's dashboard. Empty where the callee reports no spans, as a database.",
    unit: "s",
};

const GAP: Text = Text {
    title: "Gap against what was learned",
    description: "The 95th percentile of the time between the two spans, and the learned edge that about 1 call in 20 \
        exceeds. Well above it, and the callee is not slow: look between the two.",
    unit: "s",
};

const OTHERS: Text = Text {
    title: "The same callee from other callers",
    description: "The gap by caller, the 95th percentile. If all rise, it is the callee's side: its queue, its network. If \
        this caller alone rises, it is the caller's side.",
    unit: "s",
};

const SHARE: Text = Text {
    title: LEARNED,
    description: "Share of calls whose gap exceeded the learned edge of their operation, and the share that was to be \
        expected: what the alert judges this edge by. Empty for edges from users and queues, which nobody waits on.",
    unit: "percentunit",
};
