//! The dashboards as a person sees them: drawn by Grafana's own libraries in a browser, while a fault is on.
//!
//! In: the generated dashboards of the demo shop and what Prometheus answers to them. Out: a picture of each below `target`,
//! and a verdict: nothing covers anything, no title, text or table is cut off, and what has data shows it.
//! Left out on purpose: Grafana's server, which no package registry has, and with it the node graph and the panels'
//! own plugins (`looks/draw.tsx` says how their drawing components are bound). Not among the tests of every change:
//! it takes minutes and 500 MB of front-end libraries.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dashboards::{DashboardSettings, generate};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::panels::{filled, list, variables};
use crate::shop::{PATIENCE, Shop};
use crate::support::{Prometheus, encoded, get_json, until};

const SOURCES: [&str; 5] = [
    "draw.mjs",
    "draw.tsx",
    "package.json",
    "package-lock.json",
    "scrollbars.ts",
];

/// One of each kind.
const DRAWN: [&str; 5] = ["overview", "service-checkout", "queue-orders", "edge", "tracemap"];

/// How long the charts reach back.
const RANGE: Duration = Duration::from_mins(2);

/// A dashboard as it stands on the page.
#[derive(Deserialize)]
struct Drawn {
    name: String,
    errors: Vec<String>,
    panels: Vec<Seen>,
}

/// What is seen of a panel.
#[expect(clippy::struct_excessive_bools, reason = "each is a finding of its own")]
#[derive(Deserialize)]
struct Seen {
    title: String,
    kind: String,
    #[serde(rename = "box")]
    place: Place,
    title_cut: bool,
    text_cut: bool,
    table_cut: bool,
    legends: usize,
    /// Something is plotted.
    chart: bool,
    /// Everything but the title.
    words: String,
    /// What the panel says in place of data.
    nothing: Option<String>,
}

/// Pixels.
#[derive(Deserialize)]
struct Place {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl Place {
    fn covers(&self, other: &Self) -> bool {
        let apart = |a: f64, wide: f64, b: f64| a + wide <= b + 0.5;
        !(apart(self.x, self.width, other.x)
            || apart(other.x, other.width, self.x)
            || apart(self.y, self.height, other.y)
            || apart(other.y, other.height, self.y))
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "fetches Grafana's front-end libraries and needs Chromium: cargo test --release --test dashboards -- --ignored"]
async fn dashboards_drawn_by_grafanas_own_libraries_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut shop = Shop::start(dir.path()).await;
    shop.has_its_baselines().await;
    shop.breaks().await;
    until("a culprit", PATIENCE, async || {
        let found = shop.classic.query("tracemap:culprit:slows").await;
        (!found.is_empty()).then_some(())
    })
    .await;

