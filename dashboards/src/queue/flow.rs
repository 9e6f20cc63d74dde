//! Do messages wait, and does the queue grow?
//!
//! In: whom the dashboard is about. Out: what goes in and out, the difference, the time between, and failures.
//! Left out on purpose: how many messages lie there. Who reads spans sees what moves and not what rests.

use map::catalogue::{QUEUE_SECONDS, TOTAL_SECONDS};

use crate::layout::Layout;
use crate::panel::{Text, lines, over_time};
use crate::promql::{Subject, edges_into, edges_out_of, failed_share, requests};
use crate::topology::Topology;

pub(super) fn panels(layout: &mut Layout, topology: &Topology<'_>, subject: Subject<'_>) {
    let (into, out, times) = (edges_into(subject), edges_out_of(subject), topology.times);
    layout.row("Do messages wait, and does it grow?");
    let flow = vec![
        over_time("A", requests("", &into), "sent"),
        over_time("B", requests("", &out), "received"),
    ];
    layout.panel(8, 8, lines(FLOW, flow));
    let growth = format!("{} - {}", requests("", &into), requests("", &out));
    let mut panel = lines(GROWTH, vec![over_time("A", growth, "growth")]);
    panel.field_config.defaults.min = None;
    layout.panel(8, 8, panel);
    let waited = |ref_id, q, legend| over_time(ref_id, times.quantile(q, "", QUEUE_SECONDS, &out), legend);
    let waiting = vec![
        waited("A", 0.5, "p50"),
        waited("B", 0.95, "p95"),
        waited("C", 0.99, "p99"),
    ];
    layout.panel(8, 8, lines(WAITING, waiting));
    let by_consumer = times.quantile(0.95, "server", QUEUE_SECONDS, &out);
    layout.panel(
        8,
        8,
        lines(BY_CONSUMER, vec![over_time("A", by_consumer, "{{server}}")]),
    );
    let processing = times.quantile(0.95, "server", TOTAL_SECONDS, &out);
    layout.panel(
        8,
        8,
        lines(PROCESSING, vec![over_time("A", processing, "{{server}}")]),
    );
    let failed = vec![
        over_time("A", failed_share("", &into), "sending"),
        over_time("B", failed_share("", &out), "processing"),
    ];
    layout.panel(8, 8, lines(FAILED, failed));
}

const FLOW: Text = Text {
    title: "Messages",
    description: "Messages per second that were sent to it, and that were received from it. With several groups of \
        consumers, or a topic that fans out, more are received than sent.",
    unit: "reqps",
};

const GROWTH: Text = Text {
    title: "Backlog growth",
    description: "Messages per second that were sent and not received. Above 0 for long, consumers are too slow or too \
        few; below 0 they catch up. It is no measure where several groups of consumers read each message.",
    unit: "reqps",
};

const WAITING: Text = Text {
    title: "Time in the queue",
    description: "From the end of the producer's span to the start of the consumer's: the median, the 95th and the 99th \
        percentile. Rising together with the backlog it is a lack of consumers, rising alone a batch or a timer.",
    unit: "s",
};

const BY_CONSUMER: Text = Text {
    title: "Time in the queue by consumer",
    description: "The 95th percentile by who received. If one consumer's messages wait and another's do not, that \
        consumer is slow, not the broker.",
    unit: "s",
};

const PROCESSING: Text = Text {
    title: "Processing time by consumer",
    description: "How long each consumer works on a message, the 95th percentile. If it rose before the time in the queue \
        did, open the consumer's dashboard: it is the cause.",
    unit: "s",
};

const FAILED: Text = Text {
    title: "Failed share",
    description: "Share of messages whose sending, or whose processing failed. Failed processing usually comes back as a \
        message again: look for a growing backlog and a dead letter queue.",
    unit: "percentunit",
};
