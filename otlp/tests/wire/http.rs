//! OTLP/HTTP against requests written by hand.

use crate::support::{Intake, Recorder, gzip, request_of, zstd};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use otlp::intake::{Accepted, Limits, Outcome, Refusal, Transport};
use prost::Message as _;
use serde_json::Value;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) const PROTOBUF: &str = "application/x-protobuf";
pub(crate) const JSON: &str = "application/json";
const SPAN_AS_JSON: &str = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{
    "traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"GET /cart","kind":2
}]}]}]}"#;

pub(crate) struct Answer {
    pub(crate) code: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some(JSON));
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    /// Code and message of the `google.rpc.Status` in protobuf.
    pub(crate) fn status(&self) -> (i32, String) {
        assert_eq!(self.header("content-type"), Some(PROTOBUF));
        let status = tonic_types::Status::decode(&self.body[..]).expect("a google.rpc.Status");
        (status.code, status.message)
    }
}

pub(crate) async fn send(
    intake: &Intake,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nhost: intake\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    exchange(intake, &[head.as_bytes(), b"\r\n", body].concat()).await
}

async fn exchange(intake: &Intake, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(intake.address)
        .await
        .expect("the intake listens");
    let (mut reader, mut writer) = stream.split();
    let mut answer = Vec::new();
    // The intake may answer and close before it has read all.
    let _ = tokio::join!(writer.write_all(request), reader.read_to_end(&mut answer));
    let split = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("a response head");
    let head = String::from_utf8(answer[..split].to_vec()).expect("an ASCII head");
    let code = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .expect("a status line");
    Answer {
        code,
        head,
        body: answer[split + 4..].to_vec(),
    }
}

pub(crate) async fn post(intake: &Intake, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    send(intake, "POST", "/v1/traces", headers, body).await
}

async fn intake(sink: &Recorder) -> Intake {
    Intake::http(sink, Limits::default()).await
}

#[tokio::test]
async fn every_compression_of_protobuf_is_taken_and_answered_with_an_empty_response() {
    let sink = Recorder::default();
    let intake = intake(&sink).await;
    let plain = request_of(&["a"]);
    let bodies = [
        ("identity", plain.to_vec()),
        ("gzip", gzip(&plain)),
        ("zstd", zstd(&plain)),
    ];
    for (encoding, body) in &bodies {
        let answer = post(
            &intake,
            &[("content-type", PROTOBUF), ("content-encoding", encoding)],
            body,
        )
        .await;
        assert_eq!(
            (answer.code, answer.body.as_slice()),
            (200, &[][..]),
            "{encoding}"
        );
        assert_eq!(answer.header("content-type"), Some(PROTOBUF));
    }
    let batches = sink.batches();
    assert_eq!(batches.len(), 3);
    for (body, batch) in batches {
        assert_eq!((body, batch.transport), (plain.clone(), Transport::HttpProtobuf));
        assert!(batch.peer.is_some_and(|peer| peer.ip().is_loopback()));
    }
}

#[tokio::test]
async fn json_is_taken_as_protobuf_and_answered_in_json() {
    let sink = Recorder::default();
    let intake = intake(&sink).await;
    let headers = [
        ("content-type", "application/json; charset=utf-8"),
        ("tracemap-batch-id", "a/1"),
    ];
    let answer = post(&intake, &headers, SPAN_AS_JSON.as_bytes()).await;
    assert_eq!((answer.code, answer.json()), (200, serde_json::json!({})));
    assert_eq!(sink.names(), ["GET /cart"]);
    let (_, batch) = &sink.batches()[0];
    assert_eq!(
        (batch.transport, batch.batch_id.as_deref()),
        (Transport::HttpJson, Some("a/1"))
    );
}

#[tokio::test]
async fn rejected_spans_are_a_partial_success_in_the_format_of_the_request() {
    let partly = || {
        Ok(Accepted {
            rejected_spans: 1,
            message: "zero id".to_owned(),
        })
    };
    let sink = Recorder::answering([partly(), partly()]);
    let intake = intake(&sink).await;
    let protobuf = post(&intake, &[("content-type", PROTOBUF)], &request_of(&["a"])).await;
    let decoded = ExportTraceServiceResponse::decode(&protobuf.body[..]).expect("a response");
    let partial = decoded.partial_success.expect("a span was rejected");
    assert_eq!(
        (
            protobuf.code,
            partial.rejected_spans,
            partial.error_message.as_str()
        ),
        (200, 1, "zero id")
    );
    let json = post(&intake, &[("content-type", JSON)], SPAN_AS_JSON.as_bytes()).await;
    let expected = serde_json::json!({"partialSuccess": {"rejectedSpans": "1", "errorMessage": "zero id"}});
    assert_eq!((json.code, json.json()), (200, expected));
}

