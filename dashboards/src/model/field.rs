//! How values are shown: units, colours, thresholds, links, and what is different for one field.
//!
//! In: values. Out: the `fieldConfig` of a panel.
//! Left out on purpose: matchers other than by name.

use std::collections::BTreeMap;

use serde::Serialize;

#[derive(Debug, Default, Serialize)]
pub(crate) struct FieldConfig {
    pub(crate) defaults: Defaults,
    pub(crate) overrides: Vec<Override>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Defaults {
    pub(crate) unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) no_value: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) color: Option<Color>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) thresholds: Option<Thresholds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) custom: Option<Custom>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Color {
    pub(crate) mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fixed_color: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Thresholds {
    pub(crate) mode: &'static str,
    pub(crate) steps: Vec<Step>,
}

/// From `value` on, the colour; the first step has no value.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    pub(crate) value: Option<f64>,
    pub(crate) color: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Custom {
    #[serde(rename_all = "camelCase")]
    Lines {
        draw_style: &'static str,
        line_width: u8,
        fill_opacity: u8,
        show_points: &'static str,
        stacking: Stacking,
    },
    #[serde(rename_all = "camelCase")]
    Cells {
        align: &'static str,
        inspect: bool,
        /// In pixels. Grafana's own 150 let a table of four columns scroll sideways.
        min_width: u16,
    },
}

impl Custom {
    /// Cells of a table.
    pub(crate) const CELLS: Self = Self::Cells {
        align: "auto",
        inspect: false,
        min_width: 80,
    };
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Stacking {
    pub(crate) mode: &'static str,
    pub(crate) group: &'static str,
}

impl Stacking {
    pub(crate) const NONE: Self = Self {
        mode: "none",
        group: "A",
    };
    pub(crate) const NORMAL: Self = Self {
        mode: "normal",
        group: "A",
    };
}

/// What is different for the field of one name.
#[derive(Debug, Serialize)]
pub(crate) struct Override {
    matcher: Matcher,
    properties: Vec<Property>,
}

impl Override {
    pub(crate) fn by_name(name: impl Into<String>, properties: Vec<Property>) -> Self {
        Self {
            matcher: Matcher {
                id: "byName",
                options: name.into(),
            },
            properties,
        }
    }
}

#[derive(Debug, Serialize)]
struct Matcher {
    id: &'static str,
    options: String,
}

#[derive(Debug, Serialize)]
#[serde(tag = "id", content = "value")]
pub(crate) enum Property {
    #[serde(rename = "displayName")]
    DisplayName(&'static str),
    #[serde(rename = "unit")]
    Unit(&'static str),
    #[serde(rename = "links")]
    Links(Vec<DataLink>),
    #[serde(rename = "mappings")]
    Mappings(Vec<Mapping>),
    #[serde(rename = "color")]
    Color(Color),
    #[serde(rename = "custom.hidden")]
    Hidden(bool),
    #[serde(rename = "custom.hideFrom")]
    HideFrom(HideFrom),
    #[serde(rename = "custom.lineStyle")]
    LineStyle(LineStyle),
    #[serde(rename = "custom.fillOpacity")]
    FillOpacity(u8),
    #[serde(rename = "custom.stacking")]
    Stacking(Stacking),
}

#[derive(Debug, Serialize)]
pub(crate) struct HideFrom {
    pub(crate) tooltip: bool,
    pub(crate) legend: bool,
    pub(crate) viz: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct LineStyle {
    pub(crate) fill: &'static str,
    pub(crate) dash: [u8; 2],
}

/// A link of a value.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DataLink {
    pub(crate) title: &'static str,
    pub(crate) url: String,
    pub(crate) target_blank: bool,
}

/// What a value is shown as; the first that fits counts.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", content = "options", rename_all = "lowercase")]
pub(crate) enum Mapping {
    Value(BTreeMap<String, MappedTo>),
    Regex { pattern: &'static str, result: MappedTo },
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct MappedTo {
    pub(crate) text: String,
    pub(crate) index: usize,
}
