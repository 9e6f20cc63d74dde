//! `tracemap rot` and a Prometheus whose past was written for it.
//!
//! In: nine days of samples, a minute apart, imported by promtool. Out: which panels are called rotten over seven of them.
//! Left out on purpose: an old Prometheus; what of its past matters is in its blocks.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use map::catalogue as names;
use serde_json::{Value, json};

use crate::support::{Process, free_port, get, until};
use crate::{told, tracemap};

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;

/// Samples of one series, a minute apart.
fn samples(out: &mut String, series: &str, seconds: std::ops::Range<u64>) {
    for at in seconds.step_by(60) {
        writeln!(out, "{series} {} {at}", at / 60).unwrap();
    }
}

/// A Prometheus that scrapes nothing and has had: the collector and `alive` all the time, `seldom` for ten minutes three
/// days ago, and `dead` for an hour eight days ago.
async fn prometheus(dir: &Path) -> (Process, String) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut text = String::new();
    for (name, times) in [
        (names::COLLECTOR_SPANS, now - 9 * DAY..now),
        ("alive_total", now - 9 * DAY..now),
        ("seldom_total", now - 3 * DAY..now - 3 * DAY + 10 * MINUTE),
        ("dead_total", now - 8 * DAY..now - 8 * DAY + 60 * MINUTE),
    ] {
        writeln!(text, "# TYPE {} counter", name.trim_end_matches("_total")).unwrap();
        samples(&mut text, &format!("{name}{{id=\"cart\"}}"), times);
    }
    text.push_str("# EOF\n");
    let (past, tsdb) = (dir.join("past.txt"), dir.join("tsdb"));
    std::fs::write(&past, text).unwrap();
    let import = Command::new("promtool")
        .args(["tsdb", "create-blocks-from", "-q", "openmetrics"])
        .args([&past, &tsdb])
        .output()
        .expect("promtool runs: it is in the Debian package `prometheus`");
    assert!(
        import.status.success(),
        "{}",
        String::from_utf8_lossy(&import.stderr)
    );

    std::fs::write(dir.join("prometheus.yml"), "scrape_configs: []\n").unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let args = [
        format!("--config.file={}", dir.join("prometheus.yml").display()),
        format!("--storage.tsdb.path={}", tsdb.display()),
        "--storage.tsdb.retention.time=60d".to_owned(),
        format!("--web.listen-address={address}"),
    ];
    let mut process = Process::start("prometheus", "prometheus", &args, dir);
    let url = format!("http://{address}");
    until("Prometheus", Duration::from_mins(1), async || {
        process.assert_running();
        (get(&format!("{url}/-/ready")).await?.0 == 200).then_some(())
    })
    .await;
    (process, url)
}

fn write(dir: &Path, file: &str, tags: &[&str], panels: &[(&str, &[&str])]) {
    let panels: Vec<Value> = panels
        .iter()
        .map(|(title, queries)| {
            let targets: Vec<Value> = queries
                .iter()
                .map(|query| json!({"refId": "A", "expr": query}))
                .collect();
            json!({"type": "timeseries", "title": title, "targets": targets})
        })
        .collect();
    let dashboard = json!({"uid": "u", "title": "t", "tags": tags, "panels": panels});
    std::fs::create_dir_all(dir.join("dashboards")).unwrap();
    std::fs::write(dir.join(file), dashboard.to_string()).unwrap();
}

fn panels(found: &Value) -> Vec<String> {
    let list = found.as_array().unwrap().iter();
    list.map(|item| item["panel"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panel_is_rotten_that_found_nothing_for_all_the_days_and_is_not_empty_by_design() {
    let dir = tempfile::tempdir().unwrap();
    let (_process, url) = prometheus(dir.path()).await;
    let (file, designed) = dashboards::empty_while_healthy()[0];
    write(
        dir.path(),
        file,
        &[],
        &[
            ("living", &["rate(alive_total[$__rate_interval])"]),
            ("picked", &["alive_total{id=\"$service\"}"]),
            ("half", &["alive_total", "never_total"]),
            ("seldom", &["sum(rate(seldom_total[5m]))"]),
            ("dead", &["sum(dead_total)"]),
            ("never", &["never_total", "never_total == 1"]),
            ("constant", &["vector(0)"]),
            (designed, &["never_total"]),
        ],
    );
    write(
        dir.path(),
        "dashboards/gone.json",
        &["gone-since-2026-01-01"],
        &[("left", &["never_total"])],
    );
    let dir_text = dir.path().display().to_string();
    let rot = |days: &'static str, format: &'static str| {
        let args = [
            "rot",
            "--prometheus",
            &url,
            "--dir",
            &dir_text,
            "--days",
            days,
            "--format",
            format,
        ];
        args.map(str::to_owned)
    };
    let run = async |args: [String; 9]| tracemap(&args.each_ref().map(String::as_str), &[]).await;

    let (code, out, err) = told(&run(rot("7", "json")).await);
    assert_eq!(code, Some(1), "{out}{err}");
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(panels(&found["empty"]), ["dead", "never"], "{found:#}");
    assert_eq!(panels(&found["empty_by_design"]), [designed]);
    assert_eq!(panels(&found["gone"]), ["left"]);
    assert_eq!(
        (&found["conclusive"], &found["refused"]),
        (&json!(true), &json!([]))
    );

    let (code, out, _) = told(&run(rot("8.5", "text")).await);
    assert_eq!(code, Some(1), "{out}");
    assert!(
        out.contains(": \"never\"") && !out.contains("\"dead\""),
        "eight days ago there was something:\n{out}"
    );

    let (code, out, _) = told(&run(rot("20", "text")).await);
    assert_eq!(
        code,
        Some(0),
        "nine days of data say nothing about twenty:\n{out}"
    );
    assert!(
        out.contains("empty: ") && out.contains(" only: what is empty is not called rotten yet"),
        "{out}"
    );

    write(dir.path(), file, &[], &[("living", &["alive_total"])]);
    assert_eq!(told(&run(rot("7", "text")).await).0, Some(0));

    write(dir.path(), file, &[], &[("broken", &["sum(alive_total"])]);
    let (code, out, _) = told(&run(rot("7", "text")).await);
    assert_eq!(code, Some(1), "{out}");
    assert!(
        out.contains("refused: ")
            && out.contains("`sum(alive_total`")
            && out.contains("unclosed left parenthesis"),
        "{out}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_without_our_series_is_told_and_so_is_one_that_is_away() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "dashboards/overview.json",
        &[],
        &[("living", &["alive_total"])],
    );
    let dir_text = dir.path().display().to_string();
    let url = format!("http://127.0.0.1:{}", free_port());
    let args = ["rot", "--prometheus", &url, "--dir", &dir_text, "--wait", "300ms"];
    let (code, _, err) = told(&tracemap(&args, &[]).await);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains(&url) && err.contains("refused"), "{err}");

    std::fs::write(dir.path().join("prometheus.yml"), "scrape_configs: []\n").unwrap();
    let config = format!("--config.file={}", dir.path().join("prometheus.yml").display());
    let storage = format!("--storage.tsdb.path={}", dir.path().join("tsdb").display());
    let listen = format!("--web.listen-address={}", url.trim_start_matches("http://"));
    let mut empty = Process::start("prometheus", "prometheus", &[config, storage, listen], dir.path());
    until("Prometheus", Duration::from_mins(1), async || {
        empty.assert_running();
        (get(&format!("{url}/-/ready")).await?.0 == 200).then_some(())
    })
    .await;
    let (code, _, err) = told(&tracemap(&args, &[]).await);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("has had no series of tracemap for 7days"), "{err}");
}
