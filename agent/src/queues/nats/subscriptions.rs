//! What a client subscribed to.
//!
//! In: `SUB` and `UNSUB`, and deliveries by subscription. Out: the queue group, whether a subscription answers, and which of
//! its deliveries may still be answered.
//! Left out on purpose: matching subjects; the broker does that.

use std::collections::{HashMap, HashSet};

use super::line::Line;

/// Beyond it subscriptions have no group and are told apart no more.
const MAX_SUBSCRIPTIONS: usize = 4_096;
/// Beyond it replies to further subjects are not waited for.
const MAX_INBOXES: usize = 64;

/// Those of one connection.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    by_sid: HashMap<Box<[u8]>, Subscription>,
    /// The numbers of those that have replied to a delivery.
    answer: HashSet<u64>,
    /// What subjects with a wildcard at their end begin with: replies to them come here.
    inboxes: Vec<Box<[u8]>>,
    next: u64,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) number: u64,
    /// Empty where there is none.
    pub(super) group: String,
    /// The reply subject of a delivery that is not ended, as long as nobody knows whether it ever will be.
    open: Option<Box<[u8]>>,
    delivered: u64,
    /// It ends after so many.
    limit: Option<u64>,
}

impl Subscriptions {
    /// By `SUB subject [group] sid`.
    pub(super) fn add(&mut self, line: Line<'_>) {
        let Some(words) = line.words::<3>().filter(|words| words.count >= 2) else {
            return;
        };
        let (subject, sid) = (words.get(0), words.get(words.count - 1));
        self.add_inbox(subject);
        if self.by_sid.len() >= MAX_SUBSCRIPTIONS {
            return;
        }
        let group = if words.count == 3 { words.get(1) } else { b"" };
        self.next += 1;
        let subscription = Subscription {
            number: self.next,
            group: String::from_utf8_lossy(group).into_owned(),
            open: None,
            delivered: 0,
            limit: None,
        };
        self.by_sid.insert(sid.into(), subscription);
    }

    fn add_inbox(&mut self, subject: &[u8]) {
        let wildcard = |subject: &[u8]| subject.ends_with(b".*") || subject.ends_with(b".>");
        if wildcard(subject) && !subject.starts_with(b"_INBOX.") && self.inboxes.len() < MAX_INBOXES {
            let prefix = subject.split_last().map(|(_, prefix)| prefix).unwrap_or_default();
            if !prefix.contains(&b'*') && !self.inboxes.iter().any(|known| &**known == prefix) {
                self.inboxes.push(prefix.into());
            }
        }
    }

    /// By `UNSUB sid [max]`. Returns the reply subject of a delivery that nobody will answer.
    pub(super) fn end(&mut self, line: Line<'_>) -> Option<Box<[u8]>> {
        let words = line.words::<2>()?;
        let limit = std::str::from_utf8(words.get(1))
            .ok()
            .and_then(|word| word.parse().ok());
        match (limit, self.by_sid.get_mut(words.get(0))) {
            (Some(limit), Some(subscription)) if subscription.delivered < limit => {
                subscription.limit = Some(limit);
                None
            }
            _ => self.remove(words.get(0))?.open,
        }
    }

    fn remove(&mut self, sid: &[u8]) -> Option<Subscription> {
        let subscription = self.by_sid.remove(sid)?;
        self.answer.remove(&subscription.number);
        Some(subscription)
    }

    /// Whether what is sent to `reply` comes to this client.
    pub(super) fn is_inbox(&self, reply: &[u8]) -> bool {
        reply.starts_with(b"_INBOX") || self.inboxes.iter().any(|prefix| reply.starts_with(prefix))
    }

    /// The queue group of one; empty where there is none.
    pub(super) fn group(&self, sid: &[u8]) -> &str {
        self.by_sid
            .get(sid)
            .map_or("", |subscription| &subscription.group)
    }

    /// Whether it ends after some number of deliveries.
    pub(super) fn is_limited(&self, sid: &[u8]) -> bool {
        let limit = |subscription: &Subscription| subscription.limit.is_some();
        self.by_sid.get(sid).is_some_and(limit)
    }

    /// The one that a delivery is for.
    pub(super) fn delivers(&mut self, sid: &[u8]) -> Option<&mut Subscription> {
        let subscription = self.by_sid.get_mut(sid)?;
        subscription.delivered += 1;
        Some(subscription)
    }

    /// Forgets the one that had its last delivery.
    pub(super) fn after_delivery(&mut self, sid: &[u8]) {
        let last = |subscription: &Subscription| {
            subscription
                .limit
                .is_some_and(|limit| subscription.delivered >= limit)
        };
        if self.by_sid.get(sid).is_some_and(last) {
            self.remove(sid);
        }
    }

    /// The subscription `number` has replied to a delivery, and is expected to reply to others.
    pub(super) fn answers(&mut self, number: u64) {
        self.answer.insert(number);
    }

    /// A delivery of `sid` may be answered at `reply`. Returns the reply subject of the one before it, where none was ever
    /// answered: who only listens hears requests too.
    pub(super) fn may_answer(&mut self, sid: &[u8], reply: &[u8]) -> Option<Box<[u8]>> {
        let subscription = self.by_sid.get_mut(sid)?;
        if self.answer.contains(&subscription.number) {
            subscription.open = None;
            return None;
        }
        subscription.open.replace(reply.into())
    }
}
