//! The exporter: request bytes in, OTLP/gRPC to one collector out.
//!
//! In: encoded `ExportTraceServiceRequest`s from any thread. Out: the same spans in batches, each batch under one
//! id that stays the same on every retry. Batches are kept until the collector has answered for them.
//! Left out on purpose: a buffer on disk (what is not yet acknowledged is lost with the process), TLS, and more
//! than one collector.
//! Source: OTLP specification 1.x, "OTLP/gRPC" with its retryable codes, throttling and partial success.

mod batch;
mod retry;
mod send;
mod stats;

use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tonic::transport::Endpoint;

pub use crate::codec::BATCH_ID;
pub use stats::{DropReason, ExportStats};

/// What the exporter needs to know.
#[derive(Debug, Clone)]
pub struct ExportSettings {
    /// The collector: `http://host:port`.
    pub endpoint: String,
    /// Most bytes held for the collector, in flight ones included; beyond it spans are refused. Default 64 MiB,
    /// which at 550 bytes a span is about two minutes of 1,000 spans a second. More than 4 GiB is 4 GiB.
    pub max_buffer_bytes: usize,
    /// Bytes from which a batch is sent at once. Default 512 KiB. A single larger request is sent as it is.
    pub max_batch_bytes: usize,
    /// Longest time that spans wait for their batch to fill. Default 500 ms; `0s` sends each request by itself.
    pub max_delay: Duration,
    /// Batches under way at a time. Default 4; at least 1. Retries count as under way.
    pub max_in_flight: usize,
    /// How long the collector may take to answer before the batch is sent again. Default 10 s.
    pub request_timeout: Duration,
    /// How requests are compressed. Default zstd; a collector that does not know it gets plain requests.
    pub compression: Compression,
    /// Names this exporter in batch ids, unique among all that send to the collector and new on every start, as
    /// the sequence starts again: `node-7/1718000000`. Visible ASCII.
    pub instance: String,
}

impl Default for ExportSettings {
    fn default() -> Self {
        Self {
            endpoint: "http://127.0.0.1:4317".to_owned(),
            max_buffer_bytes: 64 << 20,
            max_batch_bytes: 512 << 10,
            max_delay: Duration::from_millis(500),
            max_in_flight: 4,
            request_timeout: Duration::from_secs(10),
            compression: Compression::Zstd,
            instance: String::new(),
        }
    }
}

/// How requests to the collector are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all: for a collector on the same machine.
    None,
    /// What every OTLP receiver knows.
    Gzip,
    /// Smaller and cheaper than gzip.
    #[default]
    Zstd,
}

/// Settings that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ExportSettingsError {
    /// Not an address of a collector.
    #[error("`endpoint` is `{endpoint}`, but it must be `http://host:port`, such as `http://127.0.0.1:4317`")]
    Endpoint {
        /// The value as written.
        endpoint: String,
    },
    /// Not a value for gRPC metadata.
    #[error("`instance` is `{instance}`, but it must be visible ASCII and not empty")]
    Instance {
        /// The value as written.
        instance: String,
    },
}

/// Spans that were not taken: the buffer is full, or the exporter was shut down. Already counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the export buffer has no room for {wanted} bytes, its limit is {limit}")]
pub struct BufferFull {
    /// Bytes of the request that was refused.
    pub wanted: usize,
    /// [`ExportSettings::max_buffer_bytes`].
    pub limit: usize,
}

/// Not everything was delivered in time; the rest is still being tried, or after a shutdown dropped and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{spans} spans were not delivered in time")]
pub struct NotDelivered {
    /// Spans that were in the buffer when the time was up.
    pub spans: u64,
}

/// A handle on the exporter; clones are the same exporter.
#[derive(Debug, Clone)]
pub struct Exporter {
    room: Arc<Semaphore>,
    limit: usize,
    orders: mpsc::UnboundedSender<Order>,
    give_up: watch::Sender<bool>,
    counters: Arc<stats::Counters>,
}

/// What handles ask of the task. The channel is bounded by the permits that the spans in it hold.
#[derive(Debug)]
enum Order {
    Send(Spans),
    Flush(oneshot::Sender<()>),
    Stop,
}

/// Encoded spans and their claim on the buffer, given back when this is dropped.
#[derive(Debug)]
struct Spans {
    body: Bytes,
    count: u64,
    _room: OwnedSemaphorePermit,
}

impl Exporter {
    /// Starts an exporter on the current tokio runtime. It connects when there is something to send.
    ///
    /// The task ends after [`Exporter::shutdown`], or once every handle is gone and what they left was tried for
    /// [`ExportSettings::request_timeout`].
    ///
    /// # Errors
    /// Where the endpoint is no `http://` address or the instance no metadata value.
    pub fn spawn(settings: ExportSettings) -> Result<(Self, JoinHandle<()>), ExportSettingsError> {
        let endpoint = endpoint(&settings)?;
        let limit = settings
            .max_buffer_bytes
            .min(u32::MAX as usize)
            .min(Semaphore::MAX_PERMITS);
        let (orders, inbox) = mpsc::unbounded_channel();
        let (give_up, giving_up) = watch::channel(false);
        let counters = Arc::new(stats::Counters::default());
        let sender = send::Sender::new(&endpoint, &settings, counters.clone(), giving_up);
        let task = tokio::spawn(batch::Batcher::new(settings, sender, give_up.clone()).run(inbox));
        let room = Arc::new(Semaphore::new(limit));
        Ok((
            Self {
                room,
                limit,
                orders,
                give_up,
                counters,
            },
            task,
        ))
    }

