//! Messages: producer to destination, destination to consumer, and the flow from end to end.
//!
//! In: a [`Tree`], and the producers that links into other traces name. Out: [`Call`]s with a destination at one
//! end, and [`FlowSeen`]s.
//! Left out on purpose: brokers as callers. A destination waits for nobody.

use std::sync::Arc;

use map::{ConnectionType, NodeId};

use super::calls::{remote_parent, sends, service, subtree};
use super::tree::{Index, Tree};
use super::{Assembly, Basis, Call, End, FlowSeen, Producer, Surroundings};
use crate::span::{MessageRole, Span};

/// Outermost sending spans whose destination is named, by themselves or by a consumer below them.
pub(super) fn sent(tree: &Tree<'_>, out: &mut Assembly) {
    for i in tree.indices().filter(|&i| sends(&tree.spans[i])) {
        if tree.parent_in_visit(i).is_some_and(|parent| sends(&tree.spans[parent])) {
            continue;
        }
        let span = &tree.spans[i];
        let group = subtree(tree, i);
        let consumers = group.iter().flat_map(|&j| &tree.children[j]).filter(|&&j| tree.spans[j].consumes());
        let called = |&&j: &&Index| !tree.same_service(i, j) && !tree.spans[j].consumes();
        if group.iter().flat_map(|&j| &tree.children[j]).any(|j| called(&j)) {
            continue; // what was sent is a request after all; the call is counted where it arrived
        }
        let named = group.iter().chain(consumers).find_map(|&j| destination(&tree.spans[j]));
        let Some(destination) = named else { continue };
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

/// Consuming spans, each with the producers that its parent or its links name.
pub(super) fn received(tree: &Tree<'_>, around: &dyn Surroundings, out: &mut Assembly) {
    for i in tree.indices().filter(|&i| tree.spans[i].consumes()) {
        if !counts(tree, i) {
            continue;
        }
        let joined = producers(tree, i, around);
        if joined.is_empty() {
            out.calls.extend(unjoined(&tree.spans[i]));
        }
        for (producer, basis) in joined {
            join(tree, i, &producer, basis, out);
        }
    }
}

/// A message that a `receive` span took and a `process` span below it handled is one message; a nested consuming
/// span of an agent or SDK is the same message again.
fn counts(tree: &Tree<'_>, i: Index) -> bool {
    let processes_below =
        || subtree(tree, i).iter().skip(1).any(|&j| role(&tree.spans[j]) == Some(MessageRole::Process));
    match role(&tree.spans[i]) {
        Some(MessageRole::Receive) => !processes_below(),
        _ => !tree.parent_in_visit(i).is_some_and(|p| role(&tree.spans[p]) == Some(MessageRole::Process)),
    }
}

fn producers(tree: &Tree<'_>, i: Index, around: &dyn Surroundings) -> Vec<(Producer, Basis)> {
    let span = &tree.spans[i];
    let by_link = span.links().iter().filter_map(|&(trace, id)| {
        let here = tree.indices().find(|&j| j != i && tree.spans[j].id == id);
        let producer = here.map(|j| producer(&tree.spans[j])).or_else(|| around.producer(trace, id))?;
        Some((producer, Basis::Linked))
    });
    let joined: Vec<_> = by_link.collect();
    if !joined.is_empty() {
        return joined;
    }
    // The nearest ancestor of another service, so that a `process` span below its own `receive` span finds it too.
    let parent = remote_parent(tree, i).or_else(|| remote_parent(tree, tree.entry[i]));
    parent.map(|p| (producer(&tree.spans[p]), Basis::Paired)).into_iter().collect()
}

fn join(tree: &Tree<'_>, i: Index, from: &Producer, basis: Basis, out: &mut Assembly) {
    let span = &tree.spans[i];
    // RabbitMQ's consumers append the queue to the producer's name; the producer's name is the shared one.
    let named = from.destination.clone().or_else(|| destination(span));
    let queue = span.start.saturating_sub(from.end) as f64 / 1e9;
    let failed = span.failed() || from.failed;
    let consumer = service(span);
    let client = named.as_ref().map_or_else(|| End::service(from.service.clone()), End::destination);
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
        evidence: basis,
    });
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
        destination: sends(span).then(|| destination(span)).flatten(),
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
