//! Who failed by itself, and who because somebody else did.
//!
//! In: visits and calls of a trace that say whether they failed. Out: [`Visit::own_failed`](super::Visit::own_failed),
//! [`Call::own_failed`](super::Call::own_failed) and [`Call::passed_on`](super::Call::passed_on).
//! Left out on purpose: intent. A visit that fails after a failed call is thought to fail because of it, also where the call was
//! repeated with success.

use super::tree::{Index, NONE, Tree};
use super::{Draft, Visit};

/// Marks what failed by itself.
pub(super) fn find(tree: &Tree<'_>, out: &mut Draft) {
    for visit in &mut out.visits {
        visit.own_failed = visit.failed;
    }
    for (call, origin) in out.calls.iter_mut().zip(&out.origins) {
        if !call.failed {
            continue;
        }
        let called = visit_of(tree, origin.callee, &mut out.visits);
        call.own_failed = !called.is_some_and(|visit| visit.failed);
        if let Some(calling) = visit_of(tree, origin.visit, &mut out.visits) {
            calling.own_failed = false;
            call.passed_on = Some(calling.failed);
        }
    }
}

/// The visit that begins with a span.
fn visit_of<'a>(tree: &Tree<'_>, span: Index, visits: &'a mut [Visit]) -> Option<&'a mut Visit> {
    let at = if span == NONE {
        NONE
    } else {
        tree.seat(span).visit_at
    };
    visits.get_mut(at as usize)
}
