//! The overview: from "is anything wrong for users" to "who is it" to "can I trust what I see".
//!
//! In: the topology (which nodes have a dashboard to link to, whether anything is promised). Out: one dashboard for the
//! whole system.
//! Left out on purpose: names of services in queries. Which there are is the collector's series to say, so that the
//! overview is right about a service that came a minute ago.

mod collector;
mod culprit;
mod edges;
mod node_graph;
mod objectives;
mod users;

pub(crate) use collector::DROPPED;
pub(crate) use culprit::{CULPRITS, DEGRADED, SUPPRESSED};
pub(crate) use edges::SILENT;

use crate::identity::overview_uid;
use crate::layout::Layout;
use crate::model::{Dashboard, Override, Variable};
use crate::text::shown;
use crate::topology::Topology;
use crate::{annotations, links};

const DESCRIPTION: &str = "Is anything slow or failing for users, which service or call is to blame, what changed, and \
    does the collector see all of it. Read it from top to bottom.";

/// The dashboard, panels in the order of the questions that an on-call engineer asks.
pub(crate) fn dashboard(topology: &Topology<'_>) -> Dashboard {
    let settings = topology.settings;
    let mut layout = Layout::default();
    users::panels(&mut layout, topology);
    if topology.has_objectives() {
        objectives::panels(&mut layout, topology);
    }
    culprit::panels(&mut layout, topology);
    layout.panel(24, 18, node_graph::panel(topology));
    culprit::evidence(&mut layout);
    edges::panels(&mut layout, topology);
    collector::panels(&mut layout);
    let mut dashboard = Dashboard::new(
        overview_uid(),
        format!("{} overview", shown(&settings.tag)),
        DESCRIPTION.to_owned(),
        settings.range_start(),
        settings.refresh_text(),
    );
    if settings.traces {
        // Links carry the traces' data source along, so that the next dashboard asks the same one.
        dashboard.templating.list.push(Variable::TEMPO);
    }
    dashboard.tags = links::tags(settings, "overview");
    dashboard.links = links::menus(topology);
    dashboard.links.push(links::to_map(settings, None));
    dashboard.annotations.list = annotations::of(topology, None);
    dashboard.panels = layout.into_items();
    dashboard
}

/// What the hidden field shows in the overview's tables, where a row can be any node.
fn linked(topology: &Topology<'_>) -> Override {
    links::hidden_field(topology, topology.map.nodes.keys(), true)
}
