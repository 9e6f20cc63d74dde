//! Is it this service, or something it calls? Own time against what was learned, and where the time goes.
//!
//! In: the map and the service's id. Out: three panels.
//! Left out on purpose: the critical path. Callees that work side by side are stacked here as if one after another,
//! and the panel says so.

use map::catalogue::{
    BASELINE_SECONDS, OWN_SECONDS, RECORDED_OWN_EXPECTED, RECORDED_OWN_SHARE, TOTAL_SECONDS,
};
use map::{Map, NodeId};

use crate::layout::Layout;
use crate::panel::{Text, lines, over_time, reference, stacked};
use crate::promql::{edges_out_of, once, quantile, rate, service};

pub(super) fn panels(layout: &mut Layout, map: &Map, id: &NodeId) {
    let of_service = service(id);
    layout.row("Is it this service, or something it calls?");
    let learned = once("", BASELINE_SECONDS, &format!(r#"{of_service},measure="own""#));
    let targets = vec![
        over_time("A", quantile(0.95, "", OWN_SECONDS, &of_service), "p95"),
        over_time("B", learned, "learned"),
    ];
    let mut own = lines(OWN, targets);
    own.field_config.overrides.push(reference("learned"));
    layout.panel(12, 8, own);
    let targets = vec![
        over_time("A", once("", RECORDED_OWN_SHARE, &of_service), "slow"),
        over_time("B", once("", RECORDED_OWN_EXPECTED, &of_service), "expected"),
    ];
    let mut share = lines(SHARE, targets);
    share.field_config.overrides.push(reference("expected"));
    layout.panel(12, 8, share);
    let mut targets = vec![over_time(
        "own",
        per_visit(&rate("", &sum(OWN_SECONDS), &of_service), id),
        "own time",
    )];
    if map.callees(id).next().is_some() {
        let waiting = rate("server", &sum(TOTAL_SECONDS), &edges_out_of(id));
        targets.push(over_time("callees", per_visit(&waiting, id), "{{server}}"));
    }
    layout.panel(24, 9, stacked(BREAKDOWN, targets));
}

const OWN: Text = Text {
    title: "Own time against what was learned",
    description: "The 95th percentile of the time spent in this service itself, without its outgoing calls, and the \
        learned edge that about 1 request in 20 exceeds. Well above it, the service itself is slow: processor, locks, \
        pauses of its runtime, or its last deployment. No learned edge means too few requests yet.",
    unit: "s",
};

const SHARE: Text = Text {
    title: "Slow share against expected share",
    description: "Share of requests whose own time exceeded the learned edge of their operation, and the share that \
        was to be expected. These are the numbers that the alert judges. Far above the expected share, this service \
        is a candidate for the culprit.",
    unit: "percentunit",
};

const BREAKDOWN: Text = Text {
    title: "Where the time goes",
    description: "Mean seconds per request: the service's own time, and the time it waits for each callee. The area \
        that grew is where to look next. Callees that are called side by side add up to more than the answer took.",
    unit: "s",
};

fn sum(histogram: &str) -> String {
    format!("{histogram}_sum")
}

/// Seconds per second over visits per second of the service.
fn per_visit(seconds: &str, id: &NodeId) -> String {
    let visits = rate("", &format!("{TOTAL_SECONDS}_count"), &service(id));
    format!("{seconds} / on () group_left () ({visits} > 0)")
}
