//! Which edges are busy, and which are new?
//!
//! In: the map and settings, for links. Out: two tables of edges.
//! Left out on purpose: edges that went away; the map's diff on the collector's page has them.

use map::Map;
use map::catalogue::{EDGE_INFO, TOTAL_SECONDS};

use crate::layout::Layout;
use crate::links;
use crate::model::Panel;
use crate::panel::Text;
use crate::promql::{EDGES, copied, failed_share, once, quantile, requests};
use crate::settings::DashboardSettings;
use crate::table::{Column, LabelColumn, table};

/// What the tables show at most.
const MOST: u32 = 20;

pub(super) fn panels(layout: &mut Layout, map: &Map, settings: &DashboardSettings) {
    layout.row("Which edges are busy, and which are new?");
    layout.panel(14, 9, busiest(map, settings));
    layout.panel(10, 9, newest(map, settings));
}

const BUSIEST: Text = Text {
    title: "Busiest edges",
    description: "The calls that are made most often, with their failed share and the time their callers wait. A rate \
        that is many times the caller's own is a call in a loop; a high failed share on a busy edge comes first.",
    unit: "none",
};

fn busiest(map: &Map, settings: &DashboardSettings) -> Panel {
    let by = "client, server";
    let busiest = format!("topk({MOST}, {})", requests(by, EDGES));
    let of_busiest = |expr: &str| format!("({expr}) and on ({by}) {busiest}");
    let columns = vec![
        Column {
            header: "Requests",
            unit: "reqps",
            expr: copied(&busiest, links::FIELD, "server"),
        },
        Column {
            header: "Failed",
            unit: "percentunit",
            expr: of_busiest(&failed_share(by, EDGES)),
        },
        Column {
            header: "p95",
            unit: "s",
            expr: of_busiest(&quantile(0.95, by, TOTAL_SECONDS, EDGES)),
        },
    ];
    table(BUSIEST, ends(settings), columns, Some(super::linked(map)))
}

const NEWEST: Text = Text {
    title: "New edges",
    description: "Calls that nobody made a day ago. After a deployment these are what it added; without one, ask who \
        else has begun to call. Right after installation every edge is new.",
    unit: "none",
};

fn newest(map: &Map, settings: &DashboardSettings) -> Panel {
    let by = "client, server, connection_type";
    let a_day_ago = format!("max by ({by}) ({EDGE_INFO} offset 1d)");
    let new = format!("{} unless on ({by}) {a_day_ago}", once(by, EDGE_INFO, ""));
    let mut labels = ends(settings);
    labels.push(LabelColumn {
        label: "connection_type",
        header: "Connection",
        links: None,
    });
    let columns = vec![Column {
        header: "New",
        unit: "none",
        expr: copied(&new, links::FIELD, "server"),
    }];
    let mut panel = table(NEWEST, labels, columns, Some(super::linked(map)));
    panel.field_config.defaults.no_value = Some("no new edge within a day");
    panel
}

fn ends(settings: &DashboardSettings) -> Vec<LabelColumn> {
    vec![
        LabelColumn {
            label: "client",
            header: "Caller",
            links: None,
        },
        LabelColumn {
            label: "server",
            header: "Callee",
            links: Some(links::of_node(settings, "server")),
        },
    ]
}
