//! Who calls whom, as the agent says it: the edge hint on its way, and the counts that the collector gets.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::BodyExt as _;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, ExponentialHistogramDataPoint};
use otlp::intake::{AcceptedMetrics, BatchMeta, Limits, MetricsSink, Refusal, Sinks};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::http2::{Frames, call, echo, grpc};
use crate::support::*;

/// A collector that remembers reports of edge counts by their batch ids, as ours does.
#[derive(Clone)]
pub(crate) struct Counting {
    spans: Collector,
    reports: Arc<watch::Sender<Reports>>,
}

#[derive(Debug, Default)]
struct Reports {
    taken: BTreeMap<String, ExportMetricsServiceRequest>,
    /// How many more are kept, and then answered as if they had not been.
    unanswered: usize,
    repeats: usize,
}

impl MetricsSink for Counting {
    async fn export_metrics(
        &self,
        request: ExportMetricsServiceRequest,
        batch: BatchMeta,
    ) -> Result<AcceptedMetrics, Refusal> {
        let id = batch.batch_id.expect("the agent names its batches");
        let mut answered = true;
        self.reports.send_modify(|reports| {
            match reports.taken.get(&id) {
                Some(known) => {
                    assert_eq!(*known, request, "batch `{id}` came again with other counts");
                    reports.repeats += 1;
                }
                None => drop(reports.taken.insert(id, request)),
            }
            answered = reports.unanswered == 0;
            reports.unanswered = reports.unanswered.saturating_sub(1);
        });
        let retry_after = std::time::Duration::from_millis(1);
        if answered {
            Ok(AcceptedMetrics::default())
        } else {
            Err(Refusal::Busy { retry_after })
        }
    }
}

/// Requests by `client -> server`, succeeded and failed.
type Told = BTreeMap<String, (u64, u64)>;

impl Counting {
    pub(crate) async fn start() -> Self {
        let counting = Self::not_yet().await;
        counting.serve().await;
        counting
    }

    /// Where nobody listens before [`Counting::serve`].
    async fn not_yet() -> Self {
        let mut spans = Collector::start().await;
        spans.address = nobody().await;
        Self {
            spans,
            reports: Arc::new(watch::channel(Reports::default()).0),
        }
    }

    async fn serve(&self) -> JoinHandle<()> {
        let listener = TcpListener::bind(self.spans.address).await.expect("a listener");
        let sinks = Sinks::new(self.spans.clone()).with_metrics(self.clone());
        tokio::spawn(async move {
            let never = std::future::pending();
            let served = otlp::intake::serve_grpc(listener, sinks, Limits::default(), Arc::new(()), never);
            served.await;
        })
    }

    pub(crate) fn endpoint(&self) -> String {
        self.spans.endpoint()
    }

    pub(crate) fn spans(&self) -> &Collector {
        &self.spans
    }

    fn told(&self) -> Told {
        told(&self.reports.borrow())
    }

    /// Waits until this has been told, each report counted once.
    pub(crate) async fn until(&self, expected: &[(&str, (u64, u64))]) {
        let expected: Told = expected
            .iter()
            .map(|(edge, n)| ((*edge).to_owned(), *n))
            .collect();
        let mut watched = self.reports.subscribe();
        let reached = watched.wait_for(|reports| told(reports) == expected);
        let reached = tokio::time::timeout(PATIENCE, reached).await.map(drop);
        assert!(reached.is_ok(), "expected {expected:?}, got {:?}", self.told());
    }
}

fn points(reports: &Reports) -> impl Iterator<Item = &ExponentialHistogramDataPoint> {
    let resources = reports
        .taken
        .values()
        .flat_map(|request| &request.resource_metrics);
    let metrics = resources
        .flat_map(|resource| &resource.scope_metrics)
        .flat_map(|scope| &scope.metrics);
    metrics.flat_map(|metric| {
        assert_eq!(
            (metric.name.as_str(), metric.unit.as_str()),
            ("tracemap.edge.client.duration", "s")
        );
        let Some(Data::ExponentialHistogram(histogram)) = &metric.data else {
            panic!("no exponential histogram: {metric:?}");
        };
        assert_eq!(histogram.aggregation_temporality(), AggregationTemporality::Delta);
        &histogram.data_points
    })
}

