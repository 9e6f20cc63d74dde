//! A real Prometheus takes every format: it knows the latencies, the traces, and at once when a series ends.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use exposition::remote::{RemoteWriteHistograms, RemoteWriteSettings, Sender};
use exposition::{Format, ScrapeEncoder, negotiate};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;

use crate::peer::{PATIENCE, Prometheus, until};
use crate::scene::{self, Service};

/// Serves services in the format that the path names, or that is negotiated.
struct Target {
    address: String,
    services: Arc<Mutex<Vec<Service>>>,
    accepted: Arc<Mutex<BTreeSet<String>>>,
}

impl Target {
    async fn start(services: Vec<Service>) -> Self {
        let services = Arc::new(Mutex::new(services));
        let accepted = Arc::new(Mutex::new(BTreeSet::new()));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound listener has an address")
            .to_string();
        let (served, seen) = (Arc::clone(&services), Arc::clone(&accepted));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (served, seen) = (Arc::clone(&served), Arc::clone(&seen));
                let service = service_fn(move |request| {
                    let answer = scrape(&served, &seen, &request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                tokio::spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self {
            address,
            services,
            accepted,
        }
    }

    fn retire(&self, id: &str) {
        self.services
            .lock()
            .expect("no holder panics")
            .retain(|service| service.id != id);
    }
}

fn scrape(
    services: &Mutex<Vec<Service>>,
    accepted: &Mutex<BTreeSet<String>>,
    request: &Request<Incoming>,
) -> Response<Full<Bytes>> {
    let accept = request
        .headers()
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .unwrap_or_default();
    accepted
        .lock()
        .expect("no holder panics")
        .insert(accept.to_owned());
    let format = match request.uri().path() {
        "/text" => Format::Text,
        "/openmetrics" => Format::OpenMetrics,
        _ => negotiate(accept),
    };
    let mut out = ScrapeEncoder::new(format);
    scene::write(&services.lock().expect("no holder panics"), &mut out);
    let mut response = Response::new(Full::from(out.finish()));
    let content_type = format.content_type().parse().expect("a header");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("it is after 1970");
    since.as_millis() as i64
}

/// One of whole numbers, and one where each request stands for two and a half.
fn services() -> Vec<Service> {
    let now = now_ms();
    vec![
        Service::new("cart", 1.0, [0xCA; 16], now),
        Service::new("pay", 2.5, [0xFA; 16], now),
    ]
}

/// Quantiles of 1 ms, 2 ms, … 1 s, each within the width of a bucket.
async fn assert_quantiles(prometheus: &Prometheus, histogram: &str) {
    for quantile in [0.5, 0.9, 0.99] {
        let expr = format!("histogram_quantile({quantile}, {histogram})");
        let told = until(&expr, PATIENCE, async || prometheus.value(&expr).await).await;
        assert!(
            (told / quantile - 1.0).abs() < 0.03,
            "`{expr}` is {told}\n{}",
            prometheus.log()
        );
    }
}

async fn assert_value(prometheus: &Prometheus, expr: &str, value: f64) {
    let told = until(expr, PATIENCE, async || prometheus.value(expr).await).await;
    assert!((told - value).abs() < 1e-6, "`{expr}` is {told}, not {value}");
}

async fn assert_trace(prometheus: &Prometheus, selector: &str, byte: &str) {
    let traces = until(selector, PATIENCE, async || {
        Some(prometheus.traces(selector).await).filter(|traces| !traces.is_empty())
    });
    assert!(traces.await.contains(&byte.repeat(16)), "{selector}");
}

/// Text, `OpenMetrics` and remote write as `job`, in classic buckets.
async fn assert_classic(prometheus: &Prometheus, job: &str) {
    for (id, count) in [("cart", 1000.0), ("pay", 2500.0)] {
        let labels = format!("job=\"{job}\",id=\"{id}\"");
        assert_value(prometheus, &format!("tracemap_requests_total{{{labels}}}"), count).await;
        assert_value(
            prometheus,
            &format!("tracemap_own_seconds_count{{{labels}}}"),
            count,
        )
        .await;
        assert_value(
            prometheus,
            &format!("tracemap_own_seconds_sum{{{labels}}}"),
            count * 0.5005,
        )
        .await;
        assert_quantiles(prometheus, &format!("tracemap_own_seconds_bucket{{{labels}}}")).await;
    }
}

/// Protobuf and remote write as `job`, in native buckets.
async fn assert_native(prometheus: &Prometheus, job: &str) {
    for (id, count) in [("cart", 1000.0), ("pay", 2500.0)] {
        let labels = format!("job=\"{job}\",id=\"{id}\"");
        let histogram = format!("tracemap_own_seconds{{{labels}}}");
        assert_value(prometheus, &format!("tracemap_requests_total{{{labels}}}"), count).await;
        assert_value(prometheus, &format!("histogram_count({histogram})"), count).await;
        assert_value(prometheus, &format!("histogram_sum({histogram})"), count * 0.5005).await;
        assert_quantiles(prometheus, &histogram).await;
    }
}

async fn assert_gone(prometheus: &Prometheus, selector: &str) {
    until(&format!("the end of {selector}"), PATIENCE, async || {
        prometheus.query(selector).await.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn prometheus_scrapes_every_format() {
    let target = Target::start(services()).await;
    let job = |name: &str| {
        let address = &target.address;
        format!("{{job_name: {name}, metrics_path: /{name}, static_configs: [{{targets: ['{address}']}}]}}")
    };
    let jobs = ["text", "openmetrics", "protobuf"];
    let prometheus = Prometheus::start(&jobs.map(job).join(",")).await;

    assert_classic(&prometheus, "text").await;
    assert_classic(&prometheus, "openmetrics").await;
    assert_native(&prometheus, "protobuf").await;
    for (job, series) in [
        ("openmetrics", "tracemap_own_seconds_bucket"),
        ("protobuf", "tracemap_own_seconds"),
    ] {
        assert_trace(
            &prometheus,
            &format!("{series}{{job=\"{job}\",id=\"cart\"}}"),
            "ca",
        )
        .await;
        assert_trace(
            &prometheus,
            &format!("{series}{{job=\"{job}\",id=\"pay\"}}"),
            "fa",
        )
        .await;
    }
    let accepted = target.accepted.lock().expect("no holder panics").clone();
    let asked = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
                 application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    assert!(accepted.contains(asked), "{accepted:?}");

    target.retire("pay");
    for job in jobs {
        assert_gone(
            &prometheus,
            &format!("{{__name__=~\"tracemap_.*\",job=\"{job}\",id=\"pay\"}}"),
        )
        .await;
        assert_value(&prometheus, &format!("up{{job=\"{job}\"}}"), 1.0).await;
        assert_value(
            &prometheus,
            &format!("tracemap_requests_total{{job=\"{job}\",id=\"cart\"}}"),
            1000.0,
        )
        .await;
    }
}

#[tokio::test]
async fn prometheus_takes_remote_write_though_it_does_not_know_the_version_we_try_first() {
    let prometheus = Prometheus::start("").await;
    let settings = RemoteWriteSettings {
        url: Some(format!("{}/api/v1/write", prometheus.url)),
        histograms: RemoteWriteHistograms::Both,
        external_labels: [("job".to_owned(), "written".to_owned())].into(),
        ..RemoteWriteSettings::default()
    };
    let (sender, _) = Sender::spawn(settings).expect("the settings are right");
    let mut services = services();
    let push = |services: &[Service]| {
        let mut batch = sender.batch(now_ms());
        scene::write(services, &mut batch);
        sender.offer(batch).expect("the clock goes on");
    };
    push(&services);
    assert_classic(&prometheus, "written").await;
    assert_native(&prometheus, "written").await;
    // This version looks for the series of an exemplar before it adds a native histogram's.
    push(&services);
    assert_trace(
        &prometheus,
        "tracemap_own_seconds_bucket{job=\"written\",id=\"cart\"}",
        "ca",
    )
    .await;
    assert_trace(
        &prometheus,
        "tracemap_own_seconds{job=\"written\",id=\"pay\"}",
        "fa",
    )
    .await;

    services.pop();
    push(&services);
    assert_gone(&prometheus, "{__name__=~\"tracemap_.*\",id=\"pay\"}").await;
    assert_value(&prometheus, "tracemap_requests_total{id=\"cart\"}", 1000.0).await;
    assert_value(
        &prometheus,
        "histogram_count(tracemap_own_seconds{id=\"cart\"})",
        1000.0,
    )
    .await;

    let stats = sender.stats();
    assert_eq!(
        (stats.dropped_total(), stats.sent_stale),
        (0, 32),
        "{}",
        prometheus.log()
    );
    assert_eq!(stats.sent_samples, (2 + 2 + 1) * 32 + 32);
}
