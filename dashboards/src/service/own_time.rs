//! Is it this service, or something it calls? Own time against what was learned, and where the time goes.
//!
//! In: whom the dashboard is about. Out: three panels.
//! Left out on purpose: the critical path of a single trace; the last panel has its sum. Callees that work side by side are
//! stacked as if one after another, and the panel says so.

use map::catalogue::{
    BASELINE_SECONDS, CRITICAL_SECONDS, OWN_SECONDS, RECORDED_OWN_EXPECTED, RECORDED_OWN_SHARE, TOTAL_SECONDS,
};

use super::About;
use crate::layout::Layout;
use crate::model::Panel;
use crate::panel::{Text, lines, over_time, reference, stacked};
use crate::promql::{edges_out_of, once, rate, service};

pub(super) fn panels(layout: &mut Layout, about: About<'_>) {
    let of_service = service(about.subject);
    layout.row("Is it this service, or something it calls?");
    let learned = once("", BASELINE_SECONDS, &format!(r#"{of_service},measure="own""#));
    let p95 = about.topology.times.quantile(0.95, "", OWN_SECONDS, &of_service);
    let targets = vec![over_time("A", p95, "p95"), over_time("B", learned, "learned")];
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
    layout.panel(16, 9, breakdown(about));
    let critical = over_time(
        "A",
        rate("", CRITICAL_SECONDS, &of_service),
        "own time that users wait for",
    );
    layout.panel(8, 9, lines(CRITICAL, vec![critical]));
}

fn breakdown(about: About<'_>) -> Panel {
    let times = about.topology.times;
    let own = times.sum("", OWN_SECONDS, &service(about.subject));
    let mut targets = vec![over_time("own", per_visit(&own, about), "own time")];
    if about.has_callees() {
        let waiting = times.sum("server", TOTAL_SECONDS, &edges_out_of(about.subject));
        targets.push(over_time("callees", per_visit(&waiting, about), "{{server}}"));
    }
    stacked(BREAKDOWN, targets)
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

const CRITICAL: Text = Text {
    title: "On the critical path",
    description: "Seconds per second of this service's own time that the callers at the entry points waited for and for         nothing else. Own time that is long and not on the critical path hurts nobody yet.",
    unit: "s",
};

/// Seconds per second over visits per second of the service.
fn per_visit(seconds: &str, about: About<'_>) -> String {
    let visits = about
        .topology
        .times
        .count("", TOTAL_SECONDS, &service(about.subject));
    format!("{seconds} / on () group_left () ({visits} > 0)")
}
