//! Calls between services, to virtual nodes and from outside; own time of visits.
//!
//! In: a [`Tree`]. Out: [`Call`]s and [`Visit`]s.
//! Left out on purpose: brokers; a consumer's work is nobody's call (see `messages`).

use map::NodeId;
use otlp::Kind;

use super::layers::{Layers, calls, polls};
use super::tree::{Index, Tree};
use super::{Assembly, Basis, Call, End, Surroundings, Visit};
use crate::span::Span;

/// Parent and child of different services, whatever their kinds.
pub(super) fn between_services(tree: &Tree<'_>, layers: &Layers, out: &mut Assembly) {
    for callee in tree.indices() {
        let Some(caller) = tree.remote_parent(callee) else {
            continue;
        };
        if tree.spans[callee].consumes() {
            continue; // a consumer is joined by its message
        }
        out.calls.push(paired(tree, layers, caller, callee));
    }
}

fn paired(tree: &Tree<'_>, layers: &Layers, caller: Index, callee: Index) -> Call {
    let server = &tree.spans[callee];
    let calling = calling_span(tree, layers, caller);
    let client_seconds = calling.map(|c| tree.spans[c].seconds());
    let failed = server.failed() || calling.is_some_and(|c| tree.spans[c].failed());
    Call {
        span: server.id,
        calling: calling.map(|c| tree.spans[c].id),
        client: End::service(service(&tree.spans[caller])),
        server: End::service(service(server)),
        connection: None,
        operation: server.name.clone(),
        start: server.start,
        client_seconds,
        server_seconds: Some(server.seconds()),
        own: client_seconds.map(|c| (c - server.seconds()).max(0.0)),
        queue: None,
        failed,
        weight: server.weight,
        evidence: if tree.bridged[callee] {
            Basis::Bridged
        } else {
            Basis::Paired
        },
    }
}

/// CLIENT spans under which nothing of another service came: the far side reports no spans.
pub(super) fn to_virtual_nodes(tree: &Tree<'_>, layers: &Layers, out: &mut Assembly) {
    for i in tree.indices() {
        let (span, below) = (&tree.spans[i], &layers.below[i]);
        if span.kind != Kind::Client || span.message().is_some() || layers.above[i].calls || below.remote {
            continue;
        }
        let Some(peer) = below.peer.and_then(|(_, named)| tree.spans[named].peer()) else {
            out.unnamed_peers += 1;
            continue;
        };
        let seconds = span.seconds();
        out.calls.push(Call {
            span: span.id,
            calling: Some(span.id),
            client: End::service(service(span)),
            server: End {
                id: peer.id.clone(),
                kind: peer.kind,
                address: peer.address.clone(),
            },
            connection: None,
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

/// Requests whose caller did not report: `user` where nothing speaks for a workload, else `unknown`.
pub(super) fn from_outside(tree: &Tree<'_>, around: &dyn Surroundings, out: &mut Assembly) {
    for i in tree.indices().filter(|&i| tree.parent[i].is_none()) {
        let span = &tree.spans[i];
        let serves = span.kind == Kind::Server || tree.kindless;
        if !serves || span.consumes() {
            continue;
        }
        let caller = span
            .extra
            .as_deref()
            .and_then(|extra| extra.caller_address.as_deref());
        let unknown = tree.orphan[i] || caller.is_some_and(|address| around.is_workload(address));
        let client = if unknown {
            End {
                id: NodeId::unknown(),
                kind: map::NodeKind::Unknown,
                address: None,
            }
        } else {
            End {
                id: NodeId::user(),
                kind: map::NodeKind::User,
                address: None,
            }
        };
        out.calls.push(Call {
            span: span.id,
            calling: None,
            client,
            server: End::service(service(span)),
            connection: None,
            operation: span.name.clone(),
            start: span.start,
            client_seconds: None,
            server_seconds: Some(span.seconds()),
            own: None,
            queue: None,
            failed: span.failed(),
            weight: span.weight,
            evidence: Basis::ServerOnly,
        });
    }
}

/// One visit per entry span that serves something. A visit that begins with a call of its own or with polling serves
/// nobody, and an orphaned INTERNAL span is a piece of a visit whose entry did not come.
pub(super) fn visits(tree: &Tree<'_>, layers: &Layers, out: &mut Assembly) {
    let mut busy: Vec<Vec<(u64, u64)>> = vec![Vec::new(); tree.spans.len()];
    for i in tree.indices() {
        let calls = outgoing(tree, i, layers.visit[i] != i);
        if !calls.is_empty() {
            busy[layers.visit[i]].extend(calls);
        }
    }
    for i in tree.indices().filter(|&i| layers.visit[i] == i) {
        let span = &tree.spans[i];
        let piece = tree.orphan[i] && span.kind == Kind::Internal;
        if calls(span) || polls(span) || piece {
            continue;
        }
        let waited = union_within(&mut busy[i], span.start, span.end);
        out.visits.push(Visit {
            span: span.id,
            service: service(span),
            operation: span.name.clone(),
            start: span.start,
            total: span.seconds(),
            own: (span.end - span.start - waited) as f64 / 1e9,
            failed: span.failed(),
            weight: span.weight,
        });
    }
}

/// The times in which span `i` waits for somebody else.
///
/// A CLIENT or PRODUCER span waits from its start to its end, and so does any inner span with a child in another
/// service. A serving span that has such a child itself (a proxy that reports no CLIENT span) waits only as long
/// as the child takes, or its visit would have no own time at all.
fn outgoing(tree: &Tree<'_>, i: Index, inner: bool) -> Vec<(u64, u64)> {
    let span = &tree.spans[i];
    if inner && matches!(span.kind, Kind::Client | Kind::Producer) {
        return vec![(span.start, span.end)];
    }
    let called = |&&j: &&Index| !tree.same_service(i, j) && !tree.spans[j].consumes();
    let remote = tree.children[i].iter().filter(called);
    if inner && !matches!(span.kind, Kind::Server | Kind::Consumer) {
        return remote.take(1).map(|_| (span.start, span.end)).collect();
    }
    remote
        .map(|&j| (tree.spans[j].start, tree.spans[j].end))
        .collect()
}

/// Nanoseconds of `[from, to]` that the intervals cover together. Sorts them.
fn union_within(intervals: &mut [(u64, u64)], from: u64, to: u64) -> u64 {
    intervals.sort_unstable();
    let (mut covered, mut at) = (0, from);
    for &(start, end) in intervals.iter() {
        let (start, end) = (start.max(at), end.min(to));
        if end > start {
            covered += end - start;
            at = end;
        }
    }
    covered
}

/// The outermost CLIENT or PRODUCER span around `caller` in its visit, else `caller` itself if it is no serving span.
fn calling_span(tree: &Tree<'_>, layers: &Layers, caller: Index) -> Option<Index> {
    let serves = matches!(tree.spans[caller].kind, Kind::Server | Kind::Consumer);
    let is_entry = tree.entry[caller] == caller;
    layers.outermost_call[caller].or_else(|| (!serves && !is_entry).then_some(caller))
}

/// The service of a span in `tree.indices()`.
pub(super) fn service(span: &Span) -> NodeId {
    span.service.clone().unwrap_or_else(NodeId::unknown)
}
