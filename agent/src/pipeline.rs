//! From finished spans to the exporter, without ever waiting.
//!
//! In: spans as they end, on any task. Out: encoded requests in the exporter's buffer, with what must not leave taken out,
//! and a count for every span.
//! Left out on purpose: waiting for the collector: the exporter buffers, and at its bound spans are dropped and counted.

use std::sync::{Arc, Mutex, Once, PoisonError};

use otlp::encode::{AttributeValue, SpanRecord, request};
use otlp::export::rewrite::Rules;
use otlp::export::{DropReason as ExportDrop, ExportStats, Exporter};
use tokio::sync::{mpsc, watch};
use tracing::warn;

use crate::telemetry::{DropReason, Metrics, SpanOutcome};

/// Spans that may wait to be encoded, at about 1 KiB each. The task that encodes is never blocked, so they wait briefly.
const QUEUE: usize = 8_192;
/// Spans that are encoded at a time.
const BATCH: usize = 512;
const SCOPE: (&str, &str) = ("tracemap-agent", env!("CARGO_PKG_VERSION"));

/// Resource attributes of a workload.
pub(crate) type Resource = Vec<(String, AttributeValue)>;

/// A finished span and whose it is.
pub(crate) struct Finished {
    resource: Arc<Resource>,
    span: SpanRecord,
}

/// Takes finished spans. Clones are the same queue.
#[derive(Clone)]
pub(crate) struct SpanQueue {
    queue: Option<mpsc::Sender<Finished>>,
    metrics: Arc<Metrics>,
    said: Arc<Once>,
}

impl SpanQueue {
    /// A queue in front of `exporter`, and the task's end of it. Without an exporter every span is dropped and counted.
    pub(crate) fn new(
        exporter: Option<&Exporter>,
        metrics: Arc<Metrics>,
    ) -> (Self, Option<mpsc::Receiver<Finished>>) {
        let (queue, spans) = exporter.map(|_| mpsc::channel(QUEUE)).unzip();
        (
            Self {
                queue,
                metrics,
                said: Arc::new(Once::new()),
            },
            spans,
        )
    }

    /// Takes a span, or drops and counts it.
    pub(crate) fn push(&self, resource: Arc<Resource>, span: SpanRecord) {
        let Some(queue) = &self.queue else {
            self.drop_without_endpoint(1);
            return;
        };
        match queue.try_send(Finished { resource, span }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => self.metrics.dropped(DropReason::QueueFull, 1),
            Err(mpsc::error::TrySendError::Closed(_)) => self.metrics.dropped(DropReason::Shutdown, 1),
        }
    }

    /// Counts spans that nobody is configured to get, and says so once.
    pub(crate) fn drop_without_endpoint(&self, spans: u64) {
        self.said
            .call_once(|| warn!("spans are dropped: `agent.export.endpoint` names no collector"));
        self.metrics.dropped(DropReason::NoEndpoint, spans);
    }
}

/// Encodes what comes from the queue until `stop`, then what is left of it; `rules` say what may leave.
pub(crate) async fn encode(
    mut spans: mpsc::Receiver<Finished>,
    exporter: Exporter,
    rules: Arc<Rules>,
    mut stop: watch::Receiver<bool>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut stopping = false;
    loop {
        let taken = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                spans.close();
                continue;
            }
            taken = spans.recv_many(&mut batch, BATCH) => taken,
        };
        if taken == 0 {
            return;
        }
        for (resource, spans) in by_resource(batch.drain(..)) {
            let count = spans.len() as u64;
            // Refused spans are counted by the exporter, see `Published`.
            let _ = exporter.try_send(rules.apply(request(&resource, SCOPE, spans)), count);
        }
    }
}

fn by_resource(batch: impl Iterator<Item = Finished>) -> Vec<(Arc<Resource>, Vec<SpanRecord>)> {
    let mut groups: Vec<(Arc<Resource>, Vec<SpanRecord>)> = Vec::new();
    for Finished { resource, span } in batch {
        match groups.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &resource)) {
            Some((_, spans)) => spans.push(span),
            None => groups.push((resource, vec![span])),
        }
    }
    groups
}

/// Carries the exporter's own counts over to the metrics.
pub(crate) struct Published {
    exporter: Exporter,
    last: Mutex<ExportStats>,
}

impl Published {
    pub(crate) fn new(exporter: Exporter) -> Self {
        Self {
            exporter,
            last: Mutex::default(),
        }
    }

    /// Adds to `metrics` what happened since the last call.
    pub(crate) fn publish(&self, metrics: &Metrics) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.exporter.stats();
        metrics.spans(SpanOutcome::Sent, now.sent_spans.saturating_sub(last.sent_spans));
        for reason in ExportDrop::ALL {
            let dropped = now.dropped(reason).saturating_sub(last.dropped(reason));
            if dropped > 0 {
                metrics.dropped_because(reason.as_str(), dropped);
            }
        }
        metrics.set_buffered(now.buffered_bytes);
        *last = now;
    }
}

#[cfg(test)]
mod tests {
    use otlp::export::ExportSettings;

    use super::*;

    fn span() -> SpanRecord {
        SpanRecord {
            trace_id: [1; 16],
            span_id: [2; 8],
            parent_span_id: None,
            trace_state: String::new(),
            name: "GET".to_owned(),
            kind: otlp::Kind::Server,
            start_unix_nano: 1,
            end_unix_nano: 2,
            flags: 1,
            status: otlp::StatusCode::Unset,
            status_message: String::new(),
            attributes: Vec::new(),
            links: Vec::new(),
        }
    }

    fn exporter() -> Exporter {
        let settings = ExportSettings {
            instance: "test".to_owned(),
            ..ExportSettings::default()
        };
        Exporter::spawn(settings).expect("an exporter").0
    }

    #[tokio::test]
    async fn what_is_queued_when_the_agent_stops_is_still_encoded_and_what_comes_later_is_counted() {
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let exporter = exporter();
        let (queue, spans) = SpanQueue::new(Some(&exporter), metrics.clone());
        for _ in 0..=BATCH {
            queue.push(Arc::new(Resource::new()), span());
        }
        let (_stop, stopped) = watch::channel(true);
        encode(spans.expect("a queue"), exporter.clone(), Arc::default(), stopped).await;
        assert_eq!(exporter.stats().buffered_spans, BATCH as u64 + 1);
        queue.push(Arc::new(Resource::new()), span());
        let text = String::from_utf8(metrics.render().expect("text")).expect("text");
        assert!(
            text.contains("tracemap_agent_spans_dropped_total{reason=\"shutdown\"} 1\n"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_counts_and_never_waits() {
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let (queue, _spans) = SpanQueue::new(Some(&exporter()), metrics.clone());
        for _ in 0..QUEUE + 2 {
            queue.push(Arc::default(), span());
        }
        let text = String::from_utf8(metrics.render().expect("text")).expect("text");
        assert!(
            text.contains("tracemap_agent_spans_dropped_total{reason=\"queue_full\"} 2\n"),
            "{text}"
        );
    }
}
