//! Open spans that wait for an answer which names them.
//!
//! In: keys with what is open under them. Out: what is open under a key, once; and the oldest where there is no room.
//! Left out on purpose: time. A connection's end or the bound ends what is never answered.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// At most so many at once, the oldest given up first.
#[derive(Debug)]
pub(super) struct Waiting<V> {
    by_key: HashMap<Arc<[u8]>, (u64, V)>,
    /// In the order in which they came; those that were answered are still in it.
    order: VecDeque<(u64, Arc<[u8]>)>,
    next: u64,
    limit: usize,
}

impl<V> Waiting<V> {
    /// At most `limit`, not 0.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            by_key: HashMap::new(),
            order: VecDeque::new(),
            next: 0,
            limit,
        }
    }

    /// Waits for `key`. Returns what has to make room: what waited for the same key, or the oldest.
    pub(super) fn insert(&mut self, key: &[u8], value: V) -> Option<V> {
        let key: Arc<[u8]> = key.into();
        let age = self.next;
        self.next += 1;
        self.order.push_back((age, key.clone()));
        if let Some((_, before)) = self.by_key.insert(key, (age, value)) {
            self.tidy();
            return Some(before);
        }
        if self.by_key.len() > self.limit {
            return self.pop_oldest();
        }
        self.tidy();
        None
    }

    /// What waits for `key`, which is then forgotten.
    pub(super) fn remove(&mut self, key: &[u8]) -> Option<V> {
        if self.by_key.is_empty() {
            return None;
        }
        let (_, value) = self.by_key.remove(key)?;
        if self.by_key.is_empty() {
            self.order.clear();
        }
        Some(value)
    }

    pub(super) fn contains(&self, key: &[u8]) -> bool {
        !self.by_key.is_empty() && self.by_key.contains_key(key)
    }

    /// Everything whose key is `wanted`; forgotten.
    pub(super) fn remove_all(&mut self, wanted: impl Fn(&[u8]) -> bool, mut found: impl FnMut(V)) {
        for (_, (_, value)) in self.by_key.extract_if(|key, _| wanted(key)) {
            found(value);
        }
        self.tidy();
    }

    fn pop_oldest(&mut self) -> Option<V> {
        while let Some((age, key)) = self.order.pop_front() {
            if self.is_live(age, &key)
                && let Some((_, value)) = self.by_key.remove(&key)
            {
                return Some(value);
            }
        }
        None
    }

    fn is_live(&self, age: u64, key: &[u8]) -> bool {
        self.by_key.get(key).is_some_and(|(live, _)| *live == age)
    }

    /// Keeps the answered ones in `order` from outgrowing the others.
    fn tidy(&mut self) {
        while let Some((age, key)) = self.order.front()
            && !self.is_live(*age, key)
        {
            self.order.pop_front();
        }
        if self.order.len() > 2 * self.limit {
            let mut order = std::mem::take(&mut self.order);
            order.retain(|(age, key)| self.is_live(*age, key));
            self.order = order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_finds_what_waits_for_it_once() {
        let mut waiting = Waiting::new(2);
        assert_eq!(waiting.insert(b"a", 1), None);
        assert!(waiting.contains(b"a"));
        assert_eq!(waiting.remove(b"a"), Some(1));
        assert_eq!(waiting.remove(b"a"), None);
        assert!(!waiting.contains(b"a"));
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut waiting = Waiting::new(2);
        waiting.insert(b"a", 1);
        waiting.insert(b"b", 2);
        assert_eq!(waiting.insert(b"a", 3), Some(1), "its own key first");
        assert_eq!(waiting.insert(b"c", 4), Some(2), "`a` came again after `b`");
        assert_eq!(waiting.insert(b"d", 5), Some(3));
    }

    #[test]
    fn those_of_a_kind_are_ended_together() {
        let mut waiting = Waiting::new(8);
        for (key, value) in [(b"a1", 1), (b"b1", 2), (b"a2", 3)] {
            waiting.insert(key, value);
        }
        let mut found = Vec::new();
        waiting.remove_all(|key| key.starts_with(b"a"), |value| found.push(value));
        found.sort_unstable();
        assert_eq!(found, [1, 3]);
        assert_eq!(waiting.remove(b"b1"), Some(2));
    }

    #[test]
    fn answered_ones_take_no_room_for_ever() {
        let mut waiting = Waiting::new(4);
        waiting.insert(b"held", 0);
        for value in 1..1_000_u32 {
            waiting.insert(&value.to_be_bytes(), value);
            waiting.remove(&value.to_be_bytes());
            assert!(waiting.order.len() <= 9, "{}", waiting.order.len());
        }
        assert_eq!(waiting.remove(b"held"), Some(0));
    }
}
