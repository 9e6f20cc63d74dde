//! Which edges are busy, which are new, and which are gone?
//!
//! In: the topology, for links. Out: three tables of edges.
//! Left out on purpose: edges that left the map; its diff on the collector's page has those.

use map::catalogue::{EDGE_FIRST_SEEN, EDGE_LAST_SEEN, TOTAL_SECONDS};

use crate::annotations::long_ago;
use crate::layout::Layout;
use crate::links;
use crate::model::Panel;
use crate::panel::Text;
use crate::promql::{EDGES, copied, failed_share, once, requests};
use crate::table::{Column, LabelColumn, table};
use crate::topology::Topology;

/// Title of the table of edges that fell silent.
pub(crate) const SILENT: &str = "Silent edges";

/// What the tables show at most.
const MOST: u32 = 20;
/// Milliseconds since 1970, shown as how long ago that is.
const AGO: &str = "dateTimeFromNow";

pub(super) fn panels(layout: &mut Layout, topology: &Topology<'_>) {
    layout.row("Which edges are busy, new or gone?");
    layout.panel(10, 9, busiest(topology));
    layout.panel(8, 9, newest(topology));
    layout.panel(6, 9, silent(topology));
}

const BUSIEST: Text = Text {
    title: "Busiest edges",
    description: "The calls that are made most often, with their failed share and the time their callers wait. A rate \
        that is many times the caller's own is a call in a loop; a high failed share on a busy edge comes first.",
    unit: "none",
};

fn busiest(topology: &Topology<'_>) -> Panel {
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
            expr: of_busiest(&topology.times.quantile(0.95, by, TOTAL_SECONDS, EDGES)),
        },
    ];
    table(BUSIEST, ends(topology), columns, Some(super::linked(topology)))
}

const NEWEST: Text = Text {
    title: "Newest edges",
    description: "Calls that were made for the first time, the latest first. After a deployment these are what it added; \
        without one, ask who else has begun to call. Right after installation every edge is new.",
    unit: "none",
};

fn newest(topology: &Topology<'_>) -> Panel {
    let first = once("client, server", EDGE_FIRST_SEEN, "");
    let columns = vec![Column {
        header: "First seen",
        unit: AGO,
        expr: format!(
            "1000 * {}",
            copied(&format!("topk({MOST}, {first})"), links::FIELD, "server")
        ),
    }];
    table(NEWEST, ends(topology), columns, Some(super::linked(topology)))
}

const SILENT_TEXT: Text = Text {
    title: SILENT,
    description: "Calls that were made once and are not made any more, the latest to fall silent first. After a deployment \
        these are what it removed; without one, the caller is down, or its calls fail before they are sent.",
    unit: "none",
};

fn silent(topology: &Topology<'_>) -> Panel {
    let last = once("client, server", EDGE_LAST_SEEN, "");
    let silent = format!("topk({MOST}, {last} < {})", long_ago(topology));
    let columns = vec![Column {
        header: "Last seen",
        unit: AGO,
        expr: format!("1000 * {}", copied(&silent, links::FIELD, "server")),
    }];
    let mut panel = table(
        SILENT_TEXT,
        ends(topology),
        columns,
        Some(super::linked(topology)),
    );
    panel.field_config.defaults.no_value = Some("every edge was seen lately");
    panel
}

fn ends(topology: &Topology<'_>) -> Vec<LabelColumn> {
    let [client, server] = [links::CLIENT, links::SERVER].map(links::value_of);
    vec![
        LabelColumn {
            label: links::CLIENT,
            header: "Caller",
            links: None,
        },
        LabelColumn {
            label: links::SERVER,
            header: "Callee",
            links: Some(links::of_edge(topology, links::SERVER, &client, &server)),
        },
    ]
}
