//! Grafana dashboards: the dependency map in, dashboard JSON out.
//!
//! In: a [`Map`] and [`DashboardSettings`]. Out: by file name, an overview, a dashboard per service and per queue (or one for
//! all of each, beyond a bound), one of any edge, and one of tracemap itself; the same map and settings give the same bytes.
//! Every series is one of [`map::catalogue`], read through data sources that the viewer picks, so that the files work
//! unchanged by import, provisioning, sidecar, operator and API.
//! Left out on purpose: writing, uploading and deleting files; data sources (trace links of exemplars belong there); a
//! clock: time is the map's own, that of the latest request in it.

mod annotations;
mod edge;
mod identity;
mod itself;
mod layout;
mod links;
mod model;
mod overview;
mod panel;
mod promql;
mod query;
mod queue;
mod runbook;
mod service;
mod settings;
mod size;
mod table;
mod text;
mod topology;

use std::collections::BTreeMap;

use map::{Map, NodeId};

pub use identity::{
    EDGE_FILE, ITSELF_FILE, OVERVIEW_FILE, QUEUES_FILE, SERVICES_FILE, edge_uid, itself_uid, overview_uid,
    queue_uid, queues_uid, service_uid, services_uid,
};
pub use query::{Query, queries};
pub use settings::{DashboardSettings, Files, Histograms, Schema};
pub use size::{MAX_PANELS, Size, sizes};

use topology::Topology;

/// All dashboards of a map: JSON by file name below the output directory, each ending in a newline.
///
/// Always `dashboards/overview.json`, `dashboards/edge.json` and `dashboards/tracemap.json`. With a file per entity also
/// `dashboards/service-<name>.json` for each node of kind service and `dashboards/queue-<name>.json` for each broker
/// destination, less those that were not seen for [`DashboardSettings::retire_after`]; with templates
/// `dashboards/services.json` and `dashboards/queues.json` instead. An id that has other characters than `[a-z0-9._-]` has
/// them replaced and a hash of its id appended, so that names are legal and unique; name and uid of an entity's dashboard
/// depend on its id alone. The v2 form of a file has its name below `dashboards-v2/`, and the same uid.
pub fn generate(map: &Map, settings: &DashboardSettings) -> BTreeMap<String, String> {
    let topology = Topology::new(map, settings);
    let mut files = BTreeMap::new();
    for (file, entity) in entities(&topology) {
        let dashboard = match entity {
            Entity::Overview => overview::dashboard(&topology),
            Entity::AnyEdge => edge::dashboard(&topology),
            Entity::Itself => itself::dashboard(&topology),
            Entity::AnyService => service::template(&topology),
            Entity::AnyQueue => queue::template(&topology),
            Entity::Service(id) => service::dashboard(&topology, id),
            Entity::Queue(id) => queue::dashboard(&topology, id),
        };
        if settings.schema != Schema::Classic {
            files.insert(identity::v2_file(&file), dashboard.to_v2_json());
        }
        if settings.schema != Schema::V2 {
            files.insert(file, dashboard.to_json());
        }
    }
    files
}

/// The uid of every dashboard of a map by the name of its classic file, without the cost of generating it.
pub fn uids(map: &Map, settings: &DashboardSettings) -> BTreeMap<String, String> {
    let topology = Topology::new(map, settings);
    let uid = |entity| match entity {
        Entity::Overview => overview_uid(),
        Entity::AnyEdge => edge_uid(),
        Entity::Itself => itself_uid(),
        Entity::AnyService => services_uid(),
        Entity::AnyQueue => queues_uid(),
        Entity::Service(id) => service_uid(id),
        Entity::Queue(id) => queue_uid(id),
    };
    let named = entities(&topology);
    named.map(|(file, entity)| (file, uid(entity))).collect()
}

/// What a dashboard is about.
#[derive(Clone, Copy)]
enum Entity<'a> {
    Overview,
    AnyEdge,
    Itself,
    AnyService,
    AnyQueue,
    Service(&'a NodeId),
    Queue(&'a NodeId),
}

/// What there is a dashboard of, with the name of its file.
fn entities<'a>(topology: &Topology<'a>) -> impl Iterator<Item = (String, Entity<'a>)> {
    let mut all = vec![
        (OVERVIEW_FILE.to_owned(), Entity::Overview),
        (EDGE_FILE.to_owned(), Entity::AnyEdge),
        (ITSELF_FILE.to_owned(), Entity::Itself),
    ];
    if topology.templated {
        all.push((SERVICES_FILE.to_owned(), Entity::AnyService));
        all.push((QUEUES_FILE.to_owned(), Entity::AnyQueue));
    } else {
        let services = topology.services();
        all.extend(services.map(|id| (identity::service_file(id), Entity::Service(id))));
        let queues = topology.queues();
        all.extend(queues.map(|id| (identity::queue_file(id), Entity::Queue(id))));
    }
    all.into_iter()
}

/// Panels that show nothing while the system is healthy, as dashboard file name and panel title.
///
/// Each shows a text in place of data then.
pub fn empty_while_healthy() -> &'static [(&'static str, &'static str)] {
    &[
        (OVERVIEW_FILE, overview::CULPRITS),
        (OVERVIEW_FILE, overview::DEGRADED),
        (OVERVIEW_FILE, overview::SUPPRESSED),
        (OVERVIEW_FILE, overview::SILENT),
        (OVERVIEW_FILE, overview::DROPPED),
        (ITSELF_FILE, itself::DROPPED),
    ]
}

/// True where a panel of a file is empty while the system is healthy: those of [`empty_while_healthy`], and in dashboards of
/// services the searches for traces that failed or were slow. `file` is a name that [`generate`] gives, of either form.
pub fn is_empty_while_healthy(file: &str, title: &str) -> bool {
    let file = identity::classic_file(file);
    let of_service = file == SERVICES_FILE || file.starts_with("dashboards/service-");
    empty_while_healthy().contains(&(&*file, title)) || of_service && service::SEARCHES.contains(&title)
}

/// Panels that show nothing where what they tell of is not used, healthy or not: file name, panel title, and what it takes
/// to fill them.
pub fn empty_unless_used() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let agents = itself::AGENTS
        .into_iter()
        .map(|title| (ITSELF_FILE, title, "agents that are scraped"));
    let storage = itself::STORAGE.into_iter().map(|title| {
        (
            ITSELF_FILE,
            title,
            "`data_dir`, tail sampling, remote write or publishing to Kubernetes",
        )
    });
    let edge = [
        (EDGE_FILE, edge::CALLEE, "a callee that reports spans"),
        (EDGE_FILE, edge::FAN_OUT, "a caller that reports spans"),
        (EDGE_FILE, edge::LEARNED, "a caller that reports spans"),
    ];
    agents.chain(storage).chain(edge)
}
