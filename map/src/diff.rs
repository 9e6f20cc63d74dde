//! What changed from one map to another.
//!
//! In: two maps, from where on a number has changed. Out: nodes and edges that are new, gone, or changed.
//! Numbers are compared where both maps have enough requests of an edge or node. A share of failures has changed only where chance does
//! not explain it either.
//! Left out on purpose: findings, which are judged elsewhere; flows, which follow from their edges; how it is written.

use std::collections::BTreeMap;

use config::{Finding, HumanDuration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::histogram::Histogram;
use crate::id::{EdgeKey, NodeKind};
use crate::model::{Edge, Map, Node};

/// From where on something has changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChangeSettings {
    /// Requests that an edge or node must have on both maps for its numbers to be compared. Default 100.
    pub min_requests: u64,
    /// By what factor an edge's requests must differ from what the growth of all edges together makes of them. Default 2.
    pub traffic: f64,
    /// By what factor the median or the 95th percentile of a latency must differ. Default 1.5.
    pub latency: f64,
    /// And by how much at least. Default `5ms`.
    pub latency_by: HumanDuration,
    /// By how much the share of failed requests must differ, as a difference of shares. Default 0.01. Three standard errors besides.
    pub failed: f64,
}

impl Default for ChangeSettings {
    fn default() -> Self {
        Self {
            min_requests: 100,
            traffic: 2.0,
            latency: 1.5,
            latency_by: HumanDuration::from_millis(5),
            failed: 0.01,
        }
    }
}

impl ChangeSettings {
    /// What is wrong with the settings; `path` is where they stand.
    pub fn check(&self, path: &str) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut say = |key: &str, value: f64, hint: &str| {
            found.push(Finding {
                path: format!("{path}.{key}"),
                message: format!(
                    "`{key}` is {value}, and nothing would ever, or everything always, be a change"
                ),
                hint: Some(hint.to_owned()),
            });
        };
        for (key, factor) in [("traffic", self.traffic), ("latency", self.latency)] {
            if !(factor > 1.0 && factor.is_finite()) {
                say(key, factor, "write a factor above 1, such as 1.5");
            }
        }
        if !(self.failed > 0.0 && self.failed < 1.0) {
            say(
                "failed",
                self.failed,
                "write a difference of shares between 0 and 1, such as 0.01",
            );
        }
        found
    }
}

/// What changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MapDiff {
    /// Nodes.
    pub nodes: Changes,
    /// Edges, by the `id` label of their series.
    pub edges: Changes,
}

/// Ids that came, went and changed, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Changes {
    /// Only on the later map.
    pub new: Vec<String>,
    /// Only on the earlier map.
    pub gone: Vec<String>,
    /// On both, with other numbers.
    pub changed: Vec<Change>,
}

/// A number, or the kind of a node, that is another one now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The node or edge.
    pub id: String,
    /// What changed.
    pub what: Measure,
    /// What it was; a number but for [`Measure::Kind`].
    pub old: serde_json::Value,
    /// What it is.
    pub new: serde_json::Value,
}

/// What may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The kind of a node.
    Kind,
    /// Requests of an edge; the old ones times the growth of the map's traffic, which is the median of its edges' growth, so that
    /// one edge that grows makes no other shrink.
    Requests,
    /// Median in seconds: of an edge's calls as the caller sees them, or of a node's own time.
    P50Seconds,
    /// The 95th percentile of the same.
    P95Seconds,
    /// Share of requests that failed.
    FailedShare,
}

impl MapDiff {
    /// True where nothing changed.
    pub fn is_empty(&self) -> bool {
        [&self.nodes, &self.edges]
            .into_iter()
            .all(|changes| changes.new.is_empty() && changes.gone.is_empty() && changes.changed.is_empty())
    }
}

/// What is different on `new`.
pub fn diff(old: &Map, new: &Map, settings: &ChangeSettings) -> MapDiff {
    let node = |id: &str| id.to_owned();
    let mut nodes = presence(&old.nodes, &new.nodes, |_, id| node(id.as_str()));
    for (id, now) in &new.nodes {
        if let Some(before) = old.nodes.get(id) {
            nodes.changed.extend(of_node(id.as_str(), before, now, settings));
        }
    }
    let id = |is_new: bool, key: &EdgeKey| {
        if is_new {
            new.edge_id(key)
        } else {
            old.edge_id(key)
        }
    };
    let mut edges = presence(&old.edges, &new.edges, id);
    let growth = growth(old, new, settings);
    for (key, now) in &new.edges {
        if let Some(before) = old.edges.get(key) {
            edges
                .changed
                .extend(of_edge(&new.edge_id(key), before, now, growth, settings));
        }
    }
    MapDiff { nodes, edges }
}