#[tokio::test]
async fn an_empty_request_is_a_success() {
    let sink = Recorder::default();
    let intake = intake(&sink).await;
    assert_eq!(post(&intake, &[("content-type", PROTOBUF)], b"").await.code, 200);
    let json = post(&intake, &[("content-type", JSON)], b"{}").await;
    assert_eq!((json.code, json.json()), (200, serde_json::json!({})));
    assert!(sink.batches().is_empty());
}

#[tokio::test]
async fn a_busy_sink_is_a_503_and_an_exhausted_one_a_429_both_with_retry_after() {
    let wait = Duration::from_millis(1500);
    let sink = Recorder::answering([
        Err(Refusal::Busy { retry_after: wait }),
        Err(Refusal::Exhausted { retry_after: wait }),
        Err(Refusal::Invalid("not ours".to_owned())),
    ]);
    let intake = intake(&sink).await;
    let busy = post(&intake, &[("content-type", PROTOBUF)], &request_of(&["a"])).await;
    assert_eq!(
        (busy.code, busy.header("retry-after"), busy.status().0),
        (503, Some("2"), 14)
    );
    let exhausted = post(&intake, &[("content-type", JSON)], SPAN_AS_JSON.as_bytes()).await;
    assert_eq!(
        (exhausted.code, exhausted.header("retry-after")),
        (429, Some("2"))
    );
    assert_eq!(
        (
            &exhausted.json()["code"],
            &exhausted.json()["details"][0]["retryDelay"]
        ),
        (&Value::from(8), &Value::from("1.5s"))
    );
    let invalid = post(&intake, &[("content-type", PROTOBUF)], &request_of(&["a"])).await;
    assert_eq!((invalid.code, invalid.header("retry-after")), (400, None));
    assert_eq!(invalid.status(), (3, "not ours".to_owned()));
}

#[tokio::test]
async fn garbage_is_a_400_that_says_why_in_the_format_of_the_request() {
    let sink = Recorder::default();
    let intake = intake(&sink).await;
    let protobuf = post(&intake, &[("content-type", PROTOBUF)], b"\x0a\x05x").await;
    assert_eq!(protobuf.code, 400);
    let (code, reason) = protobuf.status();
    assert_eq!(code, 3);
    assert!(
        reason.ends_with("5 bytes are announced but 1 are left in the message"),
        "{reason}"
    );
    let json = post(&intake, &[("content-type", JSON)], br#"{"resourceSpans": 7}"#).await;
    assert_eq!((json.code, &json.json()["code"]), (400, &Value::from(3)));
    assert!(
        json.json()["message"]
            .as_str()
            .is_some_and(|text| text.contains("resourceSpans"))
    );
    assert_eq!(
        json.json()["details"],
        serde_json::json!([{
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{
                "field": "resourceSpans",
                "description": json.json()["message"].as_str().and_then(|text| text.strip_prefix("the body is not OTLP/JSON: ")),
            }],
        }])
    );
    let outcomes: Vec<_> = sink.observed().iter().map(|o| o.outcome).collect();
    assert_eq!(outcomes, [Outcome::Malformed; 2]);
}

#[tokio::test]
async fn compressed_bodies_that_are_cut_off_or_garbage_are_a_400() {
    let sink = Recorder::default();
    let intake = intake(&sink).await;
    let plain = request_of(&["a"]);
    let (gzip, zstd) = (gzip(&plain), zstd(&plain));
    for (encoding, body) in [
        ("gzip", &gzip[..gzip.len() - 4]),
        ("gzip", &b"not gzip"[..]),
        ("zstd", &zstd[..zstd.len() - 4]),
        ("zstd", &b"not zstd"[..]),
    ] {
        let answer = post(
            &intake,
            &[("content-type", PROTOBUF), ("content-encoding", encoding)],
            body,
        )
        .await;
        assert_eq!(answer.code, 400, "{encoding}");
        let (code, reason) = answer.status();
        assert!(
            code == 3 && reason.starts_with("the body cannot be decompressed: "),
            "{reason}"
        );
    }
    assert!(sink.batches().is_empty());
}

