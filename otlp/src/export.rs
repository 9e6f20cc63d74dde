//! The exporter: request bytes in, OTLP to one collector out, by gRPC or HTTP.
//!
//! In: encoded requests of one signal from any thread. Out: the same in batches, each batch under one id that stays
//! the same on every retry. Batches are kept, in memory or on disk, until the collector has answered for them.
//! Left out on purpose: JSON on the way out, and more than one collector.
//! Source: OTLP specification 1.x, "OTLP/gRPC" and "OTLP/HTTP" with what may be retried, throttling and partial success.
//!
//! With a buffer on disk each request is a record of a journal, written before it counts as taken. Batches are cut from
//! what lies there, and which records a batch holds, under which id, is written down before it is sent for the first
//! time: so a batch is the same after a crash, and a collector that had it knows it again. What the disk does not take
//! waits in memory within the bound for that, and is counted; so does everything until the disk can be opened, which is tried
//! again and again.

mod batch;
mod cursor;
mod disk;
mod drain;
mod halves;
mod headers;
mod memory;
mod opening;
mod retry;
pub mod rewrite;
mod send;
mod settings;
mod spool;
mod stats;
mod wire;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use journal::AppendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

pub use crate::codec::BATCH_ID;
pub use headers::{ExportHeaders, HeaderError};
pub use journal::{Durability, Overflow};
pub use memory::BufferFull;
pub use settings::{
    Compression, DiskSettings, ExportProtocol, ExportSettings, ExportSettingsError, ExportSignal,
};
pub use stats::{DropReason, ExportStats};

use disk::Disk;
use drain::DrainOrder;
use memory::{Memory, Order, Spans};
use opening::Opening;

/// How long a sender waits for the collector's word where the disk does not serve; shorter than SDKs wait for an answer.
const HAND_OVER: Duration = Duration::from_secs(3);

/// Not everything was delivered in time; the rest is still being tried, or after a shutdown dropped and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{spans} spans were not delivered in time")]
pub struct NotDelivered {
    /// Spans that were in the buffer when the time was up; after a shutdown without those that lie on disk.
    pub spans: u64,
}

/// No room for now: whoever sent it should send it again later. Nothing was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the export buffer has no room now")]
pub struct NoRoom;

/// A handle on the exporter; clones are the same exporter.
#[derive(Debug, Clone)]
pub struct Exporter {
    memory: Memory,
    disk: Option<OnDisk>,
    give_up: watch::Sender<bool>,
}

/// The buffer on disk, once it is open, and the task that empties it.
#[derive(Debug, Clone)]
struct OnDisk {
    disk: Arc<OnceLock<Arc<Disk>>>,
    orders: mpsc::UnboundedSender<DrainOrder>,
}

impl Exporter {
    /// Starts an exporter on the current tokio runtime. It connects when there is something to send. A buffer on disk is
    /// opened here, which reads one segment of it; where it cannot be opened, that is logged, and memory serves until it can.
    ///
    /// The task ends after [`Exporter::shutdown`], or once every handle is gone and what they left in memory was tried
    /// for [`ExportSettings::request_timeout`].
    ///
    /// # Errors
    /// Where the endpoint is no address of its protocol, the instance no metadata value, a header cannot be sent or read, or
    /// the disk's budget is too small.
    pub fn spawn(settings: ExportSettings) -> Result<(Self, JoinHandle<()>), ExportSettingsError> {
        let (give_up, giving_up) = watch::channel(false);
        let ids = Ids::new(&settings.instance);
        let (memory, inbox) = Memory::new(settings.max_buffer_bytes);
        let sender = send::Sender::new(&settings, memory.counters.clone(), giving_up)?;
        let (disk, drain) = open_disk(&settings, &sender, &ids).unzip();
        let batcher = batch::Batcher::new(settings, sender, give_up.clone(), ids);
        let task = tokio::spawn(async move {
            match drain {
                Some(drain) => drop(tokio::join!(batcher.run(inbox), drain)),
                None => batcher.run(inbox).await,
            }
        });
        Ok((
            Self {
                memory,
                disk,
                give_up,
            },
            task,
        ))
    }

