//! Is it slow or failing? Requests, errors and duration: of what it answers, and of what it asks others for.
//!
//! In: whom the dashboard is about. Out: three panels of its visits, callees included, and three of its calls.
//! Left out on purpose: single operations; traces tell those apart.

use map::catalogue::{BASELINE_SECONDS, TOTAL_SECONDS};

use super::About;
use crate::layout::Layout;
use crate::panel::{Text, lines, over_time, reference};
use crate::promql::{edges_out_of, failed_share, once, requests, service};

pub(super) fn panels(layout: &mut Layout, about: About<'_>) {
    layout.row("Is it slow or failing?");
    inbound(layout, about);
    if about.has_callees() {
        layout.row("Is what it asks others for slow or failing?");
        outbound(layout, about);
    }
}

fn inbound(layout: &mut Layout, about: About<'_>) {
    let of_service = service(about.subject);
    let answered = over_time("A", requests("", &of_service), "requests");
    layout.panel(8, 8, lines(REQUESTS, vec![answered]));
    let failed = over_time("A", failed_share("", &of_service), "failed");
    layout.panel(8, 8, lines(FAILED, vec![failed]));
    let percentile = |ref_id, q, legend| {
        let expr = about.topology.times.quantile(q, "", TOTAL_SECONDS, &of_service);
        let mut target = over_time(ref_id, expr, legend);
        target.exemplar = true;
        target
    };
    let learned = once("", BASELINE_SECONDS, &format!(r#"{of_service},measure="total""#));
    let targets = vec![
        percentile("A", 0.5, "p50"),
        percentile("B", 0.95, "p95"),
        percentile("C", 0.99, "p99"),
        over_time("D", learned, "learned"),
    ];
    let mut latency = lines(LATENCY, targets);
    latency.field_config.overrides.push(reference("learned"));
    layout.panel(8, 8, latency);
}

fn outbound(layout: &mut Layout, about: About<'_>) {
    let calls = edges_out_of(about.subject);
    let by_callee = |expr: String| vec![over_time("A", expr, "{{server}}")];
    layout.panel(8, 8, lines(CALLS, by_callee(requests("server", &calls))));
    layout.panel(
        8,
        8,
        lines(CALLS_FAILED, by_callee(failed_share("server", &calls))),
    );
    let waits = about
        .topology
        .times
        .quantile(0.95, "server", TOTAL_SECONDS, &calls);
    layout.panel(8, 8, lines(CALLS_LATENCY, by_callee(waits)));
}

const REQUESTS: Text = Text {
    title: "Requests",
    description: "Requests per second that this service answered. The table of callers below says who sends more or \
        fewer than before.",
    unit: "reqps",
};

const FAILED: Text = Text {
    title: "Failed share",
    description: "Share of requests that ended in an error. If a callee below fails at the same time, begin there; if \
        none does, begin with this service's log and its last deployment.",
    unit: "percentunit",
};

const LATENCY: Text = Text {
    title: "Latency, callees included",
    description: "Time to answer: the median, the 95th and the 99th percentile, and the learned edge that about 1 \
        request in 20 exceeds. Dots are single requests with a trace to open. Whether the time is the service's own, \
        a row below says.",
    unit: "s",
};

const CALLS: Text = Text {
    title: "Calls by callee",
    description: "Requests per second that this service makes, by whom it calls. If one rises while the requests above \
        do not, the service repeats failed calls or calls in a loop.",
    unit: "reqps",
};

const CALLS_FAILED: Text = Text {
    title: "Failed share by callee",
    description: "Share of this service's calls that ended in an error, by whom it calls. Open the dashboard of the \
        callee that fails; a callee that fails for this caller only is refused something that others are not.",
    unit: "percentunit",
};

const CALLS_LATENCY: Text = Text {
    title: "95th percentile by callee",
    description: "How long this service waits for each callee, network included. The one that rose when this service \
        got slow is where to look next.",
    unit: "s",
};
