//! What changed between two readings of one trace.
//!
//! In: what it said before and what it says now. Out: what only the first holds, and what only the second holds.
//! Left out on purpose: what is the same request under another name; that is for whoever counts. The critical path, retries,
//! chains and what a caller made of a failure are not compared either: they were counted with the request, and a late root moves
//! them everywhere.

use std::collections::HashMap;
use std::hash::Hash;

use crate::assemble::{Assembly, Call, FanOut, FlowSeen, UnnamedPeer, Visit};

/// What only the first holds, and what only the second holds.
pub(super) fn difference(before: Assembly, after: Assembly) -> (Assembly, Assembly) {
    let same_visit = |a: &Visit, b: &Visit| {
        Visit {
            critical: b.critical,
            own_failed: b.own_failed,
            chain: b.chain,
            ..*a
        } == *b
    };
    let same_call = |a: &Call, b: &Call| {
        Call {
            critical: b.critical,
            own_failed: b.own_failed,
            passed_on: b.passed_on,
            retry: b.retry,
            visit: b.visit,
            ..*a
        } == *b
    };
    let same_flow = |a: &FlowSeen, b: &FlowSeen| FlowSeen { key: b.key, ..*a } == *b;
    let (visits_gone, visits) = split(before.visits, after.visits, |v| v.span, same_visit);
    let (calls_gone, calls) = split(before.calls, after.calls, |c| c.span, same_call);
    let (flows_gone, flows) = split(before.flows, after.flows, |f| f.span, same_flow);
    let callee = |fan: &FanOut| (fan.visit, fan.server);
    let (fan_outs_gone, fan_outs) = split(before.fan_outs, after.fan_outs, callee, PartialEq::eq);
    let caller = |peer: &UnnamedPeer| *peer;
    let (unnamed_gone, unnamed) = split(before.unnamed, after.unnamed, caller, PartialEq::eq);
    (
        Assembly {
            visits: visits_gone,
            calls: calls_gone,
            flows: flows_gone,
            fan_outs: fan_outs_gone,
            unnamed_peers: unnamed_gone.len() as u64,
            unnamed: unnamed_gone,
        },
        Assembly {
            visits,
            calls,
            flows,
            fan_outs,
            unnamed_peers: unnamed.len() as u64,
            unnamed,
        },
    )
}

fn split<T: Copy, K: Eq + Hash>(
    before: Vec<T>,
    after: Vec<T>,
    key: impl Fn(&T) -> K,
    same: impl Fn(&T, &T) -> bool,
) -> (Vec<T>, Vec<T>) {
    let mut held: HashMap<K, Vec<usize>> = HashMap::with_capacity(before.len());
    for (i, item) in before.iter().enumerate() {
        held.entry(key(item)).or_default().push(i);
    }
    let mut gone = vec![true; before.len()];
    let mut added = Vec::new();
    for item in after {
        let old = held.get_mut(&key(&item)).and_then(|old| {
            let at = old.iter().position(|&i| same(&before[i], &item))?;
            Some(old.swap_remove(at))
        });
        match old {
            Some(i) => gone[i] = false,
            None => added.push(item),
        }
    }
    let gone = before.into_iter().zip(gone).filter(|(_, gone)| *gone);
    (gone.map(|(item, _)| item).collect(), added)
}
