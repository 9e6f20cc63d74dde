//! OTLP metrics, over both transports, where somebody takes them and where nobody does.

use crate::grpc::{call_at, frame, retry_delay};
use crate::http::{Answer, JSON, PROTOBUF, send};
use crate::support::{Intake, Recorder, gzip, listen};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Metric, ResourceMetrics,
    ScopeMetrics, metric,
};
use otlp::intake::{
    AcceptedMetrics, BatchMeta, Limits, MetricsSink, Outcome, Refusal, Signal, Sinks, Transport,
};
use prost::Message as _;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

const EXPORT_PATH: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// Keeps what it is given and answers by its script, then accepts everything.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Records>>);

#[derive(Default)]
struct Records {
    script: VecDeque<Result<AcceptedMetrics, Refusal>>,
    requests: Vec<(ExportMetricsServiceRequest, BatchMeta)>,
}

impl Kept {
    fn answering(script: impl IntoIterator<Item = Result<AcceptedMetrics, Refusal>>) -> Self {
        let kept = Self::default();
        kept.lock().script = script.into_iter().collect();
        kept
    }

    fn requests(&self) -> Vec<(ExportMetricsServiceRequest, BatchMeta)> {
        self.lock().requests.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Records> {
        self.0.lock().expect("no test panics while it holds the records")
    }
}

impl MetricsSink for Kept {
    async fn export_metrics(
        &self,
        request: ExportMetricsServiceRequest,
        batch: BatchMeta,
    ) -> Result<AcceptedMetrics, Refusal> {
        let mut records = self.lock();
        records.requests.push((request, batch));
        records
            .script
            .pop_front()
            .unwrap_or_else(|| Ok(AcceptedMetrics::default()))
    }
}

async fn grpc(kept: &Kept, observer: &Recorder) -> Intake {
    let sinks = Sinks::new(observer.clone()).with_metrics(kept.clone());
    Intake::grpc_to(listen("127.0.0.1:0").await, sinks, observer, Limits::default())
}

async fn http(kept: &Kept, observer: &Recorder) -> Intake {
    let sinks = Sinks::new(observer.clone()).with_metrics(kept.clone());
    Intake::http_to(sinks, observer, Limits::default()).await
}

async fn post(intake: &Intake, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    send(intake, "POST", "/v1/metrics", headers, body).await
}

/// What an agent sends of one edge: a delta histogram with buckets by powers of two.
fn edge_seconds() -> ExportMetricsServiceRequest {
    let point = ExponentialHistogramDataPoint {
        count: 3,
        sum: Some(0.75),
        scale: 3,
        ..ExponentialHistogramDataPoint::default()
    };
    let metric = Metric {
        name: "tracemap.edge.duration".to_owned(),
        unit: "s".to_owned(),
        data: Some(metric::Data::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![point],
            aggregation_temporality: AggregationTemporality::Delta as i32,
        })),
        ..Metric::default()
    };
    let scope_metrics = ScopeMetrics {
        metrics: vec![metric],
        ..ScopeMetrics::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            scope_metrics: vec![scope_metrics],
            ..ResourceMetrics::default()
        }],
    }
}

async fn client(intake: &Intake) -> MetricsServiceClient<Channel> {
    MetricsServiceClient::connect(format!("http://{}", intake.address))
        .await
        .expect("the intake listens")
}

#[tokio::test]
async fn edge_counts_reach_their_sink_over_both_transports() {
    let (kept, observer) = (Kept::default(), Recorder::default());
    let (grpc, http) = (grpc(&kept, &observer).await, http(&kept, &observer).await);
    let response = client(&grpc)
        .await
        .export(edge_seconds())
        .await
        .expect("accepted");
    assert_eq!(response.into_inner().partial_success, None);
    let compressed = gzip(&edge_seconds().encode_to_vec());
    let headers = [
        ("content-type", PROTOBUF),
        ("content-encoding", "gzip"),
        ("tracemap-batch-id", "a/1"),
    ];
    let answer = post(&http, &headers, &compressed).await;
    assert_eq!((answer.code, answer.body.as_slice()), (200, &[][..]));

    let requests = kept.requests();
    let came: Vec<_> = requests
        .iter()
        .map(|(_, batch)| (batch.transport, batch.batch_id.as_deref()))
        .collect();
    assert_eq!(
        came,
        [(Transport::Grpc, None), (Transport::HttpProtobuf, Some("a/1"))]
    );
    assert!(requests.iter().all(|(request, _)| *request == edge_seconds()));
    assert!(observer.batches().is_empty());
    let seen: Vec<_> = observer
        .observed()
        .iter()
        .map(|o| (o.signal, o.outcome, o.spans, o.bytes))
        .collect();
    let bytes = edge_seconds().encoded_len() as u64;
    assert_eq!(seen, [(Signal::Metrics, Outcome::Accepted, 0, bytes); 2]);
}

