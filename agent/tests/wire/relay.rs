//! OTLP of SDKs through the agent, and the agent's own spans when the collector is away.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::HeaderMap;
use otlp::encode::{Attributes, SpanRecord, request};
use otlp::export::{Compression, ExportSettings, Exporter};
use otlp::{Kind, StatusCode};

use crate::support::*;

pub(crate) fn sdk_request(name: &str) -> Bytes {
    sdk_request_on(name, None)
}

/// From a process that says which host it is on, or does not.
fn sdk_request_on(name: &str, host: Option<&str>) -> Bytes {
    let span = SpanRecord {
        trace_id: [1; 16],
        span_id: [2; 8],
        parent_span_id: None,
        trace_state: String::new(),
        name: name.to_owned(),
        kind: Kind::Internal,
        start_unix_nano: 1,
        end_unix_nano: 2,
        flags: 1,
        status: StatusCode::Unset,
        status_message: String::new(),
        attributes: Attributes::default(),
        links: Vec::new(),
    };
    let host = host.map(|host| ("host.name".to_owned(), host.to_owned().into()));
    let resource: Vec<_> = [("service.name".to_owned(), "sdk".into())]
        .into_iter()
        .chain(host)
        .collect();
    request(&resource, ("sdk", "1"), &[span])
}

pub(crate) async fn post(address: std::net::SocketAddr, body: &[u8]) -> String {
    post_to(address, "/v1/traces", body).await
}

pub(crate) async fn post_to(address: std::net::SocketAddr, path: &str, body: &[u8]) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\
         content-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = open(address, &head).await;
    stream.write_all(body).await.expect("written");
    let mut answer = Vec::new();
    soon("the answer", stream.read_to_end(&mut answer))
        .await
        .expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn spans_taken_while_the_collector_is_away_arrive_when_it_is_back() {
    let later = nobody().await;
    let agent = start(&format!(
        "{{ service: cart, admin: {{ listen: '127.0.0.1:0' }}, export: {{ endpoint: 'http://{later}', delay: 0s }},
           otlp: {{ grpc: '127.0.0.1:0', http: '127.0.0.1:0' }},
           inbound: [{{ listen: '127.0.0.1:0', upstream: 'http://{}' }}] }}",
        mirror().await
    ))
    .await;
    let settings = ExportSettings {
        endpoint: format!("http://{}", agent.otlp_grpc_addr.expect("gRPC is on")),
        instance: "sdk".to_owned(),
        compression: Compression::Gzip,
        ..ExportSettings::default()
    };
    let (sdk, _task) = Exporter::spawn(settings).expect("an exporter");
    sdk.try_send(sdk_request("over grpc"), 1).expect("room");
    soon("the relay's answer", sdk.flush(PATIENCE))
        .await
        .expect("taken");
    let answer = post(
        agent.otlp_http_addr.expect("HTTP is on"),
        &sdk_request("over http"),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let answer = ask(agent.inbound_addrs[0], "GET / HTTP/1.1\nhost: cart").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 "),
        "the application does not wait: {answer}"
    );

    let collector = Collector::start_at(later).await;
    for name in ["over grpc", "over http"] {
        let seen = collector.span(|seen| seen.span.name == name).await;
        assert_eq!(
            (seen.resource["service.name"].as_str(), seen.scope.as_str()),
            ("sdk", "sdk")
        );
    }
    collector.server_span().await;
    until_metric(&agent, "tracemap_agent_spans_total{outcome=\"sent\"}", 3.0).await;
    until_metric(&agent, "tracemap_agent_buffered_bytes", 0.0).await;
    until_metric(
        &agent,
        "tracemap_agent_relay_requests_total{outcome=\"accepted\",signal=\"traces\",transport=\"grpc\"}",
        1.0,
    )
    .await;
}

#[tokio::test]
async fn a_full_buffer_makes_sdks_wait_and_drops_nothing_of_theirs() {
    let agent = start(&format!(
        "{{ admin: {{ listen: '127.0.0.1:0' }}, otlp: {{ http: '127.0.0.1:0' }},
           export: {{ endpoint: 'http://{}', buffer: {{ max_size: 128 }}, drain: 0s }} }}",
        nobody().await
    ))
    .await;
    let relay = agent.otlp_http_addr.expect("HTTP is on");
    let body = sdk_request("x");
    assert!(
        body.len() > 64 && body.len() < 128,
        "one fits and two do not: {}",
        body.len()
    );
    assert!(post(relay, &body).await.starts_with("HTTP/1.1 200 "));
    let answer = post(relay, &body).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(header(&answer, "retry-after"), Some("1"));
    assert!(metric(&agent, "tracemap_agent_buffered_bytes").await > 0.0);
    assert!(metric(&agent, "tracemap_agent_spans_total{outcome=\"dropped\"}").await < f64::EPSILON);
}

