//! What can be read: panels beside each other, titles, legends, texts and tables that fit, judged by their numbers.
//!
//! In: every generated file. Out: what would be cut off, covered or unreadable on a laptop's screen.
//! Left out on purpose: drawing. Sizes are Grafana's own (grid, header, legend), widths of letters are averages, and so these
//! tests prove no picture.

mod grid;
mod words;

use std::collections::BTreeMap;

use dashboards::empty_while_healthy;

use crate::document::{Document, text};
use crate::samples;

/// Fails with everything that `wrong` says of any file.
fn check(wrong: impl Fn(&Document) -> Vec<String>) {
    let documents = samples::all();
    let told = |document: &Document| {
        let file = document.file.clone();
        wrong(document)
            .into_iter()
            .map(move |what| format!("{file}: {what}"))
    };
    let found: Vec<String> = documents.iter().flat_map(told).collect();
    assert!(found.is_empty(), "{}:\n{}", found.len(), found.join("\n"));
    assert!(documents.len() > 100, "only {} files", documents.len());
}

#[test]
fn no_two_dashboards_of_a_map_have_titles_that_differ_by_case_alone() {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for document in samples::all() {
        let sample = document.file.split_once(": ").map_or("", |(sample, _)| sample);
        let key = format!("{sample}, {:?}: {}", document.form, document.title.to_lowercase());
        let other = seen.insert(key, document.file.clone());
        assert!(
            other.is_none(),
            "{} and {other:?} are both `{}`",
            document.file,
            document.title
        );
    }
}

#[test]
fn a_panel_that_is_empty_while_all_is_well_says_so() {
    let documents = samples::all();
    for (file, title) in empty_while_healthy() {
        let of_file = documents.iter().filter(|d| d.file.ends_with(file));
        let panels: Vec<_> = of_file
            .flat_map(Document::drawn)
            .filter(|p| p.title == *title)
            .collect();
        assert!(!panels.is_empty(), "no panel `{title}` in {file}");
        for panel in panels {
            assert!(
                !text(&panel.fields["defaults"], "noValue").is_empty(),
                "{file}: {title}"
            );
        }
    }
}
