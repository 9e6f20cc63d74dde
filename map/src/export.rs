//! The map as CSV, DOT, JSON and plain text, for other tools and for eyes.
//!
//! In: the map. Out: text, the same for the same map. CSV is the flat projection of DESIGN §7.
//! Left out on purpose: pictures; a page draws its own.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::histogram::Histogram;
use crate::id::{ConnectionType, NodeKind};
use crate::model::{FlatEdge, Map};

/// `caller,callee,connection_type,requests,failed`, sorted. With `destinations` brokers' queues are nodes of their own.
pub fn to_csv(map: &Map, destinations: bool) -> String {
    let mut csv = String::from("caller,callee,connection_type,requests,failed\n");
    for row in rows(map, destinations) {
        let FlatEdge {
            key,
            requests,
            failed,
        } = row;
        let _ = writeln!(
            csv,
            "{},{},{},{},{}",
            quoted(key.client.as_str()),
            quoted(key.server.as_str()),
            key.connection_type.as_str(),
            count(requests),
            count(failed)
        );
    }
    csv
}

/// A graph for `dot`, with request counts on the edges.
pub fn to_dot(map: &Map, destinations: bool) -> String {
    let mut dot = String::from("digraph tracemap {\n  rankdir=LR;\n  node [shape=box];\n");
    for (id, node) in map
        .nodes
        .iter()
        .filter(|(_, n)| destinations || n.kind != NodeKind::Destination)
    {
        let shape = match node.kind {
            NodeKind::Service => "box",
            NodeKind::Database | NodeKind::Cache => "cylinder",
            NodeKind::Destination => "cds",
            NodeKind::User => "circle",
            NodeKind::External | NodeKind::Unknown | NodeKind::Overflow => "ellipse",
        };
        let _ = writeln!(dot, "  {} [shape={shape}];", dot_quoted(id.as_str()));
    }
    for row in rows(map, destinations) {
        let style = match row.key.connection_type {
            ConnectionType::MessagingSystem => " style=dashed",
            _ => "",
        };
        let (client, server) = (
            dot_quoted(row.key.client.as_str()),
            dot_quoted(row.key.server.as_str()),
        );
        let _ = writeln!(
            dot,
            "  {client} -> {server} [label=\"{}\"{style}];",
            count(row.requests)
        );
    }
    dot.push_str("}\n");
    dot
}

/// The map with counts and quantiles, as the API serves it. Durations in seconds; `null` where nothing was observed.
pub fn to_json(map: &Map) -> Value {
    let entry_points = map.entry_points();
    let nodes = map.nodes.iter().map(|(id, node)| {
        let owner = map.owner(id);
        json!({
            "id": id, "kind": node.kind, "team": owner.team, "tier": owner.tier,
            "entry_point": entry_points.contains(id),
            "requests": number(node.stats.requests), "failed": number(node.stats.failed),
            "total": latency(&node.stats.total), "own": latency(&node.stats.own),
            "first_seen_unix_nano": node.seen.first.to_string(), "last_seen_unix_nano": node.seen.last.to_string(),
        })
    });
    let edges = map.edges.iter().map(|(key, edge)| {
        json!({
            "id": map.edge_id(key), "client": key.client, "server": key.server,
            "connection_type": key.connection_type,
            "requests": number(edge.stats.requests), "failed": number(edge.stats.failed),
            "client_seconds": latency(&edge.stats.client), "server_seconds": latency(&edge.stats.server),
            "own": latency(&edge.stats.own), "queue": latency(&edge.stats.queue),
            "evidence": edge.evidence, "examples": edge.examples,
            "first_seen_unix_nano": edge.seen.first.to_string(), "last_seen_unix_nano": edge.seen.last.to_string(),
        })
    });
    let flows = map.flows.iter().map(|(key, flow)| {
        json!({
            "producer": key.producer, "destination": key.destination, "consumer": key.consumer,
            "requests": number(flow.requests), "failed": number(flow.failed), "queue": latency(&flow.queue),
        })
    });
    json!({
        "version": crate::file::VERSION,
        "nodes": nodes.collect::<Vec<_>>(),
        "edges": edges.collect::<Vec<_>>(),
        "flows": flows.collect::<Vec<_>>(),
    })
}