    /// Takes `body`, an encoded request of `spans` spans, without waiting. Empty bytes are nothing to send. With a buffer
    /// on disk it is written soon after; what cannot be written waits in memory.
    ///
    /// # Errors
    /// [`BufferFull`] where there is no room; the spans are then counted as [`DropReason::BufferFull`], or as
    /// [`DropReason::Shutdown`] where the exporter was shut down.
    pub fn try_send(&self, body: Bytes, spans: u64) -> Result<(), BufferFull> {
        if body.is_empty() {
            return Ok(());
        }
        if let Some(disk) = self.open_disk() {
            let (memory, kept) = (self.memory.clone(), body.clone());
            let appended = disk.append(body.clone(), spans, move |result| {
                if result.is_err() {
                    // Refused spans are counted.
                    let _ = memory.fall_back(kept, spans);
                }
            });
            return appended.or_else(|_| self.memory.fall_back(body, spans));
        }
        self.memory.try_send(body, spans)?;
        self.count_fallback(spans);
        Ok(())
    }

    /// Takes `body` for a sender who can send it again: `Ok` once it is as durable as the settings ask, so that it may be
    /// acknowledged. Waits for the disk, and never for room. Where a disk is wanted and fails, or is not there yet, nothing
    /// here would survive: then `Ok` is the collector's word, for which it waits some seconds.
    ///
    /// # Errors
    /// [`NoRoom`] where the buffer is full or the exporter was shut down, or where neither disk nor collector took it in time.
    /// It may be delivered all the same: a repeat is recognised there.
    pub async fn accept(&self, body: Bytes, spans: u64) -> Result<(), NoRoom> {
        if body.is_empty() {
            return Ok(());
        }
        if self.disk.is_none() {
            return self.memory.accept(body, spans);
        }
        if let Some(disk) = self.open_disk() {
            match store(disk, body.clone(), spans).await {
                Ok(()) => return Ok(()),
                Err(AppendError::BudgetFull { .. } | AppendError::QueueFull { .. }) => return Err(NoRoom),
                // A disk that was let go of, or fails.
                Err(_) => {}
            }
        }
        let answered = self.memory.hand_over(body, spans)?;
        let answered = tokio::time::timeout(HAND_OVER, answered).await;
        answered.map_err(|_| NoRoom)?.map_err(|_| NoRoom)
    }

    /// As [`Exporter::try_send`], but waits: for the disk, and where that does not take it for room in memory, in the
    /// order of the calls.
    ///
    /// # Errors
    /// [`BufferFull`] where `body` is larger than the whole buffer, or the exporter was shut down.
    pub async fn send(&self, body: Bytes, spans: u64) -> Result<(), BufferFull> {
        if body.is_empty() {
            return Ok(());
        }
        if let Some(disk) = self.open_disk()
            && store(disk, body.clone(), spans).await.is_ok()
        {
            return Ok(());
        }
        self.memory.send(body, spans).await?;
        self.count_fallback(spans);
        Ok(())
    }

    /// Sends what is there without waiting for batches to fill, and waits until the collector has answered for
    /// all that was taken before this call.
    ///
    /// # Errors
    /// [`NotDelivered`] once `timeout` has passed; the exporter goes on trying.
    pub async fn flush(&self, timeout: Duration) -> Result<(), NotDelivered> {
        let flushed = tokio::time::timeout(timeout, async {
            tokio::join!(self.memory.flush(), self.flush_disk());
            // What the disk did not take meanwhile.
            self.memory.flush().await;
        });
        flushed.await.map(drop).map_err(|_| NotDelivered {
            spans: self.stats().buffered_spans,
        })
    }

