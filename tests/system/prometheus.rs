//! A running collector and a real Prometheus, which both scrapes it and is written to.
//!
//! Debian's Prometheus 2.42 sets two limits. It asks for protobuf, and so gets native histograms, with a feature flag,
//! and then keeps no classic buckets of a scrape: those it has by remote write here. And it receives remote write 1.0
//! only: it takes a request of 2.0 for an empty one and confirms nothing, so what runs here is the way from 2.0 to 1.0.
//! Requests of 2.0 are read back by a decoder in the tests of `exposition`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use map::catalogue as names;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use promql_parser::parser::{self, Expr};
use serde_json::Value;

use crate::replay::{RECORDED, tracemap};
use crate::support::{Collector, Process, Prometheus, free_port, get, until};

/// Longest wait for any one state: shorter than the five minutes after which Prometheus forgets a series anyway.
const PATIENCE: Duration = Duration::from_mins(2);
/// What everything but figures about the collector itself is called.
const FROM_SPANS: &str = "__name__=~\"(traces|tracemap)_.+\",__name__!~\"tracemap_collector_.+\"";

struct System {
    collector: Collector,
    /// Its series are there twice: of the job `scraped`, and of the job `written`.
    prometheus: Prometheus,
    peer: Process,
}

impl System {
    async fn start(dir: &Path) -> Self {
        let url = format!("http://127.0.0.1:{}", free_port());
        let settings = format!(
            "  pairing: {{ wait: 500ms }}\n  remote_write: {{ url: '{url}/api/v1/write', interval: 1s, \
             histograms: both, external_labels: {{ job: written }} }}\n"
        );
        let collector = Collector::start(dir, &settings).await;
        let config = dir.join("prometheus.yml");
        let text = format!(
            "global: {{ scrape_interval: 1s }}\nscrape_configs: [{{ job_name: scraped, \
             static_configs: [{{ targets: ['127.0.0.1:{}'] }}] }}]\n",
            collector.web
        );
        std::fs::write(&config, text).unwrap();
        let args = [
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", dir.join("tsdb").display()),
            format!("--web.listen-address={}", url.trim_start_matches("http://")),
            "--web.enable-remote-write-receiver".to_owned(),
            "--enable-feature=native-histograms".to_owned(),
        ];
        let mut peer = Process::start("prometheus", "prometheus", &args, dir);
        until("Prometheus", PATIENCE, async || {
            peer.assert_running();
            (get(&format!("{url}/-/ready")).await?.0 == 200).then_some(())
        })
        .await;
        Self {
            collector,
            prometheus: Prometheus { url },
            peer,
        }
    }

    async fn send(&self, spans: Vec<(&str, Span)>) {
        let request = ExportTraceServiceRequest {
            resource_spans: spans.into_iter().map(of_service).collect(),
        };
        let mut client = self.collector.client().await;
        let answer = client.export(request).await.unwrap().into_inner();
        assert!(answer.partial_success.is_none(), "{answer:?}");
    }

    /// Waits until a query that gives one sample gives this.
    async fn becomes(&self, expr: &str, expected: f64) {
        until(&format!("{expected} from `{expr}`"), PATIENCE, async || {
            let value = self.prometheus.value(expr).await?;
            ((value - expected).abs() < 1e-9).then_some(())
        })
        .await;
    }

    /// Waits until a query gives nothing.
    async fn ends(&self, expr: &str) {
        until(&format!("the end of `{expr}`"), PATIENCE, async || {
            self.prometheus.query(expr).await.is_empty().then_some(())
        })
        .await;
    }

    /// A quantile; waits until there is one.
    async fn quantile(&self, quantile: f64, histogram: &str) -> f64 {
        let expr = format!("histogram_quantile({quantile}, {histogram})");
        until(&expr, PATIENCE, async || self.prometheus.value(&expr).await).await
    }
}

/// Labels, the name among them, without those that are empty: for Prometheus they are not there.
type Labels = BTreeMap<String, String>;

/// Every series at `/metrics` that comes from spans.
fn told(text: &str) -> BTreeMap<Labels, f64> {
    let lines = text.lines().filter(|line| {
        let ours = line.starts_with("traces_") || line.starts_with("tracemap_");
        ours && !line.starts_with("tracemap_collector_")
    });
    let series = lines.map(|line| {
        let (selector, value) = line.rsplit_once(' ').unwrap();
        let Ok(Expr::VectorSelector(selector)) = parser::parse(selector) else {
            panic!("no series: {line}");
        };
        let matchers = selector.matchers.matchers.into_iter();
        let labels = matchers
            .filter(|m| !m.value.is_empty())
            .map(|m| (m.name, m.value));
        let name = selector.name.map(|name| ("__name__".to_owned(), name));
        (labels.chain(name).collect(), value.parse().unwrap())
    });
    series.collect()
}

