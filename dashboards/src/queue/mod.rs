//! A queue's dashboard: do messages wait, does it grow, who sends and who receives.
//!
//! In: the topology, and a broker destination, or none for the dashboard that serves any. Out: one dashboard.
//! Left out on purpose: the broker's own figures (offsets, partitions, replicas). Its exporter knows those; here is what the
//! messages themselves say.

mod flow;
mod neighbours;

use map::NodeId;
use map::catalogue::NODE_INFO;

use crate::identity::{queue_uid, queues_uid, title};
use crate::layout::Layout;
use crate::model::{Dashboard, Variable};
use crate::panel::text;
use crate::promql::Subject;
use crate::service::{BY_HAND, PLACE};
use crate::text::{clipped, shown};
use crate::topology::Topology;
use crate::{annotations, links, runbook};

/// The dashboard of one queue; its uid follows from the id alone.
pub(crate) fn dashboard(topology: &Topology<'_>, id: &NodeId) -> Dashboard {
    let owner = topology.map.owner(id);
    let mut dashboard = Dashboard::new(
        queue_uid(id),
        title("Queue", id, topology.has_twin(id)),
        format!(
            "Queue {}, team {}.",
            clipped(&shown(id.as_str())),
            clipped(&shown(&owner.team))
        ),
        topology.settings.range_start(),
        topology.settings.refresh_text(),
    );
    dashboard.links = links::away(topology);
    dashboard.links.push(links::to_map(topology.settings, Some(id)));
    fill(
        &mut dashboard,
        topology,
        Subject::Node(id),
        runbook::of_queue(topology, id),
    );
    dashboard
}

/// The dashboard of any queue.
pub(crate) fn template(topology: &Topology<'_>) -> Dashboard {
    let mut dashboard = Dashboard::new(
        queues_uid(),
        format!("{} queues", shown(&topology.settings.tag)),
        "Any queue, topic or stream: do messages wait, does it grow, who sends and who receives.".to_owned(),
        topology.settings.range_start(),
        topology.settings.refresh_text(),
    );
    dashboard.links = links::away(topology);
    dashboard.links.push(links::to_map(topology.settings, None));
    let ids = format!("label_values({NODE_INFO}{{kind=\"destination\"}}, id)");
    let picked = Variable::query(links::QUEUE, "Queue", ids);
    dashboard.templating.list.push(Variable::Query(picked));
    let subject = Subject::Picked(links::QUEUE);
    fill(&mut dashboard, topology, subject, runbook::of_any_queue(topology));
    dashboard
}

fn fill(dashboard: &mut Dashboard, topology: &Topology<'_>, subject: Subject<'_>, runbook: String) {
    let mut layout = Layout::default();
    layout.row("Where does it stand?");
    layout.text(text("Runbook", PLACE, runbook));
    flow::panels(&mut layout, topology, subject);
    neighbours::panels(&mut layout, topology, subject);
    layout.row("What to ask by hand");
    layout.text(text(
        "First queries",
        BY_HAND,
        runbook::queue_queries(topology, subject),
    ));
    if topology.settings.traces {
        // Links carry the traces' data source along, so that the next dashboard asks the same one.
        dashboard.templating.list.insert(1, Variable::TEMPO);
    }
    dashboard.tags = links::tags(topology.settings, links::QUEUE);
    dashboard.annotations.list = annotations::of(topology, Some(subject));
    dashboard.panels = layout.into_items();
}
