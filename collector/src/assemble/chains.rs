//! How long chains of services are, each of which waits for the next.
//!
//! In: a [`Tree`] whose seats know how many calls lead to them (`layers`), and its visits and calls. Out:
//! [`Visit::chain`](super::Visit::chain) of visits that nobody of the trace called.
//! Left out on purpose: calls to those who report nothing, such as databases, which call nobody either. Who is on the way; the
//! ledger asks the calls for that where a chain is longer than any before. Work of consumers, which begins chains of its own because
//! nobody waits for it.

use super::Draft;
use super::tree::{NONE, Tree};

/// Tells each visit that begins a chain how long that is. Until now it says 1 where it begins one.
pub(super) fn find(tree: &Tree<'_>, out: &mut Draft) {
    for origin in out.origins.iter().filter(|origin| origin.callee != NONE) {
        let Some(caller) = tree.seats.get(origin.caller as usize) else {
            continue;
        };
        let Some(top) = tree.seats.get(caller.top as usize) else {
            continue;
        };
        if let Some(visit) = out.visits.get_mut(top.visit_at as usize) {
            visit.chain = visit.chain.max(caller.depth.saturating_add(2));
        }
    }
}
