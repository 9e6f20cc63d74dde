//! `tracemap backtest` end to end: made traces, a planted fault, real promtool.
//!
//! In: a chain of three services whose last one turns slow, as OTLP JSON lines. Out: what the command says of it.
//! Left out on purpose: recorded systems; `cargo xtask proof backtest` is for those.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

/// When the recording begins, seconds since 1970; on a full hour.
const START: u64 = 1_760_000_400;
/// How long it is, in seconds.
const LENGTH: u64 = 2_400;
/// When `stock` turns slow, and when it recovers, in seconds from the start.
const FAULT: (u64, u64) = (1_500, 1_680);

/// A span of the request that came in the given second: who, as whose child, from when to when in milliseconds.
fn span(second: u64, service: &str, number: u8, parent: u8, (from, to): (u64, u64)) -> Value {
    let at = |ms: u64| ((START + second) * 1_000_000_000 + ms * 1_000_000).to_string();
    let id = |number: u8| format!("{second:014x}{number:02x}");
    let kind = if number % 2 == 1 { 2 } else { 3 };
    let mut span = json!({
        "traceId": format!("{:032x}", second + 1), "spanId": id(number), "name": "GET /buy", "kind": kind,
        "startTimeUnixNano": at(from), "endTimeUnixNano": at(to),
    });
    if parent > 0 {
        span["parentSpanId"] = json!(id(parent));
    }
    json!({
        "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": service } }] },
        "scopeSpans": [{ "spans": [span] }],
    })
}

/// One request a second from `web` over `shop` to `stock`, the later half of the seconds first: order is no promise.
fn recording() -> String {
    let mut lines = String::new();
    for second in (LENGTH / 2..LENGTH).chain(0..LENGTH / 2) {
        let slow = if (FAULT.0..FAULT.1).contains(&second) {
            400
        } else {
            0
        };
        let jitter = second * 7 % 10;
        let spans = [
            span(second, "web", 1, 0, (0, 100 + slow + jitter)),
            span(second, "web", 2, 1, (10, 90 + slow + jitter)),
            span(second, "shop", 3, 2, (12, 88 + slow + jitter)),
            span(second, "shop", 4, 3, (20, 70 + slow + jitter)),
            span(second, "stock", 5, 4, (22, 68 + slow + jitter)),
        ];
        let _ = writeln!(lines, "{}", json!({ "resourceSpans": spans }));
    }
    lines
}

fn backtest(dir: &Path, args: &[&str], path: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracemap"));
    command.arg("backtest").args(args).current_dir(dir);
    if let Some(path) = path {
        command.env("PATH", path);
    }
    command.output().unwrap()
}

/// A directory with the recording and with labels: the fault, a control, and one that nobody recorded.
fn room() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("traces.jsonl"), recording()).unwrap();
    let (fault, control) = (START + FAULT.0, START + 900);
    let labels = format!(
        "time,service,type,calls,effect\n{fault},stock,cpu,180,9\n{control},shop,return,180,1\n1,shop,cpu,,\n"
    );
    std::fs::write(dir.path().join("faults.csv"), labels).unwrap();
    std::fs::write(
        dir.path().join("tracemap.yaml"),
        "services: {stock: {team: depot}}\n",
    )
    .unwrap();
    dir
}

#[test]
fn a_planted_fault_is_paged_once_to_its_owner_however_baselines_are_learned() {
    let dir = room();
    let args = [
        "traces.jsonl",
        "--faults",
        "faults.csv",
        "--config",
        "tracemap.yaml",
        "--format",
        "json",
    ];
    let output = backtest(dir.path(), &args, None);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let learned: Vec<&Value> = found["backtests"].as_array().unwrap().iter().collect();
    assert_eq!(learned.len(), 2, "{found:#}");
    for backtest in learned {
        let (pages, score) = (&backtest["pages"], &backtest["score"]);
        assert_eq!(pages.as_array().unwrap().len(), 1, "{backtest:#}");
        assert_eq!(pages[0]["culprit"], "stock");
        assert_eq!(pages[0]["team"], "depot");
        let verdicts: Vec<&Value> = score["faults"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| &f["verdict"])
            .collect();
        assert_eq!(verdicts, ["silent", "named"], "{backtest:#}");
        assert_eq!(score["labels_not_recorded"], 1);
        assert_eq!(score["precision"], 1.0);
        let delay = score["median_delay_seconds"].as_f64().unwrap();
        assert!((60.0..=180.0).contains(&delay), "{delay} s");
    }
}

#[test]
fn without_labels_it_says_which_teams_would_have_been_paged() {
    let dir = room();
    let output = backtest(dir.path(), &["traces.jsonl", "--config", "tracemap.yaml"], None);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("this page would have gone out") && said.contains("stock  team depot"),
        "{said}"
    );
}

#[test]
fn without_promtool_one_error_names_the_package() {
    let dir = room();
    let output = backtest(dir.path(), &["traces.jsonl"], Some("/nowhere"));
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("`promtool` is not in PATH") && said.contains("`prometheus`"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_wrong_label_is_told_with_its_file_and_line() {
    let dir = room();
    std::fs::write(dir.path().join("faults.csv"), "time,service\nnoon,stock\n").unwrap();
    let output = backtest(dir.path(), &["traces.jsonl", "--faults", "faults.csv"], None);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("`faults.csv`: line 2: `time` is `noon`"), "{said}");
}
