//! The profile `static`: its rules against the tools that will read them, and against faults planted in chains and stars.
//!
//! In: maps of each shape. Out: what promtool and the linters say, and which alerts the rules know.
//! Left out on purpose: routes, templates and runbooks, which are those of the profile `live`.

#[path = "lint/checks.rs"]
mod checks;
#[path = "lint/labels.rs"]
mod labels;
mod peers;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use alerts::{AlertSettings, BURN_RULES_PATH, PROMETHEUS_RULE_PATH, Profile, RULE_TEST_PATH, RULES_PATH};
use expect_test::expect_file;
use peers::{MAPS, SHOP, map_of, run, written};
use serde::Deserialize;

/// Settings under which a planted fault has less of a past before it, which `promtool` runs sooner.
const SOON: &str = "static: {learn: 10m}";
/// Rules that a default Mimir takes in one group, `ruler_max_rules_per_rule_group`.
const MOST_IN_GROUP: usize = 20;

fn fixed(yaml: &str) -> AlertSettings {
    let settings: AlertSettings = config::load("test.yaml", yaml, []).expect("settings");
    AlertSettings {
        profile: Profile::Static,
        ..settings
    }
}

fn generated(map: &str, settings: &str) -> BTreeMap<String, String> {
    alerts::generate(&map_of(map), &fixed(settings))
}

/// Has promtool run the planted faults; their names.
fn planted(files: &BTreeMap<String, String>) -> Result<Vec<String>, String> {
    let dir = written(files);
    run("promtool", dir.path(), &["test", "rules", RULE_TEST_PATH])?;
    let names = files[RULE_TEST_PATH]
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- name: "));
    Ok(names
        .map(|name| name.trim_matches(['\'', '"']).to_owned())
        .collect())
}

