//! What every client tells, and what must be known of it afterwards.
//!
//! In: a client. Out: a failure that shows the map or the series that differ.
//! Left out on purpose: latencies. The clients do nothing, so their spans last no time worth a name.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::Client;
use crate::support::{Process, free_port, get, get_json, until};

const PATIENCE: Duration = Duration::from_mins(1);

/// Orders that a client places. The price of every fourth fails. Each is six spans in two traces: the storefront serves
/// it, asks pricing for a price, which asks its database, and sends a message; the mailer's span only links to it.
const ORDERS: u64 = 20;
const SPANS: u64 = 6 * ORDERS;

const MAP: &str = "\
caller,callee,connection_type,requests,failed
pricing,postgresql:prices@db.internal,database,20,0
storefront,mailer,messaging_system,20,0
storefront,pricing,,20,5
user,storefront,virtual_node,20,0
";

const NODES: &[&str] = &[
    "database postgresql:prices@db.internal",
    "destination orders",
    "service mailer",
    "service pricing",
    "service storefront",
    "user user",
];

const EDGES: &[&str] = &[
    "orders -> mailer 20",
    "pricing -> postgresql:prices@db.internal 20",
    "storefront -> orders 20",
    "storefront -> pricing 20",
    "user -> storefront 20",
];

const SERIES: &[&str] = &[
    "tracemap_collector_spans_total{outcome=\"mapped\"} 120",
    "traces_service_graph_request_failed_total{client=\"pricing\",server=\"postgresql:prices@db.internal\",connection_type=\"database\"} 0",
    "traces_service_graph_request_failed_total{client=\"storefront\",server=\"mailer\",connection_type=\"messaging_system\"} 0",
    "traces_service_graph_request_failed_total{client=\"storefront\",server=\"pricing\",connection_type=\"\"} 5",
    "traces_service_graph_request_failed_total{client=\"user\",server=\"storefront\",connection_type=\"virtual_node\"} 0",
    "traces_service_graph_request_total{client=\"pricing\",server=\"postgresql:prices@db.internal\",connection_type=\"database\"} 20",
    "traces_service_graph_request_total{client=\"storefront\",server=\"mailer\",connection_type=\"messaging_system\"} 20",
    "traces_service_graph_request_total{client=\"storefront\",server=\"pricing\",connection_type=\"\"} 20",
    "traces_service_graph_request_total{client=\"user\",server=\"storefront\",connection_type=\"virtual_node\"} 20",
    "traces_spanmetrics_calls_total{service=\"mailer\",span_name=\"process orders\",span_kind=\"SPAN_KIND_CONSUMER\",status_code=\"STATUS_CODE_UNSET\"} 20",
    "traces_spanmetrics_calls_total{service=\"pricing\",span_name=\"GET /price\",span_kind=\"SPAN_KIND_SERVER\",status_code=\"STATUS_CODE_ERROR\"} 5",
    "traces_spanmetrics_calls_total{service=\"pricing\",span_name=\"GET /price\",span_kind=\"SPAN_KIND_SERVER\",status_code=\"STATUS_CODE_UNSET\"} 15",
    "traces_spanmetrics_calls_total{service=\"pricing\",span_name=\"SELECT prices\",span_kind=\"SPAN_KIND_CLIENT\",status_code=\"STATUS_CODE_UNSET\"} 20",
    "traces_spanmetrics_calls_total{service=\"storefront\",span_name=\"GET /price\",span_kind=\"SPAN_KIND_CLIENT\",status_code=\"STATUS_CODE_UNSET\"} 20",
    "traces_spanmetrics_calls_total{service=\"storefront\",span_name=\"POST /orders\",span_kind=\"SPAN_KIND_SERVER\",status_code=\"STATUS_CODE_UNSET\"} 20",
    "traces_spanmetrics_calls_total{service=\"storefront\",span_name=\"send orders\",span_kind=\"SPAN_KIND_PRODUCER\",status_code=\"STATUS_CODE_UNSET\"} 20",
];

