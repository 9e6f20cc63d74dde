//! Messages: producer to destination, destination to consumer, and the flow from end to end.
//!
//! In: a [`Tree`], and the producers that links into other traces name. Out: [`Call`]s with a destination at one
//! end, and [`FlowSeen`]s. A span of a batch stands for all its messages: as many as `messaging.batch.message_count` says, with a
//! link as many of them as the link says in the same words, else one.
//! Left out on purpose: brokers as callers. A destination waits for nobody.

use map::ConnectionType;

use super::calls::{arrived, leaving, left, node};
use super::layers::{
    ABOVE_LINKED_PROCESS, ABOVE_PROCESS, BELOW_LINKED_PROCESS, BELOW_LINKED_RECEIVE, BELOW_PROCESS,
    BELOW_SENDING, CONSUMES, LINKED, RECEIVES, REMOTE, REMOTE_CALL, SENDS, found,
};
use super::tree::{BRIDGED, Index, NONE, Tree};
use super::{Basis, Call, Draft, FlowSeen, Origin, Producer, Surroundings, UnnamedPeer};
use crate::names::{Node, Version};
use crate::span::{Hint, Span, SpanId, TraceId};

const BROKER: Option<ConnectionType> = Some(ConnectionType::MessagingSystem);

/// Where links lead.
pub(super) struct Links<'a> {
    /// The trace that is assembled.
    pub(super) trace: TraceId,
    /// The others.
    pub(super) around: &'a dyn Surroundings,
}

/// All calls that are messages.
pub(super) fn find(tree: &Tree<'_>, links: &Links<'_>, out: &mut Draft) {
    let mut joined = Vec::new();
    for i in tree.indices() {
        let facts = tree.seat(i).facts;
        if facts.any(SENDS) && !facts.any(BELOW_SENDING) {
            sent(tree, i, links.trace, out);
        }
        if facts.any(CONSUMES) && counts(tree, i) {
            producers(tree, i, links, &mut joined);
            let known: u32 = joined
                .iter()
                .map(|from| from.messages)
                .fold(0, u32::saturating_add);
            let rest =
                count(tree.span(i)).map_or(u32::from(joined.is_empty()), |all| all.saturating_sub(known));
            if rest > 0 {
                unjoined(tree, i, (links.trace, joined.is_empty(), rest), out);
            }
            for from in joined.drain(..) {
                join(tree, i, links.trace, &from, out);
            }
        }
    }
}

/// How many messages a span says it is of.
fn count(span: &Span) -> Option<u32> {
    span.message()?.count
}

/// A call that stands for so many messages.
fn times(messages: u32, call: Call) -> Call {
    Call {
        weight: call.weight * messages as f32,
        messages,
        ..call
    }
}

/// How many messages a sending span stands for: all of its batch but those that have spans of their own (`create`), which
/// it links to.
fn sends(tree: &Tree<'_>, i: Index, trace: TraceId) -> u32 {
    let span = tree.span(i);
    let Some(all) = count(span) else { return 1 };
    let created = |((of, id), times): ((TraceId, SpanId), u32)| {
        let to = tree.ids.linked(tree.spans, i, id).filter(|_| of == trace)?;
        tree.seat(to).facts.any(SENDS).then_some(times)
    };
    let created = span.counted_links().filter_map(created);
    all.saturating_sub(created.fold(0, u32::saturating_add))
}

/// An outermost sending span whose destination is named, by itself or by a consumer below it.
fn sent(tree: &Tree<'_>, i: Index, trace: TraceId, out: &mut Draft) {
    let seat = tree.seat(i);
    if seat.facts.any(REMOTE_CALL) {
        return; // what was sent is a request after all; the call is counted where it arrived
    }
    let messages = sends(tree, i, trace);
    if messages == 0 {
        return;
    }
    let named = found(seat.destination).or_else(|| found(seat.consumer_destination));
    let Some(destination) = named.and_then(|j| destination(tree.span(j))) else {
        if !seat.facts.any(REMOTE) {
            out.unnamed.push(UnnamedPeer::of(tree.span(i), node(tree, i)));
        }
        return;
    };
    let call = Call {
        connection: BROKER,
        ..left(tree, i, destination)
    };
    out.call(times(messages, call), leaving(tree, i));
}