    /// Takes no more spans, tries to deliver what is there for at most `timeout`, then drops and counts what is left in
    /// memory, leaves on disk what lies there, and lets the task end. When this returns the disk is free for another.
    ///
    /// # Errors
    /// [`NotDelivered`] with the number of spans that were dropped for it.
    pub async fn shutdown(&self, timeout: Duration) -> Result<(), NotDelivered> {
        self.memory.close();
        let flushed = self.flush(timeout).await;
        let lost = self.memory.counters.buffered_spans();
        self.give_up.send_replace(true);
        self.memory.stop();
        if let Some(OnDisk { disk, orders }) = &self.disk {
            let (done, ended) = oneshot::channel();
            // A drain that has ended closed the journal.
            if orders.send(DrainOrder::Stop(done)).is_ok() {
                let _ = ended.await;
            }
            let spans = disk.get().map_or(0, |disk| disk.counters.buffered_spans());
            if spans > 0 {
                tracing::info!(spans, "spans stay in the buffer on disk for the next start");
            }
        }
        match flushed {
            Err(_) if lost > 0 => Err(NotDelivered { spans: lost }),
            _ => Ok(()),
        }
    }

    /// Whether what is taken is kept on disk.
    pub fn is_on_disk(&self) -> bool {
        self.disk().is_some()
    }

    /// Whether it is to be kept on disk, and that could not be opened yet: until then memory serves.
    pub fn waits_for_disk(&self) -> bool {
        self.disk
            .as_ref()
            .is_some_and(|on_disk| on_disk.disk.get().is_none())
    }

    /// From now on memory serves, as if there were no disk: another exporter may have it when this returns. What lies there
    /// stays there.
    pub async fn let_go_of_disk(&self) {
        let Some(OnDisk { orders, .. }) = &self.disk else {
            return;
        };
        let (done, ended) = oneshot::channel();
        if orders.send(DrainOrder::Stop(done)).is_ok() {
            let _ = ended.await;
        }
    }

    /// The counts so far.
    pub fn stats(&self) -> ExportStats {
        let memory = self.memory.counters.snapshot();
        match self.disk() {
            Some(disk) => memory.with_disk(&disk.counters.snapshot(), disk.occupied()),
            None => memory,
        }
    }

    /// The disk, while anything is taken.
    fn open_disk(&self) -> Option<&Arc<Disk>> {
        self.disk().filter(|_| !self.memory.is_closed())
    }

    fn disk(&self) -> Option<&Arc<Disk>> {
        self.disk.as_ref().and_then(|on_disk| on_disk.disk.get())
    }

    /// What is in memory now and should be on disk.
    fn count_fallback(&self, spans: u64) {
        if self.disk.is_some() {
            self.memory.counters.fell_back(spans);
        }
    }

    async fn flush_disk(&self) {
        let Some(OnDisk { orders, .. }) = &self.disk else {
            return;
        };
        let (done, flushed) = oneshot::channel();
        if orders.send(DrainOrder::Flush(done)).is_ok() {
            let _ = flushed.await;
        }
    }
}

async fn store(disk: &Arc<Disk>, body: Bytes, spans: u64) -> Result<(), AppendError> {
    let (done, stored) = oneshot::channel();
    disk.append(body, spans, move |result| {
        // The sender may have gone away; the record is there all the same.
        let _ = done.send(result);
    })?;
    stored.await.unwrap_or(Err(AppendError::Closed))
}

/// Names of batches, unique over all of them: `<instance>/<sequence>`.
#[derive(Debug, Clone)]
struct Ids {
    instance: Arc<str>,
    last: Arc<AtomicU64>,
}

impl Ids {
    fn new(instance: &str) -> Self {
        Self {
            instance: instance.into(),
            last: Arc::default(),
        }
    }

    fn next(&self) -> String {
        let number = self.last.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        format!("{}/{number}", self.instance)
    }
}

fn open_disk(
    settings: &ExportSettings,
    sender: &send::Sender,
    ids: &Ids,
) -> Option<(OnDisk, impl Future<Output = ()> + use<>)> {
    let opening = Opening::new(settings, ids)?;
    let (orders, inbox) = mpsc::unbounded_channel();
    let disk = opening.slot();
    let spool = opening.open();
    let drain = opening.run(spool, sender.clone(), settings.clone(), inbox);
    Some((OnDisk { disk, orders }, drain))
}
