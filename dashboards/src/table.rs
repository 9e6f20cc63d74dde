//! Tables: one row for each entity, one column for each query.
//!
//! In: columns, each a query that yields one series per row. Out: a [`Panel`] of type table.
//! Left out on purpose: queries over time; a table tells of the end of the range.

use std::collections::BTreeMap;

use crate::links;
use crate::model::{Custom, MetricsTarget, Options, Override, Panel, Property, SortBy, Transformation};
use crate::panel::{Text, bare, rows_now};

/// Names of queries, one for each column.
const REF_IDS: [&str; 6] = ["A", "B", "C", "D", "E", "F"];

/// A column with a query's values.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) header: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) expr: String,
}

/// A column that every row has by its labels.
#[derive(Debug)]
pub(crate) struct LabelColumn {
    pub(crate) label: &'static str,
    pub(crate) header: &'static str,
    /// Links of its cells.
    pub(crate) links: Option<Property>,
}

/// A table sorted by its first query, greatest first.
///
/// The first query also gives each row its label [`links::FIELD`], where `linked` says what that label shows.
pub(crate) fn table(
    text: Text,
    labels: Vec<LabelColumn>,
    columns: Vec<Column>,
    linked: Option<Override>,
) -> Panel {
    let sort_by = columns.first().map(|column| SortBy {
        display_name: column.header,
        desc: true,
    });
    let options = Options::Table {
        show_header: true,
        frame_index: 0,
        sort_by: sort_by.into_iter().collect(),
    };
    let order = order(&labels, columns.len());
    let mut overrides: Vec<Override> = labels.into_iter().map(label_override).collect();
    let mut targets: Vec<MetricsTarget> = Vec::new();
    let several = columns.len() > 1;
    for (column, ref_id) in columns.into_iter().zip(REF_IDS) {
        let properties = vec![Property::DisplayName(column.header), Property::Unit(column.unit)];
        overrides.push(Override::by_name(value_field(ref_id, several), properties));
        targets.push(rows_now(ref_id, column.expr));
    }
    overrides.extend(linked);
    let mut panel = bare("table", text, targets, options);
    panel.field_config.defaults.custom = Some(Custom::CELLS);
    panel.field_config.overrides = overrides;
    if several {
        panel.transformations.push(Transformation::Merge {});
    }
    let exclude_by_name = BTreeMap::from([("Time", true)]);
    panel.transformations.push(Transformation::Organize {
        exclude_by_name,
        index_by_name: order,
    });
    panel
}

fn label_override(column: LabelColumn) -> Override {
    let mut properties = vec![Property::DisplayName(column.header)];
    properties.extend(column.links);
    Override::by_name(column.label, properties)
}

/// What the data source calls the field with a query's values.
fn value_field(ref_id: &str, several: bool) -> String {
    if several {
        format!("Value #{ref_id}")
    } else {
        "Value".to_owned()
    }
}

fn order(labels: &[LabelColumn], columns: usize) -> BTreeMap<String, usize> {
    let labels = labels.iter().map(|column| column.label.to_owned());
    let values = REF_IDS
        .iter()
        .take(columns)
        .map(|ref_id| value_field(ref_id, columns > 1));
    let names = labels.chain(values).chain([links::FIELD.to_owned()]);
    names.enumerate().map(|(index, name)| (name, index)).collect()
}
