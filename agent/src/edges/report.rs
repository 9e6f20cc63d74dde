//! From edge counts to the collector.
//!
//! In: the counts of all workloads, and an interval. Out: one report under way at a time, until the collector has answered
//! for it; what is counted meanwhile is the next one's. On disk, where counts outlive the agent, several may wait.
//! Left out on purpose: a queue of reports in memory. Counts add up, so what waits takes no more room for waiting longer.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use otlp::export::Exporter;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::error;

use super::{EdgeCounts, encode};

/// Bytes that reports may take on disk, beside the spans' budget.
pub(crate) const DISK_BYTES: u64 = 8 << 20;
/// Beyond it counts gather in memory again. Half of the disk's, so that a report always has room.
const WAITING_ON_DISK: u64 = DISK_BYTES / 2;

/// Nanoseconds since 1970.
pub(crate) fn unix_nano() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}

/// Reports every `interval` until `served`, then what is left, for at most `drain`.
pub(crate) async fn report(
    counts: Arc<EdgeCounts>,
    exporter: Exporter,
    interval: Duration,
    mut served: watch::Receiver<bool>,
    drain: Duration,
) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is at once.
    ticks.tick().await;
    loop {
        tokio::select! {
            _ = served.wait_for(|served| *served) => break,
            _ = ticks.tick() => {}
        }
        // A disk may be had later.
        let room = if exporter.is_on_disk() { WAITING_ON_DISK } else { 0 };
        if exporter.stats().buffered_bytes <= room {
            hand_over(&counts, &exporter);
        }
    }
    hand_over(&counts, &exporter);
    // What lies on disk stays there for the next start.
    if exporter.shutdown(drain).await.is_err() {
        error!("edge counts lost: the collector did not take them before the agent stopped");
    }
}

fn hand_over(counts: &EdgeCounts, exporter: &Exporter) {
    let Some(window) = counts.take(unix_nano()) else {
        return;
    };
    // What is refused the exporter counts, see `export_counts`.
    let _ = exporter.try_send(encode::request(&window), 1);
}
