//! OTLP of the SDKs on this node, on to the collector.
//!
//! In: requests as the intake got them. Out: the same bytes in the exporter's buffer, with what the rules change, or a refusal
//! that makes the SDK try again. Metrics and logs go on as they are, each to an address of its own, where there is one.
//! Left out on purpose: any other look at the spans, and any at metrics and logs but whether they are well-formed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use otlp::export::Exporter;
use otlp::export::rewrite::Rules;
use otlp::intake::{
    Accepted, BatchMeta, IntakeObserver, Observed, PassSink, Passed, Refusal, Sinks, TraceSink, Verdict,
};
use otlp::view::{self, SpanCount};

use tokio::sync::watch;

use crate::pipeline::SpanQueue;
use crate::pods::Known;
use crate::telemetry::Metrics;

/// When an SDK should try again after a full buffer.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The sink behind the intake.
#[derive(Clone)]
pub(crate) struct Relay {
    pub(crate) exporter: Option<Exporter>,
    /// What may leave, and what is added.
    pub(crate) rules: Arc<Rules>,
    pub(crate) spans: SpanQueue,
    /// Whose pod an address is, where that may be said.
    pub(crate) pods: Option<watch::Receiver<Arc<Known>>>,
}

/// Spans to `relay`, metrics and logs to whom they go to.
pub(crate) fn sinks(relay: Relay, metrics: Option<&Exporter>, logs: Option<&Exporter>) -> Sinks<Relay> {
    let mut sinks = Sinks::new(relay);
    if let Some(exporter) = metrics {
        sinks = sinks.with_passed_metrics(PassOn(exporter.clone()));
    }
    if let Some(exporter) = logs {
        sinks = sinks.with_logs(PassOn(exporter.clone()));
    }
    sinks
}

impl Relay {
    /// Takes a request of `spans` spans that is well-formed. `Ok` once it is in the buffer, on disk where that has one.
    async fn take(&self, body: Bytes, spans: u64, peer: Option<SocketAddr>) -> Result<Accepted, Refusal> {
        let Some(exporter) = &self.exporter else {
            // A refusal would make every SDK keep and repeat what nobody will ever take.
            self.spans.drop_without_endpoint(spans);
            return Ok(Accepted::default());
        };
        accept(exporter, self.as_sent_by(peer, body), spans).await?;
        Ok(Accepted::default())
    }

    /// What of a request may leave, with what is known of whoever sent it.
    fn as_sent_by(&self, peer: Option<SocketAddr>, body: Bytes) -> Bytes {
        let known = self.pods.as_ref().map(|pods| pods.borrow().clone());
        let sender = known.and_then(|known| Some(known.at(peer?.ip())?.sender().clone()));
        match sender {
            Some(sender) => self.rules.for_sender(sender).apply(body),
            None => self.rules.apply(body),
        }
    }
}

async fn accept(exporter: &Exporter, body: Bytes, count: u64) -> Result<(), Refusal> {
    let taken = exporter.accept(body, count).await;
    taken.map_err(|_no_room| Refusal::Busy {
        retry_after: RETRY_AFTER,
    })
}

impl TraceSink for Relay {
    async fn export(&self, body: Bytes, batch: BatchMeta) -> Result<Accepted, Refusal> {
        // The intake has checked the bytes before.
        let spans = view::validate(&body).map_or(0, |count| count.0);
        self.take(body, spans, batch.peer).await
    }

    async fn export_unchecked(&self, body: Bytes, batch: BatchMeta) -> Verdict {
        match view::validate(&body) {
            Err(malformed) => Verdict {
                spans: SpanCount(0),
                answer: Err(Refusal::Malformed(malformed)),
            },
            Ok(SpanCount(0)) => Verdict::default(),
            Ok(spans) => Verdict {
                spans,
                answer: self.take(body, spans.0, batch.peer).await,
            },
        }
    }
}

/// The sink for metrics or logs of SDKs: each request goes on as it came.
struct PassOn(Exporter);

impl PassSink for PassOn {
    async fn pass(&self, body: Bytes, items: u64, _: BatchMeta) -> Result<Passed, Refusal> {
        accept(&self.0, body, items).await?;
        Ok(Passed::default())
    }
}

/// Counts what the intake answered.
pub(crate) struct RelayObserver(pub(crate) Arc<Metrics>);

impl IntakeObserver for RelayObserver {
    fn request(&self, request: &Observed) {
        let (signal, transport) = (request.signal.as_str(), request.transport.as_str());
        self.0.relayed(signal, transport, request.outcome.as_str());
    }
}
