//! The map as SVG.
//!
//! In: the map. Out: a picture that stands alone: text as text, colours for light and dark backgrounds.
//! Left out on purpose: zooming and dragging; the page is a page.

use std::fmt::Write as _;

use map::{ConnectionType, Edge, EdgeKey, Map, NodeKind, export};

use super::layout::{Place, place};
use super::page::escaped;

const WIDTH: usize = 150;
const HEIGHT: usize = 46;
const GAP_X: usize = 120;
const GAP_Y: usize = 34;
const MARGIN: usize = 20;
/// Characters of a name that fit a box.
const FITS: usize = 21;

/// Draws the map.
pub(super) fn draw(map: &Map) -> String {
    let places = place(map);
    let columns = places.values().map(|p| p.layer + 1).max().unwrap_or(1);
    let rows = places.values().map(|p| p.row + 1).max().unwrap_or(1);
    let width = 2 * MARGIN + columns * WIDTH + (columns - 1) * GAP_X;
    let height = 2 * MARGIN + rows * HEIGHT + (rows - 1) * GAP_Y;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\" aria-label=\"Dependency map\" font-family=\"system-ui, sans-serif\" font-size=\"12\">\n\
         <style>.n{{fill:#f4f6f8;stroke:#5b6b7b;stroke-width:1.2}}.entry{{stroke-width:2.6}}.t{{fill:#1b2530}}.s{{fill:#5b6b7b;font-size:10px}}\
         .e{{fill:none;stroke:#8495a6;stroke-width:1.4}}.q{{stroke-dasharray:5 4}}.bad{{stroke:#c0392b}}</style>\n\
         <defs><marker id=\"a\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">\
         <path d=\"M0 0L8 4L0 8z\" fill=\"#8495a6\"/></marker></defs>\n"
    );
    for (key, edge) in &map.edges {
        if let (Some(from), Some(to)) = (places.get(&key.client), places.get(&key.server)) {
            arrow(&mut svg, map, (key, edge), *from, *to);
        }
    }
    let entry_points = map.entry_points();
    for (id, node) in &map.nodes {
        let Some(at) = places.get(id) else { continue };
        let (x, y) = corner(*at);
        let entry = if entry_points.contains(id) { " entry" } else { "" };
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
            "<g><title>{}</title><rect class=\"n{entry}\" x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"{radius}\"/>\
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
    (MARGIN + place.layer * (WIDTH + GAP_X), MARGIN + place.row * (HEIGHT + GAP_Y))
}

fn arrow(svg: &mut String, map: &Map, (key, edge): (&EdgeKey, &Edge), from: Place, to: Place) {
    let ((x1, y1), (x2, y2)) = (corner(from), corner(to));
    let (y1, y2) = (y1 + HEIGHT / 2, y2 + HEIGHT / 2);
    let forward = to.layer > from.layer;
    let (x1, x2) = if forward { (x1 + WIDTH, x2) } else { (x1, x2 + WIDTH) };
    let bend = if forward { (x2 - x1) / 2 } else { GAP_X / 2 };
    let (c1, c2) = if forward { (x1 + bend, x2 - bend) } else { (x1.saturating_sub(bend), x2 + bend) };
    let queue = if key.connection_type == ConnectionType::MessagingSystem { " q" } else { "" };
    let share = if edge.stats.requests > 0.0 { edge.stats.failed / edge.stats.requests } else { 0.0 };
    let bad = if share > 0.05 { " bad" } else { "" };
    let latency = if edge.stats.client.is_empty() { &edge.stats.server } else { &edge.stats.client };
    let _ = writeln!(
        svg,
        "<path class=\"e{queue}{bad}\" marker-end=\"url(#a)\" d=\"M{x1} {y1}C{c1} {y1} {c2} {y2} {x2} {y2}\">\
         <title>{}: {} requests, {} errors, p95 {}</title></path>",
        escaped(&map.edge_id(key)),
        export::count(edge.stats.requests),
        export::count(edge.stats.failed),
        export::duration(latency.quantile(0.95)),
    );
}
