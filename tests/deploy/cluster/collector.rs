//! A collector with the configuration of the chart and the token of its service account, and what is asked of it.
//!
//! In: rendered objects, spans. Out: a running collector, its series and its log.
//! Left out on purpose: the collector's other ways out.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use http::Method;
use kubernetes::Content;
use serde_json::{Value, json};

use super::api::{Api, soon};
use super::command;
use super::server::{Cluster, Process, free_port};
use crate::{each, text};

/// A collector, which ends with the value.
pub(crate) struct Collector {
    process: Process,
    dir: tempfile::TempDir,
    otlp: u16,
    web: u16,
}

impl Collector {
    /// With the configuration among `objects`, and `more` over it.
    pub(crate) async fn start(
        cluster: &Cluster,
        api: &mut Api,
        release: &str,
        objects: &[Value],
        more: &Value,
    ) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let token = dir.path().join("token");
        api.token(release, &format!("{release}-tracemap-collector"), &token)
            .await;
        let (otlp, web) = (free_port(), free_port());
        let mut config = config(objects);
        let ours = json!({
            "collector": {
                "otlp": {"grpc": "127.0.0.1:0", "http": format!("127.0.0.1:{otlp}")},
                "web": {"listen": format!("127.0.0.1:{web}")},
                "data_dir": null, "journal": null, "store": null,
                "pairing": {"wait": "200ms", "keep": "1s", "max_wait": "2s"},
                "publish": {"kubernetes": {
                    "api": cluster.url(), "token_file": token, "ca_file": cluster.ca(), "resync": "2s",
                }},
            },
            "generate": {"min_interval": "1s"},
        });
        merge(&mut config, &ours);
        merge(&mut config, more);
        let process = command("collector", dir.path(), &config, &dir.path().join("log"));
        let mut collector = Self {
            process,
            dir,
            otlp,
            web,
        };
        soon("a collector that is ready", async || {
            assert!(collector.process.is_running(), "{}", collector.log());
            let mut page = at(collector.web);
            page.try_get("/readyz").await == Some(200)
        })
        .await;
        collector
    }

    /// A user's request to `client`, which calls `server`.
    pub(crate) async fn call(&self, client: &str, server: &str) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a time")
            .as_nanos();
        let trace = format!("{now:032x}");
        let span = |id: &str, parent: &str, kind: u8, from: u128, to: u128| {
            json!({
                "traceId": trace, "spanId": id, "parentSpanId": parent, "name": "GET /", "kind": kind,
                "startTimeUnixNano": (now - 10_000_000 + from).to_string(),
                "endTimeUnixNano": (now - 10_000_000 + to).to_string(),
            })
        };
        let of = |service: &str, spans: Value| {
            json!({
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
                "scopeSpans": [{"spans": spans}],
            })
        };
        let (root, call, answer) = ("00000000000000a1", "00000000000000a2", "00000000000000a3");
        let request = json!({"resourceSpans": [
            of(client, json!([span(root, "", 2, 0, 9_000_000), span(call, root, 3, 1_000_000, 8_000_000)])),
            of(server, json!([span(answer, call, 2, 2_000_000, 7_000_000)])),
        ]});
        let request = request.to_string();
        let (status, answer) = at(self.otlp)
            .ask(Method::POST, "/v1/traces", Content::Json(&request))
            .await;
        assert_eq!(status, 200, "{answer}");
    }

    pub(crate) async fn metrics(&self) -> String {
        text_of(&mut at(self.web), "/metrics").await
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn token(&self) -> PathBuf {
        self.dir.path().join("token")
    }
}

/// The collector's configuration among rendered objects.
pub(crate) fn config(objects: &[Value]) -> Value {
    let mut texts = objects
        .iter()
        .filter_map(|object| object["data"]["collector.yaml"].as_str());
    let found = texts.next().expect("the collector's configuration");
    serde_yaml::from_str(found).expect("YAML")
}

/// All `ConfigMap`s with dashboards.
pub(crate) async fn dashboards(api: &mut Api, namespace: &str) -> Vec<Value> {
    let selector = "labelSelector=app.kubernetes.io%2Fmanaged-by%3Dtracemap";
    let path = format!("/api/v1/namespaces/{namespace}/configmaps?{selector}");
    let list = api.get(&path).await.expect("a list");
    // Items of a list do not say what they are.
    let whole = |item: &Value| {
        let mut item = item.clone();
        item["apiVersion"] = json!("v1");
        item["kind"] = json!("ConfigMap");
        item
    };
    each(&list["items"]).map(whole).collect()
}

/// The value of a series, 0 where it is not there.
pub(crate) fn metric(metrics: &str, series: &str) -> f64 {
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_default()
}

/// A page of one of our own parts.
pub(crate) async fn text_of(api: &mut Api, path: &str) -> String {
    text(&api.get(path).await.unwrap_or_default()).to_owned()
}

fn at(port: u16) -> Api {
    let nothing = std::path::Path::new("/");
    Api::new(&format!("http://127.0.0.1:{port}"), nothing, nothing)
}

/// Lays `over` over `value`; what is `null` there is taken away.
fn merge(value: &mut Value, over: &Value) {
    match (value, over) {
        (Value::Object(fields), Value::Object(over)) => {
            for (key, over) in over {
                if over.is_null() {
                    fields.remove(key);
                } else {
                    merge(fields.entry(key).or_insert(Value::Null), over);
                }
            }
        }
        (value, over) => *value = over.clone(),
    }
}
