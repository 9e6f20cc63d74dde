//! Series for those who do not scrape: remote write, as often as configured.
//!
//! In: settings and the collector's series. Out: batches to a receiver, until told to stop.
//! Left out on purpose: how they are sent and sent again (`exposition::remote`).

use std::sync::Arc;

use exposition::remote::{RemoteWriteSettings, Sender};
use tokio::time::MissedTickBehavior;
use tracing::{error, warn};

use crate::rim::Shared;

/// Pushes until `stop` is done, then delivers what is left.
pub(crate) async fn run(shared: Arc<Shared>, settings: RemoteWriteSettings, stop: impl Future<Output = ()>) {
    let (interval, timeout) = (settings.interval.get(), settings.timeout.get());
    let (sender, delivery) = match Sender::spawn(settings) {
        Ok(started) => started,
        Err(error) => {
            error!(%error, "remote write is off");
            return;
        }
    };
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
    let write = move |ledger: &mut crate::ledger::Ledger, tail: Option<&crate::tail::Tail>| {
        told.write_metrics(ledger, tail, &mut batch);
        batch
    };
    let Some(batch) = shared.routes.ask_all(write).await else {
        return;
    };
    if let Err(error) = sender.offer(batch) {
        warn!(%error, "series not pushed");
    }
}
