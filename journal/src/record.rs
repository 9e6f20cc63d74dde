//! Records and where they lie.
//!
//! In: nothing. Out: the types that cross the crate's boundary in both directions.
//! Left out on purpose: how they look on disk, see `format`.

use std::fmt;

use bytes::Bytes;

use crate::format::RECORD_HEADER;

/// Longest key of a record, in bytes.
pub const MAX_KEY: usize = 255;

/// Where a record begins. Ordered as the records are; never used again for another record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Number of the segment file, from 1.
    pub segment: u64,
    /// Byte in that file.
    pub offset: u32,
}

impl Position {
    /// Before everything: a reader from here starts at the oldest record.
    pub const START: Self = Self {
        segment: 0,
        offset: 0,
    };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment, self.offset)
    }
}

/// A record to append.
#[derive(Clone, Debug, Default)]
pub struct NewRecord {
    /// The caller's time, nanoseconds since 1970. Stored as it is.
    pub time: u64,
    /// At most [`MAX_KEY`] bytes, for example a batch id.
    pub key: Bytes,
    /// At most [`crate::MAX_PAYLOAD`] bytes. Written from where it lies, not copied.
    pub payload: Bytes,
}

/// A record that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Where it begins.
    pub position: Position,
    /// Where it ends: a reader from here gives what comes after it.
    pub end: Position,
    /// Its number; the next record has the next one.
    pub sequence: u64,
}

/// A record read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it begins.
    pub position: Position,
    /// Its number.
    pub sequence: u64,
    /// The caller's time, nanoseconds since 1970.
    pub time: u64,
    /// The caller's key.
    pub key: Bytes,
    /// The caller's payload.
    pub payload: Bytes,
}

impl Record {
    /// Where the record ends: a reader from here gives what comes after it.
    pub fn end(&self) -> Position {
        let length = RECORD_HEADER + self.payload.len() + self.key.len();
        Position {
            segment: self.position.segment,
            offset: self.position.offset.saturating_add(length as u32),
        }
    }
}
