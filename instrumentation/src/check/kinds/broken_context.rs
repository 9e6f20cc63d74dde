//! Hops on which a request loses its trace.
//!
//! In: calls whose caller names a service that reports, without a span of it in the trace; and declared calls between two services
//! that report, of which there is no trace at all. Out: a finding for each hop, with what is known of the context.
//! The callee's spans say whether a context came: one whose parent never came was passed on or sampled out, none at all was not sent,
//! was taken off on the way, or is of a format that the callee does not read. Which format the caller sent, no span tells.
//! Left out on purpose: callees that report nothing, where there is nothing to join.

use map::NodeId;

use super::super::contract::pairs;
use super::super::finding::{Finding, Kind, Needs, Severity, percent};
use super::super::seen::Seen;

pub(super) const KIND: Kind = Kind {
    name: "broken-context",
    severity: Severity::Error,
    summary: "requests lose their trace between two services that both report",
    meaning: "Behind this hop a slow request has no caller: nobody sees whom it hurts, and the fault is looked for on the wrong side.",
    action: "let both ends speak one format (`OTEL_PROPAGATORS=tracecontext,baggage` at both, `b3multi` beside it for older callees), \
             let proxies between them pass `traceparent`, and wrap the client that is not instrumented; or put agents at both ends",
    keys: &["lost_context", "min_requests"],
    needs: Needs::Requests,
    find,
};

fn find(seen: &Seen<'_>) -> Vec<Finding> {
    let mut found = unjoined(seen);
    found.extend(undrawn(seen));
    found
}

fn unjoined(seen: &Seen<'_>) -> Vec<Finding> {
    let hops = seen.busy().filter_map(|(key, edge)| {
        let evidence = &edge.evidence;
        let arrived = arrived(seen, &key.server);
        if !seen.reports(&key.server) || key.client == key.server || arrived.nowhere == 0 {
            return None;
        }
        let joined = evidence.paired + evidence.bridged + evidence.linked;
        let lost = evidence.client_only.min(arrived.nowhere);
        let share = lost as f64 / (joined + evidence.client_only).max(1) as f64;
        if share < seen.settings.lost_context || lost < MIN_LOST {
            return None;
        }
        let message = format!(
            "{} of what `{}` asks `{}` joins no span of it, and {} requests of `{}` have no caller: {}",
            percent(share),
            key.client,
            key.server,
            arrived.nowhere,
            key.server,
            arrived.format()
        );
        let finding = Finding::new(&KIND, vec![seen.map.edge_id(key)], message)
            .count("joined", joined as f64)
            .count("calls_without_callee", evidence.client_only as f64);
        Some(arrived.told(finding).traces(&edge.examples))
    });
    hops.collect()
}

/// With fewer nothing is said: a span may get lost.
const MIN_LOST: u64 = 5;

/// Declared, and not on the map although both ends would tell.
fn undrawn(seen: &Seen<'_>) -> Vec<Finding> {
    let Some(contract) = seen.contract else {
        return Vec::new();
    };
    let found = pairs(seen.map);
    let silent = contract
        .edges
        .keys()
        .filter(|key| !found.contains(&(&key.client, &key.server)));
    let silent = silent.filter(|key| seen.reports(&key.client) && seen.reports(&key.server));
    silent
        .map(|key| {
            let arrived = arrived(seen, &key.server);
            let requests = |id| seen.node(id).map_or(0.0, |node| node.stats.requests);
            let message = format!(
                "`{}` is declared to call `{}`, both report, and no trace has the call: its context is lost, or it does not happen",
                key.client, key.server
            );
            let finding = Finding::new(&KIND, vec![contract.edge_id(key)], message)
                .severity(Severity::Warning)
                .count("caller_requests", requests(&key.client))
                .count("callee_requests", requests(&key.server));
            arrived.told(finding)
        })
        .collect()
}

/// Requests of a node that no caller reported.
struct Arrived {
    /// All of them, those from outside among them.
    nowhere: u64,
    /// From a workload, without a context.
    without_context: u64,
    /// With a context whose parent never came.
    without_parent: u64,
}

fn arrived(seen: &Seen<'_>, server: &NodeId) -> Arrived {
    let count = |client| {
        let edges = seen.edges_between(client, server);
        edges.fold((0, 0), |sum, edge| {
            (
                sum.0 + edge.evidence.server_only,
                sum.1 + edge.stats.without_context,
            )
        })
    };
    let (unknown, without_context) = count(NodeId::UNKNOWN);
    Arrived {
        nowhere: unknown + count(NodeId::USER).0,
        without_context,
        without_parent: unknown.saturating_sub(without_context),
    }
}

impl Arrived {
    fn format(&self) -> &'static str {
        match (self.without_parent, self.without_context) {
            (0, _) => "no context that it reads came with them",
            (_, 0) => "a context came, and the span that it names did not",
            _ => "with some no context came that it reads, with others one whose span did not come",
        }
    }

    fn told(&self, finding: Finding) -> Finding {
        finding
            .count("callee_requests_without_caller", self.nowhere as f64)
            .count("without_context_from_a_workload", self.without_context as f64)
            .count("without_parent", self.without_parent as f64)
    }
}