#[tokio::test]
async fn rejected_data_points_are_a_partial_success() {
    let kept = Kept::answering([Ok(AcceptedMetrics {
        rejected_data_points: 1,
        message: "not a delta".to_owned(),
    })]);
    let observer = Recorder::default();
    let intake = http(&kept, &observer).await;
    let body = edge_seconds().encode_to_vec();
    let answer = post(&intake, &[("content-type", PROTOBUF)], &body).await;
    let response = ExportMetricsServiceResponse::decode(&answer.body[..]).expect("a response");
    let partial = response.partial_success.expect("a point was rejected");
    assert_eq!(
        (partial.rejected_data_points, partial.error_message.as_str()),
        (1, "not a delta")
    );
    assert_eq!(observer.observed()[0].rejected_spans, 1);
}

#[tokio::test]
async fn a_metrics_sink_that_is_busy_asks_to_come_back() {
    let wait = Duration::from_secs(3);
    let busy = || Err(Refusal::Busy { retry_after: wait });
    let (kept, observer) = (Kept::answering([busy(), busy()]), Recorder::default());
    let (grpc, http) = (grpc(&kept, &observer).await, http(&kept, &observer).await);
    let status: Status = client(&grpc)
        .await
        .export(edge_seconds())
        .await
        .expect_err("the sink is busy");
    assert_eq!(
        (status.code(), retry_delay(&status)),
        (Code::Unavailable, Some(wait))
    );
    let body = edge_seconds().encode_to_vec();
    let answer = post(&http, &[("content-type", PROTOBUF)], &body).await;
    assert_eq!((answer.code, answer.header("retry-after")), (503, Some("3")));
}

#[tokio::test]
async fn metrics_that_are_none_are_refused_and_none_at_all_is_a_success() {
    let (kept, observer) = (Kept::default(), Recorder::default());
    let (grpc, http) = (grpc(&kept, &observer).await, http(&kept, &observer).await);
    client(&grpc)
        .await
        .export(ExportMetricsServiceRequest::default())
        .await
        .expect("accepted");
    let status = call_at(&grpc, EXPORT_PATH, None, frame(false, b"\x0a\x05x")).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.get_details_bad_request().is_some());
    let answer = post(&http, &[("content-type", PROTOBUF)], b"\x0a\x05x").await;
    assert_eq!((answer.code, answer.status().0), (400, 3));
    let json = post(&http, &[("content-type", JSON)], b"{}").await;
    assert_eq!((json.code, json.body.as_slice()), (200, &b"{}"[..]));
    let odd = post(&http, &[("content-type", "text/plain")], b"{}").await;
    assert_eq!(odd.code, 415);
    assert!(kept.requests().is_empty());
    let outcomes: Vec<_> = observer.observed().iter().map(|o| o.outcome).collect();
    assert_eq!(
        outcomes,
        [
            Outcome::Accepted,
            Outcome::Malformed,
            Outcome::Malformed,
            Outcome::Accepted,
            Outcome::Unsupported
        ]
    );
}

#[tokio::test]
async fn metrics_that_nobody_takes_are_not_served() {
    let sink = Recorder::default();
    let intake = Intake::grpc(&sink, Limits::default()).await;
    let status = client(&intake)
        .await
        .export(edge_seconds())
        .await
        .expect_err("nobody takes them");
    assert_eq!(status.code(), Code::Unimplemented);
    let intake = Intake::http(&sink, Limits::default()).await;
    let body = edge_seconds().encode_to_vec();
    let answer = post(&intake, &[("content-type", PROTOBUF)], &body).await;
    assert_eq!((answer.code, answer.status().0), (404, 12));
    assert_eq!(
        answer.status().1,
        "path `/v1/metrics` is not served, `/v1/traces` is"
    );
}
