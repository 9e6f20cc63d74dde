//! Panels of a dashboard file, with their queries as the data source gets them.
//!
//! In: a file in the classic form, and a Prometheus that fills in its variables. Out: titles and queries.
//! Left out on purpose: every value that a variable offers; one that has all there is to see stands for all.

use std::fmt;

use serde_json::Value;

use crate::support::{Prometheus, encoded, get_json};

/// What is picked where a variable offers it: entities of the shop with callers, callees, and a queue between them.
const PICKED: [&str; 4] = ["checkout", "payment", "orders", "web"];

/// What Grafana fills in itself; ranges are long enough for the shop's scrapes.
const BUILT_IN: [(&str, &str); 5] = [
    ("__rate_interval", "30s"),
    ("__interval_ms", "5000"),
    ("__interval", "5s"),
    ("__range_s", "300"),
    ("__range", "300s"),
];

/// A panel that asks something.
#[derive(Debug)]
pub(crate) struct Panel {
    pub(crate) file: String,
    pub(crate) title: String,
    pub(crate) queries: Vec<Query>,
}

/// A query, filled in.
#[derive(Debug)]
pub(crate) enum Query {
    Prometheus(String),
    /// `TraceQL`.
    Tempo(String),
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Prometheus(text) | Self::Tempo(text)) = self;
        f.write_str(text)
    }
}

/// The panels of a file; or which of its variables offers nothing.
pub(crate) async fn panels(file: &str, text: &str, prometheus: &Prometheus) -> Result<Vec<Panel>, String> {
    let json: Value = serde_json::from_str(text).map_err(|e| format!("{file} is no JSON: {e}"))?;
    let variables = variables(file, &json, prometheus).await?;
    let all = list(&json, "panels").flat_map(|panel| [panel].into_iter().chain(list(panel, "panels")));
    let asking = all.filter(|panel| list(panel, "targets").next().is_some());
    let read = |panel: &Value| Panel {
        file: file.to_owned(),
        title: panel["title"].as_str().unwrap_or_default().to_owned(),
        queries: list(panel, "targets")
            .map(|target| query(target, &variables))
            .collect(),
    };
    Ok(asking.map(read).collect())
}

fn query(target: &Value, variables: &[(String, String)]) -> Query {
    let filled = |key: &str| filled(target[key].as_str().unwrap_or_default(), variables);
    match target["datasource"]["type"].as_str() {
        Some("prometheus") => Query::Prometheus(filled("expr")),
        Some("tempo") => Query::Tempo(filled("query")),
        other => panic!("no data source of type {other:?} is known here: {target}"),
    }
}

/// The value that is picked of each query variable, in order, because later ones may ask by earlier ones.
pub(crate) async fn variables(
    file: &str,
    json: &Value,
    prometheus: &Prometheus,
) -> Result<Vec<(String, String)>, String> {
    let mut picked = Vec::new();
    for variable in list(&json["templating"], "list").filter(|variable| variable["type"] == "query") {
        let name = variable["name"].as_str().unwrap_or_default();
        let asked = filled(variable["query"].as_str().unwrap_or_default(), &picked);
        let offered = offered(prometheus, &asked).await;
        let preferred = PICKED.iter().find(|value| offered.iter().any(|o| o == *value));
        let value = preferred
            .map(|value| (*value).to_owned())
            .or_else(|| offered.first().cloned());
        let value = value.ok_or_else(|| format!("{file}: variable `{name}` offers nothing: {asked}"))?;
        picked.push((name.to_owned(), value));
    }
    Ok(picked)
}

/// What a variable offers: the values of a label, or those of a query's samples.
async fn offered(prometheus: &Prometheus, query: &str) -> Vec<String> {
    let inside = |function: &str| query.strip_prefix(function)?.strip_prefix('(')?.strip_suffix(')');
    if let Some((selector, label)) = inside("label_values").and_then(|inside| inside.rsplit_once(',')) {
        let label = format!("{}/api/v1/label/{}/values", prometheus.url, label.trim());
        let answer = get_json(&format!("{label}?match[]={}", encoded(selector)))
            .await
            .unwrap_or_default();
        return list(&answer, "data")
            .filter_map(|value| value.as_str().map(str::to_owned))
            .collect();
    }
    let expr =
        inside("query_result").unwrap_or_else(|| panic!("a variable asks in a way not known here: {query}"));
    let samples = prometheus.query(expr).await;
    samples
        .iter()
        .filter_map(|sample| sample["value"][1].as_str().map(str::to_owned))
        .collect()
}

/// A text with its variables filled in. Longer names go first: one may begin with another.
pub(crate) fn filled(text: &str, variables: &[(String, String)]) -> String {
    let built_in = BUILT_IN.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut all: Vec<(String, String)> = built_in.into_iter().chain(variables.iter().cloned()).collect();
    all.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    all.iter().fold(text.to_owned(), |text, (name, value)| {
        let formats = ["", ":regex", ":raw", ":doublequote"];
        let text = formats.iter().fold(text, |text, how| {
            text.replace(&format!("${{{name}{how}}}"), value)
        });
        text.replace(&format!("${name}"), value)
    })
}

pub(crate) fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[key].as_array().into_iter().flatten()
}

#[test]
fn a_variable_is_filled_in_however_it_is_written() {
    let variables = [
        ("id".to_owned(), "cart".to_owned()),
        ("id_of".to_owned(), "web".to_owned()),
    ];
    let text = r#"rate(a{id="$id",of="${id_of}",re=~"${id:regex}"}[$__rate_interval])"#;
    assert_eq!(
        filled(text, &variables),
        r#"rate(a{id="cart",of="web",re=~"cart"}[30s])"#
    );
}