/// Which of several nested consuming spans of one visit stands for the message.
///
/// A message that a `receive` span took and a `process` span below it handled is one message, and a nested consuming
/// span of an agent or SDK is the same message again. Of such spans the one whose links name the producers counts.
fn counts(tree: &Tree<'_>, i: Index) -> bool {
    let facts = tree.seat(i).facts;
    let linked = facts.any(LINKED);
    if facts.any(RECEIVES) {
        !facts.any(ABOVE_LINKED_PROCESS) && (linked || !facts.any(ABOVE_PROCESS))
    } else if linked {
        !facts.any(BELOW_LINKED_PROCESS)
    } else {
        !facts.any(BELOW_PROCESS | BELOW_LINKED_RECEIVE | ABOVE_LINKED_PROCESS)
    }
}

/// A producer that a consumer was joined with.
struct Joined {
    producer: Producer,
    /// Its trace and span.
    id: (TraceId, SpanId),
    basis: Basis,
    /// The producer's own span leads to the destination, so that only the way from there is missing.
    sent: bool,
    /// How many of the consumer's messages are the producer's.
    messages: u32,
}

fn producers(tree: &Tree<'_>, i: Index, links: &Links<'_>, joined: &mut Vec<Joined>) {
    let by_link = tree.span(i).counted_links();
    joined.extend(by_link.filter_map(|link| linked(tree, i, link, links)));
    if !joined.is_empty() {
        return;
    }
    // A `process` span below its own `receive` span finds the producer as the parent of that.
    let entry = tree.seat(i).entry;
    let by_entry = || {
        let consumes = tree.seat(entry).facts.any(CONSUMES);
        consumes.then(|| tree.remote_parent(entry)).flatten()
    };
    if let Some(parent) = tree.remote_parent(i).or_else(by_entry) {
        let bridged = tree.seat(entry).facts.any(BRIDGED);
        joined.push(Joined {
            producer: produced(tree, parent),
            id: (links.trace, tree.span(parent).id),
            basis: if bridged { Basis::Bridged } else { Basis::Paired },
            sent: tree.seat(parent).facts.any(SENDS),
            messages: count(tree.span(i)).unwrap_or(1).max(1),
        });
    }
}

fn linked(
    tree: &Tree<'_>,
    i: Index,
    (link, messages): ((TraceId, SpanId), u32),
    links: &Links<'_>,
) -> Option<Joined> {
    let (trace, id) = link;
    let producer = if trace == links.trace {
        produced(tree, tree.ids.linked(tree.spans, i, id)?)
    } else {
        links.around.producer(trace, id)?
    };
    Some(Joined {
        producer,
        id: link,
        basis: Basis::Linked,
        sent: producer.destination.is_some(),
        messages,
    })
}

fn join(tree: &Tree<'_>, i: Index, trace: TraceId, joined: &Joined, out: &mut Draft) {
    let (span, from) = (tree.span(i), &joined.producer);
    // RabbitMQ's consumers append the queue to the producer's name; the producer's name is the shared one.
    let named = from.destination.or_else(|| destination(span));
    let queue = span.start.saturating_sub(from.end) as f64 / 1e9;
    let failed = span.failed() || from.failed;
    let client = named.unwrap_or(from.service);
    let call = Call {
        connection: BROKER,
        queue: Some(queue),
        failed,
        ..arrived(span, client, node(tree, i), joined.basis)
    };
    out.call(times(joined.messages, call), Origin::NOWHERE);
    if let Some(destination) = named.filter(|_| !joined.sent) {
        let call = unsent(span, from.service, destination, joined.basis);
        let failed = from.failed;
        out.call(times(joined.messages, Call { failed, ..call }), Origin::NOWHERE);
    }
    out.flows.push(FlowSeen {
        span: span.id,
        key: key(trace, span.id, joined.id),
        producer: from.service,
        destination: named,
        consumer: node(tree, i),
        queue,
        client_seconds: Some(from.seconds),
        server_seconds: span.seconds(),
        failed,
        weight: span.weight * joined.messages as f32,
    });
}

