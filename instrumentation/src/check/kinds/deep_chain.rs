//! Chains of calls that wait for each other.
//!
//! In: how deep chains were seen below each entry point, with a trace of the deepest; where nothing was seen, the shape of the map.
//! Out: a finding for each entry point whose deepest chain is longer than the limit.
//! A way that was seen and the longest way on the map are not the same: the second may never be gone by one request. Each finding
//! says which it is, and only the first is a warning.
//! Left out on purpose: consumers of queues, for which nobody waits; databases, which are a link but call nobody.

use std::collections::BTreeSet;

use map::{NodeId, NodeKind};

use super::super::finding::{Finding, Kind, Needs, Severity, percent};
use super::super::seen::Seen;
use super::super::shape::{Waits, longest_from};

pub(super) const KIND: Kind = Kind {
    name: "deep-chain",
    severity: Severity::Warning,
    summary: "a request waits for a long chain of calls",
    meaning: "Each link of the chain adds its latency and takes its share of the availability: seven services that answer 99.9 % are \
              together down for an hour and more in a week. A page about the entry point may have its cause seven teams away.",
    action: "answer from data that is already there (a cache, a copy kept by events), join services that only pass requests on, or \
             move the end of the chain behind a queue",
    keys: &["chain"],
    needs: Needs::Topology,
    find,
};

fn find(seen: &Seen<'_>) -> Vec<Finding> {
    seen.entries
        .iter()
        .filter_map(|entry| chain(seen, entry))
        .collect()
}

fn chain(seen: &Seen<'_>, entry: &NodeId) -> Option<Finding> {
    let limit = seen.settings.chain;
    let stats = seen.node(entry).map(|node| &node.stats);
    let Some((stats, calls)) = stats.and_then(|stats| Some((stats, stats.deepest()?))) else {
        return by_shape(seen, entry);
    };
    let services = calls + 1;
    if services <= limit {
        return None;
    }
    let all: u64 = stats.chains.iter().sum();
    let deep: u64 = stats.chains.iter().skip(limit).sum();
    let message = format!(
        "requests to `{entry}` were seen to pass {services} services that wait for each other, {} of them more than {limit}",
        percent(deep as f64 / all as f64)
    );
    let finding = Finding::new(&KIND, vec![entry.to_string()], message)
        .count("services", services as f64)
        .count("requests", all as f64)
        .count("deep_requests", deep as f64);
    let finding = promised(finding, services);
    let Some(chain) = &stats.longest_chain else {
        return Some(finding);
    };
    let failures: Option<Vec<f64>> = chain.nodes.iter().map(|id| seen.own_failures(id)).collect();
    let finding = match failures {
        Some(shares) => finding.measure(
            "availability_share",
            shares.iter().map(|share| 1.0 - share).product(),
        ),
        None => finding,
    };
    let finding = finding.names("seen_way", &chain.nodes);
    Some(finding.traces(std::slice::from_ref(&chain.trace)))
}

fn by_shape(seen: &Seen<'_>, entry: &NodeId) -> Option<Finding> {
    let is_service = |id: &NodeId| seen.map.kind(id) == NodeKind::Service;
    let services = seen
        .waits
        .iter()
        .filter(|(id, _)| is_service(id))
        .map(|(id, callees)| {
            let callees: BTreeSet<&NodeId> = callees.iter().copied().filter(|id| is_service(id)).collect();
            (*id, callees)
        });
    let services: Waits<'_> = services.collect();
    let (entry, _) = services.get_key_value(entry)?;
    let way = longest_from(&services, entry);
    if way.len() <= seen.settings.chain {
        return None;
    }
    let message = format!(
        "the longest way from `{entry}` on the map passes {} services; no statistics say whether any request goes it",
        way.len()
    );
    let finding = Finding::new(&KIND, vec![entry.to_string()], message).severity(Severity::Info);
    let finding = promised(finding.count("services", way.len() as f64), way.len());
    Some(finding.names("possible_way", way))
}

/// What is left of three nines.
fn promised(finding: Finding, nodes: usize) -> Finding {
    finding.measure("share_if_each_answers_99.9_percent", 0.999_f64.powi(nodes as i32))
}
