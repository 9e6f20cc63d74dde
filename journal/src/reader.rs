//! Reading the journal in order, over segments and damage.
//!
//! In: a position. Out: every whole record from there on, and a [`ReadReport`] of what was not.
//! Left out on purpose: waiting for more. At the end the iterator gives `None`, and more once more was appended.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use crate::cursor::{Cursor, Damage};
use crate::error::ReadError;
use crate::format::{RECORD_HEADER, RecordHeader};
use crate::journal::Shared;
use crate::record::{Position, Record};
use crate::segment::{Segment, Segments};
use crate::storage::read_full;

/// What a reader did not give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// Records that were skipped because they, or their segment, are damaged or missing.
    pub damaged_records: u64,
    /// Bytes that were skipped; also those of writes that failed and could not be cut off, which are no records.
    pub damaged_bytes: u64,
    /// Records whose segments were truncated or dropped before the reader came to them.
    pub removed_records: u64,
}

/// Gives the records of a journal in order. `None` is the end for now: records completed later come afterwards.
///
/// Memory is bounded by a megabyte, or one record where that is larger. After an error it goes on with the next
/// segment.
pub struct Reader {
    shared: Arc<Shared>,
    from: Position,
    current: Option<Current>,
    /// The sequence number that comes next, where it is known.
    expected: Option<u64>,
    report: ReadReport,
}

struct Current {
    segment: Arc<Segment>,
    cursor: Cursor,
    /// Later segments begin with this number; what has it here was never completed.
    ceiling: u64,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, from: Position) -> Self {
        Self {
            shared,
            from,
            current: None,
            expected: None,
            report: ReadReport::default(),
        }
    }

    /// What was not given so far.
    pub fn report(&self) -> ReadReport {
        self.report
    }

    /// Where reading goes on: a reader from here continues this one.
    pub fn position(&self) -> Position {
        self.current.as_ref().map_or(self.from, |current| Position {
            segment: current.segment.number,
            offset: current.cursor.offset() as u32,
        })
    }

    /// Goes to the first segment at or after `self.from`. False where there is none yet.
    fn enter(&mut self) -> bool {
        let Some(segment) = self.shared.segments.at_or_after(self.from.segment) else {
            return false;
        };
        let in_order = segment.number == self.from.segment;
        let Some(header) = segment.header else {
            self.skip(Damage {
                records: 0,
                bytes: segment.committed(),
            });
            self.from = Position {
                segment: segment.number + 1,
                offset: 0,
            };
            return true;
        };
        if let Some(expected) = self.expected {
            self.count_missing(header.first_sequence.saturating_sub(expected), in_order);
        }
        let offset = if in_order { u64::from(self.from.offset) } else { 0 };
        let cursor = Cursor::new(Arc::clone(&segment.file), header, offset);
        let ceiling = self
            .shared
            .segments
            .first_sequence_after(segment.number)
            .unwrap_or(u64::MAX);
        self.current = Some(Current {
            segment,
            cursor,
            ceiling,
        });
        true
    }

    fn leave(&mut self) {
        let Some(current) = self.current.take() else {
            return;
        };
        self.expected = current.cursor.is_exact().then(|| current.cursor.expected());
        self.from = Position {
            segment: current.segment.number + 1,
            offset: 0,
        };
    }

    fn count_missing(&mut self, records: u64, in_order: bool) {
        if in_order {
            self.skip(Damage { records, bytes: 0 });
        } else {
            self.report.removed_records += records;
        }
    }

    fn skip(&mut self, damage: Damage) {
        self.report.damaged_records += damage.records;
        self.report.damaged_bytes += damage.bytes;
        self.shared
            .counters
            .damaged_records
            .fetch_add(damage.records, Relaxed);
        self.shared
            .counters
            .damaged_bytes
            .fetch_add(damage.bytes, Relaxed);
    }
}

impl Current {
    fn next(&mut self, damage: &mut Damage) -> Result<Option<Record>, ReadError> {
        let position = Position {
            segment: self.segment.number,
            offset: self.cursor.offset() as u32,
        };
        let failed = |source| ReadError::Io { position, source };
        let end = self.segment.committed();
        let Some(found) = self.cursor.next(end, self.ceiling, damage).map_err(failed)? else {
            return Ok(None);
        };
        let position = Position {
            offset: found.offset as u32,
            ..position
        };
        let body = self.cursor.body(&found).map_err(failed)?;
        record(position, &found.header, &Bytes::copy_from_slice(body)).map(Some)
    }
}

impl Iterator for Reader {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(current) = &mut self.current else {
                if self.enter() {
                    continue;
                }
                return None;
            };
            let mut damage = Damage::default();
            // Looked for before the segment is read to its end: once there is a later one, this one has all it gets.
            let at_end = current.cursor.offset() >= current.segment.committed();
            let is_last = at_end
                && self
                    .shared
                    .segments
                    .at_or_after(current.segment.number + 1)
                    .is_none();
            let result = current.next(&mut damage);
            self.skip(damage);
            match result {
                Ok(Some(record)) => return Some(Ok(record)),
                Ok(None) if is_last => return None,
                Ok(None) if at_end => self.leave(),
                Ok(None) => {}
                Err(error) => {
                    self.leave();
                    return Some(Err(error));
                }
            }
        }
    }
}

/// The record that begins at `position`.
pub(crate) fn read_one(segments: &Segments, position: Position) -> Result<Record, ReadError> {
    let segment = segments
        .get(position.segment)
        .ok_or(ReadError::Gone { position })?;
    let damaged = || ReadError::Damaged { position };
    let header = segment.header.ok_or_else(damaged)?;
    let offset = u64::from(position.offset);
    let mut bytes = [0; RECORD_HEADER];
    read_exact(&segment, &mut bytes, offset, position)?;
    let record_header = RecordHeader::decode(&bytes, header.salt).ok_or_else(damaged)?;
    if offset + record_header.record_len() > segment.committed() {
        return Err(damaged());
    }
    let mut body = vec![0; record_header.body_len()];
    read_exact(&segment, &mut body, offset + RECORD_HEADER as u64, position)?;
    if !record_header.fits_body(&body) {
        return Err(damaged());
    }
    record(position, &record_header, &body.into())
}

fn read_exact(segment: &Segment, buffer: &mut [u8], offset: u64, at: Position) -> Result<(), ReadError> {
    match read_full(&*segment.file, buffer, offset) {
        Ok(read) if read == buffer.len() => Ok(()),
        Ok(_) => Err(ReadError::Damaged { position: at }),
        Err(source) => Err(ReadError::Io { position: at, source }),
    }
}

fn record(position: Position, header: &RecordHeader, body: &Bytes) -> Result<Record, ReadError> {
    let payload_len = header.payload_len as usize;
    if payload_len > body.len() {
        return Err(ReadError::Damaged { position });
    }
    let (payload, key) = (body.slice(..payload_len), body.slice(payload_len..));
    Ok(Record {
        position,
        sequence: header.sequence,
        time: header.time,
        key,
        payload,
    })
}
