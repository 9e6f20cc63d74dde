//! What the store did and holds.
//!
//! In: events, counted by those who see them. Out: numbers for metrics.
//! Left out on purpose: names of metrics, which stand with the collector.

use std::sync::atomic::{AtomicU64, Ordering};

/// What happened since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) fragments: AtomicU64,
    pub(crate) spans: AtomicU64,
    pub(crate) continued: AtomicU64,
    pub(crate) refused_spans: AtomicU64,
    pub(crate) seals: AtomicU64,
    pub(crate) failed_seals: AtomicU64,
    pub(crate) waits: AtomicU64,
    damaged: AtomicU64,
    pub(crate) removed_segments: AtomicU64,
    pub(crate) removed_spans: AtomicU64,
    pub(crate) merges: AtomicU64,
    pub(crate) merged_segments: AtomicU64,
    pub(crate) merged_bytes: AtomicU64,
    pub(crate) failed_merges: AtomicU64,
}

impl Counters {
    pub(crate) fn damaged(&self) {
        add(&self.damaged, 1);
    }

    pub(crate) fn damaged_so_far(&self) -> u64 {
        get(&self.damaged)
    }
}

pub(crate) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

pub(crate) fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// What the store holds now, and what happened since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Traces in memory.
    pub head_traces: u64,
    /// Spans in memory.
    pub head_spans: u64,
    /// Bytes of trace data in memory, with what it costs to find them.
    pub head_bytes: u64,
    /// Segments on disk.
    pub segments: u64,
    /// Traces in them. One that went on after a segment was written is in several.
    pub segment_traces: u64,
    /// Spans in them, likewise.
    pub segment_spans: u64,
    /// Bytes of them on disk. While segments are merged the result takes up to a sixteenth of `max_bytes` beside it.
    pub disk_bytes: u64,
    /// Bytes in memory that are needed to find things in them.
    pub index_bytes: u64,
    /// When the oldest segment, or the last part of a merged one, was written, in nanoseconds since 1970, UTC; 0 where there is none.
    pub oldest_sealed_unix_nano: u64,
    /// Segments that were damaged beyond use when the store was opened, and segments of other format versions.
    pub unusable_segments: u64,
    /// Fragments that came.
    pub fragments: u64,
    /// Spans that came, without those that the trace had already.
    pub spans: u64,
    /// Fragments for traces that were on disk already and were read back for it.
    pub continued: u64,
    /// Spans that were refused because their trace would have become too large.
    pub refused_spans: u64,
    /// Segments written.
    pub seals: u64,
    /// Attempts to write one that failed.
    pub failed_seals: u64,
    /// Times that a fragment had to wait for a segment to be written.
    pub waits: u64,
    /// Reads that met bytes not as they were written.
    pub damaged_reads: u64,
    /// Segments removed by retention.
    pub removed_segments: u64,
    /// Spans in them.
    pub removed_spans: u64,
    /// Times that several segments became one.
    pub merges: u64,
    /// Segments that were merged.
    pub merged_segments: u64,
    /// Bytes that were written to disk for it.
    pub merged_bytes: u64,
    /// Merges that were given up: because of damage, because the file system refused, or because retention removed
    /// what was being merged.
    pub failed_merges: u64,
}

/// What a call of [`crate::TraceStore::maintain`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Maintained {
    /// The merged segment that it completed.
    pub merged: Option<crate::SegmentName>,
    /// Whether there is more to do at this time.
    pub more: bool,
}

/// What retention removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Segments.
    pub segments: u64,
    /// Traces in them.
    pub traces: u64,
    /// Spans in them.
    pub spans: u64,
    /// Bytes of disk.
    pub bytes: u64,
}
