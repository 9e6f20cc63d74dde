//! The same dashboard as the resource `dashboard.grafana.app/v2` of Grafana 13.
//!
//! In: a [`Dashboard`]. Out: JSON with the keys of Grafana's own schema (`apps/dashboard/kinds/v2/dashboard_spec.cue`), with
//! every key that it requires, defaults included.
//! Left out on purpose: folder and labels in `metadata`; whoever brings the file into a Grafana knows those.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Annotation, Dashboard, GridPos, Item, Panel, QueryVariable, Target, Transformation, Variable};

/// Of the plugins, where a dashboard says none.
const PLUGIN_VERSION: &str = "";
/// Of the query's format.
const QUERY_VERSION: &str = "v0";

impl Dashboard {
    /// The content of the file in the v2 form.
    pub(crate) fn to_v2_json(&self) -> String {
        let resource = json!({
            "apiVersion": "dashboard.grafana.app/v2",
            "kind": "Dashboard",
            "metadata": {"name": self.uid},
            "spec": self.spec(),
        });
        let json = serde_json::to_string_pretty(&resource);
        json.expect("a JSON value is JSON") + "\n"
    }

    fn spec(&self) -> Value {
        let panels = self.panels.iter().filter_map(|item| match item {
            Item::Panel(panel) => Some((element_name(panel), element(panel))),
            Item::Row(_) => None,
        });
        json!({
            "title": self.title,
            "description": self.description,
            "tags": self.tags,
            "editable": self.editable,
            "preload": false,
            "cursorSync": "Crosshair",
            "links": of(&self.links),
            "timeSettings": {
                "timezone": self.timezone,
                "from": self.time.from,
                "to": self.time.to,
                "autoRefresh": self.refresh,
                "autoRefreshIntervals": ["5s", "10s", "30s", "1m", "5m", "15m", "30m", "1h", "2h", "1d"],
                "hideTimepicker": false,
                "fiscalYearStartMonth": 0,
            },
            "variables": self.templating.list.iter().map(variable).collect::<Vec<_>>(),
            "annotations": self.annotations.list.iter().map(annotation).collect::<Vec<_>>(),
            "elements": panels.collect::<Map<_, _>>(),
            "layout": {"kind": "RowsLayout", "spec": {"rows": rows(&self.panels)}},
        })
    }
}

/// A value that has no text keys but our own.
fn of(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("a dashboard is text, numbers and maps with text as keys")
}

fn element_name(panel: &Panel) -> String {
    format!("panel-{}", panel.id)
}

fn element(panel: &Panel) -> Value {
    let transformations: Vec<Value> = panel.transformations.iter().map(transformation).collect();
    json!({"kind": "Panel", "spec": {
        "id": panel.id,
        "title": panel.title,
        "description": panel.description,
        "links": [],
        "data": {"kind": "QueryGroup", "spec": {
            "queries": panel.targets.iter().map(query).collect::<Vec<_>>(),
            "transformations": transformations,
            "queryOptions": {},
        }},
        "vizConfig": {"kind": "VizConfig", "group": panel.kind, "version": PLUGIN_VERSION, "spec": {
            "options": of(&panel.options),
            "fieldConfig": of(&panel.field_config),
        }},
    }})
}

fn query(target: &Target) -> Value {
    let (ref_id, source) = match target {
        Target::Metrics(target) => (&target.ref_id, target.datasource),
        Target::Traces(target) => (&target.ref_id, target.datasource),
    };
    let mut spec = of(target);
    for key in ["refId", "datasource"] {
        spec.as_object_mut().map(|spec| spec.remove(key));
    }
    json!({"kind": "PanelQuery", "spec": {
        "refId": ref_id,
        "hidden": false,
        "query": data_query(source.kind, source.uid, &spec),
    }})
}

fn data_query(group: &str, source: &str, spec: &Value) -> Value {
    json!({
        "kind": "DataQuery",
        "group": group,
        "version": QUERY_VERSION,
        "datasource": {"name": source},
        "spec": spec,
    })
}

fn transformation(transformation: &Transformation) -> Value {
    let value = of(transformation);
    json!({"kind": "Transformation", "group": value["id"], "spec": {"options": value["options"]}})
}

fn variable(variable: &Variable) -> Value {
    let none = json!({"text": "", "value": ""});
    match variable {
        Variable::DataSource { name, label, query } => json!({"kind": "DatasourceVariable", "spec": {
            "name": name,
            "label": label,
            "pluginId": query,
            "refresh": "onDashboardLoad",
            "regex": "",
            "current": none,
            "options": [],
            "multi": false,
            "includeAll": false,
            "hide": "dontHide",
            "skipUrlSync": false,
            "allowCustomValue": true,
        }}),
        Variable::Query(query) => query_variable(query, &none),
    }
}

fn query_variable(variable: &QueryVariable, none: &Value) -> Value {
    // The key under which Grafana itself keeps a query that the classic model writes as text.
    let spec = json!({"__legacyStringValue": variable.query});
    json!({"kind": "QueryVariable", "spec": {
        "name": variable.name,
        "label": variable.label,
        "query": data_query(variable.datasource.kind, variable.datasource.uid, &spec),
        "regex": variable.regex,
        "refresh": "onTimeRangeChanged",
        "sort": "alphabeticalAsc",
        "current": none,
        "options": [],
        "multi": false,
        "includeAll": false,
        "hide": if variable.hide == 2 { "hideVariable" } else { "dontHide" },
        "skipUrlSync": false,
        "allowCustomValue": true,
    }})
}

fn annotation(annotation: &Annotation) -> Value {
    let source = annotation.datasource;
    let expr = json!({"expr": annotation.query.expr});
    let mut rest = of(&annotation.query);
    rest.as_object_mut().map(|rest| rest.remove("expr"));
    json!({"kind": "AnnotationQuery", "spec": {
        "name": annotation.name,
        "query": data_query(source.kind, source.uid, &expr),
        "enable": annotation.enable,
        "hide": annotation.hide,
        "iconColor": annotation.icon_color,
        "builtIn": false,
        "legacyOptions": rest,
    }})
}

/// Rows of the layout; positions are counted from the top of their row.
fn rows(items: &[Item]) -> Vec<Value> {
    let mut rows: Vec<(Option<&str>, u32, Vec<Value>)> = Vec::new();
    for item in items {
        match item {
            Item::Row(row) => rows.push((Some(row.title), row.grid_pos.y + 1, Vec::new())),
            Item::Panel(panel) => {
                if rows.is_empty() {
                    rows.push((None, 0, Vec::new()));
                }
                if let Some((_, top, items)) = rows.last_mut() {
                    items.push(placed(panel, *top));
                }
            }
        }
    }
    let row = |(title, _, items): (Option<&str>, u32, Vec<Value>)| {
        json!({"kind": "RowsLayoutRow", "spec": {
            "title": title.unwrap_or_default(),
            "collapse": false,
            "hideHeader": title.is_none(),
            "layout": {"kind": "GridLayout", "spec": {"items": items}},
        }})
    };
    rows.into_iter().map(row).collect()
}

fn placed(panel: &Panel, top: u32) -> Value {
    let GridPos { h, w, x, y } = panel.grid_pos;
    json!({"kind": "GridLayoutItem", "spec": {
        "x": x,
        "y": y.saturating_sub(top),
        "width": w,
        "height": h,
        "element": {"kind": "ElementReference", "name": element_name(panel)},
    }})
}
