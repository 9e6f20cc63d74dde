//! OTLP/gRPC against the client that OpenTelemetry generates, and against bytes that no client would send.

use crate::support::{Intake, Recorder, gzip, listen, request_of, span_names, until};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use otlp::intake::{Accepted, BATCH_ID, BatchMeta, Limits, Outcome, Refusal, TraceSink, Transport, Verdict};
use otlp::view::{self, Span, SpanCount, Visit};
use prost::Message as _;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

const EXPORT_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

async fn client(intake: &Intake) -> TraceServiceClient<Channel> {
    TraceServiceClient::connect(format!("http://{}", intake.address))
        .await
        .expect("the intake listens")
}

fn message(names: &[&str]) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(request_of(names)).expect("our own encoding")
}

#[tokio::test]
async fn plain_gzip_and_zstd_requests_reach_the_sink_as_the_same_bytes() {
    let sink = Recorder::default();
    let intake = Intake::grpc(&sink, Limits::default()).await;
    let plain = client(&intake).await;
    let gzip = plain.clone().send_compressed(CompressionEncoding::Gzip);
    let zstd = plain.clone().send_compressed(CompressionEncoding::Zstd);
    for mut client in [plain, gzip, zstd] {
        let response = client
            .export(message(&["GET /cart"]))
            .await
            .expect("accepted")
            .into_inner();
        assert_eq!(response.partial_success, None);
    }
    let batches = sink.batches();
    assert_eq!(batches.len(), 3);
    for (body, batch) in batches {
        assert_eq!(body, request_of(&["GET /cart"]));
        assert_eq!((batch.transport, batch.batch_id), (Transport::Grpc, None));
        assert!(batch.peer.is_some_and(|peer| peer.ip().is_loopback()));
    }
    let seen: Vec<_> = sink
        .observed()
        .iter()
        .map(|o| (o.outcome, o.spans, o.bytes))
        .collect();
    assert_eq!(
        seen,
        [(Outcome::Accepted, 1, request_of(&["GET /cart"]).len() as u64); 3]
    );
}

#[tokio::test]
async fn the_batch_id_of_the_metadata_comes_with_the_spans() {
    let sink = Recorder::default();
    let intake = Intake::grpc(&sink, Limits::default()).await;
    let mut request = Request::new(message(&["a"]));
    request
        .metadata_mut()
        .insert(BATCH_ID, "node-7/42".parse().expect("visible ASCII"));
    client(&intake).await.export(request).await.expect("accepted");
    assert_eq!(sink.batch_ids(), ["node-7/42"]);
}

#[tokio::test]
async fn rejected_spans_are_a_partial_success() {
    let sink = Recorder::answering([Ok(Accepted {
        rejected_spans: 2,
        message: "bad ids".to_owned(),
    })]);
    let intake = Intake::grpc(&sink, Limits::default()).await;
    let response = client(&intake)
        .await
        .export(message(&["a", "b", "c"]))
        .await
        .expect("accepted")
        .into_inner();
    let partial = response.partial_success.expect("two spans were rejected");
    assert_eq!(
        (partial.rejected_spans, partial.error_message.as_str()),
        (2, "bad ids")
    );
    assert_eq!(sink.observed()[0].rejected_spans, 2);
}

async fn refused(refusal: Refusal) -> Status {
    let sink = Recorder::answering([Err(refusal)]);
    let intake = Intake::grpc(&sink, Limits::default()).await;
    client(&intake)
        .await
        .export(message(&["a"]))
        .await
        .expect_err("the sink refuses")
}

pub(crate) fn retry_delay(status: &Status) -> Option<Duration> {
    status.get_details_retry_info().and_then(|info| info.retry_delay)
}

#[tokio::test]
async fn a_refusal_has_retry_info_exactly_where_a_retry_helps() {
    let wait = Duration::from_millis(1500);
    let busy = refused(Refusal::Busy { retry_after: wait }).await;
    assert_eq!((busy.code(), retry_delay(&busy)), (Code::Unavailable, Some(wait)));
    let exhausted = refused(Refusal::Exhausted { retry_after: wait }).await;
    assert_eq!(
        (exhausted.code(), retry_delay(&exhausted)),
        (Code::ResourceExhausted, Some(wait))
    );
    let invalid = refused(Refusal::Invalid("no spans of this tenant".to_owned())).await;
    assert_eq!(
        (invalid.code(), retry_delay(&invalid)),
        (Code::InvalidArgument, None)
    );
    assert_eq!(invalid.message(), "no spans of this tenant");
}

#[tokio::test]
async fn an_empty_request_is_a_success_that_the_sink_never_sees() {
    let sink = Recorder::default();
    let intake = Intake::grpc(&sink, Limits::default()).await;
    let response = client(&intake)
        .await
        .export(ExportTraceServiceRequest::default())
        .await
        .expect("accepted");
    assert_eq!(response.into_inner().partial_success, None);
    assert!(sink.batches().is_empty());
}

