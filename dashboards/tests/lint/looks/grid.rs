//! Panels in the grid.
//!
//! In: places of panels. Out: overlaps, holes, and panels too small for what they draw.
//! Left out on purpose: what stands in a panel.

use std::collections::BTreeMap;

use super::check;
use crate::document::{Document, Panel};

/// Columns of Grafana's grid.
const WIDTH: u64 = 24;

/// The least width and height at which a panel of a type still shows what it is for, in grid units.
fn least(kind: &str) -> (u64, u64) {
    match kind {
        "row" => (WIDTH, 1),
        "nodeGraph" => (12, 12),
        "stat" => (3, 3),
        "text" => (6, 2),
        "bargauge" | "table" => (6, 5),
        // A legend in a table takes a third of the height.
        _ => (6, 7),
    }
}

/// How often each cell of the grid is covered.
fn cells(document: &Document) -> BTreeMap<(u64, u64), Vec<&Panel>> {
    let mut cells: BTreeMap<(u64, u64), Vec<&Panel>> = BTreeMap::new();
    for panel in &document.panels {
        let place = panel.place;
        for y in place.y..place.y + place.h {
            (place.x..place.x + place.w).for_each(|x| cells.entry((y, x)).or_default().push(panel));
        }
    }
    cells
}

#[test]
fn no_panel_covers_another_or_leaves_the_grid() {
    check(|document| {
        let cells = cells(document);
        let outside = cells.iter().filter(|((_, x), _)| *x >= WIDTH);
        let outside = outside.map(|(_, panels)| format!("`{}` is outside", panels[0].title));
        let covered = cells.values().filter(|panels| panels.len() > 1);
        let covered = covered.map(|panels| format!("`{}` covers `{}`", panels[1].title, panels[0].title));
        outside.chain(covered).collect()
    });
}

#[test]
fn panels_fill_the_width_and_leave_no_line_empty() {
    check(|document| {
        let mut lines: BTreeMap<u64, u64> = BTreeMap::new();
        for (y, _) in cells(document).keys() {
            *lines.entry(*y).or_default() += 1;
        }
        let height = lines.keys().next_back().map_or(0, |last| last + 1);
        let filled = |y: &u64| lines.get(y).copied().unwrap_or_default();
        (0..height)
            .filter(|y| filled(y) < WIDTH)
            .map(|y| format!("line {y} has {} of 24", filled(&y)))
            .collect()
    });
}

#[test]
fn a_panel_is_as_large_as_its_type_needs() {
    check(|document| {
        let small = |panel: &&Panel| {
            let (w, h) = least(&panel.kind);
            panel.place.w < w || panel.place.h < h
        };
        let told = |panel: &Panel| format!("`{}` ({}) is small: {:?}", panel.title, panel.kind, panel.place);
        document.panels.iter().filter(small).map(told).collect()
    });
}

#[test]
fn a_heading_stands_over_something() {
    check(|document| {
        let pairs = document
            .panels
            .iter()
            .zip(document.panels.iter().skip(1).map(Some).chain([None]));
        let bare =
            pairs.filter(|(panel, next)| panel.kind == "row" && next.is_none_or(|next| next.kind == "row"));
        bare.map(|(row, _)| format!("nothing is below `{}`", row.title))
            .collect()
    });
}