/// The map as aligned lines, one per edge, for a terminal.
pub fn to_text(map: &Map) -> String {
    let mut table = vec![
        [
            "caller", "callee", "type", "requests", "errors", "p50", "p95", "p99", "own p95",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for (key, edge) in &map.edges {
        let latency = if edge.stats.client.is_empty() {
            &edge.stats.server
        } else {
            &edge.stats.client
        };
        let mut row = vec![
            key.client.to_string(),
            key.server.to_string(),
            key.connection_type.as_str().to_owned(),
            count(edge.stats.requests),
            count(edge.stats.failed),
        ];
        row.extend([0.5, 0.95, 0.99].map(|q| duration(latency.quantile(q))));
        row.push(duration(edge.stats.own.quantile(0.95)));
        table.push(row);
    }
    aligned(&table)
}

/// A duration as people say it: `1.2 s`, `35 ms`, `420 µs`; `-` where there is none.
pub fn duration(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".to_owned(),
        Some(s) if s <= 0.0 => "0".to_owned(),
        Some(s) if s >= 9.95 => format!("{s:.0} s"),
        Some(s) if s >= 0.9995 => format!("{s:.1} s"),
        Some(s) if s >= 0.00995 => format!("{:.0} ms", s * 1e3),
        Some(s) if s >= 0.000_999_5 => format!("{:.1} ms", s * 1e3),
        Some(s) => format!("{:.0} µs", s * 1e6),
    }
}

/// A weighted count as people write it: whole where it is whole, else with one decimal.
pub fn count(value: f64) -> String {
    if (value - value.round()).abs() < 1e-6 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

fn aligned(table: &[Vec<String>]) -> String {
    let columns = table.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|c| table.iter().map(|row| row[c].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in table {
        let cells = row.iter().zip(&widths).enumerate().map(|(c, (cell, &width))| {
            if c < 3 {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn rows(map: &Map, destinations: bool) -> Vec<FlatEdge> {
    if !destinations {
        return map.flat_edges();
    }
    let row = |(key, edge): (&crate::EdgeKey, &crate::Edge)| FlatEdge {
        key: key.clone(),
        requests: edge.stats.requests,
        failed: edge.stats.failed,
    };
    map.edges.iter().map(row).collect()
}

fn latency(histogram: &Histogram) -> Value {
    if histogram.is_empty() {
        return Value::Null;
    }
    json!({
        "count": histogram.count(), "mean": histogram.mean(),
        "p50": histogram.quantile(0.5), "p95": histogram.quantile(0.95), "p99": histogram.quantile(0.99),
    })
}

/// A whole number without a decimal point where it is whole.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        json!(value as i64)
    } else {
        json!(value)
    }
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

fn dot_quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::map_from_yaml;
    use crate::model::{Flow, FlowKey};

    fn queue_map() -> Map {
        let yaml = "version: 1\nnodes:\n  orders: {kind: destination}\nedges:\n\
            - {client: shop, server: orders, connection_type: messaging_system}\n\
            - {client: orders, server: worker, connection_type: messaging_system}\n\
            - {client: shop, server: 'a,b'}\n";
        let mut map = map_from_yaml(yaml).unwrap();
        map.edges.values_mut().for_each(|edge| edge.stats.requests = 2.0);
        map
    }

    #[test]
    fn the_flat_csv_leads_from_producer_to_consumer_and_quotes_commas() {
        let mut map = queue_map();
        let key = FlowKey {
            producer: "shop".into(),
            destination: Some("orders".into()),
            consumer: "worker".into(),
        };
        map.flows.insert(
            key,
            Flow {
                requests: 2.0,
                failed: 1.0,
                ..Flow::default()
            },
        );
        assert_eq!(
            to_csv(&map, false),
            "caller,callee,connection_type,requests,failed\nshop,\"a,b\",,2,0\nshop,worker,messaging_system,2,1\n"
        );
        assert_eq!(
            to_csv(&map, true),
            "caller,callee,connection_type,requests,failed\norders,worker,messaging_system,2,0\n\
             shop,\"a,b\",,2,0\nshop,orders,messaging_system,2,0\n"
        );
    }

    #[test]
    fn a_producer_without_a_known_consumer_keeps_its_destination_in_the_flat_view() {
        assert!(to_csv(&queue_map(), false).contains("shop,orders,messaging_system,2,0\n"));
    }

    #[test]
    fn durations_are_said_in_the_unit_that_fits() {
        let cases = [
            (None, "-"),
            (Some(0.0), "0"),
            (Some(0.000_42), "420 µs"),
            (Some(0.0012), "1.2 ms"),
            (Some(0.035), "35 ms"),
            (Some(1.25), "1.2 s"),
            (Some(75.0), "75 s"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text);
        }
    }
}