#[tokio::test]
async fn without_an_endpoint_spans_are_taken_dropped_and_counted() {
    let agent = start("{ admin: { listen: '127.0.0.1:0' }, otlp: { http: '127.0.0.1:0' } }").await;
    let answer = post(agent.otlp_http_addr.expect("HTTP is on"), &sdk_request("x")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    until_metric(
        &agent,
        "tracemap_agent_spans_dropped_total{reason=\"no_endpoint\"}",
        1.0,
    )
    .await;
    until_metric(&agent, "tracemap_agent_spans_total{outcome=\"dropped\"}", 1.0).await;
}

#[tokio::test]
async fn spans_still_waiting_for_their_batch_are_sent_when_the_agent_stops() {
    let collector = Collector::start().await;
    let agent = start(&format!(
        "{{ service: cart, admin: {{ listen: '127.0.0.1:0' }}, export: {{ endpoint: '{}', delay: 1h }},
           inbound: [{{ listen: '127.0.0.1:0', upstream: 'http://{}' }}] }}",
        collector.endpoint(),
        mirror().await
    ))
    .await;
    ask(agent.inbound_addrs[0], "GET / HTTP/1.1\nhost: cart").await;
    agent.stop().await;
    assert_eq!(collector.all().len(), 1);
}

#[tokio::test]
async fn the_agent_says_of_itself_that_it_lives_and_what_it_uses() {
    let agent = start("{ admin: { listen: '127.0.0.1:0' } }").await;
    for (path, status) in [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/metrics", 200),
        ("/other", 404),
    ] {
        let answer = ask(agent.admin_addr, &format!("GET {path} HTTP/1.1\nhost: localhost")).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path}: {answer}"
        );
    }
    let answer = ask(agent.admin_addr, "POST /metrics HTTP/1.1\nhost: localhost").await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    if cfg!(target_os = "linux") {
        assert!(metric(&agent, "process_resident_memory_bytes").await > 0.0);
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_with_its_key() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a listener");
    let address = taken.local_addr().expect("its address");
    let config = config(&format!("{{ admin: {{ listen: '{address}' }} }}"));
    let error = agent::Agent::start(config).await.expect_err("no agent");
    assert_eq!(
        error.to_string(),
        format!("cannot listen at `{address}`, the address of `agent.admin`")
    );
}

/// Something that takes whatever is posted to it: path, headers and body.
#[derive(Clone, Default)]
struct Posted(Arc<Mutex<Vec<(String, HeaderMap, Bytes)>>>);

impl Posted {
    async fn start(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a listener");
        let address = listener.local_addr().expect("its address");
        let posted = self.clone();
        let take = |request: axum::extract::Request| async move {
            let (head, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
            let path = head.uri.path().to_owned();
            posted.lock().push((path, head.headers, body));
        };
        let router = axum::Router::new().fallback(take);
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(String, HeaderMap, Bytes)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Vec<(String, HeaderMap, Bytes)> {
        self.lock().clone()
    }
}

/// A log record with the text `late`, and a data point.
const LOGS: &[u8] = b"\x0a\x0c\x12\x0a\x12\x08\x2a\x06\x0a\x04late";
const METRICS: &[u8] = b"\x0a\x0d\x12\x0b\x12\x09\x0a\x01n\x2a\x04\x0a\x02\x40\x01";

#[tokio::test]
async fn logs_and_metrics_that_still_wait_are_handed_over_byte_by_byte_when_the_agent_stops() {
    let posted = Posted::default();
    let address = posted.start().await;
    let agent = start(&format!(
        "{{ admin: {{ listen: '127.0.0.1:0' }}, otlp: {{ http: '127.0.0.1:0' }},
           export: {{ protocol: http/protobuf, logs_endpoint: 'http://{address}/otlp', delay: 1h,
                     metrics_endpoint: 'http://{address}/v1/metrics' }} }}"
    ))
    .await;
    let relay = agent.otlp_http_addr.expect("HTTP is on");
    for (path, body) in [("/v1/logs", LOGS), ("/v1/metrics", METRICS)] {
        let answer = post_to(relay, path, body).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert!(posted.all().is_empty());
    agent.stop().await;
    let mut came: Vec<_> = posted
        .all()
        .into_iter()
        .map(|(path, _, body)| (path, body))
        .collect();
    came.sort();
    let expected = [("/otlp/v1/logs", LOGS), ("/v1/metrics", METRICS)];
    assert_eq!(
        came,
        expected.map(|(path, body)| (path.to_owned(), Bytes::from_static(body)))
    );
}

#[tokio::test]
async fn what_becomes_of_logs_is_counted_and_without_an_endpoint_they_are_not_taken() {
    let posted = Posted::default();
    let address = posted.start().await;
    let agent = start(&format!(
        "{{ admin: {{ listen: '127.0.0.1:0' }}, otlp: {{ http: '127.0.0.1:0' }},
           export: {{ protocol: http, logs_endpoint: 'http://{address}', delay: 0s }} }}"
    ))
    .await;
    let relay = agent.otlp_http_addr.expect("HTTP is on");
    let answer = post_to(relay, "/v1/logs", LOGS).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let sent = "tracemap_agent_passed_items_total{outcome=\"sent\",signal=\"logs\"}";
    until_metric(&agent, sent, 1.0).await;
    let answer = post_to(relay, "/v1/logs", b"\x0a\x05x").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let answer = post_to(relay, "/v1/metrics", METRICS).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");

    // A collector that knows no logs.
    let collector = Collector::start().await;
    let agent = start(&format!(
        "{{ admin: {{ listen: '127.0.0.1:0' }}, otlp: {{ http: '127.0.0.1:0' }},
           export: {{ logs_endpoint: '{}', delay: 0s }} }}",
        collector.endpoint()
    ))
    .await;
    let answer = post_to(agent.otlp_http_addr.expect("HTTP is on"), "/v1/logs", LOGS).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let dropped = "tracemap_agent_passed_items_dropped_total{reason=\"unimplemented\",signal=\"logs\"}";
    until_metric(&agent, dropped, 1.0).await;
}

