//! Series for those who do not scrape: remote write, as often as configured.
//!
//! In: settings and the collector's series. Out: batches to a receiver, until told to stop; and what became of them.
//! Left out on purpose: how they are sent and sent again (`exposition::remote`).

use std::sync::Arc;

use exposition::remote::{DropReason, RemoteWriteSettings, RemoteWriteStats, Sender};
use map::catalogue as names;
use tokio::time::MissedTickBehavior;
use tracing::{error, warn};

use crate::rim::Shared;
use crate::scrape::Scrape;

/// Writes what became of the samples.
pub(crate) fn write(stats: &RemoteWriteStats, out: &mut Scrape<'_>) {
    out.single(names::COLLECTOR_REMOTE_WRITE_SENT, stats.sent_samples as f64);
    out.single(names::COLLECTOR_REMOTE_WRITE_STALE, stats.sent_stale as f64);
    out.family(names::COLLECTOR_REMOTE_WRITE_DROPPED);
    for reason in DropReason::ALL {
        out.sample(&[("reason", reason.as_str())], stats.dropped(reason) as f64);
    }
    out.family(names::COLLECTOR_REMOTE_WRITE_REQUESTS);
    for (outcome, count) in [
        ("taken", stats.sent_requests),
        ("retried", stats.retried_requests),
    ] {
        out.sample(&[("outcome", outcome)], count as f64);
    }
    out.single(names::COLLECTOR_REMOTE_WRITE_BYTES, stats.sent_bytes as f64);
    out.single(names::COLLECTOR_REMOTE_WRITE_QUEUED, stats.queued_batches as f64);
    out.single(
        names::COLLECTOR_REMOTE_WRITE_QUEUED_BYTES,
        stats.queued_bytes as f64,
    );
    out.single(
        names::COLLECTOR_REMOTE_WRITE_NEWEST,
        stats.newest_sent_ms as f64 / 1000.0,
    );
}

/// Pushes until `stop` is done, then delivers what is left. Does nothing where no receiver is configured.
pub(crate) async fn run(shared: Arc<Shared>, settings: RemoteWriteSettings, stop: impl Future<Output = ()>) {
    if settings.url.is_none() {
        return;
    }
    let (interval, timeout) = (settings.interval.get(), settings.timeout.get());
    let (sender, delivery) = match Sender::spawn(settings) {
        Ok(started) => started,
        Err(error) => {
            error!(%error, "remote write is off");
            return;
        }
    };
    // One pusher runs for each collector, so it is empty.
    let _ = shared.pushed.set(sender.stats_reader());
    let mut ticker = tokio::time::interval(interval);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            _ = ticker.tick() => offer(&shared, &sender).await,
        }
    }
    offer(&shared, &sender).await;
    if let Err(error) = sender.shutdown(timeout).await {
        warn!(%error, "remote write ended early");
    }
    drop(delivery.await);
}

async fn offer(shared: &Arc<Shared>, sender: &Sender) {
    let mut batch = sender.batch((shared.now() / 1_000_000) as i64);
    let told = Arc::clone(shared);
    let tell = move |ledger: &mut crate::ledger::Ledger, tail: Option<&crate::tail::Tail>| {
        told.write_metrics(ledger, tail, &mut batch);
        batch
    };
    let Some(batch) = shared.routes.ask_all(tell).await else {
        return;
    };
    if let Err(error) = sender.offer(batch) {
        warn!(%error, "series not pushed");
    }
}
