//! A service's dashboard: is it slow or failing, is that its own doing, who suffers, whom does it wait for.
//!
//! In: the map, a service's id, settings. Out: one dashboard.
//! Left out on purpose: panels for which the map knows no series, such as callees of a leaf; hosts and processes.

mod neighbours;
mod own_time;
mod red;

use map::services::settings_of;
use map::{Map, NodeId};

use crate::identity::{service_title, service_uid, shown};
use crate::layout::Layout;
use crate::links;
use crate::model::Dashboard;
use crate::settings::DashboardSettings;

/// The dashboard; its uid and title follow from the id alone.
pub(crate) fn dashboard(map: &Map, id: &NodeId, settings: &DashboardSettings) -> Dashboard {
    let mut layout = Layout::default();
    red::panels(&mut layout, id);
    own_time::panels(&mut layout, map, id);
    neighbours::panels(&mut layout, map, id, settings);
    let mut dashboard = Dashboard::new(
        service_uid(id),
        service_title(id),
        description(map, id),
        settings.range_start(),
        settings.refresh_text(),
    );
    dashboard.tags = links::service_tags(settings);
    dashboard.links = vec![
        links::to_overview(),
        links::to_services(settings),
        links::to_map(settings, Some(id)),
    ];
    let stated = settings_of(&map.services, id);
    dashboard
        .links
        .extend(stated.and_then(|s| s.runbook.as_deref()).map(links::to_runbook));
    dashboard.panels = layout.into_items();
    dashboard
}

fn description(map: &Map, id: &NodeId) -> String {
    let owner = map.owner(id);
    let tier = if owner.tier.is_empty() {
        String::new()
    } else {
        format!(", tier {}", owner.tier)
    };
    format!(
        "Service {}, team {}{tier}.",
        shown(id.as_str()),
        shown(&owner.team)
    )
}
