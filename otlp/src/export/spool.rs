//! The buffer on disk, where batches come out.
//!
//! In: how large a batch may be. Out: one batch after the other, each noted under its id before it is given out; first
//! those that an earlier run had under way, as they were.
//! Left out on purpose: when to cut and whom to send to, see `drain`. All of this waits for files and runs where that
//! is allowed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use journal::{Position, ReadReport, Reader, Record};

use super::cursor::{Cursor, OpenBatch, State};
use super::disk::{Disk, Place, Totals};
use super::{DropReason, Ids};

/// A batch to send.
#[derive(Debug)]
pub(super) struct Cut {
    /// By which [`Spool`] knows it.
    pub(super) number: u64,
    pub(super) id: String,
    pub(super) body: Bytes,
    pub(super) spans: u64,
}

/// The end of the buffer that is read from.
pub(super) struct Spool {
    disk: Arc<Disk>,
    cursor: Cursor,
    ids: Ids,
    reader: Reader,
    /// What the reader had skipped when it was last asked.
    report: ReadReport,
    /// Where the next batch begins, and what lies before.
    next: Position,
    read: Totals,
    resume: VecDeque<OpenBatch>,
    under_way: BTreeMap<u64, OpenBatch>,
    last_number: u64,
}

impl Spool {
    pub(super) fn new(disk: Arc<Disk>, cursor: Cursor, state: State, ids: Ids) -> Self {
        Self {
            reader: disk.reader(state.next),
            report: ReadReport::default(),
            disk,
            cursor,
            ids,
            next: state.next,
            read: state.read,
            resume: state.open.into(),
            under_way: BTreeMap::new(),
            last_number: 0,
        }
    }

    /// Everything before this was given out, or is lost and counted.
    pub(super) fn read(&self) -> Totals {
        self.read
    }

    /// Whether batches of an earlier run still have to be given out.
    pub(super) fn resumes(&self) -> bool {
        !self.resume.is_empty()
    }

    /// The next batch, of about `max_bytes`; `None` where nothing is left. `answered` are batches that need not be kept.
    pub(super) fn cut(&mut self, answered: &[u64], max_bytes: usize) -> Option<Cut> {
        self.forget(answered);
        let (batch, body) = self.resumed().or_else(|| self.gathered(max_bytes))?;
        self.last_number += 1;
        let cut = Cut {
            number: self.last_number,
            id: batch.id.clone(),
            spans: batch.size.spans,
            body,
        };
        self.under_way.insert(self.last_number, batch);
        self.note();
        Some(cut)
    }

    /// Notes what was answered for and gives back its space.
    pub(super) fn settle(&mut self, answered: &[u64]) {
        self.forget(answered);
        self.note();
    }

    /// Counts what was dropped for room before it could be read, and goes on behind it.
    pub(super) fn skip_dropped(&mut self) {
        let Some(Ok(first)) = self.disk.reader(self.next).next() else {
            return;
        };
        let Some(place) = Place::of(&first) else {
            return;
        };
        if place.before.bytes > self.read.bytes {
            self.count_missing(place.before, DropReason::Oldest);
            self.go_to(first.position);
        }
    }

    /// Notes where it stands, and lets go of the directory.
    pub(super) fn close(&mut self, answered: &[u64]) {
        self.settle(answered);
        self.disk.close();
        self.cursor.close();
    }

    fn forget(&mut self, answered: &[u64]) {
        for number in answered {
            self.under_way.remove(number);
        }
    }

    /// A batch of an earlier run, with what is left of it.
    fn resumed(&mut self) -> Option<(OpenBatch, Bytes)> {
        while let Some(mut batch) = self.resume.pop_front() {
            let mut parts = Parts::default();
            for record in self.disk.reader(batch.from).filter_map(Result::ok) {
                if record.position >= batch.end {
                    break;
                }
                parts.push(&record);
            }
            let lost = batch.size.minus(parts.size);
            if lost != Totals::default() {
                self.disk
                    .counters
                    .dropped(DropReason::Oldest, lost.bytes as usize, lost.spans);
            }
            batch.size = parts.size;
            if !parts.is_empty() {
                return Some((batch, parts.into_body()));
            }
        }
        None
    }

