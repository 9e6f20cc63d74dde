//! The dashboard of tracemap itself: does it see everything, and does it have room.
//!
//! In: the topology's settings. Out: one dashboard of all collectors and agents that the data source scrapes.
//! Left out on purpose: hosts and pods; whoever runs those has dashboards of them.

mod agents;
mod intake;
mod pairing;
mod storage;

use crate::identity::itself_uid;
use crate::layout::Layout;
use crate::links;
use crate::model::{Dashboard, Variable};
use crate::panel::{Text, lines, over_time};
use crate::promql::rate;
use crate::text::shown;
use crate::topology::Topology;

pub(crate) use agents::ALL as AGENTS;
pub(crate) use intake::DROPPED;
pub(crate) use storage::OPTIONAL as STORAGE;

/// The dashboard.
pub(crate) fn dashboard(topology: &Topology<'_>) -> Dashboard {
    let settings = topology.settings;
    let mut layout = Layout::default();
    intake::panels(&mut layout);
    pairing::panels(&mut layout);
    storage::panels(&mut layout);
    agents::panels(&mut layout);
    let mut dashboard = Dashboard::new(
        itself_uid(),
        format!("{} itself", shown(&settings.tag)),
        "Collector and agents: what arrives, what is lost and why, how well spans pair, what memory and disk hold.".to_owned(),
        settings.range_start(),
        settings.refresh_text(),
    );
    if settings.traces {
        dashboard.templating.list.insert(1, Variable::TEMPO);
    }
    dashboard.tags = links::tags(settings, "itself");
    dashboard.links = links::away(topology);
    dashboard.links.push(links::to_map(settings, None));
    dashboard.panels = layout.into_items();
    dashboard
}

/// A curve of a counter for each value of a label.
fn by(layout: &mut Layout, width: u32, text: Text, series: &str, label: &str) {
    let legend = format!("{{{{{label}}}}}");
    layout.panel(
        width,
        7,
        lines(text, vec![over_time("A", rate(label, series, ""), &legend)]),
    );
}
