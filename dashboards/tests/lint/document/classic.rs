//! The classic model, schema version 42.
//!
//! In: JSON of `/api/dashboards/db`. Out: a [`Document`].
//! Left out on purpose: library panels.

use std::sync::OnceLock;

use serde_json::Value;

use super::{Document, Form, Panel, Place, Target, Variable, items, owned};

pub(super) fn read(file: &str, json: Value) -> Document {
    Document {
        file: file.to_owned(),
        form: Form::Classic,
        title: owned(&json, "title"),
        editable: json["editable"].as_bool(),
        variables: items(&json["templating"], "list").map(variable).collect(),
        panels: items(&json, "panels")
            .flat_map(with_what_it_holds)
            .map(panel)
            .collect(),
        json,
    }
}

/// A row that is folded has its panels inside.
fn with_what_it_holds(panel: &Value) -> impl Iterator<Item = &Value> {
    [panel].into_iter().chain(items(panel, "panels"))
}

fn variable(json: &Value) -> Variable {
    Variable {
        kind: owned(json, "type"),
        name: owned(json, "name"),
        label: owned(json, "label"),
        query: owned(json, "query"),
        source: owned(&json["datasource"], "uid"),
        follows_time: json["refresh"] == 2,
        multi: json["multi"] == true,
        all_value: owned(json, "allValue"),
    }
}

fn panel(json: &Value) -> Panel {
    let at = |key: &str| json["gridPos"][key].as_u64().unwrap_or_default();
    Panel {
        kind: owned(json, "type"),
        title: owned(json, "title"),
        description: owned(json, "description"),
        source: owned(&json["datasource"], "uid"),
        place: Place {
            x: at("x"),
            y: at("y"),
            w: at("w"),
            h: at("h"),
        },
        targets: items(json, "targets").map(target).collect(),
        fields: json["fieldConfig"].clone(),
        options: json["options"].clone(),
    }
}

fn target(json: &Value) -> Target {
    Target {
        ref_id: owned(json, "refId"),
        source_type: owned(&json["datasource"], "type"),
        source: owned(&json["datasource"], "uid"),
        spec: json.clone(),
        selectors: OnceLock::new(),
    }
}
