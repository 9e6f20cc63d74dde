//! The classic dashboard schema (Foundation SDK, `dashboard.jsonschema.json`) as far as it is written: which keys are
//! required, and that there are no others. Options of panels are held to nothing; that schema lags behind Grafana.

use std::collections::BTreeSet;

use dashboards::OVERVIEW_FILE;
use serde_json::Value;

use crate::sample::{all_dashboards, list, panels, text};

const DASHBOARD: &[&str] = &[
    "uid",
    "title",
    "description",
    "tags",
    "schemaVersion",
    "timezone",
    "editable",
    "graphTooltip",
    "time",
    "refresh",
    "annotations",
    "templating",
    "links",
    "panels",
];
const LINK: &[&str] = &[
    "title",
    "type",
    "icon",
    "tooltip",
    "url",
    "tags",
    "asDropdown",
    "targetBlank",
    "includeVars",
    "keepTime",
];
const ROW: &[&str] = &["id", "type", "title", "collapsed", "gridPos", "panels"];
const PANEL: &[&str] = &[
    "id",
    "type",
    "title",
    "description",
    "gridPos",
    "fieldConfig",
    "options",
];
const TRACES: &[&str] = &[
    "refId",
    "datasource",
    "queryType",
    "query",
    "limit",
    "tableType",
    "filters",
];
const TARGET: &[&str] = &[
    "refId",
    "datasource",
    "editorMode",
    "expr",
    "legendFormat",
    "format",
    "instant",
    "range",
];

/// The keys are the required ones and some of the others.
fn keys(what: &str, value: &Value, required: &[&str], optional: &[&str]) {
    let object = value
        .as_object()
        .unwrap_or_else(|| panic!("{what} is no mapping: {value}"));
    let found: BTreeSet<&str> = object.keys().map(String::as_str).collect();
    let required: BTreeSet<&str> = required.iter().copied().collect();
    let known: BTreeSet<&str> = optional.iter().copied().chain(required.iter().copied()).collect();
    assert!(
        found.is_superset(&required),
        "{what} lacks {:?}",
        required.difference(&found)
    );
    assert!(
        found.is_subset(&known),
        "{what} has {:?}",
        found.difference(&known)
    );
}

#[test]
fn a_dashboard_has_the_keys_of_the_schema_and_no_others() {
    for (file, dashboard) in all_dashboards() {
        keys(file, dashboard, DASHBOARD, &[]);
        assert_eq!(dashboard["schemaVersion"], 42, "{file}");
        keys("time", &dashboard["time"], &["from", "to"], &[]);
        keys("annotations", &dashboard["annotations"], &["list"], &[]);
        for annotation in list(&dashboard["annotations"], "list") {
            // The schema knows none of the keys of a data source's own; Grafana's Prometheus reads these.
            let own = ["expr", "titleFormat", "textFormat", "useValueForTime"];
            let common = ["name", "datasource", "enable", "hide", "iconColor"];
            keys("annotation", annotation, &[&common[..], &own].concat(), &[]);
        }
        for variable in list(&dashboard["templating"], "list") {
            let picked = ["datasource", "regex", "refresh", "sort", "hide"];
            keys("variable", variable, &["type", "name", "label", "query"], &picked);
        }
        for link in list(dashboard, "links") {
            keys("link", link, LINK, &[]);
        }
        assert!(
            list(dashboard, "tags").all(|tag| tag.as_str().is_some_and(|t| t.len() <= 50)),
            "{file}"
        );
    }
}

#[test]
fn uids_and_titles_are_what_the_server_takes() {
    for (file, dashboard) in all_dashboards() {
        let (uid, title) = (text(dashboard, "uid"), text(dashboard, "title"));
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        assert!(
            (1..=40).contains(&uid.len()) && uid.chars().all(legal),
            "{file} {uid}"
        );
        assert!((1..=5000).contains(&title.len()), "{file} {title}");
        assert!(
            !title.contains("${") && !title.contains("$_") && !title.contains("[["),
            "{file} {title}"
        );
    }
}

#[test]
fn panels_and_rows_have_the_keys_of_the_schema_and_no_others() {
    for (file, dashboard) in all_dashboards() {
        for row in list(dashboard, "panels").filter(|panel| panel["type"] == "row") {
            keys(file, row, ROW, &[]);
        }
        for panel in panels(dashboard) {
            let what = format!("{file}: {}", panel["title"]);
            let asks = ["datasource", "targets", "transformations"];
            keys(
                &what,
                panel,
                PANEL,
                if panel["type"] == "text" { &[] } else { &asks },
            );
            for target in list(panel, "targets") {
                if target["queryType"] == "traceql" {
                    keys(&what, target, TRACES, &[]);
                    continue;
                }
                keys(&what, target, TARGET, &["exemplar"]);
                assert_ne!(target["instant"], target["range"], "{what}");
            }
            let config = &panel["fieldConfig"];
            keys(&what, config, &["defaults", "overrides"], &[]);
            keys(
                &what,
                &config["defaults"],
                &["unit"],
                &["noValue", "min", "color", "thresholds", "custom"],
            );
            for step in list(&config["defaults"]["thresholds"], "steps") {
                keys(&what, step, &["value", "color"], &[]);
            }
            for one in list(config, "overrides") {
                keys(&what, one, &["matcher", "properties"], &[]);
                list(one, "properties").for_each(|p| keys(&what, p, &["id", "value"], &[]));
            }
        }
    }
}

