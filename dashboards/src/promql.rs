//! `PromQL`, put together from the catalogue's names.
//!
//! In: series names of [`map::catalogue`] and label values, whatever those contain. Out: expressions.
//! Left out on purpose: names of series. They are the catalogue's constants, at the places that ask for them.

use std::fmt::Write as _;

use map::NodeId;
use map::catalogue::{EDGE_INFO, FAILED, NODE_INFO, REQUESTS};

/// Matchers of every service's own series.
pub(crate) const SERVICES: &str = r#"kind="service""#;
/// Matchers of every edge's series.
pub(crate) const EDGES: &str = r#"kind="edge""#;

/// Matchers of one service's own series.
pub(crate) fn service(id: &NodeId) -> String {
    format!("{SERVICES},id={}", quoted(id.as_str()))
}

/// Matchers of the edges into a node.
pub(crate) fn edges_into(id: &NodeId) -> String {
    format!("{EDGES},server={}", quoted(id.as_str()))
}

/// Matchers of the edges out of a node.
pub(crate) fn edges_out_of(id: &NodeId) -> String {
    format!("{EDGES},client={}", quoted(id.as_str()))
}

/// A string literal. Grafana reads `$name` and `[[name]]` even inside literals, so those signs are written as escapes.
/// Source: Prometheus documentation, "Querying basics", string literals.
pub(crate) fn quoted(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => literal.extend(['\\', c]),
            '$' | '[' | '\0'..='\x1f' | '\x7f' => {
                let _ = write!(literal, "\\x{:02x}", u32::from(c));
            }
            c => literal.push(c),
        }
    }
    literal.push('"');
    literal
}

/// Per second, summed by labels; by none into one series where `by` is empty.
pub(crate) fn rate(by: &str, series: &str, matchers: &str) -> String {
    aggregated(
        "sum",
        by,
        &format!("rate({series}{}[$__rate_interval])", braced(matchers)),
    )
}

/// Requests per second.
pub(crate) fn requests(by: &str, matchers: &str) -> String {
    rate(by, REQUESTS, matchers)
}

/// The share of requests that failed, from 0 to 1; nothing where none came.
pub(crate) fn failed_share(by: &str, matchers: &str) -> String {
    format!(
        "{} / ({} > 0)",
        rate(by, FAILED, matchers),
        requests(by, matchers)
    )
}

/// A quantile in seconds of a histogram's family.
pub(crate) fn quantile(q: f64, by: &str, histogram: &str, matchers: &str) -> String {
    let by = if by.is_empty() {
        "le".to_owned()
    } else {
        format!("{by}, le")
    };
    format!(
        "histogram_quantile({q}, {})",
        rate(&by, &format!("{histogram}_bucket"), matchers)
    )
}

/// A gauge or recorded series, once for each combination of labels however many instances report it.
pub(crate) fn once(by: &str, series: &str, matchers: &str) -> String {
    aggregated("max", by, &format!("{series}{}", braced(matchers)))
}

/// The label `to` with what the label `from` says.
pub(crate) fn copied(expr: &str, to: &str, from: &str) -> String {
    format!(r#"label_replace({expr}, "{to}", "$1", "{from}", "(.*)")"#)
}

/// The label `to` with a fixed value, which is ours and needs no escape.
pub(crate) fn labelled(expr: &str, to: &str, value: &str) -> String {
    format!(r#"label_replace({expr}, "{to}", "{value}", "", "")"#)
}

/// Every node that the map or an edge of it names, by `id`.
///
/// Grafana's node graph throws where an edge has an end that is no node, so the ends count although each is listed.
pub(crate) fn all_nodes() -> String {
    let edges = once("client, server", EDGE_INFO, "");
    let end = |label| once_of("id", &copied(&edges, "id", label));
    format!(
        "({} or {} or {})",
        once("id", NODE_INFO, ""),
        end("client"),
        end("server")
    )
}

/// The greatest value by labels, of an expression.
pub(crate) fn once_of(by: &str, expr: &str) -> String {
    aggregated("max", by, expr)
}

fn aggregated(operator: &str, by: &str, expr: &str) -> String {
    if by.is_empty() {
        format!("{operator}({expr})")
    } else {
        format!("{operator} by ({by}) ({expr})")
    }
}

fn braced(matchers: &str) -> String {
    if matchers.is_empty() {
        String::new()
    } else {
        format!("{{{matchers}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_holds_no_sign_that_prometheus_or_grafana_would_read() {
        assert_eq!(quoted("cart"), r#""cart""#);
        assert_eq!(quoted(r#"a"b\c"#), r#""a\"b\\c""#);
        assert_eq!(
            quoted("${datasource}[[x]]\n"),
            r#""\x24{datasource}\x5b\x5bx]]\x0a""#
        );
        assert_eq!(quoted("größe/本"), "\"größe/本\"");
    }

    #[test]
    fn an_empty_list_of_labels_sums_into_one_series() {
        assert_eq!(
            requests("", ""),
            "sum(rate(tracemap_requests_total[$__rate_interval]))"
        );
        assert_eq!(
            quantile(0.95, "", "h", EDGES),
            r#"histogram_quantile(0.95, sum by (le) (rate(h_bucket{kind="edge"}[$__rate_interval])))"#
        );
    }
}
