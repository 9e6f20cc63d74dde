//! The queue `orders`, in this process, and the worker that empties it.
//!
//! In: orders from `checkout`, each with metadata. Out: a row in the database and a CONSUMER span for each.
//! Left out on purpose: redelivery. An order whose work fails is logged and gone, so that a failing worker does not
//! turn into a growing queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::sleep;
use tracing::{debug, warn};

use super::database;
use super::faults::Faults;
use super::services::{STORE_ORDER, WORKER, WORKER_OWN};
use super::telemetry::{Metadata, OpenSpan, Parent, Tracer};

/// `messaging.destination.name`.
pub(super) const QUEUE: &str = "orders";
/// Orders that wait at most; one more is refused.
pub(super) const QUEUE_CAPACITY: usize = 1_000;
/// Orders that are worked on at once.
pub(super) const WORKERS: usize = 4;
/// Every how many refusals a line is logged.
const LOG_EVERY: u64 = 100;

/// A message of the queue.
#[derive(Debug)]
pub(super) struct Order {
    id: u64,
    metadata: Metadata,
}

/// The queue is at its bound.
#[derive(Debug, thiserror::Error)]
#[error("the queue `{QUEUE}` is full with {QUEUE_CAPACITY} orders")]
pub(super) struct QueueFull;

/// What both ends of the queue count.
#[derive(Debug, Default)]
pub(super) struct QueueCounts {
    /// Orders that found no room.
    pub(super) refused: AtomicU64,
    /// Orders that were worked on, well or not.
    pub(super) processed: AtomicU64,
}

/// The sending end.
pub(super) struct OrderQueue {
    sender: Sender<Order>,
    next_id: AtomicU64,
    counts: Arc<QueueCounts>,
    tracer: Tracer,
}

/// A queue and its receiving end. `tracer` is the sender's.
pub(super) fn queue(counts: Arc<QueueCounts>, tracer: Tracer) -> (OrderQueue, Receiver<Order>) {
    let (sender, receiver) = mpsc::channel(QUEUE_CAPACITY);
    (
        OrderQueue {
            sender,
            next_id: AtomicU64::new(1),
            counts,
            tracer,
        },
        receiver,
    )
}

impl OrderQueue {
    /// Puts an order on the queue under a PRODUCER span, whose context replaces the one in `metadata`.
    ///
    /// # Errors
    /// A full queue; the span then says so too.
    pub(super) fn send(&self, parent: &Parent, mut metadata: Metadata) -> Result<(), QueueFull> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let span = self.tracer.queue_send(parent, QUEUE, id);
        span.inject(&mut metadata);
        if self.sender.try_send(Order { id, metadata }).is_ok() {
            span.end();
            return Ok(());
        }
        span.fail("queue_full", &QueueFull);
        let refused = self.counts.refused.fetch_add(1, Ordering::Relaxed) + 1;
        if refused % LOG_EVERY == 1 {
            warn!(
                queue = QUEUE,
                refused, "demo order refused because the queue is full"
            );
        }
        Err(QueueFull)
    }
}

/// What the worker needs beside the queue.
pub(super) struct Worker {
    /// The worker's own.
    pub(super) tracer: Tracer,
    /// Likewise.
    pub(super) database: database::Client,
    /// The shop's.
    pub(super) faults: Arc<Faults>,
    /// The queue's.
    pub(super) counts: Arc<QueueCounts>,
}

impl Worker {
    /// Works until every sender is gone and the queue is empty. [`WORKERS`] of these share one receiver.
    pub(super) async fn run(self: Arc<Self>, orders: Arc<Mutex<Receiver<Order>>>) {
        loop {
            // The lock is held while waiting, not while working: the guard is gone before the next line.
            let next = orders.lock().await.recv().await;
            let Some(order) = next else { return };
            let id = order.id;
            let parent = Parent::of_message(&order.metadata);
            let span = self.tracer.queue_process(&parent, QUEUE, id);
            match self.process(&span).await {
                Ok(rows) => {
                    debug!(order = id, rows, "demo order stored");
                    span.end();
                }
                Err(reason) => {
                    warn!(order = id, reason, "demo order lost");
                    span.fail("order_lost", &reason);
                }
            }
            self.counts.processed.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn process(&self, span: &OpenSpan) -> Result<u64, String> {
        let own = WORKER_OWN.sample(&mut rand::rng());
        let suffering = self.faults.draw(WORKER);
        sleep(own + suffering.delay).await;
        if suffering.fails {
            return Err(format!("`{WORKER}` failed"));
        }
        self.database
            .query(span.as_parent(), STORE_ORDER)
            .await
            .map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http::HeaderMap;

    use super::super::telemetry::Telemetry;
    use super::*;

    #[tokio::test]
    async fn the_queue_refuses_what_is_past_its_bound_and_counts_it() {
        let counts = Arc::new(QueueCounts::default());
        let telemetry = Telemetry::new("not an endpoint");
        let (queue, receiver) = queue(Arc::clone(&counts), telemetry.tracer("checkout"));
        let parent = Parent::of_request(&HeaderMap::new());
        let accepted = (0..QUEUE_CAPACITY + 3)
            .filter(|_| queue.send(&parent, Metadata::new()).is_ok())
            .count();
        assert_eq!(
            (accepted, counts.refused.load(Ordering::Relaxed)),
            (QUEUE_CAPACITY, 3)
        );
        drop(receiver);
    }

    #[tokio::test]
    async fn a_worker_whose_database_is_gone_goes_on_to_the_next_order() {
        let counts = Arc::new(QueueCounts::default());
        let tracer = Telemetry::new("not an endpoint").tracer("worker");
        let (queue, receiver) = queue(Arc::clone(&counts), tracer.clone());
        let nowhere: SocketAddr = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let faults = Arc::new(Faults::new(0.0));
        let database = database::Client::new(nowhere, tracer.clone());
        let worker = Arc::new(Worker {
            tracer,
            database,
            faults,
            counts: Arc::clone(&counts),
        });
        let parent = Parent::of_request(&HeaderMap::new());
        for _ in 0..2 {
            queue.send(&parent, Metadata::new()).unwrap();
        }
        drop(queue);
        worker.run(Arc::new(Mutex::new(receiver))).await;
        assert_eq!(counts.processed.load(Ordering::Relaxed), 2);
    }
}
