//! The page: the picture, every edge and node with its numbers, and the generated files.
//!
//! In: the map, the learned edges, the names of the files. Out: HTML without scripts; it asks for itself again every
//! few seconds.
//! Left out on purpose: what the dashboards show better, above all anything over time.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use map::{Map, NodeKind, export};

use super::picture;
use crate::recent::Latency;

/// What is known of nodes and edges beside the map, by the id of their series.
#[derive(Default)]
pub(super) struct Lately {
    /// The learned edges of own time in seconds.
    pub(super) normal: BTreeMap<String, f64>,
    /// The latest minutes.
    pub(super) recent: BTreeMap<String, Latency>,
}

const STYLE: &str = "body{font:14px/1.45 system-ui,sans-serif;margin:1.5rem;color:#1b2530;background:#fff}\
    h1{font-size:1.3rem;margin:0}h2{font-size:1rem;margin:1.6rem 0 .4rem}p{margin:.3rem 0}.muted{color:#5b6b7b}\
    table{border-collapse:collapse}th,td{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #e3e8ed;\
    white-space:nowrap}th{color:#5b6b7b;font-weight:600}td:first-child,th:first-child,.l{text-align:left}\
    .marked{background:#fff6d8}.bad{color:#c0392b;font-weight:600}.map{overflow-x:auto;border:1px solid #e3e8ed;border-radius:6px;margin:.8rem 0}\
    ul{margin:.2rem 0;padding-left:1.2rem;columns:3 22rem}pre{overflow-x:auto}a{color:#1a5fb4}";

/// The whole page; the node `marked` stands out in it.
pub(super) fn render(map: &Map, lately: &Lately, files: &[String], marked: Option<&str>) -> String {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>tracemap</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><meta http-equiv=\"refresh\" content=\"5\">\
         <style>{STYLE}</style></head><body><h1>tracemap</h1>"
    );
    if map.edges.is_empty() {
        html.push_str(
            "<p>No request has been seen yet. Send OTLP to this collector (4317 gRPC, 4318 HTTP), let an agent \
             stand before a service, or start with <code>--demo</code>; edges show about two seconds after their \
             request.</p></body></html>",
        );
        return html;
    }
    let services = map
        .nodes
        .values()
        .filter(|node| node.kind == NodeKind::Service)
        .count();
    let _ = write!(
        html,
        "<p class=\"muted\">{services} services, {} nodes, {} edges. The map as <a href=\"/api/v1/map\">JSON</a>, \
         <a href=\"/api/v1/map?format=yaml\">YAML</a>, <a href=\"/api/v1/map?format=csv\">CSV</a>, \
         <a href=\"/api/v1/map?format=text\">text</a>, <a href=\"/map.svg\">SVG</a>; <a href=\"/metrics\">metrics</a>.</p>\
         <div class=\"map\">{}</div>",
        map.nodes.len(),
        map.edges.len(),
        picture::draw(map, marked)
    );
    edges(&mut html, map, lately, marked);
    nodes(&mut html, map, lately, marked);
    generated(&mut html, files);
    let _ = write!(
        html,
        "<h2>As text</h2><pre>{}</pre></body></html>",
        escaped(&export::to_text(map))
    );
    html
}

fn edges(html: &mut String, map: &Map, lately: &Lately, marked: Option<&str>) {
    html.push_str(
        "<h2>Edges</h2><table><tr><th>caller → callee</th><th class=\"l\">type</th><th>requests</th><th>errors</th>\
         <th>p50</th><th>p95</th><th>p99</th><th>own p95</th><th>normal own</th><th>queue p95</th></tr>",
    );
    for (key, edge) in &map.edges {
        let id = map.edge_id(key);
        let mark = mark(marked, [key.client.as_str(), key.server.as_str()]);
        let _ = write!(
            html,
            "<tr{mark}><td>{} → {}</td><td class=\"l\">{}</td>{}{}",
            escaped(key.client.as_str()),
            escaped(key.server.as_str()),
            key.connection_type.as_str(),
            counts(edge.stats.requests, edge.stats.failed),
            lately.columns(&id),
        );
        let queue = export::duration(edge.stats.queue.quantile(0.95));
        let _ = write!(html, "<td>{queue}</td></tr>");
    }
    html.push_str("</table>");
}