#[tokio::test]
async fn bodies_over_the_limit_are_a_413_also_when_only_their_content_is() {
    let sink = Recorder::default();
    let limits = Limits {
        max_request_bytes: 4096,
        ..Limits::default()
    };
    let intake = Intake::http(&sink, limits).await;
    let zeros = vec![0; 1 << 20];
    let bombs = [gzip(&zeros), zstd(&zeros)];
    assert!(bombs.iter().all(|bomb| bomb.len() < 4096));
    for (encoding, body) in [
        ("identity", &zeros[..5000]),
        ("gzip", &bombs[0]),
        ("zstd", &bombs[1]),
    ] {
        let answer = post(
            &intake,
            &[("content-type", PROTOBUF), ("content-encoding", encoding)],
            body,
        )
        .await;
        assert_eq!(answer.code, 413, "{encoding}");
        assert!(answer.status().1.contains("4096 bytes"));
        assert_eq!(answer.header("retry-after"), None);
    }
    let outcomes: Vec<_> = sink.observed().iter().map(|o| o.outcome).collect();
    assert_eq!(outcomes, [Outcome::TooLarge; 3]);
}

#[tokio::test]
async fn what_is_not_served_says_what_is() {
    let sink = Recorder::default();
    let intake = intake(&sink).await;
    let body = request_of(&["a"]);

    let get = send(&intake, "GET", "/v1/traces", &[("content-type", PROTOBUF)], b"").await;
    assert_eq!((get.code, get.header("allow")), (405, Some("POST")));
    assert_eq!(
        get.status().1,
        "method GET is not served on `/v1/traces`, POST is"
    );

    let path = send(&intake, "POST", "/v1/metrics", &[("content-type", JSON)], b"{}").await;
    assert_eq!(path.code, 404);
    assert_eq!(
        path.json()["message"],
        "path `/v1/metrics` is not served, `/v1/traces` is"
    );

    let text = post(&intake, &[("content-type", "text/plain")], &body).await;
    assert_eq!((text.code, &text.json()["code"]), (415, &Value::from(12)));
    assert_eq!(post(&intake, &[], &body).await.code, 415);

    let snappy = post(
        &intake,
        &[("content-type", PROTOBUF), ("content-encoding", "snappy")],
        &body,
    )
    .await;
    assert_eq!(
        (snappy.code, snappy.header("accept-encoding")),
        (415, Some("zstd, gzip"))
    );
    assert_eq!(snappy.status().0, 12);

    assert!(sink.batches().is_empty());
    assert!(
        sink.observed()
            .iter()
            .all(|observed| observed.outcome == Outcome::Unsupported)
    );
    assert_eq!(sink.observed().len(), 5);
}

#[tokio::test]
async fn a_full_intake_is_a_503_with_retry_after() {
    let sink = Recorder::default();
    let intake = Intake::http(
        &sink,
        Limits {
            max_requests: 0,
            ..Limits::default()
        },
    )
    .await;
    let answer = post(&intake, &[("content-type", PROTOBUF)], &request_of(&["a"])).await;
    assert_eq!((answer.code, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(sink.observed()[0].outcome, Outcome::Busy);
}

#[tokio::test]
async fn a_sender_that_stops_halfway_is_told_to_try_again() {
    let sink = Recorder::default();
    let limits = Limits {
        read_timeout: Duration::from_millis(20),
        ..Limits::default()
    };
    let intake = Intake::http(&sink, limits).await;
    let head = "POST /v1/traces HTTP/1.1\r\nhost: intake\r\nconnection: close\r\ncontent-length: 100\r\n\
                content-type: application/x-protobuf\r\n\r\n";
    let answer = exchange(&intake, head.as_bytes()).await;
    assert_eq!((answer.code, answer.status().0), (503, 14));
    assert_eq!(sink.observed()[0].outcome, Outcome::Interrupted);
}

#[tokio::test]
async fn a_shutdown_waits_for_no_idle_connection() {
    let sink = Recorder::default();
    let intake = intake(&sink).await;
    let idle = TcpStream::connect(intake.address)
        .await
        .expect("the intake listens");
    post(&intake, &[("content-type", PROTOBUF)], &request_of(&["a"])).await;
    intake.stop().await;
    drop(idle);
    assert_eq!(sink.names(), ["a"]);
}
