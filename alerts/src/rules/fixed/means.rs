//! Mean seconds over the window: the own time of services and edges, and the total time of services.
//!
//! Own time of a service is what it took less what it waited for others, of an edge what the caller waited less what the
//! callee took; both not below 0. What reports no spans is known by its callers' waiting alone, and that is its edge's.
//! Left out on purpose: the own time of edges by way of a broker, where nobody waits. The time of sending counts as waiting
//! all the same, and is no own time of who sends.

use config::HumanDuration;
use map::catalogue::{RECORDED_JUDGED, RECORDED_MEAN_SECONDS};
use map::{NodeId, NodeKind};

use super::super::recording;
use super::any_of;
use crate::prometheus::{Recording, indent};
use crate::settings::AlertSettings;
use crate::topology::Topology;

/// Requests in the window, of services and edges.
pub(super) fn judged(topology: &Topology<'_>, settings: &AlertSettings) -> Recording {
    let counts = Sums::new(topology, settings, settings.window);
    let kinds = [
        ("service", counts.received("count")),
        ("edge", counts.edges("client", "count", &counts.everybody)),
    ];
    let kinds = kinds
        .map(|(kind, expr)| labelled(&expr, "kind", kind))
        .join("\nor\n");
    let window = settings.window.as_prometheus();
    recording(RECORDED_JUDGED, &labelled(&kinds, "window", &window))
}

/// Mean seconds in the window by `measure`.
pub(super) fn rule(topology: &Topology<'_>, settings: &AlertSettings) -> Recording {
    let own = labelled(&own(topology, settings, settings.window), "measure", "own");
    let total = labelled(&total(topology, settings, settings.window), "measure", "total");
    recording(RECORDED_MEAN_SECONDS, &format!("{own}\nor\n{total}"))
}

/// Mean own seconds over a time.
pub(super) fn own(topology: &Topology<'_>, settings: &AlertSettings, time: HumanDuration) -> String {
    let sums = Sums::new(topology, settings, time);
    let (took, waited) = (sums.received("sum"), sums.waited());
    let services = format!(
        "clamp_min(\n{}\n  - (\n{}\n    or\n{}\n  ),\n  0\n)\n/ (\n{} > 0\n)",
        indent(&took),
        indent(&indent(&waited)),
        indent(&indent(&format!("0 * {took}"))),
        indent(&sums.received("count")),
    );
    let between = sums.mean_of_edges("client", &sums.services);
    let callee = sums.mean_of_edges("server", &sums.services);
    let far = sums.mean_of_edges("client", &sums.far_sides);
    let edges = format!(
        "clamp_min(\n{}\n  - (\n{}\n  ),\n  0\n)\nor\n{far}",
        indent(&between),
        indent(&indent(&callee))
    );
    format!(
        "{}\nor\n{}",
        labelled(&services, "kind", "service"),
        labelled(&edges, "kind", "edge")
    )
}

/// Mean total seconds of services over a time.
pub(super) fn total(topology: &Topology<'_>, settings: &AlertSettings, time: HumanDuration) -> String {
    let sums = Sums::new(topology, settings, time);
    let mean = format!(
        "{}\n/ (\n{} > 0\n)",
        sums.received("sum"),
        indent(&sums.received("count"))
    );
    labelled(&mean, "kind", "service")
}

/// The expression with a label.
fn labelled(expr: &str, label: &str, value: &str) -> String {
    format!(
        "label_replace(\n{},\n  \"{label}\", \"{value}\", \"\", \"\"\n)",
        indent(expr)
    )
}

/// Sums of the service graph's histograms over a time.
struct Sums<'a> {
    settings: &'a AlertSettings,
    time: String,
    /// Values of `server`: services, what reports no spans, and both.
    services: String,
    far_sides: String,
    everybody: String,
    /// Values of `client` that are services.
    callers: String,
}

impl<'a> Sums<'a> {
    fn new(topology: &Topology<'_>, settings: &'a AlertSettings, time: HumanDuration) -> Self {
        let is_far =
            |id: &NodeId| !topology.is_service(id) && topology.map().kind(id) != NodeKind::Destination;
        let ids = |of: &dyn Fn(&NodeId) -> bool, label: &str| {
            let ids = topology.nodes().iter().filter(|id| of(id));
            any_of(label, ids.map(|id| id.as_str()))
        };
        let is_service = |id: &NodeId| topology.is_service(id);
        Self {
            settings,
            time: time.as_prometheus(),
            services: ids(&is_service, "server"),
            far_sides: ids(&is_far, "server"),
            everybody: ids(&|id| is_service(id) || is_far(id), "server"),
            callers: ids(&is_service, "client"),
        }
    }

    fn increase(&self, side: &str, part: &str, matchers: &str) -> String {
        let settings = &self.settings.fixed;
        let series = match side {
            "server" => &settings.server_seconds,
            _ => &settings.client_seconds,
        };
        format!("increase({series}_{part}{{{matchers}}}[{}])", self.time)
    }

    /// What services took, or how often they were asked.
    fn received(&self, part: &str) -> String {
        let increase = self.increase("server", part, &self.services);
        format!("sum by (id) (label_replace({increase}, \"id\", \"$1\", \"server\", \"(.+)\"))")
    }

    /// What services waited for others.
    fn waited(&self) -> String {
        let increase = self.increase("client", "sum", &self.callers);
        format!("sum by (id) (label_replace({increase}, \"id\", \"$1\", \"client\", \"(.+)\"))")
    }

    /// Sums by edge, to these servers.
    fn edges(&self, side: &str, part: &str, servers: &str) -> String {
        let matchers = format!("{},{servers},connection_type!=\"messaging_system\"", self.callers);
        let increase = self.increase(side, part, &matchers);
        format!(
            "sum by (id, client, server) (label_join({increase}, \"id\", \"->\", \"client\", \"server\"))"
        )
    }

    fn mean_of_edges(&self, side: &str, servers: &str) -> String {
        format!(
            "{}\n/ (\n{} > 0\n)",
            self.edges(side, "sum", servers),
            indent(&self.edges(side, "count", servers))
        )
    }
}