/// Lets the client tell its story over each protocol to a collector of its own, and compares.
pub(crate) async fn tells_its_story(client: &Client, protocols: &[&str]) {
    for protocol in protocols {
        let dir = tempfile::tempdir().expect("there is room for a directory");
        let mut collector = Collector::start(dir.path()).await;
        let delivered = client.run(protocol, &collector.endpoint(protocol), ORDERS).await;
        assert_eq!(delivered, Ok(SPANS), "{protocol}: the SDK reports no error");
        collector.has_mapped(protocol).await;
        assert_eq!(collector.nodes().await, *NODES, "{protocol}");
        assert_eq!(collector.edges().await, *EDGES, "{protocol}");
        assert_eq!(collector.series().await, *SERIES, "{protocol}");
    }
}

/// A collector with nothing on its map, which keeps every trace.
pub(crate) struct Collector {
    process: Process,
    /// OTLP/gRPC.
    pub(crate) grpc: u16,
    /// OTLP/HTTP.
    pub(crate) http: u16,
    /// Page, API and metrics.
    pub(crate) web: u16,
}

impl Collector {
    pub(crate) async fn start(dir: &Path) -> Self {
        let [grpc, http, web] = std::array::from_fn(|_| free_port());
        let config = dir.join("tracemap.yaml");
        let text = format!(
            "collector:\n  otlp: {{grpc: '127.0.0.1:{grpc}', http: '127.0.0.1:{http}'}}\n  web: {{listen: '127.0.0.1:{web}'}}\n  \
             data_dir: {}\n  pairing: {{wait: 2s}}\n  sampling: {{policies: [{{name: all, type: always_sample}}]}}\n",
            dir.join("data").display()
        );
        std::fs::write(&config, text).expect("the test's directory is writable");
        let args = ["collector", "--config", &config.display().to_string()].map(str::to_owned);
        let mut process = Process::start("collector", env!("CARGO_BIN_EXE_tracemap"), &args, dir);
        let ready = format!("http://127.0.0.1:{web}/readyz");
        until("the collector", PATIENCE, async || {
            process.assert_running();
            (get(&ready).await?.0 == 200).then_some(())
        })
        .await;
        Self {
            process,
            grpc,
            http,
            web,
        }
    }

    pub(crate) fn endpoint(&self, protocol: &str) -> String {
        let port = if protocol == "grpc" { self.grpc } else { self.http };
        format!("http://127.0.0.1:{port}")
    }

    /// Waits until everything is on the map.
    async fn has_mapped(&mut self, protocol: &str) {
        let began = Instant::now();
        loop {
            self.process.assert_running();
            let map = self.get("/api/v1/map?format=csv").await.unwrap_or_default();
            if map == MAP {
                return;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{protocol}: after {PATIENCE:?} the map is\n{map}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn nodes(&self) -> Vec<String> {
        let told = |node: &Value| format!("{} {}", text(&node["kind"]), text(&node["id"]));
        self.told("nodes", told).await
    }

    /// Brokers' destinations included.
    async fn edges(&self) -> Vec<String> {
        let told = |edge: &Value| {
            let (client, server) = (text(&edge["client"]), text(&edge["server"]));
            format!("{client} -> {server} {}", edge["requests"])
        };
        self.told("edges", told).await
    }

    async fn told(&self, part: &str, told: impl Fn(&Value) -> String) -> Vec<String> {
        let map = get_json(&format!("http://127.0.0.1:{}/api/v1/map", self.web)).await;
        let map = map.expect("the collector answers JSON");
        let mut lines: Vec<_> = map[part].as_array().into_iter().flatten().map(told).collect();
        lines.sort();
        lines
    }

    /// Counters of edges and spans, sorted; of what became of the spans only that which became of some.
    async fn series(&self) -> Vec<String> {
        const SHOWN: &[&str] = &[
            "traces_service_graph_request_total{",
            "traces_service_graph_request_failed_total{",
            "traces_spanmetrics_calls_total{",
            "tracemap_collector_spans_total{",
        ];
        let metrics = self.get("/metrics").await.expect("the collector answers");
        let shown = |line: &&str| SHOWN.iter().any(|name| line.starts_with(name));
        let none = |line: &&str| line.starts_with("tracemap_") && line.ends_with(" 0");
        let mut lines: Vec<_> = metrics
            .lines()
            .filter(|line| shown(line) && !none(line))
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    }

    pub(crate) async fn get(&self, path: &str) -> Option<String> {
        let (status, body) = get(&format!("http://127.0.0.1:{}{path}", self.web)).await?;
        (status == 200).then_some(body)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
