//! The exporter against the intake: collectors that are late, go away, refuse and come back.

use crate::support::{Intake, Recorder, listen, request_of, until};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use otlp::export::{Compression, DropReason, ExportSettings, Exporter, NotDelivered};
use otlp::intake::{Accepted, BatchMeta, Limits, Refusal, TraceSink as _, Transport};
use prost::Message as _;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

const PATIENCE: Duration = Duration::from_secs(30);

fn settings(address: SocketAddr) -> ExportSettings {
    ExportSettings {
        endpoint: format!("http://{address}"),
        max_delay: Duration::from_millis(5),
        instance: "test/1".to_owned(),
        ..ExportSettings::default()
    }
}

fn exporter(settings: ExportSettings) -> Exporter {
    Exporter::spawn(settings).expect("settings that work").0
}

/// An address where nothing listens.
async fn free_address() -> SocketAddr {
    listen("127.0.0.1:0")
        .await
        .local_addr()
        .expect("a bound listener")
}

#[tokio::test]
async fn requests_that_come_together_travel_as_one_batch() {
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let sink = Recorder::default();
        let intake = Intake::grpc(&sink, Limits::default()).await;
        let slow = Duration::from_hours(1);
        let exporter = exporter(ExportSettings {
            compression,
            max_delay: slow,
            ..settings(intake.address)
        });
        exporter.try_send(request_of(&["a", "b"]), 2).expect("room");
        exporter.try_send(request_of(&["c"]), 1).expect("room");
        exporter.flush(PATIENCE).await.expect("the collector is there");
        assert_eq!(sink.names(), ["a", "b", "c"]);
        assert_eq!(sink.batch_ids(), ["test/1/1"], "{compression:?}");
        let stats = exporter.stats();
        assert_eq!(
            (stats.sent_spans, stats.sent_requests, stats.retried_requests),
            (3, 1, 0)
        );
        assert_eq!(
            (stats.buffered_bytes, stats.buffered_spans, stats.dropped_total()),
            (0, 0, 0)
        );
    }
}

#[tokio::test]
async fn a_batch_is_sent_when_it_is_full_or_has_waited_long_enough() {
    let sink = Recorder::default();
    let intake = Intake::grpc(&sink, Limits::default()).await;
    let request = request_of(&["a"]);
    let full = exporter(ExportSettings {
        max_batch_bytes: 2 * request.len(),
        max_delay: Duration::from_hours(1),
        ..settings(intake.address)
    });
    for _ in 0..3 {
        full.try_send(request.clone(), 1).expect("room");
    }
    until("two of three are a full batch", || full.stats().sent_spans == 2).await;
    assert_eq!((full.stats().buffered_spans, sink.names().len()), (1, 2));

    let waited = exporter(settings(intake.address));
    waited.try_send(request, 1).expect("room");
    until("the delay ends", || sink.names().len() == 3).await;
}

#[tokio::test]
async fn nothing_is_lost_when_the_collector_starts_late() {
    let address = free_address().await;
    let exporter = exporter(settings(address));
    let names: Vec<String> = (0..50).map(|n| format!("span {n:02}")).collect();
    for name in &names {
        exporter.try_send(request_of(&[name]), 1).expect("room");
    }
    until("a request is tried again", || {
        exporter.stats().retried_requests > 0
    })
    .await;
    let sink = Recorder::default();
    let _intake = Intake::grpc_on(listen(&address.to_string()).await, &sink, Limits::default());
    exporter.flush(PATIENCE).await.expect("the collector is back");
    assert_eq!(sink.names(), names);
    assert_eq!(
        (exporter.stats().sent_spans, exporter.stats().dropped_total()),
        (50, 0)
    );
}

#[tokio::test]
async fn nothing_is_lost_when_the_collector_is_replaced() {
    let sink = Recorder::default();
    let first = Intake::grpc(&sink, Limits::default()).await;
    let address = first.address;
    let exporter = exporter(settings(address));
    exporter.try_send(request_of(&["before"]), 1).expect("room");
    exporter.flush(PATIENCE).await.expect("the collector is there");
    first.stop().await;
    exporter.try_send(request_of(&["between"]), 1).expect("room");
    until("a request is tried again", || {
        exporter.stats().retried_requests > 0
    })
    .await;
    let _second = Intake::grpc_on(listen(&address.to_string()).await, &sink, Limits::default());
    exporter.try_send(request_of(&["after"]), 1).expect("room");
    exporter.flush(PATIENCE).await.expect("the collector is back");
    assert_eq!(sink.names(), ["after", "before", "between"]);
}

