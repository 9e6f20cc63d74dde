//! Finds the records of one segment, one after the other, over whatever damage lies between.
//!
//! In: a segment's file, and how far it may be read. Out: headers and bodies whose checksums and sequence numbers fit;
//! what was skipped.
//! Left out on purpose: what lies in other segments, see `reader`.

use std::io;
use std::sync::Arc;

use crate::format::{MARKER, RECORD_HEADER, RecordHeader, SEGMENT_HEADER, SegmentHeader};
use crate::storage::{File, read_full};

const CHUNK: usize = 1 << 20;

/// What was skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Cursor {
    window: Window,
    salt: u32,
    offset: u64,
    /// Next sequence number, exactly, or at least where bytes were skipped.
    expected: u64,
    /// Records that the skipped bytes before `offset` can have held at most.
    slack: u64,
    /// Whether `expected` is exact at the place where reading began.
    exact: bool,
}

/// A record that was found; its body is [`Cursor::body`] until the next call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) offset: u64,
    pub(crate) header: RecordHeader,
}

enum Candidate {
    Whole(RecordHeader),
    /// The header can be trusted, and with it the length; the body cannot.
    DamagedBody(RecordHeader),
    Nothing,
}

impl Cursor {
    /// Begins at `offset`; at the first record where that lies before it.
    pub(crate) fn new(file: Arc<dyn File>, header: SegmentHeader, offset: u64) -> Self {
        let offset = offset.max(SEGMENT_HEADER);
        Self {
            window: Window {
                file,
                start: offset,
                buffer: Vec::new(),
            },
            salt: header.salt,
            offset,
            expected: header.first_sequence,
            slack: most_records(offset - SEGMENT_HEADER),
            exact: offset == SEGMENT_HEADER,
        }
    }

    /// Where the next record begins, or the damage before it.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The sequence number that comes next; too low where reading began within a segment and found nothing yet.
    pub(crate) fn expected(&self) -> u64 {
        self.expected
    }

    /// Whether [`Cursor::expected`] follows from a record, or from the segment's beginning.
    pub(crate) fn is_exact(&self) -> bool {
        self.exact
    }

    /// The next record that ends at or before `end` and has a sequence number below `ceiling`.
    pub(crate) fn next(&mut self, end: u64, ceiling: u64, damage: &mut Damage) -> io::Result<Option<Found>> {
        while self.offset < end {
            let offset = self.offset;
            match self.candidate(end)? {
                Candidate::Whole(header) | Candidate::DamagedBody(header) if header.sequence >= ceiling => {
                    self.offset = end;
                }
                Candidate::Whole(header) => {
                    damage.records += self.pass(&header);
                    return Ok(Some(Found { offset, header }));
                }
                Candidate::DamagedBody(header) => {
                    damage.records += self.pass(&header) + 1;
                    damage.bytes += header.record_len();
                }
                Candidate::Nothing => damage.bytes += self.resynchronise(end)?,
            }
        }
        Ok(None)
    }

    /// The body of the record that [`Cursor::next`] gave last.
    pub(crate) fn body(&mut self, found: &Found) -> io::Result<&[u8]> {
        let start = found.offset + RECORD_HEADER as u64;
        let body = self.window.bytes(start, found.header.body_len(), self.offset)?;
        body.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn candidate(&mut self, end: u64) -> io::Result<Candidate> {
        let Some(bytes) = self.window.bytes(self.offset, RECORD_HEADER, end)? else {
            return Ok(Candidate::Nothing);
        };
        let Some(header) = RecordHeader::decode(bytes, self.salt).filter(|header| self.follows(header))
        else {
            return Ok(Candidate::Nothing);
        };
        let start = self.offset + RECORD_HEADER as u64;
        Ok(match self.window.bytes(start, header.body_len(), end)? {
            Some(body) if header.fits_body(body) => Candidate::Whole(header),
            Some(_) => Candidate::DamagedBody(header),
            None => Candidate::Nothing,
        })
    }

    fn follows(&self, header: &RecordHeader) -> bool {
        header
            .sequence
            .checked_sub(self.expected)
            .is_some_and(|gap| gap <= self.slack)
    }

    /// Steps over a record; returns how many are missing before it.
    fn pass(&mut self, header: &RecordHeader) -> u64 {
        let missing = if self.exact {
            header.sequence - self.expected
        } else {
            0
        };
        self.offset += header.record_len();
        self.expected = header.sequence.saturating_add(1);
        self.slack = 0;
        self.exact = true;
        missing
    }

    /// Goes to the next marker before `end`, else to `end`; returns how many bytes were skipped.
    fn resynchronise(&mut self, end: u64) -> io::Result<u64> {
        let from = self.offset;
        self.offset = self.window.find_marker(from + 1, end)?.unwrap_or(end);
        let skipped = self.offset - from;
        self.slack = self.slack.saturating_add(most_records(skipped).max(1));
        Ok(skipped)
    }
}

fn most_records(bytes: u64) -> u64 {
    bytes / RECORD_HEADER as u64
}

/// The part of a file that was read last.
#[derive(Debug)]
struct Window {
    file: Arc<dyn File>,
    start: u64,
    buffer: Vec<u8>,
}

impl Window {
    /// `len` bytes at `at`; `None` where the file, or `end`, comes first. Reads ahead, never beyond `end`.
    fn bytes(&mut self, at: u64, len: usize, end: u64) -> io::Result<Option<&[u8]>> {
        let available = end.saturating_sub(at);
        if (len as u64) > available {
            return Ok(None);
        }
        if !self.holds(at, len) {
            self.fill(at, available.min(len.max(CHUNK) as u64) as usize)?;
        }
        let from = (at - self.start) as usize;
        Ok(self.buffer.get(from..from + len))
    }

    fn holds(&self, at: u64, len: usize) -> bool {
        at >= self.start && at + len as u64 <= self.start + self.buffer.len() as u64
    }

    /// Makes the buffer begin at `at` and hold `len` bytes, fewer where the file ends; keeps what it has of them.
    fn fill(&mut self, at: u64, len: usize) -> io::Result<()> {
        let held = at
            .checked_sub(self.start)
            .map_or(usize::MAX, |skip| skip as usize);
        if held <= self.buffer.len() {
            self.buffer.drain(..held);
        } else {
            self.buffer.clear();
        }
        self.start = at;
        let kept = self.buffer.len();
        self.buffer.resize(len.max(kept), 0);
        let rest = self.buffer.get_mut(kept..).unwrap_or_default();
        let read = read_full(&*self.file, rest, at + kept as u64);
        self.buffer.truncate(kept + read.as_ref().copied().unwrap_or(0));
        read.map(drop)
    }

    /// Where the next marker begins that ends at or before `end`.
    fn find_marker(&mut self, mut at: u64, end: u64) -> io::Result<Option<u64>> {
        let overlap = MARKER.len() as u64 - 1;
        while at + overlap < end {
            let len = (end - at).min(CHUNK as u64) as usize;
            let Some(bytes) = self.bytes(at, len, end)? else {
                return Ok(None);
            };
            if let Some(found) = bytes.windows(MARKER.len()).position(|window| window == MARKER) {
                return Ok(Some(at + found as u64));
            }
            at += len as u64 - overlap;
        }
        Ok(None)
    }
}
