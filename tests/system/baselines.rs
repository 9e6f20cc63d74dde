//! People look at baselines, hold them and begin them anew, and a collector that is killed remembers what they did.

use std::path::Path;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use serde_json::Value;

use crate::kills::request;
use crate::support::{Collector, ask, until};

const PATIENCE: Duration = Duration::from_mins(1);

async fn start(dir: &Path) -> Collector {
    let settings = format!(
        "  data_dir: '{}'\n  pairing: {{ wait: 500ms, keep: 20s }}\n  \
         baseline: {{ learn: 1s, min_requests: 100, pins: [stated] }}\n",
        dir.join("data").display()
    );
    Collector::start(dir, &settings).await
}

impl Collector {
    async fn baseline(&self, id: &str) -> Option<Value> {
        let text = self.get(&format!("/api/v1/baselines/{id}")).await?;
        Some(serde_json::from_str(&text).expect("JSON"))
    }

    async fn change(&self, method: &str, path: &str) -> (u16, String) {
        let url = format!("http://127.0.0.1:{}/api/v1/{path}", self.web);
        ask(method, &url).await.expect("an answer")
    }

    /// Sends requests of `wide` and `far` until both are judged; the number of the next.
    async fn teach(&self, mut number: usize) -> usize {
        let mut client = self.client().await;
        until("a baseline", PATIENCE, async || {
            for _ in 0..60 {
                for service in ["wide", "far"] {
                    client.export(of(service, request(number, 0))).await.ok()?;
                    number += 1;
                }
            }
            let wide = self.baseline("wide").await?;
            let far = self.baseline("far").await?;
            let judged = |baseline: &Value| baseline["operations"][0]["judged"] == true;
            (judged(&wide) && judged(&far)).then_some(())
        })
        .await;
        number
    }
}

/// The same request at another service.
fn of(service: &str, mut request: ExportTraceServiceRequest) -> ExportTraceServiceRequest {
    let name = AnyValue {
        value: Some(any_value::Value::StringValue(service.to_owned())),
    };
    let resources = request
        .resource_spans
        .iter_mut()
        .flat_map(|spans| &mut spans.resource);
    for attribute in resources.flat_map(|resource| &mut resource.attributes) {
        if attribute.key == "service.name" {
            attribute.value = Some(name.clone());
        }
    }
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_baseline_is_seen_held_let_go_and_begun_anew_and_a_kill_undoes_none_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let collector = start(dir.path()).await;
    let number = collector.teach(0).await;

    let edge = collector.baseline("user-%3Ewide").await.expect("the edge's");
    assert_eq!(
        (edge["id"].as_str(), edge["kind"].as_str()),
        (Some("user->wide"), Some("edge"))
    );
    let all: Value = serde_json::from_str(&collector.get("/api/v1/baselines").await.unwrap()).unwrap();
    let ids: Vec<_> = all["baselines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["id"])
        .collect();
    assert_eq!(ids, ["far", "user->far", "user->wide", "wide"]);
    let wide = collector.baseline("wide").await.unwrap();
    let normal = &wide["operations"][0]["normal"];
    let (median, slow) = (
        &normal["own"]["median_seconds"],
        &normal["own"]["slow_above_seconds"],
    );
    assert!(median.as_f64().unwrap() < slow.as_f64().unwrap(), "{wide}");
    assert_eq!(wide["pinned"], Value::Null);

    assert_eq!(collector.change("PUT", "pins/wide").await.0, 200);
    let (status, why) = collector.change("PUT", "pins/wdie").await;
    assert!(status == 404 && why.contains("`wdie`"), "{why}");
    let (status, why) = collector.change("DELETE", "pins/stated").await;
    assert!(status == 409 && why.contains("collector.baseline.pins"), "{why}");
    assert_eq!(collector.change("POST", "pins/wide").await.0, 405);

    drop(collector);
    let collector = start(dir.path()).await;
    let wide = collector.baseline("wide").await.unwrap();
    assert_eq!(wide["pinned"], "api", "{wide}");
    assert_eq!(wide["operations"][0]["judged"], true, "{wide}");

    assert_eq!(collector.change("DELETE", "pins/wide").await.0, 200);
    assert_eq!(collector.change("DELETE", "baselines/wide").await.0, 200);
    drop(collector);
    let collector = start(dir.path()).await;
    let wide = collector.baseline("wide").await.unwrap();
    assert_eq!(wide["pinned"], Value::Null, "{wide}");
    assert!(wide["operations"][0]["judged"] != true, "{wide}");
    let far = collector.baseline("far").await.unwrap();
    assert_eq!(
        far["operations"][0]["judged"], true,
        "one is reset, not all: {far}"
    );
    collector.teach(number).await;
    let wide = collector.baseline("wide").await.unwrap();
    assert_eq!(wide["operations"][0]["judged"], true, "{wide}");

    // By a snapshot instead of the journal.
    assert_eq!(collector.change("PUT", "pins/user-%3Ewide").await.0, 200);
    assert_eq!(collector.process.terminate(), Some(0));
    let collector = start(dir.path()).await;
    let edge = collector.baseline("user-%3Ewide").await.unwrap();
    assert_eq!(edge["pinned"], "api", "{edge}");
}
