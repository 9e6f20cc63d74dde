//! `PromQL`, put together from the catalogue's names.
//!
//! In: series names of [`map::catalogue`] and label values, whatever those contain. Out: expressions.
//! Left out on purpose: names of series. They are the catalogue's constants, at the places that ask for them.

use std::fmt::Write as _;

use map::NodeId;
use map::catalogue::{EDGE_INFO, FAILED, NODE_INFO, REQUESTS};

use crate::settings::Histograms;

/// Matchers of every service's own series.
pub(crate) const SERVICES: &str = r#"kind="service""#;
/// Matchers of every edge's series.
pub(crate) const EDGES: &str = r#"kind="edge""#;

/// Which node a dashboard is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    /// This one.
    Node(&'a NodeId),
    /// The one that the viewer picks by the variable of this name.
    Picked(&'static str),
}

impl Subject<'_> {
    /// Its id as a literal.
    pub(crate) fn literal(self) -> String {
        match self {
            Self::Node(id) => quoted(id.as_str()),
            Self::Picked(variable) => format!("\"${variable}\""),
        }
    }

    /// Its name without environment and namespace, as a literal: what its spans say.
    pub(crate) fn name_literal(self) -> String {
        match self {
            Self::Node(id) => quoted(id.name()),
            Self::Picked(variable) => format!("\"${variable}_name\""),
        }
    }
}

/// Matcher of a node's id.
pub(crate) fn id(subject: Subject<'_>) -> String {
    format!("id={}", subject.literal())
}

/// Matchers of one service's own series.
pub(crate) fn service(subject: Subject<'_>) -> String {
    format!("{SERVICES},{}", id(subject))
}

/// Matchers of the edges into a node.
pub(crate) fn edges_into(subject: Subject<'_>) -> String {
    format!("{EDGES},server={}", subject.literal())
}

/// Matchers of the edges out of a node.
pub(crate) fn edges_out_of(subject: Subject<'_>) -> String {
    format!("{EDGES},client={}", subject.literal())
}

/// A string literal, of `TraceQL` as well. Grafana reads `$name` and `[[name]]` even inside literals, so those signs are written as escapes.
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

/// Queries of histograms, in the form that the data source keeps them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times(pub(crate) Histograms);

impl Times {
    /// A quantile of a histogram's family, in its unit.
    pub(crate) fn quantile(self, q: f64, by: &str, histogram: &str, matchers: &str) -> String {
        let rate = match self.0 {
            Histograms::Classic => {
                let by = if by.is_empty() {
                    "le".to_owned()
                } else {
                    format!("{by}, le")
                };
                rate(&by, &format!("{histogram}_bucket"), matchers)
            }
            Histograms::Native => rate(by, histogram, matchers),
        };
        format!("histogram_quantile({q}, {rate})")
    }

    /// What a histogram added up per second.
    pub(crate) fn sum(self, by: &str, histogram: &str, matchers: &str) -> String {
        self.part("sum", by, histogram, matchers)
    }

    /// How often a histogram was observed per second.
    pub(crate) fn count(self, by: &str, histogram: &str, matchers: &str) -> String {
        self.part("count", by, histogram, matchers)
    }

    /// The mean of what was observed; nothing where nothing was.
    pub(crate) fn mean(self, by: &str, histogram: &str, matchers: &str) -> String {
        let (sum, count) = (
            self.sum(by, histogram, matchers),
            self.count(by, histogram, matchers),
        );
        format!("{sum} / ({count} > 0)")
    }

    fn part(self, part: &str, by: &str, histogram: &str, matchers: &str) -> String {
        match self.0 {
            Histograms::Classic => rate(by, &format!("{histogram}_{part}"), matchers),
            Histograms::Native => {
                let rates = rate(by, histogram, matchers);
                format!("histogram_{part}({rates})")
            }
        }
    }
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
            Times(Histograms::Classic).quantile(0.95, "", "h", EDGES),
            r#"histogram_quantile(0.95, sum by (le) (rate(h_bucket{kind="edge"}[$__rate_interval])))"#
        );
        assert_eq!(
            Times(Histograms::Native).quantile(0.95, "", "h", EDGES),
            r#"histogram_quantile(0.95, sum(rate(h{kind="edge"}[$__rate_interval])))"#
        );
    }
}
