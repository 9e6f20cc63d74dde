//! The resources of the Prometheus operator beside the files they stand for.
//!
//! In: settings. Out: the same rules and routes in both, and what promtool and amtool say of the resources' content.
//! Left out on purpose: an API server and a validator of schemas; the operator's published types were only read beside them.

mod peers;

use std::collections::BTreeMap;

use alerts::{
    ALERTMANAGER_CONFIG_PATH, ALERTMANAGER_PATH, AlertSettings, BURN_RULES_PATH, ERROR_RULES_PATH,
    HEALTH_RULES_PATH, PROMETHEUS_RULE_PATH, RULES_PATH,
};
use expect_test::expect_file;
use peers::{MAPS, SHOP, map_of, run, written};
use serde::{Deserialize, Serialize};

fn settings(yaml: &str) -> AlertSettings {
    config::load("settings.yaml", yaml, []).unwrap()
}

const FULL: &str = "receivers: {page: 'http://pager.example/', teams: {shop: 'http://shop.example/'}, \
    slack: {api_url_file: /etc/slack, page: '#oncall'}}\n\
    notify: {ticket_hours: {}, kubernetes: {namespace: watch, labels: {release: kps}}}";

fn generated(yaml: &str) -> BTreeMap<String, String> {
    alerts::generate(&map_of(SHOP), &settings(yaml))
}

#[test]
fn no_resource_is_written_unless_asked_for() {
    let files = generated("");
    assert!(
        !files.keys().any(|path| path.contains("kubernetes")),
        "{:?}",
        files.keys()
    );
}

#[test]
fn the_resources_are_as_committed() {
    let files = generated(FULL);
    // Which alerts there are is the rules' to say.
    let is_list = |line: &&str| line.contains("LatencyDegraded|");
    let text = &files[ALERTMANAGER_CONFIG_PATH];
    let list = text.lines().find(is_list).unwrap().trim();
    expect_file!["golden/alertmanagerconfig.yaml"].assert_eq(&text.replace(list, "every|alert"));
    let (head, _) = files[PROMETHEUS_RULE_PATH].split_once("    rules:\n").unwrap();
    expect_file!["golden/prometheusrule.head.yaml"].assert_eq(head);
}

/// What stands below `key:` in the first column, two spaces further out.
fn below(text: &str, key: &str) -> String {
    let (_, rest) = text.split_once(&format!("\n{key}:\n")).unwrap();
    let lines = rest.lines().map(|line| line.strip_prefix("  ").unwrap_or(line));
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn the_rules_are_those_of_the_file_but_for_the_label_that_the_operator_routes_by() {
    let files = generated(FULL);
    let spec = below(&files[PROMETHEUS_RULE_PATH], "spec");
    let label = "      namespace: watch\n";
    let rules = [RULES_PATH, ERROR_RULES_PATH, BURN_RULES_PATH, HEALTH_RULES_PATH].map(|path| &files[path]);
    let alerts: usize = rules.iter().map(|text| text.matches("- alert: ").count()).sum();
    assert!(alerts > 0);
    assert_eq!(spec.matches(label).count(), alerts, "{spec}");
    let groups = rules.map(|text| text.split_once("\ngroups:\n").unwrap().1);
    assert_eq!(spec.replace(label, ""), format!("groups:\n{}", groups.concat()));
    let dir = written(&BTreeMap::from([("rules.yaml".to_owned(), spec)]));
    let said = run("promtool", dir.path(), &["check", "rules", "rules.yaml"]);
    assert!(said.as_ref().is_ok_and(|s| s.contains("SUCCESS")), "{said:?}");
}

/// An `AlertmanagerConfig` as it is read, and as the operator writes it for Alertmanager, but for its own additions.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all(deserialize = "camelCase"))]
struct Spec {
    route: Route,
    receivers: Vec<Receiver>,
    #[serde(default, rename(serialize = "time_intervals"))]
    mute_time_intervals: Vec<Interval>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all(deserialize = "camelCase"))]
