//! The queries of dashboards, for whoever wants to run them.
//!
//! In: dashboard files, ours or any in the classic format. Out: every query with where it stands.
//! Left out on purpose: queries of variables and annotations.

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

/// Every query with an `expr`, in order of files and panels, those in collapsed rows included.
///
/// What is no JSON, or no dashboard, has no queries.
pub fn queries(files: &BTreeMap<String, String>) -> Vec<Query> {
    let mut found = Vec::new();
    for (file, content) in files {
        let dashboard: Value = serde_json::from_str(content).unwrap_or_default();
        of_panels(file, &dashboard, &mut found);
    }
    found
}

/// Rows hold panels as a dashboard does; `serde_json` bounds how deep.
fn of_panels(file: &str, parent: &Value, found: &mut Vec<Query>) {
    for panel in items(parent, "panels") {
        for target in items(panel, "targets") {
            let Some(expr) = target.get("expr").and_then(Value::as_str) else {
                continue;
            };
            found.push(Query {
                file: file.to_owned(),
                panel: text(panel, "title"),
                ref_id: text(target, "refId"),
                expr: expr.to_owned(),
            });
        }
        of_panels(file, panel, found);
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
