//! How well do spans pair, and how much of the map rests on one side only?
//!
//! In: nothing. Out: evidence of edges, corrections, what was folded or cut short for want of room.
//! Left out on purpose: which edge lacks which side; `tracemap check` says that.

use map::catalogue::{
    COLLECTOR_BASELINE_REQUESTS, COLLECTOR_CORRECTIONS, COLLECTOR_CUT_SHORT, COLLECTOR_ENDED,
    COLLECTOR_EVIDENCE, COLLECTOR_NAMES_BEYOND, COLLECTOR_OVERFLOW, COLLECTOR_REACH_LEFT_OUT,
    COLLECTOR_SHARED_ADDRESSES, COLLECTOR_UNNAMED_PEERS,
};

use super::by;
use crate::layout::Layout;
use crate::panel::{Text, lines, over_time};
use crate::promql::{once, rate};

pub(super) fn panels(layout: &mut Layout) {
    layout.row("How well do spans pair?");
    by(layout, 8, EVIDENCE, COLLECTOR_EVIDENCE, "evidence");
    by(layout, 8, CORRECTIONS, COLLECTOR_CORRECTIONS, "kind");
    by(layout, 8, CUT_SHORT, COLLECTOR_CUT_SHORT, "how");
    by(layout, 8, OVERFLOW, COLLECTOR_OVERFLOW, "label");
    let missing = vec![
        over_time(
            "A",
            rate("", COLLECTOR_UNNAMED_PEERS, ""),
            "calls to a far side without a name",
        ),
        over_time(
            "B",
            rate("", COLLECTOR_NAMES_BEYOND, ""),
            "names beyond the budget",
        ),
    ];
    layout.panel(8, 7, lines(MISSING, missing));
    let left = vec![
        over_time(
            "A",
            once("", COLLECTOR_SHARED_ADDRESSES, ""),
            "addresses shared by services",
        ),
        over_time(
            "B",
            once("", COLLECTOR_REACH_LEFT_OUT, ""),
            "pairs beyond the reach budget",
        ),
    ];
    layout.panel(8, 7, lines(LEFT_OUT, left));
    by(layout, 12, ENDED, COLLECTOR_ENDED, "kind");
    by(layout, 12, BASELINES, COLLECTOR_BASELINE_REQUESTS, "outcome");
}

const EVIDENCE: Text = Text {
    title: "Edges by evidence",
    description: "Requests per second that were joined to an edge, by why. `paired` has both halves. Much of `client_only` \
        towards services of your own means that these do not report; much of `server_only`, that callers do not.",
    unit: "reqps",
};

const CORRECTIONS: Text = Text {
    title: "Corrections",
    description: "Changes of the map by halves that came after their trace was closed. If they are many, spans arrive \
        later than `pairing.wait`: look for senders with long batches or full queues.",
    unit: "cps",
};

const CUT_SHORT: Text = Text {
    title: "Traces cut short",
    description: "Traces that had to go before they fell quiet, for want of room in the trace table. Their late halves may \
        count a call twice: raise the table's budget.",
    unit: "cps",
};

const OVERFLOW: Text = Text {
    title: "Folded for want of room",
    description: "Requests per second whose node, edge or span name was folded into `__overflow__`, by the label whose \
        budget was spent. A span name with an id in it is the usual cause.",
    unit: "reqps",
};

const MISSING: Text = Text {
    title: "Calls without an edge",
    description: "Calls per second whose far side neither reports nor is named, and names that were refused. The map lacks \
        those: `tracemap check` names the services to mend.",
    unit: "cps",
};

const LEFT_OUT: Text = Text {
    title: "What the map cannot tell",
    description: "Addresses at which several services answer, as behind a gateway, and pairs of nodes beyond the budget of \
        reach. Beyond it a page may become a ticket.",
    unit: "none",
};

const ENDED: Text = Text {
    title: "Nodes and edges removed",
    description: "Nodes and edges that left the map because nothing was seen of them for `map.stale_after`. Many at once \
        are an outage of what reports, a day ago.",
    unit: "cps",
};

const BASELINES: Text = Text {
    title: "Requests without a baseline of their own",
    description: "Requests per second that no baseline of their own operation judged: too little is known of it, or memory \
        is short. They vote in no alert.",
    unit: "reqps",
};
