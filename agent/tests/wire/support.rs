//! Real peers for the agent: a collector that remembers spans, services, and clients that speak HTTP byte by byte.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use agent::{Agent, AgentConfig, Detected, Running};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use otlp::intake::{Accepted, BatchMeta, Limits, Refusal, TraceSink};
use otlp::tls::Listening;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Longer than anything here takes, also where somebody waits for half a minute before trying again; reached only where something is
/// wrong.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Waits for `future`, or fails the test saying what never came.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what} never came"))
}

/// A span as the collector got it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) resource: BTreeMap<String, String>,
    pub(crate) scope: String,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) span: Span,
}

impl Seen {
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.attributes.get(key).map(String::as_str)
    }

    pub(crate) fn trace_id(&self) -> String {
        hex(&self.span.trace_id)
    }

    pub(crate) fn span_id(&self) -> String {
        hex(&self.span.span_id)
    }

    pub(crate) fn parent(&self) -> String {
        hex(&self.span.parent_span_id)
    }

    /// 0 unset, 1 ok, 2 error.
    pub(crate) fn status(&self) -> i32 {
        self.span.status.as_ref().map_or(0, |status| status.code)
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

pub(crate) fn attributes(list: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &Option<AnyValue>| match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(int)) => int.to_string(),
        Some(Value::BoolValue(bool)) => bool.to_string(),
        Some(Value::DoubleValue(double)) => double.to_string(),
        other => format!("{other:?}"),
    };
    list.iter()
        .map(|pair| (pair.key.clone(), text(&pair.value)))
        .collect()
}

/// A collector behind the real intake.
#[derive(Clone)]
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    seen: Arc<watch::Sender<Vec<Seen>>>,
}

impl TraceSink for Collector {
    async fn export(&self, body: Bytes, _: BatchMeta) -> Result<Accepted, Refusal> {
        let request = ExportTraceServiceRequest::decode(body).expect("the intake checked it");
        self.seen.send_modify(|seen| seen.extend(spans_of(request)));
        Ok(Accepted::default())
    }
}

fn spans_of(request: ExportTraceServiceRequest) -> Vec<Seen> {
    let mut out = Vec::new();
    for resource_spans in request.resource_spans {
        let resource = attributes(&resource_spans.resource.unwrap_or_default().attributes);
        for scope_spans in resource_spans.scope_spans {
            let scope = scope_spans.scope.unwrap_or_default().name;
            out.extend(scope_spans.spans.into_iter().map(|span| Seen {
                resource: resource.clone(),
                scope: scope.clone(),
                attributes: attributes(&span.attributes),
                span,
            }));
        }
    }
    out
}

impl Collector {
    pub(crate) async fn start() -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into()).await
    }

    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        Self::start_on(TcpListener::bind(address).await.expect("a listener").into())
    }

    pub(crate) fn start_on(listener: Listening) -> Self {
        let address = listener.tcp.local_addr().expect("its address");
        let collector = Self {
            address,
            seen: Arc::new(watch::channel(Vec::new()).0),
        };
        let never = std::future::pending();
        let sink = collector.clone();
        tokio::spawn(async move {
            otlp::intake::serve_grpc(listener, sink, Limits::default(), Arc::new(()), never).await;
        });
        collector
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The first span that is so.
    pub(crate) async fn span(&self, is_it: impl Fn(&Seen) -> bool) -> Seen {
        let mut watched = self.seen.subscribe();
        let found = soon("the span", watched.wait_for(|seen| seen.iter().any(&is_it))).await;
        found
            .expect("the collector")
            .iter()
            .find(|seen| is_it(seen))
            .cloned()
            .expect("just seen")
    }

    pub(crate) async fn server_span(&self) -> Seen {
        self.span(|seen| seen.span.kind == 2).await
    }

    pub(crate) async fn client_span(&self) -> Seen {
        self.span(|seen| seen.span.kind == 3).await
    }

    pub(crate) fn all(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }
}

/// An agent's configuration, read as from a file; `{…}` of it are ports chosen by the system.
pub(crate) fn config(yaml: &str) -> AgentConfig {
    ::config::load("test.yaml", yaml, []).expect("a configuration")
}

