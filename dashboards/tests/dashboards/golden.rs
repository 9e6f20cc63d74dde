//! The shop's files as people read them; `UPDATE_EXPECT=1 cargo test` writes them anew.

use dashboards::{DashboardSettings, OVERVIEW_FILE, empty_while_healthy, generate};
use expect_test::{ExpectFile, expect_file};
use map::Map;

use crate::sample::{all_dashboards, list, panels, shop, text};

fn check(file: &str, golden: &ExpectFile) {
    let files = generate(&shop(), &DashboardSettings::default());
    golden.assert_eq(&files[file]);
}

#[test]
fn the_overview_of_the_shop_is_as_committed() {
    check(OVERVIEW_FILE, &expect_file!["golden/overview.json"]);
}

#[test]
fn a_service_with_callers_and_callees_is_as_committed() {
    check(
        "dashboards/service-checkout.json",
        &expect_file!["golden/service-checkout.json"],
    );
}

#[test]
fn a_leaf_service_is_as_committed() {
    check(
        "dashboards/service-payment.json",
        &expect_file!["golden/service-payment.json"],
    );
}

#[test]
fn each_service_has_a_file_and_nothing_else_has() {
    let files = generate(&shop(), &DashboardSettings::default());
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    let services = ["cart", "catalogue", "checkout", "payment", "web", "worker"];
    let expected: Vec<String> = services.map(|s| format!("dashboards/service-{s}.json")).to_vec();
    assert_eq!(names[0], OVERVIEW_FILE);
    assert_eq!(names[1..], expected);
}

#[test]
fn an_empty_map_gives_an_overview_alone() {
    let files = generate(&Map::default(), &DashboardSettings::default());
    assert_eq!(files.keys().collect::<Vec<_>>(), [OVERVIEW_FILE]);
}

#[test]
fn the_same_map_gives_the_same_bytes() {
    let once = generate(&shop(), &DashboardSettings::default());
    assert_eq!(once, generate(&shop(), &DashboardSettings::default()));
    assert!(once.values().all(|json| json.ends_with("}\n")));
}

#[test]
fn settings_reach_every_dashboard() {
    let settings: DashboardSettings = serde_json::from_str(
        r#"{"refresh": "1m", "time_range": "6h", "web_url": "https://map.example/", "tag": "blue"}"#,
    )
    .unwrap();
    for (file, json) in generate(&shop(), &settings) {
        let dashboard: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(dashboard["refresh"], "1m", "{file}");
        assert_eq!(dashboard["time"]["from"], "now-6h", "{file}");
        assert_eq!(dashboard["tags"][0], "blue", "{file}");
        assert!(json.contains("https://map.example/?node="), "{file}");
        assert!(!json.contains("127.0.0.1"), "{file}");
    }
}

#[test]
fn every_panel_that_is_empty_by_design_exists_and_says_so() {
    let dashboards = all_dashboards();
    for (file, title) in empty_while_healthy() {
        let of_file = dashboards
            .iter()
            .filter(|(name, _)| name == file)
            .map(|(_, dashboard)| dashboard);
        for dashboard in of_file {
            let found: Vec<_> = panels(dashboard)
                .filter(|panel| text(panel, "title") == *title)
                .collect();
            assert_eq!(found.len(), 1, "{title}");
            assert!(
                !text(&found[0]["fieldConfig"]["defaults"], "noValue").is_empty(),
                "{title}"
            );
        }
    }
}

#[test]
fn rows_and_nodes_lead_to_the_dashboard_whose_uid_they_show() {
    let dashboards = all_dashboards();
    let uids: Vec<&str> = dashboards
        .iter()
        .map(|(_, dashboard)| text(dashboard, "uid"))
        .collect();
    let mut seen = 0;
    for (file, dashboard) in &dashboards {
        for panel in panels(dashboard) {
            let overrides: Vec<_> = list(&panel["fieldConfig"], "overrides").collect();
            let properties = || overrides.iter().flat_map(|o| list(o, "properties"));
            let linked = properties().any(|p| p["id"] == "links");
            let mappings: Vec<_> = properties()
                .filter(|p| p["id"] == "mappings")
                .flat_map(|p| list(p, "value"))
                .collect();
            assert_eq!(linked, !mappings.is_empty(), "{file} {}", panel["title"]);
            for mapping in mappings {
                let results = match mapping["type"].as_str() {
                    Some("value") => mapping["options"].as_object().unwrap().values().collect(),
                    _ => vec![&mapping["options"]["result"]],
                };
                for result in results {
                    seen += 1;
                    assert!(uids.contains(&text(result, "text")), "{file} {result}");
                }
            }
        }
    }
    assert!(seen > 50, "{seen}");
}
