//! Is the callee's load made here?
//!
//! In: nothing. Out: retries and fan-out of the picked edge.
//! Left out on purpose: retries that a client library makes without a span; nobody sees those.

use map::catalogue::{CRITICAL_SECONDS, FAN_OUT, RETRIES};

use super::picked;
use crate::layout::Layout;
use crate::panel::{Text, lines, over_time};
use crate::promql::{Times, rate, requests};
use crate::settings::Histograms;

/// Title of the panel that edges without a calling span leave empty.
pub(crate) const FAN_OUT_TITLE: &str = "Calls per visit of the caller";

pub(super) fn panels(layout: &mut Layout) {
    let edge = picked();
    layout.row("Is the callee's load made here?");
    let share = format!("{} / ({} > 0)", rate("", RETRIES, &edge), requests("", &edge));
    layout.panel(8, 8, lines(RETRIED, vec![over_time("A", share, "retries")]));
    // Fan-out has classic buckets only: its unit is calls, and few bounds say all.
    let classic = Times(Histograms::Classic);
    let calls = |q| classic.quantile(q, "", FAN_OUT, &edge);
    let targets = vec![
        over_time("A", classic.mean("", FAN_OUT, &edge), "mean"),
        over_time("B", calls(0.95), "p95"),
    ];
    let mut panel = lines(CALLS, targets);
    panel.field_config.defaults.no_value = Some("no calling span to count by");
    layout.panel(8, 8, panel);
    let critical = over_time("A", rate("", CRITICAL_SECONDS, &edge), "waited for");
    layout.panel(8, 8, lines(CRITICAL, vec![critical]));
}

const RETRIED: Text = Text {
    title: "Share of retries",
    description: "Share of calls that repeat one that failed. Above a few percent the caller makes an outage of the \
        callee worse: bound its retries, or open its circuit breaker.",
    unit: "percentunit",
};

const CALLS: Text = Text {
    title: FAN_OUT_TITLE,
    description: "How often one visit of the caller calls this callee. Many calls a visit are a loop over items: ask for \
        all of them at once. A rise without a deployment is data that grew.",
    unit: "none",
};

const CRITICAL: Text = Text {
    title: "On the critical path",
    description: "Seconds per second that callers at the entry points waited for the gap of this edge and for nothing \
        else. A slow edge that is not on the critical path hurts nobody yet.",
    unit: "s",
};