/// Sends one gRPC frame as it is and returns status and message of the answer.
pub(crate) async fn call(intake: &Intake, encoding: Option<&str>, frame: Vec<u8>) -> Status {
    call_at(intake, EXPORT_PATH, encoding, frame).await
}

/// The same for any path.
pub(crate) async fn call_at(intake: &Intake, path: &str, encoding: Option<&str>, frame: Vec<u8>) -> Status {
    let channel = Channel::from_shared(format!("http://{}", intake.address)).expect("an address");
    let mut channel = channel.connect().await.expect("the intake listens");
    let mut request = http::Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(tonic::body::Body::new(http_body_util::Full::new(Bytes::from(
            frame,
        ))))
        .expect("a request");
    if let Some(encoding) = encoding {
        request
            .headers_mut()
            .insert("grpc-encoding", encoding.parse().expect("a header value"));
    }
    std::future::poll_fn(|cx| {
        tonic::codegen::Service::<http::Request<tonic::body::Body>>::poll_ready(&mut channel, cx)
    })
    .await
    .expect("connected");
    let response = tonic::codegen::Service::call(&mut channel, request)
        .await
        .expect("an answer");
    Status::from_header_map(response.headers()).expect("a status without a message")
}

pub(crate) fn frame(compressed: bool, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("short").to_be_bytes();
    [&[u8::from(compressed)][..], &length, message].concat()
}

#[tokio::test]
async fn a_message_that_is_not_otlp_is_an_invalid_argument_with_the_reason() {
    let sink = Recorder::default();
    let intake = Intake::grpc(&sink, Limits::default()).await;
    let status = call(&intake, None, frame(false, b"GET / HTTP/1.1")).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(
        status.message(),
        "the body is not an `ExportTraceServiceRequest`: byte 0 in `ExportTraceServiceRequest` is malformed: \
         wire type 7 does not exist, it must be 0 to 5"
    );
    let bad_request = status
        .get_details_bad_request()
        .expect("what is malformed is named");
    let violation = &bad_request.field_violations[0];
    assert_eq!(
        (violation.field.as_str(), violation.description.as_str()),
        (
            "ExportTraceServiceRequest",
            "wire type 7 does not exist, it must be 0 to 5"
        )
    );
    assert!(sink.batches().is_empty());
    assert_eq!(sink.observed()[0].outcome, Outcome::Malformed);
}

/// Checks and reads in one pass, as the collector does, and keeps the names of the spans.
#[derive(Clone, Default)]
struct OnePass(Arc<Mutex<Vec<String>>>);

#[derive(Default)]
struct Names(Vec<String>);

impl Visit<'_> for Names {
    fn span(&mut self, span: &Span<'_>, _: Range<usize>) {
        self.0.push(span.name.to_owned());
    }
}

impl TraceSink for OnePass {
    async fn export(&self, body: Bytes, batch: BatchMeta) -> Result<Accepted, Refusal> {
        self.export_unchecked(body, batch).await.answer
    }

    async fn export_unchecked(&self, body: Bytes, _: BatchMeta) -> Verdict {
        let mut names = Names::default();
        match view::read_spans(&body, &mut names) {
            Ok(spans) => {
                self.0
                    .lock()
                    .expect("no test panics while it holds the names")
                    .extend(names.0);
                Verdict {
                    spans,
                    ..Verdict::default()
                }
            }
            Err(malformed) => Verdict {
                spans: SpanCount(0),
                answer: Err(Refusal::Malformed(malformed)),
            },
        }
    }
}

#[tokio::test]
async fn a_sink_that_checks_by_itself_is_answered_for_as_if_the_intake_had() {
    let (sink, observer) = (OnePass::default(), Recorder::default());
    let listener = listen("127.0.0.1:0").await;
    let intake = Intake::grpc_to(listener, sink.clone(), &observer, Limits::default());
    client(&intake)
        .await
        .export(message(&["a", "b"]))
        .await
        .expect("accepted");
    let good = request_of(&["c"]);
    let checked = Recorder::default();
    let checking = Intake::grpc(&checked, Limits::default()).await;
    let mut statuses = Vec::new();
    for intake in [&intake, &checking] {
        // A whole span, and a second `ResourceSpans` that ends early.
        let status = call(intake, None, frame(false, &[&good[..], &[0x0a, 9]].concat())).await;
        statuses.push((
            status.code(),
            status.message().to_owned(),
            status.details().to_vec(),
        ));
    }
    assert_eq!(statuses[0].0, Code::InvalidArgument);
    assert_eq!(statuses[0], statuses[1]);
    assert_eq!(
        *sink.0.lock().expect("no test panics while it holds the names"),
        ["a", "b"]
    );
    let seen: Vec<_> = observer.observed().iter().map(|o| (o.outcome, o.spans)).collect();
    assert_eq!(seen, [(Outcome::Accepted, 2), (Outcome::Malformed, 0)]);
}

