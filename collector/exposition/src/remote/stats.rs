//! What became of the samples, in numbers.
//!
//! In: one call for each fate. Out: a snapshot. Samples of batches that were taken are sent, dropped or queued.
//! Left out on purpose: series and their names; the owner has them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

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
    /// Memory of the batches that wait, that under way included.
    pub queued_bytes: u64,
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

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) sent_samples: AtomicU64,
    pub(super) sent_stale: AtomicU64,
    pub(super) sent_requests: AtomicU64,
    pub(super) sent_bytes: AtomicU64,
    pub(super) retried_requests: AtomicU64,
    pub(super) queued_bytes: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
}

impl Counters {
    pub(super) fn drop(&self, reason: DropReason, samples: u64) {
        if let Some(count) = self.dropped.get(reason as usize) {
            count.fetch_add(samples, Relaxed);
        }
    }

    pub(super) fn snapshot(&self) -> RemoteWriteStats {
        RemoteWriteStats {
            sent_samples: self.sent_samples.load(Relaxed),
            sent_stale: self.sent_stale.load(Relaxed),
            sent_requests: self.sent_requests.load(Relaxed),
            sent_bytes: self.sent_bytes.load(Relaxed),
            retried_requests: self.retried_requests.load(Relaxed),
            queued_bytes: self.queued_bytes.load(Relaxed),
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
            counters.drop(reason, samples);
        }
        let stats = counters.snapshot();
        for (samples, reason) in (1..).zip(DropReason::ALL) {
            assert_eq!(stats.dropped(reason), samples, "{}", reason.as_str());
        }
        let names: std::collections::BTreeSet<_> = DropReason::ALL.map(DropReason::as_str).into();
        assert_eq!(names.len(), DropReason::ALL.len());
    }
}
