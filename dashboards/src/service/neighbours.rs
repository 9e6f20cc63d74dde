//! Who calls it, and whom does it call?
//!
//! In: whom the dashboard is about. Out: up to two tables, whose rows lead to the edge's and the neighbour's dashboard.
//! Left out on purpose: neighbours of neighbours; the overview's map has them.

use map::NodeId;
use map::catalogue::{OWN_SECONDS, TOTAL_SECONDS};

use super::About;
use crate::layout::Layout;
use crate::links;
use crate::model::Panel;
use crate::panel::Text;
use crate::promql::{Subject, copied, edges_into, edges_out_of, failed_share, requests};
use crate::table::{Column, LabelColumn, table};

pub(super) fn panels(layout: &mut Layout, about: About<'_>) {
    let ends = |edges: Option<&[&map::EdgeKey]>, end: fn(&map::EdgeKey) -> &NodeId| -> Option<Vec<NodeId>> {
        edges.map(|edges| edges.iter().map(|key| end(key).clone()).collect())
    };
    let callers = ends(about.callers(), |key| &key.client);
    let callees = ends(about.callees(), |key| &key.server);
    let [some_callers, some_callees] =
        [&callers, &callees].map(|nodes| nodes.as_ref().is_none_or(|nodes| !nodes.is_empty()));
    if !some_callers && !some_callees {
        return;
    }
    layout.row("Who calls it, and whom does it call?");
    let width = if some_callers && some_callees { 12 } else { 24 };
    if some_callers {
        layout.panel(
            width,
            9,
            neighbours(CALLERS, Side::Callers, about, callers.as_deref()),
        );
    }
    if some_callees {
        layout.panel(
            width,
            9,
            neighbours(CALLEES, Side::Callees, about, callees.as_deref()),
        );
    }
}

/// Which end of the edges a table lists.
#[derive(Clone, Copy)]
enum Side {
    Callers,
    Callees,
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

fn neighbours(text: Text, side: Side, about: About<'_>, nodes: Option<&[NodeId]>) -> Panel {
    let topology = about.topology;
    let me = match about.subject {
        Subject::Node(id) => links::value(id),
        Subject::Picked(variable) => links::picked(variable),
    };
    let (label, header, matchers) = match side {
        Side::Callers => (links::CLIENT, "Caller", edges_into(about.subject)),
        Side::Callees => (links::SERVER, "Callee", edges_out_of(about.subject)),
    };
    let other = links::value_of(label);
    let (client, server) = match side {
        Side::Callers => (&other, &me),
        Side::Callees => (&me, &other),
    };
    let labels = vec![LabelColumn {
        label,
        header,
        links: Some(links::of_edge(topology, label, client, server)),
    }];
    let column = |header, unit, expr| Column { header, unit, expr };
    let p95 = |histogram| topology.times.quantile(0.95, label, histogram, &matchers);
    let columns = vec![
        column(
            "Requests",
            "reqps",
            copied(&requests(label, &matchers), links::FIELD, label),
        ),
        column("Failed", "percentunit", failed_share(label, &matchers)),
        column("p95", "s", p95(TOTAL_SECONDS)),
        column("Network p95", "s", p95(OWN_SECONDS)),
    ];
    let linked = match nodes {
        Some(nodes) => links::hidden_field(topology, nodes.iter(), true),
        None => links::hidden_field(topology, topology.map.nodes.keys(), true),
    };
    table(text, labels, columns, Some(linked))
}
