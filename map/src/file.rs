//! `map.yaml` and `map.stats.yaml`: the map as people read, write, diff and commit it.
//!
//! In: a map, or the text of its files. Out: the other of the two. `map.yaml` holds the topology and what people
//! state; the statistics lie beside it, so that the topology's diff shows changes of the system only.
//! Left out on purpose: reading and writing the files themselves.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{ConnectionType, EdgeKey, NodeId, NodeKind};
use crate::language::Language;
use crate::model::{Edge, EdgeStats, Evidence, Flow, FlowKey, Map, Node, NodeStats, Seen};
use crate::roots::{Root, RootKey};
use crate::services::Services;

/// The version of both files that this build writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// Why a map file was refused.
#[derive(Debug, thiserror::Error)]
pub enum MapFileError {
    /// Not YAML, an unknown key, or a value of the wrong type. The text names line and key.
    #[error("not a map: {0}")]
    Syntax(String),
    /// Written by a newer tracemap.
    #[error("map file version {found} is newer than this tracemap reads ({VERSION}): use a newer tracemap")]
    FutureVersion {
        /// The version as written.
        found: u32,
    },
}

/// The whole content of `map.yaml`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MapFile {
    /// Version of the format.
    pub version: u32,
    /// Nodes by id. A service that stands in an edge need not be listed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<String, NodeEntry>,
    /// Who calls whom.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<EdgeKey>,
    /// Messages followed from producer to consumer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flows: Vec<FlowEntry>,
    /// What people state about the nodes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: Services,
}

/// One node of `map.yaml`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeEntry {
    /// What it is. Default `service`.
    #[serde(default)]
    pub kind: NodeKind,
    /// What it is written in, a value of `telemetry.sdk.language`. Default: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
}

/// One flow of `map.yaml`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlowEntry {
    /// Who sends.
    pub producer: String,
    /// Where to; absent where neither side named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Who receives.
    pub consumer: String,
}

/// The topology and what people state, as YAML. Same map, same bytes.
pub fn map_to_yaml(map: &Map) -> String {
    let nodes = map
        .nodes
        .iter()
        .map(|(id, node)| {
            let Node { kind, language, .. } = *node;
            (id.to_string(), NodeEntry { kind, language })
        })
        .collect();
    let flows = map.flows.keys().map(|key| FlowEntry {
        producer: key.producer.to_string(),
        destination: key.destination.as_ref().map(ToString::to_string),
        consumer: key.consumer.to_string(),
    });
    let file = MapFile {
        version: VERSION,
        nodes,
        edges: map.edges.keys().cloned().collect(),
        flows: flows.collect(),
        services: map.services.clone(),
    };
    to_yaml(&file)
}

/// A map from the text of a `map.yaml`, without statistics.
pub fn map_from_yaml(text: &str) -> Result<Map, MapFileError> {
    check_version(text)?;
    let file: MapFile = from_yaml(text)?;
    let mut map = Map {
        services: file.services,
        ..Map::default()
    };
    for (id, entry) in file.nodes {
        map.nodes.insert(
            NodeId::new(id),
            Node {
                kind: entry.kind,
                language: entry.language,
                ..Node::default()
            },
        );
    }
    for key in file.edges {
        for id in [&key.client, &key.server] {
            map.nodes
                .entry(id.clone())
                .or_insert_with(|| implied_node(id, &key));
        }
        map.edges.insert(key, Edge::default());
    }
    for flow in file.flows {
        let key = FlowKey {
            producer: NodeId::new(flow.producer),
            destination: flow.destination.map(NodeId::new),
            consumer: NodeId::new(flow.consumer),
        };
        map.flows.insert(key, Flow::default());
    }
    Ok(map)
}

/// A node that only edges mention: `user` and `unknown` are themselves, the callee of a database edge a database.
fn implied_node(id: &NodeId, edge: &EdgeKey) -> Node {
    let kind = match (id.as_str(), edge.connection_type) {
        (NodeId::USER, _) => NodeKind::User,
        (NodeId::UNKNOWN, _) => NodeKind::Unknown,
        (_, ConnectionType::Database) if *id == edge.server => NodeKind::Database,
        (_, ConnectionType::VirtualNode) if *id == edge.server => NodeKind::External,
        _ => NodeKind::Service,
    };
    Node {
        kind,
        ..Node::default()
    }
}

