//! One batch to the collector, until it has answered for it.
//!
//! In: batches. Out: OTLP calls, and one fate for every span, counted.
//! Left out on purpose: batching, and order: batches under way at a time may arrive in any.
//!
//! A batch that the collector finds too large is sent in two halves, and those likewise. A part's id is its batch's and which
//! half it is (`agent-1/7.0.1`): the same after a crash, like the batch.

use super::halves::halves;
use super::retry::{self, Failure};
use super::spool::Cut;
use super::stats::{Counters, Fate};
use super::wire::{Failed, Wire};
use super::{DropReason, ExportSettings, ExportSettingsError, Spans};
use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::watch;

/// `RESOURCE_EXHAUSTED` says too large or over budget alike: only what is larger than this is tried in halves.
const LARGE: usize = 64 << 10;

/// Sends batches; clones share the connection.
#[derive(Clone)]
pub(super) struct Sender {
    wire: Wire,
    /// The collector refused our compression once: requests go plain from then on.
    plain: Arc<AtomicBool>,
    /// The last try failed: told once, and once more when it is over.
    away: Arc<AtomicBool>,
    timeout: Duration,
    counters: Arc<Counters>,
    giving_up: watch::Receiver<bool>,
}

/// Spans that travel together, under one id.
pub(super) struct Batch {
    pub(super) id: String,
    pub(super) spans: Vec<Spans>,
}

/// A batch, or what is left to send of it.
struct Part {
    id: String,
    body: Bytes,
    spans: u64,
}

impl Part {
    /// Its halves, where `reason` is that it is too large.
    fn halves(&self, reason: DropReason) -> Option<[Self; 2]> {
        let too_large = match reason {
            DropReason::TooLarge => true,
            DropReason::Exhausted => self.body.len() > LARGE,
            _ => false,
        };
        let [first, second] = halves(&self.body, self.spans).filter(|_| too_large)?;
        let part = |(body, spans), which: &str| Self {
            id: format!("{}.{which}", self.id),
            body,
            spans,
        };
        Some([part(first, "0"), part(second, "1")])
    }
}

impl Sender {
    pub(super) fn new(
        settings: &ExportSettings,
        counters: Arc<Counters>,
        giving_up: watch::Receiver<bool>,
    ) -> Result<Self, ExportSettingsError> {
        Ok(Self {
            wire: Wire::new(settings)?,
            plain: Arc::default(),
            away: Arc::default(),
            timeout: settings.request_timeout,
            counters,
            giving_up,
        })
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
    pub(super) async fn deliver(self, batch: Batch) {
        let body = joined(&batch.spans);
        let (bytes, spans) = (body.len(), batch.spans.iter().map(|part| part.count).sum());
        let (mut fate, settled) = self.settle(batch.id, body, spans).await;
        let left = spans.saturating_sub(fate.spans());
        if left > 0 {
            fate.dropped(DropReason::Shutdown, left);
            told_dropped(DropReason::Shutdown, left);
        }
        self.counters.settled(bytes, &fate);
        if settled {
            for waiting in batch.spans.into_iter().filter_map(|part| part.waiting) {
                // Whoever asked may have stopped waiting.
                let _ = waiting.send(());
            }
        }
    }

    /// As [`Sender::deliver`], for a batch that is kept on disk: where the exporter gives up it stays there, uncounted, and
    /// the answer is false.
    pub(super) async fn deliver_kept(self, cut: Cut) -> bool {
        let bytes = cut.body.len();
        let (fate, settled) = self.settle(cut.id, cut.body, cut.spans).await;
        if settled {
            self.counters.settled(bytes, &fate);
        }
        settled
    }

    /// What became of a batch, and whether that is all of it: the exporter may give up first.
    async fn settle(&self, id: String, body: Bytes, spans: u64) -> (Fate, bool) {
        let mut giving_up = self.giving_up.clone();
        let mut fate = Fate::default();
        let settled = tokio::select! {
            () = self.settle_parts(Part { id, body, spans }, &mut fate) => true,
            _ = giving_up.wait_for(|given_up| *given_up) => false,
        };
        (fate, settled)
    }

    async fn settle_parts(&self, whole: Part, fate: &mut Fate) {
        let mut left = vec![whole];
        while let Some(part) = left.pop() {
            match self.until_answered(&part).await {
                Ok(rejected) => fate.taken(part.spans, rejected),
                Err(reason) => {
                    if let Some([first, second]) = part.halves(reason) {
                        left.extend([second, first]);
                    } else {
                        fate.dropped(reason, part.spans);
                        told_dropped(reason, part.spans);
                    }
                }
            }
        }
    }

    /// The number of rejected spans of a part that was taken, or why it will never be.
    async fn until_answered(&self, part: &Part) -> Result<u64, DropReason> {
        // The instance was checked to be visible ASCII when the exporter was made.
        let id = HeaderValue::try_from(&part.id).unwrap_or_else(|_| HeaderValue::from_static("unnamed"));
        for tries in 1_u32.. {
            let plain = self.plain.load(Relaxed) || !self.wire.compresses();
            let Failed { asks, said } = match self.attempt(part.body.clone(), &id, plain).await {
                Ok(response) => return Ok(self.answered(&response)),
                Err(failed) => failed,
            };
            let hint = match asks {
                // Either it does not take the signal, or only not with this compression: one plain try tells.
                Failure::Drop(DropReason::Unimplemented) if !plain => {
                    self.plain.store(true, Relaxed);
                    tracing::info!(said, "the collector may not know our compression, sending plain");
                    continue;
                }
                Failure::Drop(reason) => {
                    tracing::warn!(said, "the collector refused a batch for good");
                    return Err(reason);
                }
                Failure::Retry(hint) => hint,
            };
            if self.away.swap(true, Relaxed) {
                tracing::debug!(said, tries, "batch not delivered, trying again");
            } else {
                tracing::warn!(
                    said,
                    "the collector takes nothing: what is sent to it waits and is tried again"
                );
            }
            tokio::time::sleep(retry::delay(tries, hint, rand::random())).await;
            self.counters.retried();
        }
        Err(DropReason::Refused)
    }

    /// The number of rejected spans.
    fn answered(&self, response: &Bytes) -> u64 {
        if self.away.swap(false, Relaxed) {
            tracing::info!("the collector takes what is sent to it again");
        }
        rejected_spans(response)
    }

    async fn attempt(&self, body: Bytes, id: &HeaderValue, plain: bool) -> Result<Bytes, Failed> {
        let answer = tokio::time::timeout(self.timeout, self.wire.attempt(body, id, plain)).await;
        answer.unwrap_or_else(|_| {
            Err(Failed {
                asks: Failure::Retry(Duration::ZERO),
                said: "no answer in time".to_owned(),
            })
        })
    }
}

fn told_dropped(reason: DropReason, spans: u64) {
    let reason = reason.as_str();
    tracing::error!(spans, reason, "spans dropped on their way to the collector");
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
