//! Which of a corrected trace's requests were counted before.
//!
//! In: what a trace no longer says and what it says instead. Out: for each of the latter, whether it is a request that
//! was counted under another name, so that it is not counted again.
//! Left out on purpose: taking counts back. Counters are final when a trace closes.

use std::collections::HashMap;
use std::hash::Hash;

use crate::assemble::Assembly;

/// By the index of what was added, true where it was counted before. Nothing of a trace that is closed for the first
/// time was, and nothing is allocated to say so.
#[derive(Debug, Default)]
pub(super) struct Counted {
    visits: Vec<bool>,
    calls: Vec<bool>,
    flows: Vec<bool>,
    fan_outs: Vec<bool>,
}

impl Counted {
    /// Each request of `removed` stands for at most one of `added`.
    pub(super) fn of(removed: &Assembly, added: &Assembly) -> Self {
        let Assembly {
            visits,
            calls,
            flows,
            fan_outs,
            ..
        } = removed;
        if visits.is_empty() && calls.is_empty() && flows.is_empty() && fan_outs.is_empty() {
            return Self::default();
        }
        let mut visits = Old::of(visits.iter().map(|v| (v.span, v.operation.service)));
        let mut flows = Old::of(flows.iter().map(|f| f.span));
        let mut fan_outs = Old::of(fan_outs.iter().map(|f| f.visit));
        Self {
            visits: added
                .visits
                .iter()
                .map(|v| visits.take(&(v.span, v.operation.service)))
                .collect(),
            calls: counted_calls(removed, added),
            flows: added.flows.iter().map(|f| flows.take(&f.span)).collect(),
            fan_outs: added.fan_outs.iter().map(|f| fan_outs.take(&f.visit)).collect(),
        }
    }

    pub(super) fn visit(&self, i: usize) -> bool {
        self.visits.get(i).copied().unwrap_or(false)
    }

    pub(super) fn call(&self, i: usize) -> bool {
        self.calls.get(i).copied().unwrap_or(false)
    }

    pub(super) fn flow(&self, i: usize) -> bool {
        self.flows.get(i).copied().unwrap_or(false)
    }

    pub(super) fn fan_out(&self, i: usize) -> bool {
        self.fan_outs.get(i).copied().unwrap_or(false)
    }
}

/// The same callee's request under another caller's name first; then the same calling span, whose far side turned out
/// to be somebody else.
fn counted_calls(removed: &Assembly, added: &Assembly) -> Vec<bool> {
    let mut arrived = Old::of(removed.calls.iter().map(|c| (c.span, &c.server.get().id)));
    let mut counted: Vec<bool> = added
        .calls
        .iter()
        .map(|c| arrived.take(&(c.span, &c.server.get().id)))
        .collect();
    let mut left = Vec::new();
    for old in &removed.calls {
        if arrived.take(&(old.span, &old.server.get().id)) {
            left.extend(old.calling);
        }
    }
    let mut left = Old::of(left.into_iter());
    for (call, counted) in added.calls.iter().zip(&mut counted) {
        *counted = *counted || call.calling.is_some_and(|calling| left.take(&calling));
    }
    counted
}

/// How many of each are left to stand for something.
struct Old<K>(HashMap<K, usize>);

impl<K: Eq + Hash> Old<K> {
    fn of(keys: impl Iterator<Item = K>) -> Self {
        let mut held = HashMap::new();
        keys.for_each(|key| *held.entry(key).or_default() += 1);
        Self(held)
    }

    fn take(&mut self, key: &K) -> bool {
        self.0
            .get_mut(key)
            .filter(|left| **left > 0)
            .map(|left| *left -= 1)
            .is_some()
    }
}
