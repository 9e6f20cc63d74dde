//! The v2 resource of Grafana 12 and 13.
//!
//! In: JSON of `dashboard.grafana.app/v2`. Out: a [`Document`]; rows stand below each other as the classic model has them.
//! Left out on purpose: layouts by tabs and by automatic grids, and panels that no layout shows. They are lost here, and
//! the test that counts panels finds out.

use std::sync::OnceLock;

use serde_json::{Value, json};

use super::{Document, Form, Panel, Place, Target, Variable, items, owned, text};

pub(super) fn read(file: &str, json: Value) -> Document {
    let spec = &json["spec"];
    let mut panels = Vec::new();
    place(&spec["layout"], 0, &spec["elements"], &mut panels);
    Document {
        file: file.to_owned(),
        form: Form::V2,
        title: owned(spec, "title"),
        editable: spec["editable"].as_bool(),
        variables: items(spec, "variables").map(variable).collect(),
        panels,
        json,
    }
}

/// Reads a layout that begins at line `y`; returns the first line below it.
fn place(layout: &Value, y: u64, elements: &Value, into: &mut Vec<Panel>) -> u64 {
    let mut end = y;
    for item in items(&layout["spec"], "items") {
        let spec = &item["spec"];
        let at = |key: &str| spec[key].as_u64().unwrap_or_default();
        let place = Place {
            x: at("x"),
            y: y + at("y"),
            w: at("width"),
            h: at("height"),
        };
        end = end.max(place.y + place.h);
        into.push(panel(&elements[text(&spec["element"], "name")]["spec"], place));
    }
    for row in items(&layout["spec"], "rows") {
        let heading = Place {
            x: 0,
            y: end,
            w: 24,
            h: 1,
        };
        if row["spec"]["hideHeader"] != true {
            into.push(Panel {
                kind: "row".to_owned(),
                ..panel(&row["spec"], heading)
            });
            end += 1;
        }
        end = self::place(&row["spec"]["layout"], end, elements, into);
    }
    end
}

fn variable(json: &Value) -> Variable {
    let spec = &json["spec"];
    let kind = text(json, "kind").trim_end_matches("Variable").to_lowercase();
    let query = if kind == "datasource" {
        spec["pluginId"].clone()
    } else {
        query_text(&spec["query"]["spec"])
    };
    Variable {
        kind,
        name: owned(spec, "name"),
        label: owned(spec, "label"),
        query: query.as_str().unwrap_or_default().to_owned(),
        source: owned(&spec["query"]["datasource"], "name"),
        follows_time: spec["refresh"] == "onTimeRangeChanged",
        multi: spec["multi"] == true,
        all_value: owned(spec, "allValue"),
    }
}

/// A classic query inside the resource stands under one of two keys.
fn query_text(spec: &Value) -> Value {
    if spec["query"].is_string() {
        spec["query"].clone()
    } else {
        spec["__legacyStringValue"].clone()
    }
}

fn panel(spec: &Value, place: Place) -> Panel {
    let targets: Vec<Target> = items(&spec["data"]["spec"], "queries").map(target).collect();
    Panel {
        kind: owned(&spec["vizConfig"], "group"),
        title: owned(spec, "title"),
        description: owned(spec, "description"),
        source: targets
            .first()
            .map(|target| target.source.clone())
            .unwrap_or_default(),
        place,
        targets,
        fields: spec["vizConfig"]["spec"]["fieldConfig"].clone(),
        options: spec["vizConfig"]["spec"]["options"].clone(),
    }
}

fn target(json: &Value) -> Target {
    let query = &json["spec"]["query"];
    Target {
        ref_id: owned(&json["spec"], "refId"),
        source_type: owned(query, "group"),
        source: owned(&query["datasource"], "name"),
        spec: query["spec"].clone(),
        selectors: OnceLock::new(),
    }
}

#[test]
fn rows_of_a_resource_stand_below_each_other() {
    let grid = |height: u64| {
        json!({"kind": "GridLayout", "spec": {"items": [
            {"spec": {"x": 0, "y": 0, "width": 12, "height": height, "element": {"name": "a"}}},
            {"spec": {"x": 12, "y": 0, "width": 12, "height": 4, "element": {"name": "b"}}},
        ]}})
    };
    let row = |title: &str, height| json!({"spec": {"title": title, "layout": grid(height)}});
    let document = read(
        "f",
        json!({"spec": {
            "elements": {"a": {"spec": {"title": "A"}}, "b": {"spec": {"title": "B"}}},
            "layout": {"kind": "RowsLayout", "spec": {"rows": [row("one", 8), row("two", 4)]}},
        }}),
    );
    let found: Vec<_> = document
        .panels
        .iter()
        .map(|p| (p.title.as_str(), p.place.x, p.place.y))
        .collect();
    let expected = [
        ("one", 0, 0),
        ("A", 0, 1),
        ("B", 12, 1),
        ("two", 0, 9),
        ("A", 0, 10),
        ("B", 12, 10),
    ];
    assert_eq!(found, expected);
}
