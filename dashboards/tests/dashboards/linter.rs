//! Grafana's dashboard-linter (4d0844b), its rules told again, over every generated file.
//!
//! Here are those that need the samples of this folder; the rest stands in the test `lint`.

use promql_parser::parser::Expr;
use serde_json::Value;

use crate::promql::{all_queries, nodes, parsed};
use crate::sample::{all_dashboards, charts, list, text};

/// What the rules about titles and data sources look at, and what we hold to them besides.
const PANEL_TYPES: [&str; 4] = ["stat", "timeseries", "table", "nodeGraph"];
/// Those of Grafana's unit ids that are used here (`packages/grafana-data/src/valueFormats/categories.ts`).
const UNITS: [&str; 8] = [
    "none",
    "s",
    "reqps",
    "percentunit",
    "cps",
    "bytes",
    "Bps",
    "dateTimeFromNow",
];

fn each_panel(judge: impl Fn(&Value) -> bool) {
    let mut seen = 0;
    for (file, dashboard) in all_dashboards() {
        for panel in charts(dashboard) {
            assert!(judge(panel), "{file}: {}", panel["title"]);
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} panels");
}

#[test]
fn template_datasource_rule_one_variable_with_the_name_and_label_that_others_use() {
    for (file, dashboard) in all_dashboards() {
        let variables: Vec<_> = list(&dashboard["templating"], "list")
            .filter(|v| v["type"] == "datasource")
            .collect();
        assert!((1..=2).contains(&variables.len()), "{file}");
        for (variable, kind) in variables.into_iter().zip(["prometheus", "tempo"]) {
            assert_eq!(text(variable, "query"), kind, "{file}");
            assert_eq!(text(variable, "name"), format!("{kind}_datasource"), "{file}");
            assert_eq!(
                text(variable, "label").to_lowercase(),
                format!("{kind} data source"),
                "{file}"
            );
        }
    }
}

#[test]
fn panel_datasource_rule_panels_and_targets_ask_the_picked_source() {
    let picked = ["prometheus", "tempo"]
        .map(|kind| serde_json::json!({"type": kind, "uid": format!("${{{kind}_datasource}}")}));
    each_panel(|panel| {
        let source = &panel["datasource"];
        picked.contains(source) && list(panel, "targets").all(|t| t["datasource"] == *source)
    });
}

#[test]
fn panel_title_description_rule_every_panel_has_both() {
    each_panel(|panel| {
        PANEL_TYPES.contains(&text(panel, "type"))
            && !text(panel, "title").is_empty()
            && text(panel, "description").len() > 60
    });
}

#[test]
fn panel_units_rule_every_panel_has_a_unit_that_grafana_knows() {
    each_panel(|panel| {
        let overridden = list(&panel["fieldConfig"], "overrides")
            .flat_map(|o| list(o, "properties"))
            .filter(|p| p["id"] == "unit")
            .all(|p| UNITS.contains(&text(p, "value")));
        overridden && UNITS.contains(&text(&panel["fieldConfig"]["defaults"], "unit"))
    });
}

#[test]
fn panel_no_targets_rule_every_panel_asks_something() {
    each_panel(|panel| list(panel, "targets").next().is_some());
}

#[test]
fn target_rate_interval_rule_rates_follow_the_zoom() {
    for query in all_queries() {
        for rate in query.expr.split("rate(").skip(1) {
            let range = rate.split_once('[').map_or("", |(_, range)| range);
            assert!(
                range.starts_with("$__rate_interval]"),
                "{}: [{range}",
                query.panel
            );
        }
    }
}

#[test]
fn target_counter_agg_rule_counters_are_rated_before_they_are_summed() {
    for query in all_queries() {
        for expr in nodes(&parsed(query)) {
            if let Expr::Aggregate(aggregate) = &expr
                && let Expr::VectorSelector(selector) = aggregate.expr.as_ref()
            {
                let name = selector.name.as_deref().unwrap_or_default();
                assert!(!name.ends_with("_total"), "{}: {}", query.panel, query.expr);
            }
        }
    }
}

#[test]
fn uneditable_dashboard_rule_what_is_generated_is_not_edited_by_hand() {
    for (file, dashboard) in all_dashboards() {
        assert_eq!(dashboard["editable"], false, "{file}");
    }
}
