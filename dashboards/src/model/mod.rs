//! Grafana's classic dashboard model, as far as it is generated here.
//!
//! In: values. Out: JSON with the keys that Grafana's own schema (Foundation SDK, `dashboard.jsonschema.json`) asks for,
//! and no others, because that schema refuses what it does not know.
//! Left out on purpose: `id` and `version`, which are the data base's; `__inputs`, which file provisioning does not fill.

mod field;
mod options;

use serde::Serialize;

pub(crate) use field::{
    Color, Custom, DataLink, Defaults, FieldConfig, HideFrom, LineStyle, MappedTo, Mapping, Override,
    Property, Stacking, Step, Thresholds,
};
pub(crate) use options::{Empty, Legend, Options, ReduceOptions, SortBy, Tooltip, Transformation};

/// The newest version of the classic schema whose migrations change nothing of what is written here.
const SCHEMA_VERSION: u32 = 42;

/// A whole dashboard.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Dashboard {
    pub(crate) uid: String,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) tags: Vec<String>,
    pub(crate) schema_version: u32,
    pub(crate) timezone: &'static str,
    pub(crate) editable: bool,
    /// 1 shares the crosshair between panels.
    pub(crate) graph_tooltip: u8,
    pub(crate) time: TimeRange,
    pub(crate) refresh: String,
    pub(crate) annotations: Listed<Annotation>,
    pub(crate) templating: Listed<Variable>,
    pub(crate) links: Vec<DashboardLink>,
    pub(crate) panels: Vec<Item>,
}

impl Dashboard {
    /// A dashboard without links and panels, with the data source as its only variable.
    pub(crate) fn new(
        uid: String,
        title: String,
        description: String,
        from: String,
        refresh: String,
    ) -> Self {
        Self {
            uid,
            title,
            description,
            tags: Vec::new(),
            schema_version: SCHEMA_VERSION,
            timezone: "browser",
            editable: false,
            graph_tooltip: 1,
            time: TimeRange { from, to: "now" },
            refresh,
            annotations: Listed { list: Vec::new() },
            templating: Listed {
                list: vec![Variable::data_source()],
            },
            links: Vec::new(),
            panels: Vec::new(),
        }
    }

    /// The file's content.
    pub(crate) fn to_json(&self) -> String {
        let json = serde_json::to_string_pretty(self);
        json.expect("a dashboard is text, numbers and maps with text as keys") + "\n"
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct TimeRange {
    pub(crate) from: String,
    pub(crate) to: &'static str,
}

#[derive(Debug, Serialize)]
pub(crate) struct Listed<T> {
    pub(crate) list: Vec<T>,
}

/// No annotation is generated; the key has to be there.
#[derive(Debug, Serialize)]
pub(crate) enum Annotation {}

#[derive(Debug, Serialize)]
pub(crate) struct Variable {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'static str,
    label: &'static str,
    query: &'static str,
}

impl Variable {
    fn data_source() -> Self {
        Self {
            kind: "datasource",
            name: "datasource",
            label: "Data source",
            query: "prometheus",
        }
    }
}

/// A link at the top of a dashboard.
#[expect(clippy::struct_excessive_bools, reason = "the keys are Grafana's")]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DashboardLink {
    pub(crate) title: String,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) icon: &'static str,
    pub(crate) tooltip: String,
    pub(crate) url: String,
    pub(crate) tags: Vec<String>,
    pub(crate) as_dropdown: bool,
    pub(crate) target_blank: bool,
    pub(crate) include_vars: bool,
    pub(crate) keep_time: bool,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Item {
    Row(Row),
    Panel(Box<Panel>),
}

/// A heading over the panels below it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    pub(crate) id: u32,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) title: &'static str,
    pub(crate) collapsed: bool,
    pub(crate) grid_pos: GridPos,
    pub(crate) panels: [Box<Panel>; 0],
}

/// A rectangle in units of 1/24 of the width.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct GridPos {
    pub(crate) h: u32,
    pub(crate) w: u32,
    pub(crate) x: u32,
    pub(crate) y: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Panel {
    pub(crate) id: u32,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) title: &'static str,
    pub(crate) description: String,
    pub(crate) datasource: DataSource,
    pub(crate) grid_pos: GridPos,
    pub(crate) targets: Vec<Target>,
    pub(crate) field_config: FieldConfig,
    pub(crate) options: Options,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) transformations: Vec<Transformation>,
}

/// The data source that the viewer picked.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct DataSource {
    #[serde(rename = "type")]
    kind: &'static str,
    uid: &'static str,
}

impl DataSource {
    pub(crate) const PICKED: Self = Self {
        kind: "prometheus",
        uid: "${datasource}",
    };
}

/// A query of a panel.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Target {
    pub(crate) ref_id: String,
    pub(crate) datasource: DataSource,
    pub(crate) editor_mode: &'static str,
    pub(crate) expr: String,
    pub(crate) legend_format: String,
    pub(crate) format: &'static str,
    pub(crate) instant: bool,
    pub(crate) range: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) exemplar: bool,
}