/// The whole content of `map.stats.yaml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatsFile {
    version: u32,
    #[serde(default)]
    nodes: BTreeMap<NodeId, NodeStatsEntry>,
    #[serde(default)]
    edges: Vec<EdgeStatsEntry>,
    #[serde(default)]
    flows: Vec<FlowStatsEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    roots: Vec<RootStatsEntry>,
    #[serde(default, skip_serializing_if = "is_none")]
    nameless_spans: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeStatsEntry {
    seen: Seen,
    stats: NodeStats,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EdgeStatsEntry {
    edge: EdgeKey,
    seen: Seen,
    evidence: Evidence,
    #[serde(default)]
    examples: Vec<String>,
    stats: EdgeStats,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowStatsEntry {
    flow: FlowKey,
    stats: Flow,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RootStatsEntry {
    root: RootKey,
    stats: Root,
}

/// The statistics as YAML, to lie beside [`map_to_yaml`]. Same map, same bytes.
pub fn stats_to_yaml(map: &Map) -> String {
    let node = |(id, node): (&NodeId, &Node)| {
        (
            id.clone(),
            NodeStatsEntry {
                seen: node.seen,
                stats: node.stats.clone(),
            },
        )
    };
    let edge = |(key, edge): (&EdgeKey, &Edge)| EdgeStatsEntry {
        edge: key.clone(),
        seen: edge.seen,
        evidence: edge.evidence.clone(),
        examples: edge.examples.clone(),
        stats: edge.stats.clone(),
    };
    let flow = |(key, flow): (&FlowKey, &Flow)| FlowStatsEntry {
        flow: key.clone(),
        stats: flow.clone(),
    };
    let root = |(key, root): (&RootKey, &Root)| RootStatsEntry {
        root: key.clone(),
        stats: root.clone(),
    };
    to_yaml(&StatsFile {
        version: VERSION,
        nodes: map.nodes.iter().map(node).collect(),
        edges: map.edges.iter().map(edge).collect(),
        flows: map.flows.iter().map(flow).collect(),
        roots: map.roots.iter().map(root).collect(),
        nameless_spans: map.nameless_spans,
    })
}

/// Puts the statistics of a `map.stats.yaml` into a map. Entries of nodes and edges that the map does not hold
/// are left alone: the topology file says what exists.
pub fn read_stats(map: &mut Map, text: &str) -> Result<(), MapFileError> {
    check_version(text)?;
    let file: StatsFile = from_yaml(text)?;
    map.nameless_spans = file.nameless_spans;
    for (id, entry) in file.nodes {
        if let Some(node) = map.nodes.get_mut(&id) {
            (node.seen, node.stats) = (entry.seen, entry.stats);
        }
    }
    for entry in file.edges {
        if let Some(edge) = map.edges.get_mut(&entry.edge) {
            *edge = Edge {
                stats: entry.stats,
                evidence: entry.evidence,
                seen: entry.seen,
                examples: entry.examples,
            };
        }
    }
    for entry in file.flows {
        if let Some(flow) = map.flows.get_mut(&entry.flow) {
            *flow = entry.stats;
        }
    }
    let known = |root: &RootStatsEntry| map.nodes.contains_key(&root.root.node);
    let roots = file.roots.into_iter().filter(known);
    map.roots = roots.map(|entry| (entry.root, entry.stats)).collect();
    Ok(())
}

fn check_version(text: &str) -> Result<(), MapFileError> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    match from_yaml::<Version>(text)?.version {
        found if found > VERSION => Err(MapFileError::FutureVersion { found }),
        _ => Ok(()),
    }
}

fn to_yaml(value: &impl Serialize) -> String {
    serde_yaml::to_string(value).expect("plain data of strings and numbers serialises")
}

fn from_yaml<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, MapFileError> {
    serde_yaml::from_str(text).map_err(|e| {
        let text = e.to_string();
        MapFileError::Syntax(text.lines().next().unwrap_or_default().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: &str = "version: 1\nnodes:\n  orders:\n    kind: destination\n  cart: {language: java}\nedges:\n- {client: user, server: web}\n\
        - {client: web, server: cart}\n- {client: cart, server: postgres, connection_type: database}\n\
        services:\n  cart: {team: shop, tier: 1, objectives: [{latency: 300ms, target: 0.99, window: 30d}]}\n";

    #[test]
    fn a_hand_written_map_implies_the_nodes_of_its_edges() {
        let map = map_from_yaml(SHOP).unwrap();
        assert_eq!(map.kind(&"postgres".into()), NodeKind::Database);
        assert_eq!(map.kind(&"user".into()), NodeKind::User);
        assert_eq!(map.kind(&"web".into()), NodeKind::Service);
        assert_eq!(map.nodes["cart"].language, Some(Language::Java));
        assert_eq!(map.nodes["web"].language, None);
        assert_eq!(
            map.entry_points().iter().map(NodeId::as_str).collect::<Vec<_>>(),
            ["web"]
        );
        assert_eq!(
            map.owner(&"postgres".into()).team,
            "shop",
            "a database belongs to its caller's team"
        );
        assert_eq!(map.owner(&"web".into()).team, Owner::NOBODY);
    }

    use crate::services::Owner;

    #[test]
    fn what_is_written_reads_back_the_same() {
        let mut map = map_from_yaml(SHOP).unwrap();
        let key = map.edges.keys().next().unwrap().clone();
        let edge = map.edges.get_mut(&key).unwrap();
        edge.stats.requests = 3.0;
        edge.stats.client.observe(0.25);
        edge.examples.push("0af7651916cd43dd8448eb211c80319c".to_owned());
        map.nodes.get_mut("web").unwrap().stats.own.observe(0.1);
        let root = RootKey {
            node: "web".into(),
            operation: "GET /cart".to_owned(),
        };
        map.roots.entry(root).or_default().traces = 7.0;
        let (topology, stats) = (map_to_yaml(&map), stats_to_yaml(&map));
        let mut read = map_from_yaml(&topology).unwrap();
        read_stats(&mut read, &stats).unwrap();
        assert_eq!(read, map);
        assert_eq!(map_to_yaml(&read), topology);
    }

    #[test]
    fn a_map_of_a_future_version_is_refused_by_its_version_and_not_by_its_keys() {
        let error = map_from_yaml("version: 7\nhyperedges: []\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("version 7") && error.contains("newer"), "{error}");
    }

    #[test]
    fn an_unknown_key_and_a_missing_version_are_named() {
        let error = map_from_yaml("version: 1\nedgse: []\n").unwrap_err().to_string();
        assert!(error.contains("edgse"), "{error}");
        let error = map_from_yaml("edges: []\n").unwrap_err().to_string();
        assert!(error.contains("version"), "{error}");
    }
}
