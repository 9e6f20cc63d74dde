//! What the demo shop has not: services that call each other in a circle, a queue, and restarts of those who watch.
//!
//! Nobody is paged while Alertmanager and the collector (killed) start again. A slow service in the circle is one page, and stays
//! that one when Alertmanager starts again meanwhile; messages that lie in the queue page the consumer's team.
//! Spans are made here, of requests that took what they say without anybody waiting for it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use tonic::transport::Endpoint;

use crate::support::{Notification, Process, Webhook, free_port, get, until};
use crate::watch::{PATIENCE, Watch, settings};

const SERVICES: &str = "services:\n  ring: {team: bees}\n  mail: {team: post, entry_point: true}\n";
const MS: u64 = 1_000_000;

/// Milliseconds that are added to what things take.
#[derive(Default)]
struct Faults {
    ring: AtomicU64,
    queue: AtomicU64,
}

/// Sends forty requests a second until it is dropped.
struct Load(tokio::task::JoinHandle<()>);

impl Load {
    fn start(grpc: u16, faults: Arc<Faults>) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{grpc}")).unwrap();
        Self(tokio::spawn(async move {
            let mut client = TraceServiceClient::new(endpoint.connect_lazy());
            let mut every = tokio::time::interval(Duration::from_millis(25));
            for number in 1_u64.. {
                every.tick().await;
                // A collector that is away takes nothing, and nobody counts here.
                let _ = client.export(request(number, &faults)).await;
            }
        }))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One request through the circle `gate -> hub -> ring -> hub`, and one message from `shop` by way of `orders` to `mail`.
fn request(number: u64, faults: &Faults) -> ExportTraceServiceRequest {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let start = now - 5_000 * MS;
    let slow = faults.ring.load(Ordering::Relaxed);
    let queued = faults.queue.load(Ordering::Relaxed);
    let call = |service, kind, (id, parent), from: u64, to: u64| {
        span(
            service,
            kind,
            (number * 2, id, parent),
            (start + from * MS, start + to * MS),
        )
    };
    let message = |service, kind, (id, parent), from: u64, to: u64| {
        let mut sent = span(
            service,
            kind,
            (number * 2 + 1, id, parent),
            (start + from * MS, start + to * MS),
        );
        if kind != SpanKind::Server {
            let span = &mut sent.scope_spans[0].spans[0];
            span.attributes = [
                ("messaging.system", "kafka"),
                ("messaging.destination.name", "orders"),
            ]
            .map(|(key, value)| text(key, value))
            .to_vec();
        }
        sent
    };
    ExportTraceServiceRequest {
        resource_spans: vec![
            call("gate", SpanKind::Server, (1, 0), 0, 60 + slow),
            call("gate", SpanKind::Client, (2, 1), 5, 55 + slow),
            call("hub", SpanKind::Server, (3, 2), 6, 54 + slow),
            call("hub", SpanKind::Client, (4, 3), 10, 50 + slow),
            call("ring", SpanKind::Server, (5, 4), 11, 49 + slow),
            call("ring", SpanKind::Client, (6, 5), 20 + slow, 40 + slow),
            call("hub", SpanKind::Server, (7, 6), 21 + slow, 39 + slow),
            message("shop", SpanKind::Server, (1, 0), 0, 20),
            message("shop", SpanKind::Producer, (2, 1), 5, 10),
            message("mail", SpanKind::Consumer, (3, 2), 15 + queued, 25 + queued),
        ],
    }
}

fn span(
    service: &str,
    kind: SpanKind,
    (trace, id, parent): (u64, u64, u64),
    (start, end): (u64, u64),
) -> ResourceSpans {
    let span = Span {
        trace_id: (u128::from(trace) << 64 | 1).to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: if parent == 0 {
            Vec::new()
        } else {
            parent.to_be_bytes().to_vec()
        },
        name: "op".to_owned(),
        kind: kind.into(),
        start_time_unix_nano: start,
        end_time_unix_nano: end,
        ..Span::default()
    };
    ResourceSpans {
        resource: Some(Resource {
            attributes: vec![text("service.name", service)],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            spans: vec![span],
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

/// `tracemap up` without a shop, ready.
async fn up(dir: &Path, page: u16) -> Process {
    let path = |name: &str| dir.join(name).display().to_string();
    let args = [
        "up".to_owned(),
        "--config".to_owned(),
        path("tracemap.yaml"),
        "--out".to_owned(),
        path("out"),
        "--data-dir".to_owned(),
        path("data"),
    ];
    let mut process = Process::start("tracemap", env!("CARGO_BIN_EXE_tracemap"), &args, dir);
    let ready = format!("http://127.0.0.1:{page}/readyz");
    until("the collector", PATIENCE, async || {
        process.assert_running();
        (get(&ready).await?.0 == 200).then_some(())
    })
    .await;
    process
}

/// Waits until every part has been judged `more` times since now.
async fn judged(watch: &Watch, more: f64) {
    for id in ["ring", "hub->ring", "ring->hub", "orders->mail"] {
        let judged = format!("max(tracemap_judged_total{{id=~\"{id}(#.*)?\"}})");
        let now = watch.prometheus.value(&judged).await.unwrap_or_default();
        until(&format!("judged requests of `{id}`"), PATIENCE, async || {
            // A collector that starts again goes on from what it had saved.
            let count = watch.prometheus.value(&judged).await?;
            (count >= now + more || count < now && count >= more).then_some(())
        })
        .await;
    }
}

fn pages(webhook: &Webhook) -> Vec<Notification> {
    let all = webhook.notifications().into_iter();
    all.filter(|notification| notification.receiver == "page")
        .collect()
}

fn culprits(webhook: &Webhook) -> BTreeSet<String> {
    let culprit = |page: &Notification| page.body["commonLabels"]["culprit"].as_str().map(str::to_owned);
    pages(webhook).iter().filter_map(culprit).collect()
}

async fn paged(webhook: &Webhook, culprit: &str, status: &str) -> Notification {
    until(
        &format!("a page that is {status}, for `{culprit}`"),
        PATIENCE,
        async || {
            let is_it = |page: &Notification| {
                page.body["commonLabels"]["culprit"] == culprit && page.body["status"] == status
            };
            pages(webhook).into_iter().rev().find(is_it)
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_page_nobody_and_faults_in_a_circle_and_in_a_queue_page_their_teams_once() {
    let dir = tempfile::tempdir().unwrap();
    let webhook = Webhook::start().await;
    let ports: [u16; 3] = std::array::from_fn(|_| free_port());
    let config = settings(&webhook.url, ports, SERVICES);
    std::fs::write(dir.path().join("tracemap.yaml"), config).unwrap();
    let tracemap = up(dir.path(), ports[2]).await;
    let faults = Arc::new(Faults::default());
    let _load = Load::start(ports[0], Arc::clone(&faults));
    let out = dir.path().join("out");
    until("rules and routes that know the teams", PATIENCE, async || {
        let routes = std::fs::read_to_string(out.join("alerts/alertmanager.yaml")).ok()?;
        (routes.contains("bees") && routes.contains("post")).then_some(())
    })
    .await;
    let mut watch = Watch::start(dir.path(), &out, ports[2]).await;
    judged(&watch, 100.0).await;

    watch.restart_alertmanager().await;
    drop(tracemap); // SIGKILL
    let _tracemap = up(dir.path(), ports[2]).await;
    judged(&watch, 200.0).await;
    watch.evaluations(45.0).await;
    let fired = "count_over_time(ALERTS{alertstate=\"firing\"}[10m])";
    let fired = watch.prometheus.query(fired).await;
    assert!(fired.is_empty(), "fired while healthy: {fired:#?}");
    assert!(
        webhook.notifications().is_empty(),
        "{:#?}",
        webhook.notifications()
    );

    faults.ring.store(400, Ordering::Relaxed);
    let page = paged(&webhook, "ring", "firing").await;
    assert_eq!(page.body["commonLabels"]["team"], "bees", "{page:#?}");
    watch.restart_alertmanager().await;
    watch.evaluations(30.0).await;
    faults.ring.store(0, Ordering::Relaxed);
    let over = paged(&webhook, "ring", "resolved").await;
    assert_eq!(over.body["groupKey"], page.body["groupKey"]);
    assert_eq!(culprits(&webhook), BTreeSet::from(["ring".to_owned()]));

    faults.queue.store(2_000, Ordering::Relaxed);
    let page = paged(&webhook, "mail", "firing").await;
    assert_eq!(page.body["commonLabels"]["team"], "post", "{page:#?}");
    assert_eq!(
        culprits(&webhook),
        BTreeSet::from(["mail".to_owned(), "ring".to_owned()])
    );
}
