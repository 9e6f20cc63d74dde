//! Which node or edge is the culprit?
//!
//! In: the topology, for links. Out: who degradation is charged to, and on what evidence.
//! Left out on purpose: judging. The generated recording rules do it; these panels show their series, so that a page
//! and this dashboard cannot disagree.

use map::catalogue::{
    OWNER_INFO, RECORDED_CULPRIT, RECORDED_CULPRIT_SLOWS, RECORDED_OWN_DEGRADED, RECORDED_OWN_EVIDENCE,
    RECORDED_OWN_EXPECTED, RECORDED_OWN_SHARE,
};

use crate::layout::Layout;
use crate::links;
use crate::model::Panel;
use crate::panel::{Text, lines, over_time};
use crate::promql::{copied, labelled, once};
use crate::table::{Column, LabelColumn, table};
use crate::topology::Topology;

/// Title of the table of culprits.
pub(crate) const CULPRITS: &str = "Who is to blame";
/// Title of the table of degraded services and edges.
pub(crate) const DEGRADED: &str = "Degraded in their own time";

/// Title of the table of services that are slow and page nobody.
pub(crate) const SUPPRESSED: &str = "Slow, and not paged";

const NOTHING: &str = "nothing degraded";

/// What a table shows at most, and a chart by curves.
const MOST: u32 = 20;
const MOST_CURVES: u32 = 8;

pub(super) fn panels(layout: &mut Layout, topology: &Topology<'_>) {
    layout.row("Which node or edge is the culprit?");
    layout.panel(8, 8, culprits(topology));
    layout.panel(10, 8, degraded());
    layout.panel(6, 8, suppressed(topology));
}

pub(super) fn evidence(layout: &mut Layout) {
    let worst = format!("topk({MOST_CURVES}, {})", once("id", RECORDED_OWN_EVIDENCE, ""));
    layout.row("What is getting worse?");
    let mut panel = lines(EVIDENCE_TEXT, vec![over_time("A", worst, "{{id}}")]);
    panel.field_config.defaults.min = None;
    layout.panel(24, 8, panel);
}

const CULPRITS_TEXT: Text = Text {
    title: CULPRITS,
    description: "Nodes that explain the present degradation best, the strongest first, with the team that answers for \
        them. Evidence is in nats: above 20, chance is no explanation. Empty while healthy. Open the node's dashboard, \
        then talk to its team.",
    unit: "none",
};

fn culprits(topology: &Topology<'_>) -> Panel {
    let labels = vec![
        LabelColumn {
            label: "culprit",
            header: "Node",
            links: Some(links::of_node(topology, "culprit")),
        },
        LabelColumn {
            label: "team",
            header: "Team",
            links: None,
        },
    ];
    let columns = vec![Column {
        header: "Evidence",
        unit: "none",
        expr: with_team(),
    }];
    let mut panel = table(CULPRITS_TEXT, labels, columns, Some(super::linked(topology)));
    panel.field_config.defaults.no_value = Some(NOTHING);
    panel
}

/// Evidence by culprit and team; a culprit without an owner stays in the table, one with two is there once.
fn with_team() -> String {
    let evidence = copied(&once("culprit", RECORDED_CULPRIT, ""), links::FIELD, "culprit");
    let owners = copied(&once("id, team", OWNER_INFO, ""), "culprit", "id");
    let one_owner = format!("topk by (culprit) (1, {owners})");
    let owned = format!("{evidence} * on (culprit) group_left (team) {one_owner}");
    format!(
        "topk({MOST}, {owned} or on (culprit) {})",
        labelled(&evidence, "team", map::Owner::NOBODY)
    )
}

const DEGRADED_TEXT: Text = Text {
    title: DEGRADED,
    description: "Services and edges whose own time is longer than learned, whoever suffers from it: evidence in nats, \
        the share of requests that are slow now, and the share that was to be expected. Empty while healthy. Several \
        edges of one node here mean the node or its network, one edge alone means its callee.",
    unit: "none",
};

fn degraded() -> Panel {
    let by = "id, kind";
    let worst = once(by, RECORDED_OWN_DEGRADED, "");
    let of_worst = |series| {
        format!(
            "{} and on (id) {}",
            once(by, series, ""),
            once("id", RECORDED_OWN_DEGRADED, "")
        )
    };
    let labels = vec![
        LabelColumn {
            label: "id",
            header: "Node",
            links: None,
        },
        LabelColumn {
            label: "kind",
            header: "Kind",
            links: None,
        },
    ];
    let columns = vec![
        Column {
            header: "Evidence",
            unit: "none",
            expr: format!("topk({MOST}, {worst})"),
        },
        Column {
            header: "Slow share",
            unit: "percentunit",
            expr: of_worst(RECORDED_OWN_SHARE),
        },
        Column {
            header: "Expected",
            unit: "percentunit",
            expr: of_worst(RECORDED_OWN_EXPECTED),
        },
    ];
    let mut panel = table(DEGRADED_TEXT, labels, columns, None);
    panel.field_config.defaults.no_value = Some(NOTHING);
    panel
}

const SUPPRESSED_TEXT: Text = Text {
    title: SUPPRESSED,
    description: "Services that are slow because they wait for a culprit: who it is, and the evidence in nats that they are         slow. Their owners are not paged, because the culprit's are. If a service is here and its culprit is wrong, the         page went to the wrong team. Empty while healthy.",
    unit: "none",
};

fn suppressed(topology: &Topology<'_>) -> Panel {
    let label = |label, header, links| LabelColumn { label, header, links };
    let labels = vec![
        label("id", "Service", Some(links::of_node(topology, "id"))),
        label("culprit", "Waits for", None),
    ];
    let slowed = once("id, culprit", RECORDED_CULPRIT_SLOWS, "");
    let columns = vec![Column {
        header: "Evidence",
        unit: "none",
        expr: format!("topk({MOST}, {})", copied(&slowed, links::FIELD, "id")),
    }];
    let mut panel = table(SUPPRESSED_TEXT, labels, columns, Some(super::linked(topology)));
    panel.field_config.defaults.no_value = Some("nobody waits for a culprit");
    panel
}

const EVIDENCE_TEXT: Text = Text {
    title: "Evidence of degradation over time",
    description: "Services and edges nearest to being called degraded in their own time, in nats; below 0 they are \
        healthier than expected. The curve that rose first is the place to start; one that has been rising for hours \
        is a change of load or a deployment.",
    unit: "none",
};
