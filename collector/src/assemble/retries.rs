//! Calls that repeat one that failed, and how often a visit calls one callee.
//!
//! In: the calls of a trace and where they go out. Out: [`Call::retry`] set, and [`FanOut`]s.
//! Left out on purpose: intent. A loop that goes on after a failure looks like a retry; where the caller says
//! `http.request.resend_count` it is believed.

use super::tree::{Index, NONE, Tree};
use super::{Call, Draft, FanOut, Origin};
use crate::span::Span;

/// Room to sort calls in.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// (visit, server, operation, when it begins, when it ends, place of the call).
    attempts: Vec<Attempt>,
    ends: Vec<(u64, bool)>,
    /// (visit, server, place of the call).
    fans: Vec<(Index, u32, u32)>,
    /// (place of the first call, how many).
    found: Vec<(u32, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Attempt {
    visit: Index,
    server: u32,
    operation: u32,
    start: u64,
    end: u64,
    at: u32,
}

/// Marks calls that repeat a failed one: where the calling span says so, or where of the calls of the same visit to
/// the same server and operation the one that ended last before it began had failed.
pub(super) fn mark(tree: &Tree<'_>, room: &mut Room, out: &mut Draft) {
    let mut failed = false;
    for (call, origin) in out.calls.iter_mut().zip(&out.origins) {
        failed |= call.failed && origin.calling != NONE;
        call.retry = [origin.calling, origin.caller]
            .into_iter()
            .any(|i| i != NONE && resent(tree.span(i)));
    }
    if !failed || out.calls.len() < 2 {
        return;
    }
    let Room { attempts, ends, .. } = room;
    attempts.clear();
    let calls = (0..).zip(out.calls.iter().zip(&out.origins));
    attempts.extend(calls.filter_map(|(at, (call, origin))| attempt(tree, at, call, origin)));
    attempts.sort_unstable();
    let same =
        |a: &Attempt, b: &Attempt| (a.visit, a.server, a.operation) == (b.visit, b.server, b.operation);
    for group in attempts.chunk_by(same).filter(|group| group.len() > 1) {
        ends.clear();
        // Where one failed and one succeeded at the same time, the later call follows a success.
        ends.extend(group.iter().map(|a| (a.end, !out.calls[a.at as usize].failed)));
        ends.sort_unstable();
        let mut ended = 0;
        for attempt in group {
            while ends.get(ended).is_some_and(|(end, _)| *end <= attempt.start) {
                ended += 1;
            }
            // A call without duration ends when it begins; it does not repeat itself.
            let own = attempt.end == attempt.start && ended == 1;
            let last = ended.checked_sub(1).and_then(|last| ends.get(last));
            out.calls[attempt.at as usize].retry |= !own && last.is_some_and(|(_, succeeded)| !succeeded);
        }
    }
}

/// Counts the calls per visit and callee, in the order of the first of each.
pub(super) fn fan_outs(tree: &Tree<'_>, room: &mut Room, out: &Draft) -> Vec<FanOut> {
    let Room { fans, found, .. } = room;
    fans.clear();
    found.clear();
    let calls = (0..).zip(out.calls.iter().zip(&out.origins));
    let of_visits = calls.filter(|(_, (call, _))| call.visit != 0);
    fans.extend(of_visits.map(|(at, (call, origin))| (origin.visit, call.server.index() as u32, at)));
    fans.sort_unstable();
    for fan in fans.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        found.extend(fan.first().map(|first| (first.2, fan.len() as u32)));
    }
    found.sort_unstable();
    let fan_out = |&(first, calls): &(u32, u32)| {
        let (call, origin) = (&out.calls[first as usize], &out.origins[first as usize]);
        FanOut {
            visit: tree.span(origin.visit).id,
            client: call.client,
            server: call.server,
            calls,
        }
    };
    found.iter().map(fan_out).collect()
}

fn attempt(tree: &Tree<'_>, at: u32, call: &Call, origin: &Origin) -> Option<Attempt> {
    if origin.calling == NONE {
        return None;
    }
    let calling = tree.span(origin.calling);
    Some(Attempt {
        visit: origin.visit,
        server: call.server.index() as u32,
        // Of whichever version: while a new one is rolled out the repetition may be answered by the other.
        operation: call.operation.index() as u32,
        start: calling.start,
        end: calling.end,
        at,
    })
}

fn resent(span: &Span) -> bool {
    span.extra.as_deref().is_some_and(|extra| extra.resend > 0)
}
