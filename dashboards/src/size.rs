//! What generated dashboards cost whoever loads them.
//!
//! In: dashboard files, in either form. Out: bytes, panels and queries of each.
//! Left out on purpose: what a query costs the data source.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::query::{of_document, panels_of};

/// More panels than any generated dashboard has. Grafana asks for those in view only, and a person reads fewer.
pub const MAX_PANELS: usize = 40;

/// The size of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size {
    /// The file's name, as the caller gave it.
    pub file: String,
    /// Bytes of the file.
    pub bytes: usize,
    /// Panels, texts among them and headings not.
    pub panels: usize,
    /// Queries of panels.
    pub queries: usize,
}

/// The size of every dashboard, in the order of file names. What is no JSON has no panels.
pub fn sizes(files: &BTreeMap<String, String>) -> Vec<Size> {
    let size = |(file, content): (&String, &String)| {
        let document: Value = serde_json::from_str(content).unwrap_or_default();
        let mut queries = Vec::new();
        of_document(file, &document, &mut queries);
        Size {
            file: file.clone(),
            bytes: content.len(),
            panels: panels_of(&document),
            queries: queries.len(),
        }
    };
    files.iter().map(size).collect()
}