/// The same of what Prometheus answered, native histograms left out and without the job.
fn answered(result: &[Value]) -> BTreeMap<Labels, f64> {
    let series = result.iter().filter_map(|series| {
        let value = series["value"][1].as_str()?.parse().ok()?;
        let labels = series["metric"].as_object()?.iter();
        let labels = labels.filter(|(name, _)| *name != "job");
        let labels =
            labels.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
        Some((labels.collect(), value))
    });
    series.collect()
}

/// How two sets of series differ; a few of each kind.
fn difference(left: &BTreeMap<Labels, f64>, right: &BTreeMap<Labels, f64>) -> Vec<String> {
    let differs = |(labels, value): &(&Labels, &f64)| {
        right
            .get(*labels)
            .is_none_or(|other| other.to_bits() != value.to_bits())
    };
    let told = left.iter().filter(differs).take(3);
    let more = right
        .iter()
        .filter(|(labels, _)| !left.contains_key(*labels))
        .take(3);
    told.chain(more).map(|series| format!("{series:?}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_to_prometheus_is_what_metrics_and_the_map_say() {
    let dir = tempfile::tempdir().unwrap();
    let mut system = System::start(dir.path()).await;
    let to = format!("http://127.0.0.1:{}", system.collector.grpc);
    let offline = tracemap(&["map", RECORDED, "--format", "csv"]);
    tracemap(&["replay", RECORDED, "--to", &to]);
    until("the replayed map", PATIENCE, async || {
        let live = system.collector.get("/api/v1/map?format=csv").await?;
        (live == offline).then_some(())
    })
    .await;

    let series = until("the series of /metrics in Prometheus", PATIENCE, async || {
        let told = told(&system.collector.get("/metrics").await?);
        let result = system
            .prometheus
            .query(&format!("{{job=\"written\",{FROM_SPANS}}}"))
            .await;
        let taken = answered(&result);
        let differs = difference(&told, &taken);
        eprintln!("series that differ: {differs:?}");
        differs.is_empty().then_some(taken)
    })
    .await;
    assert!(series.len() > 1_000, "{} series", series.len());

    let map = system.collector.get("/api/v1/map").await.unwrap();
    let map: Value = serde_json::from_str(&map).unwrap();
    let edges = map["edges"].as_array().unwrap().iter();
    let edges: BTreeSet<&str> = edges.map(|edge| edge["id"].as_str().unwrap()).collect();
    let written = series
        .keys()
        .filter(|labels| labels["__name__"] == names::EDGE_INFO);
    let written: BTreeSet<&str> = written.map(|labels| labels["id"].as_str()).collect();
    assert_eq!(written, edges);

    for job in ["scraped", "written"] {
        nothing_was_lost_on_the_way(&system, job, series.len()).await;
    }
    system.collector.process.assert_running();
    system.peer.assert_running();
}

/// What remote write says of itself.
async fn nothing_was_lost_on_the_way(system: &System, job: &str, series: usize) {
    let own = |name: &str, labels: &str| format!("{name}{{job=\"{job}\"{labels}}}");
    let sent = own(names::COLLECTOR_REMOTE_WRITE_SENT, "");
    system.becomes(&format!("{sent} > bool {series}"), 1.0).await;
    let taken = own(names::COLLECTOR_REMOTE_WRITE_REQUESTS, ",outcome=\"taken\"");
    system.becomes(&format!("{taken} > bool 0"), 1.0).await;
    let newest = own(names::COLLECTOR_REMOTE_WRITE_NEWEST, "");
    let in_seconds = format!("({newest} > 1600000000) <= bool timestamp({newest})");
    system.becomes(&in_seconds, 1.0).await;
    let dropped = own(names::COLLECTOR_REMOTE_WRITE_DROPPED, "");
    system.becomes(&format!("sum({dropped})"), 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_disappears_ends_in_prometheus_at_once_and_not_by_age() {
    let dir = tempfile::tempdir().unwrap();
    let system = System::start(dir.path()).await;
    let address = [
        ("server.address", Any::StringValue("10.0.0.7".to_owned())),
        ("server.port", Any::IntValue(8080)),
    ];
    let requests = |job: &str, server: &str| {
        format!(
            "{}{{job=\"{job}\",client=\"web\",server=\"{server}\"}}",
            names::EDGE_REQUESTS
        )
    };
    let jobs = ["scraped", "written"];

    let call = |trace| {
        vec![
            ("web", span(SpanKind::Server, trace, 1, 0, 0..100, &[])),
            ("web", span(SpanKind::Client, trace, 2, 1, 10..90, &address)),
        ]
    };
    system.send(call(1)).await;
    for job in jobs {
        system.becomes(&requests(job, "10.0.0.7:8080"), 1.0).await;
    }
    // Somebody answers at the address: the edge to it is called otherwise from now on.
    system
        .send(vec![("cart", span(SpanKind::Server, 2, 3, 0, 0..10, &address))])
        .await;
    for job in jobs {
        let gone = format!("job=\"{job}\",server=\"10.0.0.7:8080\"");
        system.ends(&format!("{{{FROM_SPANS},{gone}}}")).await;
        let before = format!("last_over_time({}[10m])", requests(job, "10.0.0.7:8080"));
        system.becomes(&before, 1.0).await;
    }
    for job in jobs {
        system.becomes(&requests(job, "cart"), 0.0).await;
    }
    system.send(call(3)).await;
    for job in jobs {
        system.becomes(&requests(job, "cart"), 1.0).await;
    }
    let stale = format!(
        "{}{{job=\"written\"}} > bool 0",
        names::COLLECTOR_REMOTE_WRITE_STALE
    );
    system.becomes(&stale, 1.0).await;
}

/// Requests that `cart` serves for `web` here: one of 1 ms, one of 2 ms, and so on.
const REQUESTS: u32 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn native_histograms_answer_and_agree_with_the_classic_buckets_and_the_map() {
    let dir = tempfile::tempdir().unwrap();
    let system = System::start(dir.path()).await;
    let traces = (1..=REQUESTS).flat_map(|ms| {
        let (trace, ms) = (u128::from(ms), u64::from(ms));
        [
            ("web", span(SpanKind::Server, trace, 1, 0, 0..ms + 20, &[])),
            ("web", span(SpanKind::Client, trace, 2, 1, 5..ms + 15, &[])),
            ("cart", span(SpanKind::Server, trace, 3, 2, 10..ms + 10, &[])),
        ]
    });
    system.send(traces.collect()).await;

    let sum = f64::from(REQUESTS * (REQUESTS + 1) / 2) / 1000.0;
    let own = names::OWN_SECONDS;
    for job in ["scraped", "written"] {
        let cart = format!("{own}{{job=\"{job}\",id=\"cart\"}}");
        system
            .becomes(&format!("histogram_count({cart})"), f64::from(REQUESTS))
            .await;
        system.becomes(&format!("histogram_sum({cart})"), sum).await;
    }
    for quantile in [0.5, 0.9, 0.99] {
        let truth = quantile * f64::from(REQUESTS) / 1000.0;
        for job in ["scraped", "written"] {
            let native = system
                .quantile(quantile, &format!("{own}{{job=\"{job}\",id=\"cart\"}}"))
                .await;
            assert!(
                (native / truth - 1.0).abs() < 0.05,
                "{job}: {native} instead of {truth}"
            );
        }
        let classic = system
            .quantile(quantile, &format!("{own}_bucket{{id=\"cart\"}}"))
            .await;
        let bucket = |seconds: f64| names::LATENCY_BUCKETS.partition_point(|&bound| bound < seconds);
        assert_eq!(bucket(classic), bucket(truth), "{classic} instead of {truth}");
    }
    let histograms = [
        own,
        names::TOTAL_SECONDS,
        names::EDGE_SERVER_SECONDS,
        names::EDGE_CLIENT_SECONDS,
        names::SPAN_LATENCY,
    ];
    for name in histograms {
        let classic = format!("{name}_count{{job=\"written\"}}");
        let expected = system.prometheus.query(&classic).await.len();
        assert!(expected > 1, "`{classic}` gives {expected} series");
        for job in ["scraped", "written"] {
            let alike =
                format!("histogram_count({name}{{job=\"{job}\"}}) == ignoring(job,instance) {classic}");
            system.becomes(&format!("count({alike})"), expected as f64).await;
        }
    }

    let map = system.collector.get("/api/v1/map").await.unwrap();
    let map: Value = serde_json::from_str(&map).unwrap();
    for edge in map["edges"].as_array().unwrap() {
        let id = edge["id"].as_str().unwrap();
        let requests = format!("{}{{job=\"written\",id=\"{id}\"}}", names::REQUESTS);
        assert_eq!(edge["requests"].as_f64(), Some(f64::from(REQUESTS)), "{edge}");
        system.becomes(&requests, f64::from(REQUESTS)).await;
    }
    assert_eq!(
        map["edges"].as_array().map(Vec::len),
        Some(2),
        "user -> web -> cart"
    );
}

/// A span that ended well; its times are in milliseconds of the present minute.
fn span(
    kind: SpanKind,
    trace: u128,
    id: u64,
    parent: u64,
    ms: std::ops::Range<u64>,
    attributes: &[(&str, Any)],
) -> Span {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let at = |ms: u64| now * 1_000_000_000 + ms * 1_000_000;
    Span {
        trace_id: trace.to_be_bytes().into(),
        span_id: id.to_be_bytes().into(),
        parent_span_id: if parent == 0 {
            Vec::new()
        } else {
            parent.to_be_bytes().into()
        },
        name: "GET /".to_owned(),
        kind: kind.into(),
        start_time_unix_nano: at(ms.start),
        end_time_unix_nano: at(ms.end),
        attributes: attributes
            .iter()
            .map(|(key, value)| attribute(key, value.clone()))
            .collect(),
        ..Span::default()
    }
}

fn of_service((service, span): (&str, Span)) -> ResourceSpans {
    ResourceSpans {
        resource: Some(Resource {
            attributes: vec![attribute("service.name", Any::StringValue(service.to_owned()))],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            spans: vec![span],
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    }
}

fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
