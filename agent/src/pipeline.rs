//! From finished spans to the exporter, without ever waiting.
//!
//! In: spans as they end, on any task. Out: encoded requests in the exporter's buffer, with what must not leave taken out,
//! and a count for every span.
//! Left out on purpose: waiting for the collector: the exporter buffers, and at its bound spans are dropped and counted.

use std::sync::{Arc, Once};
use std::time::Duration;

use otlp::encode::{AttributeValue, SpanRecord, request};
use tokio::sync::{mpsc, watch};
use tracing::warn;

use crate::reload::Outlet;
use crate::telemetry::{DropReason, Metrics};

/// Spans that may wait to be encoded, at about 1 KiB each. The task that encodes is never blocked, so they wait briefly.
const QUEUE: usize = 8_192;
/// Spans that are encoded at a time.
const BATCH: usize = 512;
/// How long spans gather before they are encoded. At 400,000 a second the queue is then full.
const GATHER: Duration = Duration::from_millis(20);
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
    /// A queue, and the end of it that [`encode`] empties.
    pub(crate) fn new(metrics: Arc<Metrics>) -> (Self, mpsc::Receiver<Finished>) {
        let (queue, spans) = mpsc::channel(QUEUE);
        let queue = Self {
            queue: Some(queue),
            metrics,
            said: Arc::new(Once::new()),
        };
        (queue, spans)
    }

    /// The same queue, which drops and counts every span where none is exported.
    pub(crate) fn where_exported(&self, exported: bool) -> Self {
        Self {
            queue: self.queue.clone().filter(|_| exported),
            ..self.clone()
        }
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

/// Encodes what comes from the `queue` until `stop`, then what is left of it; it leaves by the `outlet`.
pub(crate) async fn encode(
    queue: SpanQueue,
    mut spans: mpsc::Receiver<Finished>,
    outlet: Outlet,
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
        if taken < BATCH && !stopping {
            // A wake-up for each span would cost more than its encoding.
            let _ = tokio::time::timeout(GATHER, stop.wait_for(|stop| *stop)).await;
            while let Ok(span) = spans.try_recv() {
                batch.push(span);
            }
        }
        // Held until the batch is handed over, so that no exporter is taken away meanwhile.
        let way = outlet.read().await;
        let Some(exporter) = &way.exporter else {
            queue.drop_without_endpoint(batch.drain(..).count() as u64);
            continue;
        };
        for (resource, spans) in by_resource(batch.drain(..)) {
            let count = spans.len() as u64;
            // Refused spans are counted by the exporter, see `export_counts`.
            let _ = exporter.try_send(way.rules.apply(request(&resource, SCOPE, &spans)), count);
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

#[cfg(test)]
mod tests {
    use otlp::encode::Attributes;
    use otlp::export::{ExportSettings, Exporter};
    use tokio::sync::RwLock;

    use super::*;
    use crate::reload::Way;

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
            attributes: Attributes::default(),
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
        let (queue, spans) = SpanQueue::new(metrics.clone());
        for _ in 0..=BATCH {
            queue.push(Arc::new(Resource::new()), span());
        }
        let (_stop, stopped) = watch::channel(true);
        let way = Way {
            exporter: Some(exporter.clone()),
            ..Way::default()
        };
        encode(queue.clone(), spans, Arc::new(RwLock::new(way)), stopped).await;
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
        let (queue, _spans) = SpanQueue::new(metrics.clone());
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
