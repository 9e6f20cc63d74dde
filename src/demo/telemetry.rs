//! The OpenTelemetry SDKs inside the shop's services: spans for what an HTTP proxy cannot see.
//!
//! In: the context that came with a request or a message, and what is done under it. Out: database CLIENT spans,
//! queue PRODUCER and CONSUMER spans, by OTLP/gRPC to the node-local endpoint, one SDK per service.
//! Left out on purpose: SERVER and CLIENT spans of HTTP, which are the agent's, and the global tracer provider, which
//! belongs to the process around the shop. Only this module names OpenTelemetry's types.
//!
//! Names follow OpenTelemetry's semantic conventions for database and messaging spans. `in_process` is no system that
//! they list: messages never leave this process.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{SpanBuilder, SpanKind, Status, TraceContextExt as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanData, SpanExporter,
};
use tokio::task::JoinSet;
use tracing::warn;

use super::services::{Query, SDK_SERVICES};

/// Queue metadata: the headers that a message carries beside its content.
pub(super) type Metadata = HashMap<String, String>;

/// Request header, metadata key and span attribute of the correlation id.
const CORRELATION_HEADER: &str = "x-correlation-id";
const CORRELATION_ATTRIBUTE: &str = "correlation.id";
/// The name of our instrumentation scope.
const SCOPE: &str = "tracemap-demo";
/// How long a span waits for company before it is sent.
const EXPORT_DELAY: Duration = Duration::from_secs(1);
/// How long one export may take, and a last one at the end.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// One SDK per service of [`SDK_SERVICES`].
pub(super) struct Telemetry {
    providers: HashMap<&'static str, SdkTracerProvider>,
}

impl Telemetry {
    /// Prepares to send to `endpoint`, such as `http://127.0.0.1:4317`; connects when the first spans go out.
    ///
    /// An endpoint that is no URL is logged once, and the shop runs without these spans: it is the shop's callers who
    /// must not suffer from its telemetry. Must be called on a tokio runtime.
    pub(super) fn new(endpoint: &str) -> Self {
        let provider = |name: &'static str| match provider(name, endpoint) {
            Ok(provider) => Some((name, provider)),
            Err(error) => {
                warn!(service = name, endpoint, %error, "demo service sends no spans");
                None
            }
        };
        Self {
            providers: SDK_SERVICES.into_iter().filter_map(provider).collect(),
        }
    }

    /// The tracer of one service; it records nothing where the service has no SDK.
    pub(super) fn tracer(&self, service: &str) -> Tracer {
        Tracer(self.providers.get(service).map(|provider| provider.tracer(SCOPE)))
    }

    /// Sends what is left and stops. Takes up to 2 s where the endpoint does not answer.
    pub(super) async fn shutdown(self) {
        let mut stopping = JoinSet::new();
        for (service, provider) in self.providers {
            // Blocks its thread while the last spans go out.
            stopping.spawn_blocking(move || {
                if let Err(error) = provider.shutdown_with_timeout(EXPORT_TIMEOUT) {
                    warn!(service, %error, "last spans of a demo service were not sent");
                }
            });
        }
        stopping.join_all().await;
    }
}

fn provider(
    service: &'static str,
    endpoint: &str,
) -> Result<SdkTracerProvider, opentelemetry_otlp::ExporterBuildError> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()?;
    let batches = BatchConfigBuilder::default()
        .with_scheduled_delay(EXPORT_DELAY)
        .build();
    let exporter = Reported {
        exporter,
        service,
        lost: AtomicUsize::new(0),
    };
    let processor = BatchSpanProcessor::builder(exporter)
        .with_batch_config(batches)
        .build();
    // Not `Resource::builder()`: OTEL_RESOURCE_ATTRIBUTES describes this process, not the services that it plays.
    let resource = Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_service_name(service)
        .build();
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
        .with_span_processor(processor)
        .build())
}

/// An exporter that says when it begins to lose spans, and how many it lost when it stops to.
#[derive(Debug)]
struct Reported {
    exporter: opentelemetry_otlp::SpanExporter,
    service: &'static str,
    /// Spans lost since an export last went well.
    lost: AtomicUsize,
}

impl SpanExporter for Reported {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let sent = self.exporter.export(batch).await;
        let service = self.service;
        if let Err(error) = &sent {
            if self.lost.fetch_add(spans, Ordering::Relaxed) == 0 {
                warn!(service, spans, %error, "demo service begins to lose spans");
            }
        } else {
            let lost = self.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                warn!(service, lost, "demo service lost spans, and sends new ones again");
            }
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// What a span is made under: the trace context and correlation id that came with a request or a message.
#[derive(Debug, Clone)]
pub(super) struct Parent {
    context: Context,
    correlation_id: Option<Arc<str>>,
}

impl Parent {
    /// The context of an HTTP request; without a valid `traceparent` spans under it begin traces of their own.
    pub(super) fn of_request(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        Self::new(&Headers(headers), text(CORRELATION_HEADER))
    }

