//! What can go wrong, and what to do then.
//!
//! In: nothing. Out: an error for each thing that the store does.
//! Left out on purpose: damage that a search or an opening steps over. That is counted, see [`crate::StoreStats`].

use std::io;
use std::path::PathBuf;

/// A segment could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system refused.
    #[error("cannot read segment `{path}`", path = path.display())]
    Io {
        /// The segment's file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// What was asked for lies in bytes that are not as they were written.
    #[error("segment `{path}` is damaged where the trace is: restore the file, or remove it to lose its traces", path = path.display())]
    Damaged {
        /// The segment's file.
        path: PathBuf,
    },
}

/// A fragment was not stored.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The bytes are no OTLP `TracesData`. Storing them again will not help.
    #[error("the fragment is no OTLP `TracesData`")]
    Malformed(#[source] otlp::view::Malformed),
    /// The trace would become larger than `max_trace_bytes`. Storing it again will not help.
    #[error("the trace would have {bytes} bytes, but `max_trace_bytes` is {limit}")]
    TraceTooLarge {
        /// Bytes it would have.
        bytes: usize,
        /// Bytes it may have.
        limit: usize,
    },
    /// Both heads are full because a segment could not be written. Each attempt tries again to write it.
    #[error("the store's memory is full because no segment can be written: {reason}")]
    Full {
        /// Why not.
        reason: String,
    },
    /// The trace has a stored part that cannot be read now.
    #[error("the stored part of the trace cannot be read")]
    Read(#[from] ReadError),
}

/// No segment was written. Everything stays in memory and the next attempt begins anew.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The file system refused, mostly because it is full.
    #[error("cannot write segment `{path}`", path = path.display())]
    Write {
        /// The segment's file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// It was written, but does not read as it should.
    #[error("segment `{path}` does not read back as it was written", path = path.display())]
    Unreadable {
        /// The segment's file.
        path: PathBuf,
    },
}

/// Segments were not merged. They are there as before, and the next attempt begins anew.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The file system refused, mostly because it is full.
    #[error("cannot write merged segment `{path}`", path = path.display())]
    Write {
        /// The segment's file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// It was written, but does not read as it should.
    #[error("merged segment `{path}` does not read back as it was written", path = path.display())]
    Unreadable {
        /// The segment's file.
        path: PathBuf,
    },
    /// A segment could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A segment that was merged before could not be removed. Its traces are found once all the same.
    #[error(transparent)]
    Remove(#[from] EnforceError),
}

/// The store cannot work in its directory.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file system refused.
    #[error("cannot open the trace store in `{path}`", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// A setting has no meaning.
    #[error("`{name}` is {value}, but must be {range}")]
    Setting {
        /// Its name.
        name: &'static str,
        /// What it is.
        value: i128,
        /// What it may be.
        range: &'static str,
    },
}

/// A segment could not be removed; those before it were.
#[derive(Debug, thiserror::Error)]
#[error("cannot remove segment `{path}`", path = path.display())]
pub struct EnforceError {
    /// The segment's file.
    pub path: PathBuf,
    /// What the file system said.
    #[source]
    pub source: io::Error,
}
