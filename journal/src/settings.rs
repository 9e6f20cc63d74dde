//! What an operator may choose.
//!
//! In: nothing. Out: [`Settings`], checked by [`Settings::check`].
//! Left out on purpose: names and units of configuration files, which stand with the part that is configured.

use crate::error::SettingsError;
use crate::format::{LAST_START, SEGMENT_HEADER};

/// What a completed append means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The record survives the loss of power: one `fdatasync` for each group of records.
    #[default]
    Sync,
    /// The record survives the end of the process. Loss of power may take what was written since a segment began.
    Write,
}

/// What happens when [`Settings::max_bytes`] is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// Appends fail with [`crate::AppendError::BudgetFull`] until something is truncated.
    #[default]
    Refuse,
    /// The oldest segments go, whole; their records are counted.
    DropOldest,
}

/// How a journal is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whose records these are (a shard, a partition). A journal of another stream is refused. Default 0.
    pub stream: u32,
    /// A segment is closed before it grows beyond this; a single larger record has a segment of its own. Default
    /// 64 MiB, 4 KiB to 1 GiB. Space is given back in whole segments, and each keeps one file open.
    pub segment_bytes: u64,
    /// Bytes that the journal may occupy on disk. Default 4 GiB; at least four segments.
    pub max_bytes: u64,
    /// Bytes of records that may wait in memory, those being written included. Default 64 MiB. A record larger than
    /// this is taken when nothing else waits.
    pub queue_bytes: usize,
    /// What a completed append means. Default [`Durability::Sync`].
    pub durability: Durability,
    /// What happens at `max_bytes`. Default [`Overflow::Refuse`].
    pub overflow: Overflow,
    /// The next record gets at least this sequence number. Default 1. For callers that keep sequence numbers
    /// elsewhere: after damage to the very end of the log they would otherwise be given out again.
    pub first_sequence: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stream: 0,
            segment_bytes: 64 << 20,
            max_bytes: 4 << 30,
            queue_bytes: 64 << 20,
            durability: Durability::Sync,
            overflow: Overflow::Refuse,
            first_sequence: 1,
        }
    }
}

impl Settings {
    /// Whether the values are usable together.
    ///
    /// # Errors
    /// [`SettingsError`] says which one does not and what would.
    pub fn check(&self) -> Result<(), SettingsError> {
        if !(4 << 10..=1 << 30).contains(&self.segment_bytes) {
            return Err(SettingsError::SegmentBytes {
                bytes: self.segment_bytes,
            });
        }
        if self.max_bytes < 4 * self.segment_bytes {
            return Err(SettingsError::MaxBytes {
                bytes: self.max_bytes,
                least: 4 * self.segment_bytes,
            });
        }
        if self.first_sequence >= LAST_START {
            return Err(SettingsError::FirstSequence {
                first: self.first_sequence,
            });
        }
        Ok(())
    }

    /// Whether a record of `size` bytes belongs into a segment that is `length` bytes long.
    pub(crate) fn fits(&self, length: u64, size: u64) -> bool {
        length <= SEGMENT_HEADER || length + size <= self.segment_bytes
    }
}
