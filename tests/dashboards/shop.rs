//! The demo shop under `tracemap up`, scraped by two servers of Prometheus.
//!
//! In: a directory. Out: handles on the three processes, which end with them.
//! Left out on purpose: Alertmanager. The rules are evaluated, because panels show what they record; nobody is told.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use map::Map;
use map::file::{map_from_yaml, read_stats};
use serde_json::{Value, json};

use crate::panels::Query;
use crate::support::{Process, Prometheus, encoded, free_port, get, get_json, until};

/// Longest wait for any one state.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);

/// What runs.
pub(crate) struct Shop {
    tracemap: Process,
    out: PathBuf,
    control: String,
    web: String,
    otlp: String,
    /// Keeps classic buckets of what it scrapes.
    pub(crate) classic: Prometheus,
    /// Keeps native histograms instead.
    pub(crate) native: Prometheus,
    _peers: [Process; 2],
}

impl Shop {
    /// Starts all of it and waits until it answers.
    pub(crate) async fn start(dir: &Path) -> Self {
        let [grpc, http, page, agent, control] = std::array::from_fn(|_| free_port());
        let (config, out) = (dir.join("tracemap.yaml"), dir.join("out"));
        std::fs::write(&config, settings([grpc, http, page, agent]))
            .expect("the test's directory is writable");
        let control = format!("127.0.0.1:{control}");
        let text = |path: &Path| path.display().to_string();
        let args: Vec<String> = [
            vec!["up".into(), "--demo".into(), "--demo-rate".into(), "40".into()],
            vec![
                "--demo-control".into(),
                control.clone(),
                "--config".into(),
                text(&config),
            ],
            vec![
                "--out".into(),
                text(&out),
                "--data-dir".into(),
                text(&dir.join("data")),
            ],
        ]
        .concat();
        let mut tracemap = Process::start("tracemap", env!("CARGO_BIN_EXE_tracemap"), &args, dir);
        let rules = out.join("alerts/rules/tracemap-latency.yaml");
        until("the generated rules", PATIENCE, async || {
            tracemap.assert_running();
            rules.exists().then_some(())
        })
        .await;
        let scraped = format!(
            "rule_files: ['{}/alerts/rules/*.yaml']\nscrape_configs:\n\
             - {{job_name: tracemap, static_configs: [{{targets: ['127.0.0.1:{page}', '127.0.0.1:{agent}']}}]}}\n",
            out.display()
        );
        let (classic, first) = prometheus(dir, "classic", &scraped, &[]).await;
        let feature = ["--enable-feature=native-histograms".to_owned()];
        let (native, second) = prometheus(dir, "native", &scraped, &feature).await;
        Self {
            tracemap,
            out,
            control,
            web: format!("http://127.0.0.1:{page}"),
            otlp: format!("http://127.0.0.1:{http}/v1/traces"),
            classic,
            native,
            _peers: [first, second],
        }
    }

    /// Waits until requests on every way to the leaf are judged.
    pub(crate) async fn has_its_baselines(&self) {
        for prometheus in [&self.classic, &self.native] {
            for id in ["web", "checkout", "payment", "web->checkout", "checkout->payment"] {
                let judged = format!("tracemap_judged_total{{id=\"{id}\"}} > 100");
                until(&format!("judged requests of `{id}`"), PATIENCE, async || {
                    (!prometheus.query(&judged).await.is_empty()).then_some(())
                })
                .await;
            }
        }
    }

    /// The map as it was generated from.
    pub(crate) fn map(&self) -> Map {
        let read = |name: &str| std::fs::read_to_string(self.out.join(name)).expect("the map is written");
        let mut map = map_from_yaml(&read("map.yaml")).expect("`tracemap up` writes a map");
        read_stats(&mut map, &read("map.stats.yaml")).expect("and its statistics");
        map
    }

