//! A timer wheel: which traces are to be looked at, by the tenth of a second.
//!
//! In: a trace's number and when it is due. Out: numbers in the order in which they fell due, and among equals in the
//! order in which they were put in, however far apart the ticks are.
//! Left out on purpose: taking out. Whoever is no longer due is passed over when its turn comes.

/// How exact timers are, nanoseconds.
pub(super) const SLOT: u64 = 100_000_000;
/// Most slots of a wheel; what is due beyond its rim is looked at once a turn.
const MAX_SLOTS: u64 = 1 << 16;
const NONE: u32 = u32::MAX;

/// Lists of traces, one per slot, linked through `next`.
#[derive(Debug)]
pub(super) struct Wheel {
    slots: Vec<(u32, u32)>,
    /// By trace: the next one in its slot.
    next: Vec<u32>,
    /// The slot that was looked at last, counted from 1970.
    position: u64,
    len: usize,
}

impl Wheel {
    /// A wheel for timers up to `horizon` nanoseconds ahead.
    pub(super) fn new(horizon: u64) -> Self {
        let slots = (horizon / SLOT)
            .saturating_add(2)
            .min(MAX_SLOTS)
            .next_power_of_two();
        Self {
            slots: vec![(NONE, NONE); slots as usize],
            next: Vec::new(),
            position: 0,
            len: 0,
        }
    }

    /// Puts `trace` where it is looked at once `due` has passed. A trace must be in the wheel once only.
    pub(super) fn put(&mut self, trace: u32, due: u64) {
        let furthest = self.position.saturating_add(self.slots.len() as u64 - 1);
        let slot = due
            .div_ceil(SLOT)
            .clamp(self.position.saturating_add(1), furthest.max(1));
        if self.next.len() <= trace as usize {
            self.next.resize(trace as usize + 1, NONE);
        }
        self.next[trace as usize] = NONE;
        let at = self.place(slot);
        let (first, last) = self.slots[at];
        if first == NONE {
            self.slots[at] = (trace, trace);
        } else {
            self.next[last as usize] = trace;
            self.slots[at].1 = trace;
        }
        self.len += 1;
    }

    /// Takes out the first trace of the slot that was looked at last.
    pub(super) fn pop(&mut self) -> Option<u32> {
        let at = self.place(self.position);
        self.pop_from(at)
    }

    /// Takes out the trace that is due soonest, before its time.
    pub(super) fn pop_soonest(&mut self) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        let ahead = (0..self.slots.len() as u64).map(|ahead| self.position.wrapping_add(ahead));
        let at = ahead
            .map(|slot| self.place(slot))
            .find(|&at| self.slots[at].0 != NONE)?;
        self.pop_from(at)
    }

    /// Turns by one slot; returns the time that is now reached, nanoseconds since 1970.
    pub(super) fn turn(&mut self) -> u64 {
        self.position += 1;
        self.position.saturating_mul(SLOT)
    }

    /// True where a slot ends at or before `now` that was not looked at.
    pub(super) fn is_behind(&self, now: u64) -> bool {
        self.position < now / SLOT
    }

    /// Passes over slots up to the one before `time`; only an empty wheel may.
    pub(super) fn skip_to(&mut self, time: u64) {
        debug_assert!(self.is_empty(), "a timer would be passed over");
        self.position = self.position.max((time / SLOT).saturating_sub(1));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn pop_from(&mut self, at: usize) -> Option<u32> {
        let (first, last) = self.slots[at];
        if first == NONE {
            return None;
        }
        self.slots[at] = if first == last {
            (NONE, NONE)
        } else {
            (self.next[first as usize], last)
        };
        self.len -= 1;
        Some(first)
    }

    fn place(&self, slot: u64) -> usize {
        (slot & (self.slots.len() as u64 - 1)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due_by(wheel: &mut Wheel, now: u64) -> Vec<(u64, u32)> {
        let mut found = Vec::new();
        while wheel.is_behind(now) {
            let time = wheel.turn();
            while let Some(trace) = wheel.pop() {
                found.push((time / SLOT, trace));
            }
        }
        found
    }

    #[test]
    fn timers_fall_due_in_order_and_never_early() {
        let mut wheel = Wheel::new(20 * SLOT);
        for (trace, due) in [(0, 5 * SLOT), (1, 3 * SLOT - 1), (2, 5 * SLOT), (3, 3 * SLOT + 1)] {
            wheel.put(trace, due);
        }
        assert_eq!(due_by(&mut wheel, 3 * SLOT - 1), []);
        assert_eq!(due_by(&mut wheel, 9 * SLOT), [(3, 1), (4, 3), (5, 0), (5, 2)]);
        assert!(wheel.is_empty());
    }

    #[test]
    fn a_timer_beyond_the_rim_is_looked_at_within_a_turn_and_one_in_the_past_at_once() {
        let mut wheel = Wheel::new(4 * SLOT);
        assert_eq!(due_by(&mut wheel, 100 * SLOT), []);
        wheel.put(7, u64::MAX);
        wheel.put(8, 0);
        let found = due_by(&mut wheel, 120 * SLOT);
        assert_eq!(found.first(), Some(&(101, 8)));
        assert!(matches!(found.get(1), Some((102..=108, 7))), "{found:?}");
    }

    #[test]
    fn the_soonest_is_taken_out_first() {
        let mut wheel = Wheel::new(20 * SLOT);
        wheel.put(0, 9 * SLOT);
        wheel.put(1, 2 * SLOT);
        assert_eq!(
            [wheel.pop_soonest(), wheel.pop_soonest(), wheel.pop_soonest()],
            [Some(1), Some(0), None]
        );
    }
}