#[tokio::test]
async fn a_batch_keeps_its_id_on_every_retry_and_no_other_batch_has_it() {
    let busy = || {
        Err(Refusal::Busy {
            retry_after: Duration::from_millis(1),
        })
    };
    let exhausted = Err(Refusal::Exhausted {
        retry_after: Duration::from_millis(1),
    });
    let sink = Recorder::answering([busy(), exhausted, busy()]);
    let intake = Intake::grpc(&sink, Limits::default()).await;
    let exporter = exporter(settings(intake.address));
    exporter.try_send(request_of(&["a"]), 1).expect("room");
    exporter.flush(PATIENCE).await.expect("the collector relents");
    exporter.try_send(request_of(&["b"]), 1).expect("room");
    exporter.flush(PATIENCE).await.expect("the collector is there");
    assert_eq!(
        sink.batch_ids(),
        ["test/1/1", "test/1/1", "test/1/1", "test/1/1", "test/1/2"]
    );
    let bodies: BTreeSet<_> = sink.batches()[..4].iter().map(|(body, _)| body.clone()).collect();
    assert_eq!(bodies.len(), 1);
    assert_eq!(
        (exporter.stats().sent_spans, exporter.stats().retried_requests),
        (2, 3)
    );
}

#[tokio::test]
async fn a_connection_that_breaks_within_a_request_is_tried_again() {
    let listener = listen("127.0.0.1:0").await;
    let address = listener.local_addr().expect("a bound listener");
    let exporter = exporter(settings(address));
    exporter.try_send(request_of(&["a"]), 1).expect("room");
    for _ in 0..2 {
        let (mut connection, _) = listener.accept().await.expect("the exporter connects");
        let mut some = [0; 64];
        let read = connection.read(&mut some).await.expect("the exporter speaks");
        assert!(read > 0);
    }
    drop(listener);
    let sink = Recorder::default();
    let _intake = Intake::grpc_on(listen(&address.to_string()).await, &sink, Limits::default());
    exporter.flush(PATIENCE).await.expect("the collector is back");
    assert_eq!(sink.names(), ["a"]);
    assert_eq!(exporter.stats().dropped_total(), 0);
}

#[tokio::test]
async fn a_batch_that_is_refused_for_good_is_dropped_and_counted_and_the_next_one_sent() {
    let sink = Recorder::answering([Err(Refusal::Invalid("not ours".to_owned()))]);
    let intake = Intake::grpc(&sink, Limits::default()).await;
    let exporter = exporter(settings(intake.address));
    exporter.try_send(request_of(&["a", "b"]), 2).expect("room");
    exporter.flush(PATIENCE).await.expect("it has its fate");
    exporter.try_send(request_of(&["c"]), 1).expect("room");
    exporter.flush(PATIENCE).await.expect("the collector is there");
    let stats = exporter.stats();
    assert_eq!(
        (
            stats.dropped(DropReason::Invalid),
            stats.dropped_total(),
            stats.sent_spans
        ),
        (2, 2, 1)
    );
    assert_eq!((stats.retried_requests, stats.buffered_bytes), (0, 0));
}

#[tokio::test]
async fn spans_that_the_collector_rejects_are_counted_and_not_sent_again() {
    let sink = Recorder::answering([Ok(Accepted {
        rejected_spans: 1,
        message: "zero id".to_owned(),
    })]);
    let intake = Intake::grpc(&sink, Limits::default()).await;
    let exporter = exporter(settings(intake.address));
    exporter.try_send(request_of(&["a", "b"]), 2).expect("room");
    exporter.flush(PATIENCE).await.expect("the collector is there");
    let stats = exporter.stats();
    assert_eq!(
        (stats.sent_spans, stats.dropped(DropReason::PartialSuccess)),
        (1, 1)
    );
    assert_eq!(sink.batches().len(), 1);
}

/// A collector as others build it: no compression is switched on.
struct PlainCollector(Recorder);

#[tonic::async_trait]
impl TraceService for PlainCollector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let batch = BatchMeta {
            batch_id: None,
            peer: None,
            transport: Transport::Grpc,
        };
        let taken = self
            .0
            .export(request.into_inner().encode_to_vec().into(), batch)
            .await;
        taken
            .map(|_| Response::new(ExportTraceServiceResponse::default()))
            .map_err(|_| Status::unavailable("by script"))
    }
}

#[tokio::test]
async fn a_collector_that_knows_no_compression_gets_plain_requests() {
    let listener = listen("127.0.0.1:0").await;
    let address = listener.local_addr().expect("a bound listener");
    let sink = Recorder::default();
    let collector = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(PlainCollector(sink.clone())))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let serving = tokio::spawn(collector);
    let exporter = exporter(settings(address));
    for name in ["a", "b"] {
        exporter.try_send(request_of(&[name]), 1).expect("room");
        exporter.flush(PATIENCE).await.expect("the collector is there");
    }
    assert_eq!(sink.names(), ["a", "b"]);
    assert_eq!(
        (exporter.stats().sent_spans, exporter.stats().dropped_total()),
        (2, 0)
    );
    serving.abort();
}

#[tokio::test]
async fn what_takes_no_traces_at_all_is_not_tried_for_ever() {
    let listener = listen("127.0.0.1:0").await;
    let address = listener.local_addr().expect("a bound listener");
    let other = LogsServiceServer::new(NoLogs);
    let serving = tonic::transport::Server::builder()
        .add_service(other)
        .serve_with_incoming(TcpListenerStream::new(listener));
    let serving = tokio::spawn(serving);
    let exporter = exporter(settings(address));
    exporter.try_send(request_of(&["a"]), 1).expect("room");
    exporter.flush(PATIENCE).await.expect("it has its fate");
    assert_eq!(exporter.stats().dropped(DropReason::Unimplemented), 1);
    serving.abort();
}

