//! Rule files and rule tests as Prometheus and promtool 2.42 read them.
//!
//! In: expressions, labels, annotations. Out: YAML in a fixed order.
//! Left out on purpose: what newer versions added (`query_offset`, group labels, native histogram series), so that
//! the generated files load wherever `keep_firing_for` does.
//! Source: Prometheus documentation, "Defining recording rules", "Alerting rules", "Unit testing for rules".

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

/// Label or annotation names with their values.
pub(crate) type Pairs = BTreeMap<&'static str, String>;

#[derive(Debug, Serialize)]
pub(crate) struct RuleFile {
    pub(crate) groups: Vec<Group>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) interval: String,
    pub(crate) rules: Vec<Rule>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Rule {
    Recording(Recording),
    Alert(Alert),
}

#[derive(Debug, Serialize)]
pub(crate) struct Recording {
    pub(crate) record: &'static str,
    pub(crate) expr: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Alert {
    #[serde(rename = "alert")]
    pub(crate) name: &'static str,
    pub(crate) expr: String,
    #[serde(rename = "for")]
    pub(crate) hold: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep_firing_for: Option<String>,
    pub(crate) labels: Pairs,
    pub(crate) annotations: Pairs,
}

#[derive(Debug, Serialize)]
pub(crate) struct TestFile {
    pub(crate) rule_files: Vec<String>,
    pub(crate) evaluation_interval: String,
    pub(crate) tests: Vec<Test>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Test {
    pub(crate) name: String,
    pub(crate) interval: String,
    pub(crate) input_series: Vec<InputSeries>,
    #[serde(rename = "promql_expr_test")]
    pub(crate) checks: Vec<ExprTest>,
}

#[derive(Debug, Serialize)]
pub(crate) struct InputSeries {
    pub(crate) series: String,
    pub(crate) values: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct ExprTest {
    pub(crate) expr: String,
    pub(crate) eval_time: String,
    pub(crate) exp_samples: Vec<Sample>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) labels: String,
    pub(crate) value: f64,
}

/// The expression without its first line break and without the indentation that its lines have in common.
pub(crate) fn dedent(text: &str) -> String {
    let lines: Vec<&str> = text.trim_matches('\n').lines().collect();
    let indent = |line: &&str| line.len() - line.trim_start().len();
    let common = lines
        .iter()
        .filter(|l| !l.trim().is_empty())
        .map(indent)
        .min()
        .unwrap_or(0);
    let cut: Vec<&str> = lines
        .iter()
        .map(|l| l.get(common..).unwrap_or_default().trim_end())
        .collect();
    cut.join("\n").trim_end().to_owned()
}

/// The lines of an expression, two spaces further in.
pub(crate) fn indent(text: &str) -> String {
    text.lines()
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A series as promtool reads it: `name{label="value",…}`. Empty values are absent labels, so they are left out.
pub(crate) fn series(name: &str, labels: &[(&str, &str)]) -> String {
    let mut text = format!("{name}{{");
    for (label, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
        let comma = if text.ends_with('{') { "" } else { "," };
        let _ = write!(text, "{comma}{label}={}", quoted(value));
    }
    text + "}"
}

/// A label value between double quotes, for `PromQL` and for Alertmanager's matchers alike.
pub(crate) fn quoted(value: &str) -> String {
    format!(
        "\"{}\"",
        value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
    )
}

/// The data as YAML under a comment.
pub(crate) fn to_yaml(comment: &str, data: &impl Serialize) -> String {
    let comment: String = comment
        .lines()
        .map(|line| format!("# {line}").trim_end().to_owned() + "\n")
        .collect();
    comment + &serde_yaml::to_string(data).expect("plain data of strings and numbers serialises")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_common_indentation_is_taken_away() {
        assert_eq!(dedent("\n    a\n      * b\n\n    c\n    "), "a\n  * b\n\nc");
    }

    #[test]
    fn label_values_are_escaped_and_empty_ones_left_out() {
        assert_eq!(
            series("m", &[("a", "x\"\\\n"), ("b", ""), ("c", "y")]),
            r#"m{a="x\"\\\n",c="y"}"#
        );
    }
}
