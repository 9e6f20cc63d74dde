//! Which of a corrected trace's requests were counted before.
//!
//! In: what a trace no longer says and what it says instead. Out: for each of the latter, whether it is a request that
//! was counted under another name, so that it is not counted again.
//! Left out on purpose: taking counts back. Counters are final when a trace closes.

use std::collections::HashMap;
use std::hash::Hash;

use crate::assemble::{Assembly, Call};

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
    let key = |call: &Call| (call.span, call.server);
    let mut arrived = Old::weighed(removed.calls.iter().map(|c| (key(c), c.weight)));
    let mut counted: Vec<bool> = added
        .calls
        .iter()
        .map(|c| arrived.take_of(&key(c), c.weight))
        .collect();
    let mut left = Vec::new();
    for old in &removed.calls {
        if arrived.take_of(&key(old), old.weight) {
            left.extend(old.calling.map(|calling| (calling, old.weight)));
        }
    }
    let mut left = Old::weighed(left.into_iter());
    for (call, counted) in added.calls.iter().zip(&mut counted) {
        *counted = *counted
            || call
                .calling
                .is_some_and(|calling| left.take_of(&calling, call.weight));
    }
    counted
}

/// How many of each are left to stand for something. They are weights, since one call may stand for a batch of messages whose
/// producers become known one after the other.
struct Old<K>(HashMap<K, f32>);

impl<K: Eq + Hash> Old<K> {
    fn of(keys: impl Iterator<Item = K>) -> Self {
        Self::weighed(keys.map(|key| (key, 1.0)))
    }

    fn weighed(keys: impl Iterator<Item = (K, f32)>) -> Self {
        let mut held = HashMap::new();
        keys.for_each(|(key, weight)| *held.entry(key).or_default() += weight);
        Self(held)
    }

    fn take(&mut self, key: &K) -> bool {
        self.take_of(key, 1.0)
    }

    /// Whether so much, or most of it, was left. Sums of fractions are not exact.
    fn take_of(&mut self, key: &K, weight: f32) -> bool {
        let left = self.0.get_mut(key).filter(|left| **left * 2.0 >= weight);
        left.map(|left| *left = (*left - weight).max(0.0)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_whose_producers_become_known_is_counted_as_often_as_it_was() {
        let mut old = Old::weighed([(7, 50.0), (7, 10.0)].into_iter());
        assert!(old.take_of(&7, 40.0) && old.take_of(&7, 12.0) && old.take_of(&7, 8.0));
        assert!(!old.take_of(&7, 1.0), "a message more is new");
        assert!(!old.take_of(&8, 1.0));
        let third = 1.0 / 0.3;
        let mut old = Old::weighed([(7, third * 3.0)].into_iter());
        assert!((0..3).all(|_| old.take_of(&7, third)) && !old.take_of(&7, third));
    }
}
