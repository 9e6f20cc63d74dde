//! Is it slow or failing? Requests, errors and duration of a service.
//!
//! In: the service's id. Out: three panels of its visits, callees included.
//! Left out on purpose: single operations; traces tell those apart.

use map::NodeId;
use map::catalogue::{BASELINE_SECONDS, TOTAL_SECONDS};

use crate::layout::Layout;
use crate::panel::{Text, lines, over_time, reference};
use crate::promql::{failed_share, once, quantile, requests, service};

pub(super) fn panels(layout: &mut Layout, id: &NodeId) {
    let of_service = service(id);
    layout.row("Is it slow or failing?");
    layout.panel(
        8,
        8,
        lines(
            REQUESTS,
            vec![over_time("A", requests("", &of_service), "requests")],
        ),
    );
    layout.panel(
        8,
        8,
        lines(
            FAILED,
            vec![over_time("A", failed_share("", &of_service), "failed")],
        ),
    );
    let percentile = |ref_id, q, legend| {
        let mut target = over_time(ref_id, quantile(q, "", TOTAL_SECONDS, &of_service), legend);
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
        the next row says.",
    unit: "s",
};