/// The way to a destination that only the consumer named; without it the destination would have no caller.
fn unsent(span: &Span, client: Node, destination: Node, basis: Basis) -> Call {
    Call {
        connection: BROKER,
        server_seconds: None,
        operation: span.operation.with_version(Version::NONE),
        ..arrived(span, client, destination, basis)
    }
}

/// So many messages of a consumer whose producer is not known, where at least the destination is, or who sent; that is told of
/// all of them or of none.
fn unjoined(tree: &Tree<'_>, i: Index, (trace, all, messages): (TraceId, bool, u32), out: &mut Draft) {
    let (span, seat) = (tree.span(i), tree.seat(i));
    let entry = tree.span(seat.entry);
    let hint_of = |span: &Span| span.extra.as_deref().and_then(|extra| extra.hint);
    let hint = hint_of(span).or_else(|| hint_of(entry));
    match hint.filter(|_| all && tree.seat(seat.entry).parent == NONE) {
        Some(hint) => hinted(tree, i, (trace, messages), hint, out),
        None => {
            if let Some(destination) = destination(span) {
                let call = Call {
                    connection: BROKER,
                    ..arrived(span, destination, node(tree, i), Basis::ServerOnly)
                };
                out.call(times(messages, call), Origin::NOWHERE);
            }
        }
    }
}

/// A consumer whose message says who sent it. What the sender's agent counts is the way to the destination, or where
/// there is none the way to the consumer.
fn hinted(tree: &Tree<'_>, i: Index, (trace, messages): (TraceId, u32), hint: Hint, out: &mut Draft) {
    let (span, consumer) = (tree.span(i), node(tree, i));
    let destination = destination(span);
    let queue = (hint.sent != 0).then(|| span.start.saturating_sub(hint.sent) as f64 / 1e9);
    let call = Call {
        connection: BROKER,
        queue,
        counted_elsewhere: hint.counted && destination.is_none(),
        ..arrived(span, destination.unwrap_or(hint.caller), consumer, Basis::Hinted)
    };
    out.call(times(messages, call), Origin::NOWHERE);
    if let Some(destination) = destination {
        let call = Call {
            counted_elsewhere: hint.counted,
            failed: false,
            own_failed: false,
            ..unsent(span, hint.caller, destination, Basis::Hinted)
        };
        out.call(times(messages, call), Origin::NOWHERE);
    }
    let Some(queue) = queue else { return };
    out.flows.push(FlowSeen {
        span: span.id,
        key: key(trace, span.id, (trace, span.parent_id)),
        producer: hint.caller,
        destination,
        consumer,
        queue,
        client_seconds: None,
        server_seconds: span.seconds(),
        failed: span.failed(),
        weight: span.weight * messages as f32,
    });
}

/// A span as the producing half of a message.
pub(crate) fn producer(span: &Span) -> Producer {
    Producer {
        service: span.service().unwrap_or_else(Node::unknown),
        destination: span.sends().then(|| destination(span)).flatten(),
        end: span.end,
        seconds: span.seconds(),
        failed: span.failed(),
    }
}

fn produced(tree: &Tree<'_>, i: Index) -> Producer {
    producer(tree.span(i))
}

fn destination(span: &Span) -> Option<Node> {
    span.message()?.destination
}

/// FNV-1a over both ends of a flow: no secret is needed where a collision costs its maker one of his own messages.
fn key(trace: TraceId, consumer: SpanId, producer: (TraceId, SpanId)) -> u64 {
    let parts = [
        trace.as_slice(),
        &consumer.to_be_bytes(),
        &producer.0,
        &producer.1.to_be_bytes(),
    ];
    let bytes = parts.into_iter().flatten();
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
