//! Options of each type of panel, and transformations of what it was answered.
//!
//! In: values. Out: `options` and `transformations` of a panel.
//! Left out on purpose: options at their defaults.

use std::collections::BTreeMap;

use serde::Serialize;

#[derive(Debug, Serialize)]
#[serde(tag = "id", content = "options", rename_all = "camelCase")]
pub(crate) enum Transformation {
    /// One table of several queries: rows with equal labels become one.
    Merge {},
    #[serde(rename_all = "camelCase")]
    Organize {
        exclude_by_name: BTreeMap<&'static str, bool>,
        index_by_name: BTreeMap<String, usize>,
    },
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Options {
    #[serde(rename_all = "camelCase")]
    Stat {
        color_mode: &'static str,
        graph_mode: &'static str,
        reduce_options: ReduceOptions,
    },
    Text {
        mode: &'static str,
        content: String,
    },
    Lines {
        legend: Legend,
        tooltip: Tooltip,
    },
    #[serde(rename_all = "camelCase")]
    Table {
        show_header: bool,
        frame_index: u8,
        sort_by: Vec<SortBy>,
    },
    #[serde(rename_all = "camelCase")]
    NodeGraph {
        layout_algorithm: &'static str,
        zoom_mode: &'static str,
        nodes: Empty,
        edges: Empty,
    },
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Empty {}

#[derive(Debug, Serialize)]
pub(crate) struct ReduceOptions {
    pub(crate) calcs: [&'static str; 1],
    pub(crate) fields: &'static str,
    pub(crate) values: bool,
}

#[expect(clippy::struct_field_names, reason = "the keys are Grafana's")]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Legend {
    pub(crate) calcs: [&'static str; 2],
    pub(crate) display_mode: &'static str,
    pub(crate) placement: &'static str,
    pub(crate) show_legend: bool,
    /// The column that orders the rows, by its heading.
    pub(crate) sort_by: &'static str,
    pub(crate) sort_desc: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct Tooltip {
    pub(crate) mode: &'static str,
    pub(crate) sort: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SortBy {
    pub(crate) display_name: &'static str,
    pub(crate) desc: bool,
}
