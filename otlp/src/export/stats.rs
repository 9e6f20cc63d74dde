//! What became of the spans, in numbers.
//!
//! In: one call for each fate. Out: a snapshot. At any time the spans handed over are those sent, dropped,
//! refused and buffered.
//! Left out on purpose: series and their names; the owner has a registry.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why spans were not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The buffer was full when they came.
    BufferFull,
    /// The exporter was shut down before or while they were tried.
    Shutdown,
    /// The collector took the batch and rejected them (`partial_success`).
    PartialSuccess,
    /// The collector could not read the batch: `INVALID_ARGUMENT`, or 400.
    Invalid,
    /// `RESOURCE_EXHAUSTED` without `RetryInfo`: too large, or a budget that a retry does not help.
    Exhausted,
    /// 413, for what cannot be parted further.
    TooLarge,
    /// `UNAUTHENTICATED` or `PERMISSION_DENIED`, 401 or 403.
    Unauthorized,
    /// `UNIMPLEMENTED`, or 404 and the like: what listens there does not take this signal.
    Unimplemented,
    /// Any other code that must not be retried.
    Refused,
    /// The budget on disk was spent, and they were the oldest ([`journal::Overflow::DropOldest`]).
    Oldest,
    /// The disk does not give them back as they were written.
    Damaged,
}

impl DropReason {
    /// Every reason, in the order of this list.
    pub const ALL: [DropReason; 11] = [
        DropReason::BufferFull,
        DropReason::Shutdown,
        DropReason::PartialSuccess,
        DropReason::Invalid,
        DropReason::Exhausted,
        DropReason::TooLarge,
        DropReason::Unauthorized,
        DropReason::Unimplemented,
        DropReason::Refused,
        DropReason::Oldest,
        DropReason::Damaged,
    ];

    /// Its name as a label: `buffer_full`.
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::BufferFull => "buffer_full",
            DropReason::Shutdown => "shutdown",
            DropReason::PartialSuccess => "partial_success",
            DropReason::Invalid => "invalid",
            DropReason::Exhausted => "exhausted",
            DropReason::TooLarge => "too_large",
            DropReason::Unauthorized => "unauthorized",
            DropReason::Unimplemented => "unimplemented",
            DropReason::Refused => "refused",
            DropReason::Oldest => "drop_oldest",
            DropReason::Damaged => "disk_damaged",
        }
    }
}

/// What an exporter did since it was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExportStats {
    /// Spans that the collector acknowledged.
    pub sent_spans: u64,
    /// Requests that were acknowledged.
    pub sent_requests: u64,
    /// Requests that were sent again.
    pub retried_requests: u64,
    /// Bytes in the buffer now, those in flight included, before compression.
    pub buffered_bytes: u64,
    /// Spans in the buffer now.
    pub buffered_spans: u64,
    /// Spans that the disk did not take and memory did, since the disk is full, failing or slow.
    pub fallback_spans: u64,
    /// Bytes that the buffer occupies on disk now, delivered ones included until their segment goes.
    pub disk_bytes: u64,
    dropped: [u64; DropReason::ALL.len()],
}

impl ExportStats {
    /// Both buffers of one exporter.
    pub(super) fn with_disk(self, disk: &Self, disk_bytes: u64) -> Self {
        Self {
            sent_spans: self.sent_spans + disk.sent_spans,
            sent_requests: self.sent_requests + disk.sent_requests,
            retried_requests: self.retried_requests + disk.retried_requests,
            buffered_bytes: self.buffered_bytes + disk.buffered_bytes,
            buffered_spans: self.buffered_spans + disk.buffered_spans,
            fallback_spans: self.fallback_spans + disk.fallback_spans,
            disk_bytes,
            dropped: std::array::from_fn(|index| self.dropped[index] + disk.dropped[index]),
        }
    }

    /// Spans that were dropped for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Spans that were dropped for any reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }
}

/// What became of a batch, in spans.
#[derive(Debug, Default)]
pub(super) struct Fate {
    taken: u64,
    requests: u64,
    dropped: Vec<(DropReason, u64)>,
}

