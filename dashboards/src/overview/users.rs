//! Is anything slow or failing for users?
//!
//! In: the topology's settings. Out: numbers and curves of the entry points, the services at which work enters the system.
//! Left out on purpose: services behind them. A user does not see those.

use map::catalogue::{ENTRYPOINT_INFO, RECORDED_CULPRIT, RECORDED_TOTAL_DEGRADED, TOTAL_SECONDS};

use crate::layout::Layout;
use crate::panel::{Text, lines, number, over_time};
use crate::promql::{SERVICES, failed_share, once, rate, requests};
use crate::topology::Topology;

/// Share of failed requests that is worth a look, and that is bad. The upper one is what a three-nines objective
/// spends a month's budget with in 14 hours.
const FAILED_SHARES: (f64, f64) = (0.01, 0.05);

pub(super) fn panels(layout: &mut Layout, topology: &Topology<'_>) {
    layout.row("Is anything slow or failing for users?");
    layout.panel(6, 4, number(SLOW, counted(&at_entry(&slow())), Some((1.0, 1.0))));
    layout.panel(
        6,
        4,
        number(
            BLAMED,
            counted(&once("culprit", RECORDED_CULPRIT, "")),
            Some((1.0, 1.0)),
        ),
    );
    layout.panel(
        6,
        4,
        number(
            REQUESTS,
            format!("sum({})", at_entry(&requests("id", SERVICES))),
            None,
        ),
    );
    layout.panel(6, 4, number(FAILED, failed_of_all(), Some(FAILED_SHARES)));
    let by_id = |expr: &str| vec![over_time("A", at_entry(expr), "{{id}}")];
    layout.panel(8, 8, lines(REQUESTS_BY_ID, by_id(&requests("id", SERVICES))));
    layout.panel(
        8,
        8,
        lines(
            FAILED_BY_ID,
            by_id(&format!("({})", failed_share("id", SERVICES))),
        ),
    );
    layout.panel(
        8,
        8,
        lines(
            LATENCY_BY_ID,
            by_id(&topology.times.quantile(0.95, "id", TOTAL_SECONDS, SERVICES)),
        ),
    );
}

const SLOW: Text = Text {
    title: "Slow entry points",
    description: "How many services that users call answer more slowly than they learned to expect. Above 0, look at \
        the culprits below: the slow answer is often not the fault of the service that gives it.",
    unit: "none",
};

const BLAMED: Text = Text {
    title: "Culprits",
    description: "How many nodes degradation is charged to. The table below names them. Above 0 while no entry point \
        is slow, users do not feel it yet.",
    unit: "none",
};

const REQUESTS: Text = Text {
    title: "Requests from users",
    description: "Requests per second at all entry points together. A sudden drop is an outage in front of the system, \
        or spans that no longer arrive: compare with the collector's panels at the bottom.",
    unit: "reqps",
};

const FAILED: Text = Text {
    title: "Failed share",
    description: "Share of requests at entry points that ended in an error. Find the entry point in the panel below, \
        open its dashboard, and follow the callee that fails.",
    unit: "percentunit",
};

const REQUESTS_BY_ID: Text = Text {
    title: "Requests by entry point",
    description: "Requests per second at each service that users call or that is declared an entry point. If one \
        drops to zero alone, look for its last deployment or its route.",
    unit: "reqps",
};

const FAILED_BY_ID: Text = Text {
    title: "Failed share by entry point",
    description: "Share of requests that ended in an error, by entry point. Where one rises alone the fault is in it or \
        in what only it calls; where all rise look for a callee they share.",
    unit: "percentunit",
};

const LATENCY_BY_ID: Text = Text {
    title: "95th percentile by entry point",
    description: "The time within which 95 of 100 requests are answered, callees included, by entry point. Where it \
        rises, the service's dashboard says whether the time is its own.",
    unit: "s",
};

/// Those series of an expression by `id` that are entry points.
fn at_entry(expr: &str) -> String {
    format!("{expr} and on (id) {}", once("id", ENTRYPOINT_INFO, ""))
}

fn slow() -> String {
    once("id", RECORDED_TOTAL_DEGRADED, SERVICES)
}

/// How many series there are, 0 for none.
fn counted(expr: &str) -> String {
    format!("count({expr}) or vector(0)")
}

fn failed_of_all() -> String {
    let failed = rate("id", map::catalogue::FAILED, SERVICES);
    format!(
        "sum({}) / (sum({}) > 0)",
        at_entry(&failed),
        at_entry(&requests("id", SERVICES))
    )
}
