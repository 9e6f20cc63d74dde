//! The dashboard of any edge: the caller's time against the callee's and the gap between them, retries, fan-out.
//!
//! In: the topology's settings. Out: one dashboard with the variables `client` and `server`.
//! Left out on purpose: a file for each edge. There are ten times as many edges as services, and nobody looks for one but
//! by a link from a table, which brings both ends along.

mod load;
mod times;

pub(crate) use load::FAN_OUT_TITLE as FAN_OUT;
pub(crate) use times::{CALLEE, LEARNED};

use map::catalogue::EDGE_INFO;

use crate::identity::edge_uid;
use crate::layout::Layout;
use crate::model::{Dashboard, Variable};
use crate::panel::{Text, text, traces};
use crate::promql::{EDGES, Subject};
use crate::text::shown;
use crate::topology::Topology;
use crate::{annotations, links, runbook};

/// Matchers of the picked edge's own series.
fn picked() -> String {
    format!("{EDGES},{}", ends())
}

/// Matchers of its ends, for series that only edges have.
fn ends() -> String {
    format!(r#"client="${}",server="${}""#, links::CLIENT, links::SERVER)
}

/// The dashboard.
pub(crate) fn dashboard(topology: &Topology<'_>) -> Dashboard {
    let settings = topology.settings;
    let mut layout = Layout::default();
    layout.row("What to look for");
    layout.text(text("Runbook", HOW_TO_READ, runbook::OF_EDGE.to_owned()));
    times::panels(&mut layout, topology);
    load::panels(&mut layout);
    let mut dashboard = Dashboard::new(
        edge_uid(),
        format!("{} edge", shown(&settings.tag)),
        "One call between two nodes: is it slow or failing, is it the caller, the callee or what lies between.".to_owned(),
        settings.range_start(),
        settings.refresh_text(),
    );
    variables(&mut dashboard, topology);
    if settings.traces {
        layout.row("Show me a trace");
        let of_both = format!(
            r#"{{ resource.service.name = "${}_name" }} && {{ resource.service.name = "${}_name" }}"#,
            links::CLIENT,
            links::SERVER
        );
        layout.panel(24, 9, traces(TRACES, of_both));
    }
    dashboard.tags = links::tags(settings, "edge");
    dashboard.links = links::away(topology);
    dashboard.links.push(links::to_map(settings, None));
    dashboard.annotations.list = annotations::of(topology, Some(Subject::Picked(links::SERVER)));
    dashboard.panels = layout.into_items();
    dashboard
}

const HOW_TO_READ: &str = "How caller, callee and the gap between them tell whose fault a slow call is.";

const TRACES: Text = Text {
    title: "Recent traces of both ends",
    description: "The newest stored traces in which both the caller and the callee have a span. A callee that reports \
        nothing itself is in none: open the caller's dashboard for its slow traces.",
    unit: "none",
};

fn variables(dashboard: &mut Dashboard, topology: &Topology<'_>) {
    let client = format!("label_values({EDGE_INFO}, client)");
    let server = format!(
        r#"label_values({EDGE_INFO}{{client="${}"}}, server)"#,
        links::CLIENT
    );
    let list = &mut dashboard.templating.list;
    list.push(Variable::Query(Variable::query(links::CLIENT, "Caller", client)));
    list.push(Variable::Query(Variable::query(links::SERVER, "Callee", server)));
    if topology.settings.traces {
        list.insert(1, Variable::TEMPO);
        for (name, label, end) in [
            ("client_name", "Caller's name", links::CLIENT),
            ("server_name", "Callee's name", links::SERVER),
        ] {
            let query = format!("label_values({EDGE_INFO}{{{}}}, {end})", ends());
            let mut variable = Variable::query(name, label, query);
            (variable.regex, variable.hide) = ("/([^\\/]+)$/", 2);
            list.push(Variable::Query(variable));
        }
    }
}
