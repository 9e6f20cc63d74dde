//! The records of one batch, in groups that bear the same.
//!
//! In: the records of a batch as a producer sends it, one after the other. Out: what to add to each, and the groups.
//! Left out on purpose: reading a record whose headers are those of the one before; what is added to it is the same.

use propagation::Extracted;

use super::batch::{Headers, Record, put_header};
use crate::queues::alike::{Alike, Group};
use crate::queues::splice::{Courier, Sent, Token};

/// The records of a batch so far.
#[derive(Default)]
pub(super) struct Records<'a> {
    alike: Alike,
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

impl<'a> Records<'a> {
    /// What to add to the next record. `send` tells of it, by what it bears, where that is not known yet.
    pub(super) fn next(
        &mut self,
        record: &Record<'a>,
        courier: &mut dyn Courier,
        send: impl FnOnce(&mut dyn Courier, &Extracted) -> Sent,
    ) -> Headers<'_> {
        if self.headers == Some(record.headers.bytes) {
            self.alike.again(self.at);
        } else {
            self.turn(record, courier, send);
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
        // What is not believed is counted with every message that bears it.
        let says_all = extracted.skipped.is_empty() && record.bears_in_headers();
        self.at = self.alike.join(&extracted, || send(courier, &extracted));
        (self.count, self.headers) = (0, None);
        self.added.clear();
        let Some(group) = self.alike.group(self.at) else {
            return;
        };
        for (key, value) in &group.add {
            if !record.headers.has(key) {
                put_header(&mut self.added, key, value);
                self.count += 1;
            }
        }
        if says_all && group.token.is_some() {
            self.headers = Some(record.headers.bytes);
        }
    }

    /// The batch is at its end: says of how many messages each span is.
    pub(super) fn end(self, courier: &mut dyn Courier) -> Vec<(Token, Group)> {
        self.alike.end(courier)
    }
}
