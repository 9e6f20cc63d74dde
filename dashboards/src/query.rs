//! The queries of dashboards, for whoever wants to run them.
//!
//! In: dashboard files, ours or any, in the classic format or as a v2 resource. Out: every query with where it stands.
//! Left out on purpose: queries of variables and annotations; searches for traces.

use std::collections::BTreeMap;

use serde_json::Value;

/// One query of one panel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The file's name, as the caller gave it.
    pub file: String,
    /// The panel's title; empty where it has none.
    pub panel: String,
    /// The query's name within the panel; empty where it has none.
    pub ref_id: String,
    /// `PromQL` with Grafana's variables, such as `$__rate_interval`, still in it.
    pub expr: String,
}

impl Query {
    /// The query as a data source gets it: with this interval of rates, and with values for the variables that a viewer
    /// picks (`service`, `queue`, `client`, `server`). Values stand in literals, so quotes and backslashes are escaped.
    pub fn filled_in(&self, rate_interval: &str, picked: &[(&str, &str)]) -> String {
        let mut expr = self.expr.replace("$__rate_interval", rate_interval);
        for (variable, value) in picked {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"");
            expr = expr.replace(&format!("${variable}"), &value);
        }
        expr
    }
}

/// Every query with an `expr`, in order of files and panels (of a v2 resource by name), those in collapsed rows included.
///
/// What is no JSON, or no dashboard, has no queries.
pub fn queries(files: &BTreeMap<String, String>) -> Vec<Query> {
    let mut found = Vec::new();
    for (file, content) in files {
        let document: Value = serde_json::from_str(content).unwrap_or_default();
        of_document(file, &document, &mut found);
    }
    found
}

/// The same of one file.
pub(crate) fn of_document(file: &str, document: &Value, found: &mut Vec<Query>) {
    of_panels(file, document, found);
    for element in elements(document) {
        let spec = &element["spec"];
        for query in items(&spec["data"]["spec"], "queries") {
            let query = &query["spec"];
            let title = text(spec, "title");
            push(file, &title, text(query, "refId"), &query["query"]["spec"], found);
        }
    }
}

/// How many panels a file has, in either form.
pub(crate) fn panels_of(document: &Value) -> usize {
    let row = |panel: &&Value| text(panel, "type") == "row";
    let nested = items(document, "panels").filter(row).map(panels_of);
    items(document, "panels").filter(|panel| !row(panel)).count()
        + nested.sum::<usize>()
        + elements(document).count()
}

/// Elements of a v2 resource, by name.
fn elements(document: &Value) -> impl Iterator<Item = &Value> {
    let elements = document["spec"]["elements"].as_object();
    elements.into_iter().flat_map(|elements| elements.values())
}

/// Rows hold panels as a dashboard does; `serde_json` bounds how deep.
fn of_panels(file: &str, parent: &Value, found: &mut Vec<Query>) {
    for panel in items(parent, "panels") {
        for target in items(panel, "targets") {
            push(file, &text(panel, "title"), text(target, "refId"), target, found);
        }
        of_panels(file, panel, found);
    }
}

fn push(file: &str, panel: &str, ref_id: String, spec: &Value, found: &mut Vec<Query>) {
    if let Some(expr) = spec.get("expr").and_then(Value::as_str) {
        found.push(Query {
            file: file.to_owned(),
            panel: panel.to_owned(),
            ref_id,
            expr: expr.to_owned(),
        });
    }
}

fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn text(value: &Value, key: &str) -> String {
    value
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(json: &str) -> Vec<String> {
        let files = BTreeMap::from([("f".to_owned(), json.to_owned())]);
        queries(&files)
            .into_iter()
            .map(|q| format!("{}|{}|{}", q.panel, q.ref_id, q.expr))
            .collect()
    }

    #[test]
    fn panels_inside_a_collapsed_row_are_found() {
        let json = r#"{"panels": [
            {"title": "a", "targets": [{"refId": "A", "expr": "up"}, {"refId": "B", "query": "no expression"}]},
            {"type": "row", "panels": [{"title": "b", "targets": [{"expr": "down"}]}]}]}"#;
        assert_eq!(found(json), ["a|A|up", "b||down"]);
    }

    #[test]
    fn a_v2_resource_is_read_as_well() {
        let json = r#"{"spec": {"elements": {"panel-1": {"spec": {"title": "a", "data": {"spec": {"queries": [
            {"spec": {"refId": "A", "query": {"spec": {"expr": "up"}}}}]}}}}}}}"#;
        assert_eq!(found(json), ["a|A|up"]);
    }

    #[test]
    fn what_a_viewer_picks_is_filled_in_as_a_literal() {
        let query = Query {
            file: String::new(),
            panel: String::new(),
            ref_id: String::new(),
            expr: r#"rate(x{client="$client"}[$__rate_interval])"#.to_owned(),
        };
        assert_eq!(
            query.filled_in("1m", &[("client", r#"a"b"#)]),
            r#"rate(x{client="a\"b"}[1m])"#
        );
    }

    #[test]
    fn what_is_no_dashboard_has_no_queries() {
        for json in [
            "",
            "{",
            "[]",
            "7",
            r#"{"panels": 3}"#,
            r#"{"panels": [null, {"targets": {}}]}"#,
        ] {
            assert!(found(json).is_empty(), "{json}");
        }
    }
}