impl Fate {
    /// A request of `spans` was acknowledged, but for `rejected` of them.
    pub(super) fn taken(&mut self, spans: u64, rejected: u64) {
        let rejected = rejected.min(spans);
        self.requests += 1;
        self.taken += spans - rejected;
        if rejected > 0 {
            self.dropped.push((DropReason::PartialSuccess, rejected));
        }
    }

    pub(super) fn dropped(&mut self, reason: DropReason, spans: u64) {
        self.dropped.push((reason, spans));
    }

    /// How many have one.
    pub(super) fn spans(&self) -> u64 {
        self.taken + self.dropped.iter().map(|(_, spans)| spans).sum::<u64>()
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    sent_spans: AtomicU64,
    sent_requests: AtomicU64,
    retried_requests: AtomicU64,
    buffered_bytes: AtomicU64,
    buffered_spans: AtomicU64,
    fallback_spans: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
}

impl Counters {
    pub(super) fn buffered(&self, bytes: usize, spans: u64) {
        self.buffered_bytes.fetch_add(bytes as u64, Relaxed);
        self.buffered_spans.fetch_add(spans, Relaxed);
    }

    /// Spans that never came into the buffer.
    pub(super) fn refused(&self, reason: DropReason, spans: u64) {
        self.dropped[reason as usize].fetch_add(spans, Relaxed);
    }

    /// Spans that leave the buffer undelivered.
    pub(super) fn dropped(&self, reason: DropReason, bytes: usize, spans: u64) {
        self.refused(reason, spans);
        self.unbuffered(bytes, spans);
    }

    /// Spans of a batch that leave the buffer, by what became of them.
    pub(super) fn settled(&self, bytes: usize, fate: &Fate) {
        self.sent_requests.fetch_add(fate.requests, Relaxed);
        self.sent_spans.fetch_add(fate.taken, Relaxed);
        for (reason, spans) in &fate.dropped {
            self.refused(*reason, *spans);
        }
        self.unbuffered(bytes, fate.spans());
    }

    pub(super) fn retried(&self) {
        self.retried_requests.fetch_add(1, Relaxed);
    }

    pub(super) fn fell_back(&self, spans: u64) {
        self.fallback_spans.fetch_add(spans, Relaxed);
    }

    pub(super) fn buffered_spans(&self) -> u64 {
        self.buffered_spans.load(Relaxed)
    }

    pub(super) fn snapshot(&self) -> ExportStats {
        ExportStats {
            sent_spans: self.sent_spans.load(Relaxed),
            sent_requests: self.sent_requests.load(Relaxed),
            retried_requests: self.retried_requests.load(Relaxed),
            buffered_bytes: self.buffered_bytes.load(Relaxed),
            buffered_spans: self.buffered_spans.load(Relaxed),
            fallback_spans: self.fallback_spans.load(Relaxed),
            disk_bytes: 0,
            dropped: std::array::from_fn(|index| self.dropped[index].load(Relaxed)),
        }
    }

    fn unbuffered(&self, bytes: usize, spans: u64) {
        self.buffered_bytes.fetch_sub(bytes as u64, Relaxed);
        self.buffered_spans.fetch_sub(spans, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_count_and_a_name_of_its_own() {
        let counters = Counters::default();
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            counters.refused(reason, index as u64 + 1);
        }
        let stats = counters.snapshot();
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(stats.dropped(reason), index as u64 + 1, "{}", reason.as_str());
        }
        let names: std::collections::BTreeSet<_> = DropReason::ALL.map(DropReason::as_str).into();
        assert_eq!(names.len(), DropReason::ALL.len());
    }

    #[test]
    fn a_collector_that_rejects_more_than_it_got_rejects_all() {
        let counters = Counters::default();
        counters.buffered(10, 3);
        let mut fate = Fate::default();
        fate.taken(3, 99);
        counters.settled(10, &fate);
        let stats = counters.snapshot();
        assert_eq!(
            (
                stats.sent_spans,
                stats.dropped(DropReason::PartialSuccess),
                stats.buffered_spans
            ),
            (0, 3, 0)
        );
    }
}
