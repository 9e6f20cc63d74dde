//! The critical path of a trace: the chain of waiting that made its root as long as it was.
//!
//! In: a [`Tree`] with its visits and calls. Out: [`Visit::critical`](super::Visit::critical) and
//! [`Call::critical`](super::Call::critical); every nanosecond of the root is charged once.
//! Source: Zhang et al., "CRISP: Critical Path Analysis of Large-Scale Microservice Architectures" (USENIX ATC 2022),
//! which Jaeger's interface follows. From the end of the root the path goes back through the child that ended last
//! before the current point, continues where that child began, and is the span's own where there is none.
//! The rules where clocks and instrumentation differ:
//!
//! - The root is the span without parent that names none, of these the one that began first and then the longest;
//!   where all name one that did not come, the same choice among those.
//! - A child of another service is clipped to its parent, since their clocks differ. A child of the same service that
//!   ends after its parent runs on alone: nobody waits for it.
//! - Nobody waits for consumers. A sending span is waited for, as own time has it.
//! - A span's share goes to its visit; at or below a calling span to the first of that span's calls. Where neither
//!   exists, to whoever waits for it: the call that arrived at its visit, then the visit above, up to the root.
//!
//! Left out on purpose: the other roots of the trace, and links.

use std::cmp::Reverse;

use super::Draft;
use super::layers::CONSUMES;
use super::tree::{Index, NONE, ORPHAN, Tree};

/// Room for the pieces of the path that are still to be walked.
#[derive(Debug, Default)]
pub(super) struct Room {
    pieces: Vec<Piece>,
    children: Vec<(u64, u64, Index)>,
}

/// A span on the path, from when to when.
#[derive(Clone, Copy, Debug)]
struct Piece {
    span: Index,
    from: u64,
    to: u64,
}

/// Charges the seconds of the critical path to visits and calls.
pub(super) fn find(tree: &mut Tree<'_>, room: &mut Room, out: &mut Draft) {
    let Some(root) = root(tree) else { return };
    place_calls(tree, out);
    let Room { pieces, children } = room;
    pieces.clear();
    let span = tree.span(root);
    pieces.push(Piece {
        span: root,
        from: span.start,
        to: span.end,
    });
    while let Some(piece) = pieces.pop() {
        let own = walk_back(tree, piece, pieces, children);
        if own > 0 {
            charge(tree, piece.span, own, out);
        }
    }
}

fn root(tree: &Tree<'_>) -> Option<Index> {
    let roots = tree
        .top_down
        .iter()
        .copied()
        .take_while(|&i| tree.seat(i).parent == NONE);
    roots.min_by_key(|&i| {
        let span = tree.span(i);
        (
            tree.seat(i).facts.any(ORPHAN),
            span.start,
            Reverse(span.end),
            span.id,
            span.kind,
            span.operation,
        )
    })
}

/// Notes at spans which calls go out from them and which arrived.
fn place_calls(tree: &mut Tree<'_>, out: &Draft) {
    for (at, origin) in (0..).zip(&out.origins) {
        if let Some(calling) = tree.seats.get_mut(origin.calling as usize) {
            calling.call_at = calling.call_at.min(at);
        }
        if let Some(callee) = tree.seats.get_mut(origin.callee as usize) {
            callee.arrived = at;
        }
    }
}

/// Nanoseconds of a piece that are the span's own; its children on the path become pieces.
fn walk_back(
    tree: &Tree<'_>,
    piece: Piece,
    pieces: &mut Vec<Piece>,
    children: &mut Vec<(u64, u64, Index)>,
) -> u64 {
    let Piece { span, from, to } = piece;
    let (service, end) = (tree.seat(span).service, tree.span(span).end);
    children.clear();
    for child in tree.children(span) {
        let (seat, it) = (tree.seat(child), tree.span(child));
        let remote = seat.service != service;
        if remote && seat.facts.any(CONSUMES) || !remote && it.end > end {
            continue;
        }
        let (start, end) = (it.start.max(from), it.end.min(to));
        if start < end {
            children.push((end, start, child));
        }
    }
    if children.len() > 1 {
        children.sort_unstable_by_key(|&(end, start, child)| (Reverse(end), start, child));
    }
    let (mut own, mut at) = (0, to);
    for &(end, start, child) in children.iter() {
        if end <= at {
            own += at - end;
            at = start;
            pieces.push(Piece {
                span: child,
                from: start,
                to: end,
            });
        }
    }
    own + at.saturating_sub(from)
}

fn charge(tree: &Tree<'_>, span: Index, nanos: u64, out: &mut Draft) {
    let seconds = nanos as f64 / 1e9;
    let mut at = span;
    loop {
        let seat = tree.seat(at);
        let calling = tree
            .seats
            .get(seat.outermost_call as usize)
            .map_or(NONE, |seat| seat.call_at);
        for call in [calling, seat.call_at] {
            if let Some(call) = out.calls.get_mut(call as usize) {
                call.critical += seconds;
                return;
            }
        }
        if let Some(visit) = out.visits.get_mut(tree.seat(seat.visit).visit_at as usize) {
            visit.critical += seconds;
            return;
        }
        if let Some(call) = out.calls.get_mut(tree.seat(seat.entry).arrived as usize) {
            call.critical += seconds;
            return;
        }
        at = tree.seat(seat.entry).parent;
        if at == NONE {
            return;
        }
    }
}