pub(crate) async fn start(yaml: &str) -> Running {
    Agent::start_in(config(yaml), Detected::default())
        .await
        .expect("an agent")
}

/// An agent for the service `cart` at `upstream`, with an inbound and an outbound listener.
pub(crate) async fn sidecar(upstream: SocketAddr, endpoint: Option<String>) -> Running {
    let export = endpoint.map_or(String::new(), |endpoint| {
        format!("export: {{ endpoint: '{endpoint}', delay: 0s }},")
    });
    start(&format!(
        "{{ service: cart, namespace: shop, environment: test, resource: {{ service.version: '7' }},
           routes: ['/orders/{{id}}'], admin: {{ listen: '127.0.0.1:0' }}, {export}
           inbound: [{{ listen: '127.0.0.1:0', upstream: 'http://{upstream}' }}],
           outbound: {{ listen: '127.0.0.1:0' }} }}"
    ))
    .await
}

/// A service made with axum, HTTP/1.1 and HTTP/2 without TLS.
pub(crate) async fn service(router: axum::Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("its address");
    let router = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A service that answers with its request: the head's lines, without the body.
pub(crate) async fn mirror() -> SocketAddr {
    let answer = |request: axum::extract::Request| async move {
        let mut text = format!("{} {}\n", request.method(), request.uri());
        for (name, value) in request.headers() {
            let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
        }
        text
    };
    service(axum::Router::new().fallback(answer)).await
}

/// A service of which each connection is `each`'s to speak on.
pub(crate) async fn raw_service<F: Future<Output = ()> + Send + 'static>(
    each: impl Fn(TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(each(stream));
        }
    });
    address
}

/// An address at which nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a listener")
        .local_addr()
        .expect("its address")
}

/// Reads until `end` has come; what was read.
pub(crate) async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    let read = async {
        while !text
            .windows(end.len().max(1))
            .any(|window| window == end.as_bytes())
        {
            let mut buffer = [0; 4096];
            let n = stream.read(&mut buffer).await.expect("a readable stream");
            assert!(
                n > 0,
                "ended before {end:?}: {:?}",
                String::from_utf8_lossy(&text)
            );
            text.extend_from_slice(&buffer[..n]);
        }
    };
    soon(end, read).await;
    String::from_utf8(text).expect("text")
}

/// A connection on which `bytes` were sent.
pub(crate) async fn open(address: SocketAddr, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream
        .write_all(bytes.as_bytes())
        .await
        .expect("a writable stream");
    stream
}

/// Sends one request that says `Connection: close`; the whole response.
pub(crate) async fn ask(address: SocketAddr, head: &str) -> String {
    let mut stream = open(address, &format!("{}connection: close\r\n\r\n", lines(head))).await;
    let mut answer = String::new();
    soon("the end of the answer", stream.read_to_string(&mut answer))
        .await
        .expect("a text");
    answer
}

/// Lines as HTTP ends them.
pub(crate) fn lines(text: &str) -> String {
    text.lines()
        .fold(String::new(), |out, line| out + line.trim_start() + "\r\n")
}

/// The value of a header in a mirrored or raw message.
pub(crate) fn header<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value.trim_end())
    })
}

/// The value of a series on `/metrics`; 0 where it is not there.
pub(crate) async fn metric(agent: &Running, series: &str) -> f64 {
    let text = ask(agent.admin_addr, "GET /metrics HTTP/1.1\nhost: localhost").await;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.trim().parse().expect("a number"))
}

/// Waits until a series has a value.
pub(crate) async fn until_metric(agent: &Running, series: &str, value: f64) {
    let reached = async {
        while (metric(agent, series).await - value).abs() > f64::EPSILON {
            tokio::task::yield_now().await;
        }
    };
    soon(series, reached).await;
}

/// An address that is known only once the agent runs, for services that were started before it.
pub(crate) async fn once_told(address: &mut watch::Receiver<Option<SocketAddr>>) -> SocketAddr {
    address
        .wait_for(Option::is_some)
        .await
        .expect("told")
        .expect("an address")
}