#[derive(Deserialize)]
struct RuleFile {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    alert: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

fn rule_file(text: &str) -> RuleFile {
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

#[test]
fn a_fault_at_any_node_of_a_map_of_each_shape_is_one_page_for_its_culprit() {
    for (name, yaml) in MAPS {
        let found = planted(&generated(yaml, SOON)).unwrap_or_else(|told| panic!("{name}: {told}"));
        assert!(
            found.iter().any(|title| title.ends_with(": one page")),
            "{name}: {found:?}"
        );
    }
}

#[test]
fn every_node_that_calls_lead_to_has_a_fault_planted_and_the_others_are_named() {
    let files = generated(SHOP, SOON);
    let found = planted(&files).unwrap();
    assert_eq!(
        found,
        [
            "cart is slow by itself: one page",
            "cart-db is slow by itself: one page",
            "catalogue is slow by itself: one page",
            "catalogue-db is slow by itself: one page",
            "checkout is slow by itself: one page",
            "payment is slow by itself: one page",
            "web is slow by itself: one page",
        ]
    );
    let left_out = r#"`max_test_faults` is reached: "orders", "worker""#;
    assert!(
        files[RULE_TEST_PATH].contains(left_out),
        "{}",
        files[RULE_TEST_PATH]
    );
}

#[test]
fn long_chains_and_wide_stars_are_no_different() {
    let chain: Vec<String> = (0..7)
        .map(|n| format!("{{client: s{n}, server: s{}}}", n + 1))
        .collect();
    let star: Vec<String> = (1..9).map(|n| format!("{{client: s0, server: s{n}}}")).collect();
    for edges in [chain, star] {
        let map = format!("edges: [{{client: user, server: s0}}, {}]", edges.join(", "));
        let found = planted(&generated(&map, SOON)).unwrap();
        assert_eq!(found.len(), edges.len() + 1);
        assert!(
            found.iter().all(|title| title.ends_with(": one page")),
            "{found:?}"
        );
    }
}

#[test]
fn what_no_entry_point_waits_for_is_a_ticket() {
    let map = "edges: [{client: user, server: web}, {client: timer, server: job}, \
        {client: job, server: archive, connection_type: database}]";
    let found = planted(&generated(map, SOON)).unwrap();
    assert_eq!(
        found,
        [
            "archive is slow by itself: a ticket and no page",
            "job is slow by itself: a ticket and no page",
            "web is slow by itself: one page",
        ]
    );
}

#[test]
fn other_settings_and_other_names_of_the_series_change_nothing() {
    for settings in [
        "{window: 10m, evaluation_interval: 1m, page_for: 3m, keep_firing_for: 2m}",
        "",
        "{evidence_threshold: 700, page_for: 0s, static: {learn: 5m}}",
        "{static: {server_seconds: 'calls:server', client_seconds: duration_client_seconds, history: 6h, learn: 30m}}",
    ] {
        let files = generated(MAPS[0].1, settings);
        let found = planted(&files).unwrap_or_else(|told| panic!("{settings}: {told}"));
        assert_eq!(found.len(), 3, "{settings}: {found:?}");
    }
    let renamed = &generated(MAPS[0].1, "{static: {server_seconds: s, client_seconds: c}}")[RULES_PATH];
    assert!(!renamed.contains("traces_service_graph"), "{renamed}");
}

#[test]
fn the_linter_of_promtool_accepts_the_rules_of_any_map() {
    for (name, yaml) in MAPS.into_iter().chain([("nothing", "")]) {
        let dir = written(&generated(yaml, ""));
        let args = ["check", "rules", "--lint=all", "--lint-fatal", RULES_PATH];
        let told = run("promtool", dir.path(), &args);
        assert!(told.is_ok(), "{name}: {told:?}");
    }
    planted(&generated("", SOON)).expect("a map without nodes has a test that runs");
}

/// Rules that read what stands below them read its past. They are looked at as Prometheus does it: again.
#[test]
fn a_careful_reviewer_finds_nothing_in_the_rules_of_any_map() {
    for (name, yaml) in MAPS.into_iter().chain([("nothing", "")]) {
        let text = &generated(yaml, "")[RULES_PATH];
        let read = || -> checks::RuleFile { serde_yaml::from_str(text).expect("rules") };
        let once = checks::problems(&[read()]);
        assert!(
            !once.iter().any(|problem| problem.contains("twice")),
            "{name}: {once:#?}"
        );
        let again = checks::problems(&[read(), read()]);
        let found: Vec<&String> = again[once.len()..]
            .iter()
            .filter(|problem| !problem.ends_with(": stands there twice"))
            .collect();
        assert!(found.is_empty(), "{name}: {found:#?}");
    }
}

#[test]
fn the_alerts_are_those_of_the_live_profile_with_its_labels_and_links() {
    let said = |settings: &AlertSettings| -> BTreeMap<String, (BTreeMap<String, String>, BTreeSet<String>)> {
        let files = alerts::generate(&map_of(SHOP), settings);
        let rules = rule_file(&files[RULES_PATH])
            .groups
            .into_iter()
            .flat_map(|group| group.rules);
        rules
            .filter_map(|rule| Some((rule.alert?, (rule.labels, rule.annotations.into_keys().collect()))))
            .collect()
    };
    let (mut live, fixed) = (said(&AlertSettings::default()), said(&fixed("")));
    assert!(
        live.remove("LatencyNewNormal").is_some(),
        "whose baseline is the query's past asks nobody"
    );
    assert_eq!(live, fixed);
    assert_eq!(fixed.len(), 5);
}

#[test]
fn a_group_has_no_more_rules_than_a_default_mimir_takes_whatever_the_map() {
    let mut edges = "edges: [{client: user, server: s0}".to_owned();
    for n in 1..200 {
        let _ = write!(edges, ", {{client: s{}, server: s{n}}}", n / 3);
    }
    let text = &generated(&(edges + "]"), "max_test_faults: 0")[RULES_PATH];
    let groups = rule_file(text).groups;
    let sizes: Vec<(&str, usize)> = groups
        .iter()
        .map(|group| (group.name.as_str(), group.rules.len()))
        .collect();
    assert_eq!(sizes, [("tracemap-usual", 3), ("tracemap-latency", 20)]);
    assert!(sizes.iter().all(|(_, rules)| *rules <= MOST_IN_GROUP));
}

#[test]
fn nothing_that_reads_the_collectors_series_is_generated() {
    let files = generated(SHOP, "{notify: {kubernetes: {}}}");
    assert!(!files.contains_key(BURN_RULES_PATH));
    let rules: Vec<&String> = files
        .keys()
        .filter(|path| path.starts_with("alerts/rules/"))
        .collect();
    assert_eq!(rules, [RULES_PATH]);
    for path in [RULES_PATH, PROMETHEUS_RULE_PATH] {
        assert!(!files[path].contains("tracemap_"), "{path}: {}", files[path]);
    }
    assert!(files[PROMETHEUS_RULE_PATH].contains("name: tracemap-usual"));
}

#[test]
fn the_head_of_the_rule_file_names_what_cannot_be_judged() {
    let text = &generated(
        "nodes: {orders: {kind: destination}}\n\
         edges: [{client: user, server: web}, {client: web, server: a}, {client: web, server: b}, \
         {client: timer, server: a}, {client: a, server: orders, connection_type: messaging_system}]",
        "",
    )[RULES_PATH];
    for line in [
        "# - Own time where calls run in parallel: it is what was taken less all that was waited for, and not below 0. These call several: \"web\".\n",
        "# - Services without an edge that leads to them, hence without seconds of their own: \"timer\".\n",
        "# - Destinations of a broker, and the time that messages lie there: \"orders\".\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn the_rules_of_a_chain_are_the_committed_ones() {
    let files = generated(MAPS[0].1, "");
    expect_file!["golden/static-chain.rules.yaml"].assert_eq(&files[RULES_PATH]);
    expect_file!["golden/static-chain.test.yaml"].assert_eq(&files[RULE_TEST_PATH]);
}
