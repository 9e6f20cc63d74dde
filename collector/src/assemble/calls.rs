//! Calls between services, to virtual nodes and from outside.
//!
//! In: a [`Tree`] with its layers. Out: [`Call`]s.
//! Left out on purpose: brokers; a consumer's work is nobody's call (see `messages`).

use map::ConnectionType;
use otlp::Kind;

use super::layers::{BELOW_CALL, CLIENT, CONSUMES, COUNTED, MESSAGE, REMOTE, SERVES, found};
use super::tree::{BRIDGED, Index, NONE, ORPHAN, Tree};
use super::{Basis, Call, Draft, Origin, Surroundings, UnnamedPeer};
use crate::names::{Node, Version};
use crate::span::{Hint, Span};

/// Clocks that differ by less are as good as one, nanoseconds.
const SKEW: u64 = 1_000_000;

/// All calls that are no messages.
pub(super) fn find(tree: &Tree<'_>, around: &dyn Surroundings, out: &mut Draft) {
    for i in tree.indices() {
        let seat = tree.seat(i);
        if !seat.facts.any(CONSUMES) {
            if let Some(caller) = tree.remote_parent(i) {
                paired(tree, caller, i, out);
            } else if seat.parent == NONE && serves(tree, i) {
                from_outside(tree, i, around, out);
            }
        }
        if seat.facts.any(CLIENT) && !seat.facts.any(MESSAGE | BELOW_CALL | REMOTE) {
            to_virtual_node(tree, i, out);
        }
    }
}

/// True where somebody called the span. One that consumes and says nothing of its message tells it by a hint alone.
fn serves(tree: &Tree<'_>, i: Index) -> bool {
    let span = tree.span(i);
    span.kind == Kind::Server || tree.kindless || span.kind == Kind::Consumer && hint(span).is_some()
}

fn hint(span: &Span) -> Option<Hint> {
    span.extra.as_deref()?.hint
}

/// Parent and child of different services, whatever their kinds.
fn paired(tree: &Tree<'_>, caller: Index, callee: Index, out: &mut Draft) {
    let (server, seat) = (tree.span(callee), tree.seat(callee));
    let calling = calling_span(tree, caller);
    let client_seconds = calling.map(|c| tree.span(c).seconds());
    let evidence = if seat.facts.any(BRIDGED) {
        Basis::Bridged
    } else {
        Basis::Paired
    };
    let origin = Origin {
        calling: calling.unwrap_or(NONE),
        caller,
        visit: tree.seat(caller).visit,
        callee,
    };
    let call = Call {
        calling: calling.map(|c| tree.span(c).id),
        visit: visit_of(tree, caller),
        client_seconds,
        own: client_seconds.map(|c| (c - server.seconds()).max(0.0)),
        failed: server.failed() || calling.is_some_and(|c| tree.span(c).failed()),
        own_failed: false,
        skew: calling.map_or(0.0, |c| skew(tree.span(c), server)),
        counted_elsewhere: counted(tree, caller) || hint(server).is_some_and(|hint| hint.counted),
        ..arrived(server, node(tree, caller), node(tree, callee), evidence)
    };
    out.call(call, origin);
}

/// Seconds by which the callee's clock is at least ahead; 0 where the two spans may lie as they do by one clock.
///
/// Only where the callee took no longer than its caller: else the caller gave up, or did not wait. What ends late may have been
/// meant to, unless CLIENT and SERVER say that one waits for the other.
fn skew(calling: &Span, server: &Span) -> f32 {
    let took = |span: &Span| span.end - span.start;
    if took(server) > took(calling) {
        return 0.0;
    }
    let (early, late) = (
        calling.start.saturating_sub(server.start),
        server.end.saturating_sub(calling.end),
    );
    let waits = calling.kind == Kind::Client && server.kind == Kind::Server && !calling.failed();
    match (early >= SKEW, late >= SKEW && waits) {
        (true, _) => -(early as f32 / 1e9),
        (false, true) => late as f32 / 1e9,
        (false, false) => 0.0,
    }
}

