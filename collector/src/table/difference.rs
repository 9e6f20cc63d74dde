//! What changed between two readings of one trace.
//!
//! In: what it said before and what it says now. Out: what only the first holds, and what only the second holds.
//! Left out on purpose: what is the same request under another name; that is for whoever counts.

use std::collections::HashMap;

use crate::assemble::Assembly;
use crate::span::SpanId;

/// What only the first holds, and what only the second holds.
pub(super) fn difference(before: Assembly, after: Assembly) -> (Assembly, Assembly) {
    let (visits_gone, visits) = split(before.visits, after.visits, |v| v.span);
    let (calls_gone, calls) = split(before.calls, after.calls, |c| c.span);
    let (flows_gone, flows) = split(before.flows, after.flows, |f| f.span);
    let unnamed_peers = after.unnamed_peers.saturating_sub(before.unnamed_peers);
    (
        Assembly {
            visits: visits_gone,
            calls: calls_gone,
            flows: flows_gone,
            unnamed_peers: 0,
        },
        Assembly {
            visits,
            calls,
            flows,
            unnamed_peers,
        },
    )
}

fn split<T: PartialEq>(before: Vec<T>, after: Vec<T>, key: impl Fn(&T) -> SpanId) -> (Vec<T>, Vec<T>) {
    let mut held: HashMap<SpanId, Vec<T>> = HashMap::new();
    for item in before {
        held.entry(key(&item)).or_default().push(item);
    }
    let mut added = Vec::new();
    for item in after {
        let same = held.get_mut(&key(&item));
        match same.and_then(|same| {
            same.iter()
                .position(|old| *old == item)
                .map(|at| same.swap_remove(at))
        }) {
            Some(_) => {}
            None => added.push(item),
        }
    }
    let mut removed: Vec<T> = held.into_values().flatten().collect();
    removed.sort_by_key(|item| key(item));
    (removed, added)
}
