//! A service that calls many others.
//!
//! In: edges over which somebody waits. Out: a finding for each service with more callees than the limit.
//! Left out on purpose: how many of them one request calls; see `chatty` and `n-plus-one` for calls of one callee.

use map::NodeKind;

use super::super::finding::{Finding, Kind, Needs, Severity};
use super::super::seen::Seen;

pub(super) const KIND: Kind = Kind {
    name: "fan-out",
    severity: Severity::Warning,
    summary: "a service depends on many others",
    meaning: "It is as slow as the slowest of them and fails when any does: with twenty callees that are each slow once in a hundred \
              requests, every fifth of its requests is slow.",
    action: "call in parallel and answer without what is not essential; move a group of callees behind a service that owns the question",
    keys: &["callees"],
    needs: Needs::Topology,
    find,
};

fn find(seen: &Seen<'_>) -> Vec<Finding> {
    let wide = seen.waits.iter().filter(|(id, callees)| {
        seen.map.kind(id) == NodeKind::Service && callees.len() > seen.settings.callees
    });
    wide.map(|(id, callees)| {
        let message = format!("`{id}` calls {} others", callees.len());
        let slow = 1.0 - 0.99_f64.powi(callees.len() as i32);
        Finding::new(&KIND, vec![id.to_string()], message)
            .names("callees", callees)
            .measure("slow_share_if_each_is_slow_once_in_100", slow)
    })
    .collect()
}
