//! Messages: producer to destination, destination to consumer, and the flow from end to end.
//!
//! In: a [`Tree`], and the producers that links into other traces name. Out: [`Call`]s with a destination at one
//! end, and [`FlowSeen`]s.
//! Left out on purpose: brokers as callers. A destination waits for nobody.

use std::sync::Arc;

use map::{ConnectionType, NodeId};

use super::calls::service;
use super::layers::{Layers, is_linked};
use super::tree::{Index, Tree};
use super::{Assembly, Basis, Call, End, FlowSeen, Producer, Surroundings};
use crate::span::{MessageRole, Span, SpanId, TraceId};

/// Outermost sending spans whose destination is named, by themselves or by a consumer below them.
pub(super) fn sent(tree: &Tree<'_>, layers: &Layers, out: &mut Assembly) {
    for i in tree
        .indices()
        .filter(|&i| tree.spans[i].sends() && !layers.above[i].sends)
    {
        let (span, below) = (&tree.spans[i], &layers.below[i]);
        if below.remote_call {
            continue; // what was sent is a request after all; the call is counted where it arrived
        }
        let named = below.destination.or(below.consumer_destination);
        let Some(destination) = named.and_then(|(_, j)| destination(&tree.spans[j])) else {
            out.unnamed_peers += u64::from(!below.remote);
            continue;
        };
        let seconds = span.seconds();
        out.calls.push(Call {
            span: span.id,
            calling: Some(span.id),
            client: End::service(service(span)),
            server: End::destination(&destination),
            connection: Some(ConnectionType::MessagingSystem),
            operation: span.name.clone(),
            start: span.start,
            client_seconds: Some(seconds),
            server_seconds: None,
            own: Some(seconds),
            queue: None,
            failed: span.failed(),
            weight: span.weight,
            evidence: Basis::ClientOnly,
        });
    }
}

/// Where links lead.
pub(super) struct Links<'a> {
    /// The trace that is assembled.
    pub(super) trace: TraceId,
    /// The others.
    pub(super) around: &'a dyn Surroundings,
}

/// Consuming spans, each with the producers that its parent or its links name.
pub(super) fn received(tree: &Tree<'_>, layers: &Layers, links: &Links<'_>, out: &mut Assembly) {
    for i in tree.indices().filter(|&i| tree.spans[i].consumes()) {
        if !counts(tree, layers, i) {
            continue;
        }
        let joined = producers(tree, i, links);
        if joined.is_empty() {
            out.calls.extend(unjoined(&tree.spans[i]));
        }
        for from in joined {
            join(tree, i, &from, out);
        }
    }
}

/// Which of several nested consuming spans of one visit stands for the message.
///
/// A message that a `receive` span took and a `process` span below it handled is one message, and a nested consuming
/// span of an agent or SDK is the same message again. Of such spans the one whose links name the producers counts.
fn counts(tree: &Tree<'_>, layers: &Layers, i: Index) -> bool {
    let (above, below) = (&layers.above[i], &layers.below[i]);
    match (role(&tree.spans[i]), is_linked(&tree.spans[i])) {
        (Some(MessageRole::Receive), linked) => !below.processes_linked && (linked || !below.processes),
        (_, true) => !above.processes_linked,
        (_, false) => !above.processes && !above.receives_linked && !below.processes_linked,
    }
}

/// A producer that a consumer was joined with.
struct Joined {
    producer: Producer,
    basis: Basis,
    /// The producer's own span leads to the destination, so that only the way from there is missing.
    sent: bool,
}

fn producers(tree: &Tree<'_>, i: Index, links: &Links<'_>) -> Vec<Joined> {
    let by_link = tree.spans[i]
        .links()
        .iter()
        .filter_map(|&(trace, id)| linked(tree, i, trace, id, links));
    let joined: Vec<_> = by_link.collect();
    if !joined.is_empty() {
        return joined;
    }
    // A `process` span below its own `receive` span finds the producer as the parent of that.
    let entry = tree.entry[i];
    let by_entry = || {
        tree.spans[entry]
            .consumes()
            .then(|| tree.remote_parent(entry))
            .flatten()
    };
    let parent = tree.remote_parent(i).or_else(by_entry);
    let by_parent = parent.map(|p| {
        let (span, basis) = (
            &tree.spans[p],
            if tree.bridged[entry] {
                Basis::Bridged
            } else {
                Basis::Paired
            },
        );
        Joined {
            producer: producer(span),
            basis,
            sent: span.sends(),
        }
    });
    by_parent.into_iter().collect()
}

