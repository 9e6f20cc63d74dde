//! The dependency map as Grafana draws it, with rate, errors and duration on nodes and edges.
//!
//! In: the topology, for links. Out: a node graph panel with its two frames, `nodes` and `edges`.
//! Left out on purpose: transformations. The panel reads fields by their true names, and renaming sets display names
//! only; so every field is a label made in `PromQL`, and `count_values` turns a number into a label.
//! Fields: Grafana documentation, "Node graph", data API.

use map::catalogue::{EDGE_INFO, NODE_INFO, RECORDED_CULPRIT, RECORDED_OWN_DEGRADED, TOTAL_SECONDS};

use crate::links;
use crate::model::{Empty, Options, Override, Panel};
use crate::panel::{Text, bare, rows_now};
use crate::promql::{
    EDGES, SERVICES, Times, all_nodes, copied, failed_share, labelled, once, once_of, requests,
};
use crate::topology::Topology;

/// Circles take colours as CSS has them, in dark and light themes alike.
const BLAMED: &str = "#F2495C";
const FAILING: &str = "#FF9830";
const HEALTHY: &str = "#73BF69";
/// Share of failed requests from which a node or edge is drawn as failing.
const FAILING_SHARE: f64 = 0.05;
/// What a quantile says where nothing was measured.
const UNMEASURED: &str = "no latency";
/// Label with the id of the node that a click leads to, in both frames.
const NODE: &str = "node";

const TEXT: Text = Text {
    title: "Dependency map",
    description: "Who calls whom: requests per second and the 95th percentile on nodes and edges, the failed share on \
        click. Red nodes are culprits, red edges are slow in their own time (network and waiting), orange ones fail \
        more than one request in 20. Click a node for its dashboard. Grafana draws at most 1,500 nodes.",
    unit: "none",
};

pub(super) fn panel(topology: &Topology<'_>) -> Panel {
    let options = Options::NodeGraph {
        layout_algorithm: "layered",
        zoom_mode: "cooperative",
        nodes: Empty {},
        edges: Empty {},
    };
    let targets = vec![
        rows_now("nodes", nodes(topology.times)),
        rows_now("edges", edges(topology.times)),
    ];
    let mut panel = bare("nodeGraph", TEXT, targets, options);
    panel.field_config.overrides = vec![
        Override::by_name("id", vec![links::of_node(topology, NODE)]),
        links::hidden_field(topology, topology.map.nodes.keys(), false),
    ];
    panel
}

fn nodes(times: Times) -> String {
    let all = all_nodes();
    let failed = at_nodes(failed_share);
    let blamed = copied(&once("culprit", RECORDED_CULPRIT, ""), "id", "culprit");
    let frame = Frame { on: "id", all: &all };
    let kind = format!("topk by (id) (1, {})", once("id, kind", NODE_INFO, ""));
    let expr = [
        all.clone(),
        frame.rate(&at_nodes(requests)),
        frame.p95(&at_nodes(|by, matchers| {
            times.quantile(0.95, by, TOTAL_SECONDS, matchers)
        })),
        frame.failed(&failed),
        frame.color(&blamed, &failed),
        frame.label(
            "subtitle",
            &or_else("id", &copied(&kind, "subtitle", "kind"), &all, "subtitle", ""),
        ),
    ];
    let expr = expr.join(" * ");
    [("title", "id"), (NODE, "id"), (links::FIELD, "id")]
        .into_iter()
        .fold(expr, |expr, (to, from)| copied(&expr, to, from))
}

fn edges(times: Times) -> String {
    let on = "client, server";
    let all = once(on, EDGE_INFO, "");
    let failed = failed_share(on, EDGES);
    let slow = once(on, RECORDED_OWN_DEGRADED, EDGES);
    let frame = Frame { on, all: &all };
    let expr = [
        all.clone(),
        frame.rate(&requests(on, EDGES)),
        frame.p95(&times.quantile(0.95, on, TOTAL_SECONDS, EDGES)),
        frame.failed(&failed),
        frame.color(&slow, &failed),
    ];
    let expr = expr.join(" * ");
    let expr = [
        ("source", "client"),
        ("target", "server"),
        (NODE, "server"),
        (links::FIELD, "server"),
    ]
    .into_iter()
    .fold(expr, |expr, (to, from)| copied(&expr, to, from));
    format!(r#"label_join({expr}, "id", "->", "client", "server")"#)
}

/// A measure by node: by the node's own word, else its callers', else (for whoever only calls) by its callees'.
fn at_nodes(measure: impl Fn(&str, &str) -> String) -> String {
    let end = |label: &str| once_of("id", &copied(&measure(label, EDGES), "id", label));
    format!(
        "({} or {} or {})",
        measure("id", SERVICES),
        end("server"),
        end("client")
    )
}

/// What the rows of a frame are, and the labels that tell them apart.
struct Frame<'a> {
    on: &'a str,
    all: &'a str,
}

impl Frame<'_> {
    fn rate(&self, requests: &str) -> String {
        self.number(
            "mainstat",
            &format!("{requests} >= 0"),
            0.01,
            "$1 req/s",
            "0 req/s",
        )
    }

    fn p95(&self, seconds: &str) -> String {
        self.number(
            "secondarystat",
            &format!("1000 * {seconds} >= 0"),
            0.1,
            "$1 ms",
            UNMEASURED,
        )
    }

    fn failed(&self, share: &str) -> String {
        self.number(
            "detail__failed",
            &format!("100 * ({share}) >= 0"),
            0.01,
            "$1 %",
            "0 %",
        )
    }

    fn color(&self, blamed: &str, failed_share: &str) -> String {
        let blamed = labelled(blamed, "color", BLAMED);
        let failing = labelled(&format!("({failed_share}) > {FAILING_SHARE}"), "color", FAILING);
        let known = format!("{blamed} or on ({}) {failing}", self.on);
        self.label("color", &or_else(self.on, &known, self.all, "color", HEALTHY))
    }

    /// A factor that adds a number as text, rounded; `missing` for rows without one. Comparing with 0 drops NaN.
    fn number(&self, label: &str, expr: &str, step: f64, written: &str, missing: &str) -> String {
        let text = format!(
            r#"count_values by ({}) ("{label}", round({expr}, {step}))"#,
            self.on
        );
        let text = format!(r#"label_replace({text}, "{label}", "{written}", "{label}", "(.*)")"#);
        self.label(label, &or_else(self.on, &text, self.all, label, missing))
    }

    /// A factor that adds a label and leaves the value, which nothing reads.
    fn label(&self, label: &str, expr: &str) -> String {
        format!("on ({}) group_left ({label}) ({expr})", self.on)
    }
}

/// Rows that an expression lacks, with a fixed label.
fn or_else(on: &str, expr: &str, all: &str, label: &str, value: &str) -> String {
    format!("{expr} or on ({on}) {}", labelled(all, label, value))
}
