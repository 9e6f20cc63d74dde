//! A dashboard file, read the way its readers do: the same for the classic form and for the v2 resource.
//!
//! In: the file's text. Out: variables, panels with their place, and queries.
//! Left out on purpose: judging. What is absent in the file is `None` or empty here.

mod classic;
mod v2;

use std::sync::OnceLock;

use serde_json::Value;

use crate::promql::{self, Selector};

/// A dashboard.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// The sample and the file.
    pub(crate) file: String,
    /// Which form it has.
    pub(crate) form: Form,
    /// The file as it is.
    pub(crate) json: Value,
    pub(crate) title: String,
    pub(crate) editable: Option<bool>,
    pub(crate) variables: Vec<Variable>,
    /// In order of the file; headings are panels of type `row`.
    pub(crate) panels: Vec<Panel>,
}

/// Grafana's two models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Classic,
    V2,
}

/// A variable of the dashboard.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    /// `datasource`, `query`, …
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) label: String,
    /// The type of data source, or the query.
    pub(crate) query: String,
    /// The data source that a query variable asks.
    pub(crate) source: String,
    /// Asks again when the time range changes.
    pub(crate) follows_time: bool,
    pub(crate) multi: bool,
    pub(crate) all_value: String,
}

/// A panel.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    /// `timeseries`, `stat`, …
    pub(crate) kind: String,
    pub(crate) title: String,
    pub(crate) description: String,
    /// The data source of the whole panel; of v2, which has none, that of the first query.
    pub(crate) source: String,
    pub(crate) place: Place,
    pub(crate) targets: Vec<Target>,
    /// `fieldConfig`.
    pub(crate) fields: Value,
    pub(crate) options: Value,
}

/// Grid units: 24 fill the width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) x: u64,
    pub(crate) y: u64,
    pub(crate) w: u64,
    pub(crate) h: u64,
}

/// A query of a panel.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) ref_id: String,
    /// The type of data source: `prometheus`, `tempo`, …
    pub(crate) source_type: String,
    pub(crate) source: String,
    /// The query's own keys.
    pub(crate) spec: Value,
    /// Parsed when first asked for.
    selectors: OnceLock<Result<Vec<Selector>, String>>,
}

impl Document {
    /// Reads a file.
    ///
    /// # Panics
    /// Where it is no JSON.
    pub(crate) fn read(file: &str, text: &str) -> Self {
        let json = serde_json::from_str(text).unwrap_or_else(|e| panic!("{file} is no JSON: {e}"));
        Self::of(file, json)
    }

    /// Reads a file's JSON.
    pub(crate) fn of(file: &str, json: Value) -> Self {
        if json["apiVersion"].is_string() {
            v2::read(file, json)
        } else {
            classic::read(file, json)
        }
    }

    /// Panels, headings left out.
    pub(crate) fn drawn(&self) -> impl Iterator<Item = &Panel> {
        self.panels.iter().filter(|panel| panel.kind != "row")
    }
}

impl Target {
    /// The query's text.
    pub(crate) fn expr(&self) -> &str {
        text(&self.spec, "expr")
    }

    /// What it selects, or why it does not parse.
    pub(crate) fn selectors(&self) -> &Result<Vec<Selector>, String> {
        self.selectors.get_or_init(|| promql::selectors(self.expr()))
    }
}

impl Panel {
    /// The unit of all fields, and those of single ones.
    pub(crate) fn units(&self) -> impl Iterator<Item = &str> {
        let overridden = items(&self.fields, "overrides").flat_map(|o| items(o, "properties"));
        let overridden = overridden.filter(|property| property["id"] == "unit");
        [text(&self.fields["defaults"], "unit")]
            .into_iter()
            .chain(overridden.map(|p| text(p, "value")))
    }

    /// Values are shown as words.
    pub(crate) fn mapped(&self) -> bool {
        items(&self.fields["defaults"], "mappings").next().is_some()
    }
}

/// The items of a list below a key; nothing where there is none.
pub(crate) fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[key].as_array().into_iter().flatten()
}

/// The text below a key; empty where there is none.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn owned(value: &Value, key: &str) -> String {
    text(value, key).to_owned()
}