#[tokio::test]
async fn spans_travel_by_http_with_the_headers_of_the_configuration() {
    let posted = Posted::default();
    let address = posted.start().await;
    let token = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(token.path(), "Bearer abc\n").expect("written");
    let agent = start(&format!(
        "{{ service: cart, admin: {{ listen: '127.0.0.1:0' }}, edges: {{ counts: false }},
           inbound: [{{ listen: '127.0.0.1:0', upstream: 'http://{}' }}],
           export: {{ protocol: http, endpoint: 'http://{address}', delay: 0s, compression: gzip,
                     headers: {{ X-Scope-OrgID: shop }}, headers_from: {{ authorization: '{}' }} }} }}",
        mirror().await,
        token.path().display()
    ))
    .await;
    ask(agent.inbound_addrs[0], "GET / HTTP/1.1\nhost: cart").await;
    until_metric(&agent, "tracemap_agent_spans_total{outcome=\"sent\"}", 1.0).await;
    let (path, headers, _) = posted.all().remove(0);
    let said = ["x-scope-orgid", "authorization", "content-encoding"].map(|name| headers[name].clone());
    assert_eq!(
        (path.as_str(), said),
        (
            "/v1/traces",
            ["shop", "Bearer abc", "gzip"].map(|value| value.parse().expect("a value"))
        )
    );
    assert!(headers.contains_key("tracemap-batch-id"));
}

#[tokio::test]
async fn the_host_is_named_where_it_was_asked_for_and_never_over_what_an_sdk_said() {
    let collector = Collector::start().await;
    let agent = start(&format!(
        "{{ service: cart, resource: {{ os.type: stated }}, admin: {{ listen: '127.0.0.1:0' }},
           otlp: {{ http: '127.0.0.1:0', detect: [host, os] }}, export: {{ endpoint: '{}', delay: 0s }},
           inbound: [{{ listen: '127.0.0.1:0', upstream: 'http://{}' }}] }}",
        collector.endpoint(),
        mirror().await
    ))
    .await;
    let relay = agent.otlp_http_addr.expect("HTTP is on");
    for (name, host) in [("without", None), ("with", Some("its own"))] {
        let answer = post(relay, &sdk_request_on(name, host)).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let with = collector.span(|seen| seen.span.name == "with").await;
    assert_eq!(with.resource["host.name"], "its own");
    let seen = collector.span(|seen| seen.span.name == "without").await;
    assert_eq!(seen.resource["os.type"], std::env::consts::OS);
    assert!(!seen.resource["host.name"].is_empty());

    ask(agent.inbound_addrs[0], "GET / HTTP/1.1\nhost: cart").await;
    let own = collector.server_span().await;
    assert_eq!(own.resource["os.type"], "stated");
    assert_eq!(own.resource["host.name"], seen.resource["host.name"]);
}