    let tools = tools();
    let pages = tools.join("pages");
    let _ = std::fs::remove_dir_all(&pages);
    std::fs::create_dir_all(&pages).expect("`target` is writable");
    for (name, page) in self::pages(&shop).await {
        std::fs::write(pages.join(format!("{name}.json")), page.to_string()).expect("`target` is writable");
    }
    let told = run("node", &["draw.mjs", "pages", "/usr/bin/chromium"], &tools);
    let drawn: Vec<Drawn> = serde_json::from_str(&told).expect("`draw.mjs` tells what it drew");
    let wrong: Vec<String> = drawn.iter().flat_map(wrong).collect();
    eprintln!("pictures are in {}", pages.display());
    assert_eq!(drawn.len(), DRAWN.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    shop.assert_running();
}

/// Each dashboard with the answers to its queries.
async fn pages(shop: &Shop) -> Vec<(&'static str, Value)> {
    let settings = DashboardSettings {
        traces: false,
        ..DashboardSettings::default()
    };
    let files = generate(&shop.map(), &settings);
    let to = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is past 1970");
    let mut pages = Vec::new();
    for name in DRAWN {
        let text = &files[&format!("dashboards/{name}.json")];
        let dashboard: Value = serde_json::from_str(text).expect("it is JSON");
        let picked = variables(name, &dashboard, &shop.classic)
            .await
            .expect("variables offer something");
        let answers = answers(&shop.classic, &dashboard, &picked, to).await;
        // Titles and texts may show variables as well.
        let dashboard: Value = serde_json::from_str(&filled(text, &picked)).expect("it is still JSON");
        let (from, to) = (to.saturating_sub(RANGE).as_secs(), to.as_secs());
        pages.push((
            name,
            json!({"dashboard": dashboard, "answers": answers, "from": from, "to": to}),
        ));
    }
    pages
}

/// Results by `PANEL/QUERY`.
async fn answers(
    prometheus: &Prometheus,
    dashboard: &Value,
    picked: &[(String, String)],
    to: Duration,
) -> serde_json::Map<String, Value> {
    let mut answers = serde_json::Map::new();
    for panel in list(dashboard, "panels") {
        for target in list(panel, "targets") {
            let expr = encoded(&filled(target["expr"].as_str().unwrap_or_default(), picked));
            let (from, to) = (to.saturating_sub(RANGE).as_secs(), to.as_secs());
            let asked = match target["instant"].as_bool() {
                Some(true) => format!("query?query={expr}&time={to}"),
                _ => format!("query_range?query={expr}&start={from}&end={to}&step=2"),
            };
            let answer = get_json(&format!("{}/api/v1/{asked}", prometheus.url))
                .await
                .unwrap_or_default();
            let ref_id = target["refId"].as_str().unwrap_or_default();
            answers.insert(
                format!("{}/{ref_id}", panel["id"]),
                answer["data"]["result"].clone(),
            );
        }
    }
    answers
}

/// What a person would complain of.
fn wrong(drawn: &Drawn) -> Vec<String> {
    let mut wrong: Vec<String> = drawn
        .errors
        .iter()
        .map(|error| format!("{}: {error}", drawn.name))
        .collect();
    for (at, panel) in drawn.panels.iter().enumerate() {
        let legible = panel.kind != "timeseries" || panel.legends > 0 || panel.nothing.is_some();
        let complaints = [
            ("its title is cut off", panel.title_cut),
            ("its text is cut off", panel.text_cut),
            ("its table is cut off", panel.table_cut),
            ("its chart has no legend", !legible),
            ("nothing is there", panel.words.is_empty() && !panel.chart),
            (
                "another panel covers it",
                drawn.panels[..at]
                    .iter()
                    .any(|other| panel.place.covers(&other.place)),
            ),
        ];
        let told = complaints.into_iter().filter(|(_, so)| *so);
        wrong.extend(told.map(|(what, _)| format!("{} / {}: {what}", drawn.name, panel.title)));
    }
    wrong
}

/// Grafana's libraries, fetched below `target` unless that was done before with the same sources.
fn tools() -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dashboards/looks");
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("looks");
    let read = |name: &str| std::fs::read(sources.join(name)).expect("the sources are here");
    let lock = dir.join("made-of");
    std::fs::create_dir_all(&dir).expect("`target` is writable");
    for name in SOURCES {
        std::fs::write(dir.join(name), read(name)).expect("`target` is writable");
    }
    if std::fs::read(&lock).is_ok_and(|before| before == read("package-lock.json")) {
        return dir;
    }
    run(
        "npm",
        &[
            "ci",
            "--ignore-scripts",
            "--legacy-peer-deps",
            "--no-audit",
            "--no-fund",
        ],
        &dir,
    );
    std::fs::write(lock, read("package-lock.json")).expect("`target` is writable");
    dir
}

fn run(program: &str, args: &[&str], dir: &Path) -> String {
    let output = Command::new(program).args(args).current_dir(dir).output();
    let output = output.unwrap_or_else(|e| panic!("cannot start `{program}`: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "`{program} {}` failed: {errors}",
        args.join(" ")
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_panel_covers_another_where_they_share_more_than_an_edge() {
    let at = |x: f64, y: f64| Place {
        x,
        y,
        width: 10.0,
        height: 10.0,
    };
    assert!(at(0.0, 0.0).covers(&at(9.0, 9.0)));
    assert!(!at(0.0, 0.0).covers(&at(10.0, 0.0)));
    assert!(!at(0.0, 10.0).covers(&at(0.0, 0.0)));
}
