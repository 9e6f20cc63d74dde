//! The 17 rules of Grafana's dashboard-linter (4d0844b), told again, and held to every generated file of both forms.
//!
//! In: dashboards. Out: what breaks which rule, and where. Where the linter passes over panels or queries for no reason of
//! its rule (types of panels that it does not list, selectors with labels), these do not.
//! Left out on purpose: `LogQL`. The two rules about it refuse any query of Loki instead.

mod panels;
mod queries;
mod variables;

use crate::document::Document;
use crate::samples;

/// A rule by the linter's name, and what breaks it: each as the place in the file and what is wrong there.
type Rule = (&'static str, fn(&Document) -> Vec<String>);

const RULES: [Rule; 17] = [
    ("template-datasource-rule", variables::data_source),
    ("template-job-rule", variables::job),
    ("template-instance-rule", variables::instance),
    ("template-label-promql-rule", variables::queries_parse),
    (
        "template-on-time-change-reload-rule",
        variables::follow_the_time_range,
    ),
    ("panel-datasource-rule", panels::data_source),
    ("panel-title-description-rule", panels::title_and_description),
    ("panel-units-rule", panels::units),
    ("panel-no-targets-rule", panels::targets),
    ("target-logql-rule", queries::logql),
    ("target-logql-auto-rule", queries::logql),
    ("target-promql-rule", queries::parse),
    ("target-rate-interval-rule", queries::rate_interval),
    ("target-job-rule", queries::job),
    ("target-instance-rule", queries::instance),
    ("target-counter-agg-rule", queries::counters),
    ("uneditable-dashboard", panels::uneditable),
];

/// What is not held to, and why: two reasons, each of which is two rules to the linter.
const EXCLUDED: [(&str, [&str; 2]); 2] = [
    (
        "series made from spans tell of services, whichever scrape job of the collector reports them, and what rules record \
         of them has no `job` that a matcher could name",
        ["template-job-rule", "target-job-rule"],
    ),
    (
        "`instance` would be the collector's, which says nothing about the service that a panel shows",
        ["template-instance-rule", "target-instance-rule"],
    ),
];

fn excluded(rule: &str) -> bool {
    EXCLUDED.iter().any(|(_, rules)| rules.contains(&rule))
}

fn broken(rule: Rule, documents: &[Document]) -> Vec<String> {
    let told = |document: &Document| {
        let file = document.file.clone();
        rule.1(document)
            .into_iter()
            .map(move |what| format!("{file}: {what}"))
    };
    documents.iter().flat_map(told).collect()
}

#[test]
fn no_generated_file_breaks_a_rule() {
    let documents = samples::all();
    let judged = RULES.into_iter().filter(|(name, _)| !excluded(name));
    let found: Vec<String> = judged
        .flat_map(|rule| {
            broken(rule, documents)
                .into_iter()
                .map(move |what| format!("{}: {what}", rule.0))
        })
        .collect();
    assert!(
        found.is_empty(),
        "{} of {} files:\n{}",
        found.len(),
        documents.len(),
        found.join("\n")
    );
}

#[test]
fn what_is_excluded_is_a_rule_that_would_be_broken() {
    let documents = samples::all();
    for name in EXCLUDED.iter().flat_map(|(_, rules)| rules) {
        let rule = RULES.into_iter().find(|(rule, _)| rule == name);
        let rule = rule.unwrap_or_else(|| panic!("`{name}` is no rule"));
        assert!(
            !broken(rule, documents).is_empty(),
            "`{name}` holds: it need not be excluded"
        );
    }
}

/// A dashboard that breaks no rule, in the linter's own view.
#[cfg(test)]
fn sound() -> serde_json::Value {
    let source = serde_json::json!({"type": "prometheus", "uid": "${datasource}"});
    let all = |name: &str, label: &str| {
        serde_json::json!({
            "type": "query", "name": name, "label": label, "query": format!("label_values(up, {name})"),
            "datasource": source, "refresh": 2, "multi": true, "includeAll": true, "allValue": ".+"
        })
    };
    serde_json::json!({
        "title": "sound", "editable": false,
        "templating": {"list": [
            {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus"},
            all("job", "Job"), all("instance", "Instance"),
        ]},
        "panels": [{
            "type": "timeseries", "title": "Requests", "description": "How many.", "datasource": source,
            "fieldConfig": {"defaults": {"unit": "reqps"}, "overrides": []},
            "targets": [{
                "refId": "A", "datasource": source,
                "expr": "sum(rate(requests_total{job=~\"$job\", instance=~\"$instance\"}[$__rate_interval]))"
            }],
        }],
    })
}

#[test]
fn a_sound_dashboard_breaks_no_rule_at_all() {
    let document = Document::of("sound", sound());
    for rule in RULES {
        assert!(
            rule.1(&document).is_empty(),
            "{}: {:?}",
            rule.0,
            rule.1(&document)
        );
    }
}

#[test]
fn each_rule_refuses_what_it_is_there_for() {
    let breaks = [
        (
            "template-datasource-rule",
            "/templating/list/0/label",
            "\"Source\"",
        ),
        ("template-datasource-rule", "/templating/list/0/name", "\"ds\""),
        ("template-job-rule", "/templating/list/1/allValue", "\".*\""),
        ("template-instance-rule", "/templating/list/2/multi", "false"),
        (
            "template-label-promql-rule",
            "/templating/list/1/query",
            "\"label_values(up{, job)\"",
        ),
        (
            "template-on-time-change-reload-rule",
            "/templating/list/1/refresh",
            "1",
        ),
        (
            "panel-datasource-rule",
            "/panels/0/datasource/uid",
            "\"prometheus\"",
        ),
        ("panel-title-description-rule", "/panels/0/description", "\"\""),
        (
            "panel-units-rule",
            "/panels/0/fieldConfig/defaults/unit",
            "\"requests\"",
        ),
        ("panel-no-targets-rule", "/panels/0/targets", "[]"),
        (
            "target-logql-rule",
            "/panels/0/targets/0/datasource/type",
            "\"loki\"",
        ),
        ("target-promql-rule", "/panels/0/targets/0/expr", "\"sum(\""),
        (
            "target-rate-interval-rule",
            "/panels/0/targets/0/expr",
            "\"sum(rate(requests_total[5m]))\"",
        ),
        (
            "target-job-rule",
            "/panels/0/targets/0/expr",
            "\"up{instance=~\\\"$instance\\\"}\"",
        ),
        (
            "target-instance-rule",
            "/panels/0/targets/0/expr",
            "\"up{instance=\\\"$instance\\\"}\"",
        ),
        (
            "target-counter-agg-rule",
            "/panels/0/targets/0/expr",
            "\"sum(requests_total{a=\\\"b\\\"})\"",
        ),
        ("uneditable-dashboard", "/editable", "true"),
    ];
    for (name, pointer, value) in breaks {
        let mut json = sound();
        let place = json.pointer_mut(pointer).expect("the sound dashboard has it");
        *place = serde_json::from_str(value).expect("a JSON value");
        let rule = RULES.into_iter().find(|(rule, _)| *rule == name).expect("a rule");
        assert!(
            !rule.1(&Document::of("broken", json)).is_empty(),
            "`{name}` takes {value} at {pointer}"
        );
    }
}
