//! Dashboards of what is no longer on the map: they say so for a while, then they go.
//!
//! In: a dashboard and today's date. Out: the same with a notice at its head and a tag that bears the date.
//! Left out on purpose: a list of what is gone. The tag is in the dashboard, so files and Grafana remember it alike.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::Files;
use crate::dashboard::{self, tags};

/// Before the date.
const TAG: &str = "gone-since-";
/// Rows of Grafana's grid, each about 30 pixels.
const NOTICE_HEIGHT: i64 = 3;
const DAY: Duration = Duration::from_hours(24);

/// The start of the day (UTC) on which a dashboard was marked as gone; `None` where it is not.
pub fn gone_since(json: &Value) -> Option<SystemTime> {
    let date = tags(json).find_map(|tag| tag.strip_prefix(TAG))?;
    humantime::parse_rfc3339(&format!("{date}T00:00:00Z")).ok()
}

/// Whether a dashboard was marked as gone more than `after` before `now`, and may be removed.
pub(crate) fn is_over(json: &Value, after: Duration, now: SystemTime) -> bool {
    // Marked at any time of that day.
    gone_since(json).is_some_and(|since| {
        now.duration_since(since)
            .is_ok_and(|age| age >= after.saturating_add(DAY))
    })
}

/// The dashboard with a notice over its panels; unchanged where it has one.
pub(crate) fn mark(mut json: Value, now: SystemTime) -> Value {
    if gone_since(&json).is_some() {
        return json;
    }
    let date = humantime::format_rfc3339_seconds(now).to_string();
    let date = date.get(..10).unwrap_or_default().to_owned();
    if let Some(tags) = json.get_mut("tags").and_then(Value::as_array_mut) {
        tags.push(Value::String(format!("{TAG}{date}")));
    } else {
        json["tags"] = json!([format!("{TAG}{date}")]);
    }
    let mut panels = json.get_mut("panels").map_or(Value::Null, Value::take);
    let mut last = 0;
    if let Some(panels) = panels.as_array_mut() {
        move_down(panels, &mut last);
        panels.insert(0, notice(last + 1, &date));
    } else {
        panels = json!([notice(1, &date)]);
    }
    json["panels"] = panels;
    json
}

fn notice(id: i64, date: &str) -> Value {
    let content = format!(
        "**This is no longer on the map**, since {date} or some time before. The panels show what Prometheus still has. \
         Nothing sent spans under this name for as long as `collector.map.stale_after` says: it was removed, renamed, or \
         its tracing broke. The dashboard is removed after `generate.grafana.keep_gone`, and is itself again if spans come."
    );
    json!({
        "id": id, "type": "text", "title": "", "description": "", "transparent": false,
        "gridPos": {"h": NOTICE_HEIGHT, "w": 24, "x": 0, "y": 0},
        "options": {"mode": "markdown", "content": content},
    })
}

/// Makes room at the top; finds the highest id on the way. Rows hold panels as a dashboard does.
fn move_down(panels: &mut [Value], last: &mut i64) {
    for panel in panels {
        *last = panel
            .get("id")
            .and_then(Value::as_i64)
            .unwrap_or_default()
            .max(*last);
        if let Some(y) = panel.pointer_mut("/gridPos/y") {
            *y = Value::from(y.as_i64().unwrap_or_default().saturating_add(NOTICE_HEIGHT));
        }
        if let Some(inner) = panel.get_mut("panels").and_then(Value::as_array_mut) {
            move_down(inner, last);
        }
    }
}

/// Adds to `generated` what was there `before` and is generated no longer, marked as gone, until `after` is over.
///
/// Only dashboards in the classic schema are kept so; how many were is the result. With an `after` of zero none is.
pub fn keep_gone(generated: &mut Files, before: &Files, after: Duration, now: SystemTime) -> usize {
    let mut kept = 0;
    for (name, content) in before {
        if after.is_zero() || generated.contains_key(name) || !dashboard::is_classic(name) {
            continue;
        }
        let Ok(dashboard) = dashboard::Dashboard::read(name, content) else {
            continue;
        };
        if is_over(&dashboard.json, after, now) {
            continue;
        }
        generated.insert(name.clone(), format!("{:#}\n", mark(dashboard.json, now)));
        kept += 1;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const CART: &str = r#"{"uid": "u", "title": "Cart", "tags": ["tracemap"], "panels": [
        {"id": 4, "title": "a", "gridPos": {"h": 1, "w": 24, "x": 0, "y": 0}, "panels": [
            {"id": 9, "title": "b", "gridPos": {"h": 1, "w": 24, "x": 0, "y": 1}}]}]}"#;

    fn at(date: &str) -> SystemTime {
        humantime::parse_rfc3339(&format!("{date}T15:00:00Z")).unwrap()
    }

    fn kept(before: &Files, date: &str) -> Files {
        let mut files = Files::new();
        keep_gone(&mut files, before, 7 * DAY, at(date));
        files
    }

    #[test]
    fn a_vanished_service_keeps_its_dashboard_for_a_week_with_a_notice_that_does_not_change() {
        let before = Files::from([("dashboards/service-cart.json".to_owned(), CART.to_owned())]);
        let first = kept(&before, "2026-02-01");
        let json: Value = serde_json::from_str(&first["dashboards/service-cart.json"]).unwrap();
        assert_eq!(json["tags"], json!(["tracemap", "gone-since-2026-02-01"]));
        assert_eq!(json["uid"], "u", "links to it still lead here");
        assert_eq!(json["panels"][0]["id"], 10, "no panel has this id yet");
        assert!(
            json["panels"][0]["options"]["content"]
                .as_str()
                .unwrap()
                .contains("2026-02-01")
        );
        assert_eq!(json.pointer("/panels/1/gridPos/y"), Some(&json!(3)));
        assert_eq!(json.pointer("/panels/1/panels/0/gridPos/y"), Some(&json!(4)));

        assert_eq!(kept(&first, "2026-02-08"), first, "seven days later");
        assert!(
            kept(&first, "2026-02-09").is_empty(),
            "more than seven days later"
        );
    }

    #[test]
    fn what_is_generated_is_not_gone_and_other_files_are_not_kept() {
        let before = Files::from([
            ("dashboards/service-cart.json".to_owned(), CART.to_owned()),
            ("alerts/rules/a.yaml".to_owned(), String::new()),
            ("dashboards/v2/overview.json".to_owned(), CART.to_owned()),
        ]);
        let mut files = Files::from([("dashboards/service-cart.json".to_owned(), "new".to_owned())]);
        assert_eq!(keep_gone(&mut files, &before, DAY, at("2026-02-01")), 0);
        assert_eq!(
            (files.len(), files["dashboards/service-cart.json"].as_str()),
            (1, "new")
        );
        assert_eq!(
            keep_gone(&mut Files::new(), &before, Duration::ZERO, at("2026-02-01")),
            0
        );
    }
}