fn nodes(html: &mut String, map: &Map, lately: &Lately, marked: Option<&str>) {
    html.push_str(
        "<h2>Services</h2><table><tr><th>service</th><th class=\"l\">team</th><th>requests</th><th>errors</th>\
         <th>p50</th><th>p95</th><th>p99</th><th>own p95</th><th>normal own</th></tr>",
    );
    let entry_points = map.entry_points();
    for (id, node) in map
        .nodes
        .iter()
        .filter(|(_, node)| node.kind == NodeKind::Service)
    {
        let entry = if entry_points.contains(id) {
            " (entry point)"
        } else {
            ""
        };
        let mark = mark(marked, [id.as_str()]);
        let _ = write!(
            html,
            "<tr{mark}><td>{}{entry}</td><td class=\"l\">{}</td>{}{}</tr>",
            escaped(id.as_str()),
            escaped(&map.owner(id).team),
            counts(node.stats.requests, node.stats.failed),
            lately.columns(id.as_str()),
        );
    }
    html.push_str(
        "</table><p class=\"muted\">Requests and errors since the map began, latencies of the latest five to ten minutes. \
         Own time is a request less its outgoing calls, for an edge the time between both ends. \
         Above “normal own” a request counts as slow; <code>-</code> there means not learned yet.</p>",
    );
}

fn mark<'a>(marked: Option<&str>, ids: impl IntoIterator<Item = &'a str>) -> &'static str {
    if marked.is_some_and(|marked| ids.into_iter().any(|id| id == marked)) {
        " class=\"marked\""
    } else {
        ""
    }
}

fn generated(html: &mut String, files: &[String]) {
    html.push_str("<h2>Generated files</h2>");
    if files.is_empty() {
        html.push_str("<p class=\"muted\">None yet: they follow within the first minute of traffic.</p>");
        return;
    }
    html.push_str("<ul>");
    for file in files {
        let href: String = file.split('/').map(percent_encoded).collect::<Vec<_>>().join("/");
        let _ = write!(
            html,
            "<li><a href=\"/generated/{href}\">{}</a></li>",
            escaped(file)
        );
    }
    html.push_str("</ul>");
}

fn counts(requests: f64, failed: f64) -> String {
    let class = if failed > requests * 0.05 {
        " class=\"bad\""
    } else {
        ""
    };
    format!(
        "<td>{}</td><td{class}>{}</td>",
        export::count(requests),
        export::count(failed)
    )
}

impl Lately {
    /// p50, p95 and p99 of the latest minutes, the 95th percentile of own time, and what is normal for that.
    fn columns(&self, id: &str) -> String {
        let none = Latency::default();
        let recent = self.recent.get(id).unwrap_or(&none);
        let quantiles =
            [0.5, 0.95, 0.99].map(|q| format!("<td>{}</td>", export::duration(recent.total.quantile(q))));
        let (own, normal) = (recent.own.quantile(0.95), self.normal.get(id).copied());
        let slow = own.zip(normal).is_some_and(|(own, normal)| own > normal);
        let class = if slow { " class=\"bad\"" } else { "" };
        let (own, normal) = (export::duration(own), export::duration(normal));
        format!("{}<td{class}>{own}</td><td>{normal}</td>", quantiles.concat())
    }
}

/// Text for HTML and SVG, attributes included.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

fn percent_encoded(segment: &str) -> String {
    segment.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_service_name_stays_text() {
        let yaml = "version: 1\nedges:\n- {client: user, server: '<script>alert(1)</script>\"'}\n";
        let map = map::file::map_from_yaml(yaml).unwrap();
        let lately = Lately::default();
        let html = render(
            &map,
            &lately,
            &["dashboards/service-<b>.json".to_owned()],
            Some("<i>"),
        );
        assert!(
            !html.contains("<script>") && !html.contains("<b>") && !html.contains("<i>"),
            "{html}"
        );
        assert!(html.contains("&lt;script&gt;"));
    }

    #[test]
    fn the_node_of_a_link_stands_out() {
        let map = map::file::map_from_yaml("version: 1\nedges:\n- {client: web, server: cart}\n").unwrap();
        let lately = Lately::default();
        let marked = |node| {
            render(&map, &lately, &[], node)
                .matches("<tr class=\"marked\">")
                .count()
        };
        assert_eq!(
            (marked(None), marked(Some("cart")), marked(Some("stranger"))),
            (0, 2, 0)
        );
    }

    #[test]
    fn what_is_slower_than_normal_lately_stands_out_whatever_it_was_before() {
        let map = map::file::map_from_yaml("version: 1\nedges:\n- {client: web, server: cart}\n").unwrap();
        let mut lately = Lately::default();
        lately.normal.insert("cart".to_owned(), 0.05);
        assert!(!render(&map, &lately, &[], None).contains("<td class=\"bad\">"));
        let mut latency = Latency::default();
        latency.own.observe(0.4);
        lately.recent.insert("cart".to_owned(), latency);
        let html = render(&map, &lately, &[], None);
        assert!(
            html.contains("<td class=\"bad\">40") && html.contains("<td>50 ms</td>"),
            "{html}"
        );
    }

    #[test]
    fn an_empty_map_says_what_to_do() {
        let lately = Lately::default();
        assert!(render(&Map::default(), &lately, &[], None).contains("4317"));
    }
}