/// Whether an agent counts the call that a CLIENT span is of.
fn counted(tree: &Tree<'_>, i: Index) -> bool {
    let facts = tree.seat(i).facts;
    facts.any(CLIENT) && facts.any(COUNTED)
}

/// A CLIENT span under which nothing of another service came: the far side reports no spans.
fn to_virtual_node(tree: &Tree<'_>, i: Index, out: &mut Draft) {
    let named = found(tree.seat(i).peer);
    let Some(peer) = named.and_then(|named| tree.span(named).peer) else {
        out.unnamed.push(UnnamedPeer::of(tree.span(i), node(tree, i)));
        return;
    };
    out.call(left(tree, i, peer), leaving(tree, i));
}

/// A request whose caller did not report: who it says called; else `user` where nothing speaks for a workload, else
/// `unknown`.
fn from_outside(tree: &Tree<'_>, i: Index, around: &dyn Surroundings, out: &mut Draft) {
    let span = tree.span(i);
    if let Some(hint) = hint(span) {
        let by_broker = span.kind == Kind::Consumer;
        let call = Call {
            connection: by_broker.then_some(ConnectionType::MessagingSystem),
            counted_elsewhere: hint.counted,
            ..arrived(span, hint.caller, node(tree, i), Basis::Hinted)
        };
        out.call(call, Origin::NOWHERE);
        return;
    }
    let caller = span.extra.as_deref().and_then(|extra| extra.caller);
    let unknown = tree.seat(i).facts.any(ORPHAN) || caller.is_some_and(|address| around.is_workload(address));
    let client = if unknown { Node::unknown() } else { Node::user() };
    let call = Call {
        without_context: unknown && span.parent_id == 0,
        ..arrived(span, client, node(tree, i), Basis::ServerOnly)
    };
    out.call(call, Origin::NOWHERE);
}

/// A call of which the callee's span tells.
pub(super) fn arrived(span: &Span, client: Node, server: Node, evidence: Basis) -> Call {
    Call {
        span: span.id,
        calling: None,
        visit: 0,
        client,
        server,
        connection: None,
        operation: span.operation,
        start: span.start,
        client_seconds: None,
        server_seconds: Some(span.seconds()),
        own: None,
        queue: None,
        critical: 0.0,
        weight: span.weight,
        messages: 1,
        failed: span.failed(),
        own_failed: false,
        passed_on: None,
        skew: 0.0,
        without_context: false,
        retry: false,
        counted_elsewhere: false,
        evidence,
    }
}

/// A call of which only the calling span tells.
pub(super) fn left(tree: &Tree<'_>, i: Index, server: Node) -> Call {
    let span = tree.span(i);
    let seconds = Some(span.seconds());
    Call {
        calling: Some(span.id),
        visit: visit_of(tree, i),
        client_seconds: seconds,
        server_seconds: None,
        own: seconds,
        counted_elsewhere: counted(tree, i),
        operation: span.operation.with_version(Version::NONE),
        ..arrived(span, node(tree, i), server, Basis::ClientOnly)
    }
}

/// Where such a call goes out.
pub(super) fn leaving(tree: &Tree<'_>, i: Index) -> Origin {
    Origin {
        calling: i,
        caller: i,
        visit: tree.seat(i).visit,
        callee: NONE,
    }
}

/// The node of a span in `tree.indices()`.
pub(super) fn node(tree: &Tree<'_>, i: Index) -> Node {
    tree.seat(i).service.unwrap_or_else(Node::unknown)
}

/// The entry span of the visit that a span belongs to, where that is a visit.
fn visit_of(tree: &Tree<'_>, i: Index) -> u64 {
    let begins = tree.seat(i).visit;
    if tree.seat(begins).visit_at == NONE {
        0
    } else {
        tree.span(begins).id
    }
}

/// The outermost CLIENT or PRODUCER span around `caller` in its visit, else `caller` itself if it is no serving span.
fn calling_span(tree: &Tree<'_>, caller: Index) -> Option<Index> {
    let seat = tree.seat(caller);
    if seat.outermost_call != NONE {
        return Some(seat.outermost_call);
    }
    (!seat.facts.any(SERVES) && seat.entry != caller).then_some(caller)
}
