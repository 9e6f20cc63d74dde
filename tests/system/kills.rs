//! A collector that is killed or runs out of room loses nothing that it acknowledged, and counts nothing twice.

#[path = "../../xtask/src/kills/harness.rs"]
pub(crate) mod harness;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use harness::{Outcome, Plan};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use tonic::Code;

use crate::support::{Collector, until};

#[test]
fn what_a_killed_collector_acknowledged_is_counted_once_and_stored() {
    let plan = Plan {
        tracemap: env!("CARGO_BIN_EXE_tracemap").into(),
        seed: 20,
        rounds: 8,
        snapshot_every: 0,
        traces_per_second: 200,
        wait: Duration::from_secs(6),
    };
    let outcome = harness::run(&plan).unwrap();
    let Outcome {
        kills,
        traces,
        sent,
        verdict,
        ..
    } = &outcome;
    assert!(verdict.differences.is_empty(), "{:#?}", verdict.differences);
    assert_eq!(*kills, 8);
    assert!(
        *traces > 500 && verdict.read_back == *traces,
        "{:#?}",
        outcome.figures()
    );
    assert!(sent.retried > 0 && sent.repeated > 0, "{sent:?}");
    assert!(
        verdict.duplicates > 0,
        "repeats are recognised as such: {:#?}",
        outcome.figures()
    );
}

/// `collector.journal.max_size`; no less is allowed.
const JOURNAL: usize = 256 << 20;
const PATIENCE: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_full_journal_pushes_back_loses_nothing_and_goes_on_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let settings = format!(
        "  data_dir: '{}'\n  pairing: {{ wait: 500ms, keep: 20s }}\n  journal: {{ max_size: 256MiB }}\n",
        dir.path().join("data").display()
    );
    let mut collector = Collector::start(dir.path(), &settings).await;
    let mut client = collector.client().await;

    let (mut taken, mut refused) = (0, Vec::new());
    // Each size until it is refused: in the end there is no room for the smallest record either.
    for blob in [4 << 20, 256 << 10, 16 << 10, 1 << 10, 0] {
        while taken * 64 < JOURNAL {
            match client.export(request(taken, blob)).await {
                Ok(_) => taken += 1,
                Err(status) => {
                    refused.push(status);
                    break;
                }
            }
        }
    }
    assert_eq!(refused.len(), 5, "every size was refused: {refused:?}");
    for status in &refused {
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        let details = String::from_utf8_lossy(status.details());
        assert!(details.contains("google.rpc.RetryInfo"), "{status}");
    }

    until("room in the journal", PATIENCE, async || {
        collector.process.assert_running();
        client.export(request(taken, 256 << 10)).await.ok()
    })
    .await;
    taken += 1;
    let counted = format!(
        "traces_service_graph_request_total{{client=\"user\",server=\"wide\",connection_type=\"virtual_node\"}} {taken}"
    );
    until("every acknowledged request on its edge", PATIENCE, async || {
        let page = collector.get("/metrics").await?;
        page.lines().any(|line| line == counted).then_some(())
    })
    .await;
}

/// One root SERVER span of the service `wide` with an attribute of `blob` bytes; the trace is new for each `number`.
pub(crate) fn request(number: usize, blob: usize) -> ExportTraceServiceRequest {
    let text = |key: &str, value: String| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value)),
        }),
        ..KeyValue::default()
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let span = Span {
        trace_id: (number as u128 + 1).to_be_bytes().into(),
        span_id: (number as u64 + 1).to_be_bytes().into(),
        name: "POST /blob".to_owned(),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: now,
        end_time_unix_nano: now + 1_000_000,
        attributes: vec![text("blob", "x".repeat(blob))],
        ..Span::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![text("service.name", "wide".to_owned())],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                spans: vec![span],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}
