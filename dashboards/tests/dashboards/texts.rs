//! Everything that Grafana reads beside the panels' queries: texts, links, annotations, variables.

use dashboards::{MAX_PANELS, sizes};
use map::catalogue;
use promql_parser::parser::{self, Expr};
use serde_json::Value;

use crate::promql::nodes;
use crate::sample::{all_dashboards, all_files, large, list, panels, text};

/// All that stands behind a `$` in what we write ourselves.
const OURS: [&str; 15] = [
    "__rate_interval",
    "{__url_time_range}",
    "{__data.fields.",
    "{prometheus_datasource",
    "{tempo_datasource",
    "{slower_than}",
    "{service:percentencode}",
    "{client:percentencode}",
    "service",
    "queue",
    "client",
    "server",
    "1\"",
    "1 ",
    "\u{2060}",
];

fn strings<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(items) => items.values().for_each(|item| strings(item, found)),
        _ => {}
    }
}

#[test]
fn no_name_is_read_as_a_variable_wherever_it_stands() {
    for (file, dashboard) in all_dashboards() {
        let mut found = Vec::new();
        strings(dashboard, &mut found);
        for text in found
            .into_iter()
            .filter(|text| !text.ends_with("*$/") && !text.ends_with("+)$/"))
        {
            assert!(!text.contains("[["), "{file}: {text}");
            for rest in text.split('$').skip(1) {
                assert!(OURS.iter().any(|ours| rest.starts_with(ours)), "{file}: ${rest}");
            }
        }
    }
}

#[test]
fn a_name_in_a_text_is_neither_markdown_nor_html() {
    let mut seen = 0;
    for (file, dashboard) in all_dashboards() {
        for panel in panels(dashboard).filter(|panel| panel["title"] == "Runbook") {
            let prose = text(&panel["options"], "content");
            for sign in ["<", "](", "_it_", "`b", "| ", "\n# ", "\u{202e}"] {
                assert!(!prose.contains(sign), "{file}: {sign} in {prose}");
            }
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen}");
}

fn names_only_the_catalogue(expr: &str, whence: &str) {
    let parsed = parser::parse(expr).unwrap_or_else(|e| panic!("{whence}: {e}: {expr}"));
    for expr in nodes(&parsed) {
        if let Expr::VectorSelector(selector) = expr {
            let name = selector.name.unwrap_or_default();
            assert!(catalogue::find(&name).is_some(), "{whence}: `{name}`");
        }
    }
}

#[test]
fn annotations_and_variables_ask_for_series_of_the_catalogue() {
    let mut seen = 0;
    for (file, dashboard) in all_dashboards() {
        for annotation in list(&dashboard["annotations"], "list") {
            names_only_the_catalogue(text(annotation, "expr"), file);
            seen += 1;
        }
        let variables = list(&dashboard["templating"], "list").filter(|v| v["type"] == "query");
        for query in variables.map(|variable| text(variable, "query")) {
            let inner = query.split_once('(').and_then(|(function, rest)| {
                let inner = rest.strip_suffix(')')?;
                match function {
                    "label_values" => Some(inner.rsplit_once(", ")?.0),
                    "query_result" => Some(inner),
                    _ => None,
                }
            });
            names_only_the_catalogue(inner.unwrap_or_else(|| panic!("{file}: {query}")), file);
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn queries_to_run_by_hand_run_as_they_are() {
    let mut seen = 0;
    for (file, dashboard) in all_dashboards() {
        for panel in panels(dashboard).filter(|panel| panel["type"] == "text") {
            let content = text(&panel["options"], "content");
            let code = content.split("```promql\n").skip(1);
            for line in code
                .flat_map(str::lines)
                .filter(|line| !line.starts_with(['#', '`']))
            {
                names_only_the_catalogue(line, file);
                seen += 1;
            }
        }
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn no_dashboard_has_more_panels_than_a_person_reads() {
    for size in all_files().iter().flat_map(sizes) {
        assert!((1..=MAX_PANELS).contains(&size.panels), "{size:?}");
        assert!(size.queries > 0, "{size:?}");
    }
}

#[test]
fn a_system_of_1000_services_and_10000_edges_has_5_small_files() {
    let files = dashboards::generate(&large(), &dashboards::DashboardSettings::default());
    let sizes = sizes(&files);
    assert_eq!(sizes.len(), 5);
    for size in sizes {
        assert!(size.bytes < 100 * 1024, "{size:?}");
    }
}
