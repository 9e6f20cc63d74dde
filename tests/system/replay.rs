//! Recorded traces sent to a running collector give the map that they give offline, and a restart keeps it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::{Process, free_port, get, until};

const PATIENCE: Duration = Duration::from_mins(1);
const RECORDED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/trainticket/spans.jsonl.gz"
);

/// Output of `tracemap ARGS`, which must succeed.
fn tracemap(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tracemap"))
        .args(args)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

struct Collector {
    process: Process,
    grpc: u16,
    web: u16,
}

impl Collector {
    async fn start(dir: &Path) -> Self {
        let [grpc, http, web] = std::array::from_fn(|_| free_port());
        let config = dir.join("tracemap.yaml");
        let text = format!(
            "collector:\n  otlp: {{grpc: '127.0.0.1:{grpc}', http: '127.0.0.1:{http}'}}\n  web: {{listen: '127.0.0.1:{web}'}}\n  \
             data_dir: {}\n  pairing: {{wait: 500ms}}\n",
            dir.join("data").display()
        );
        std::fs::write(&config, text).unwrap();
        let args = [
            "collector".to_owned(),
            "--config".to_owned(),
            config.display().to_string(),
        ];
        let mut process = Process::start("collector", env!("CARGO_BIN_EXE_tracemap"), &args, dir);
        let ready = format!("http://127.0.0.1:{web}/readyz");
        until("the collector", PATIENCE, async || {
            process.assert_running();
            (get(&ready).await?.0 == 200).then_some(())
        })
        .await;
        Self { process, grpc, web }
    }

    async fn get(&self, path: &str) -> Option<String> {
        let (status, body) = get(&format!("http://127.0.0.1:{}{path}", self.web)).await?;
        (status == 200).then_some(body)
    }

    /// Lines of `/metrics` that tell of spans and requests, which a restart must not change.
    async fn counters(&self) -> Vec<String> {
        let text = self.get("/metrics").await.unwrap();
        let kept = [
            "traces_service_graph_",
            "traces_spanmetrics_",
            "tracemap_requests_",
            "tracemap_own_seconds",
        ];
        text.lines()
            .filter(|line| kept.iter().any(|name| line.starts_with(name)))
            .map(str::to_owned)
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_gives_the_map_of_the_file_and_a_restart_keeps_map_and_counters() {
    let dir = tempfile::tempdir().unwrap();
    let offline = tracemap(&["map", RECORDED, "--format", "csv"]);
    assert!(offline.lines().count() > 20, "{offline}");

    let collector = Collector::start(dir.path()).await;
    let told = tracemap(&[
        "replay",
        RECORDED,
        "--to",
        &format!("http://127.0.0.1:{}", collector.grpc),
    ]);
    assert!(told.contains("spans sent"), "{told}");
    until("the replayed map", PATIENCE, async || {
        let live = collector.get("/api/v1/map?format=csv").await?;
        (live == offline).then_some(())
    })
    .await;
    let before = collector.counters().await;
    assert!(
        before
            .iter()
            .any(|line| line.starts_with("traces_service_graph_request_total{")),
        "{before:?}"
    );
    assert_eq!(collector.process.terminate(), Some(0));

    let again = Collector::start(dir.path()).await;
    assert_eq!(again.get("/api/v1/map?format=csv").await.unwrap(), offline);
    assert_eq!(again.counters().await, before);
}

#[test]
fn nobody_listening_is_one_clear_line() {
    let to = format!("http://127.0.0.1:{}", free_port());
    let output = Command::new(env!("CARGO_BIN_EXE_tracemap"))
        .args(["replay", RECORDED, "--to", &to, "--wait", "1s"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.contains(&to) && told.contains("collector"), "{told}");
}
