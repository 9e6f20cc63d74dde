//! Empties the buffer on disk: cuts batches when they are due and keeps a bounded number of them under way.
//!
//! In: word that something was written, and orders of the handles. Out: batches to [`Sender::deliver_kept`].
//! Left out on purpose: touching files on the runtime's own threads; the spool goes to a blocking one and comes back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use super::ExportSettings;
use super::disk::{Disk, Totals};
use super::send::Sender;
use super::spool::Spool;

/// What handles ask.
#[derive(Debug)]
pub(super) enum DrainOrder {
    /// Tell once everything taken so far has its fate.
    Flush(oneshot::Sender<()>),
    /// Send nothing more; tell once the directory is free.
    Stop(oneshot::Sender<()>),
}

pub(super) struct Drain {
    disk: Arc<Disk>,
    spool: Option<Spool>,
    sender: Sender,
    give_up: watch::Sender<bool>,
    max_batch_bytes: usize,
    max_delay: Duration,
    max_in_flight: usize,
    under_way: JoinSet<(u64, bool)>,
    /// Batches with a fate, that the spool was not told of.
    answered: Vec<u64>,
    /// As the spool said last.
    read: Totals,
    resumes: bool,
    dropped_records: u64,
    /// When what waits has waited long enough.
    due: Option<Instant>,
    flushes: Vec<oneshot::Sender<()>>,
}

impl Drain {
    pub(super) fn new(disk: Arc<Disk>, spool: Spool, sender: &Sender, settings: &ExportSettings) -> Self {
        // Its own: what lies on disk is given up while what lies in memory is still tried.
        let (give_up, giving_up) = watch::channel(false);
        let sender = sender.for_disk(disk.counters.clone(), giving_up);
        Self {
            dropped_records: disk.dropped_records(),
            disk,
            read: spool.read(),
            resumes: spool.resumes(),
            spool: Some(spool),
            sender,
            give_up,
            max_batch_bytes: settings.max_batch_bytes,
            max_delay: settings.max_delay,
            max_in_flight: settings.max_in_flight.max(1),
            under_way: JoinSet::new(),
            answered: Vec::new(),
            due: None,
            flushes: Vec::new(),
        }
    }

    /// Works until told to stop, or until no handle is left; what is not delivered then stays for the next start.
    pub(super) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<DrainOrder>) {
        let stopped = self.until_stopped(&mut orders).await;
        self.give_up.send_replace(true);
        if let Err(panicked) = stopped {
            tracing::error!(%panicked, "the buffer on disk is not read any more");
            return;
        }
        while let Some(ended) = self.under_way.join_next().await {
            self.end(ended);
        }
        let answered = std::mem::take(&mut self.answered);
        let closed = self.on_files(move |spool| spool.close(&answered)).await;
        if let (Ok(()), Ok(Some(done))) = (closed, stopped) {
            // Whoever asked may have stopped waiting.
            let _ = done.send(());
        }
    }

    async fn until_stopped(
        &mut self,
        orders: &mut mpsc::UnboundedReceiver<DrainOrder>,
    ) -> Result<Option<oneshot::Sender<()>>, JoinError> {
        loop {
            let waiting = self.waits();
            let due = self.due(waiting);
            let place = self.under_way.len() < self.max_in_flight;
            if !waiting && self.under_way.is_empty() {
                self.settle().await?;
            }
            tokio::select! {
                order = orders.recv() => match order {
                    Some(DrainOrder::Flush(done)) => self.flushes.push(done),
                    Some(DrainOrder::Stop(done)) => return Ok(Some(done)),
                    None => return Ok(None),
                },
                Some(ended) = self.under_way.join_next() => self.end(ended),
                () = self.disk.arrived.notified() => self.notice_dropped().await?,
                () = sleep_until(due), if waiting && place => self.cut().await?,
            }
        }
    }

    /// Whether something lies there that nobody was sent.
    fn waits(&self) -> bool {
        self.resumes || self.disk.completed().bytes > self.read.bytes
    }

    fn due(&mut self, waiting: bool) -> Instant {
        let now = Instant::now();
        let full = self.disk.completed().bytes.saturating_sub(self.read.bytes) >= self.max_batch_bytes as u64;
        if self.resumes || full || !self.flushes.is_empty() {
            return now;
        }
        if !waiting {
            self.due = None;
        }
        *self.due.get_or_insert(now + self.max_delay)
    }

    async fn cut(&mut self) -> Result<(), JoinError> {
        self.due = None;
        let (answered, max_bytes) = (std::mem::take(&mut self.answered), self.max_batch_bytes);
        let cut = self
            .on_files(move |spool| spool.cut(&answered, max_bytes))
            .await?;
        if let Some(cut) = cut {
            let sender = self.sender.clone();
            self.under_way.spawn(async move {
                let number = cut.number;
                (number, sender.deliver_kept(cut).await)
            });
        }
        Ok(())
    }

    /// Nothing waits and nothing is under way.
    async fn settle(&mut self) -> Result<(), JoinError> {
        if !self.answered.is_empty() {
            let answered = std::mem::take(&mut self.answered);
            self.on_files(move |spool| spool.settle(&answered)).await?;
        }
        if self.disk.is_written() {
            for done in self.flushes.drain(..) {
                // Whoever asked may have stopped waiting.
                let _ = done.send(());
            }
        }
        Ok(())
    }

    async fn notice_dropped(&mut self) -> Result<(), JoinError> {
        let dropped = self.disk.dropped_records();
        if std::mem::replace(&mut self.dropped_records, dropped) != dropped {
            self.on_files(Spool::skip_dropped).await?;
        }
        Ok(())
    }

    fn end(&mut self, ended: Result<(u64, bool), JoinError>) {
        // One that panicked stays open, and is sent again after a restart.
        let answered = ended.ok().filter(|(_, has_fate)| *has_fate);
        self.answered.extend(answered.map(|(number, _)| number));
    }

    /// Does `work` where waiting for files is allowed.
    async fn on_files<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Spool) -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let mut spool = match self.spool.take() {
            Some(spool) => spool,
            // It was lost in an earlier call, which ended the loop.
            None => std::future::pending().await,
        };
        let (spool, out) = spawn_blocking(move || {
            let out = work(&mut spool);
            (spool, out)
        })
        .await?;
        (self.read, self.resumes) = (spool.read(), spool.resumes());
        self.spool = Some(spool);
        Ok(out)
    }
}