struct Route {
    receiver: String,
    matchers: Vec<Matcher>,
    group_by: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_wait: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat_interval: Option<String>,
    active_time_intervals: Vec<String>,
    routes: Vec<Route>,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", into = "String")]
struct Matcher {
    name: String,
    match_type: String,
    value: String,
}

impl From<Matcher> for String {
    fn from(matcher: Matcher) -> Self {
        format!("{}{}{:?}", matcher.name, matcher.match_type, matcher.value)
    }
}

/// Where it leads to is another test's to see.
#[derive(Deserialize, Serialize)]
struct Receiver {
    name: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all(deserialize = "camelCase"))]
struct Interval {
    name: String,
    time_intervals: Vec<Hours>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all(deserialize = "camelCase"))]
struct Hours {
    times: Vec<Times>,
    weekdays: Vec<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all(deserialize = "camelCase"))]
struct Times {
    start_time: String,
    end_time: String,
}

/// The configuration that an object becomes: its route is the first child of a root of somebody else.
fn as_alertmanager(object: &str) -> String {
    let mut spec: Spec = serde_yaml::from_str(&below(object, "spec")).unwrap();
    spec.route = Route {
        receiver: "somebody else".to_owned(),
        routes: vec![spec.route],
        ..Route::default()
    };
    spec.receivers.push(Receiver {
        name: "somebody else".to_owned(),
    });
    serde_yaml::to_string(&spec).unwrap()
}

#[test]
fn the_routes_lead_where_those_of_the_file_lead_and_take_nobody_elses_alerts() {
    for (name, yaml) in MAPS {
        let files = alerts::generate(&map_of(yaml), &settings(FULL));
        let object = as_alertmanager(&files[ALERTMANAGER_CONFIG_PATH]);
        let file = files[ALERTMANAGER_PATH].clone();
        let both = [("object.yaml".to_owned(), object), ("file.yaml".to_owned(), file)];
        let dir = written(&BTreeMap::from(
            both.map(|(path, text)| (format!("./{path}"), text)),
        ));
        let said = run("amtool", dir.path(), &["check-config", "object.yaml"]);
        assert!(
            said.as_ref().is_ok_and(|s| s.contains("SUCCESS")),
            "{name}: {said:?}"
        );
        let to = |file: &str, labels: &[&str]| {
            let config = format!("--config.file={file}");
            run(
                "amtool",
                dir.path(),
                &[&["config", "routes", "test", &config], labels].concat(),
            )
            .unwrap()
        };
        for labels in [
            [
                "alertname=LatencyDegraded",
                "severity=page",
                "culprit=x",
                "team=shop",
            ],
            [
                "alertname=LatencyDegraded",
                "severity=page",
                "culprit=x",
                "team=back",
            ],
            [
                "alertname=LatencyDegradedByDependency",
                "severity=info",
                "culprit=x",
                "team=data",
            ],
            [
                "alertname=LatencyUnexplained",
                "severity=ticket",
                "id=web",
                "team=shop",
            ],
            [
                "alertname=LatencyBaselineMissing",
                "severity=info",
                "id=web",
                "team=",
            ],
        ] {
            assert_eq!(
                to("object.yaml", &labels),
                to("file.yaml", &labels),
                "{name}: {labels:?}"
            );
        }
        let other = to("object.yaml", &["alertname=Other", "severity=page", "culprit=x"]);
        assert!(other.starts_with("somebody else\n"), "{name}: {other}");
    }
}

#[test]
fn hours_of_a_time_zone_are_left_out_and_told_because_the_resource_cannot_name_one() {
    let zoned = FULL.replace("ticket_hours: {}", "ticket_hours: {location: Asia/Tokyo}");
    let text = &generated(&zoned)[ALERTMANAGER_CONFIG_PATH];
    assert!(!text.contains("TimeIntervals:"), "{text}");
    assert!(text.contains("# The hours of tickets are left out"), "{text}");
    assert!(generated(FULL)[ALERTMANAGER_CONFIG_PATH].contains("activeTimeIntervals:"));
}