fn presence<K: Ord, V>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
    id: impl Fn(bool, &K) -> String,
) -> Changes {
    let only = |of: &BTreeMap<K, V>, other: &BTreeMap<K, V>, is_new| {
        let only = of.keys().filter(|key| !other.contains_key(key));
        only.map(|key| id(is_new, key)).collect()
    };
    Changes {
        new: only(new, old, true),
        gone: only(old, new, false),
        changed: Vec::new(),
    }
}

fn of_node(id: &str, old: &Node, new: &Node, settings: &ChangeSettings) -> Vec<Change> {
    let mut found = Vec::new();
    if old.kind != new.kind {
        let kind = |kind: NodeKind| kind.as_str().into();
        found.push(Change {
            id: id.to_owned(),
            what: Measure::Kind,
            old: kind(old.kind),
            new: kind(new.kind),
        });
    }
    let is_busy =
        |node: &Node| node.stats.requests > 0.0 && node.stats.requests >= settings.min_requests as f64;
    if !is_busy(old) || !is_busy(new) {
        return found;
    }
    found.extend(latency(id, &old.stats.own, &new.stats.own, settings));
    let failures = |node: &Node| (node.stats.failed, node.stats.requests);
    found.extend(failed(id, failures(old), failures(new), settings));
    found
}

/// How many times the requests of the usual edge are what they were; 1 where no edge has enough on both maps.
fn growth(old: &Map, new: &Map, settings: &ChangeSettings) -> f64 {
    let both = new
        .edges
        .iter()
        .filter_map(|(key, now)| Some((old.edges.get(key)?, now)));
    let mut growths: Vec<f64> = both
        .filter(|(before, now)| is_busy(before, settings) && is_busy(now, settings))
        .map(|(before, now)| now.stats.requests / before.stats.requests)
        .collect();
    growths.sort_unstable_by(f64::total_cmp);
    growths.get(growths.len() / 2).copied().unwrap_or(1.0)
}

fn is_busy(edge: &Edge, settings: &ChangeSettings) -> bool {
    edge.stats.requests > 0.0 && edge.stats.requests >= settings.min_requests as f64
}

fn of_edge(id: &str, old: &Edge, new: &Edge, growth: f64, settings: &ChangeSettings) -> Vec<Change> {
    if !is_busy(old, settings) || !is_busy(new, settings) {
        return Vec::new();
    }
    let requests = (old.stats.requests * growth, new.stats.requests);
    let moved = by_factor(requests.0, requests.1, settings.traffic);
    let mut found: Vec<Change> = moved
        .then(|| change(id, Measure::Requests, requests))
        .into_iter()
        .collect();
    let (before, now) = match (old.stats.client.is_empty(), new.stats.client.is_empty()) {
        (false, false) => (&old.stats.client, &new.stats.client),
        _ => (&old.stats.server, &new.stats.server),
    };
    found.extend(latency(id, before, now, settings));
    let failures = |edge: &Edge| (edge.stats.failed, edge.stats.requests);
    found.extend(failed(id, failures(old), failures(new), settings));
    found
}

fn latency(id: &str, old: &Histogram, new: &Histogram, settings: &ChangeSettings) -> Vec<Change> {
    let measures = [(0.5, Measure::P50Seconds), (0.95, Measure::P95Seconds)];
    let changed = measures.into_iter().filter_map(|(q, measure)| {
        let (before, now) = (old.quantile(q)?, new.quantile(q)?);
        let by_enough = (before - now).abs() >= settings.latency_by.get().as_secs_f64();
        (by_enough && by_factor(before, now, settings.latency)).then(|| change(id, measure, (before, now)))
    });
    changed.collect()
}

/// The difference of two shares is no chance where it is three standard errors or more (two-proportion z-test, pooled).
fn failed(id: &str, old: (f64, f64), new: (f64, f64), settings: &ChangeSettings) -> Option<Change> {
    let share = |(failed, requests): (f64, f64)| failed / requests;
    let pooled = (old.0 + new.0) / (old.1 + new.1);
    let error = (pooled * (1.0 - pooled) * (1.0 / old.1 + 1.0 / new.1))
        .max(0.0)
        .sqrt();
    let by = (share(new) - share(old)).abs();
    (by >= settings.failed && by >= 3.0 * error)
        .then(|| change(id, Measure::FailedShare, (share(old), share(new))))
}

fn by_factor(old: f64, new: f64, factor: f64) -> bool {
    old.max(new) >= factor * old.min(new)
}

