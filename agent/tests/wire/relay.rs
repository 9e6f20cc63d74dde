//! OTLP of SDKs through the agent, and the agent's own spans when the collector is away.

use otlp::encode::{SpanRecord, request};
use otlp::export::{Compression, ExportSettings, Exporter};
use otlp::{Kind, StatusCode};

use crate::support::*;

pub(crate) fn sdk_request(name: &str) -> bytes::Bytes {
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
        attributes: Vec::new(),
        links: Vec::new(),
    };
    request(
        &[("service.name".to_owned(), "sdk".into())],
        ("sdk", "1"),
        vec![span],
    )
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
        "tracemap_agent_relay_requests_total{outcome=\"accepted\",transport=\"grpc\"}",
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
        let answer = ask(agent.admin_addr, &format!("GET {path} HTTP/1.1\nhost: a")).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path}: {answer}"
        );
    }
    let answer = ask(agent.admin_addr, "POST /metrics HTTP/1.1\nhost: a").await;
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
