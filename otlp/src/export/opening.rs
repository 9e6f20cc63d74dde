//! The buffer on disk that cannot be had yet: tried again until it can.
//!
//! In: settings; orders of the handles. Out: a [`Disk`] that handles find in [`Opening::slot`], and from then on a drain.
//! Left out on purpose: what was taken meanwhile. It waits in memory and is delivered from there.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::disk::{self, Disk};
use super::drain::{Drain, DrainOrder};
use super::send::Sender;
use super::spool::Spool;
use super::{DiskSettings, ExportSettings, Ids};

pub(super) struct Opening {
    wanted: DiskSettings,
    max_buffer_bytes: usize,
    ids: Ids,
    every: Duration,
    slot: Arc<OnceLock<Arc<Disk>>>,
}

impl Opening {
    /// `None` where no buffer on disk is wanted.
    pub(super) fn new(settings: &ExportSettings, ids: &Ids) -> Option<Self> {
        Some(Self {
            wanted: settings.disk.clone()?,
            max_buffer_bytes: settings.max_buffer_bytes,
            ids: ids.clone(),
            every: settings.disk_retry.max(Duration::from_millis(1)),
            slot: Arc::default(),
        })
    }

    /// Where the disk is found once it is open.
    pub(super) fn slot(&self) -> Arc<OnceLock<Arc<Disk>>> {
        Arc::clone(&self.slot)
    }

    /// Tries once; where that fails says so.
    pub(super) fn open(&self) -> Option<Spool> {
        match disk::open(&self.wanted, self.max_buffer_bytes, self.ids.clone()) {
            Ok((disk, spool)) => {
                let _ = self.slot.set(disk);
                Some(spool)
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                let (path, again) = (self.wanted.path.display(), self.every);
                tracing::error!(%path, error, ?again, "no buffer on disk: spans wait in memory and are lost with the process");
                None
            }
        }
    }

    /// Empties the disk, once it is open, until told to stop or until no handle is left.
    pub(super) async fn run(
        self,
        spool: Option<Spool>,
        sender: Sender,
        settings: ExportSettings,
        mut orders: mpsc::UnboundedReceiver<DrainOrder>,
    ) {
        let spool = match spool {
            Some(spool) => Some(spool),
            None => self.until_open(&mut orders).await,
        };
        if let Some((spool, disk)) = spool.zip(self.slot.get().cloned()) {
            Drain::new(disk, spool, &sender, &settings).run(orders).await;
        }
    }

    async fn until_open(&self, orders: &mut mpsc::UnboundedReceiver<DrainOrder>) -> Option<Spool> {
        let mut tries = interval_at(Instant::now() + self.every, self.every);
        tries.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                order = orders.recv() => match order? {
                    // Nothing lies there. Whoever asked may have stopped waiting.
                    DrainOrder::Flush(done) => drop(done.send(())),
                    DrainOrder::Stop(done) => {
                        let _ = done.send(());
                        return None;
                    }
                },
                _ = tries.tick() => {
                    let (wanted, ids, bytes) = (self.wanted.clone(), self.ids.clone(), self.max_buffer_bytes);
                    let opened = spawn_blocking(move || disk::open(&wanted, bytes, ids)).await;
                    match opened {
                        Ok(Ok((disk, spool))) => {
                            tracing::info!(path = %self.wanted.path.display(), "the buffer on disk is open now");
                            let _ = self.slot.set(disk);
                            return Some(spool);
                        }
                        Ok(Err(error)) => tracing::debug!(%error, "still no buffer on disk"),
                        Err(panicked) => tracing::error!(%panicked, "the buffer on disk could not be opened"),
                    }
                }
            }
        }
    }
}
