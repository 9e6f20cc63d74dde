//! Gathers spans into batches and keeps a bounded number of them under way.
//!
//! In: orders of the handles, in their order. Out: batches to [`Sender::deliver`], each numbered once.
//! Left out on purpose: looking into the bytes; requests join by concatenation.

use super::send::{Batch, Sender};
use super::{ExportSettings, Ids, Order, Spans};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

pub(super) struct Batcher {
    settings: ExportSettings,
    sender: Sender,
    give_up: watch::Sender<bool>,
    under_way: JoinSet<()>,
    gathered: Vec<Spans>,
    gathered_bytes: usize,
    /// When the gathered spans have waited long enough.
    due: Instant,
    ids: Ids,
}

impl Batcher {
    pub(super) fn new(
        settings: ExportSettings,
        sender: Sender,
        give_up: watch::Sender<bool>,
        ids: Ids,
    ) -> Self {
        Self {
            settings,
            sender,
            give_up,
            under_way: JoinSet::new(),
            gathered: Vec::new(),
            gathered_bytes: 0,
            due: Instant::now(),
            ids,
        }
    }

    /// Works until told to stop, or until no handle is left.
    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        loop {
            let (due, waiting) = (self.due, !self.gathered.is_empty());
            tokio::select! {
                order = inbox.recv() => match order {
                    Some(Order::Send(spans)) => self.gather(spans).await,
                    Some(Order::Flush(done)) => self.flush(done).await,
                    Some(Order::Stop) => break,
                    None => {
                        self.leave_none_behind().await;
                        return;
                    }
                },
                () = sleep_until(due), if waiting => self.dispatch().await,
                Some(_) = self.under_way.join_next() => {}
            }
        }
        self.finish(inbox).await;
    }

    /// Takes what came before the inbox closed; whoever sends later is told so.
    async fn finish(&mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        inbox.close();
        let mut waiting = Vec::new();
        while let Ok(order) = inbox.try_recv() {
            match order {
                Order::Send(spans) => self.gather(spans).await,
                Order::Flush(done) => waiting.push(done),
                Order::Stop => {}
            }
        }
        self.settle().await;
        for done in waiting {
            let _ = done.send(());
        }
    }

    /// Without a handle nobody can ask for more time: what is left gets one request's.
    async fn leave_none_behind(&mut self) {
        let patience = self.settings.request_timeout;
        if timeout(patience, self.settle()).await.is_err() {
            self.give_up.send_replace(true);
            self.settle().await;
        }
    }

    async fn gather(&mut self, spans: Spans) {
        let bytes = spans.body.len();
        if self.gathered_bytes + bytes > self.settings.max_batch_bytes {
            self.dispatch().await;
        }
        if self.gathered.is_empty() {
            self.due = Instant::now() + self.settings.max_delay;
        }
        self.gathered.push(spans);
        self.gathered_bytes += bytes;
        if self.gathered_bytes >= self.settings.max_batch_bytes || self.settings.max_delay == Duration::ZERO {
            self.dispatch().await;
        }
    }

    /// Puts what was gathered under way, once there is a place.
    async fn dispatch(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        while self.under_way.len() >= self.settings.max_in_flight.max(1) {
            self.under_way.join_next().await;
        }
        self.gathered_bytes = 0;
        let batch = Batch {
            id: self.ids.next(),
            spans: std::mem::take(&mut self.gathered),
        };
        self.under_way.spawn(self.sender.clone().deliver(batch));
    }

    async fn flush(&mut self, done: oneshot::Sender<()>) {
        self.settle().await;
        // Whoever asked may have stopped waiting.
        let _ = done.send(());
    }

    /// Sends what was gathered and waits until every batch has its fate.
    async fn settle(&mut self) {
        self.dispatch().await;
        while self.under_way.join_next().await.is_some() {}
    }
}
