//! What changed, marked on every chart: new edges, edges that fell silent, new versions.
//!
//! In: the topology's settings, and a node where only its own changes matter. Out: annotations.
//! Left out on purpose: alerts. Grafana marks those by itself, where it knows the Alertmanager.
//!
//! Each mark stands where its query's value says, so one series makes one mark, however long it is there.

use map::catalogue::{EDGE_FIRST_SEEN, EDGE_LAST_SEEN, VERSION_FIRST_SEEN};

use crate::model::{Annotation, AnnotationQuery, DataSource};
use crate::promql::{Subject, id, once};
use crate::topology::Topology;

/// How many marks of one kind a dashboard shows at most.
const MOST: u32 = 30;

/// Changes of the whole system, or of one node and its edges.
pub(crate) fn of(topology: &Topology<'_>, subject: Option<Subject<'_>>) -> Vec<Annotation> {
    let edges = |series: &str| match subject {
        None => once("client, server", series, ""),
        Some(subject) => {
            let end = |label: &str| {
                once(
                    "client, server",
                    series,
                    &format!("{label}={}", subject.literal()),
                )
            };
            format!("({} or {})", end("client"), end("server"))
        }
    };
    let of_node = subject.map(id).unwrap_or_default();
    let versions = once("id, version", VERSION_FIRST_SEEN, &of_node);
    let silent = format!("{} < {}", edges(EDGE_LAST_SEEN), long_ago(topology));
    vec![
        newest("Versions", "purple", &versions, "{{id}}: version {{version}}"),
        newest(
            "New edges",
            "blue",
            &edges(EDGE_FIRST_SEEN),
            "{{client}} calls {{server}}",
        ),
        newest(
            "Silent edges",
            "orange",
            &format!("({silent})"),
            "{{client}} calls {{server}} no more",
        ),
    ]
}

/// The time before which an edge that was not seen since has vanished.
pub(crate) fn long_ago(topology: &Topology<'_>) -> String {
    format!(
        "time() - {}",
        topology.settings.vanished_after.get().as_secs().max(1)
    )
}

fn newest(name: &'static str, icon_color: &'static str, seconds: &str, text: &'static str) -> Annotation {
    Annotation {
        name,
        datasource: DataSource::PICKED,
        enable: true,
        hide: false,
        icon_color,
        query: AnnotationQuery {
            expr: format!("1000 * topk({MOST}, {seconds})"),
            title_format: name,
            text_format: text,
            use_value_for_time: true,
        },
    }
}
