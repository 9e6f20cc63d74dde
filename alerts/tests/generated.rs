//! The generated files against the tools that will read them, for maps of many shapes.

mod peers;

use std::collections::BTreeMap;

use alerts::{ALERTMANAGER_PATH, AlertSettings, RULE_TEST_PATH, RULES_PATH};
use expect_test::expect_file;
use peers::{MAPS, SHOP, generated, map_of, run, written};
use promql_parser::parser::{self, Expr};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde::Deserialize;

#[derive(Deserialize)]
struct RuleFile {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    record: Option<String>,
    alert: Option<String>,
    expr: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

fn rules() -> Vec<Rule> {
    let files = generated(SHOP);
    let mut file: RuleFile = serde_yaml::from_str(&files[RULES_PATH]).unwrap();
    assert_eq!(file.groups.len(), 1);
    file.groups.remove(0).rules
}

#[test]
fn every_planted_fault_pages_its_culprit_once_and_ends() {
    for (name, yaml) in MAPS {
        let dir = written(&generated(yaml));
        let said = run("promtool", dir.path(), &["test", "rules", RULE_TEST_PATH]);
        assert!(
            said.as_ref().is_ok_and(|s| s.contains("SUCCESS")),
            "{name}: {said:?}"
        );
    }
}

#[test]
fn planted_faults_page_with_other_settings_too() {
    let settings = AlertSettings {
        window: "10m".parse().unwrap(),
        evaluation_interval: "1m".parse().unwrap(),
        page_for: "3m".parse().unwrap(),
        keep_firing_for: "90s".parse().unwrap(),
        evidence_threshold: 50.0,
        min_slow_share: 0.25,
        ..AlertSettings::default()
    };
    let dir = written(&alerts::generate(&map_of(SHOP), &settings));
    run("promtool", dir.path(), &["test", "rules", RULE_TEST_PATH]).unwrap();
}

#[test]
fn edges_that_differ_in_their_connection_only_are_one_series_of_the_test() {
    let yaml = "edges: [{client: user, server: a}, {client: a, server: b}, \
        {client: a, server: b, connection_type: virtual_node}]";
    let dir = written(&generated(yaml));
    run("promtool", dir.path(), &["test", "rules", RULE_TEST_PATH]).unwrap();
}

#[test]
fn an_empty_map_gives_files_that_load() {
    let dir = written(&alerts::generate(&map::Map::default(), &AlertSettings::default()));
    run("promtool", dir.path(), &["check", "rules", RULES_PATH]).unwrap();
    run("promtool", dir.path(), &["test", "rules", RULE_TEST_PATH]).unwrap();
    run("amtool", dir.path(), &["check-config", ALERTMANAGER_PATH]).unwrap();
}

#[test]
fn every_node_that_can_be_charged_has_a_fault_planted() {
    let titles = |yaml: &str| -> Vec<String> {
        let files = generated(yaml);
        let names = files[RULE_TEST_PATH]
            .lines()
            .filter_map(|line| line.trim().strip_prefix("- name: "));
        names.map(|n| n.trim_matches(['\'', '"']).to_owned()).collect()
    };
    assert_eq!(
        titles(SHOP),
        [
            "the network around checkout is slow: one page",
            "cart-db, which reports no spans, is slow: one page",
            "cart is slow by itself: one page",
            "catalogue-db, which reports no spans, is slow: one page",
            "orders, which reports no spans, is slow: one page",
            "payment is slow by itself: one page",
            "catalogue is slow by itself: one page",
            "checkout is slow by itself: one page",
            "web is slow by itself: one page",
            "worker is slow by itself: a ticket and no page",
        ]
    );
}

#[test]
fn the_cap_on_faults_keeps_the_most_depended_on_and_names_the_rest() {
    let settings = AlertSettings {
        max_test_faults: 2,
        ..AlertSettings::default()
    };
    let files = alerts::generate(&map_of(SHOP), &settings);
    let text = &files[RULE_TEST_PATH];
    assert!(text.contains("# 2 faults planted in the map"), "{text}");
    assert!(text.contains("wait for: \"cart\", "), "{text}");
    assert_eq!(text.matches("- name: ").count(), 2);
}

#[test]
fn promtool_accepts_the_rules_and_finds_none_twice() {
    let dir = written(&generated(SHOP));
    let said = run(
        "promtool",
        dir.path(),
        &["check", "rules", "--lint=all", "--lint-fatal", RULES_PATH],
    )
    .unwrap();
    assert!(
        said.contains(&format!("SUCCESS: {} rules found", rules().len())),
        "{said}"
    );
}

#[test]
fn the_rule_file_is_the_same_whatever_the_map() {
    let shop = generated(SHOP);
    for (name, yaml) in MAPS {
        assert_eq!(generated(yaml)[RULES_PATH], shop[RULES_PATH], "{name}");
    }
    expect_file!["../src/rules/tracemap-latency.golden.yaml"].assert_eq(&shop[RULES_PATH]);
}

#[test]
fn the_same_map_and_settings_give_the_same_bytes() {
    for (_, yaml) in MAPS {
        assert_eq!(generated(yaml), generated(yaml));
    }
}

#[test]
fn the_routes_the_runbook_and_the_rule_test_are_as_committed() {
    let files = generated(SHOP);
    expect_file!["golden/alertmanager.yaml"].assert_eq(&files[ALERTMANAGER_PATH]);
    expect_file!["golden/chain.test.yaml"].assert_eq(&generated(MAPS[0].1)[RULE_TEST_PATH]);
    expect_file!["golden/LatencyDegraded.md"].assert_eq(&files["alerts/runbooks/LatencyDegraded.md"]);
}

#[test]
fn every_alert_has_its_runbook() {
    let files = generated(SHOP);
    for alert in rules().into_iter().filter_map(|rule| rule.alert) {
        assert!(
            files.contains_key(&format!("alerts/runbooks/{alert}.md")),
            "{alert}"
        );
    }
}

#[test]
fn no_label_of_an_alert_carries_a_value_that_changes() {
    for rule in rules() {
        assert!(
            rule.labels.values().all(|value| !value.contains("{{")),
            "{:?} {:?}",
            rule.alert,
            rule.labels
        );
    }
}

#[test]
fn every_expression_parses_and_names_only_series_of_the_catalogue() {
    struct Names(Vec<String>);
    impl ExprVisitor for Names {
        type Error = String;
        fn pre_visit(&mut self, expr: &Expr) -> Result<bool, String> {
            match expr {
                Expr::VectorSelector(selector) => self
                    .0
                    .push(selector.name.clone().ok_or("a selector without a name")?),
                Expr::MatrixSelector(selector) => {
                    self.0
                        .push(selector.vs.name.clone().ok_or("a selector without a name")?);
                }
                _ => {}
            }
            Ok(true)
        }
    }
    for rule in rules() {
        let parsed = parser::parse(&rule.expr).unwrap_or_else(|error| panic!("{error}: {}", rule.expr));
        let mut names = Names(Vec::new());
        walk_expr(&mut names, &parsed).unwrap();
        assert!(!names.0.is_empty());
        for name in names.0.iter().chain(&rule.record) {
            assert!(
                name == "ALERTS" || map::catalogue::find(name).is_some(),
                "`{name}` in {}",
                rule.expr
            );
        }
    }
}

#[test]
fn a_recording_rule_reads_only_what_stands_above_it() {
    let mut recorded: Vec<String> = Vec::new();
    for rule in rules() {
        for series in map::catalogue::ALL
            .iter()
            .filter(|s| s.kind == map::catalogue::Type::Recorded)
        {
            let above = recorded.iter().any(|name| name == series.name);
            assert!(
                above || !rule.expr.contains(series.name),
                "{} before {:?}",
                series.name,
                rule.record
            );
        }
        recorded.extend(rule.record);
    }
}

fn amtool_routes(settings: &AlertSettings, yaml: &str, expected: &str, labels: &[&str]) {
    let dir = written(&alerts::generate(&map_of(yaml), settings));
    let said = run("amtool", dir.path(), &["check-config", ALERTMANAGER_PATH]).unwrap();
    assert!(said.contains("SUCCESS"), "{said}");
    let config = format!("--config.file={ALERTMANAGER_PATH}");
    let receivers = format!("--verify.receivers={expected}");
    let args: Vec<&str> = ["config", "routes", "test", &config, &receivers]
        .into_iter()
        .chain(labels.iter().copied())
        .collect();
    let said = run("amtool", dir.path(), &args);
    assert!(said.is_ok(), "{labels:?} should reach `{expected}`: {said:?}");
}

#[test]
fn pages_and_symptoms_of_a_team_share_a_receiver_and_nothing_else_reaches_it() {
    let mut settings = AlertSettings::default();
    settings.receivers.page = Some("http://pager.example/".to_owned());
    settings
        .receivers
        .teams
        .insert("shop".to_owned(), "http://shop.example/".to_owned());
    let check = |expected: &str, labels: &[&str]| amtool_routes(&settings, SHOP, expected, labels);
    check(
        "page-shop",
        &[
            "alertname=LatencyDegraded",
            "severity=page",
            "team=shop",
            "culprit=cart",
        ],
    );
    check(
        "page-shop",
        &[
            "alertname=LatencyDegradedByDependency",
            "severity=info",
            "team=shop",
            "culprit=cart",
        ],
    );
    check(
        "page-money",
        &[
            "alertname=LatencyDegraded",
            "severity=page",
            "team=money",
            "culprit=payment",
        ],
    );
    check(
        "page",
        &[
            "alertname=LatencyDegraded",
            "severity=page",
            "team=unowned",
            "culprit=worker",
        ],
    );
    check(
        "ticket",
        &[
            "alertname=LatencyDegradedNoUserImpact",
            "severity=ticket",
            "team=shop",
            "culprit=cart",
        ],
    );
    check(
        "ticket",
        &[
            "alertname=LatencyUnexplained",
            "severity=ticket",
            "team=web",
            "id=web",
        ],
    );
    check(
        "ticket",
        &[
            "alertname=LatencyNewNormal",
            "severity=ticket",
            "team=web",
            "id=web",
        ],
    );
    check(
        "info",
        &["alertname=LatencyBaselineMissing", "severity=info", "id=web"],
    );
}

#[test]
fn a_team_with_quotes_in_its_name_is_routed() {
    let labels = [
        "alertname=LatencyDegraded",
        "severity=page",
        r#"team="a \"b\" \\ c""#,
        "culprit=x",
    ];
    amtool_routes(&AlertSettings::default(), MAPS[6].1, r#"page-a "b" \ c"#, &labels);
}
