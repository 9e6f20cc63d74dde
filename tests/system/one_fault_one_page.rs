//! The whole system on loopback: demo shop behind agents, collector, Prometheus, Alertmanager and a receiver.
//!
//! One slow leaf must start exactly one group of notifications; it names the leaf, the leaf's callers are in it as
//! information, and it resolves when the leaf is healed. So must a database that reports nothing itself, seen only from
//! its callers. Every rule that was generated finds its series meanwhile.
//! Windows are short here so that the test takes minutes; the rules' default windows are proved with promtool.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Notification, Process, Webhook, free_port, get, until};
use crate::watch::{PATIENCE, Watch, settings};
use promql_parser::parser::{self, Expr, VectorSelector};
use serde_json::Value;

struct System {
    tracemap: Process,
    watch: Watch,
    webhook: Webhook,
    out: PathBuf,
    control: String,
    web: String,
}

impl System {
    async fn start(dir: &Path) -> Self {
        let webhook = Webhook::start().await;
        let [grpc, http, page, control] = std::array::from_fn(|_| free_port());
        let config = dir.join("tracemap.yaml");
        std::fs::write(&config, settings(&webhook.url, [grpc, http, page], SERVICES)).unwrap();
        let (out, control) = (dir.join("out"), format!("127.0.0.1:{control}"));
        let text = |path: &Path| path.display().to_string();
        let args = [
            vec!["up".into(), "--demo".into(), "--demo-rate".into(), "40".into()],
            vec!["--config".into(), text(&config), "--out".into(), text(&out)],
            vec![
                "--data-dir".into(),
                text(&dir.join("data")),
                "--demo-control".into(),
                control.clone(),
            ],
        ];
        let mut tracemap = Process::start("tracemap", env!("CARGO_BIN_EXE_tracemap"), &args.concat(), dir);
        let rules = out.join("alerts/rules/tracemap-latency.yaml");
        until("the generated rules", PATIENCE, async || {
            tracemap.assert_running();
            rules.exists().then_some(())
        })
        .await;

        let watch = Watch::start(dir, &out, page).await;
        let web = format!("http://127.0.0.1:{page}");
        Self {
            tracemap,
            watch,
            webhook,
            out,
            control,
            web,
        }
    }

