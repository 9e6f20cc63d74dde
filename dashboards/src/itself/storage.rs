//! Do memory and disk hold what they should?
//!
//! In: nothing. Out: trace table, journal, snapshots, store, sampling, remote write, generated files, objects in
//! Kubernetes.
//! Left out on purpose: the process's own memory and processor; every exporter of processes has those.

use map::catalogue::{
    COLLECTOR_BASELINE_BYTES, COLLECTOR_FILES, COLLECTOR_JOURNAL_BYTES, COLLECTOR_JOURNAL_RECORDS,
    COLLECTOR_KUBERNETES_FAILURES, COLLECTOR_KUBERNETES_OBJECTS, COLLECTOR_REMOTE_WRITE_DROPPED,
    COLLECTOR_REMOTE_WRITE_QUEUED, COLLECTOR_REMOTE_WRITE_REQUESTS, COLLECTOR_SAMPLED_SPANS,
    COLLECTOR_SNAPSHOTS, COLLECTOR_STORE_BYTES, COLLECTOR_STORED_SPANS, COLLECTOR_TABLE_BYTES,
    COLLECTOR_TRACES,
};

use super::by;
use crate::layout::Layout;
use crate::model::Panel;
use crate::panel::{Text, lines, over_time};
use crate::promql::{once, rate};

/// Titles of panels that need a data directory, remote write, or publishing to Kubernetes.
pub(crate) const OPTIONAL: [&str; 8] = [
    JOURNAL.title,
    STORE.title,
    SAMPLED.title,
    STORED.title,
    REMOTE_WRITE.title,
    REMOTE_QUEUE.title,
    OBJECTS.title,
    ROUNDS.title,
];

pub(super) fn panels(layout: &mut Layout) {
    layout.row("Do memory and disk hold it?");
    let memory = vec![
        over_time("A", once("", COLLECTOR_TABLE_BYTES, ""), "trace table"),
        over_time("B", once("", COLLECTOR_BASELINE_BYTES, ""), "baselines"),
    ];
    layout.panel(8, 7, lines(MEMORY, memory));
    let traces = over_time("A", once("state", COLLECTOR_TRACES, ""), "{{state}}");
    layout.panel(8, 7, lines(TRACES, vec![traces]));
    let disk = vec![
        over_time("A", once("", COLLECTOR_JOURNAL_BYTES, ""), "journal"),
        over_time("B", once("", COLLECTOR_STORE_BYTES, ""), "trace store"),
    ];
    layout.panel(8, 7, lines(STORE, disk));
    by(layout, 8, JOURNAL, COLLECTOR_JOURNAL_RECORDS, "outcome");
    by(layout, 8, SNAPSHOTS, COLLECTOR_SNAPSHOTS, "outcome");
    let files = over_time("A", once("state", COLLECTOR_FILES, ""), "{{state}}");
    layout.panel(8, 7, lines(FILES, vec![files]));
    let sampled = rate("decision, policy", COLLECTOR_SAMPLED_SPANS, "");
    layout.panel(
        12,
        7,
        lines(SAMPLED, vec![over_time("A", sampled, "{{decision}} {{policy}}")]),
    );
    by(layout, 12, STORED, COLLECTOR_STORED_SPANS, "outcome");
    layout.row("Does remote write keep up?");
    by(
        layout,
        12,
        REMOTE_WRITE,
        COLLECTOR_REMOTE_WRITE_REQUESTS,
        "outcome",
    );
    let queue = vec![
        over_time(
            "A",
            once("", COLLECTOR_REMOTE_WRITE_QUEUED, ""),
            "scrapes that wait",
        ),
        over_time(
            "B",
            rate("", COLLECTOR_REMOTE_WRITE_DROPPED, ""),
            "samples given up per second",
        ),
    ];
    layout.panel(12, 7, if_set_up(lines(REMOTE_QUEUE, queue)));
    layout.row("Do objects in Kubernetes follow the map?");
    let objects = over_time("A", once("state", COLLECTOR_KUBERNETES_OBJECTS, ""), "{{state}}");
    layout.panel(12, 7, if_set_up(lines(OBJECTS, vec![objects])));
    by(layout, 12, ROUNDS, COLLECTOR_KUBERNETES_FAILURES, "reason");
}

fn if_set_up(mut panel: Panel) -> Panel {
    panel.field_config.defaults.no_value = Some("remote write is not set up");
    panel
}

const MEMORY: Text = Text {
    title: "Memory that is budgeted",
    description: "Bytes of the trace table and of baselines, counted against their budgets. Near the budget the table \
        pushes back on senders, and baselines are shared among kin: raise it or shorten the wait for late spans.",
    unit: "bytes",
};

const TRACES: Text = Text {
    title: "Traces in the table",
    description: "Traces that are open, and closed ones that are kept for late spans. Open ones that only rise are traces \
        that never fall quiet: a stream, or a root span that lasts for hours.",
    unit: "none",
};

const STORE: Text = Text {
    title: "Disk",
    description: "Bytes of the journal, and of stored traces. A journal that only grows waits for a snapshot: see below \
        whether they fail. The store stays within its budget and removes the oldest.",
    unit: "bytes",
};

const JOURNAL: Text = Text {
    title: "Journal",
    description: "Requests per second that were made durable, or were refused and why. Any refusal but `queue_full` is a \
        disk that is full or fails; senders repeat what was refused.",
    unit: "reqps",
};

const SNAPSHOTS: Text = Text {
    title: "Snapshots",
    description: "Snapshots of map and counters per second. If any fail, a restart reads the journal from the last good \
        one, which takes longer and holds more disk.",
    unit: "cps",
};

const FILES: Text = Text {
    title: "Generated files",
    description: "Generated files by state. `foreign` ones were edited by somebody, or are not tracemap's: they are left \
        alone and go stale.",
    unit: "none",
};

const SAMPLED: Text = Text {
    title: "What tail sampling decided",
    description: "Spans per second of closed traces, by whether they are kept and by which policy. Map and alerts see \
        every span before it.",
    unit: "cps",
};

const STORED: Text = Text {
    title: "Stored spans",
    description: "Spans per second that tail sampling kept, stored or lost. Lost ones are a journal that had forgotten \
        them, or a store that failed: look at the collector's log.",
    unit: "cps",
};

const REMOTE_WRITE: Text = Text {
    title: "Remote write",
    description: "Tries of remote write per second: taken, or to be repeated because the receiver could not take it yet. \
        Empty where nothing is written remotely.",
    unit: "reqps",
};

const OBJECTS: Text = Text {
    title: "Objects in Kubernetes",
    description: "Dashboards, rules and routes that the collector publishes, by how the last whole round left them. All should be \
        `current`. `conflict`: another manager has fields that are to be ours. `foreign`: an object of the name is not ours. `refused`: \
        the API server does not take it. The log names each. Empty where nothing is published.",
    unit: "none",
};

const ROUNDS: Text = Text {
    title: "Rounds of publishing that broke off",
    description: "Per second, by reason. `forbidden`: the role is missing or too small. `connection`: a policy or the API server \
        itself. They are tried again, later each time. Empty where nothing is published.",
    unit: "cps",
};

const REMOTE_QUEUE: Text = Text {
    title: "Remote write's queue",
    description: "Scrapes that wait for the receiver, and samples that were given up. If the queue only grows, the \
        receiver is slower than the interval: lengthen it. Empty where nothing is written remotely.",
    unit: "none",
};
