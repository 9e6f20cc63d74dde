//! Grafana's classic dashboard model, as far as it is generated here.
//!
//! In: values. Out: JSON with the keys that Grafana's own schema (Foundation SDK, `dashboard.jsonschema.json`) asks for,
//! and no others, because that schema refuses what it does not know.
//! Left out on purpose: `id` and `version`, which are the data base's; `__inputs`, which file provisioning does not fill.

mod field;
mod options;
mod v2;

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
                list: vec![Variable::PROMETHEUS],
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

/// Marks on every chart of a dashboard, at times that a query's values name.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Annotation {
    pub(crate) name: &'static str,
    pub(crate) datasource: DataSource,
    pub(crate) enable: bool,
    pub(crate) hide: bool,
    pub(crate) icon_color: &'static str,
    #[serde(flatten)]
    pub(crate) query: AnnotationQuery,
}

/// The part of an annotation that Grafana's Prometheus data source reads.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AnnotationQuery {
    pub(crate) expr: String,
    pub(crate) title_format: &'static str,
    pub(crate) text_format: &'static str,
    /// True where a value is the mark's time, in milliseconds since 1970.
    pub(crate) use_value_for_time: bool,
}

/// What the viewer picks at the top of a dashboard.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type")]
pub(crate) enum Variable {
    #[serde(rename = "datasource")]
    DataSource {
        name: &'static str,
        label: &'static str,
        query: &'static str,
    },
    #[serde(rename = "query")]
    Query(QueryVariable),
}

/// A variable whose values the data source lists, anew whenever the time range changes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct QueryVariable {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    pub(crate) datasource: DataSource,
    pub(crate) query: String,
    /// Takes a part of each value; all of it where empty.
    pub(crate) regex: &'static str,
    refresh: u8,
    sort: u8,
    /// 2 shows nothing.
    pub(crate) hide: u8,
}

impl Variable {
    /// The data source that all queries but searches for traces ask.
    pub(crate) const PROMETHEUS: Self = Self::DataSource {
        name: "prometheus_datasource",
        label: "Prometheus data source",
        query: "prometheus",
    };
    /// The data source that searches for traces ask.
    pub(crate) const TEMPO: Self = Self::DataSource {
        name: "tempo_datasource",
        label: "Tempo data source",
        query: "tempo",
    };

    /// A variable with the values of a query, sorted.
    pub(crate) fn query(name: &'static str, label: &'static str, query: String) -> QueryVariable {
        QueryVariable {
            name,
            label,
            datasource: DataSource::PICKED,
            query,
            regex: "",
            refresh: 2,
            sort: 1,
            hide: 0,
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
    /// None for a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) datasource: Option<DataSource>,
    pub(crate) grid_pos: GridPos,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) targets: Vec<Target>,
    pub(crate) field_config: FieldConfig,
    pub(crate) options: Options,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) transformations: Vec<Transformation>,
}

/// A data source that the viewer picked.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct DataSource {
    #[serde(rename = "type")]
    kind: &'static str,
    uid: &'static str,
}

impl DataSource {
    pub(crate) const PICKED: Self = Self {
        kind: "prometheus",
        uid: "${prometheus_datasource}",
    };
    pub(crate) const TRACES: Self = Self {
        kind: "tempo",
        uid: "${tempo_datasource}",
    };
}

/// A query of a panel.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Target {
    Metrics(MetricsTarget),
    Traces(TracesTarget),
}

/// A query in `PromQL`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MetricsTarget {
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

/// A search in `TraceQL`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TracesTarget {
    pub(crate) ref_id: String,
    pub(crate) datasource: DataSource,
    pub(crate) query_type: &'static str,
    pub(crate) query: String,
    pub(crate) limit: u32,
    pub(crate) table_type: &'static str,
    /// Of Grafana's search form, which is not used.
    pub(crate) filters: [Empty; 0],
}