#[tokio::test]
async fn a_gzip_message_that_is_cut_off_is_an_invalid_argument() {
    let sink = Recorder::default();
    let intake = Intake::grpc(&sink, Limits::default()).await;
    let whole = gzip(&request_of(&["a"]));
    let status = call(&intake, Some("gzip"), frame(true, &whole[..whole.len() / 2])).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(sink.observed()[0].outcome, Outcome::Malformed);
}

#[tokio::test]
async fn messages_over_the_limit_are_refused_for_good_also_when_only_their_content_is() {
    let sink = Recorder::default();
    let limits = Limits {
        max_request_bytes: 4096,
        ..Limits::default()
    };
    let intake = Intake::grpc(&sink, limits).await;
    let bomb = gzip(&vec![0; 10 << 20]);
    assert!(
        bomb.len() > 4096,
        "a bomb over the limit must not be what is tested: {}",
        bomb.len()
    );
    let small_bomb = gzip(&vec![0; 1 << 20]);
    assert!(small_bomb.len() < 4096);
    for (encoding, frame) in [
        (None, frame(false, &vec![0; 5000])),
        (Some("gzip"), frame(true, &bomb)),
        (Some("gzip"), frame(true, &small_bomb)),
        // The length alone is over the limit; the bytes never come.
        (None, [&[0][..], &100_000_u32.to_be_bytes(), &[0; 10]].concat()),
    ] {
        let status = call(&intake, encoding, frame).await;
        assert_eq!(
            (status.code(), retry_delay(&status)),
            (Code::ResourceExhausted, None),
            "{status}"
        );
        assert!(status.message().contains("4096 bytes"), "{status}");
    }
    assert!(sink.batches().is_empty());
    let outcomes: Vec<_> = sink.observed().iter().map(|o| o.outcome).collect();
    assert_eq!(outcomes, [Outcome::TooLarge; 4]);
}

#[tokio::test]
async fn an_unknown_compression_is_unimplemented() {
    let sink = Recorder::default();
    let intake = Intake::grpc(&sink, Limits::default()).await;
    let status = call(&intake, Some("snappy"), frame(true, b"x")).await;
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(sink.observed()[0].outcome, Outcome::Unsupported);
}

#[tokio::test]
async fn a_full_intake_asks_to_come_back() {
    let sink = Recorder::default();
    let intake = Intake::grpc(
        &sink,
        Limits {
            max_requests: 0,
            ..Limits::default()
        },
    )
    .await;
    let status = client(&intake)
        .await
        .export(message(&["a"]))
        .await
        .expect_err("no room");
    assert_eq!(
        (status.code(), retry_delay(&status)),
        (Code::Unavailable, Some(Duration::from_secs(1)))
    );
    assert_eq!(sink.observed()[0].outcome, Outcome::Busy);
}

#[tokio::test]
async fn a_sender_that_stops_halfway_is_not_waited_for() {
    let sink = Recorder::default();
    let limits = Limits {
        read_timeout: Duration::from_millis(20),
        ..Limits::default()
    };
    let intake = Intake::grpc(&sink, limits).await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<ExportTraceServiceRequest>(1);
    let mut grpc = tonic::client::Grpc::new(
        Channel::from_shared(format!("http://{}", intake.address))
            .expect("an address")
            .connect()
            .await
            .expect("the intake listens"),
    );
    grpc.ready().await.expect("connected");
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let path = http::uri::PathAndQuery::from_static(EXPORT_PATH);
    let codec = tonic_prost::ProstCodec::<ExportTraceServiceRequest, ExportTraceServiceRequest>::default();
    let status = grpc
        .client_streaming(Request::new(stream), path, codec)
        .await
        .expect_err("nothing was sent");
    drop(sender);
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(sink.observed()[0].outcome, Outcome::Interrupted);
}

#[tokio::test]
async fn a_shutdown_frees_the_port_and_ends_idle_connections() {
    let sink = Recorder::default();
    let intake = Intake::grpc(&sink, Limits::default()).await;
    let address = intake.address;
    let mut client = client(&intake).await;
    client.export(message(&["before"])).await.expect("accepted");
    intake.stop().await;
    assert!(client.export(message(&["after"])).await.is_err());
    let _again = listen(&address.to_string()).await;
    assert_eq!(sink.names(), ["before"]);
}

#[tokio::test]
async fn noise_on_one_connection_leaves_the_others_alone() {
    let sink = Recorder::default();
    let intake = Intake::grpc(&sink, Limits::default()).await;
    let mut noise = TcpStream::connect(intake.address)
        .await
        .expect("the intake listens");
    tokio::io::AsyncWriteExt::write_all(&mut noise, b"\x00\xff nonsense\r\n\r\n")
        .await
        .expect("sent");
    let mut answer = Vec::new();
    // However it ends: the connection is closed, and the next client is served.
    let _ = noise.read_to_end(&mut answer).await;
    client(&intake)
        .await
        .export(message(&["a"]))
        .await
        .expect("accepted");
    until("the span came", || sink.names() == ["a"]).await;
    assert_eq!(span_names(&sink.batches()[0].0), ["a"]);
}
