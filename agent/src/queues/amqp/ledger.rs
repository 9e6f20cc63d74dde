//! Open spans of a channel by the number under which they are acknowledged.
//!
//! In: numbered tokens, and acknowledgements of one or of all up to one. Out: the tokens settled.
//! Left out on purpose: what the numbers are: delivery tags, or a count of what was published.

use std::collections::VecDeque;

use crate::queues::splice::{Courier, End, Token};

/// How many spans may be open on one connection: fewer than a courier keeps. Past it the oldest of the same channel ends early.
pub(super) const MOST_OPEN: usize = 16_000;
/// How many consumers, and questions of which the answer has not come, are remembered of one connection.
pub(super) const MOST_NOTED: usize = 16_384;

/// What the bounds of a connection count.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) open: usize,
    pub(super) noted: usize,
}

/// Who is told, and what is counted meanwhile.
pub(super) struct Told<'a> {
    pub(super) courier: &'a mut dyn Courier,
    pub(super) counts: &'a mut Counts,
}

impl<'a> Told<'a> {
    pub(super) fn new(courier: &'a mut dyn Courier, counts: &'a mut Counts) -> Self {
        Self { courier, counts }
    }

    /// Whether one more may be remembered; it is counted then.
    pub(super) fn note(&mut self) -> bool {
        let room = self.counts.noted < MOST_NOTED;
        self.counts.noted += usize::from(room);
        room
    }

    pub(super) fn forget(&mut self, number: usize) {
        self.counts.noted = self.counts.noted.saturating_sub(number);
    }
}

/// An end with `error.type`.
pub(super) fn failed(error: &str) -> End<'_> {
    End {
        error: Some(error),
        place: None,
    }
}

/// One open span.
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) token: Token,
    /// By which a message that is returned is found again; `None` for those that never are.
    pub(super) route: Option<u64>,
}

/// Open spans, their numbers ascending.
#[derive(Default)]
pub(super) struct Ledger {
    open: VecDeque<Entry>,
}

impl Ledger {
    /// Where it cannot be kept, it ends now, and not as a failure.
    pub(super) fn add(&mut self, entry: Entry, told: &mut Told<'_>) {
        if told.counts.open >= MOST_OPEN {
            self.settle_first(End::default(), told);
        }
        let ascends = self.open.back().is_none_or(|last| last.number < entry.number);
        if !ascends || told.counts.open >= MOST_OPEN {
            told.courier.settle(entry.token, End::default());
            return;
        }
        told.counts.open += 1;
        self.open.push_back(entry);
    }

    /// Settles `number`, or all up to it.
    pub(super) fn settle(&mut self, number: u64, multiple: bool, end: End<'_>, told: &mut Told<'_>) {
        if multiple {
            while self.open.front().is_some_and(|first| first.number <= number) {
                self.settle_first(end, told);
            }
        } else if let Ok(place) = self.open.binary_search_by_key(&number, |entry| entry.number) {
            self.settle_at(place, end, told);
        }
    }

    pub(super) fn settle_all(&mut self, end: End<'_>, told: &mut Told<'_>) {
        self.settle(u64::MAX, true, end, told);
    }

    /// Settles the oldest that went by `route`: a broker returns messages in the order in which they came.
    pub(super) fn settle_returned(&mut self, route: u64, end: End<'_>, told: &mut Told<'_>) {
        if let Some(place) = self.open.iter().position(|entry| entry.route == Some(route)) {
            self.settle_at(place, end, told);
        }
    }

    fn settle_first(&mut self, end: End<'_>, told: &mut Told<'_>) {
        self.settle_at(0, end, told);
    }

    fn settle_at(&mut self, place: usize, end: End<'_>, told: &mut Told<'_>) {
        if let Some(entry) = self.open.remove(place) {
            told.counts.open = told.counts.open.saturating_sub(1);
            told.courier.settle(entry.token, end);
        }
    }
}