fn told(reports: &Reports) -> Told {
    let mut told = Told::new();
    for point in points(reports) {
        let of = attributes(&point.attributes);
        let server = match of.get("tracemap.server") {
            Some(named) => named.clone(),
            None => format!("{}:{}", of["server.address"], of["server.port"]),
        };
        let sum = point.sum.expect("a sum");
        assert!(sum > 0.0 && sum < PATIENCE.as_secs_f64(), "{point:?}");
        let buckets = point.positive.as_ref().expect("buckets");
        let filled: u64 = buckets.bucket_counts.iter().sum();
        assert_eq!(filled + point.zero_count, point.count);
        assert!(point.start_time_unix_nano > 0 && point.start_time_unix_nano <= point.time_unix_nano);
        let edge = told
            .entry(format!("{} -> {server}", of["tracemap.client"]))
            .or_default();
        if of["tracemap.failed"] == "true" {
            edge.1 += point.count;
        } else {
            edge.0 += point.count;
        }
    }
    told
}

/// `shop/cart`, with these keys more.
pub(crate) async fn cart(upstream: SocketAddr, endpoint: &str, more: &str) -> agent::Running {
    start(&format!(
        "{{ service: cart, namespace: shop, admin: {{ listen: '127.0.0.1:0' }},
           export: {{ endpoint: '{endpoint}', delay: 0s }},
           inbound: [{{ listen: '127.0.0.1:0', upstream: 'http://{upstream}' }}],
           outbound: {{ listen: '127.0.0.1:0' }}, {more} }}"
    ))
    .await
}

const OFTEN: &str = "edges: { interval: 100ms }";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn hint<'a>(message: &'a str, key: &str) -> Option<&'a str> {
    let mut members = header(message, "tracestate")?.split(',');
    let value = members.find_map(|member| member.strip_prefix("tm="))?;
    value
        .split(';')
        .find_map(|part| part.strip_prefix(key)?.strip_prefix(':'))
}

#[tokio::test]
async fn a_call_names_its_caller_and_its_span_says_that_it_is_counted() {
    let counting = Counting::start().await;
    let agent = cart(nobody().await, &counting.endpoint(), OFTEN).await;
    let target = mirror().await;
    let answer = ask(
        agent.outbound_addrs[0],
        &format!(
            "GET http://{target}/ HTTP/1.1
             traceparent: 00-{TRACE}-{CALLER}-01
             tracestate: vendor=1,tm=c:web;k:h;t:1;n:1;d:shop/cart"
        ),
    )
    .await;
    assert_eq!(hint(&answer, "c"), Some("shop/cart"), "{answer}");
    assert_eq!((hint(&answer, "k"), hint(&answer, "n")), (Some("h"), Some("1")));
    assert_eq!((hint(&answer, "q"), hint(&answer, "d")), (None, None));
    assert!(answer.contains("vendor=1"), "{answer}");
    assert_eq!(
        answer.matches("tm=").count(),
        1,
        "the caller's caller is gone: {answer}"
    );
    let span = counting.spans().client_span().await;
    assert_eq!(
        header(&answer, "tracestate"),
        Some(span.span.trace_state.as_str())
    );
    counting
        .until(&[(&format!("shop/cart -> {target}"), (1, 0))])
        .await;
}

#[tokio::test]
async fn a_call_of_an_unsampled_trace_says_who_calls_below_a_parent_that_is_known_to_be_quiet() {
    let counting = Counting::start().await;
    let agent = cart(nobody().await, &counting.endpoint(), OFTEN).await;
    let target = mirror().await;
    let head = format!("GET http://{target}/ HTTP/1.1\ntraceparent: 00-{TRACE}-{CALLER}-00");
    let answer = ask(agent.outbound_addrs[0], &head).await;
    assert_eq!(
        (hint(&answer, "c"), hint(&answer, "q")),
        (Some("shop/cart"), Some("1")),
        "{answer}"
    );
    let parent = header(&answer, "traceparent").expect("a context");
    assert!(
        parent.starts_with(&format!("00-{TRACE}-")) && parent.ends_with("-00"),
        "{parent}"
    );
    assert!(
        !parent.contains(CALLER),
        "tracestate changed, so the parent must: {parent}"
    );
    counting
        .until(&[(&format!("shop/cart -> {target}"), (1, 0))])
        .await;
    agent.stop().await;
    assert!(counting.spans().all().is_empty());
}