fn linked(tree: &Tree<'_>, i: Index, trace: TraceId, id: SpanId, links: &Links<'_>) -> Option<Joined> {
    let producer = if trace == links.trace {
        producer(&tree.spans[tree.ids.linked(i, id)?])
    } else {
        links.around.producer(trace, id)?
    };
    let sent = producer.destination.is_some();
    Some(Joined {
        producer,
        basis: Basis::Linked,
        sent,
    })
}

fn join(tree: &Tree<'_>, i: Index, joined: &Joined, out: &mut Assembly) {
    let (span, from) = (&tree.spans[i], &joined.producer);
    // RabbitMQ's consumers append the queue to the producer's name; the producer's name is the shared one.
    let named = from.destination.clone().or_else(|| destination(span));
    let queue = span.start.saturating_sub(from.end) as f64 / 1e9;
    let failed = span.failed() || from.failed;
    let consumer = service(span);
    let client = named
        .as_ref()
        .map_or_else(|| End::service(from.service.clone()), End::destination);
    out.calls.push(Call {
        span: span.id,
        calling: None,
        client,
        server: End::service(consumer.clone()),
        connection: Some(ConnectionType::MessagingSystem),
        operation: span.name.clone(),
        start: span.start,
        client_seconds: None,
        server_seconds: Some(span.seconds()),
        own: None,
        queue: Some(queue),
        failed,
        weight: span.weight,
        evidence: joined.basis,
    });
    if let Some(destination) = named.as_ref().filter(|_| !joined.sent) {
        out.calls.push(unsent(span, joined, destination));
    }
    out.flows.push(FlowSeen {
        span: span.id,
        producer: from.service.clone(),
        destination: named.map(NodeId::new),
        consumer,
        queue,
        client_seconds: from.seconds,
        server_seconds: span.seconds(),
        failed,
        weight: span.weight,
    });
}

/// The way to a destination that only the consumer named; without it the destination would have no caller.
fn unsent(span: &Span, joined: &Joined, destination: &Arc<str>) -> Call {
    Call {
        span: span.id,
        calling: None,
        client: End::service(joined.producer.service.clone()),
        server: End::destination(destination),
        connection: Some(ConnectionType::MessagingSystem),
        operation: span.name.clone(),
        start: span.start,
        client_seconds: None,
        server_seconds: None,
        own: None,
        queue: None,
        failed: joined.producer.failed,
        weight: span.weight,
        evidence: joined.basis,
    }
}

/// A consumer whose producer is not known, where at least the destination is.
fn unjoined(span: &Span) -> Option<Call> {
    let destination = destination(span)?;
    Some(Call {
        span: span.id,
        calling: None,
        client: End::destination(&destination),
        server: End::service(service(span)),
        connection: Some(ConnectionType::MessagingSystem),
        operation: span.name.clone(),
        start: span.start,
        client_seconds: None,
        server_seconds: Some(span.seconds()),
        own: None,
        queue: None,
        failed: span.failed(),
        weight: span.weight,
        evidence: Basis::ServerOnly,
    })
}

/// A span as the producing half of a message.
pub(crate) fn producer(span: &Span) -> Producer {
    Producer {
        service: service(span),
        destination: span.sends().then(|| destination(span)).flatten(),
        end: span.end,
        seconds: span.seconds(),
        failed: span.failed(),
    }
}

fn destination(span: &Span) -> Option<Arc<str>> {
    span.message()?.destination.clone()
}

fn role(span: &Span) -> Option<MessageRole> {
    span.message().map(|m| m.role)
}
