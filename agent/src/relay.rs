//! OTLP of the SDKs on this node, on to the collector.
//!
//! In: requests that the intake found well-formed. Out: the same bytes in the exporter's buffer, or a refusal that makes the
//! SDK try again.
//! Left out on purpose: any look at the spans, and metrics and logs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use otlp::export::Exporter;
use otlp::intake::{Accepted, BatchMeta, IntakeObserver, Observed, Refusal, TraceSink};
use otlp::view;

use crate::pipeline::SpanQueue;
use crate::telemetry::Metrics;

/// When an SDK should try again after a full buffer.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The sink behind the intake.
#[derive(Clone)]
pub(crate) struct Relay {
    pub(crate) exporter: Option<Exporter>,
    /// Bytes that the exporter's buffer holds.
    pub(crate) limit: u64,
    pub(crate) spans: SpanQueue,
}

impl TraceSink for Relay {
    async fn export(&self, body: Bytes, _: BatchMeta) -> Result<Accepted, Refusal> {
        // The intake has checked the bytes before.
        let spans = view::validate(&body).map_or(0, |count| count.0);
        let Some(exporter) = &self.exporter else {
            // A refusal would make every SDK keep and repeat what nobody will ever take.
            self.spans.drop_without_endpoint(spans);
            return Ok(Accepted::default());
        };
        // Asked first, for what the exporter refuses it counts as dropped, and these spans will come again.
        if exporter.stats().buffered_bytes + body.len() as u64 > self.limit {
            return Err(Refusal::Busy {
                retry_after: RETRY_AFTER,
            });
        }
        exporter.try_send(body, spans).map_err(|_full| Refusal::Busy {
            retry_after: RETRY_AFTER,
        })?;
        Ok(Accepted::default())
    }
}

/// Counts what the intake answered.
pub(crate) struct RelayObserver(pub(crate) Arc<Metrics>);

impl IntakeObserver for RelayObserver {
    fn request(&self, request: &Observed) {
        self.0
            .relayed(request.transport.as_str(), request.outcome.as_str());
    }
}
