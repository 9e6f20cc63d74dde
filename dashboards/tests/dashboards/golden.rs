//! The shop's files as people read them; `UPDATE_EXPECT=1 cargo test` writes them anew.

use dashboards::{
    DashboardSettings, EDGE_FILE, Files, ITSELF_FILE, OVERVIEW_FILE, QUEUES_FILE, SERVICES_FILE, Schema,
    empty_unless_used, empty_while_healthy, generate,
};
use expect_test::{ExpectFile, expect_file};
use map::Map;

use crate::sample::{all_dashboards, all_files, list, panels, shop, text};

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
fn a_queue_the_edge_and_tracemap_itself_are_as_committed() {
    check(
        "dashboards/queue-orders.json",
        &expect_file!["golden/queue-orders.json"],
    );
    check(EDGE_FILE, &expect_file!["golden/edge.json"]);
    check(ITSELF_FILE, &expect_file!["golden/tracemap.json"]);
}

#[test]
fn a_leaf_service_in_the_v2_form_is_as_committed() {
    let settings = DashboardSettings {
        schema: Schema::V2,
        ..DashboardSettings::default()
    };
    let files = generate(&shop(), &settings);
    expect_file!["golden/v2-service-payment.json"].assert_eq(&files["dashboards-v2/service-payment.json"]);
}

const ALWAYS: [&str; 3] = [EDGE_FILE, OVERVIEW_FILE, ITSELF_FILE];

#[test]
fn each_service_and_queue_has_a_file_beside_those_that_are_always_there() {
    let files = generate(&shop(), &DashboardSettings::default());
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    let services = ["cart", "catalogue", "checkout", "payment", "web", "worker"];
    let mut expected: Vec<String> = services.map(|s| format!("dashboards/service-{s}.json")).to_vec();
    expected.push("dashboards/queue-orders.json".to_owned());
    expected.extend(ALWAYS.map(str::to_owned));
    expected.sort();
    assert_eq!(names, expected);
}

#[test]
fn beyond_the_bound_the_number_of_files_is_fixed() {
    let settings = DashboardSettings {
        max_per_entity: 6,
        ..DashboardSettings::default()
    };
    let names: Vec<String> = generate(&shop(), &settings).into_keys().collect();
    let mut expected = [&ALWAYS[..], &[QUEUES_FILE, SERVICES_FILE]].concat();
    expected.sort_unstable();
    assert_eq!(names, expected, "6 services and a queue are more than 6");
}

#[test]
fn an_empty_map_gives_what_is_always_there() {
    let files = generate(&Map::default(), &DashboardSettings::default());
    assert_eq!(files.keys().collect::<Vec<_>>(), ALWAYS);
}

#[test]
fn both_forms_say_the_same_under_one_uid() {
    let settings = DashboardSettings {
        schema: Schema::Both,
        files: Files::PerEntity,
        ..DashboardSettings::default()
    };
    let files = generate(&shop(), &settings);
    let classic = files.keys().filter(|name| name.starts_with("dashboards/"));
    let mut seen = 0;
    for name in classic {
        let v2 = name.replace("dashboards/", "dashboards-v2/");
        let [old, new] = [&files[name], &files[&v2]]
            .map(|json| serde_json::from_str::<serde_json::Value>(json).expect("JSON"));
        assert_eq!(old["uid"], new["metadata"]["name"], "{name}");
        assert_eq!(old["title"], new["spec"]["title"], "{name}");
        let exprs = |file: &str| {
            let one = std::collections::BTreeMap::from([(file.to_owned(), files[file].clone())]);
            let mut exprs: Vec<String> = dashboards::queries(&one).into_iter().map(|q| q.expr).collect();
            exprs.sort();
            exprs
        };
        assert_eq!(exprs(name), exprs(&v2), "{name}");
        seen += 1;
    }
    assert_eq!(files.len(), 2 * seen);
}

#[test]
fn a_service_that_vanished_says_since_when_and_is_gone_later() {
    let hour = 3_600_000_000_000;
    let after = |silent: u64| {
        let mut map = shop();
        for (id, node) in &mut map.nodes {
            let silent = if id.as_str() == "cart" { silent } else { 0 };
            node.seen.note(495_000 * hour - silent);
        }
        generate(&map, &DashboardSettings::default())
    };
    let file = "dashboards/service-cart.json";
    assert!(!after(0)[file].contains("Not seen since"));
    assert!(after(2 * hour)[file].contains("### Not seen since 2026-06-20 22:00 UTC"));
    let retired = after(25 * hour);
    assert!(!retired.contains_key(file));
    let uid = dashboards::service_uid(&"cart".into());
    assert!(
        retired.values().all(|json| !json.contains(&uid)),
        "nothing leads to it"
    );
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
        assert!(json.contains("https://map.example/"), "{file}");
        assert!(!json.contains("127.0.0.1"), "{file}");
    }
}

#[test]
fn every_panel_that_is_empty_by_design_exists_and_says_so() {
    let dashboards = all_dashboards();
    let unless_used = empty_unless_used().map(|(file, title, _)| (file, title, file == EDGE_FILE));
    let healthy = empty_while_healthy()
        .iter()
        .map(|(file, title)| (*file, *title, true));
    for (file, title, says_so) in healthy.chain(unless_used) {
        let of_file: Vec<_> = dashboards.iter().filter(|(name, _)| name == file).collect();
        assert!(!of_file.is_empty(), "{file}");
        for (_, dashboard) in of_file {
            let found: Vec<_> = panels(dashboard)
                .filter(|panel| text(panel, "title") == title)
                .collect();
            assert_eq!(found.len(), 1, "{title}");
            let said = !text(&found[0]["fieldConfig"]["defaults"], "noValue").is_empty();
            assert!(said || !says_so || title.contains("expected share"), "{title}");
        }
    }
}

#[test]
fn searches_for_failing_traces_may_be_empty_in_every_dashboard_of_a_service() {
    let says = |file: &str, title: &str| dashboards::is_empty_while_healthy(file, title);
    for file in [
        "dashboards/service-cart.json",
        "dashboards-v2/service-cart.json",
        SERVICES_FILE,
    ] {
        assert!(
            says(file, "Recent failing traces") && says(file, "Recent slow traces"),
            "{file}"
        );
        assert!(!says(file, "Requests"), "{file}");
    }
    assert!(says("dashboards-v2/overview.json", "Who is to blame"));
    assert!(!says(EDGE_FILE, "Recent failing traces"));
}

#[test]
fn rows_and_nodes_lead_to_the_dashboard_whose_uid_they_show() {
    let mut seen = 0;
    for files in all_files() {
        seen += lead_to_each_other(files);
    }
    assert!(seen > 50, "{seen}");
}

/// How many uids the rows and nodes of these files show, each of which is that of a file.
fn lead_to_each_other(files: &std::collections::BTreeMap<String, String>) -> usize {
    let dashboards: Vec<(&String, serde_json::Value)> = files
        .iter()
        .map(|(file, json)| (file, serde_json::from_str(json).expect("JSON")))
        .collect();
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
    seen
}
