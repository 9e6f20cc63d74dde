//! Does the collector see everything?
//!
//! In: nothing. Out: what the collector received, dropped and holds.
//! Left out on purpose: the agents and the collector's inner life; the dashboard of tracemap itself shows those.

use map::catalogue::{COLLECTOR_SPANS, COLLECTOR_SPANS_DROPPED, COLLECTOR_TABLE_BYTES};

use crate::layout::Layout;
use crate::panel::{Text, lines, over_time};
use crate::promql::{once, rate};

/// Title of the panel of dropped spans.
pub(crate) const DROPPED: &str = "Spans dropped";

pub(super) fn panels(layout: &mut Layout) {
    layout.row("Does the collector see everything?");
    let received = rate("outcome", COLLECTOR_SPANS, "");
    layout.panel(
        8,
        7,
        lines(RECEIVED_TEXT, vec![over_time("A", received, "{{outcome}}")]),
    );
    let dropped = format!("{} > 0", rate("reason", COLLECTOR_SPANS_DROPPED, ""));
    let mut panel = lines(DROPPED_TEXT, vec![over_time("A", dropped, "{{reason}}")]);
    panel.field_config.defaults.no_value = Some("nothing dropped");
    layout.panel(8, 7, panel);
    layout.panel(
        8,
        7,
        lines(
            HELD_TEXT,
            vec![over_time("A", once("", COLLECTOR_TABLE_BYTES, ""), "trace table")],
        ),
    );
}

const RECEIVED_TEXT: Text = Text {
    title: "Spans received",
    description: "Spans per second that reached the collector, by what became of them; each is counted once. A drop \
        while the system is busy means that agents or SDKs cannot reach the collector: look at their logs.",
    unit: "cps",
};

const DROPPED_TEXT: Text = Text {
    title: DROPPED,
    description: "Spans per second that the collector could not use, by reason. Empty while healthy. While there are \
        any, the map and all numbers above are too low: raise the budget that the reason names.",
    unit: "cps",
};

const HELD_TEXT: Text = Text {
    title: "Trace table",
    description: "Memory of traces that are open or kept for late spans, counted against its budget. Near the budget \
        the collector pushes back on senders: raise the budget or shorten the wait for late spans.",
    unit: "bytes",
};