    fn gathered(&mut self, max_bytes: usize) -> Option<(OpenBatch, Bytes)> {
        let completed = self.disk.completed();
        let mut parts = Parts::default();
        let (mut from, mut unreadable) = (None, false);
        while parts.len() < max_bytes.max(1) {
            let record = match self.reader.next() {
                None => {
                    // The end: what is still missing before it will never come.
                    let reason = self.reason(unreadable);
                    self.count_missing(completed, reason);
                    break;
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "a segment of the export buffer cannot be read");
                    unreadable = true;
                    continue;
                }
                Some(Ok(record)) => record,
            };
            // Far beyond the bound the collector might refuse what it would take by itself.
            if !parts.is_empty() && parts.len() + record.payload.len() > 2 * max_bytes {
                self.go_to(record.position);
                break;
            }
            from.get_or_insert(record.position);
            self.account(&record, std::mem::take(&mut unreadable));
            parts.push(&record);
        }
        let batch = OpenBatch {
            id: self.ids.next(),
            from: from?,
            end: self.next,
            size: parts.size,
        };
        Some((batch, parts.into_body()))
    }

    fn account(&mut self, record: &Record, unreadable: bool) {
        let reason = self.reason(unreadable);
        self.next = record.end();
        if let Some(place) = Place::of(record) {
            self.count_missing(place.before, reason);
            self.read = place.after();
        }
    }

    /// Why what is missing now is missing.
    fn reason(&mut self, unreadable: bool) -> DropReason {
        let before = std::mem::replace(&mut self.report, self.reader.report());
        if unreadable || self.report.damaged_records > before.damaged_records {
            DropReason::Damaged
        } else {
            DropReason::Oldest
        }
    }

    fn count_missing(&mut self, up_to: Totals, reason: DropReason) {
        if up_to.bytes <= self.read.bytes {
            return;
        }
        let lost = self.disk.written_between(self.read, up_to);
        self.read = up_to;
        if lost.spans > 0 || lost.bytes > 0 {
            let (spans, reason_text) = (lost.spans, reason.as_str());
            tracing::error!(spans, reason = reason_text, "spans lost from the export buffer");
            self.disk
                .counters
                .dropped(reason, lost.bytes as usize, lost.spans);
        }
    }

    fn go_to(&mut self, position: Position) {
        self.next = position;
        self.reader = self.disk.reader(position);
        self.report = ReadReport::default();
    }

    fn note(&mut self) {
        let open: Vec<OpenBatch> = self
            .resume
            .iter()
            .chain(self.under_way.values())
            .cloned()
            .collect();
        let oldest = open.iter().map(|batch| batch.from).min();
        let keep = oldest.map_or(self.next, |oldest| oldest.min(self.next));
        self.cursor.save(&State {
            next: self.next,
            read: self.read,
            open,
        });
        self.disk.truncate_before(keep);
    }
}

/// Requests that become one.
#[derive(Default)]
struct Parts {
    bodies: Vec<Bytes>,
    size: Totals,
}

impl Parts {
    fn push(&mut self, record: &Record) {
        let spans = Place::of(record).map_or(0, |place| place.size.spans);
        self.size = self.size.plus(Totals::of(&record.payload, spans));
        self.bodies.push(record.payload.clone());
    }

    fn len(&self) -> usize {
        self.size.bytes as usize
    }

    fn is_empty(&self) -> bool {
        self.bodies.is_empty()
    }

    fn into_body(self) -> Bytes {
        if let [single] = &self.bodies[..] {
            return single.clone();
        }
        let mut body = BytesMut::with_capacity(self.len());
        for part in &self.bodies {
            body.extend_from_slice(part);
        }
        body.freeze()
    }
}
