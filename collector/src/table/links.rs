//! Producers that links name and that did not come yet, with the traces that wait for them; and those of messages that a
//! broker named, which come from any trace.
//!
//! In: a link and who waits; a message's name and who sent it. Out: who waited, when the producer comes; who sent.
//! Left out on purpose: waiting for ever. A wait ends after its time, and the oldest ends when there are too many.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use super::trace::LinkTo;
use crate::assemble::Producer;
use crate::span::TraceId;

/// Most waits at a time; about 100 bytes each.
const MAX_WAITS: usize = 1 << 17;

/// A trace that waits for a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) consumer: TraceId,
    /// The shard of that trace.
    pub(super) shard: u32,
    until: u64,
}

/// Who waits for whom.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    /// Each list in the order in which its waits end.
    waiting: HashMap<LinkTo, VecDeque<Waiter>, RandomState>,
    ends: VecDeque<(u64, LinkTo)>,
}

impl Awaited {
    /// Notes that `consumer` of `shard` waits for `producer` until then; calls come in the order of `until`.
    pub(super) fn wait(&mut self, producer: LinkTo, consumer: TraceId, shard: u32, until: u64) {
        if self.ends.len() >= MAX_WAITS {
            self.end_oldest();
        }
        self.ends.push_back((until, producer));
        let waiter = Waiter {
            consumer,
            shard,
            until,
        };
        self.waiting.entry(producer).or_default().push_back(waiter);
    }

    /// The producer came; nobody waits for it any longer.
    pub(super) fn came(&mut self, producer: &LinkTo) -> VecDeque<Waiter> {
        if self.waiting.is_empty() {
            return VecDeque::new();
        }
        self.waiting.remove(producer).unwrap_or_default()
    }

    /// Ends the waits whose time is over.
    pub(super) fn end_by(&mut self, now: u64) {
        while self.next_end().is_some_and(|until| until <= now) {
            self.end_oldest();
        }
    }

    /// When the next wait ends.
    pub(super) fn next_end(&self) -> Option<u64> {
        self.ends.front().map(|&(until, _)| until)
    }

    fn end_oldest(&mut self) {
        let Some((until, producer)) = self.ends.pop_front() else {
            return;
        };
        let Some(waiting) = self.waiting.get_mut(&producer) else {
            return;
        };
        // Who began to wait after the producer came once has an end of its own.
        if waiting.front().is_some_and(|waiter| waiter.until <= until) {
            waiting.pop_front();
        }
        if waiting.is_empty() {
            self.waiting.remove(&producer);
        }
    }
}

/// Messages that brokers named, each with who sent it, for a while.
#[derive(Debug, Default)]
pub(super) struct Sent {
    by_place: HashMap<LinkTo, Producer, RandomState>,
    ends: VecDeque<(u64, LinkTo)>,
}

/// Most of them; about 120 bytes each.
const MAX_SENT: usize = 1 << 17;

impl Sent {
    /// Notes who sent `place`, until then; calls come in the order of `until`. The first who did stays.
    pub(super) fn keep(&mut self, place: LinkTo, producer: Producer, until: u64) {
        let Entry::Vacant(vacant) = self.by_place.entry(place) else {
            return;
        };
        vacant.insert(producer);
        self.ends.push_back((until, place));
        if self.ends.len() > MAX_SENT {
            self.end_oldest();
        }
    }

    pub(super) fn get(&self, place: &LinkTo) -> Option<Producer> {
        self.by_place.get(place).copied()
    }

    /// Forgets what was to be kept until now.
    pub(super) fn end_by(&mut self, now: u64) {
        while self.next_end().is_some_and(|until| until <= now) {
            self.end_oldest();
        }
    }

    /// When the next one is forgotten.
    pub(super) fn next_end(&self) -> Option<u64> {
        self.ends.front().map(|&(until, _)| until)
    }

    fn end_oldest(&mut self) {
        if let Some((_, place)) = self.ends.pop_front() {
            self.by_place.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCER: LinkTo = ([1; 16], 1);

    #[test]
    fn a_producer_that_comes_finds_who_waits_and_nobody_twice() {
        let mut awaited = Awaited::default();
        awaited.wait(PRODUCER, [2; 16], 0, 10);
        awaited.wait(PRODUCER, [3; 16], 1, 20);
        awaited.end_by(10);
        let came: Vec<_> = awaited
            .came(&PRODUCER)
            .iter()
            .map(|w| (w.consumer, w.shard))
            .collect();
        assert_eq!(came, [([3; 16], 1)]);
        assert!(awaited.came(&PRODUCER).is_empty());
    }

    #[test]
    fn an_end_left_over_from_before_the_producer_came_ends_no_later_wait() {
        let mut awaited = Awaited::default();
        awaited.wait(PRODUCER, [2; 16], 0, 10);
        awaited.came(&PRODUCER);
        awaited.wait(PRODUCER, [3; 16], 0, 20);
        awaited.end_by(10);
        assert_eq!(awaited.came(&PRODUCER).len(), 1);
    }

    #[test]
    fn the_oldest_wait_ends_when_there_are_too_many() {
        let mut awaited = Awaited::default();
        for span in 0..=MAX_WAITS as u64 {
            awaited.wait(([1; 16], span), [2; 16], 0, 10);
        }
        assert_eq!(
            (awaited.waiting.len(), awaited.ends.len()),
            (MAX_WAITS, MAX_WAITS)
        );
        assert!(awaited.came(&([1; 16], 0)).is_empty());
    }
}
