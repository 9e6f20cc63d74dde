//! What became of published objects, as series.
//!
//! In: reports and failures. Out: counts for `/metrics`, there from the start where publishing is configured.
//! Left out on purpose: names of objects, which the log has.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};

use ::kubernetes::{Fate, Reason, Report};
use map::catalogue as names;

use crate::scrape::Scrape;

/// Counts of rounds and objects.
#[derive(Debug, Default)]
pub(crate) struct ClusterCounts {
    current: AtomicU64,
    conflict: AtomicU64,
    foreign: AtomicU64,
    refused: AtomicU64,
    applied: AtomicU64,
    removed: AtomicU64,
    failures: [AtomicU64; Reason::ALL.len()],
    /// Seconds since 1970.
    last_success: AtomicU64,
}

impl ClusterCounts {
    /// A round came to its end.
    pub(super) fn done(&self, report: &Report, now: SystemTime) {
        let count = |is: fn(&Fate) -> bool| report.count(is) as u64;
        let applied = count(|fate| *fate == Fate::Applied);
        let unchanged = count(|fate| *fate == Fate::Unchanged);
        self.current.store(applied + unchanged, Relaxed);
        self.conflict
            .store(count(|fate| matches!(fate, Fate::Conflict(_))), Relaxed);
        self.foreign
            .store(count(|fate| matches!(fate, Fate::Foreign(_))), Relaxed);
        self.refused
            .store(count(|fate| matches!(fate, Fate::Refused(_))), Relaxed);
        self.applied.fetch_add(applied, Relaxed);
        self.removed
            .fetch_add(count(|fate| *fate == Fate::Removed), Relaxed);
        if report.problems().next().is_none() {
            let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
            self.last_success.store(since.as_secs(), Relaxed);
        }
    }

    /// A round broke off.
    pub(super) fn failed(&self, reason: Reason) {
        let all = Reason::ALL.into_iter().zip(&self.failures);
        for (_, count) in all.filter(|(known, _)| *known == reason) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Writes the counts as series.
    pub(crate) fn write(&self, out: &mut Scrape<'_>) {
        out.family(names::COLLECTOR_KUBERNETES_OBJECTS);
        let states = [
            ("current", &self.current),
            ("conflict", &self.conflict),
            ("foreign", &self.foreign),
            ("refused", &self.refused),
        ];
        for (state, count) in states {
            out.sample(&[("state", state)], count.load(Relaxed) as f64);
        }
        out.family(names::COLLECTOR_KUBERNETES_CHANGES);
        for (change, count) in [("applied", &self.applied), ("removed", &self.removed)] {
            out.sample(&[("change", change)], count.load(Relaxed) as f64);
        }
        out.family(names::COLLECTOR_KUBERNETES_FAILURES);
        for (reason, count) in Reason::ALL.into_iter().zip(&self.failures) {
            out.sample(&[("reason", reason.as_str())], count.load(Relaxed) as f64);
        }
        out.single(
            names::COLLECTOR_KUBERNETES_LAST_SUCCESS_SECONDS,
            self.last_success.load(Relaxed) as f64,
        );
    }
}
