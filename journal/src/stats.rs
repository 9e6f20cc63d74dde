//! Counters.
//!
//! In: what the writer and the readers did. Out: [`Stats`], a copy at one moment.
//! Left out on purpose: names of series, which stand with whoever exports them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::error::AppendError;

/// What a journal did since it was opened, and how large it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes on disk now.
    pub bytes: u64,
    /// Segments on disk now.
    pub segments: u64,
    /// Bytes that wait in memory now, those being written included.
    pub queued_bytes: u64,
    /// Records appended.
    pub appended_records: u64,
    /// Bytes of these, headers included.
    pub appended_bytes: u64,
    /// Appends refused because the queue was full.
    pub refused_queue_full: u64,
    /// Appends refused because the disk budget was spent.
    pub refused_budget_full: u64,
    /// Appends failed for want of disk space.
    pub refused_no_space: u64,
    /// Appends failed because a write failed otherwise.
    pub refused_write: u64,
    /// Appends failed because a sync failed.
    pub refused_sync: u64,
    /// Appends refused because the record was too large, or the journal closed.
    pub refused_other: u64,
    /// Records removed by [`crate::Overflow::DropOldest`].
    pub dropped_records: u64,
    /// Bytes of the segments removed so.
    pub dropped_bytes: u64,
    /// Damaged records that readers skipped; each pass of a reader counts again.
    pub damaged_records: u64,
    /// Bytes that readers skipped.
    pub damaged_bytes: u64,
    /// Syncs of segments that succeeded.
    pub syncs: u64,
    /// How long the last of these took.
    pub last_sync: Duration,
    /// How long the longest of these took.
    pub longest_sync: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) appended_records: AtomicU64,
    pub(crate) appended_bytes: AtomicU64,
    refused_queue_full: AtomicU64,
    refused_budget_full: AtomicU64,
    refused_no_space: AtomicU64,
    refused_write: AtomicU64,
    refused_sync: AtomicU64,
    refused_other: AtomicU64,
    pub(crate) dropped_records: AtomicU64,
    pub(crate) dropped_bytes: AtomicU64,
    pub(crate) damaged_records: AtomicU64,
    pub(crate) damaged_bytes: AtomicU64,
    syncs: AtomicU64,
    last_sync_nanos: AtomicU64,
    longest_sync_nanos: AtomicU64,
}

impl Counters {
    pub(crate) fn refused(&self, error: &AppendError, records: u64) {
        let counter = match error {
            AppendError::QueueFull { .. } => &self.refused_queue_full,
            AppendError::BudgetFull { .. } => &self.refused_budget_full,
            AppendError::NoSpace(_) => &self.refused_no_space,
            AppendError::Write(_) => &self.refused_write,
            AppendError::Sync(_) => &self.refused_sync,
            AppendError::Closed | AppendError::PayloadTooLarge { .. } | AppendError::KeyTooLong { .. } => {
                &self.refused_other
            }
        };
        counter.fetch_add(records, Relaxed);
    }

    pub(crate) fn synced(&self, took: Duration) {
        let nanos = took.as_nanos() as u64;
        self.syncs.fetch_add(1, Relaxed);
        self.last_sync_nanos.store(nanos, Relaxed);
        self.longest_sync_nanos.fetch_max(nanos, Relaxed);
    }

    pub(crate) fn stats(&self, bytes: u64, segments: u64, queued_bytes: u64) -> Stats {
        Stats {
            bytes,
            segments,
            queued_bytes,
            appended_records: self.appended_records.load(Relaxed),
            appended_bytes: self.appended_bytes.load(Relaxed),
            refused_queue_full: self.refused_queue_full.load(Relaxed),
            refused_budget_full: self.refused_budget_full.load(Relaxed),
            refused_no_space: self.refused_no_space.load(Relaxed),
            refused_write: self.refused_write.load(Relaxed),
            refused_sync: self.refused_sync.load(Relaxed),
            refused_other: self.refused_other.load(Relaxed),
            dropped_records: self.dropped_records.load(Relaxed),
            dropped_bytes: self.dropped_bytes.load(Relaxed),
            damaged_records: self.damaged_records.load(Relaxed),
            damaged_bytes: self.damaged_bytes.load(Relaxed),
            syncs: self.syncs.load(Relaxed),
            last_sync: Duration::from_nanos(self.last_sync_nanos.load(Relaxed)),
            longest_sync: Duration::from_nanos(self.longest_sync_nanos.load(Relaxed)),
        }
    }
}
