//! Nodes that many services of an entry point wait for.
//!
//! In: who waits for whom at last, over however many calls. Out: a finding for each node that so many services behind an entry point
//! wait for, by more than one way.
//! Left out on purpose: the entry point itself, which is one by definition; what has one caller only, since losing it is losing that
//! caller's answer; how many replicas a node has, which no trace tells.

use std::collections::BTreeSet;

use map::{NodeId, NodeKind};

use super::super::finding::{Finding, Kind, Needs, Severity};
use super::super::seen::Seen;
use super::super::shape::Closure;

pub(super) const KIND: Kind = Kind {
    name: "single-point",
    severity: Severity::Warning,
    summary: "many services of an entry point wait for one node",
    meaning: "Where this node stops, all of them stop with it, however healthy each is. It is the first to look at when many things \
              fail at once, and the last to deploy on a Friday.",
    action: "run several replicas apart from each other, give its callers a timeout and an answer without it, and rehearse its loss",
    keys: &["dependents"],
    needs: Needs::Topology,
    find,
};

fn find(seen: &Seen<'_>) -> Vec<Finding> {
    let closure = Closure::of(&seen.waits);
    let of_entry = |entry: &&NodeId| of_entry(seen, &closure, entry);
    seen.entries.iter().flat_map(of_entry).collect()
}

fn of_entry(seen: &Seen<'_>, closure: &Closure<'_>, entry: &NodeId) -> Vec<Finding> {
    let mut behind = closure.below(entry);
    let is_service = |id: &&NodeId| seen.map.kind(id) == NodeKind::Service;
    let points: Vec<&NodeId> = behind.iter().copied().filter(|id| *id != entry).collect();
    behind.extend(seen.waits.get_key_value(entry).map(|(entry, _)| *entry));
    let services: BTreeSet<&NodeId> = behind.into_iter().filter(is_service).collect();
    let found = points.into_iter().filter_map(|point| {
        let above = closure.above(point);
        let waiting: Vec<&&NodeId> = services
            .iter()
            .filter(|id| **id != point && above.contains(**id))
            .collect();
        let calls = |id: &&&NodeId| {
            seen.waits
                .get(**id)
                .is_some_and(|callees| callees.contains(point))
        };
        let callers: Vec<&&NodeId> = waiting.iter().copied().filter(calls).collect();
        if waiting.len() < seen.settings.dependents || callers.len() < 2 {
            return None;
        }
        let message = format!(
            "{} of the {} services of the entry point `{entry}` wait for `{point}`",
            waiting.len(),
            services.len()
        );
        let finding = Finding::new(&KIND, vec![point.to_string(), entry.to_string()], message)
            .count("waiting_services", waiting.len() as f64)
            .names("callers", callers);
        Some(match seen.own_failures(point) {
            Some(share) => finding.measure("failed_by_itself_share", share),
            None => finding,
        })
    });
    found.collect()
}
