//! The map as SVG.
//!
//! In: the map. Out: a picture that stands alone: text as text, colours for light and dark backgrounds.
//! Left out on purpose: zooming and dragging; the page is a page.

use std::fmt::Write as _;

use map::{ConnectionType, Edge, EdgeKey, Map, NodeKind, export};

use super::layout::{Layout, Place, place};
use super::page::escaped;

const WIDTH: usize = 150;
const HEIGHT: usize = 46;
const GAP_X: usize = 120;
const GAP_Y: usize = 34;
const MARGIN: usize = 20;
/// Characters of a name that fit a box.
const FITS: usize = 21;

/// Draws the map; `marked` stands out.
pub(super) fn draw(map: &Map, marked: Option<&str>) -> String {
    let layout = place(map);
    let all = || layout.nodes.values().chain(layout.bends.values().flatten());
    let columns = all().map(|p| p.layer + 1).max().unwrap_or(1);
    let last_row = all().map(|p| p.row.ceil() as usize).max().unwrap_or(0);
    let width = 2 * MARGIN + columns * WIDTH + (columns - 1) * GAP_X;
    let height = 2 * MARGIN + HEIGHT + last_row * (HEIGHT + GAP_Y);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         style=\"max-width:100%;height:auto\" role=\"img\" aria-label=\"Dependency map\" font-family=\"system-ui, sans-serif\" font-size=\"12\">\n\
         <style>.n{{fill:#f4f6f8;stroke:#5b6b7b;stroke-width:1.2}}.entry{{stroke-width:2.6}}.marked{{fill:#ffe9a8}}.t{{fill:#1b2530}}.s{{fill:#5b6b7b;font-size:10px}}\
         .e{{fill:none;stroke:#8495a6;stroke-width:1.4}}.q{{stroke-dasharray:5 4}}.bad{{stroke:#c0392b}}</style>\n\
         <defs><marker id=\"a\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">\
         <path d=\"M0 0L8 4L0 8z\" fill=\"#8495a6\"/></marker></defs>\n"
    );
    for (key, edge) in &map.edges {
        arrow(&mut svg, map, (key, edge), &layout);
    }
    let entry_points = map.entry_points();
    for (id, node) in &map.nodes {
        let Some(at) = layout.nodes.get(id) else { continue };
        let (x, y) = corner(*at);
        let entry = if entry_points.contains(id) { " entry" } else { "" };
        let mark = if marked == Some(id.as_str()) {
            " marked"
        } else {
            ""
        };
        let radius = match node.kind {
            NodeKind::Service => 5,
            NodeKind::Destination => 0,
            _ => HEIGHT / 2,
        };
        let name: String = if id.as_str().chars().count() > FITS {
            id.as_str().chars().take(FITS - 1).chain(['…']).collect()
        } else {
            id.to_string()
        };
        let below = if node.kind == NodeKind::Service {
            format!("own p95 {}", export::duration(node.stats.own.quantile(0.95)))
        } else {
            node.kind.to_string()
        };
        let (middle, first, second) = (x + WIDTH / 2, y + 19, y + 35);
        let _ = writeln!(
            svg,
            "<g><title>{}</title><rect class=\"n{entry}{mark}\" x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"{radius}\"/>\
             <text class=\"t\" x=\"{middle}\" y=\"{first}\" text-anchor=\"middle\">{}</text>\
             <text class=\"s\" x=\"{middle}\" y=\"{second}\" text-anchor=\"middle\">{below}</text></g>",
            escaped(id.as_str()),
            escaped(&name),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn corner(place: Place) -> (usize, usize) {
    let y = MARGIN as f64 + place.row * (HEIGHT + GAP_Y) as f64;
    (MARGIN + place.layer * (WIDTH + GAP_X), y as usize)
}

fn arrow(svg: &mut String, map: &Map, (key, edge): (&EdgeKey, &Edge), layout: &Layout) {
    let Some((from, to)) = layout.nodes.get(&key.client).zip(layout.nodes.get(&key.server)) else {
        return;
    };
    let bends = layout
        .bends
        .get(&(key.client.clone(), key.server.clone()))
        .map_or(&[][..], Vec::as_slice);
    let queue = if key.connection_type == ConnectionType::MessagingSystem {
        " q"
    } else {
        ""
    };
    let share = if edge.stats.requests > 0.0 {
        edge.stats.failed / edge.stats.requests
    } else {
        0.0
    };
    let bad = if share > 0.05 { " bad" } else { "" };
    let latency = if edge.stats.client.is_empty() {
        &edge.stats.server
    } else {
        &edge.stats.client
    };
    let _ = writeln!(
        svg,
        "<path class=\"e{queue}{bad}\" marker-end=\"url(#a)\" d=\"{}\"><title>{}: {} requests, {} errors, p95 {}</title></path>",
        line(*from, bends, *to),
        escaped(&map.edge_id(key)),
        export::count(edge.stats.requests),
        export::count(edge.stats.failed),
        export::duration(latency.quantile(0.95)),
    );
}

/// From the caller's right side through the bends to the callee's left side; backwards, from left to right.
fn line(from: Place, bends: &[Place], to: Place) -> String {
    let middle = |place: Place| {
        let (x, y) = corner(place);
        (x, y + HEIGHT / 2)
    };
    let ((x, y), (end_x, end_y)) = (middle(from), middle(to));
    if to.layer <= from.layer {
        let (end_x, bend) = (end_x + WIDTH, GAP_X / 2);
        let (c1, c2) = (x.saturating_sub(bend), end_x + bend);
        return format!("M{x} {y}C{c1} {y} {c2} {end_y} {end_x} {end_y}");
    }
    let (mut x, mut y) = (x + WIDTH, y);
    let mut path = format!("M{x} {y}");
    for &bend in bends {
        let (left, level) = middle(bend);
        path.push_str(&curve((x, y), (left, level)));
        (x, y) = (left + WIDTH, level);
        let _ = write!(path, "H{x}");
    }
    path + &curve((x, y), (end_x, end_y))
}

fn curve((x1, y1): (usize, usize), (x2, y2): (usize, usize)) -> String {
    let middle = usize::midpoint(x1, x2);
    format!("C{middle} {y1} {middle} {y2} {x2} {y2}")
}
