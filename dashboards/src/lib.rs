//! Grafana dashboards: the dependency map in, dashboard JSON out.
//!
//! In: a [`Map`] and [`DashboardSettings`]. Out: one overview and one dashboard per service, by file name; the same map
//! and settings give the same bytes. Every series is one of [`map::catalogue`], read through a data source that the
//! viewer picks, so that the files work unchanged by import, provisioning, sidecar, operator and API.
//! Left out on purpose: dashboards of a single edge, of a queue and of tracemap itself, and the v2 dashboard schema;
//! writing, uploading and deleting files; data sources (trace links of exemplars belong there).

mod identity;
mod layout;
mod links;
mod model;
mod overview;
mod panel;
mod promql;
mod query;
mod service;
mod settings;
mod table;

use std::collections::BTreeMap;

use map::{Map, NodeKind};

pub use identity::{overview_uid, service_uid};
pub use query::{Query, queries};
pub use settings::DashboardSettings;

/// Name of the overview's file below the output directory.
pub const OVERVIEW_FILE: &str = "dashboards/overview.json";

/// All dashboards of a map: JSON by file name below the output directory, each ending in a newline.
///
/// `dashboards/overview.json`, and `dashboards/service-<name>.json` for each node of kind service. A service whose id
/// has other characters than `[a-z0-9._-]` has them replaced and a hash of its id appended, so that names are legal and
/// unique; name and uid of a service's dashboard depend on its id alone. Format: Grafana's classic dashboard model,
/// schema version 42.
pub fn generate(map: &Map, settings: &DashboardSettings) -> BTreeMap<String, String> {
    let services = map
        .nodes
        .iter()
        .filter(|(_, node)| node.kind == NodeKind::Service);
    let mut files: BTreeMap<String, String> = services
        .map(|(id, _)| {
            (
                identity::service_file(id),
                service::dashboard(map, id, settings).to_json(),
            )
        })
        .collect();
    files.insert(
        OVERVIEW_FILE.to_owned(),
        overview::dashboard(map, settings).to_json(),
    );
    files
}

/// Panels that show nothing while the system is healthy, as dashboard file name and panel title.
///
/// Each shows a text in place of data then. Not listed is `New edges` of the overview, which is empty once the
/// system has kept its shape for a day, healthy or not.
pub fn empty_while_healthy() -> &'static [(&'static str, &'static str)] {
    &[
        (OVERVIEW_FILE, overview::CULPRITS),
        (OVERVIEW_FILE, overview::DEGRADED),
        (OVERVIEW_FILE, overview::DROPPED),
    ]
}
