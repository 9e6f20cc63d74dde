//! Requests that services served, and the time that they spent themselves.
//!
//! In: a [`Tree`] with its layers. Out: [`Visit`]s.
//! A lost CLIENT span leaves its callee without a parent, and the caller's own time too long by all that the callee took. The
//! caller is among the visits that were under way meanwhile and called nobody: all of those are incomplete.
//! Left out on purpose: calls; see `calls` and `messages`.

use otlp::Kind;

use super::layers::{ASKS, CONSUMES, SERVES, calls, polls};
use super::tree::{Index, ORPHAN, Tree};
use super::{Draft, Visit};

/// So many parentless requests of a trace are looked for in other visits. With more of them, every visit is incomplete.
const MAX_ORPHANS: usize = 16;

/// Room for the times in which visits wait for somebody else.
#[derive(Debug, Default)]
pub(super) struct Room {
    busy: Vec<Busy>,
    orphans: Vec<Index>,
}

/// The visit, and from when to when it waits.
type Busy = (Index, u64, u64);

/// One visit per entry span that serves something. A visit that begins with a call of its own or with polling serves
/// nobody, and an orphaned INTERNAL span is a piece of a visit whose entry did not come.
pub(super) fn find(tree: &mut Tree<'_>, room: &mut Room, out: &mut Draft) {
    let Room { busy, orphans } = room;
    busy.clear();
    orphans.clear();
    for i in tree.indices() {
        outgoing(tree, i, busy);
        if tree.span(i).kind == Kind::Server && tree.seat(i).facts.any(ORPHAN) {
            orphans.push(i);
        }
    }
    busy.sort_unstable();
    let mut rest = busy.as_slice();
    for i in 0..tree.spans.len() as u32 {
        let seat = tree.seat(i);
        if seat.service.is_none() || seat.visit != i {
            continue;
        }
        rest = rest
            .get(rest.iter().take_while(|b| b.0 < i).count()..)
            .unwrap_or_default();
        let (span, orphan) = (tree.span(i), seat.facts.any(ORPHAN));
        let chain = u8::from(seat.top == i);
        let piece = orphan && span.kind == Kind::Internal;
        if calls(tree, i) || polls(tree, i) || piece {
            continue;
        }
        let waiting = rest.iter().take_while(|b| b.0 == i);
        let waiting = waiting.map(|&(_, start, end)| (start, end));
        let waited = union_within(waiting.clone(), span.start, span.end);
        let called = |&orphan: &Index| may_have_called(tree, i, orphan, waiting.clone());
        let complete = orphans.len() <= MAX_ORPHANS && !orphans.iter().any(called);
        tree.seats[i as usize].visit_at = out.visits.len() as u32;
        out.visits.push(Visit {
            span: span.id,
            operation: span.operation,
            start: span.start,
            total: span.seconds(),
            own: (span.end.saturating_sub(span.start) - waited) as f64 / 1e9,
            critical: 0.0,
            complete,
            failed: span.failed(),
            own_failed: false,
            chain,
            weight: span.weight,
        });
    }
}

/// True where the visit that begins with `entry` was under way while a parentless request of another service was served, and
/// waited for nobody then.
fn may_have_called(
    tree: &Tree<'_>,
    entry: Index,
    orphan: Index,
    mut waiting: impl Iterator<Item = (u64, u64)>,
) -> bool {
    let (visit, served) = (tree.span(entry), tree.span(orphan));
    tree.seat(entry).service != tree.seat(orphan).service
        && (visit.start..=visit.end).contains(&served.start)
        && served.end <= visit.end
        && !waiting.any(|(start, end)| start <= served.start && served.end <= end)
}

/// The times in which span `i` waits for somebody else.
///
/// A CLIENT or PRODUCER span waits from its start to its end, and so does any inner span with a child in another
/// service. A serving span that has such a child itself (a proxy that reports no CLIENT span) waits only as long
/// as the child takes, or its visit would have no own time at all.
fn outgoing(tree: &Tree<'_>, i: Index, busy: &mut Vec<Busy>) {
    let (span, seat) = (tree.span(i), tree.seat(i));
    let inner = seat.visit != i;
    if inner && seat.facts.any(ASKS) {
        busy.push((seat.visit, span.start, span.end));
        return;
    }
    let called = |&j: &Index| {
        let child = tree.seat(j);
        child.service != seat.service && !child.facts.any(CONSUMES)
    };
    let mut remote = tree.children(i).filter(called);
    if inner && !seat.facts.any(SERVES) {
        if remote.next().is_some() {
            busy.push((seat.visit, span.start, span.end));
        }
        return;
    }
    busy.extend(remote.map(|j| (seat.visit, tree.span(j).start, tree.span(j).end)));
}

/// Nanoseconds of `[from, to]` that the intervals, sorted by their start, cover together.
fn union_within(intervals: impl Iterator<Item = (u64, u64)>, from: u64, to: u64) -> u64 {
    let (mut covered, mut at) = (0, from);
    for (start, end) in intervals {
        let (start, end) = (start.max(at), end.min(to));
        if end > start {
            covered += end - start;
            at = end;
        }
    }
    covered
}
