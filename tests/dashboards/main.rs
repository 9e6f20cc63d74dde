//! Every panel has data: the demo shop, scraped by a real Prometheus twice, with classic and with native histograms.
//!
//! In: `tracemap up --demo`, its map, and the dashboards of that map in every form whose queries differ. Out: every query
//! of every panel answers while all is well, except of those panels that are empty by design; and those answer while a
//! fault is on. One shop serves all, because starting it and learning its baselines is what takes the time.
//! Left out on purpose: whether what a panel shows is right; each series has tests of its own.

mod looks;
mod panels;
mod shop;
#[path = "../system/support.rs"]
#[allow(dead_code, reason = "the tests of `system` use more of it")]
mod support;

use std::collections::BTreeMap;

use dashboards::{DashboardSettings, ITSELF_FILE, empty_unless_used, generate, is_empty_while_healthy};
use map::Map;
use serde_json::json;

use crate::panels::{Panel, panels};
use crate::shop::{PATIENCE, Shop};
use crate::support::{Prometheus, until};

/// Dashboards as one installation would have them, and the Prometheus that they are for.
struct Installation<'a> {
    settings: String,
    prometheus: &'a Prometheus,
}

impl Installation<'_> {
    fn files(&self, map: &Map) -> BTreeMap<String, String> {
        let settings: DashboardSettings = serde_json::from_str(&self.settings).expect("these settings exist");
        generate(map, &settings)
    }

    /// Asks every query of these panels, filled in with what the dashboard's variables offer; nothing while some are
    /// without an answer.
    async fn all_answer(&self, shop: &Shop, map: &Map, asked: impl Fn(&Panel) -> bool) -> Option<()> {
        let mut missing = Vec::new();
        for (file, text) in self.files(map) {
            match panels(&file, &text, self.prometheus).await {
                Ok(found) => {
                    for panel in found.iter().filter(|panel| asked(panel)) {
                        missing.extend(self.unanswered(shop, panel).await);
                    }
                }
                Err(what) => missing.push(what),
            }
        }
        eprintln!("{}: {} without data: {missing:#?}", self.settings, missing.len());
        missing.is_empty().then_some(())
    }

    async fn unanswered(&self, shop: &Shop, panel: &Panel) -> Vec<String> {
        let mut missing = Vec::new();
        for query in &panel.queries {
            if !shop.answers(self.prometheus, query).await {
                missing.push(format!("{} / {}: {query}", panel.file, panel.title));
            }
        }
        missing
    }
}

fn is_empty_by_design(panel: &Panel) -> bool {
    is_empty_while_healthy(&panel.file, &panel.title)
}

/// What not every collector and agent does, and this one does in part. Edges of the shop have all there is to see.
fn is_not_used(panel: &Panel) -> bool {
    let listed = empty_unless_used().any(|(file, title, _)| file == panel.file && title == panel.title);
    listed && panel.file == ITSELF_FILE
}

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_has_data_and_those_that_are_empty_by_design_have_it_under_a_fault() {
    let dir = tempfile::tempdir().unwrap();
    let mut shop = Shop::start(dir.path()).await;
    let installation = |prometheus, files: &str, histograms: &str| {
        let settings = json!({"files": files, "histograms": histograms, "vanished_after": "30s"});
        Installation {
            settings: settings.to_string(),
            prometheus,
        }
    };
    let installations = [
        installation(&shop.classic, "per_entity", "classic"),
        installation(&shop.native, "per_entity", "native"),
        installation(&shop.classic, "templated", "classic"),
        installation(&shop.native, "templated", "native"),
    ];

    shop.has_its_baselines().await;
    let map = shop.map();
    for installation in &installations {
        until(
            &format!("every panel of {}", installation.settings),
            PATIENCE,
            async || {
                let healthy = |panel: &Panel| !is_empty_by_design(panel) && !is_not_used(panel);
                installation.all_answer(&shop, &map, healthy).await
            },
        )
        .await;
    }

    shop.breaks().await;
    for installation in &installations {
        until(
            &format!("every panel of {} under a fault", installation.settings),
            PATIENCE,
            async || {
                shop.refuses_a_span().await;
                installation.all_answer(&shop, &map, is_empty_by_design).await
            },
        )
        .await;
    }
    shop.assert_running();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_of_a_series_that_nobody_has_is_seen_to_be_empty() {
    let dir = tempfile::tempdir().unwrap();
    let prometheus = shop::prometheus_alone(dir.path()).await;
    let file = r#"{"panels": [{"title": "gone", "targets": [
        {"refId": "A", "datasource": {"type": "prometheus"}, "expr": "rate(nobody_has_this_total[$__rate_interval])"}]}]}"#;
    let found = panels("f", file, &prometheus.0).await.expect("the file is read");
    let [panel] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert!(!shop::answers_in(&prometheus.0, &panel.queries[0]).await);
}
