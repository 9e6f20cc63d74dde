//! What became of the samples, in numbers.
//!
//! In: one call for each fate. Out: a snapshot, also for who does not own the sender. Samples of batches that were
//! offered are sent, dropped or queued.
//! Left out on purpose: series and their names; the owner has them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Why samples were not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Newer batches needed the memory.
    QueueFull,
    /// The sender was shut down before they were delivered.
    Shutdown,
    /// The receiver refused them: 4xx, but for 401, 403, 415 and 429, or an answer outside the protocol.
    Refused,
    /// 401 or 403.
    Unauthorized,
    /// 415 for every version that may be tried.
    Unsupported,
    /// The receiver answered that it took them, but not that it wrote all of them.
    Unconfirmed,
    /// A request could not be made of them.
    Unencodable,
}

impl DropReason {
    /// Every reason, in the order of this list.
    pub const ALL: [DropReason; 7] = [
        DropReason::QueueFull,
        DropReason::Shutdown,
        DropReason::Refused,
        DropReason::Unauthorized,
        DropReason::Unsupported,
        DropReason::Unconfirmed,
        DropReason::Unencodable,
    ];

    /// Its name as a label: `queue_full`.
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::QueueFull => "queue_full",
            DropReason::Shutdown => "shutdown",
            DropReason::Refused => "refused",
            DropReason::Unauthorized => "unauthorized",
            DropReason::Unsupported => "unsupported",
            DropReason::Unconfirmed => "unconfirmed",
            DropReason::Unencodable => "unencodable",
        }
    }
}

/// What a sender did since it was started. A native histogram is one sample, a classic one is one for each series.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemoteWriteStats {
    /// Samples that the receiver took, stale markers included.
    pub sent_samples: u64,
    /// Of them stale markers.
    pub sent_stale: u64,
    /// Requests that were taken.
    pub sent_requests: u64,
    /// Bytes of bodies that were taken, after compression.
    pub sent_bytes: u64,
    /// Requests that were sent again.
    pub retried_requests: u64,
    /// Batches that wait, that under way included.
    pub queued_batches: u64,
    /// Their memory.
    pub queued_bytes: u64,
    /// The time of the newest batch of which the receiver took something, Unix milliseconds; 0 before the first.
    pub newest_sent_ms: u64,
    dropped: [u64; DropReason::ALL.len()],
}

impl RemoteWriteStats {
    /// Samples that were dropped for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason as usize).copied().unwrap_or_default()
    }

    /// Samples that were dropped for any reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }
}

/// Reads the numbers of one sender, after its end too. [`super::Sender::stats_reader`] makes one.
#[derive(Debug, Clone)]
pub struct StatsReader(pub(super) Arc<Counters>);

impl StatsReader {
    /// The counts so far.
    pub fn stats(&self) -> RemoteWriteStats {
        self.0.snapshot()
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) sent_samples: AtomicU64,
    pub(super) sent_stale: AtomicU64,
    pub(super) sent_requests: AtomicU64,
    pub(super) sent_bytes: AtomicU64,
    pub(super) retried_requests: AtomicU64,
    queued_batches: AtomicU64,
    queued_bytes: AtomicU64,
    newest_sent_ms: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
}

impl Counters {
    pub(super) fn lose(&self, reason: DropReason, samples: u64) {
        if let Some(count) = self.dropped.get(reason as usize) {
            count.fetch_add(samples, Relaxed);
        }
    }

    /// A batch of this size waits.
    pub(super) fn queue(&self, bytes: usize) {
        self.queued_batches.fetch_add(1, Relaxed);
        self.queued_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// A batch of this size waits no more; what became of it is counted already.
    pub(super) fn unqueue(&self, bytes: usize) {
        self.queued_batches.fetch_sub(1, Release);
        self.queued_bytes.fetch_sub(bytes as u64, Release);
    }

    /// Something was taken of the batch of this time.
    pub(super) fn sent_of(&self, unix_ms: i64) {
        let ms = u64::try_from(unix_ms).unwrap_or_default();
        self.newest_sent_ms.fetch_max(ms, Relaxed);
    }

    pub(super) fn snapshot(&self) -> RemoteWriteStats {
        RemoteWriteStats {
            // Read first: what is no longer queued then is among the others.
            queued_batches: self.queued_batches.load(Acquire),
            queued_bytes: self.queued_bytes.load(Acquire),
            sent_samples: self.sent_samples.load(Relaxed),
            sent_stale: self.sent_stale.load(Relaxed),
            sent_requests: self.sent_requests.load(Relaxed),
            sent_bytes: self.sent_bytes.load(Relaxed),
            retried_requests: self.retried_requests.load(Relaxed),
            newest_sent_ms: self.newest_sent_ms.load(Relaxed),
            dropped: self.dropped.each_ref().map(|count| count.load(Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_count_and_a_name_of_its_own() {
        let counters = Counters::default();
        for (samples, reason) in (1..).zip(DropReason::ALL) {
            counters.lose(reason, samples);
        }
        let stats = counters.snapshot();
        for (samples, reason) in (1..).zip(DropReason::ALL) {
            assert_eq!(stats.dropped(reason), samples, "{}", reason.as_str());
        }
        let names: std::collections::BTreeSet<_> = DropReason::ALL.map(DropReason::as_str).into();
        assert_eq!(names.len(), DropReason::ALL.len());
    }
}
