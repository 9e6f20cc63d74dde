//! What stands behind the receivers: who takes spans, metrics and logs, and what they answer.
//!
//! In: requests. Out: [`Accepted`] or a [`Refusal`], which the transports put into their words.
//! Left out on purpose: transports.

use super::BatchMeta;
use crate::view::{self, Malformed, SpanCount};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// What takes the spans: the collector's log, or the agent's relay.
pub trait TraceSink: Clone + Send + Sync + 'static {
    /// Takes one request. `body` is a well-formed `ExportTraceServiceRequest` with at least one span, accepted by
    /// [`view::validate`]: [`view::read_spans_unchecked`] reads it without a second check.
    ///
    /// An `Ok` is the acknowledgement: the sender forgets the spans.
    ///
    /// # Errors
    /// A [`Refusal`], which the sender sees as its transport says it.
    fn export(&self, body: Bytes, batch: BatchMeta)
    -> impl Future<Output = Result<Accepted, Refusal>> + Send;

    /// Takes one request that nobody has looked at yet; the receivers call only this.
    ///
    /// As it stands it checks `body`, answers what is malformed or empty, and leaves the rest to
    /// [`TraceSink::export`]. A sink that reads spans anyway writes its own with [`view::read_spans`], which checks
    /// and reads in one pass: it answers [`Refusal::Malformed`] with what that says and keeps nothing of such a
    /// request, and accepts a request without spans.
    fn export_unchecked(&self, body: Bytes, batch: BatchMeta) -> impl Future<Output = Verdict> + Send {
        async move {
            match view::validate(&body) {
                Err(malformed) => Verdict {
                    spans: SpanCount(0),
                    answer: Err(Refusal::Malformed(malformed)),
                },
                Ok(SpanCount(0)) => Verdict::default(),
                Ok(spans) => Verdict {
                    spans,
                    answer: self.export(body, batch).await,
                },
            }
        }
    }
}

/// What became of a request: how many spans were in it, and the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// All spans of the request, rejected ones too; 0 where they were not counted.
    pub spans: SpanCount,
    /// What the sender is told.
    pub answer: Result<Accepted, Refusal>,
}

impl Default for Verdict {
    /// That of a request without spans: accepted.
    fn default() -> Self {
        Self {
            spans: SpanCount(0),
            answer: Ok(Accepted::default()),
        }
    }
}

/// A request that was taken, with what was wrong with parts of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Spans that were not taken and must not be sent again.
    pub rejected_spans: u64,
    /// Why, for the sender's log; alone it is a warning. Empty where all is well.
    pub message: String,
}

/// What takes metrics; there are few of them, so they come decoded.
pub trait MetricsSink: Send + Sync + 'static {
    /// Takes one request with at least one `ResourceMetrics`. An `Ok` is the acknowledgement.
    ///
    /// # Errors
    /// A [`Refusal`], as for spans.
    fn export_metrics(
        &self,
        request: ExportMetricsServiceRequest,
        batch: BatchMeta,
    ) -> impl Future<Output = Result<AcceptedMetrics, Refusal>> + Send;
}

/// A metrics request that was taken, with what was wrong with parts of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AcceptedMetrics {
    /// Data points that were not taken and must not be sent again.
    pub rejected_data_points: u64,
    /// Why, for the sender's log; alone it is a warning. Empty where all is well.
    pub message: String,
}

/// What takes the requests of one signal as they are, to pass them on.
pub trait PassSink: Send + Sync + 'static {
    /// Takes `body`, a well-formed request of its signal with `items` data points or log records. An `Ok` is the
    /// acknowledgement.
    ///
    /// # Errors
    /// A [`Refusal`], as for spans.
    fn pass(
        &self,
        body: Bytes,
        items: u64,
        batch: BatchMeta,
    ) -> impl Future<Output = Result<Passed, Refusal>> + Send;
}

