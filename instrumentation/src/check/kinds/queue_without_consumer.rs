//! Queues and topics that nobody reads from.
//!
//! In: destinations, their edges and flows. Out: a finding for each that is sent to and not read from.
//! Left out on purpose: how full the queue is; that is the broker's to tell.

use map::{NodeId, NodeKind};

use super::super::finding::{Finding, Kind, Needs, Severity};
use super::super::seen::Seen;

pub(super) const KIND: Kind = Kind {
    name: "queue-without-consumer",
    severity: Severity::Warning,
    summary: "messages are sent to a queue that nobody is seen to read from",
    meaning: "Either the messages pile up until the broker is full, and with it every other queue; or the consumer runs without \
              instrumentation, and what goes wrong behind the queue has no name.",
    action: "instrument the consumer or put an agent before its broker; where there is none, stop sending or let the broker drop",
    keys: &[],
    needs: Needs::Topology,
    find,
};

fn find(seen: &Seen<'_>) -> Vec<Finding> {
    let queues = seen
        .map
        .nodes
        .iter()
        .filter(|(_, node)| node.kind == NodeKind::Destination);
    queues.filter_map(|(id, _)| unread(seen, id)).collect()
}

fn unread(seen: &Seen<'_>, queue: &NodeId) -> Option<Finding> {
    let is_read = seen.map.callees(queue).next().is_some()
        || seen
            .map
            .flows
            .keys()
            .any(|flow| flow.destination.as_ref() == Some(queue));
    let mut senders = seen.map.callers(queue).peekable();
    if is_read || senders.peek().is_none() {
        return None;
    }
    let senders: Vec<_> = senders.collect();
    let sent: f64 = senders.iter().map(|(_, edge)| edge.stats.requests).sum();
    let example = senders.iter().find_map(|(_, edge)| edge.examples.last().cloned());
    let message = format!("nobody is seen to read from `{queue}`, and messages are sent to it");
    let finding = Finding::new(&KIND, vec![queue.to_string()], message)
        .names("senders", senders.iter().map(|(key, _)| &key.client))
        .count("messages", sent);
    Some(finding.traces(example.as_slice()))
}
