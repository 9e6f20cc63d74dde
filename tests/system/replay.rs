//! Recorded traces sent to a running collector give the map that they give offline, and a restart keeps it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::{Collector, free_port, until};

const PATIENCE: Duration = Duration::from_mins(1);
pub(crate) const RECORDED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/trainticket/spans.jsonl.gz"
);

/// Output of `tracemap ARGS`, which must succeed.
pub(crate) fn tracemap(args: &[&str]) -> String {
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

async fn start(dir: &Path) -> Collector {
    let data = dir.join("data");
    let settings = format!("  data_dir: {}\n  pairing: {{wait: 500ms}}\n", data.display());
    Collector::start(dir, &settings).await
}

/// Lines of `/metrics` that tell of spans and requests, which a restart must not change.
async fn counters(collector: &Collector) -> Vec<String> {
    let text = collector.get("/metrics").await.unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_gives_the_map_of_the_file_and_a_restart_keeps_map_and_counters() {
    let dir = tempfile::tempdir().unwrap();
    let offline = tracemap(&["map", RECORDED, "--format", "csv"]);
    assert!(offline.lines().count() > 20, "{offline}");

    let collector = start(dir.path()).await;
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
    let before = counters(&collector).await;
    assert!(
        before
            .iter()
            .any(|line| line.starts_with("traces_service_graph_request_total{")),
        "{before:?}"
    );
    assert_eq!(collector.process.terminate(), Some(0));

    let again = start(dir.path()).await;
    assert_eq!(again.get("/api/v1/map?format=csv").await.unwrap(), offline);
    assert_eq!(counters(&again).await, before);
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
