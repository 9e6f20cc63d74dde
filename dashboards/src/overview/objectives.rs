//! Are promises kept, and how fast is their budget spent?
//!
//! In: the topology, for links. Out: a table with a row for each stated objective, and its burn over time.
//! Left out on purpose: what is left of the budget over the whole window. Prometheus may not keep data for so long, and a
//! wrong number is worse than none.
//! Source: Google SRE Workbook, "Alerting on SLOs", burn rate.

use map::catalogue::{OBJECTIVE_GOOD, OBJECTIVE_TARGET, REQUESTS};

use crate::layout::Layout;
use crate::links;
use crate::panel::{Text, lines, over_time};
use crate::promql::{SERVICES, copied, once};
use crate::table::{Column, LabelColumn, table};
use crate::topology::Topology;

const LABELS: &str = "id, latency, window";

pub(super) fn panels(layout: &mut Layout, topology: &Topology<'_>) {
    layout.row("Are promises kept?");
    let label = |label, header, links| LabelColumn { label, header, links };
    let labels = vec![
        label("id", "Service", Some(links::of_node(topology, "id"))),
        label("latency", "Within", None),
        label("window", "Over", None),
    ];
    let column = |header, unit, expr| Column { header, unit, expr };
    let columns = vec![
        column("Burn 1h", "none", copied(&burn("1h"), links::FIELD, "id")),
        column("Burn 6h", "none", burn("6h")),
        column("Kept 1h", "percentunit", kept("1h")),
        column("Promised", "percentunit", once(LABELS, OBJECTIVE_TARGET, "")),
    ];
    let mut panel = table(OBJECTIVES, labels, columns, Some(super::linked(topology)));
    panel.field_config.defaults.no_value = Some("no request within an hour");
    layout.panel(14, 8, panel);
    layout.panel(
        10,
        8,
        lines(
            BURN,
            vec![over_time("A", burn("1h"), "{{id}} within {{latency}}")],
        ),
    );
}

const OBJECTIVES: Text = Text {
    title: "Objectives",
    description: "What was promised, the share of requests that kept it, and how fast the budget for the rest burns: 1 spends \
        it exactly by the end of the window, 14.4 spends a 30-day budget's fiftieth in an hour. High over both ranges is an \
        outage, over 6 hours alone one that is over.",
    unit: "none",
};

const BURN: Text = Text {
    title: "Burn rate",
    description: "How many times faster than allowed each objective's budget was spent over the hour before. Compare with \
        the marks: a rise at a new version or a new edge has its cause there.",
    unit: "none",
};

/// The share of requests that were answered in time; nothing where none came.
fn kept(range: &str) -> String {
    let good = format!("sum by ({LABELS}) (increase({OBJECTIVE_GOOD}[{range}]))");
    let all = format!("sum by (id) (increase({REQUESTS}{{{SERVICES}}}[{range}]))");
    format!("clamp_max({good} / on (id) group_left () ({all} > 0), 1)")
}

fn burn(range: &str) -> String {
    let budget = format!("(1 - {})", once(LABELS, OBJECTIVE_TARGET, ""));
    format!("(1 - {}) / on ({LABELS}) {budget}", kept(range))
}
