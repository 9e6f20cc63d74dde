//! Does the collector get everything, and what becomes of it?
//!
//! In: nothing. Out: requests, bytes and spans received, and what was dropped, by reason.
//! Left out on purpose: single senders; an agent's own panels tell what it could not send.

use map::catalogue::{COLLECTOR_BYTES, COLLECTOR_REQUESTS, COLLECTOR_SPANS, COLLECTOR_SPANS_DROPPED};

use super::by;
use crate::layout::Layout;
use crate::panel::{Text, lines, over_time};
use crate::promql::rate;

/// Title of the panel of dropped spans.
pub(crate) const DROPPED: &str = "Spans dropped by reason";

pub(super) fn panels(layout: &mut Layout) {
    layout.row("Does the collector get everything?");
    by(layout, 6, SPANS, COLLECTOR_SPANS, "outcome");
    let dropped = format!("{} > 0", rate("reason", COLLECTOR_SPANS_DROPPED, ""));
    let mut panel = lines(DROPPED_TEXT, vec![over_time("A", dropped, "{{reason}}")]);
    panel.field_config.defaults.no_value = Some("nothing dropped");
    layout.panel(6, 7, panel);
    let requests = rate("transport, outcome", COLLECTOR_REQUESTS, "");
    let requests = over_time("A", requests, "{{transport}} {{outcome}}");
    layout.panel(6, 7, lines(REQUESTS, vec![requests]));
    let bytes = over_time("A", rate("", COLLECTOR_BYTES, ""), "received");
    layout.panel(6, 7, lines(BYTES, vec![bytes]));
}

const SPANS: Text = Text {
    title: "Spans received",
    description: "Spans per second by what became of them; each is counted once. A drop while the system is busy means \
        that agents or SDKs cannot reach the collector. `duplicate` is senders who repeat what was not acknowledged in time.",
    unit: "cps",
};

const DROPPED_TEXT: Text = Text {
    title: DROPPED,
    description: "Spans per second that the collector could not use, by reason. Empty while healthy. While there are any, \
        map and figures are too low: raise the budget that the reason names, or mend the sender.",
    unit: "cps",
};

const REQUESTS: Text = Text {
    title: "Export requests",
    description: "OTLP requests per second by transport and outcome. Refused ones come back later; if they last, the \
        journal or the trace table has no room.",
    unit: "reqps",
};

const BYTES: Text = Text {
    title: "Bytes received",
    description: "Bytes of export requests per second, after decompression. What the network carries is usually a fifth \
        to a tenth of it.",
    unit: "Bps",
};