    /// Takes `body`, an encoded `ExportTraceServiceRequest` of `spans` spans, without waiting. Empty bytes are
    /// nothing to send.
    ///
    /// # Errors
    /// [`BufferFull`] where there is no room; the spans are then counted as [`DropReason::BufferFull`], or as
    /// [`DropReason::Shutdown`] where the exporter was shut down.
    pub fn try_send(&self, body: Bytes, spans: u64) -> Result<(), BufferFull> {
        if body.is_empty() {
            return Ok(());
        }
        match self
            .permits(&body)
            .and_then(|n| self.room.clone().try_acquire_many_owned(n).ok())
        {
            Some(room) => self.order(body, spans, room),
            None => Err(self.refuse(body.len(), spans)),
        }
    }

    /// As [`Exporter::try_send`], but waits for room, in the order of the calls.
    ///
    /// # Errors
    /// [`BufferFull`] where `body` is larger than the whole buffer, or the exporter was shut down.
    pub async fn send(&self, body: Bytes, spans: u64) -> Result<(), BufferFull> {
        if body.is_empty() {
            return Ok(());
        }
        let Some(permits) = self.permits(&body) else {
            return Err(self.refuse(body.len(), spans));
        };
        match self.room.clone().acquire_many_owned(permits).await {
            Ok(room) => self.order(body, spans, room),
            Err(_closed) => Err(self.refuse(body.len(), spans)),
        }
    }

    /// Sends what is there without waiting for batches to fill, and waits until the collector has answered for
    /// all that was taken before this call.
    ///
    /// # Errors
    /// [`NotDelivered`] once `timeout` has passed; the exporter goes on trying.
    pub async fn flush(&self, timeout: Duration) -> Result<(), NotDelivered> {
        let (done, answered) = oneshot::channel();
        if self.orders.send(Order::Flush(done)).is_err() {
            return Ok(());
        }
        let flushed = tokio::time::timeout(timeout, answered).await;
        flushed.map(drop).map_err(|_| NotDelivered {
            spans: self.counters.buffered_spans(),
        })
    }

    /// Takes no more spans, tries to deliver what is there for at most `timeout`, then drops and counts the rest
    /// and lets the task end.
    ///
    /// # Errors
    /// [`NotDelivered`] with the number of spans that were dropped for it.
    pub async fn shutdown(&self, timeout: Duration) -> Result<(), NotDelivered> {
        self.room.close();
        let flushed = self.flush(timeout).await;
        self.give_up.send_replace(true);
        let _ = self.orders.send(Order::Stop);
        flushed
    }

    /// The counts so far.
    pub fn stats(&self) -> ExportStats {
        self.counters.snapshot()
    }

    fn permits(&self, body: &Bytes) -> Option<u32> {
        u32::try_from(body.len())
            .ok()
            .filter(|_| body.len() <= self.limit)
    }

    fn order(&self, body: Bytes, count: u64, room: OwnedSemaphorePermit) -> Result<(), BufferFull> {
        let wanted = body.len();
        self.counters.buffered(wanted, count);
        let spans = Spans {
            body,
            count,
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
        let reason = if self.room.is_closed() {
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

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

fn endpoint(settings: &ExportSettings) -> Result<Endpoint, ExportSettingsError> {
    let instance = &settings.instance;
    if instance.is_empty() || !instance.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ExportSettingsError::Instance {
            instance: instance.clone(),
        });
    }
    let refused = || ExportSettingsError::Endpoint {
        endpoint: settings.endpoint.clone(),
    };
    let uri: http::Uri = settings.endpoint.parse().map_err(|_| refused())?;
    if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) {
        return Err(refused());
    }
    Ok(Endpoint::from(uri)
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(endpoint_text: &str, instance: &str) -> String {
        let settings = ExportSettings {
            endpoint: endpoint_text.to_owned(),
            instance: instance.to_owned(),
            ..ExportSettings::default()
        };
        endpoint(&settings)
            .map(drop)
            .map_err(|error| error.to_string())
            .err()
            .unwrap_or_default()
    }

    #[test]
    fn an_endpoint_without_http_is_refused_as_it_was_written() {
        let expected = "`endpoint` is `https://collector:4317`, but it must be `http://host:port`, such as \
                        `http://127.0.0.1:4317`";
        assert_eq!(refusal("https://collector:4317", "a"), expected);
        for bad in ["", "collector:4317", "/v1/traces", "http://"] {
            assert!(!refusal(bad, "a").is_empty(), "`{bad}` was taken");
        }
        assert_eq!(refusal("http://collector:4317", "a"), "");
    }

    #[test]
    fn an_instance_that_no_metadata_value_can_hold_is_refused() {
        for bad in ["", "two words", "käse", "a\nb"] {
            assert!(
                refusal("http://collector:4317", bad).starts_with("`instance`"),
                "`{bad}` was taken"
            );
        }
    }
}
