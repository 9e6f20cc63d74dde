//! The queue of batches and the task that delivers them.
//!
//! In: one batch after the other. Out: requests, one at a time and in the order of time, each until it is answered.
//! Left out on purpose: a clock. The owner makes a batch every interval and says what time it is.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::batch::Batch;
use super::body::{Dialect, Plan, Size};
use super::post::{Answer, Poster};
use super::retry::{Verdict, delay};
use super::settings::{RemoteWriteError, RemoteWriteSettings, RemoteWriteVersion};
use super::stats::{Counters, DropReason, RemoteWriteStats, StatsReader};

/// A batch that is not newer than the one before it. It was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the batch is of {unix_ms} ms, but one of {last_ms} ms was taken before: samples must come in order of time"
)]
pub struct OutOfOrder {
    /// The time of the batch.
    pub unix_ms: i64,
    /// The time of the latest one.
    pub last_ms: i64,
}

/// Not everything was delivered before a shutdown; the rest is dropped and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{samples} samples were not delivered in time")]
pub struct NotDelivered {
    /// Samples that were dropped for it.
    pub samples: u64,
}

/// Pushes batches to one receiver. Dropped without a [`Sender::shutdown`], it drops and counts what is queued.
#[derive(Debug)]
pub struct Sender {
    queue: Arc<Queue>,
    external: Vec<(Arc<str>, Arc<str>)>,
    phase: watch::Sender<Phase>,
    ended: watch::Receiver<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Deliver what is queued, then end.
    Draining,
    /// Drop what is queued, then end.
    GivingUp,
}

#[derive(Debug)]
struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    max_bytes: usize,
    settings: RemoteWriteSettings,
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct Waiting {
    batches: VecDeque<Batch>,
    bytes: usize,
    last_ms: i64,
}

impl Sender {
    /// Starts a sender on the current tokio runtime. It connects when there is something to send.
    ///
    /// # Errors
    /// The first thing that is wrong with the settings; a missing `url` is.
    pub fn spawn(settings: RemoteWriteSettings) -> Result<(Self, JoinHandle<()>), RemoteWriteError> {
        let poster = Poster::new(&settings)?;
        let external = settings.external_labels.iter();
        let external = external
            .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
            .collect();
        let queue = Arc::new(Queue {
            waiting: Mutex::new(Waiting {
                batches: VecDeque::new(),
                bytes: 0,
                last_ms: i64::MIN,
            }),
            arrived: Notify::new(),
            max_bytes: settings.max_memory.as_usize(),
            settings,
            counters: Arc::default(),
        });
        let (phase, watched) = watch::channel(Phase::Running);
        let (alive, ended) = watch::channel(());
        let delivery = Delivery::new(Arc::clone(&queue), poster, watched);
        let task = tokio::spawn(async move {
            delivery.run().await;
            drop(alive);
        });
        Ok((
            Self {
                queue,
                external,
                phase,
                ended,
            },
            task,
        ))
    }

    /// An empty batch whose samples are of the time `unix_ms`; tell it a scrape and [`Sender::offer`] it.
    pub fn batch(&self, unix_ms: i64) -> Batch {
        let batch = Batch::new(unix_ms, &self.external);
        if self.queue.settings.histograms.native() {
            batch
        } else {
            batch.without_native()
        }
    }

    /// Takes a batch without waiting. Where memory is short the oldest that wait are dropped and counted.
    ///
    /// # Errors
    /// [`OutOfOrder`] where it is not newer than the one before.
    pub fn offer(&self, batch: Batch) -> Result<(), OutOfOrder> {
        self.queue.push(batch)?;
        self.queue.arrived.notify_one();
        Ok(())
    }

    /// The counts so far.
    pub fn stats(&self) -> RemoteWriteStats {
        self.queue.counters.snapshot()
    }

    /// The same for somebody else, as often as wanted.
    pub fn stats_reader(&self) -> StatsReader {
        StatsReader(Arc::clone(&self.queue.counters))
    }