    /// The context of a message, likewise.
    pub(super) fn of_message(metadata: &Metadata) -> Self {
        Self::new(metadata, metadata.get(CORRELATION_HEADER).map(String::as_str))
    }

    fn new(carrier: &dyn Extractor, correlation_id: Option<&str>) -> Self {
        // From an empty context: whatever span is active in this process is not the shop's.
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), carrier);
        Self {
            context,
            correlation_id: correlation_id.map(Arc::from),
        }
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

/// Starts the spans of one service.
#[derive(Debug, Clone)]
pub(super) struct Tracer(Option<SdkTracer>);

impl Tracer {
    /// A CLIENT span for one statement to the database at `server`.
    pub(super) fn database_call(&self, parent: &Parent, query: Query, server: SocketAddr) -> OpenSpan {
        let summary = format!("{} {}", query.operation, query.table);
        let attributes = vec![
            KeyValue::new("db.system.name", "other_sql"),
            KeyValue::new("db.namespace", "shop"),
            KeyValue::new("db.operation.name", query.operation),
            KeyValue::new("db.collection.name", query.table),
            KeyValue::new("db.query.summary", summary.clone()),
            KeyValue::new("server.address", server.ip().to_string()),
            KeyValue::new("server.port", i64::from(server.port())),
        ];
        self.start(parent, summary, SpanKind::Client, attributes)
    }

    /// A PRODUCER span for one message to `destination`.
    pub(super) fn queue_send(&self, parent: &Parent, destination: &'static str, message_id: u64) -> OpenSpan {
        let attributes = messaging("send", destination, message_id);
        self.start(
            parent,
            format!("send {destination}"),
            SpanKind::Producer,
            attributes,
        )
    }

    /// A CONSUMER span for the work on one message from `destination`.
    pub(super) fn queue_process(
        &self,
        parent: &Parent,
        destination: &'static str,
        message_id: u64,
    ) -> OpenSpan {
        let attributes = messaging("process", destination, message_id);
        self.start(
            parent,
            format!("process {destination}"),
            SpanKind::Consumer,
            attributes,
        )
    }

    fn start(
        &self,
        parent: &Parent,
        name: String,
        kind: SpanKind,
        mut attributes: Vec<KeyValue>,
    ) -> OpenSpan {
        let Some(tracer) = &self.0 else {
            return OpenSpan {
                parent: parent.clone(),
                recorded: false,
            };
        };
        if let Some(id) = &parent.correlation_id {
            attributes.push(KeyValue::new(CORRELATION_ATTRIBUTE, id.to_string()));
        }
        let span = SpanBuilder::from_name(name)
            .with_kind(kind)
            .with_attributes(attributes)
            .start_with_context(tracer, &parent.context);
        let context = parent.context.with_span(span);
        OpenSpan {
            parent: Parent {
                context,
                correlation_id: parent.correlation_id.clone(),
            },
            recorded: true,
        }
    }
}

fn messaging(operation: &'static str, destination: &'static str, message_id: u64) -> Vec<KeyValue> {
    vec![
        KeyValue::new("messaging.system", "in_process"),
        KeyValue::new("messaging.destination.name", destination),
        KeyValue::new("messaging.operation.name", operation),
        KeyValue::new("messaging.operation.type", operation),
        KeyValue::new("messaging.message.id", message_id.to_string()),
    ]
}

/// A span that runs until [`OpenSpan::end`] or [`OpenSpan::fail`], or until nobody holds it any more.
#[derive(Debug)]
pub(super) struct OpenSpan {
    parent: Parent,
    recorded: bool,
}

impl OpenSpan {
    /// This span as the parent of others.
    pub(super) fn as_parent(&self) -> &Parent {
        &self.parent
    }

    /// Writes this span's context into a message's metadata, over what stands there.
    pub(super) fn inject(&self, metadata: &mut Metadata) {
        TraceContextPropagator::new().inject_context(&self.parent.context, metadata);
    }

    /// It went well.
    pub(super) fn end(self) {
        if self.recorded {
            self.parent.context.span().end();
        }
    }

    /// It did not: `error_type` is one of a short list (`error.type`), `reason` is for people.
    pub(super) fn fail(self, error_type: &'static str, reason: &dyn fmt::Display) {
        if self.recorded {
            let span = self.parent.context.span();
            span.set_attribute(KeyValue::new("error.type", error_type));
            span.set_status(Status::error(reason.to_string()));
            span.end();
        }
    }
}