/// With both numbers to three figures.
fn change(id: &str, what: Measure, (old, new): (f64, f64)) -> Change {
    let figures = |value: f64| {
        if value == 0.0 || !value.is_finite() {
            return serde_json::json!(0.0);
        }
        let scale = 10_f64.powi(2 - value.abs().log10().floor() as i32);
        serde_json::json!((value * scale).round() / scale)
    };
    Change {
        id: id.to_owned(),
        what,
        old: figures(old),
        new: figures(new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::map_from_yaml;

    const SHOP: &str = "version: 1\nedges:\n- {client: user, server: web}\n- {client: web, server: cart}\n- {client: web, server: stock}\n";

    /// A thousand requests everywhere, each of `ms` milliseconds, `failed` of them failed.
    fn shop(ms: f64, failed: f64) -> Map {
        let mut map = map_from_yaml(SHOP).unwrap();
        for edge in map.edges.values_mut() {
            (edge.stats.requests, edge.stats.failed) = (1000.0, failed);
            (0..1000).for_each(|_| edge.stats.client.observe(ms / 1e3));
        }
        map
    }

    fn cart(map: &mut Map) -> &mut Edge {
        let of_cart = |key: &&EdgeKey| key.server.as_str() == "cart";
        let key = map.edges.keys().find(of_cart).unwrap().clone();
        map.edges.get_mut(&key).unwrap()
    }

    fn told(old: &Map, new: &Map) -> Vec<String> {
        let MapDiff { nodes, edges } = diff(old, new, &ChangeSettings::default());
        let one = |sign: &str, ids: Vec<String>| {
            ids.into_iter()
                .map(|id| format!("{sign}{id}"))
                .collect::<Vec<_>>()
        };
        let changed = |changes: Vec<Change>| {
            let say = |c: Change| format!("{} {:?} {} {}", c.id, c.what, c.old, c.new);
            changes.into_iter().map(say).collect::<Vec<_>>()
        };
        let of = |c: Changes| [one("+", c.new), one("-", c.gone), changed(c.changed)].concat();
        [of(nodes), of(edges)].concat()
    }

    #[test]
    fn the_same_map_and_one_with_noise_are_no_difference() {
        let old = shop(100.0, 10.0);
        assert!(diff(&old, &old, &ChangeSettings::default()).is_empty());
        assert_eq!(told(&old, &shop(120.0, 19.0)), [""; 0]);
        assert_eq!(
            told(&shop(1.0, 0.0), &shop(5.0, 0.0)),
            [""; 0],
            "five times 1 ms is 4 ms more"
        );
    }

    #[test]
    fn nodes_and_edges_that_came_and_went_are_told() {
        let mut new = shop(100.0, 10.0);
        let key = EdgeKey::new("cart".into(), "db".into(), crate::ConnectionType::Database);
        new.edges.insert(key, Edge::default());
        new.nodes.entry("db".into()).or_default().kind = NodeKind::Database;
        new.edges.retain(|key, _| key.server.as_str() != "stock");
        new.nodes.remove("stock");
        new.nodes.get_mut("web").unwrap().kind = NodeKind::External;
        let expected = [
            "+db",
            "-stock",
            "web Kind \"service\" \"external\"",
            "+cart->db",
            "-web->stock",
        ];
        assert_eq!(told(&shop(100.0, 10.0), &new), expected);
    }

    #[test]
    fn numbers_that_changed_beyond_the_measure_are_told_with_both_values() {
        let (old, mut new) = (shop(100.0, 10.0), shop(100.0, 10.0));
        let edge = cart(&mut new);
        (edge.stats.requests, edge.stats.failed) = (9000.0, 450.0);
        (0..1100).for_each(|_| edge.stats.client.observe(0.4));
        let changed = told(&old, &new);
        assert_eq!(changed[0], "web->cart Requests 1000.0 9000.0");
        assert!(
            changed
                .iter()
                .any(|line| line.starts_with("web->cart P50Seconds ")),
            "{changed:?}"
        );
        assert!(
            changed.contains(&"web->cart FailedShare 0.01 0.05".to_owned()),
            "{changed:?}"
        );
        assert!(
            changed.iter().all(|line| line.starts_with("web->cart")),
            "{changed:?}"
        );
        cart(&mut new).stats.requests = 99.0;
        assert_eq!(told(&old, &new), [""; 0], "too few to say anything");
        let mut grown = shop(100.0, 10.0);
        grown.edges.values_mut().for_each(|edge| {
            edge.stats.requests *= 10.0;
            edge.stats.failed *= 10.0;
        });
        assert_eq!(told(&old, &grown), [""; 0], "all of them grew");
    }
}
