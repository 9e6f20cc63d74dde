//! Metrics and logs that are only passed on, over both transports, as they came.

use crate::grpc::{call_at, frame};
use crate::http::{JSON, PROTOBUF, send};
use crate::support::{Intake, Recorder, gzip, listen};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use otlp::intake::{BatchMeta, Limits, Outcome, PassSink, Passed, Refusal, Signal, Sinks, Transport};
use prost::Message as _;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tonic::Code;

const LOGS_METHOD: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// Keeps what it is given and answers by its script, then accepts everything.
#[derive(Clone, Default)]
pub(crate) struct Taken(Arc<Mutex<Records>>);

#[derive(Default)]
struct Records {
    script: VecDeque<Result<Passed, Refusal>>,
    requests: Vec<(Bytes, u64, BatchMeta)>,
}

impl Taken {
    fn answering(answer: Result<Passed, Refusal>) -> Self {
        let taken = Self::default();
        taken.lock().script.push_back(answer);
        taken
    }

    pub(crate) fn requests(&self) -> Vec<(Bytes, u64, BatchMeta)> {
        self.lock().requests.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PassSink for Taken {
    async fn pass(&self, body: Bytes, items: u64, batch: BatchMeta) -> Result<Passed, Refusal> {
        let mut records = self.lock();
        records.requests.push((body, items, batch));
        records
            .script
            .pop_front()
            .unwrap_or_else(|| Ok(Passed::default()))
    }
}

pub(crate) fn logs(texts: &[&str]) -> ExportLogsServiceRequest {
    let record = |text: &&str| LogRecord {
        time_unix_nano: 1,
        severity_text: "INFO".to_owned(),
        body: Some(AnyValue {
            value: Some(Value::StringValue((*text).to_owned())),
        }),
        trace_id: vec![1; 16],
        ..LogRecord::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs {
                log_records: texts.iter().map(record).collect(),
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    }
}

async fn http(taken: &Taken, observer: &Recorder) -> Intake {
    let sinks = Sinks::new(observer.clone())
        .with_logs(taken.clone())
        .with_passed_metrics(taken.clone());
    Intake::http_to(sinks, observer, Limits::default()).await
}

async fn grpc(taken: &Taken, observer: &Recorder) -> Intake {
    let sinks = Sinks::new(observer.clone()).with_logs(taken.clone());
    Intake::grpc_to(listen("127.0.0.1:0").await, sinks, observer, Limits::default())
}

#[tokio::test]
async fn logs_reach_their_sink_byte_by_byte_over_both_transports() {
    let (taken, observer) = (Taken::default(), Recorder::default());
    let (grpc, http) = (grpc(&taken, &observer).await, http(&taken, &observer).await);
    let mut client = LogsServiceClient::connect(format!("http://{}", grpc.address))
        .await
        .expect("the intake listens");
    let answer = client.export(logs(&["a", "b"])).await.expect("accepted");
    assert_eq!(answer.into_inner().partial_success, None);
    // A field that nobody knows yet stays where it is.
    let body = [&logs(&["c"]).encode_to_vec()[..], b"\xa2\x06\x03new"].concat();
    let headers = [
        ("content-type", PROTOBUF),
        ("content-encoding", "gzip"),
        ("tracemap-batch-id", "a/1"),
    ];
    let answer = send(&http, "POST", "/v1/logs", &headers, &gzip(&body)).await;
    assert_eq!((answer.code, answer.body.as_slice()), (200, &[][..]));

    let requests = taken.requests();
    assert_eq!(requests[0].0, logs(&["a", "b"]).encode_to_vec());
    assert_eq!(requests[1].0, body);
    let came: Vec<_> = requests
        .iter()
        .map(|(_, items, batch)| (*items, batch.transport, batch.batch_id.as_deref()))
        .collect();
    assert_eq!(
        came,
        [
            (2, Transport::Grpc, None),
            (1, Transport::HttpProtobuf, Some("a/1"))
        ]
    );
    let seen: Vec<_> = observer
        .observed()
        .iter()
        .map(|o| (o.signal, o.outcome))
        .collect();
    assert_eq!(seen, [(Signal::Logs, Outcome::Accepted); 2]);
}

#[tokio::test]
async fn logs_and_metrics_in_json_are_passed_on_in_protobuf() {
    let (taken, observer) = (Taken::default(), Recorder::default());
    let intake = http(&taken, &observer).await;
    let json = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1","severityText":"INFO",
        "body":{"stringValue":"a"},"traceId":"01010101010101010101010101010101"}]}]}]}"#;
    let answer = send(&intake, "POST", "/v1/logs", &[("content-type", JSON)], json).await;
    assert_eq!((answer.code, answer.body.as_slice()), (200, &b"{}"[..]));
    let json = br#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"jobs","gauge":{"dataPoints":[{"asInt":3}]}}]}]}]}"#;
    let answer = send(&intake, "POST", "/v1/metrics", &[("content-type", JSON)], json).await;
    assert_eq!(answer.code, 200);
    let wrong = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"severityNumber":"LOUD"}]}]}]}"#;
    let answer = send(&intake, "POST", "/v1/logs", &[("content-type", JSON)], wrong).await;
    let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
    assert!(
        answer.code == 400 && message.contains("`LOUD` is not a severity"),
        "{message}"
    );

    let requests = taken.requests();
    assert_eq!(requests[0].0, logs(&["a"]).encode_to_vec());
    assert_eq!(
        requests.iter().map(|(_, items, _)| *items).collect::<Vec<_>>(),
        [1, 1]
    );
}

