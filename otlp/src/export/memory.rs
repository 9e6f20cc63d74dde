//! The buffer in memory: a bounded queue in front of the batcher.
//!
//! In: encoded requests from any thread. Out: the same as orders to the batcher, each with its claim on the bound.
//! Left out on purpose: batches.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::stats::Counters;
use super::{DropReason, NoRoom};

/// Spans that were not taken: the buffer is full, or the exporter was shut down. Already counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the export buffer has no room for {wanted} bytes, its limit is {limit}")]
pub struct BufferFull {
    /// Bytes of the request that was refused.
    pub wanted: usize,
    /// [`super::ExportSettings::max_buffer_bytes`].
    pub limit: usize,
}

/// What handles ask of the batcher. The channel is bounded by the permits that the spans in it hold.
#[derive(Debug)]
pub(super) enum Order {
    Send(Spans),
    Flush(oneshot::Sender<()>),
    Stop,
}

/// Encoded spans and their claim on the buffer, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Spans {
    pub(super) body: Bytes,
    pub(super) count: u64,
    /// Who waits until the collector has answered for them; dropped where it never does.
    pub(super) waiting: Option<oneshot::Sender<()>>,
    _room: OwnedSemaphorePermit,
}

/// The handles' end of the buffer in memory.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    room: Arc<Semaphore>,
    limit: usize,
    orders: mpsc::UnboundedSender<Order>,
    pub(super) counters: Arc<Counters>,
}

impl Memory {
    pub(super) fn new(max_bytes: usize) -> (Self, mpsc::UnboundedReceiver<Order>) {
        let limit = max_bytes.min(u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        let (orders, inbox) = mpsc::unbounded_channel();
        let memory = Self {
            room: Arc::new(Semaphore::new(limit)),
            limit,
            orders,
            counters: Arc::default(),
        };
        (memory, inbox)
    }

    pub(super) fn try_send(&self, body: Bytes, spans: u64) -> Result<(), BufferFull> {
        match self.place(&body) {
            Some(room) => self.order(body, spans, None, room),
            None => Err(self.refuse(body.len(), spans)),
        }
    }

    /// As [`Memory::try_send`], for what the disk did not take.
    pub(super) fn fall_back(&self, body: Bytes, spans: u64) -> Result<(), BufferFull> {
        self.try_send(body, spans)?;
        self.counters.fell_back(spans);
        Ok(())
    }

    /// As [`Memory::try_send`], but counts nothing where there is no room: the sender still has it.
    pub(super) fn accept(&self, body: Bytes, spans: u64) -> Result<(), NoRoom> {
        let room = self.place(&body).ok_or(NoRoom)?;
        self.order(body, spans, None, room).map_err(|_| NoRoom)
    }

    /// As [`Memory::accept`], for what the disk did not take; says when the collector has answered for it.
    pub(super) fn hand_over(&self, body: Bytes, spans: u64) -> Result<oneshot::Receiver<()>, NoRoom> {
        let room = self.place(&body).ok_or(NoRoom)?;
        let (waiting, answered) = oneshot::channel();
        self.order(body, spans, Some(waiting), room).map_err(|_| NoRoom)?;
        self.counters.fell_back(spans);
        Ok(answered)
    }

    pub(super) async fn send(&self, body: Bytes, spans: u64) -> Result<(), BufferFull> {
        let Some(permits) = self.permits(&body) else {
            return Err(self.refuse(body.len(), spans));
        };
        match self.room.clone().acquire_many_owned(permits).await {
            Ok(room) => self.order(body, spans, None, room),
            Err(_closed) => Err(self.refuse(body.len(), spans)),
        }
    }

    /// Ends once everything that was ordered before has its fate.
    pub(super) async fn flush(&self) {
        let (done, answered) = oneshot::channel();
        if self.orders.send(Order::Flush(done)).is_ok() {
            let _ = answered.await;
        }
    }

    /// Nothing is taken from now on.
    pub(super) fn close(&self) {
        self.room.close();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.room.is_closed()
    }

    pub(super) fn stop(&self) {
        let _ = self.orders.send(Order::Stop);
    }

    fn permits(&self, body: &Bytes) -> Option<u32> {
        u32::try_from(body.len())
            .ok()
            .filter(|_| body.len() <= self.limit)
    }

    fn place(&self, body: &Bytes) -> Option<OwnedSemaphorePermit> {
        let permits = self.permits(body)?;
        self.room.clone().try_acquire_many_owned(permits).ok()
    }

    fn order(
        &self,
        body: Bytes,
        count: u64,
        waiting: Option<oneshot::Sender<()>>,
        room: OwnedSemaphorePermit,
    ) -> Result<(), BufferFull> {
        let wanted = body.len();
        self.counters.buffered(wanted, count);
        let spans = Spans {
            body,
            count,
            waiting,
            _room: room,
        };
        self.orders.send(Order::Send(spans)).map_err(|_ended| {
            self.counters.dropped(DropReason::Shutdown, wanted, count);
            BufferFull {
                wanted,
                limit: self.limit,
            }
        })
    }

    fn refuse(&self, wanted: usize, spans: u64) -> BufferFull {
        let reason = if self.is_closed() {
            DropReason::Shutdown
        } else {
            DropReason::BufferFull
        };
        self.counters.refused(reason, spans);
        BufferFull {
            wanted,
            limit: self.limit,
        }
    }
}