    /// Tries to deliver what is there for at most `timeout`, then drops and counts the rest and ends the task.
    ///
    /// # Errors
    /// [`NotDelivered`] with the number of samples that were dropped for it.
    pub async fn shutdown(mut self, timeout: Duration) -> Result<(), NotDelivered> {
        let before = self.stats().dropped(DropReason::Shutdown);
        self.phase.send_replace(Phase::Draining);
        // The other end sends nothing: a change is its end.
        if tokio::time::timeout(timeout, self.ended.changed()).await.is_err() {
            self.phase.send_replace(Phase::GivingUp);
            let _ = self.ended.changed().await;
        }
        match self.stats().dropped(DropReason::Shutdown) - before {
            0 => Ok(()),
            samples => Err(NotDelivered { samples }),
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::GivingUp);
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, batch: Batch) -> Result<(), OutOfOrder> {
        let mut waiting = self.waiting();
        let (unix_ms, last_ms) = (batch.unix_ms(), waiting.last_ms);
        if unix_ms <= last_ms {
            return Err(OutOfOrder { unix_ms, last_ms });
        }
        waiting.last_ms = unix_ms;
        waiting.bytes += batch.bytes();
        self.counters.queue(batch.bytes());
        waiting.batches.push_back(batch);
        while waiting.bytes > self.max_bytes && waiting.batches.len() > 1 {
            if let Some(oldest) = waiting.batches.pop_front() {
                waiting.bytes -= oldest.bytes();
                self.lose(&oldest, DropReason::QueueFull);
            }
        }
        Ok(())
    }

    fn pop(&self) -> Option<Batch> {
        let mut waiting = self.waiting();
        let batch = waiting.batches.pop_front()?;
        waiting.bytes -= batch.bytes();
        Some(batch)
    }

    /// Counts a whole batch as dropped.
    fn lose(&self, batch: &Batch, reason: DropReason) {
        let samples = Plan::new(batch, None, self.settings.histograms).samples();
        self.counters.lose(reason, samples);
        self.counters.unqueue(batch.bytes());
        warn!(samples, reason = reason.as_str(), "remote write batch dropped");
    }
}

/// What became of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Answered, well or badly; go on.
    Done,
    /// To be written again in the other version.
    Again,
    /// The sender gives up.
    GaveUp,
}

/// The task.
struct Delivery {
    queue: Arc<Queue>,
    poster: Poster,
    phase: watch::Receiver<Phase>,
    dialect: Dialect,
    /// 1.0 was only tried since a 400 may have meant that; it is kept if it works.
    tentative: bool,
    /// The receiver said that it wrote something of 2.0.
    confirmed: bool,
    /// The batch that was delivered last: the series that the receiver takes for alive.
    live: Option<Batch>,
    compressor: snap::raw::Encoder,
}

impl Delivery {
    fn new(queue: Arc<Queue>, poster: Poster, phase: watch::Receiver<Phase>) -> Self {
        let dialect = match queue.settings.version {
            RemoteWriteVersion::V1 => Dialect::V1,
            RemoteWriteVersion::Auto | RemoteWriteVersion::V2 => Dialect::V2,
        };
        Self {
            queue,
            poster,
            phase,
            dialect,
            tentative: false,
            confirmed: false,
            live: None,
            compressor: snap::raw::Encoder::new(),
        }
    }

    async fn run(mut self) {
        loop {
            let phase = *self.phase.borrow_and_update();
            if phase == Phase::GivingUp {
                break;
            }
            let Some(batch) = self.queue.pop() else {
                if phase == Phase::Draining {
                    break;
                }
                let queue = Arc::clone(&self.queue);
                tokio::select! {
                    () = queue.arrived.notified() => {}
                    _ = self.phase.changed() => {}
                }
                continue;
            };
            self.deliver(batch).await;
        }
        while let Some(batch) = self.queue.pop() {
            self.queue.lose(&batch, DropReason::Shutdown);
        }
    }

    async fn deliver(&mut self, batch: Batch) {
        let queue = Arc::clone(&self.queue);
        let live = self.live.take();
        let mut plan = Plan::new(&batch, live.as_ref(), queue.settings.histograms);
        let mut body = self.dialect.body();
        let sent_before = queue.counters.sent_samples.load(Relaxed);
        let mut from = 0;
        while from < plan.rows() {
            let (next, size) = plan.fill(&mut *body, from, queue.settings.max_samples_per_request);
            match self.send(body.take(), size).await {
                Outcome::Done => from = next,
                Outcome::Again => body = self.dialect.body(),
                Outcome::GaveUp => {
                    queue.counters.lose(DropReason::Shutdown, plan.samples_from(from));
                    break;
                }
            }
        }
        if queue.counters.sent_samples.load(Relaxed) > sent_before {
            queue.counters.sent_of(batch.unix_ms());
        }
        queue.counters.unqueue(batch.bytes());
        drop(plan);
        self.live = Some(batch);
    }

