//! Which of a corrected trace's requests were counted before.
//!
//! In: what a trace no longer says and what it says instead. Out: for each of the latter, whether it is a request that
//! was counted under another name, so that it is not counted again.
//! Left out on purpose: taking counts back. Counters are final when a trace closes.

use std::collections::HashMap;
use std::hash::Hash;

use crate::assemble::Assembly;

/// By the index of what was added, true where it was counted before.
pub(super) struct Counted {
    pub(super) visits: Vec<bool>,
    pub(super) calls: Vec<bool>,
    pub(super) flows: Vec<bool>,
}

impl Counted {
    /// Each request of `removed` stands for at most one of `added`.
    pub(super) fn of(removed: &Assembly, added: &Assembly) -> Self {
        let mut visits = Old::of(removed.visits.iter().map(|v| (v.span, &v.service)));
        let mut flows = Old::of(removed.flows.iter().map(|f| f.span));
        // The same callee's request under another caller's name first; then the same calling span, whose far side
        // turned out to be somebody else.
        let mut arrived = Old::of(removed.calls.iter().map(|c| (c.span, &c.server.id)));
        let mut left = Vec::new();
        let mut calls: Vec<bool> = Vec::with_capacity(added.calls.len());
        for call in &added.calls {
            calls.push(arrived.take(&(call.span, &call.server.id)));
        }
        for old in &removed.calls {
            if arrived.take(&(old.span, &old.server.id)) {
                left.extend(old.calling);
            }
        }
        let mut left = Old::of(left.into_iter());
        for (call, counted) in added.calls.iter().zip(&mut calls) {
            *counted = *counted || call.calling.is_some_and(|calling| left.take(&calling));
        }
        Self {
            visits: added
                .visits
                .iter()
                .map(|v| visits.take(&(v.span, &v.service)))
                .collect(),
            calls,
            flows: added.flows.iter().map(|f| flows.take(&f.span)).collect(),
        }
    }
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
