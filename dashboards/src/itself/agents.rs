//! Do the agents see everything, and does it reach the collector?
//!
//! In: nothing. Out: requests, spans, buffers, context, edge counts and queues of all agents together.
//! Left out on purpose: single agents; the label that tells them apart is the scraper's.

use map::catalogue::{
    AGENT_BUFFERED_BYTES, AGENT_CONNECTIONS, AGENT_CONNECTIONS_CUT, AGENT_CONTEXT, AGENT_CONTEXT_SKIPPED,
    AGENT_CORRELATION, AGENT_EDGE_REPORTS, AGENT_EDGE_REQUESTS, AGENT_QUEUE_MESSAGES, AGENT_QUEUE_SKIPPED,
    AGENT_REQUESTS, AGENT_SPANS, AGENT_SPANS_DROPPED,
};

use crate::layout::Layout;
use crate::model::Panel;
use crate::panel::{Text, lines, over_time};
use crate::promql::rate;

/// Titles of all panels here: they are empty where no agent is scraped.
pub(crate) const ALL: [&str; 11] = [
    REQUESTS.title,
    SPANS.title,
    DROPPED.title,
    BUFFERED.title,
    CONTEXT.title,
    SKIPPED.title,
    CORRELATION.title,
    EDGES.title,
    QUEUES.title,
    QUEUES_SKIPPED.title,
    CONNECTIONS.title,
];

pub(super) fn panels(layout: &mut Layout) {
    layout.row("Do the agents see everything?");
    let mut several = |width, text, series, labels: &str, legend: &str| {
        let target = over_time("A", rate(labels, series, ""), legend);
        layout.panel(width, 7, empty_without_agents(lines(text, vec![target])));
    };
    several(
        8,
        REQUESTS,
        AGENT_REQUESTS,
        "direction, outcome",
        "{{direction}} {{outcome}}",
    );
    several(8, SPANS, AGENT_SPANS, "outcome", "{{outcome}}");
    several(8, DROPPED, AGENT_SPANS_DROPPED, "reason", "{{reason}}");
    several(
        8,
        CONTEXT,
        AGENT_CONTEXT,
        "direction, source",
        "{{direction}} {{source}}",
    );
    several(
        8,
        SKIPPED,
        AGENT_CONTEXT_SKIPPED,
        "format, reason",
        "{{format}} {{reason}}",
    );
    several(8, CORRELATION, AGENT_CORRELATION, "method", "{{method}}");
    several(
        12,
        QUEUES,
        AGENT_QUEUE_MESSAGES,
        "protocol, direction, outcome",
        "{{protocol}} {{direction}} {{outcome}}",
    );
    several(
        12,
        QUEUES_SKIPPED,
        AGENT_QUEUE_SKIPPED,
        "protocol, reason",
        "{{protocol}} {{reason}}",
    );
    held(layout);
}

fn held(layout: &mut Layout) {
    let buffered = over_time("A", format!("sum({AGENT_BUFFERED_BYTES})"), "waiting");
    layout.panel(8, 7, empty_without_agents(lines(BUFFERED, vec![buffered])));
    let counts = vec![
        over_time(
            "A",
            rate("outcome", AGENT_EDGE_REQUESTS, ""),
            "requests {{outcome}}",
        ),
        over_time(
            "B",
            rate("outcome", AGENT_EDGE_REPORTS, ""),
            "reports {{outcome}}",
        ),
    ];
    layout.panel(8, 7, empty_without_agents(lines(EDGES, counts)));
    let connections = vec![
        over_time("A", format!("sum({AGENT_CONNECTIONS})"), "open"),
        over_time(
            "B",
            rate("reason", AGENT_CONNECTIONS_CUT, ""),
            "cut per second: {{reason}}",
        ),
    ];
    layout.panel(8, 7, empty_without_agents(lines(CONNECTIONS, connections)));
}

fn empty_without_agents(mut panel: Panel) -> Panel {
    panel.field_config.defaults.no_value = Some("nothing of this was counted by an agent that is scraped");
    panel
}

const REQUESTS: Text = Text {
    title: "Requests through agents",
    description: "Requests per second that passed an agent, by direction and outcome. They pass whatever becomes of their \
        spans.",
    unit: "reqps",
};

const SPANS: Text = Text {
    title: "Spans of agents",
    description: "Spans per second of agents, their own and relayed ones, by what finally became of them. What is neither \
        sent nor dropped still waits in a buffer.",
    unit: "cps",
};

const DROPPED: Text = Text {
    title: "Spans that agents dropped",
    description: "Spans per second that did not reach the collector, by reason. A full buffer means that the collector was \
        away or slow for long: enlarge the buffer or the collector.",
    unit: "cps",
};

const BUFFERED: Text = Text {
    title: "Waiting at agents",
    description: "Bytes of encoded spans that wait for the collector, at all agents together. Rising, the collector is \
        away or pushes back; the agents hold it until their buffers are full.",
    unit: "bytes",
};

const CONTEXT: Text = Text {
    title: "Context that requests brought",
    description: "Requests per second by the format their trace context came in. Much of `none` inbound from services of \
        your own is a caller that does not pass context on.",
    unit: "reqps",
};

const SKIPPED: Text = Text {
    title: "Context that was not believed",
    description: "Headers and ids per second that were malformed, contradicted each other or came from somebody who is not \
        trusted, by format and reason. The requests passed.",
    unit: "cps",
};

const CORRELATION: Text = Text {
    title: "How calls found their parent",
    description: "Outbound requests per second by the evidence that found the request they belong to. Calls without any \
        begin a trace of their own.",
    unit: "reqps",
};

const EDGES: Text = Text {
    title: "Edge counts",
    description: "Requests per second that agents count for edges, and reports of the counts by what became of them. \
        `overflow` is more far sides than an agent may name.",
    unit: "cps",
};

const QUEUES: Text = Text {
    title: "Messages through agents",
    description: "Messages per second that agents saw on their way to brokers and back, by protocol and what became of \
        them. `open` ones are those whose connection ended first.",
    unit: "cps",
};

const QUEUES_SKIPPED: Text = Text {
    title: "Messages that were not understood",
    description: "What passed to or from brokers as it came although more was wanted of it, by reason. Encrypted \
        connections and unknown frames pass unseen to their end.",
    unit: "cps",
};

const CONNECTIONS: Text = Text {
    title: "Connections at agents",
    description: "Connections that are open at agents' proxies, and those that were cut or refused per second, by reason. \
        A limit that cuts often is too low for what is behind it.",
    unit: "none",
};