/// A server that is there for something else.
struct NoLogs;

#[tonic::async_trait]
impl LogsService for NoLogs {
    async fn export(
        &self,
        _: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        Err(Status::unavailable("nobody asks"))
    }
}

#[tokio::test]
async fn a_request_too_large_for_the_collector_is_dropped_as_exhausted() {
    let sink = Recorder::default();
    let intake = Intake::grpc(
        &sink,
        Limits {
            max_request_bytes: 64,
            ..Limits::default()
        },
    )
    .await;
    let exporter = exporter(settings(intake.address));
    exporter.try_send(request_of(&["a"]), 1).expect("room");
    exporter.flush(PATIENCE).await.expect("it has its fate");
    assert_eq!(exporter.stats().dropped(DropReason::Exhausted), 1);
}

#[tokio::test]
async fn a_full_buffer_refuses_at_once_and_counts() {
    let request = request_of(&["a"]);
    let room_for_two = 2 * request.len() + 1;
    let exporter = exporter(ExportSettings {
        max_buffer_bytes: room_for_two,
        ..settings(free_address().await)
    });
    exporter.try_send(request.clone(), 1).expect("room");
    exporter.try_send(request.clone(), 1).expect("room");
    let refused = exporter.try_send(request.clone(), 1).expect_err("no room");
    assert_eq!((refused.wanted, refused.limit), (request.len(), room_for_two));
    let stats = exporter.stats();
    assert_eq!(
        (stats.dropped(DropReason::BufferFull), stats.buffered_spans),
        (1, 2)
    );
    assert_eq!(stats.buffered_bytes, 2 * request.len() as u64);
}

#[tokio::test]
async fn a_sender_that_waits_for_room_loses_nothing() {
    let sink = Recorder::default();
    let intake = Intake::grpc(&sink, Limits::default()).await;
    let request = request_of(&["a"]);
    let exporter = exporter(ExportSettings {
        max_buffer_bytes: 2 * request.len(),
        ..settings(intake.address)
    });
    for _ in 0..20 {
        exporter.send(request.clone(), 1).await.expect("room in time");
    }
    exporter.flush(PATIENCE).await.expect("the collector is there");
    assert_eq!((sink.names().len(), exporter.stats().dropped_total()), (20, 0));
    let larger = request_of(&["a"; 9]);
    assert!(
        exporter.send(larger, 9).await.is_err(),
        "what can never fit is not waited for"
    );
    assert_eq!(exporter.stats().dropped(DropReason::BufferFull), 9);
}

#[tokio::test]
async fn a_shutdown_delivers_what_is_there_and_refuses_what_comes_later() {
    let sink = Recorder::default();
    let intake = Intake::grpc(&sink, Limits::default()).await;
    let slow = ExportSettings {
        max_delay: Duration::from_hours(1),
        ..settings(intake.address)
    };
    let (exporter, task) = Exporter::spawn(slow).expect("settings that work");
    exporter.try_send(request_of(&["a"]), 1).expect("room");
    exporter.shutdown(PATIENCE).await.expect("the collector is there");
    task.await.expect("the task ends well");
    assert_eq!(sink.names(), ["a"]);
    exporter
        .try_send(request_of(&["b"]), 1)
        .expect_err("it was shut down");
    assert!(exporter.send(request_of(&["c"]), 1).await.is_err());
    let stats = exporter.stats();
    assert_eq!(
        (
            stats.sent_spans,
            stats.dropped(DropReason::Shutdown),
            stats.buffered_spans
        ),
        (1, 2, 0)
    );
}

#[tokio::test]
async fn a_shutdown_without_a_collector_counts_every_span_as_dropped() {
    let (exporter, task) = Exporter::spawn(settings(free_address().await)).expect("settings that work");
    for _ in 0..10 {
        exporter.try_send(request_of(&["a"]), 1).expect("room");
    }
    until("a request is tried again", || {
        exporter.stats().retried_requests > 0
    })
    .await;
    let short = Duration::from_millis(1);
    assert_eq!(exporter.shutdown(short).await, Err(NotDelivered { spans: 10 }));
    task.await.expect("the task ends well");
    let stats = exporter.stats();
    assert_eq!(
        (
            stats.dropped(DropReason::Shutdown),
            stats.buffered_spans,
            stats.buffered_bytes
        ),
        (10, 0, 0)
    );
}

#[tokio::test]
async fn the_task_ends_when_every_handle_is_gone_and_leaves_nothing_behind() {
    let sink = Recorder::default();
    let intake = Intake::grpc(&sink, Limits::default()).await;
    let slow = ExportSettings {
        max_delay: Duration::from_hours(1),
        ..settings(intake.address)
    };
    let (exporter, task) = Exporter::spawn(slow).expect("settings that work");
    exporter.try_send(request_of(&["a"]), 1).expect("room");
    drop(exporter);
    task.await.expect("the task ends well");
    assert_eq!(sink.names(), ["a"]);
}
