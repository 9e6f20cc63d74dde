//! The overview: from "is anything wrong for users" to "who is it" to "can I trust what I see".
//!
//! In: the map (which services have a dashboard to link to) and settings. Out: one dashboard for the whole system.
//! Left out on purpose: names of services in queries. Which there are is the collector's series to say, so that the
//! overview is right about a service that came a minute ago.

mod collector;
mod culprit;
mod edges;
mod node_graph;
mod users;

use map::Map;

pub(crate) use collector::DROPPED;
pub(crate) use culprit::{CULPRITS, DEGRADED};

use crate::identity::overview_uid;
use crate::layout::Layout;
use crate::links;
use crate::model::{Dashboard, Override};
use crate::settings::DashboardSettings;

const DESCRIPTION: &str = "Is anything slow or failing for users, which service or call is to blame, what changed, and \
    does the collector see all of it. Read it from top to bottom.";

/// The dashboard, panels in the order of the questions that an on-call engineer asks.
pub(crate) fn dashboard(map: &Map, settings: &DashboardSettings) -> Dashboard {
    let mut layout = Layout::default();
    users::panels(&mut layout);
    culprit::panels(&mut layout, map, settings);
    layout.panel(24, 18, node_graph::panel(map, settings));
    culprit::evidence(&mut layout);
    edges::panels(&mut layout, map, settings);
    collector::panels(&mut layout);
    let mut dashboard = Dashboard::new(
        overview_uid(),
        format!("{} overview", settings.tag),
        DESCRIPTION.to_owned(),
        settings.range_start(),
        settings.refresh_text(),
    );
    dashboard.tags = links::overview_tags(settings);
    dashboard.links = vec![links::to_services(settings), links::to_map(settings, None)];
    dashboard.panels = layout.into_items();
    dashboard
}

/// What the hidden field shows in the overview's tables, where a row can be any node.
fn linked(map: &Map) -> Override {
    links::hidden_field(map.nodes.iter().map(|(id, node)| (id, node.kind)), true)
}
