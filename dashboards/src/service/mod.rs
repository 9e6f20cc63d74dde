//! A service's dashboard: is it slow or failing, is that its own doing, who suffers, whom does it wait for.
//!
//! In: the topology, and a service, or none for the dashboard that serves any. Out: one dashboard.
//! Left out on purpose: panels for which the map knows no series, such as callees of a leaf; hosts and processes.

mod neighbours;
mod own_time;
mod red;
mod traces;
mod versions;

pub(crate) use traces::SEARCHES;

use map::catalogue::NODE_INFO;
use map::services::settings_of;
use map::{EdgeKey, NodeId};

use crate::identity::{service_uid, services_uid, title};
use crate::layout::Layout;
use crate::model::{Dashboard, Variable};
use crate::panel::text;
use crate::promql::Subject;
use crate::text::{clipped, shown};
use crate::topology::Topology;
use crate::{annotations, links, runbook};

/// Whom the dashboard is about, and whom the map knows beside it.
#[derive(Clone, Copy, Debug)]
struct About<'a> {
    topology: &'a Topology<'a>,
    subject: Subject<'a>,
}

impl<'a> About<'a> {
    /// Edges into it; `None` where it is yet to be picked.
    fn callers(self) -> Option<&'a [&'a EdgeKey]> {
        match self.subject {
            Subject::Node(id) => Some(self.topology.callers(id)),
            Subject::Picked(_) => None,
        }
    }

    /// Edges out of it; `None` where it is yet to be picked.
    fn callees(self) -> Option<&'a [&'a EdgeKey]> {
        match self.subject {
            Subject::Node(id) => Some(self.topology.callees(id)),
            Subject::Picked(_) => None,
        }
    }

    fn has_callees(self) -> bool {
        self.callees().is_none_or(|edges| !edges.is_empty())
    }
}

/// The dashboard of one service; its uid follows from the id alone.
pub(crate) fn dashboard(topology: &Topology<'_>, id: &NodeId) -> Dashboard {
    let subject = Subject::Node(id);
    let mut dashboard = Dashboard::new(
        service_uid(id),
        title("Service", id, topology.has_twin(id)),
        description(topology, id),
        topology.settings.range_start(),
        topology.settings.refresh_text(),
    );
    dashboard.links = links::away(topology);
    dashboard.links.push(links::to_map(topology.settings, Some(id)));
    let stated = settings_of(&topology.map.services, id);
    dashboard
        .links
        .extend(stated.and_then(|s| s.runbook.as_deref()).map(links::to_runbook));
    fill(
        &mut dashboard,
        topology,
        subject,
        runbook::of_service(topology, id),
    );
    dashboard
}

/// The dashboard of any service.
pub(crate) fn template(topology: &Topology<'_>) -> Dashboard {
    let mut dashboard = Dashboard::new(
        services_uid(),
        format!("{} services", shown(&topology.settings.tag)),
        "Any service: is it slow or failing, is that its own doing, who suffers, whom does it wait for."
            .to_owned(),
        topology.settings.range_start(),
        topology.settings.refresh_text(),
    );
    dashboard.links = links::away(topology);
    dashboard.links.push(links::to_map(topology.settings, None));
    let ids = format!("label_values({NODE_INFO}{{kind=\"service\"}}, id)");
    let picked = Variable::query(links::SERVICE, "Service", ids);
    dashboard.templating.list.push(Variable::Query(picked));
    if topology.settings.traces {
        let mut name = Variable::query(
            "service_name",
            "Name",
            format!("label_values({NODE_INFO}{{id=\"${}\"}}, id)", links::SERVICE),
        );
        (name.regex, name.hide) = ("/([^\\/]+)$/", 2);
        dashboard.templating.list.push(Variable::Query(name));
    }
    let subject = Subject::Picked(links::SERVICE);
    fill(
        &mut dashboard,
        topology,
        subject,
        runbook::of_any_service(topology),
    );
    dashboard
}

fn fill(dashboard: &mut Dashboard, topology: &Topology<'_>, subject: Subject<'_>, runbook: String) {
    let about = About { topology, subject };
    let mut layout = Layout::default();
    layout.row("Where does it stand?");
    layout.text(text("Runbook", PLACE, runbook));
    red::panels(&mut layout, about);
    own_time::panels(&mut layout, about);
    neighbours::panels(&mut layout, about);
    versions::panels(&mut layout, about);
    if topology.settings.traces {
        let variables = &mut dashboard.templating.list;
        variables.insert(1, Variable::TEMPO);
        variables.push(Variable::Query(traces::slower_than(about)));
        traces::panels(&mut layout, about);
    }
    layout.row("What to ask by hand");
    layout.text(text(
        "First queries",
        BY_HAND,
        runbook::service_queries(topology, subject),
    ));
    dashboard.tags = links::tags(topology.settings, links::SERVICE);
    dashboard.annotations.list = annotations::of(topology, Some(subject));
    dashboard.panels = layout.into_items();
}

/// What the text at the top is.
pub(crate) const PLACE: &str = "Where this stands in the topology, who answers for it, what was promised for it, and where \
    to begin. Generated from the map.";
/// What the text at the bottom is.
pub(crate) const BY_HAND: &str =
    "Queries to begin with where the panels above do not say enough: copy them into Explore.";

fn description(topology: &Topology<'_>, id: &NodeId) -> String {
    let owner = topology.map.owner(id);
    let tier = if owner.tier.is_empty() {
        String::new()
    } else {
        format!(", tier {}", owner.tier)
    };
    format!(
        "Service {}, team {}{tier}.",
        clipped(&shown(id.as_str())),
        clipped(&shown(&owner.team))
    )
}
