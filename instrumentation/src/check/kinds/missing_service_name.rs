//! Spans that are nobody's.
//!
//! In: spans without `service.name`, and edges whose halves met across such spans. Out: one finding for all of them.
//! Left out on purpose: who sent them: without a name there is no node that they could stand at.

use super::super::finding::{Finding, Kind, Needs, Severity};
use super::super::seen::Seen;

pub(super) const KIND: Kind = Kind {
    name: "missing-service-name",
    severity: Severity::Error,
    summary: "spans come without `service.name`",
    meaning: "A workload that is running is on no map, in no alert and on no dashboard. Its time is charged to its neighbours.",
    action: "set `OTEL_SERVICE_NAME` where these spans come from; an agent's `service` sets it for what passes through",
    keys: &[],
    needs: Needs::Requests,
    find,
};

fn find(seen: &Seen<'_>) -> Vec<Finding> {
    let spans = seen.map.nameless_spans;
    if spans == 0 {
        return Vec::new();
    }
    let across = seen
        .map
        .edges
        .iter()
        .filter(|(_, edge)| edge.evidence.bridged > 0);
    let traces = across.clone().next().map_or(&[][..], |(_, edge)| &edge.examples);
    let message = format!("{spans} spans came without `service.name`");
    let finding = Finding::new(&KIND, vec!["spans".to_owned()], message)
        .count("spans", spans as f64)
        .names("between", across.map(|(key, _)| seen.map.edge_id(key)))
        .traces(traces);
    vec![finding]
}