#[tokio::test]
async fn without_counts_an_unsampled_call_passes_as_it_came_and_no_hint_claims_a_count() {
    let counting = Counting::start().await;
    let agent = cart(nobody().await, &counting.endpoint(), "edges: { counts: false }").await;
    let target = mirror().await;
    let traceparent = format!("00-{TRACE}-{CALLER}-00");
    let head = format!("GET http://{target}/ HTTP/1.1\ntraceparent: {traceparent}\ntracestate: a=1");
    let answer = ask(agent.outbound_addrs[0], &head).await;
    assert_eq!(header(&answer, "traceparent"), Some(traceparent.as_str()));
    assert_eq!(header(&answer, "tracestate"), Some("a=1"));
    let answer = ask(agent.outbound_addrs[0], &format!("GET http://{target}/ HTTP/1.1")).await;
    assert_eq!(
        (hint(&answer, "c"), hint(&answer, "n")),
        (Some("shop/cart"), None)
    );
    agent.stop().await;
    assert_eq!(counting.told(), Told::new());
}

#[tokio::test]
async fn the_server_span_keeps_the_hint_as_it_came_and_the_service_is_told_for_whom_it_was() {
    let counting = Counting::start().await;
    let agent = cart(mirror().await, &counting.endpoint(), OFTEN).await;
    let head = format!(
        "GET / HTTP/1.1
         host: cart
         traceparent: 00-{TRACE}-{CALLER}-01
         tracestate: tm=c:shop/web;k:h;t:5;n:1,vendor=1"
    );
    let answer = ask(agent.inbound_addrs[0], &head).await;
    assert_eq!(
        header(&answer, "tracestate"),
        Some("tm=c:shop/web;k:h;t:5;n:1;d:shop/cart,vendor=1")
    );
    let span = counting.spans().server_span().await;
    assert_eq!(span.span.trace_state, "tm=c:shop/web;k:h;t:5;n:1,vendor=1");
}

#[tokio::test]
async fn a_hint_that_was_meant_for_another_service_names_no_caller_here() {
    let counting = Counting::start().await;
    let agent = cart(mirror().await, &counting.endpoint(), OFTEN).await;
    let head = format!(
        "GET / HTTP/1.1
         host: cart
         traceparent: 00-{TRACE}-{CALLER}-01
         tracestate: tm=c:shop/web;k:h;t:5;n:1;d:shop/front"
    );
    let answer = ask(agent.inbound_addrs[0], &head).await;
    assert_eq!(
        header(&answer, "tracestate"),
        Some("tm=c:shop/web;k:h;t:5;n:1;d:shop/front")
    );
    until_metric(
        &agent,
        "tracemap_agent_edge_context_total{direction=\"inbound\",format=\"tracecontext\",peer=\"unknown\",result=\"carried\"}",
        1.0,
    )
    .await;
}

#[tokio::test]
async fn every_call_is_counted_once_with_its_outcome_whatever_its_trace() {
    let counting = Counting::start().await;
    let failing = service(axum::Router::new().route(
        "/missing",
        axum::routing::get(|| async { axum::http::StatusCode::NOT_FOUND }),
    ))
    .await;
    let agent = cart(nobody().await, &counting.endpoint(), OFTEN).await;
    let (fine, gone) = (mirror().await, nobody().await);
    for flags in ["00", "01"] {
        for uri in [
            format!("http://{fine}/"),
            format!("http://{failing}/missing"),
            format!("http://{gone}/"),
        ] {
            let head = format!("GET {uri} HTTP/1.1\ntraceparent: 00-{TRACE}-{CALLER}-{flags}");
            ask(agent.outbound_addrs[0], &head).await;
        }
    }
    let edges = [
        (format!("shop/cart -> {fine}"), (2, 0)),
        (format!("shop/cart -> {failing}"), (0, 2)),
        (format!("shop/cart -> {gone}"), (0, 2)),
    ];
    let edges: Vec<_> = edges.iter().map(|(edge, n)| (edge.as_str(), *n)).collect();
    counting.until(&edges).await;
    until_metric(
        &agent,
        "tracemap_agent_edge_requests_total{outcome=\"counted\"}",
        6.0,
    )
    .await;
}

#[tokio::test]
async fn a_grpc_call_fails_by_its_status_although_http_says_200() {
    let counting = Counting::start().await;
    let agent = cart(nobody().await, &counting.endpoint(), OFTEN).await;
    let mut edges = Vec::new();
    for (status, told) in [("0", (1, 0)), ("5", (0, 1))] {
        let target = echo(status).await;
        let request = grpc(&format!("http://{target}/shop.Stock/Get"));
        let request = request.body(Frames(VecDeque::new())).expect("a request");
        let response = call(agent.outbound_addrs[0], request).await;
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.expect("a body");
        edges.push((format!("shop/cart -> {target}"), told));
    }
    let edges: Vec<_> = edges.iter().map(|(edge, n)| (edge.as_str(), *n)).collect();
    counting.until(&edges).await;
}

