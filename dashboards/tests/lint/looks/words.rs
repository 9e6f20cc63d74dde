//! Titles, legends, texts and columns.
//!
//! In: panels with their size. Out: words that would be cut off, and legends that say nothing.
//! Left out on purpose: names of services, which come with the data: Grafana shortens them and shows them whole below the
//! pointer.

use serde_json::Value;

use super::check;
use crate::document::{Panel, Target, items, text};

/// A laptop's screen, less Grafana's margins.
const SCREEN: u64 = 1366 - 2 * 16;
/// Between panels.
const GAP: u64 = 8;
/// Height of a line of the grid.
const LINE: u64 = 30;
/// Padding, the sign that opens the description, and the menu's three dots.
const BESIDE_THE_TITLE: u64 = 8 + 32 + 24;
/// Header and padding.
const AROUND_THE_TEXT: u64 = 32 + 16;
/// An average letter of a title and of a text, 14 px of Inter.
const LETTER: f64 = 7.3;
/// A line of text.
const TEXT_LINE: u64 = 22;
/// How narrow Grafana makes a column at the least, unless the panel says.
const COLUMN: u64 = 150;
/// The narrowest column in which a name or a number with its unit can be read.
const NARROWEST: u64 = 60;

fn width(panel: &Panel) -> u64 {
    let column = (SCREEN - 23 * GAP) / 24;
    panel.place.w * column + panel.place.w.saturating_sub(1) * GAP
}

fn height(panel: &Panel) -> u64 {
    panel.place.h * LINE + panel.place.h.saturating_sub(1) * GAP
}

fn letters(pixels: u64) -> usize {
    (pixels as f64 / LETTER) as usize
}

#[test]
fn a_title_fits_into_its_panel() {
    check(|document| {
        let cut = |panel: &&Panel| panel.title.chars().count() > letters(width(panel) - BESIDE_THE_TITLE);
        let drawn = document.drawn().filter(|panel| !panel.title.contains('$'));
        drawn
            .filter(cut)
            .map(|p| format!("`{}` is cut off at a width of {}", p.title, p.place.w))
            .collect()
    });
}

#[test]
fn a_text_is_seen_without_scrolling() {
    check(|document| {
        let texts = document.drawn().filter(|panel| panel.kind == "text");
        let long = texts.filter_map(|panel| {
            let needed = lines(text(&panel.options, "content"), letters(width(panel) - 16)) * TEXT_LINE;
            let there = height(panel) - AROUND_THE_TEXT;
            (needed > there).then(|| format!("`{}` needs {needed} px of {there}", panel.title))
        });
        long.collect()
    });
}

/// How many lines a text takes where each holds so many letters.
fn lines(content: &str, letters: usize) -> u64 {
    content
        .lines()
        .map(|line| line.chars().count().div_ceil(letters).max(1) as u64)
        .sum()
}

#[test]
fn every_line_that_is_drawn_has_a_name_of_its_own() {
    check(|document| {
        let lines = document.drawn().filter(|panel| panel.kind == "timeseries");
        lines
            .flat_map(|panel| unnamed(panel).map(|what| format!("`{}`: {what}", panel.title)))
            .collect()
    });
}

fn unnamed(panel: &Panel) -> impl Iterator<Item = String> {
    let drawn: Vec<&Target> = panel
        .targets
        .iter()
        .filter(|t| t.source_type == "prometheus")
        .collect();
    let shown = panel.options["legend"]["showLegend"] == true;
    let hidden = (!shown && drawn.len() > 1).then(|| "several lines and no legend".to_owned());
    let legends: Vec<&str> = drawn
        .iter()
        .map(|target| text(&target.spec, "legendFormat"))
        .collect();
    let same = legends
        .iter()
        .enumerate()
        .filter(|(at, legend)| legends[..*at].contains(legend));
    let same = same
        .map(|(_, legend)| format!("two queries are `{legend}`"))
        .collect::<Vec<_>>();
    let unknown = drawn
        .iter()
        .flat_map(|target| unknown_labels(target))
        .collect::<Vec<_>>();
    let bare = legends
        .iter()
        .filter(|legend| legend.is_empty())
        .map(|_| "a query without a legend".to_owned());
    let bare = bare.collect::<Vec<_>>();
    hidden.into_iter().chain(same).chain(unknown).chain(bare)
}

/// Labels that a legend shows and the query never speaks of.
fn unknown_labels(target: &Target) -> Vec<String> {
    let (legend, expr) = (text(&target.spec, "legendFormat"), target.expr());
    let labels = legend
        .split("{{")
        .skip(1)
        .filter_map(|rest| rest.split_once("}}"));
    let spoken = |label: &str| {
        expr.split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|word| word == label)
    };
    let unknown = labels
        .map(|(label, _)| label.trim())
        .filter(|label| !spoken(label));
    unknown
        .map(|label| format!("the legend `{legend}` shows `{label}`, which the query does not give"))
        .collect()
}

#[test]
fn a_table_has_no_more_columns_than_can_be_read() {
    check(|document| {
        let tables = document.drawn().filter(|panel| panel.kind == "table");
        let least = |panel: &Panel| {
            panel.fields["defaults"]["custom"]["minWidth"]
                .as_u64()
                .unwrap_or(COLUMN)
        };
        let wide = tables.filter(|panel| columns(panel) as u64 * least(panel).max(NARROWEST) > width(panel));
        wide.map(|p| {
            format!(
                "`{}` has {} columns at a width of {}",
                p.title,
                columns(p),
                p.place.w
            )
        })
        .collect()
    });
}

/// Columns with a heading of their own that are not hidden.
fn columns(panel: &Panel) -> usize {
    let named = |field: &&Value| items(field, "properties").any(|p| p["id"] == "displayName");
    let hidden = |field: &&Value| {
        let hides = |p: &Value| p["id"] == "custom.hidden" || p["id"] == "custom.hideFrom";
        items(field, "properties").any(hides)
    };
    items(&panel.fields, "overrides")
        .filter(named)
        .filter(|field| !hidden(field))
        .count()
}

#[test]
fn long_lines_of_a_text_are_counted_as_they_wrap() {
    assert_eq!(lines("a\n\nbbbbb cc", 4), 1 + 1 + 2);
}
