//! Who may come in, and how long a caller may be slow: what the receivers answer to whom they do not serve.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use config::ByteSize;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use otlp::access::{Access, AccessSettings, HostNames, PerClientSettings, TokenMay, TokenSettings};
use otlp::intake::{Limits, Outcome, serve_grpc, serve_http};
use otlp::serve::{Bounds, serve};
use otlp::tls::Listening;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::{Code, Request};

use super::support::{Recorder, listen};

const TOKEN: &str = "a-token-of-some-length";
const PATIENCE: Duration = Duration::from_secs(20);

/// A listener before which `per_client` and, where there is a directory, a token stand.
async fn guarded(
    dir: &tempfile::TempDir,
    per_client: PerClientSettings,
) -> (Listening, std::net::SocketAddr) {
    let file = dir.path().join("token");
    std::fs::write(&file, TOKEN).expect("a file");
    let settings = AccessSettings {
        tokens: vec![TokenSettings {
            name: "sdk".to_owned(),
            file,
            may: TokenMay::Read,
        }],
        per_client,
    };
    let tcp = listen("127.0.0.1:0").await;
    let address = tcp.local_addr().expect("its address");
    let access = Access::new(&settings, HostNames::Any, Arc::new(())).expect("a token");
    let listening = Listening { access, ..tcp.into() };
    (listening, address)
}

/// What is answered to a request of these headers without a span.
async fn posted(address: std::net::SocketAddr, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let request = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: c\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: 2\r\n{headers}\r\n{{}}"
    );
    stream
        .write_all(request.as_bytes())
        .await
        .expect("a writable stream");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test]
async fn over_http_only_the_bearer_of_a_token_is_served_and_the_others_are_told_how_and_counted() {
    let (dir, sink) = (tempfile::tempdir().expect("a directory"), Recorder::default());
    let (listening, address) = guarded(&dir, PerClientSettings::default()).await;
    let (observer, never) = (Arc::new(sink.clone()), std::future::pending::<()>());
    tokio::spawn(serve_http(
        listening,
        sink.clone(),
        Limits::default(),
        observer,
        never,
    ));
    for headers in ["", "authorization: Bearer another-token-of-some-length\r\n"] {
        let answer = posted(address, headers).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(answer.contains("www-authenticate: Bearer\r\n"), "{answer}");
        assert!(
            answer.contains(r#""code":16"#) && answer.contains("token"),
            "{answer}"
        );
    }
    let answer = posted(address, &format!("authorization: Bearer {TOKEN}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let outcomes: Vec<_> = sink.observed().iter().map(|observed| observed.outcome).collect();
    assert_eq!(outcomes, [Outcome::Denied, Outcome::Denied, Outcome::Accepted]);
}

#[tokio::test]
async fn over_grpc_only_the_bearer_of_a_token_is_served() {
    let (dir, sink) = (tempfile::tempdir().expect("a directory"), Recorder::default());
    let (listening, address) = guarded(&dir, PerClientSettings::default()).await;
    let (observer, never) = (Arc::new(()), std::future::pending::<()>());
    tokio::spawn(serve_grpc(listening, sink, Limits::default(), observer, never));
    let mut client = TraceServiceClient::connect(format!("http://{address}"))
        .await
        .expect("a connection");
    let mut export = async |token: Option<&str>| {
        let mut request = Request::new(ExportTraceServiceRequest::default());
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().expect("a value");
            request.metadata_mut().insert("authorization", value);
        }
        client.export(request).await.map_err(|status| status.code())
    };
    assert_eq!(export(None).await.err(), Some(Code::Unauthenticated));
    assert_eq!(
        export(Some("another-token")).await.err(),
        Some(Code::Unauthenticated)
    );
    assert!(export(Some(TOKEN)).await.is_ok());
}

#[tokio::test]
async fn a_client_that_used_up_its_share_is_told_when_to_come_back() {
    let (dir, sink) = (tempfile::tempdir().expect("a directory"), Recorder::default());
    let per_client = PerClientSettings {
        requests: NonZeroU32::new(2),
        bytes: Some(ByteSize::mib(1)),
    };
    let (listening, address) = guarded(&dir, per_client).await;
    let (observer, never) = (Arc::new(()), std::future::pending::<()>());
    tokio::spawn(serve_http(listening, sink, Limits::default(), observer, never));
    let mut refused = None;
    for _ in 0..8 {
        let answer = posted(address, &format!("authorization: Bearer {TOKEN}\r\n")).await;
        if !answer.starts_with("HTTP/1.1 200 ") {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("eight requests within a second or two");
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
}

/// Until the other side ends the connection; what it said before.
async fn ended(mut stream: TcpStream) -> (Vec<u8>, Duration) {
    let (began, mut said) = (Instant::now(), Vec::new());
    // A reset is an end as well.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said))
        .await
        .expect("the connection is ended");
    (said, began.elapsed())
}

async fn bounded(bounds: Bounds) -> std::net::SocketAddr {
    let tcp = listen("127.0.0.1:0").await;
    let address = tcp.local_addr().expect("its address");
    let router = Router::new().route("/", get(|| async { "ok" }));
    tokio::spawn(serve(tcp.into(), router, bounds, std::future::pending::<()>()));
    address
}

#[tokio::test]
async fn a_caller_that_says_nothing_or_stops_within_a_head_is_cut() {
    let quick = Duration::from_millis(50);
    let bounds = Bounds {
        greeting: quick,
        head: quick,
        ..Bounds::default()
    };
    let address = bounded(bounds).await;
    for begun in [
        &b""[..],
        b"P",
        b"PRI * HTTP/2.0",
        b"GET / HTTP/1.1\r\nhost: a\r\nx-slow: ",
    ] {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(begun).await.expect("a writable stream");
        let (_, after) = ended(stream).await;
        assert!(after >= quick / 2, "{begun:?} was cut after {after:?}");
    }
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let whole = b"GET / HTTP/1.1\r\nhost: abcdefgh\r\n\r\n";
    stream.write_all(whole).await.expect("a writable stream");
    let (said, _) = ended(stream).await;
    assert!(said.ends_with(b"ok"), "a whole request is answered first");
}

#[tokio::test]
async fn one_address_may_have_so_many_connections_and_a_freed_one_can_be_had_again() {
    let bounds = Bounds {
        connections_of_one: 2,
        ..Bounds::default()
    };
    let address = bounded(bounds).await;
    let asked = async |mut stream: TcpStream| {
        let request = b"GET / HTTP/1.1\r\nhost: abcdefgh\r\n\r\n";
        let mut first = [0; 12];
        // One that is closed may be reset while it is written to.
        let _ = stream.write_all(request).await;
        match stream.read_exact(&mut first).await {
            Ok(_) => Some((first, stream)),
            Err(_) => None,
        }
    };
    let connect = async || TcpStream::connect(address).await.expect("a connection");
    let one = asked(connect().await).await.expect("the first is served");
    let _two = asked(connect().await).await.expect("the second is served");
    assert_eq!(&one.0, b"HTTP/1.1 200");
    assert!(asked(connect().await).await.is_none(), "a third is closed");
    drop(one);
    let freed = async { while asked(connect().await).await.is_none() {} };
    tokio::time::timeout(PATIENCE, freed)
        .await
        .expect("a place is free again");
}
