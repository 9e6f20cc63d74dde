//! A real OTLP/gRPC server that keeps what arrives.
//!
//! In: exports of the shop's SDKs. Out: the spans, as text a test can compare.
//! Left out on purpose: refusals; how SDKs retry is theirs to test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use otlp::intake::{Accepted, BatchMeta, Limits, Refusal, TraceSink, serve_grpc};
use otlp::view::Value;
use otlp::{Kind, StatusCode, for_each_span};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// A span as it arrived.
#[derive(Debug, Clone)]
pub(in crate::demo) struct Received {
    pub(in crate::demo) service: String,
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) status: StatusCode,
    /// Hexadecimal.
    pub(super) trace: String,
    pub(super) span: String,
    pub(super) parent: String,
    /// Text as it is; numbers in decimal.
    pub(super) attributes: BTreeMap<String, String>,
}

/// The server's memory.
#[derive(Clone)]
pub(in crate::demo) struct Receiver {
    spans: Arc<watch::Sender<Vec<Received>>>,
}

impl TraceSink for Receiver {
    async fn export(&self, body: Bytes, _: BatchMeta) -> Result<Accepted, Refusal> {
        let mut arrived = Vec::new();
        let read = for_each_span(&body, |resource, _, span| {
            let service = resource.attributes().get("service.name").and_then(Value::as_str);
            arrived.push(Received {
                service: service.unwrap_or_default().to_owned(),
                name: span.name.to_owned(),
                kind: span.kind,
                status: span.status,
                trace: hex(span.trace_id),
                span: hex(span.span_id),
                parent: hex(span.parent_span_id),
                attributes: span
                    .attributes()
                    .map(|(key, value)| (key.to_owned(), text(value)))
                    .collect(),
            });
        });
        read.map_err(|malformed| Refusal::Invalid(malformed.to_string()))?;
        self.spans.send_modify(|spans| spans.append(&mut arrived));
        Ok(Accepted::default())
    }
}

impl Receiver {
    /// Starts the server; returns its memory and its endpoint.
    pub(in crate::demo) async fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let receiver = Self {
            spans: Arc::new(watch::Sender::new(Vec::new())),
        };
        let sink = receiver.clone();
        tokio::spawn(async move {
            serve_grpc(
                listener,
                sink,
                Limits::default(),
                Arc::new(()),
                std::future::pending::<()>(),
            )
            .await;
        });
        (receiver, endpoint)
    }

    /// What has arrived, as soon as that is `count` spans.
    pub(in crate::demo) async fn spans(&self, count: usize) -> Vec<Received> {
        let mut arrivals = self.spans.subscribe();
        let enough = arrivals.wait_for(|spans| spans.len() >= count);
        let spans = tokio::time::timeout(Duration::from_secs(30), enough).await;
        spans.expect("spans must arrive within 30 s").unwrap().clone()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

fn text(value: Value<'_>) -> String {
    match value {
        Value::Str(text) => text.to_owned(),
        Value::Int(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}