#[tokio::test]
async fn counts_on_disk_outlive_an_agent_that_stops_while_the_collector_is_away() {
    let counting = Counting::not_yet().await;
    let (buffer, target) = (tempfile::tempdir().expect("a directory"), mirror().await);
    let yaml = format!(
        "{{ service: cart, namespace: shop, admin: {{ listen: '127.0.0.1:0' }}, {OFTEN},
           export: {{ endpoint: '{}', delay: 0s, drain: 0s, buffer: {{ path: '{}' }} }},
           outbound: {{ listen: '127.0.0.1:0' }} }}",
        counting.endpoint(),
        buffer.path().display()
    );
    for _ in 0..2 {
        let agent = start(&yaml).await;
        ask(agent.outbound_addrs[0], &format!("GET http://{target}/ HTTP/1.1")).await;
        agent.stop().await;
    }
    let _agent = start(&yaml).await;
    counting.serve().await;
    counting
        .until(&[(&format!("shop/cart -> {target}"), (2, 0))])
        .await;
}

#[tokio::test]
async fn a_report_whose_answer_was_lost_comes_again_as_it_was_and_counts_once() {
    let counting = Counting::start().await;
    counting.reports.send_modify(|reports| reports.unanswered = 2);
    let agent = cart(nobody().await, &counting.endpoint(), OFTEN).await;
    let target = mirror().await;
    let edge = format!("shop/cart -> {target}");
    for n in 1..=3 {
        ask(agent.outbound_addrs[0], &format!("GET http://{target}/ HTTP/1.1")).await;
        counting.until(&[(&edge, (n, 0))]).await;
    }
    until_metric(
        &agent,
        "tracemap_agent_edge_reports_total{outcome=\"dropped\"}",
        0.0,
    )
    .await;
    let reports = counting.reports.borrow();
    assert_eq!(reports.repeats, 2);
}

#[tokio::test]
async fn what_was_counted_while_the_collector_was_away_arrives_when_it_is_back() {
    let counting = Counting::not_yet().await;
    let agent = cart(nobody().await, &counting.endpoint(), OFTEN).await;
    let target = mirror().await;
    for _ in 0..5 {
        ask(agent.outbound_addrs[0], &format!("GET http://{target}/ HTTP/1.1")).await;
    }
    assert_eq!(counting.told(), Told::new());
    counting.serve().await;
    counting
        .until(&[(&format!("shop/cart -> {target}"), (5, 0))])
        .await;
}

#[tokio::test]
async fn an_agent_that_stops_hands_over_its_last_counts() {
    let counting = Counting::start().await;
    let agent = cart(nobody().await, &counting.endpoint(), "edges: { interval: 1h }").await;
    let target = mirror().await;
    // The first tick of an interval is at once; what comes after it waits for the end.
    for _ in 0..3 {
        ask(agent.outbound_addrs[0], &format!("GET http://{target}/ HTTP/1.1")).await;
    }
    agent.stop().await;
    assert_eq!(
        counting.told(),
        Told::from([(format!("shop/cart -> {target}"), (3, 0))])
    );
}

#[tokio::test]
async fn peers_beyond_the_bound_share_one_far_side_and_no_request_is_lost() {
    let counting = Counting::start().await;
    let agent = cart(
        nobody().await,
        &counting.endpoint(),
        "edges: { interval: 1h, max_peers: 1 }",
    )
    .await;
    let target = mirror().await;
    ask(agent.outbound_addrs[0], &format!("GET http://{target}/ HTTP/1.1")).await;
    for _ in 0..3 {
        let other = nobody().await;
        ask(agent.outbound_addrs[0], &format!("GET http://{other}/ HTTP/1.1")).await;
    }
    until_metric(
        &agent,
        "tracemap_agent_edge_requests_total{outcome=\"overflow\"}",
        3.0,
    )
    .await;
    agent.stop().await;
    let told: u64 = counting.told().values().map(|(fine, failed)| fine + failed).sum();
    assert_eq!(told, 4);
    assert_eq!(counting.told()["shop/cart -> __overflow__"], (0, 3));
}