#[tokio::test]
async fn a_sink_of_logs_is_answered_for_in_the_words_of_logs() {
    let rejecting = Taken::answering(Ok(Passed {
        rejected: 2,
        message: "too old".to_owned(),
    }));
    let observer = Recorder::default();
    let intake = http(&rejecting, &observer).await;
    let body = logs(&["a", "b", "c"]).encode_to_vec();
    let answer = send(&intake, "POST", "/v1/logs", &[("content-type", PROTOBUF)], &body).await;
    let response = ExportLogsServiceResponse::decode(&answer.body[..]).expect("a response");
    let partial = response.partial_success.expect("two were rejected");
    assert_eq!(
        (partial.rejected_log_records, partial.error_message.as_str()),
        (2, "too old")
    );
    let busy = Taken::answering(Err(Refusal::Busy {
        retry_after: Duration::from_secs(3),
    }));
    let intake = http(&busy, &observer).await;
    let answer = send(&intake, "POST", "/v1/logs", &[("content-type", PROTOBUF)], &body).await;
    assert_eq!((answer.code, answer.header("retry-after")), (503, Some("3")));
}

#[tokio::test]
async fn logs_that_are_none_are_refused_and_where_nobody_takes_them_they_are_not_served() {
    let (taken, observer) = (Taken::default(), Recorder::default());
    let intake = grpc(&taken, &observer).await;
    let status = call_at(&intake, LOGS_METHOD, None, frame(false, b"\x0a\x05x")).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(
        status
            .message()
            .starts_with("the body is not an `ExportLogsServiceRequest`: byte"),
        "{}",
        status.message()
    );
    let mut client = LogsServiceClient::connect(format!("http://{}", intake.address))
        .await
        .expect("the intake listens");
    client.export(logs(&[])).await.expect("accepted");
    client
        .export(ExportLogsServiceRequest::default())
        .await
        .expect("accepted");
    assert_eq!(taken.requests().len(), 1, "nothing at all is not handed on");

    let without = Intake::grpc(&observer, Limits::default()).await;
    let status = call_at(&without, LOGS_METHOD, None, frame(false, b"")).await;
    assert_eq!(status.code(), Code::Unimplemented);
    let without = Intake::http(&observer, Limits::default()).await;
    let answer = send(&without, "POST", "/v1/logs", &[("content-type", PROTOBUF)], b"").await;
    assert_eq!(answer.code, 404);
    let with = http(&taken, &observer).await;
    let answer = send(&with, "POST", "/v1/profiles", &[("content-type", PROTOBUF)], b"").await;
    assert_eq!(
        answer.status().1,
        "path `/v1/profiles` is not served, `/v1/traces`, `/v1/metrics` and `/v1/logs` are"
    );
}
