//! What can go wrong, told to the operator and countable by reason.
//!
//! In: causes. Out: one type per question: cannot open, cannot append, cannot read.
//! Left out on purpose: damage found while reading in order, which is skipped and counted, see [`crate::ReadReport`].

use std::io;
use std::sync::Arc;

use crate::format::{FORMAT_VERSION, LAST_START, MAX_PAYLOAD};
use crate::record::{MAX_KEY, Position};

/// Sizes in [`crate::Settings`] that do not fit.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// Out of range.
    #[error("`segment_bytes` is {bytes}, but must lie between 4096 (4 KiB) and 1073741824 (1 GiB)")]
    SegmentBytes {
        /// As given.
        bytes: u64,
    },
    /// Too little for the segments.
    #[error("`max_bytes` is {bytes}, but must be at least {least}: four times `segment_bytes`")]
    MaxBytes {
        /// As given.
        bytes: u64,
        /// What would do.
        least: u64,
    },
    /// No room to count on from there.
    #[error("`first_sequence` is {first}, but must be below {LAST_START} (2^62)")]
    FirstSequence {
        /// As given.
        first: u64,
    },
}

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The settings contradict each other.
    #[error("the journal's settings are not usable")]
    Settings(#[from] SettingsError),
    /// Another process, or another journal of this one, has it.
    #[error("journal `{place}` is in use by another process: stop it, or choose another directory")]
    Locked {
        /// The directory.
        place: String,
    },
    /// Written by a newer (or foreign) program.
    #[error(
        "`{name}` in journal `{place}` has format version {version}, but this program reads version {FORMAT_VERSION}"
    )]
    Version {
        /// The directory.
        place: String,
        /// The file.
        name: String,
        /// As found.
        version: u8,
    },
    /// The journal of another stream.
    #[error("`{name}` in journal `{place}` belongs to stream {found}, but stream {wanted} was asked for")]
    Stream {
        /// The directory.
        place: String,
        /// The file.
        name: String,
        /// As found.
        found: u32,
        /// As in the settings.
        wanted: u32,
    },
    /// Numbers that no journal reaches.
    #[error(
        "journal `{place}` counts on from {number}, but no journal reaches {LAST_START} (2^62): move its files away"
    )]
    Exhausted {
        /// The directory.
        place: String,
        /// As found.
        number: u64,
    },
    /// The file layer failed.
    #[error("cannot {action} `{name}` of journal `{place}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The directory.
        place: String,
        /// The file, or what else.
        name: String,
        /// Why it failed.
        source: io::Error,
    },
}

/// Why a record was not appended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Too many bytes wait to be written. Come again later.
    #[error("the journal's queue is full: {queued} bytes wait to be written")]
    QueueFull {
        /// Bytes that wait.
        queued: usize,
    },
    /// The disk budget is spent. Come again later.
    #[error("the journal occupies {bytes} bytes of its `max_bytes` {max_bytes} and may not drop any")]
    BudgetFull {
        /// Bytes on disk.
        bytes: u64,
        /// The budget.
        max_bytes: u64,
    },
    /// The disk is full. Come again later.
    #[error("no space left for the journal")]
    NoSpace(#[source] Arc<io::Error>),
    /// Writing failed. Come again later.
    #[error("cannot write to the journal")]
    Write(#[source] Arc<io::Error>),
    /// Written, but the disk could not promise to keep it. Come again later.
    #[error("cannot sync the journal")]
    Sync(#[source] Arc<io::Error>),
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
    /// Never acceptable.
    #[error("payload of {bytes} bytes, but a record holds at most {MAX_PAYLOAD}")]
    PayloadTooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Never acceptable.
    #[error("key of {bytes} bytes, but a record's key has at most {MAX_KEY}")]
    KeyTooLong {
        /// Its length.
        bytes: usize,
    },
}

impl AppendError {
    /// Whether the same record may be accepted later.
    pub fn is_temporary(&self) -> bool {
        !matches!(
            self,
            Self::Closed | Self::PayloadTooLarge { .. } | Self::KeyTooLong { .. }
        )
    }

    pub(crate) fn from_write(error: io::Error) -> Self {
        if is_no_space(&error) {
            Self::NoSpace(Arc::new(error))
        } else {
            Self::Write(Arc::new(error))
        }
    }

    pub(crate) fn from_sync(error: io::Error) -> Self {
        if is_no_space(&error) {
            Self::NoSpace(Arc::new(error))
        } else {
            Self::Sync(Arc::new(error))
        }
    }
}

fn is_no_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Its segment was truncated or dropped, or never was.
    #[error("record {position} is no longer in the journal")]
    Gone {
        /// As asked.
        position: Position,
    },
    /// Nothing valid lies there.
    #[error("record {position} is damaged")]
    Damaged {
        /// As asked.
        position: Position,
    },
    /// More was asked for than is there.
    #[error("{len} bytes from byte {offset} of record {position} reach beyond the end of what is durable")]
    OutOfRange {
        /// As asked.
        position: Position,
        /// As asked.
        offset: usize,
        /// As asked.
        len: usize,
    },
    /// The file layer failed.
    #[error("cannot read record {position}")]
    Io {
        /// As asked.
        position: Position,
        /// Why it failed.
        source: io::Error,
    },
}
