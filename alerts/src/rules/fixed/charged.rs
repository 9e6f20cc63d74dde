//! Who waits for a culprit, whether the culprit explains their waiting, and who answers for it.
//!
//! The topology of the map is written into these expressions: that is what this profile is named for.
//! A culprit slows a service only if its lost seconds are a good part of what the service lost. Where several nodes are slow
//! at once, one that few requests use is then no page. Where calls run in parallel the service loses less than the culprit.

use std::collections::{BTreeMap, BTreeSet};

use map::catalogue::{
    RECORDED_CULPRIT, RECORDED_CULPRIT_EXCESS, RECORDED_CULPRIT_OWNER, RECORDED_CULPRIT_SLOWS,
    RECORDED_CULPRIT_WAITERS, RECORDED_EDGE_CHARGED, RECORDED_JUDGED, RECORDED_MEAN_SECONDS,
    RECORDED_OWN_DEGRADED, RECORDED_TOTAL_DEGRADED, RECORDED_USUAL_SECONDS,
};
use map::{NodeId, Owner};

use super::super::{NOBODY, recording};
use super::{ON, any_of, replacement};
use crate::prometheus::{Recording, indent};
use crate::topology::Topology;

/// The least part of a service's lost seconds that a culprit has to have lost.
const EXPLAINS: f64 = 0.25;

/// Slow services by the culprits that they wait for, themselves included.
pub(super) fn waiters(topology: &Topology<'_>) -> Recording {
    let parts = topology.nodes().iter().filter_map(|culprit| {
        let waiters = topology.waiters(culprit).into_iter().map(|(_, id)| id);
        let waiters: BTreeSet<&str> = waiters
            .filter(|id| topology.is_service(id))
            .map(NodeId::as_str)
            .collect();
        if waiters.is_empty() {
            return None;
        }
        let slow = format!("{RECORDED_TOTAL_DEGRADED}{{{}}}", any_of("id", waiters));
        Some(replaced(&slow, "culprit", culprit.as_str()))
    });
    let parts: Vec<String> = parts.collect();
    let parts = if parts.is_empty() {
        // A map without services: nobody waits, and the expression has its labels all the same.
        replaced(&format!("{RECORDED_TOTAL_DEGRADED}{{id=\"\"}}"), "culprit", "")
    } else {
        parts.join("\nor\n")
    };
    recording(
        RECORDED_CULPRIT_WAITERS,
        &format!(
            "max by (culprit, id) (\n{}\n)\nand on (culprit) {RECORDED_CULPRIT}",
            indent(&parts)
        ),
    )
}

/// Seconds that a culprit lost in the window, its own and those of its edges.
pub(super) fn excess() -> Recording {
    let lost = lost("own");
    let expr = format!(
        r#"
        sum by (culprit) (
          label_replace(
            {lost} and {ON} {RECORDED_OWN_DEGRADED}{{kind="service",id!~"{NOBODY}"}},
            "culprit", "$1", "id", "(.+)"
          )
          or
          0 * {RECORDED_EDGE_CHARGED}
          + on (id) group_left ()
          sum by (id) ({lost} and {ON} {RECORDED_OWN_DEGRADED}{{kind="edge"}})
        )"#
    );
    recording(RECORDED_CULPRIT_EXCESS, &expr)
}

/// Slow services by the culprits that explain it.
pub(super) fn slows() -> Recording {
    let lost = lost("total");
    let expr = format!(
        "
        {RECORDED_CULPRIT_WAITERS}
        and on (culprit, id) (
          0 * {RECORDED_CULPRIT_WAITERS}
          + on (culprit) group_left () {RECORDED_CULPRIT_EXCESS}
          >= on (id) group_left ()
          {EXPLAINS} * sum by (id) ({lost})
        )"
    );
    recording(RECORDED_CULPRIT_SLOWS, &expr)
}

/// Seconds lost in the window: how far the mean exceeds what is usual, times the requests.
fn lost(measure: &str) -> String {
    let matcher = format!("{{measure=\"{measure}\"}}");
    format!("({RECORDED_MEAN_SECONDS}{matcher} - {RECORDED_USUAL_SECONDS}{matcher}) * {ON} {RECORDED_JUDGED}")
}

/// Who answers for each culprit.
pub(super) fn owner(topology: &Topology<'_>) -> Recording {
    let mut parts = owned(topology, topology.nodes().iter().copied(), &|ids| {
        format!(
            "{RECORDED_CULPRIT}{{{}}} * 0 + 1",
            any_of("culprit", ids.iter().copied())
        )
    });
    let nobody = Owner::NOBODY;
    parts.push(replaced(
        &replaced(&format!("{RECORDED_CULPRIT} * 0 + 1"), "tier", ""),
        "team",
        nobody,
    ));
    recording(RECORDED_CULPRIT_OWNER, &parts.join("\nor on (culprit)\n"))
}

/// An expression for each owner, of the nodes that are this owner's, under the labels `team` and `tier`.
pub(super) fn owned<'a>(
    topology: &Topology<'_>,
    ids: impl Iterator<Item = &'a NodeId>,
    of: &dyn Fn(&[&str]) -> String,
) -> Vec<String> {
    let mut by_owner: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    for id in ids {
        let Owner { team, tier } = topology.map().owner(id);
        by_owner.entry((team, tier)).or_default().push(id.as_str());
    }
    let owned = by_owner.into_iter().map(|((team, tier), ids)| {
        let tiered = replaced(&of(&ids), "tier", &tier);
        replaced(&tiered, "team", &team)
    });
    owned.collect()
}

/// The expression with a label of this value.
fn replaced(expr: &str, label: &str, value: &str) -> String {
    format!(
        "label_replace({expr}, \"{label}\", {}, \"\", \"\")",
        replacement(value)
    )
}