    /// Sends one body until it is answered.
    async fn send(&mut self, body: Vec<u8>, size: Size) -> Outcome {
        let Ok(body) = self.compressor.compress_vec(&body).map(Bytes::from) else {
            self.lose(DropReason::Unencodable, size.all(), None);
            return Outcome::Done;
        };
        let mut tries = 0;
        loop {
            let mut phase = self.phase.clone();
            let answer = tokio::select! {
                answer = self.poster.post(self.dialect, body.clone()) => answer,
                _ = phase.wait_for(|phase| *phase == Phase::GivingUp) => return Outcome::GaveUp,
            };
            let hint = match answer.verdict {
                Verdict::Retry(hint) => hint,
                Verdict::Taken { written } => return self.taken(&answer, written, body.len(), size),
                Verdict::OtherVersion { certain } => return self.other_version(&answer, certain, size),
                Verdict::Drop(reason) => {
                    self.lose(reason, size.all(), Some(&answer));
                    return Outcome::Done;
                }
            };
            tries += 1;
            self.queue.counters.retried_requests.fetch_add(1, Relaxed);
            if tries == 1 {
                warn!(status = answer.status, said = %answer.said, "remote write is tried again");
            }
            tokio::select! {
                () = tokio::time::sleep(delay(tries, hint, rand::random())) => {}
                _ = phase.wait_for(|phase| *phase == Phase::GivingUp) => return Outcome::GaveUp,
            }
        }
    }

    fn taken(&mut self, answer: &Answer, written: Option<u64>, bytes: usize, size: Size) -> Outcome {
        let written = match (self.dialect, written) {
            (Dialect::V1, _) => {
                self.tentative = false;
                size.all()
            }
            (Dialect::V2, Some(written)) => {
                self.confirmed = true;
                written.min(size.all())
            }
            // A receiver of 1.0 that does not look at the type reads a request of 2.0 as an empty one, and takes it.
            (Dialect::V2, None) if self.may_fall_back() => return self.fall_back(answer, false),
            (Dialect::V2, None) => 0,
        };
        let counters = &self.queue.counters;
        counters.sent_requests.fetch_add(1, Relaxed);
        counters.sent_bytes.fetch_add(bytes as u64, Relaxed);
        counters.sent_samples.fetch_add(written, Relaxed);
        counters.sent_stale.fetch_add(size.stale.min(written), Relaxed);
        if written < size.all() {
            self.lose(DropReason::Unconfirmed, size.all() - written, Some(answer));
        }
        Outcome::Done
    }

    fn other_version(&mut self, answer: &Answer, certain: bool, size: Size) -> Outcome {
        if self.dialect == Dialect::V2 && self.may_fall_back() && (certain || !self.confirmed) {
            return self.fall_back(answer, !certain);
        }
        if self.tentative {
            // Neither version: the request itself was bad, which says nothing about what the receiver knows.
            (self.dialect, self.tentative) = (Dialect::V2, false);
        }
        let reason = if certain {
            DropReason::Unsupported
        } else {
            DropReason::Refused
        };
        self.lose(reason, size.all(), Some(answer));
        Outcome::Done
    }

    fn may_fall_back(&self) -> bool {
        self.queue.settings.version == RemoteWriteVersion::Auto
    }

    fn fall_back(&mut self, answer: &Answer, tentative: bool) -> Outcome {
        info!(status = answer.status, said = %answer.said, "remote write goes on with version 1.0");
        (self.dialect, self.tentative) = (Dialect::V1, tentative);
        Outcome::Again
    }

    fn lose(&self, reason: DropReason, samples: u64, answer: Option<&Answer>) {
        self.queue.counters.lose(reason, samples);
        let (status, said) = answer.map_or((0, ""), |answer| (answer.status, answer.said.as_str()));
        error!(
            samples,
            reason = reason.as_str(),
            status,
            said,
            "remote write samples dropped"
        );
    }
}
