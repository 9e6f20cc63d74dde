//! Messages of one batch by what they bear: those that bear the same have one span, and are given its context.
//!
//! In: the records of a batch as a producer sends it, one after the other. Out: what to add to each, and the tokens of their
//! spans. A batch whose records bear nothing has one; each trace and each correlation id among them has one of its own.
//! Left out on purpose: more than one batch. A context that two of them bear has a span in each.

use std::collections::HashMap;

use propagation::{CorrelationId, Extracted, SpanId, TraceId};

use super::batch::{Headers, Record, put_header};
use crate::queues::splice::{Courier, Sent, Token};

/// The records of a batch so far.
#[derive(Default)]
pub(super) struct Alike<'a> {
    groups: Vec<Group>,
    known: HashMap<Bears, usize>,
    /// The headers of the record before; absent where one with the same headers may bear something else.
    headers: Option<&'a [u8]>,
    /// The group of the record before.
    at: usize,
    /// What was added to it: so many headers.
    count: usize,
    added: Vec<u8>,
    /// Where headers are put together.
    room: Vec<u8>,
}

/// Messages that bear the same.
struct Group {
    token: Option<Token>,
    add: Vec<(String, Vec<u8>)>,
    messages: usize,
    /// Something was added to one of them.
    grew: bool,
}

/// What decides on a message's place in a trace and on its correlation id.
#[derive(PartialEq, Eq, Hash)]
struct Bears {
    context: Option<(TraceId, SpanId, u8)>,
    start: Option<TraceId>,
    correlation: Option<CorrelationId>,
}

impl Bears {
    /// `None` where the message bears what is no other's: that is rare, and its span tells of it in full.
    fn of(extracted: &Extracted) -> Option<Self> {
        let context = extracted.context.as_ref();
        let decided = context.is_none() && extracted.decision.is_some();
        let plain = !decided && extracted.others.is_empty() && extracted.skywalking.is_none();
        plain.then(|| Self {
            context: context.map(|it| (it.trace_id, it.span_id, it.flags.bits())),
            start: extracted.start.as_ref().map(|start| start.trace_id),
            correlation: extracted.correlation.clone(),
        })
    }
}

/// The spans of a batch.
#[derive(Default)]
pub(super) struct Tokens {
    pub(super) all: Vec<Token>,
    /// Those whose messages were given something.
    pub(super) grew: Vec<Token>,
}

impl<'a> Alike<'a> {
    /// What to add to the next record. `send` tells of it, by what it bears, where that is not known yet.
    pub(super) fn next(
        &mut self,
        record: &Record<'a>,
        courier: &mut dyn Courier,
        send: impl FnOnce(&mut dyn Courier, &Extracted) -> Sent,
    ) -> Headers<'_> {
        if self.headers != Some(record.headers.bytes) {
            self.turn(record, courier, send);
        }
        if let Some(group) = self.groups.get_mut(self.at) {
            group.messages += 1;
        }
        Headers {
            count: self.count,
            bytes: &self.added,
        }
    }

    /// The record has other headers than the one before.
    fn turn(
        &mut self,
        record: &Record<'a>,
        courier: &mut dyn Courier,
        send: impl FnOnce(&mut dyn Courier, &Extracted) -> Sent,
    ) {
        let extracted = courier.reads(&record.carried(&mut self.room));
        let bears = Bears::of(&extracted);
        // What is not believed is counted with every message that bears it.
        let says_all = extracted.skipped.is_empty() && record.bears_in_headers();
        let shared = bears.as_ref().and_then(|bears| self.known.get(bears));
        self.at = shared.copied().unwrap_or_else(|| {
            let Sent { token, add } = send(courier, &extracted);
            let (at, messages, grew) = (self.groups.len(), 0, false);
            self.groups.push(Group {
                token,
                add,
                messages,
                grew,
            });
            // Without a token the span has ended, and no further message can be of it.
            if let Some(bears) = bears.filter(|_| token.is_some()) {
                self.known.insert(bears, at);
            }
            at
        });
        (self.count, self.headers) = (0, None);
        self.added.clear();
        let Some(group) = self.groups.get_mut(self.at) else {
            return;
        };
        for (key, value) in &group.add {
            if !record.headers.has(key) {
                put_header(&mut self.added, key, value);
                self.count += 1;
            }
        }
        group.grew |= self.count > 0;
        if says_all && group.token.is_some() {
            self.headers = Some(record.headers.bytes);
        }
    }

    /// The batch is at its end: says of how many messages each span is.
    pub(super) fn end(self, courier: &mut dyn Courier) -> Tokens {
        let mut tokens = Tokens::default();
        for group in self.groups {
            let Some(token) = group.token else { continue };
            if group.messages > 1 {
                courier.sent_together(token, group.messages);
            }
            tokens.all.push(token);
            tokens.grew.extend(group.grew.then_some(token));
        }
        tokens
    }
}
