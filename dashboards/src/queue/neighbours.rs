//! Who sends, and who receives?
//!
//! In: whom the dashboard is about. Out: two tables, whose rows lead to the neighbour's dashboard.
//! Left out on purpose: which producer's messages reach which consumer; the service graph on the overview has that.

use map::catalogue::{QUEUE_SECONDS, TOTAL_SECONDS};

use crate::layout::Layout;
use crate::links;
use crate::panel::Text;
use crate::promql::{Subject, copied, edges_into, edges_out_of, failed_share, requests};
use crate::table::{Column, LabelColumn, table};
use crate::topology::Topology;

pub(super) fn panels(layout: &mut Layout, topology: &Topology<'_>, subject: Subject<'_>) {
    layout.row("Who sends, and who receives?");
    let (into, out) = (edges_into(subject), edges_out_of(subject));
    let columns = |label, matchers: &str, time| {
        let column = |header, unit, expr| Column { header, unit, expr };
        let (header, histogram) = time;
        vec![
            column(
                "Messages",
                "reqps",
                copied(&requests(label, matchers), links::FIELD, label),
            ),
            column("Failed", "percentunit", failed_share(label, matchers)),
            column(
                header,
                "s",
                topology.times.quantile(0.95, label, histogram, matchers),
            ),
        ]
    };
    let sends = columns(links::CLIENT, &into, ("Sending p95", TOTAL_SECONDS));
    let receives = columns(links::SERVER, &out, ("Waiting p95", QUEUE_SECONDS));
    let linked = || match subject {
        Subject::Node(id) => {
            let callers = topology.callers(id).iter().map(|key| &key.client);
            let callees = topology.callees(id).iter().map(|key| &key.server);
            links::hidden_field(topology, callers.chain(callees), true)
        }
        Subject::Picked(_) => links::hidden_field(topology, topology.map.nodes.keys(), true),
    };
    let label = |label, header| LabelColumn {
        label,
        header,
        links: Some(links::of_node(topology, label)),
    };
    let producers = vec![label(links::CLIENT, "Producer")];
    layout.panel(12, 9, table(PRODUCERS, producers, sends, Some(linked())));
    let consumers = vec![label(links::SERVER, "Consumer")];
    layout.panel(12, 9, table(CONSUMERS, consumers, receives, Some(linked())));
}

const PRODUCERS: Text = Text {
    title: "Producers",
    description: "Who sends to this queue: how often, with what failed share, and how long the broker takes to accept. A \
        producer whose rate jumped is where a backlog comes from.",
    unit: "none",
};

const CONSUMERS: Text = Text {
    title: "Consumers",
    description: "Who receives from this queue: how often, with what failed share, and how long messages waited for it. \
        Open the dashboard of the one whose messages wait.",
    unit: "none",
};
