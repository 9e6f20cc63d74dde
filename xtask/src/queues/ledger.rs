//! What became of numbered messages: sent, acknowledged, come.
//!
//! In: what publisher and consumer saw. Out: which acknowledged message is missing, which came more often than its protocol
//! promises, and whose bytes differ.
//! Left out on purpose: order, which some of the protocols do not promise.

use std::collections::{HashMap, HashSet};
use std::fmt::{Display, Formatter};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::agent_process::pause;
use crate::kills::harness::random::mixed;

/// Bytes of a message's number, at its beginning.
const NUMBER: usize = 8;
/// What is due and was not sent while nobody could is not made up for beyond this.
const BEHIND: Duration = Duration::from_millis(50);
/// Numbers of messages that are told, of many.
const SOME: usize = 10;
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Shared by a publisher, a consumer and whoever watches them.
pub(crate) struct Ledger {
    sizes: Range<u64>,
    every: Duration,
    book: Mutex<Book>,
    no_more: AtomicBool,
    over: AtomicBool,
    listening: AtomicBool,
}

#[derive(Default)]
struct Book {
    sent: u64,
    sent_again: u64,
    next_due: Option<Instant>,
    acknowledged: HashSet<u64>,
    /// How often a message may come again: it was sent anew although the first time may have arrived, or the broker forgot.
    repeated: HashMap<u64, u64>,
    /// How often each came, without and with the broker's mark that it may have come before.
    came: HashMap<u64, [u64; 2]>,
    altered: u64,
}

/// What a ledger says in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) sent: u64,
    /// How often any of them was sent once more.
    pub(crate) sent_again: u64,
    pub(crate) acknowledged: u64,
    /// Deliveries, every one of them counted.
    pub(crate) came: u64,
    /// Acknowledged, and never came.
    pub(crate) lost: Vec<u64>,
    /// Came more often without a mark than they were sent.
    pub(crate) doubled: Vec<u64>,
    /// Deliveries beyond the first of a message.
    pub(crate) again: u64,
    /// Those of them that its protocol does not promise.
    pub(crate) beyond: u64,
    /// Deliveries whose bytes are not as they were sent.
    pub(crate) altered: u64,
}

impl Verdict {
    /// Whether nothing was lost, doubled or altered.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.doubled.is_empty() && self.altered == 0
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let some = |numbers: &[u64]| {
            format!(
                "{} {:?}",
                numbers.len(),
                numbers.iter().take(SOME).collect::<Vec<_>>()
            )
        };
        write!(
            f,
            "sent {}, acknowledged {}, came {}, again {}, lost {}, beyond the promise {} of {}, altered {}",
            self.sent,
            self.acknowledged,
            self.came,
            self.again,
            some(&self.lost),
            self.beyond,
            some(&self.doubled),
            self.altered
        )
    }
}

