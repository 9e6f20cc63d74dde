//! The exporter over OTLP/HTTP, against our intake and against a server that answers by a script.

use crate::pass::{Taken, logs};
use crate::support::{Intake, Recorder, listen, request_of, span_names, until};
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use otlp::export::{
    Compression, DropReason, ExportHeaders, ExportProtocol, ExportSettings, ExportSignal, Exporter,
};
use otlp::intake::{Accepted, Limits, Sinks, Transport};
use prost::Message as _;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

fn settings(address: SocketAddr) -> ExportSettings {
    ExportSettings {
        endpoint: format!("http://{address}"),
        protocol: ExportProtocol::Http,
        max_delay: Duration::from_millis(5),
        instance: "test/1".to_owned(),
        ..ExportSettings::default()
    }
}

fn exporter(settings: ExportSettings) -> Exporter {
    Exporter::spawn(settings).expect("settings that work").0
}

/// What a server says once.
type Said = (StatusCode, &'static [(&'static str, &'static str)]);

/// Answers by its script, then accepts what is at most `largest` bytes.
#[derive(Clone)]
struct Scripted(Arc<Mutex<Script>>);

struct Script {
    answers: VecDeque<Said>,
    largest: usize,
    taken: Vec<(Bytes, HeaderMap, Instant)>,
}

impl Scripted {
    async fn start(answers: &[Said], largest: usize) -> (Self, SocketAddr) {
        let script = Script {
            answers: answers.iter().copied().collect(),
            largest,
            taken: Vec::new(),
        };
        let scripted = Self(Arc::new(Mutex::new(script)));
        let listener = listen("127.0.0.1:0").await;
        let address = listener.local_addr().expect("a bound listener");
        let router = axum::Router::new().fallback(answer).with_state(scripted.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (scripted, address)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bodies, headers, and when each came, refused ones too.
    fn taken(&self) -> Vec<(Bytes, HeaderMap, Instant)> {
        self.lock().taken.clone()
    }
}

async fn answer(State(scripted): State<Scripted>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a whole request").to_bytes();
    let mut script = scripted.lock();
    let too_large = body.len() > script.largest;
    script.taken.push((body, head.headers, Instant::now()));
    let mut response = Response::default();
    if too_large {
        *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    } else if let Some((code, headers)) = script.answers.pop_front() {
        *response.status_mut() = code;
        for (name, value) in headers {
            response
                .headers_mut()
                .insert(*name, value.parse().expect("a value"));
        }
    }
    response
}

#[tokio::test]
async fn batches_travel_by_http_with_their_id_whatever_the_compression() {
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let sink = Recorder::default();
        let intake = Intake::http(&sink, Limits::default()).await;
        let exporter = exporter(ExportSettings {
            compression,
            max_delay: Duration::from_hours(1),
            ..settings(intake.address)
        });
        exporter.try_send(request_of(&["a", "b"]), 2).expect("room");
        exporter.try_send(request_of(&["c"]), 1).expect("room");
        exporter.flush(PATIENCE).await.expect("the collector is there");
        assert_eq!(
            (sink.names(), sink.batch_ids()),
            (vec!["a".into(), "b".into(), "c".into()], vec!["test/1/1".into()])
        );
        let (_, batch) = sink.batches().remove(0);
        assert_eq!(batch.transport, Transport::HttpProtobuf, "{compression:?}");
        let stats = exporter.stats();
        assert_eq!(
            (stats.sent_spans, stats.sent_requests, stats.buffered_bytes),
            (3, 1, 0)
        );
    }
}

#[tokio::test]
async fn logs_travel_to_their_own_path_and_rejected_ones_are_counted() {
    let (taken, observer) = (Taken::default(), Recorder::default());
    let sinks = Sinks::new(observer.clone()).with_logs(taken.clone());
    let intake = Intake::http_to(sinks, &observer, Limits::default()).await;
    let exporter = exporter(ExportSettings {
        signal: ExportSignal::Logs,
        ..settings(intake.address)
    });
    let body = Bytes::from(logs(&["a", "b"]).encode_to_vec());
    exporter.accept(body.clone(), 2).await.expect("room");
    exporter.flush(PATIENCE).await.expect("the collector is there");
    assert_eq!(
        taken
            .requests()
            .into_iter()
            .map(|(body, ..)| body)
            .collect::<Vec<_>>(),
        [body]
    );

    let rejecting = Recorder::answering([Ok(Accepted {
        rejected_spans: 1,
        message: "odd".to_owned(),
    })]);
    let intake = Intake::http(&rejecting, Limits::default()).await;
    let spans = self::exporter(settings(intake.address));
    spans.try_send(request_of(&["a", "b"]), 2).expect("room");
    spans.flush(PATIENCE).await.expect("the collector is there");
    let stats = spans.stats();
    assert_eq!(
        (stats.sent_spans, stats.dropped(DropReason::PartialSuccess)),
        (1, 1)
    );
}

#[tokio::test]
async fn what_passes_is_tried_again_under_the_same_id_and_not_before_it_was_asked_for() {
    let answers: [Said; 4] = [
        (StatusCode::TOO_MANY_REQUESTS, &[("retry-after", "1")]),
        (StatusCode::BAD_GATEWAY, &[]),
        (
            StatusCode::SERVICE_UNAVAILABLE,
            &[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")],
        ),
        (StatusCode::GATEWAY_TIMEOUT, &[]),
    ];
    let (server, address) = Scripted::start(&answers, usize::MAX).await;
    let exporter = exporter(settings(address));
    exporter.try_send(request_of(&["a"]), 1).expect("room");
    exporter.flush(PATIENCE).await.expect("delivered in the end");
    let taken = server.taken();
    let ids: Vec<_> = taken
        .iter()
        .map(|(_, headers, _)| headers["tracemap-batch-id"].clone())
        .collect();
    assert_eq!(ids, ["test/1/1"; 5]);
    assert!(
        taken[1].2 - taken[0].2 >= Duration::from_secs(1),
        "the second came before its time"
    );
    let stats = exporter.stats();
    assert_eq!(
        (stats.sent_spans, stats.retried_requests, stats.dropped_total()),
        (1, 4, 0)
    );
}

#[tokio::test]
async fn what_will_never_be_taken_is_dropped_with_its_reason_and_holds_nothing_up() {
    let refusals: [(Said, DropReason); 4] = [
        ((StatusCode::BAD_REQUEST, &[]), DropReason::Invalid),
        ((StatusCode::UNAUTHORIZED, &[]), DropReason::Unauthorized),
        ((StatusCode::NOT_FOUND, &[]), DropReason::Unimplemented),
        ((StatusCode::INTERNAL_SERVER_ERROR, &[]), DropReason::Refused),
    ];
    for (said, reason) in refusals {
        let (_server, address) = Scripted::start(&[said], usize::MAX).await;
        let exporter = exporter(ExportSettings {
            compression: Compression::None,
            ..settings(address)
        });
        exporter.try_send(request_of(&["a"]), 1).expect("room");
        exporter.flush(PATIENCE).await.expect("it has its fate");
        exporter.try_send(request_of(&["b"]), 1).expect("room");
        exporter.flush(PATIENCE).await.expect("it has its fate");
        let stats = exporter.stats();
        assert_eq!((stats.sent_spans, stats.dropped(reason)), (1, 1), "{reason:?}");
    }
}

#[tokio::test]
async fn a_batch_that_is_too_large_arrives_in_parts_whose_ids_say_which_and_a_span_that_is_alone_is_dropped()
{
    let single = request_of(&["a"]).len();
    let (server, address) = Scripted::start(&[], 2 * single).await;
    let exporter = exporter(ExportSettings {
        compression: Compression::None,
        max_delay: Duration::from_hours(1),
        ..settings(address)
    });
    let long = "x".repeat(4 * single);
    exporter
        .try_send(request_of(&["a", "b", "c", &long, "d"]), 5)
        .expect("room");
    exporter.try_send(request_of(&["e"]), 1).expect("room");
    exporter.flush(PATIENCE).await.expect("all have their fate");
    let taken = server
        .taken()
        .into_iter()
        .filter(|(body, ..)| body.len() <= 2 * single);
    let (mut names, mut ids) = (Vec::new(), Vec::new());
    for (body, headers, _) in taken {
        names.extend(span_names(&body));
        ids.push(headers["tracemap-batch-id"].to_str().expect("text").to_owned());
    }
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
    assert!(ids.iter().all(|id| id.starts_with("test/1/1.")), "{ids:?}");
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
    let stats = exporter.stats();
    assert_eq!(
        (
            stats.sent_spans,
            stats.dropped(DropReason::TooLarge),
            stats.buffered_spans,
            stats.buffered_bytes
        ),
        (5, 1, 0, 0)
    );
}

#[tokio::test]
async fn a_grpc_collector_that_finds_a_batch_too_large_gets_it_in_parts() {
    let sink = Recorder::default();
    let limits = Limits {
        max_request_bytes: 100 << 10,
        ..Limits::default()
    };
    let intake = Intake::grpc(&sink, limits).await;
    let exporter = exporter(ExportSettings {
        protocol: ExportProtocol::Grpc,
        max_delay: Duration::from_hours(1),
        ..settings(intake.address)
    });
    let names: Vec<String> = (0..4).map(|n| format!("{n}{}", "x".repeat(40 << 10))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    exporter.try_send(request_of(&names), 4).expect("room");
    exporter.flush(PATIENCE).await.expect("the collector is there");
    assert_eq!(sink.names(), names);
    assert_eq!(sink.batch_ids(), ["test/1/1.0", "test/1/1.1"]);
    assert_eq!(exporter.stats().sent_spans, 4);
}

#[tokio::test]
async fn headers_of_the_settings_are_on_every_request_of_both_protocols() {
    let directory = tempfile::tempdir().expect("a directory");
    let token = directory.path().join("token");
    std::fs::write(&token, "Bearer abc\n").expect("written");
    let headers = ExportHeaders {
        values: vec![("X-Scope-OrgID".to_owned(), "shop".to_owned())],
        files: vec![("authorization".to_owned(), token)],
    };
    let (server, address) = Scripted::start(&[], usize::MAX).await;
    let exporter = exporter(ExportSettings {
        headers: headers.clone(),
        compression: Compression::Zstd,
        ..settings(address)
    });
    exporter.try_send(request_of(&["a"]), 1).expect("room");
    exporter.flush(PATIENCE).await.expect("delivered");
    let (_, seen, _) = server.taken().remove(0);
    let said = [
        "x-scope-orgid",
        "authorization",
        "content-type",
        "content-encoding",
    ]
    .map(|name| seen[name].clone());
    assert_eq!(said, ["shop", "Bearer abc", "application/x-protobuf", "zstd"]);

    // The answer of a plain HTTP/2 server tells whether they were there.
    let listener = listen("127.0.0.1:0").await;
    let address = listener.local_addr().expect("a bound listener");
    let router = axum::Router::new().fallback(|headers: HeaderMap| async move {
        let known = headers
            .get("authorization")
            .is_some_and(|value| value == "Bearer abc");
        let status = if known { "0" } else { "16" };
        let empty: &[u8] = &[0; 5];
        (
            [("content-type", "application/grpc"), ("grpc-status", status)],
            empty,
        )
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    let grpc = self::exporter(ExportSettings {
        headers,
        protocol: ExportProtocol::Grpc,
        compression: Compression::None,
        ..settings(address)
    });
    grpc.try_send(request_of(&["a"]), 1).expect("room");
    grpc.flush(PATIENCE).await.expect("it has its fate");
    assert_eq!(grpc.stats().dropped(DropReason::Unauthorized), 0);
}

#[tokio::test]
async fn an_http_collector_that_is_replaced_gets_everything() {
    let (first, address) = {
        let sink = Recorder::default();
        let intake = Intake::http(&sink, Limits::default()).await;
        let address = intake.address;
        intake.stop().await;
        (sink, address)
    };
    let exporter = exporter(settings(address));
    exporter.try_send(request_of(&["a"]), 1).expect("room");
    until("a request is tried again", || {
        exporter.stats().retried_requests > 0
    })
    .await;
    let listener = listen(&address.to_string()).await;
    let sink = first.clone();
    let never = std::future::pending();
    tokio::spawn(otlp::intake::serve_http(
        listener,
        sink,
        Limits::default(),
        Arc::new(()),
        never,
    ));
    exporter.flush(PATIENCE).await.expect("the collector is back");
    assert_eq!(first.names(), ["a"]);
}