#[test]
fn the_first_threshold_is_open_and_the_others_rise() {
    for (file, dashboard) in all_dashboards() {
        for panel in panels(dashboard) {
            let steps: Vec<_> = list(&panel["fieldConfig"]["defaults"]["thresholds"], "steps").collect();
            if let Some((first, rest)) = steps.split_first() {
                assert!(first["value"].is_null(), "{file} {}", panel["title"]);
                let rest: Vec<f64> = rest
                    .iter()
                    .map(|s| s["value"].as_f64().expect("a number"))
                    .collect();
                assert!(rest.is_sorted(), "{file} {}", panel["title"]);
            }
        }
    }
}

#[test]
fn ids_and_titles_of_panels_and_names_of_queries_are_used_once() {
    for (file, dashboard) in all_dashboards() {
        let all: Vec<_> = list(dashboard, "panels").collect();
        for key in ["id", "title"] {
            let distinct: BTreeSet<String> = all.iter().map(|panel| panel[key].to_string()).collect();
            assert_eq!(distinct.len(), all.len(), "{file} {key}");
        }
        for panel in panels(dashboard) {
            let names: Vec<&str> = list(panel, "targets").map(|t| text(t, "refId")).collect();
            let distinct: BTreeSet<&str> = names.iter().copied().collect();
            assert!(
                distinct.len() == names.len() && !distinct.contains(""),
                "{file} {names:?}"
            );
        }
    }
}

#[test]
fn no_two_panels_overlap_and_none_is_wider_than_the_grid() {
    for (file, dashboard) in all_dashboards() {
        let mut taken: BTreeSet<(u64, u64)> = BTreeSet::new();
        for panel in list(dashboard, "panels") {
            keys(file, &panel["gridPos"], &["h", "w", "x", "y"], &[]);
            let [h, w, x, y] =
                ["h", "w", "x", "y"].map(|key| panel["gridPos"][key].as_u64().expect("a count"));
            assert!(h >= 1 && w >= 1 && x + w <= 24, "{file} {}", panel["title"]);
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{file}: {} covers {cell:?}", panel["title"]);
            }
        }
    }
}

#[test]
fn the_node_graph_has_both_frames_with_the_fields_that_grafana_reads() {
    let dashboards = all_dashboards();
    let overviews: Vec<_> = dashboards
        .iter()
        .filter(|(file, _)| file == OVERVIEW_FILE)
        .collect();
    assert_eq!(overviews.len(), 9);
    for (_, dashboard) in overviews {
        let graph = panels(dashboard)
            .find(|panel| panel["type"] == "nodeGraph")
            .expect("a node graph");
        let targets: Vec<_> = list(graph, "targets").collect();
        assert_eq!(
            targets.iter().map(|t| text(t, "refId")).collect::<Vec<_>>(),
            ["nodes", "edges"]
        );
        assert!(
            graph["fieldConfig"]["defaults"]["color"].is_null(),
            "a colour mode would hide the colours of the rows"
        );
        assert!(graph["transformations"].is_null(), "renamed fields are not read");
        for target in &targets {
            assert!(target["format"] == "table" && target["instant"] == true);
            for label in [
                "\"mainstat\"",
                "\"secondarystat\"",
                "\"detail__failed\"",
                "\"color\"",
            ] {
                assert!(text(target, "expr").contains(label), "{label}");
            }
        }
        for end in ["client", "server"] {
            let listed =
                format!(r#"label_replace(max by (client, server) (tracemap_edge_info), "id", "$1", "{end}""#);
            assert!(
                text(targets[0], "expr").contains(&listed),
                "an edge's {end} may be missing among the nodes"
            );
        }
        for label in ["\"source\"", "\"target\"", r#""id", "->", "client", "server""#] {
            assert!(text(targets[1], "expr").contains(label), "{label}");
        }
    }
}

#[test]
fn links_between_dashboards_keep_time_and_variables() {
    for (file, dashboard) in all_dashboards() {
        let inside: Vec<_> = list(dashboard, "links")
            .filter(|link| link["type"] == "dashboards" || text(link, "url").starts_with("/d/"))
            .collect();
        assert_eq!(inside.len(), if file == OVERVIEW_FILE { 4 } else { 5 }, "{file}");
        assert!(
            inside
                .iter()
                .all(|link| link["keepTime"] == true && link["includeVars"] == true),
            "{file}"
        );
        for panel in panels(dashboard) {
            let properties = list(&panel["fieldConfig"], "overrides").flat_map(|o| list(o, "properties"));
            for link in properties
                .filter(|p| p["id"] == "links")
                .flat_map(|p| list(p, "value"))
            {
                let url = text(link, "url");
                let kept = url.contains("?${__url_time_range}&${prometheus_datasource:queryparam}");
                assert!(kept || !url.starts_with("/d/"), "{file}: {url}");
            }
        }
    }
}