/// A request of a [`PassSink`] that was taken, with what was wrong with parts of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passed {
    /// Data points or log records that were not taken and must not be sent again.
    pub rejected: u64,
    /// Why, for the sender's log; alone it is a warning. Empty where all is well.
    pub message: String,
}

/// A request that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Not able to take it now: UNAVAILABLE with `RetryInfo`, or 503 with `Retry-After`.
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// A budget is used up for now: `RESOURCE_EXHAUSTED` with `RetryInfo`, or 429 with `Retry-After`.
    Exhausted {
        /// When to try again.
        retry_after: Duration,
    },
    /// Never acceptable, with the reason: `INVALID_ARGUMENT`, or 400. The sender drops it.
    Invalid(String),
    /// Not an `ExportTraceServiceRequest`: as [`Refusal::Invalid`], with a `BadRequest` that names the field.
    Malformed(Malformed),
}

/// Who takes what; a signal that nobody takes is answered as not served. A [`TraceSink`] alone is one.
pub struct Sinks<S> {
    pub(super) traces: S,
    pub(super) metrics: Option<MetricsTaker>,
    pub(super) logs: Option<Arc<dyn AnyPassSink>>,
}

/// Who takes metrics, and how.
#[derive(Clone)]
pub(super) enum MetricsTaker {
    Decoded(Arc<dyn AnyMetricsSink>),
    AsTheyAre(Arc<dyn AnyPassSink>),
}

impl<S: TraceSink> Sinks<S> {
    /// Spans to `traces`, and nothing else.
    pub fn new(traces: S) -> Self {
        Self {
            traces,
            metrics: None,
            logs: None,
        }
    }

    /// Metrics to `metrics`.
    #[must_use]
    pub fn with_metrics(self, metrics: impl MetricsSink) -> Self {
        Self {
            metrics: Some(MetricsTaker::Decoded(Arc::new(metrics))),
            ..self
        }
    }

    /// Metrics to `metrics`, as they are.
    #[must_use]
    pub fn with_passed_metrics(self, metrics: impl PassSink) -> Self {
        Self {
            metrics: Some(MetricsTaker::AsTheyAre(Arc::new(metrics))),
            ..self
        }
    }

    /// Logs to `logs`, as they are.
    #[must_use]
    pub fn with_logs(self, logs: impl PassSink) -> Self {
        Self {
            logs: Some(Arc::new(logs)),
            ..self
        }
    }
}

impl<S: TraceSink> From<S> for Sinks<S> {
    fn from(traces: S) -> Self {
        Self::new(traces)
    }
}

impl<S: Clone> Clone for Sinks<S> {
    fn clone(&self) -> Self {
        Self {
            traces: self.traces.clone(),
            metrics: self.metrics.clone(),
            logs: self.logs.clone(),
        }
    }
}

/// [`MetricsSink`] behind a pointer, so that not every type of the receivers has to name it.
pub(super) trait AnyMetricsSink: Send + Sync {
    fn take(&self, request: ExportMetricsServiceRequest, batch: BatchMeta) -> MetricsAnswer<'_>;
}

type MetricsAnswer<'a> = Pin<Box<dyn Future<Output = Result<AcceptedMetrics, Refusal>> + Send + 'a>>;

impl<M: MetricsSink> AnyMetricsSink for M {
    fn take(&self, request: ExportMetricsServiceRequest, batch: BatchMeta) -> MetricsAnswer<'_> {
        Box::pin(self.export_metrics(request, batch))
    }
}

/// [`PassSink`] likewise.
pub(super) trait AnyPassSink: Send + Sync {
    fn take(&self, body: Bytes, items: u64, batch: BatchMeta) -> PassAnswer<'_>;
}

type PassAnswer<'a> = Pin<Box<dyn Future<Output = Result<Passed, Refusal>> + Send + 'a>>;

impl<P: PassSink> AnyPassSink for P {
    fn take(&self, body: Bytes, items: u64, batch: BatchMeta) -> PassAnswer<'_> {
        Box::pin(self.pass(body, items, batch))
    }
}