    /// What calls nobody or is called by nobody becomes slow, and so the others; all fail now and then; and a service calls
    /// once and never again.
    pub(crate) async fn breaks(&self) {
        for service in ["catalogue", "payment", "worker"] {
            self.demo(&["slow", service, "400ms"]);
        }
        for service in ["web", "cart", "catalogue", "checkout", "payment", "worker"] {
            self.demo(&["fail", service, "20%"]);
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("the clock is past 1970")
            .as_nanos();
        let span = json!({
            "traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "0102030405060708", "name": "GET", "kind": 3,
            "startTimeUnixNano": (now - 1_000_000).to_string(), "endTimeUnixNano": now.to_string(),
            "attributes": [{"key": "peer.service", "value": {"stringValue": "archive"}}],
        });
        let answer = self.takes(&span).await;
        assert!(!answer.contains("rejectedSpans"), "{answer}");
    }

    /// A span comes whose trace id is too short.
    pub(crate) async fn refuses_a_span(&self) {
        let span = json!({"traceId": "0102", "spanId": "0102030405060708"});
        let answer = self.takes(&span).await;
        assert!(answer.contains("rejectedSpans"), "{answer}");
    }

    /// The collector's answer to a span of the service `legacy`.
    async fn takes(&self, span: &Value) -> String {
        let service = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "legacy"}}]});
        let request = json!({"resourceSpans": [{"resource": service, "scopeSpans": [{"spans": [span]}]}]});
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let post = http::Request::post(&self.otlp).header("content-type", "application/json");
        let post = post
            .body(Full::from(request.to_string()))
            .expect("the request is valid");
        let answer = client.request(post).await.expect("the collector answers");
        let status = answer.status();
        let body = answer.into_body().collect().await.expect("the answer has a body");
        let answer = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// `tracemap demo …` against the running shop.
    fn demo(&self, action: &[&str]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracemap"));
        let output = command
            .args(["demo", "--control", &self.control])
            .args(action)
            .output();
        let output = output.expect("`tracemap` runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Whether a query has an answer.
    pub(crate) async fn answers(&self, prometheus: &Prometheus, query: &Query) -> bool {
        match query {
            Query::Prometheus(_) => answers_in(prometheus, query).await,
            Query::Tempo(traceql) => {
                let url = format!("{}/tempo/api/search?q={}&limit=5", self.web, encoded(traceql));
                let found = get_json(&url).await.unwrap_or_default();
                found["traces"]
                    .as_array()
                    .is_some_and(|traces| !traces.is_empty())
            }
        }
    }

    /// Fails where the shop has ended.
    pub(crate) fn assert_running(&mut self) {
        self.tracemap.assert_running();
    }
}

/// Whether Prometheus has an answer to a query of its own.
pub(crate) async fn answers_in(prometheus: &Prometheus, query: &Query) -> bool {
    !prometheus.query(&query.to_string()).await.is_empty()
}

/// A server that scrapes nothing.
pub(crate) async fn prometheus_alone(dir: &Path) -> (Prometheus, Process) {
    prometheus(dir, "alone", "", &[]).await
}

async fn prometheus(dir: &Path, name: &str, scraped: &str, more: &[String]) -> (Prometheus, Process) {
    let address = format!("127.0.0.1:{}", free_port());
    let config = dir.join(format!("{name}.yml"));
    let text = format!("global: {{scrape_interval: 2s, evaluation_interval: 2s}}\n{scraped}");
    std::fs::write(&config, text).expect("the test's directory is writable");
    let own = [
        format!("--config.file={}", config.display()),
        format!(
            "--storage.tsdb.path={}",
            dir.join(format!("tsdb-{name}")).display()
        ),
        format!("--web.listen-address={address}"),
    ];
    let mut process = Process::start(name, "prometheus", &[&own, more].concat(), dir);
    let prometheus = Prometheus {
        url: format!("http://{address}"),
    };
    until("Prometheus", PATIENCE, async || {
        process.assert_running();
        (get(&format!("{}/-/ready", prometheus.url)).await?.0 == 200).then_some(())
    })
    .await;
    (prometheus, process)
}

/// Short windows, and a margin above what other work on a shared machine does to every service.
fn settings([grpc, http, page, agent]: [u16; 4]) -> String {
    format!(
        "agent:\n  admin: {{listen: '127.0.0.1:{agent}'}}\n\
         collector:\n  otlp: {{grpc: '127.0.0.1:{grpc}', http: '127.0.0.1:{http}'}}\n  \
         web: {{listen: '127.0.0.1:{page}'}}\n  pairing: {{wait: 1s}}\n  \
         baseline: {{learn: 15s, min_requests: 60, margin: 100ms}}\n\
         generate:\n  min_interval: 1s\n  alerts: {{window: 30s, evaluation_interval: 2s, page_for: 4s}}\n\
         services:\n  web: {{team: shop, tier: 1, objectives: [{{latency: 300ms, target: 0.99, window: 30d}}]}}\n  \
         payment: {{team: payments, tier: 1}}\n  catalogue: {{team: shop}}\n"
    )
}
