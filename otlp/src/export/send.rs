//! One batch to the collector, until it has answered for it.
//!
//! In: batches. Out: OTLP/gRPC calls, and one fate for every span, counted.
//! Left out on purpose: batching, and order: batches under way at a time may arrive in any.

use super::retry::{self, Failure};
use super::spool::Cut;
use super::stats::Counters;
use super::{BATCH_ID, Compression, DropReason, ExportSettings, ExportSignal, Spans};
use crate::codec::{EXPORT_PATH, RawCodec};
use bytes::{Bytes, BytesMut};
use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::watch;
use tonic::client::Grpc;
use tonic::codec::CompressionEncoding;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// Sends batches; clones share the connection.
#[derive(Clone)]
pub(super) struct Sender {
    channel: Channel,
    path: PathAndQuery,
    compression: Option<CompressionEncoding>,
    /// The collector refused our compression once: requests go plain from then on.
    plain: Arc<AtomicBool>,
    timeout: Duration,
    counters: Arc<Counters>,
    giving_up: watch::Receiver<bool>,
}

/// Spans that travel together, under one id.
pub(super) struct Batch {
    pub(super) id: String,
    pub(super) spans: Vec<Spans>,
}

impl Sender {
    pub(super) fn new(
        endpoint: &Endpoint,
        settings: &ExportSettings,
        counters: Arc<Counters>,
        giving_up: watch::Receiver<bool>,
    ) -> Self {
        let compression = match settings.compression {
            Compression::None => None,
            Compression::Gzip => Some(CompressionEncoding::Gzip),
            Compression::Zstd => Some(CompressionEncoding::Zstd),
        };
        let plain = Arc::new(AtomicBool::new(false));
        let channel = endpoint.connect_lazy();
        Self {
            channel,
            path: path(settings.signal),
            compression,
            plain,
            timeout: settings.request_timeout,
            counters,
            giving_up,
        }
    }

    /// The same connection, with other counts and another end.
    pub(super) fn for_disk(&self, counters: Arc<Counters>, giving_up: watch::Receiver<bool>) -> Self {
        Self {
            counters,
            giving_up,
            ..self.clone()
        }
    }

    /// Tries until `batch` is taken, refused for good, or the exporter gives up; counts its spans once.
    pub(super) async fn deliver(mut self, batch: Batch) {
        let body = joined(&batch.spans);
        let spans = batch.spans.iter().map(|part| part.count).sum();
        let fate = self.fate(&body, &batch.id).await;
        self.count(body.len(), spans, fate.unwrap_or(Err(DropReason::Shutdown)));
    }

    /// As [`Sender::deliver`], for a batch that is kept on disk: where the exporter gives up it stays there, uncounted, and
    /// the answer is false.
    pub(super) async fn deliver_kept(mut self, cut: Cut) -> bool {
        let Some(fate) = self.fate(&cut.body, &cut.id).await else {
            return false;
        };
        self.count(cut.body.len(), cut.spans, fate);
        true
    }

    /// `None` where the exporter gave up first.
    async fn fate(&mut self, body: &Bytes, id: &str) -> Option<Result<u64, DropReason>> {
        // The instance was checked to be visible ASCII when the exporter was made.
        let id =
            AsciiMetadataValue::try_from(id).unwrap_or_else(|_| AsciiMetadataValue::from_static("unnamed"));
        let mut giving_up = self.giving_up.clone();
        tokio::select! {
            fate = self.try_until_answered(body, &id) => Some(fate),
            _ = giving_up.wait_for(|given_up| *given_up) => None,
        }
    }

    fn count(&self, bytes: usize, spans: u64, fate: Result<u64, DropReason>) {
        match fate {
            Ok(rejected) => self.counters.sent(bytes, spans, rejected),
            Err(reason) => {
                let reason_text = reason.as_str();
                tracing::error!(
                    spans,
                    reason = reason_text,
                    "spans dropped on their way to the collector"
                );
                self.counters.dropped(reason, bytes, spans);
            }
        }
    }

    /// The number of rejected spans of a batch that was taken, or why it will never be.
    async fn try_until_answered(&mut self, body: &Bytes, id: &AsciiMetadataValue) -> Result<u64, DropReason> {
        for tries in 1_u32.. {
            let plain = self.plain.load(Relaxed) || self.compression.is_none();
            let status = match self.attempt(body.clone(), id.clone(), plain).await {
                Ok(response) => return Ok(rejected_spans(&response)),
                Err(status) => status,
            };
            let hint = match retry::judge(&status) {
                // Either it takes no traces, or only not with this compression: one plain try tells.
                Failure::Drop(DropReason::Unimplemented) if !plain => {
                    self.plain.store(true, Relaxed);
                    tracing::info!(%status, "the collector may not know our compression, sending plain");
                    continue;
                }
                Failure::Drop(reason) => {
                    tracing::warn!(%status, "the collector refused a batch for good");
                    return Err(reason);
                }
                Failure::Retry(hint) => hint,
            };
            tracing::debug!(%status, tries, "batch not delivered, trying again");
            tokio::time::sleep(retry::delay(tries, hint, rand::random())).await;
            self.counters.retried();
        }
        Err(DropReason::Refused)
    }

    async fn attempt(&self, body: Bytes, id: AsciiMetadataValue, plain: bool) -> Result<Bytes, Status> {
        let call = async {
            let mut client = Grpc::new(self.channel.clone());
            if let Some(compression) = self.compression.filter(|_| !plain) {
                client = client.send_compressed(compression);
            }
            client
                .ready()
                .await
                .map_err(|error| Status::from_error(error.into()))?;
            let mut request = Request::new(body);
            request.metadata_mut().insert(BATCH_ID, id);
            client
                .unary(request, self.path.clone(), RawCodec)
                .await
                .map(tonic::Response::into_inner)
        };
        match tokio::time::timeout(self.timeout, call).await {
            Ok(answer) => answer,
            Err(_) => Err(Status::new(Code::DeadlineExceeded, "no answer in time")),
        }
    }
}

fn path(signal: ExportSignal) -> PathAndQuery {
    PathAndQuery::from_static(match signal {
        ExportSignal::Traces => EXPORT_PATH,
        ExportSignal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        ExportSignal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    })
}

/// One request of several: see [`crate::encode`].
fn joined(spans: &[Spans]) -> Bytes {
    if let [single] = spans {
        return single.body.clone();
    }
    let mut body = BytesMut::with_capacity(spans.iter().map(|part| part.body.len()).sum());
    for part in spans {
        body.extend_from_slice(&part.body);
    }
    body.freeze()
}

/// An acknowledgement whose details cannot be read is still one. Metrics and logs are answered in the same fields.
fn rejected_spans(response: &Bytes) -> u64 {
    let partial_success = ExportTraceServiceResponse::decode(response.clone())
        .ok()
        .and_then(|answer| answer.partial_success);
    let Some(partial_success) = partial_success else {
        return 0;
    };
    let (rejected, reason) = (partial_success.rejected_spans, partial_success.error_message);
    if rejected > 0 || !reason.is_empty() {
        tracing::warn!(rejected, reason, "the collector took a batch with reservations");
    }
    u64::try_from(rejected).unwrap_or(0)
}
