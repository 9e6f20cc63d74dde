//! Who calls it, and whom does it call?
//!
//! In: the map, the service's id, settings. Out: up to two tables, whose rows lead to the neighbour's dashboard.
//! Left out on purpose: neighbours of neighbours; the overview's map has them.

use map::catalogue::{OWN_SECONDS, TOTAL_SECONDS};
use map::{Map, NodeId};

use crate::layout::Layout;
use crate::links;
use crate::model::Panel;
use crate::panel::Text;
use crate::promql::{copied, edges_into, edges_out_of, failed_share, quantile, requests};
use crate::settings::DashboardSettings;
use crate::table::{Column, LabelColumn, table};

pub(super) fn panels(layout: &mut Layout, map: &Map, id: &NodeId, settings: &DashboardSettings) {
    let callers: Vec<&NodeId> = map.callers(id).map(|(key, _)| &key.client).collect();
    let callees: Vec<&NodeId> = map.callees(id).map(|(key, _)| &key.server).collect();
    if callers.is_empty() && callees.is_empty() {
        return;
    }
    layout.row("Who calls it, and whom does it call?");
    let width = if callers.is_empty() || callees.is_empty() {
        24
    } else {
        12
    };
    if !callers.is_empty() {
        layout.panel(
            width,
            9,
            neighbours(
                CALLERS,
                "client",
                "Caller",
                &edges_into(id),
                map,
                &callers,
                settings,
            ),
        );
    }
    if !callees.is_empty() {
        layout.panel(
            width,
            9,
            neighbours(
                CALLEES,
                "server",
                "Callee",
                &edges_out_of(id),
                map,
                &callees,
                settings,
            ),
        );
    }
}

const CALLERS: Text = Text {
    title: "Callers",
    description: "Who calls this service: how often, with what failed share, how long they wait, and how much of that \
        is network and waiting outside this service. One caller that waits long while the others do not has the fault \
        on its own side.",
    unit: "none",
};

const CALLEES: Text = Text {
    title: "Callees",
    description: "Whom this service calls: how often, with what failed share, how long it waits, and how much of that \
        is network and waiting outside the callee. Open the dashboard of the one that is slow or fails.",
    unit: "none",
};

fn neighbours(
    text: Text,
    label: &'static str,
    header: &'static str,
    matchers: &str,
    map: &Map,
    nodes: &[&NodeId],
    settings: &DashboardSettings,
) -> Panel {
    let labels = vec![LabelColumn {
        label,
        header,
        links: Some(links::of_node(settings, label)),
    }];
    let columns = vec![
        Column {
            header: "Requests",
            unit: "reqps",
            expr: copied(&requests(label, matchers), links::FIELD, label),
        },
        Column {
            header: "Failed",
            unit: "percentunit",
            expr: failed_share(label, matchers),
        },
        Column {
            header: "p95",
            unit: "s",
            expr: quantile(0.95, label, TOTAL_SECONDS, matchers),
        },
        Column {
            header: "Network p95",
            unit: "s",
            expr: quantile(0.95, label, OWN_SECONDS, matchers),
        },
    ];
    let kinds = nodes.iter().map(|id| (*id, map.kind(id)));
    table(text, labels, columns, Some(links::hidden_field(kinds, true)))
}