impl Ledger {
    /// For messages of `sizes` bytes, as their number decides, `rate` of them a second at most.
    pub(crate) fn new(sizes: Range<u64>, rate: f64) -> Self {
        Self {
            sizes,
            every: Duration::from_secs_f64(1.0 / rate),
            book: Mutex::default(),
            no_more: AtomicBool::new(false),
            over: AtomicBool::new(false),
            listening: AtomicBool::new(false),
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The numbers of the messages to send now, at most `most`; `None` once there will be none any more.
    pub(crate) fn due(&self, most: usize) -> Option<Vec<u64>> {
        if self.no_more.load(Relaxed) || self.is_over() {
            return None;
        }
        let (mut book, now) = (self.book(), Instant::now());
        let mut next = book.next_due.map_or(now, |due| {
            now.checked_sub(BEHIND).map_or(due, |least| due.max(least))
        });
        let mut numbers = Vec::new();
        while next <= now && numbers.len() < most {
            numbers.push(book.sent);
            book.sent += 1;
            next += self.every;
        }
        book.next_due = Some(next);
        Some(numbers)
    }

    /// The bytes of a message.
    pub(crate) fn payload(&self, number: u64) -> Vec<u8> {
        let span = self.sizes.end.saturating_sub(self.sizes.start).max(1);
        let size = self.sizes.start + mixed(number).checked_rem(span).unwrap_or_default();
        let size = usize::try_from(size).unwrap_or(usize::MAX).max(NUMBER);
        let mut bytes = number.to_be_bytes().to_vec();
        // Cheap beside the copies that brokers make of large messages, and nothing that compresses to nothing.
        let words = (1..).map(|at| mixed(number.wrapping_mul(0x9e37_79b9).wrapping_add(at)));
        bytes.extend(words.flat_map(u64::to_be_bytes).take(size.saturating_sub(NUMBER)));
        bytes
    }

    /// The broker has it.
    pub(crate) fn acknowledged(&self, number: u64) {
        self.book().acknowledged.insert(number);
    }

    /// Whether the broker said so.
    pub(crate) fn is_acknowledged(&self, number: u64) -> bool {
        self.book().acknowledged.contains(&number)
    }

    /// It is sent once more, and nobody knows whether it arrived before; `known` where the broker does, and drops what it has.
    pub(crate) fn repeated(&self, number: u64, known: bool) {
        let mut book = self.book();
        book.sent_again += 1;
        if !known {
            *book.repeated.entry(number).or_default() += 1;
        }
    }

    /// The broker, which keeps the consumer's place, was killed before it wrote that down: what it delivered until now may come
    /// once more, without a mark.
    pub(crate) fn place_was_lost(&self) {
        let mut book = self.book();
        let came: Vec<_> = book.came.keys().copied().collect();
        for number in came {
            *book.repeated.entry(number).or_default() += 1;
        }
    }

    /// A message came; `marked` where the broker says that it may have come before.
    pub(crate) fn came(&self, bytes: &[u8], marked: bool) {
        let number = bytes.first_chunk().map(|number| u64::from_be_bytes(*number));
        let is_ours = number.is_some_and(|number| bytes == self.payload(number));
        let mut book = self.book();
        match number {
            Some(number) if is_ours => book.came.entry(number).or_default()[usize::from(marked)] += 1,
            _ => book.altered += 1,
        }
    }

    /// No further message is wanted; those under way still are.
    pub(crate) fn no_more(&self) {
        self.no_more.store(true, Relaxed);
    }

    /// Nothing is wanted any more.
    pub(crate) fn end(&self) {
        self.over.store(true, Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// The broker keeps messages for the consumer from now on.
    pub(crate) fn listens(&self) {
        self.listening.store(true, Relaxed);
    }

    /// Whether the broker keeps messages for the consumer.
    pub(crate) fn is_listened_to(&self) -> bool {
        self.listening.load(Relaxed)
    }

    /// Messages acknowledged, and messages that came at least once.
    pub(crate) fn progress(&self) -> (usize, usize) {
        let book = self.book();
        (book.acknowledged.len(), book.came.len())
    }

    /// Waits until `more` messages were acknowledged, and as many came, than now.
    pub(crate) fn goes_on_by(&self, more: usize, patience: Duration) -> Result<(), Failure> {
        let (acknowledged, came) = self.progress();
        let reached = |now: (usize, usize)| now.0 >= acknowledged + more && now.1 >= came + more;
        if Self::until(patience, || reached(self.progress())) {
            return Ok(());
        }
        let now = self.progress();
        Err(format!(
            "of {more} messages {} were acknowledged and {} came in {patience:?}",
            now.0 - acknowledged,
            now.1 - came
        )
        .into())
    }

    /// Waits until every acknowledged message came, at most for `patience`; the verdict says which did not.
    pub(crate) fn all_came(&self, patience: Duration) {
        Self::until(patience, || {
            let book = self.book();
            book.acknowledged
                .iter()
                .all(|number| book.came.contains_key(number))
        });
    }

    fn until(patience: Duration, is_so: impl Fn() -> bool) -> bool {
        let until = Instant::now() + patience;
        while !is_so() {
            if Instant::now() > until {
                return false;
            }
            pause(LOOK_EVERY);
        }
        true
    }

    /// What became of all of them.
    pub(crate) fn verdict(&self) -> Verdict {
        let book = self.book();
        let repeated = |number: &u64| book.repeated.get(number).copied().unwrap_or_default();
        let mut lost: Vec<_> = book.acknowledged.iter().copied().collect();
        lost.retain(|number| !book.came.contains_key(number));
        let beyond = |(number, times): (&u64, &[u64; 2])| times[0].saturating_sub(1 + repeated(number));
        let too_often = book.came.iter().filter(|came| beyond(*came) > 0);
        let mut doubled: Vec<_> = too_often.map(|(number, _)| *number).collect();
        lost.sort_unstable();
        doubled.sort_unstable();
        let came: u64 = book.came.values().flatten().sum();
        Verdict {
            sent: book.sent,
            sent_again: book.sent_again,
            acknowledged: book.acknowledged.len() as u64,
            came,
            lost,
            doubled,
            again: came - book.came.len() as u64,
            beyond: book.came.iter().map(beyond).sum(),
            altered: book.altered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        Ledger::new(16..2000, 1000.0)
    }

    #[test]
    fn an_acknowledged_message_that_never_comes_is_lost_and_another_is_not() {
        let ledger = ledger();
        ledger.acknowledged(1);
        ledger.acknowledged(2);
        ledger.came(&ledger.payload(2), false);
        ledger.came(&ledger.payload(3), false);
        let verdict = ledger.verdict();
        assert_eq!((verdict.lost, verdict.came, verdict.again), (vec![1], 2, 0));
    }

    #[test]
    fn a_message_may_come_as_often_as_it_was_sent_and_more_often_where_it_is_marked() {
        let ledger = ledger();
        let comes = |number: u64, marked: bool| ledger.came(&ledger.payload(number), marked);
        for (number, marked) in [
            (1, false),
            (1, false),
            (2, false),
            (2, false),
            (3, false),
            (3, true),
        ] {
            comes(number, marked);
        }
        ledger.repeated(1, false);
        ledger.repeated(2, true);
        let verdict = ledger.verdict();
        assert_eq!((&verdict.doubled, verdict.again), (&vec![2], 3));
        assert!(!verdict.is_clean());
    }

    #[test]
    fn what_came_before_a_broker_forgot_it_may_come_once_more_and_what_comes_later_not() {
        let ledger = ledger();
        let comes = |number: u64| ledger.came(&ledger.payload(number), false);
        comes(1);
        ledger.place_was_lost();
        for number in [1, 2, 2] {
            comes(number);
        }
        assert_eq!(ledger.verdict().doubled, [2]);
    }

    #[test]
    fn a_message_with_one_byte_changed_cut_or_added_is_altered() {
        let ledger = ledger();
        let whole = ledger.payload(7);
        let mut changed = whole.clone();
        *changed.last_mut().expect("some bytes") ^= 1;
        for bytes in [
            &changed[..],
            &whole[..whole.len() - 1],
            &[&whole[..], b"x"].concat(),
            b"7",
        ] {
            ledger.came(bytes, false);
        }
        ledger.came(&whole, false);
        let verdict = ledger.verdict();
        assert_eq!((verdict.altered, verdict.came), (4, 1));
    }
}
