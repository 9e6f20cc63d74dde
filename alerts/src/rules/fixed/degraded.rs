//! What is slow: services and edges by their own time, services by their total time; empty while healthy.
//!
//! As in the profile `live` it takes evidence and a shift that somebody feels, and the latest part of the window must not say
//! that it is over. The values are nats, so that the rules that charge a culprit can add them up.

use config::HumanDuration;
use map::catalogue::{
    RECORDED_JUDGED, RECORDED_MEAN_SECONDS, RECORDED_OWN_DEGRADED, RECORDED_TOTAL_DEGRADED,
    RECORDED_USUAL_SECONDS,
};

use super::super::recording;
use super::deviation::nats;
use super::{ENTRY_FACTOR, FACTOR, FEWEST, MARGIN_SECONDS, ON, any_of, means};
use crate::prometheus::{Recording, indent};
use crate::settings::AlertSettings;
use crate::topology::Topology;

/// Slow in own time, with less evidence than it takes to page: a culprit is charged with all that is slow around it.
pub(super) fn own(topology: &Topology<'_>, settings: &AlertSettings) -> Recording {
    let (nats, suspect) = (nats("own"), settings.suspect_threshold);
    let is_over = is_over(
        &means::own(topology, settings, latest(settings)),
        "own",
        &margin("own"),
    );
    let expr = format!(
        r#"max by (id, kind, client, server) (
  {nats} > {suspect}
  and {RECORDED_MEAN_SECONDS}{{measure="own"}} > {}
  and {ON} {RECORDED_JUDGED} >= {FEWEST}
  unless {ON} (
{is_over}
  )
)"#,
        margin("own")
    );
    recording(RECORDED_OWN_DEGRADED, &expr)
}

/// Slow as callers see it. A smaller shift is enough for an entry point, because nobody is paged for that alone.
pub(super) fn total(topology: &Topology<'_>, settings: &AlertSettings) -> Recording {
    let AlertSettings {
        evidence_threshold,
        suspect_threshold,
        ..
    } = settings;
    let (nats, entry_points) = (nats("total"), entry_points("id", topology));
    let felt = format!(
        "{RECORDED_USUAL_SECONDS}{{measure=\"total\"}} * {}",
        1.0 + ENTRY_FACTOR
    );
    let is_over = is_over(
        &means::total(topology, settings, latest(settings)),
        "total",
        &felt,
    );
    let expr = format!(
        r#"max by (id, kind) (
  (
    {nats} > {evidence_threshold}
    and {RECORDED_MEAN_SECONDS}{{measure="total"}} > {}
    or
    {nats} > {suspect_threshold}
    and {RECORDED_MEAN_SECONDS}{{measure="total",{entry_points}}} > {felt}
  )
  and on (id, kind) {RECORDED_JUDGED} >= {FEWEST}
  unless on (id, kind) (
{is_over}
  )
)"#,
        margin("total")
    );
    recording(RECORDED_TOTAL_DEGRADED, &expr)
}

/// The matcher of entry points.
pub(super) fn entry_points(label: &str, topology: &Topology<'_>) -> String {
    let ids = topology.nodes().iter().filter(|id| topology.is_entry_point(id));
    any_of(label, ids.map(|id| id.as_str()))
}

/// What a mean has to exceed.
fn margin(measure: &str) -> String {
    format!(
        "{RECORDED_USUAL_SECONDS}{{measure=\"{measure}\"}} * {} + {MARGIN_SECONDS}",
        1.0 + FACTOR
    )
}

fn is_over(latest: &str, measure: &str, bound: &str) -> String {
    let on = if measure == "own" { ON } else { "on (id, kind)" };
    indent(&indent(&format!("(\n{}\n)\n<= {on} ({bound})", indent(latest))))
}

/// The latest part of the window. Two scrapes of the series must lie in it, or it never says anything.
fn latest(settings: &AlertSettings) -> HumanDuration {
    settings.recent()
}