    /// `tracemap demo …` against the running shop.
    fn demo(&self, action: &[&str]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracemap"));
        let output = command
            .args(["demo", "--control", &self.control])
            .args(action)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// The groups that were notified as pages.
    fn groups(&self) -> BTreeSet<String> {
        self.pages()
            .iter()
            .map(|n| n.body["groupKey"].to_string())
            .collect()
    }

    /// Every selector of the generated rules. Those of the dashboards are in `tests/dashboards`.
    fn selectors_of_the_rules(&self) -> BTreeSet<String> {
        let mut selectors = BTreeSet::new();
        for (name, text) in read_all(&self.out.join("alerts/rules")) {
            let rules: Value = serde_yaml::from_str(&text).unwrap();
            let groups = rules["groups"].as_array().unwrap();
            for rule in groups.iter().flat_map(|group| group["rules"].as_array().unwrap()) {
                let expr = rule["expr"].as_str().unwrap();
                let parsed = parser::parse(expr).unwrap_or_else(|e| panic!("{name}: {e}: {expr}"));
                selectors_of(&parsed, &mut selectors);
            }
        }
        // A burn rate needs five minutes of an objective and is there only while something burns: `alerts/tests/burn.rs`.
        // And no edge fails by itself here: `alerts/tests/charging.rs`. Nothing scrapes an agent, writes afar or speaks TLS, and no shift
        // lasts for six hours: `alerts/tests/health.rs` and `firing.rs`. Nor is anything over yet: `alerts/tests/firing.rs`.
        let elsewhere = [
            "tracemap_agent_",
            "tracemap_collector_kubernetes_",
            "tracemap_collector_remote_write_",
            "tracemap_collector_tls_",
            "tracemap_new_normal_",
            "tracemap:own:over",
            "tracemap:own_failed:over",
        ];
        selectors.retain(|selector| {
            let edge_fails =
                selector.starts_with("tracemap:own_failed:degraded{") && selector.contains("kind=\"edge\"");
            !(elsewhere.iter().any(|of| selector.starts_with(of))
                || selector.starts_with("tracemap:objective")
                || selector.starts_with("tracemap:errors_edge")
                || edge_fails)
        });
        selectors
    }

    fn pages(&self) -> Vec<Notification> {
        self.webhook
            .notifications()
            .into_iter()
            .filter(|n| n.receiver == "page")
            .collect()
    }
}

const SERVICES: &str = "services:\n  payment: {team: payments, tier: 1}\n  \
    catalogue: {team: shop, objectives: [{latency: 5s, target: 0.9, window: 30d}]}\n";

#[tokio::test(flavor = "multi_thread")]
async fn one_slow_leaf_starts_one_group_that_names_it_and_resolves_when_it_is_healed() {
    let dir = tempfile::tempdir().unwrap();
    let mut system = System::start(dir.path()).await;
    let prometheus = &system.watch.prometheus;

    // Everything on the way to the leaf has its baseline.
    for id in ["web", "checkout", "payment", "web->checkout", "checkout->payment"] {
        until(&format!("judged requests of `{id}`"), PATIENCE, async || {
            let judged = format!("tracemap_judged_total{{id=\"{id}\"}} > 100");
            (!prometheus.query(&judged).await.is_empty()).then_some(())
        })
        .await;
    }
    // Healthy: a while of evaluations, and nothing fires or is sent.
    system.watch.evaluations(60.0).await;
    let fired = prometheus
        .query("count_over_time(ALERTS{alertstate=\"firing\"}[10m])")
        .await;
    assert!(fired.is_empty(), "fired while healthy: {fired:#?}");
    assert!(
        system.webhook.notifications().is_empty(),
        "{:#?}",
        system.webhook.notifications()
    );

    system.demo(&["slow", "payment", "400ms"]);
    let first = until("a page", PATIENCE, async || system.pages().into_iter().next()).await;
    assert_eq!(first.body["status"], "firing", "{first:#?}");
    let group = until("the callers' symptoms in the group", PATIENCE, async || {
        let latest = system.pages().into_iter().next_back()?;
        let symptoms = names_of(&latest, "LatencyDegradedByDependency", "id");
        symptoms
            .is_superset(&BTreeSet::from(["web".to_owned(), "checkout".to_owned()]))
            .then_some(latest)
    })
    .await;
    assert_eq!(
        names_of(&group, "LatencyDegraded", "culprit"),
        BTreeSet::from(["payment".to_owned()])
    );
    for alert in group.body["alerts"].as_array().unwrap() {
        assert_eq!(alert["labels"]["culprit"], "payment", "{alert:#}");
        assert_eq!(
            alert["labels"]["team"], "payments",
            "a symptom goes where its culprit's page goes: {alert:#}"
        );
    }
    let selectors = system.selectors_of_the_rules();
    generated_files_pass_their_own_checks(&system.out);
    links_lead_somewhere(&group, &system.web).await;

    system.demo(&["heal"]);
    let resolved = until("the resolved notice", PATIENCE, async || {
        system
            .pages()
            .into_iter()
            .find(|n| n.body["status"] == "resolved")
    })
    .await;
    assert_eq!(
        system.groups(),
        BTreeSet::from([resolved.body["groupKey"].to_string()]),
        "exactly one group"
    );

    system.demo(&["slow", "database", "300ms"]);
    let database = until("a page for the database", PATIENCE, async || {
        let latest = system.pages().into_iter().next_back()?;
        let culprits = names_of(&latest, "LatencyDegraded", "culprit");
        culprits
            .iter()
            .any(|id| id.contains("shop@127.0.0.1"))
            .then_some(latest)
    })
    .await;
    assert_eq!(
        database.body["commonLabels"]["team"], "shop",
        "a database belongs to the team of its caller: {database:#?}"
    );

    system.demo(&["heal"]);
    system.demo(&["fail", "payment", "50%"]);
    let failing = until("a page for failures", PATIENCE, async || {
        let pages = system.pages().into_iter();
        let culprits = |page: &Notification| names_of(page, "ErrorsDegraded", "culprit");
        pages
            .map(|page| culprits(&page))
            .find(|culprits| !culprits.is_empty())
    })
    .await;
    assert_eq!(failing, BTreeSet::from(["payment".to_owned()]));
    // A fault between two spans, a fault inside one and failures are now all behind us: nothing generated may be left empty.
    let matched = until("series of every selector", PATIENCE, async || {
        let mut missing = Vec::new();
        for selector in &selectors {
            if prometheus.series(selector).await == 0 {
                missing.push(selector.clone());
            }
        }
        eprintln!("selectors without series: {missing:?}");
        missing.is_empty().then_some(selectors.len())
    })
    .await;
    assert!(matched > 15, "{selectors:#?}");
    assert_eq!(
        system.groups().len(),
        2,
        "one group for each fault: {:#?}",
        system.groups()
    );
    let others: Vec<_> = system
        .webhook
        .notifications()
        .into_iter()
        .filter(|n| n.receiver != "page")
        .collect();
    assert!(others.is_empty(), "nobody else hears of it: {others:#?}");

    system.tracemap.assert_running();
    let log = system.tracemap.output();
    assert!(!log.contains("panicked"), "{log}");
    assert_eq!(system.tracemap.terminate(), Some(0), "{log}");
    assert!(
        dir.path().join("data/snapshot").exists(),
        "the state is saved at the end"
    );
}

fn names_of(notification: &Notification, alert: &str, label: &str) -> BTreeSet<String> {
    let alerts = notification.body["alerts"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let of_name = alerts
        .iter()
        .filter(|a| a["labels"]["alertname"] == alert && a["status"] == "firing");
    of_name
        .filter_map(|a| a["labels"][label].as_str().map(str::to_owned))
        .collect()
}

fn selectors_of(expr: &Expr, into: &mut BTreeSet<String>) {
    let mut note = |selector: &VectorSelector| {
        let bare = VectorSelector {
            offset: None,
            at: None,
            ..selector.clone()
        };
        into.insert(bare.to_string());
    };
    match expr {
        Expr::VectorSelector(selector) => note(selector),
        Expr::MatrixSelector(matrix) => note(&matrix.vs),
        Expr::Aggregate(aggregate) => {
            selectors_of(&aggregate.expr, into);
            if let Some(param) = &aggregate.param {
                selectors_of(param, into);
            }
        }
        Expr::Unary(unary) => selectors_of(&unary.expr, into),
        Expr::Binary(binary) => {
            selectors_of(&binary.lhs, into);
            selectors_of(&binary.rhs, into);
        }
        Expr::Paren(paren) => selectors_of(&paren.expr, into),
        Expr::Subquery(subquery) => selectors_of(&subquery.expr, into),
        Expr::Call(call) => call.args.args.iter().for_each(|arg| selectors_of(arg, into)),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

/// The rule tests that were generated from this very map, and Alertmanager's own check.
fn generated_files_pass_their_own_checks(out: &Path) {
    let run = |program: &str, args: &[&str], path: &str| {
        let output = Command::new(program)
            .args(args)
            .arg(out.join(path))
            .output()
            .unwrap();
        let told =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?} {path}: {told}");
    };
    for rules in [
        "alerts/rules/tracemap-latency.yaml",
        "alerts/rules/tracemap-errors.yaml",
        "alerts/rules/tracemap-burn.yaml",
        "alerts/rules/tracemap-health.yaml",
    ] {
        run("promtool", &["check", "rules"], rules);
    }
    run(
        "promtool",
        &["test", "rules"],
        "alerts/tests/tracemap-latency.test.yaml",
    );
    run("amtool", &["check-config"], "alerts/alertmanager.yaml");
}

async fn links_lead_somewhere(notification: &Notification, web: &str) {
    let alert = &notification.body["alerts"][0];
    for annotation in ["map_url", "runbook_url"] {
        let url = alert["annotations"][annotation].as_str().unwrap_or_default();
        assert!(url.starts_with(web), "{annotation} is `{url}`");
        let (status, body) = get(url).await.unwrap();
        assert_eq!(status, 200, "{url}: {body}");
    }
}

fn read_all(dir: &Path) -> std::collections::BTreeMap<String, String> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                std::fs::read_to_string(&path).unwrap(),
            )
        })
        .collect()
}
