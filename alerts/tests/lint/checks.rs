//! The checks, rule by rule.
//!
//! In: rule files in the order in which they are loaded. Out: every problem, led by the rule's name.
//! Left out on purpose: which labels an expression has; `labels` infers them.

use std::collections::{BTreeMap, BTreeSet};

use config::HumanDuration;
use promql_parser::parser::{self, Expr};
use serde::Deserialize;

use super::labels::{Above, Labels, labels};

#[derive(Deserialize)]
pub(crate) struct RuleFile {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    interval: HumanDuration,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    record: Option<String>,
    alert: Option<String>,
    expr: String,
    #[serde(rename = "for", default)]
    hold: HumanDuration,
    #[serde(default)]
    keep_firing_for: HumanDuration,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

const ANNOTATIONS: [&str; 4] = ["summary", "description", "runbook_url", "map_url"];

/// Everything that is wrong with the rules.
pub(crate) fn problems(files: &[RuleFile]) -> Vec<String> {
    let (mut above, mut all) = (Above::default(), Vec::new());
    let mut names = BTreeSet::new();
    for group in files.iter().flat_map(|file| &file.groups) {
        for rule in &group.rules {
            let name = rule
                .record
                .as_ref()
                .or(rule.alert.as_ref())
                .cloned()
                .unwrap_or_default();
            let mut found = Vec::new();
            if !names.insert(name.clone()) {
                found.push("stands there twice".to_owned());
            }
            match parser::parse(&rule.expr) {
                Err(error) => found.push(format!("does not parse: {error}")),
                Ok(expr) => {
                    let of = labels(&expr, &above, &mut found).unwrap_or_default();
                    if rule.alert.is_some() {
                        check_alert(&name, rule, group.interval, &expr, &of, &above, &mut found);
                    } else {
                        check_recording(&name, &of, &mut found);
                    }
                    remember(&name, rule, &expr, of, &mut above);
                }
            }
            all.extend(found.into_iter().map(|problem| format!("{name}: {problem}")));
        }
    }
    all
}

fn remember(name: &str, rule: &Rule, expr: &Expr, of: Labels, above: &mut Above) {
    if rule.record.is_some() {
        if is_conditional(expr, above) {
            above.conditional.insert(name.to_owned());
        }
        above.recorded.insert(name.to_owned(), of);
    } else {
        let of = rule.labels.keys().fold(of, |of, label| of.with(label));
        above.alerts.insert(name.to_owned(), of);
    }
}

fn check_recording(name: &str, of: &Labels, found: &mut Vec<String>) {
    let Some(series) = map::catalogue::find(name) else {
        found.push("is not in the catalogue".to_owned());
        return;
    };
    let missing = series.labels.iter().filter(|label| !of.may.contains(**label));
    found.extend(missing.map(|label| format!("the catalogue promises the label `{label}`")));
}

fn check_alert(
    name: &str,
    rule: &Rule,
    interval: HumanDuration,
    expr: &Expr,
    of: &Labels,
    above: &Above,
    found: &mut Vec<String>,
) {
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
        found.push(format!("`{name}` is no name"));
    }
    if !is_conditional(expr, above) {
        found.push("holds always: nothing compares".to_owned());
    }
    for (key, time) in [("for", rule.hold), ("keep_firing_for", rule.keep_firing_for)] {
        if !time.get().as_nanos().is_multiple_of(interval.get().as_nanos()) {
            found.push(format!(
                "`{key}` is {time}, no multiple of the interval {interval}"
            ));
        }
    }
    check_labels(rule, of, found);
    check_annotations(name, rule, of, above, found);
}

fn check_labels(rule: &Rule, of: &Labels, found: &mut Vec<String>) {
    let severity = rule.labels.get("severity").map_or("", String::as_str);
    if !matches!(severity, "page" | "ticket" | "info") {
        found.push(format!("has the severity `{severity}`"));
    }
    if severity == "page" && !(of.sure.contains("culprit") && of.may.contains("team")) {
        found.push("pages without `culprit` and `team`, by which it is grouped and routed".to_owned());
    }
    if !rule.labels.contains_key("role") {
        found.push("has no role".to_owned());
    }
    for (label, value) in &rule.labels {
        if of.may.contains(label) {
            found.push(format!("overwrites the label `{label}` of its expression"));
        }
        if value.contains("{{") {
            found.push("has a label that changes with each value".to_owned());
        }
    }
}

fn check_annotations(name: &str, rule: &Rule, of: &Labels, above: &Above, found: &mut Vec<String>) {
    for wanted in ANNOTATIONS {
        if rule.annotations.get(wanted).is_none_or(String::is_empty) {
            found.push(format!("has no annotation `{wanted}`"));
        }
    }
    let runbook = rule.annotations.get("runbook_url");
    if runbook.is_some_and(|url| !url.ends_with(&format!("/{name}.md"))) {
        found.push("`runbook_url` leads to another alert's page".to_owned());
    }
    for (annotation, text) in &rule.annotations {
        for used in after(text, "$labels.", |c| c.is_ascii_alphanumeric() || c == '_') {
            if !of.sure.contains(used) && !rule.labels.contains_key(used) {
                found.push(format!(
                    "`{annotation}` uses the label `{used}`, which the expression drops"
                ));
            }
        }
        for query in after(text, "printf `", |c| c != '`') {
            match parser::parse(&query.replace("%q", "\"x\"")) {
                Err(error) => found.push(format!(
                    "`{annotation}` asks what does not parse: {error}: {query}"
                )),
                Ok(query) => {
                    labels(&query, above, found);
                }
            }
        }
    }
}

/// What follows each `mark`, as long as its letters are of the kind.
fn after<'a>(text: &'a str, mark: &str, of: impl Fn(char) -> bool) -> Vec<&'a str> {
    text.split(mark)
        .skip(1)
        .map(|rest| rest.split(|c| !of(c)).next().unwrap_or_default())
        .collect()
}

/// True where the expression is empty unless something compares true, in itself or in what it reads.
fn is_conditional(expr: &Expr, above: &Above) -> bool {
    match expr {
        Expr::Paren(paren) => is_conditional(&paren.expr, above),
        Expr::Unary(unary) => is_conditional(&unary.expr, above),
        Expr::Aggregate(aggregate) => is_conditional(&aggregate.expr, above),
        Expr::Call(call) => call.args.args.iter().any(|arg| is_conditional(arg, above)),
        Expr::MatrixSelector(selector) => reads_condition(selector.vs.name.as_deref(), above),
        Expr::VectorSelector(selector) => reads_condition(selector.name.as_deref(), above),
        Expr::Binary(binary) => {
            let side = |side: &Expr| is_conditional(side, above);
            let (left, right) = (side(&binary.lhs), side(&binary.rhs));
            match binary.op.to_string().as_str() {
                "or" => left && right,
                "unless" => left,
                _ if binary.op.is_comparison_operator() => !binary.return_bool() || left || right,
                _ => left || right,
            }
        }
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Subquery(_) | Expr::Extension(_) => false,
    }
}

fn reads_condition(name: Option<&str>, above: &Above) -> bool {
    name.is_some_and(|name| name == "ALERTS" || above.conditional.contains(name))
}
