//! The map itself: nodes, edges, flows through brokers, and their statistics.
//!
//! In: observations, one call each. Out: the map that generators, pages and files read.
//! Left out on purpose: how observations come from spans, and counters for Prometheus, which unlike these
//! statistics never go back (DESIGN §3.6).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::histogram::Histogram;
use crate::id::{ConnectionType, EdgeKey, NodeId, NodeKind};
use crate::language::Language;
use crate::roots::{Root, RootKey};
use crate::services::{Owner, Services, settings_of};

/// Nanoseconds since 1970-01-01 UTC.
pub type UnixNanos = u64;

/// Who calls whom.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Map {
    /// Nodes by id.
    pub nodes: BTreeMap<NodeId, Node>,
    /// Edges, broker destinations being nodes of their own.
    #[serde(with = "crate::pairs")]
    pub edges: BTreeMap<EdgeKey, Edge>,
    /// Messages followed from their producer to their consumer.
    #[serde(with = "crate::pairs")]
    pub flows: BTreeMap<FlowKey, Flow>,
    /// Where traces begin, and which edges they pass.
    #[serde(with = "crate::pairs", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub roots: BTreeMap<RootKey, Root>,
    /// What people state about the nodes.
    pub services: Services,
    /// Spans that came without `service.name`: they join their neighbours and are nobody's.
    #[serde(default, skip_serializing_if = "is_none")]
    pub nameless_spans: u64,
}

/// One service, database, destination or peer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Its requests as it sees them itself; empty for virtual nodes.
    pub stats: NodeStats,
    /// When it was seen.
    pub seen: Seen,
    /// Addresses and names under which callers dial it, for a service that peers turned out to be.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub aliases: BTreeSet<String>,
    /// What it is written in, by the SDKs that report for it; of several the smallest, see [`Language`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// Services that all answer at this address, as behind a gateway, so that it names none of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub shared_by: BTreeSet<NodeId>,
}

/// What a node says of its own visits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeStats {
    /// Visits, weighted by sampling probability.
    pub requests: f64,
    /// Visits that ended in an error.
    pub failed: f64,
    /// Duration of the entry span, in seconds.
    pub total: Histogram,
    /// Own time: the entry span less its outgoing calls, in seconds.
    pub own: Histogram,
    /// Seconds of own time on the critical path of its traces, weighted.
    #[serde(skip_serializing_if = "is_zero")]
    pub critical: f64,
    /// CLIENT spans of the node whose far side neither reported nor is named, so that no edge could be drawn.
    #[serde(skip_serializing_if = "is_none")]
    pub unnamed_peers: u64,
    /// Requests whose caller exists but did not report: an edge from `unknown`.
    #[serde(skip_serializing_if = "is_none")]
    pub orphans: u64,
    /// Requests with which a chain of services began, by the number of calls between services on its longest way: at 0 those that
    /// called no other, at [`LONGEST_CHAIN`] that many and more. Nobody waits for the consumer of a message.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub chains: Vec<u64>,
    /// The longest of these ways.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_chain: Option<Chain>,
}

/// Chains of more calls than this are counted as of this many.
pub const LONGEST_CHAIN: usize = 63;

/// Services of which each waits for the next, as they were seen in one trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Whom the request passed, the node that it began at first.
    pub nodes: Vec<NodeId>,
    /// The trace, in hex.
    pub trace: String,
}

impl NodeStats {
    /// Calls on the longest way that was seen; `None` where no chain began.
    pub fn deepest(&self) -> Option<usize> {
        self.chains.iter().rposition(|count| *count > 0)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(seconds: &f64) -> bool {
    seconds.abs() < f64::MIN_POSITIVE
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// From a caller to a callee.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    /// Counts and latencies.
    pub stats: EdgeStats,
    /// Why the edge exists.
    pub evidence: Evidence,
    /// When it was seen.
    pub seen: Seen,
    /// Up to three trace ids, in hex, the newest last.
    pub examples: Vec<String>,
}

impl Edge {
    /// Requests that any evidence speaks for, unweighted.
    pub fn evidence_total(&self) -> u64 {
        let Evidence {
            paired,
            hinted,
            linked,
            client_only,
            server_only,
            bridged,
            counted,
        } = self.evidence;
        paired + hinted + linked + client_only + server_only + bridged + counted
    }

    /// Adds everything that another edge saw.
    pub fn merge(&mut self, other: Self) {
        let (stats, evidence) = (&mut self.stats, &mut self.evidence);
        stats.requests += other.stats.requests;
        stats.failed += other.stats.failed;
        stats.client.merge(&other.stats.client);
        stats.server.merge(&other.stats.server);
        stats.own.merge(&other.stats.own);
        stats.queue.merge(&other.stats.queue);
        stats.retries += other.stats.retries;
        stats.fan_out.merge(&other.stats.fan_out);
        stats.critical += other.stats.critical;
        stats.handled += other.stats.handled;
        stats.passed_on += other.stats.passed_on;
        stats.given_up += other.stats.given_up;
        stats.given_up_seconds += other.stats.given_up_seconds;
        stats.skewed += other.stats.skewed;
        stats.skew += other.stats.skew;
        stats.without_context += other.stats.without_context;
        evidence.paired += other.evidence.paired;
        evidence.hinted += other.evidence.hinted;
        evidence.linked += other.evidence.linked;
        evidence.client_only += other.evidence.client_only;
        evidence.server_only += other.evidence.server_only;
        evidence.bridged += other.evidence.bridged;
        evidence.counted += other.evidence.counted;
        self.seen.note(other.seen.first);
        self.seen.note(other.seen.last);
        other
            .examples
            .into_iter()
            .for_each(|example| self.note_example(example));
    }

    /// Keeps a trace id as an example; the three newest stay.
    pub fn note_example(&mut self, trace_id: String) {
        if self.examples.len() >= 3 {
            self.examples.remove(0);
        }
        self.examples.push(trace_id);
    }
}

/// Counts and latencies of an edge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EdgeStats {
    /// Requests, weighted by sampling probability.
    pub requests: f64,
    /// Requests that failed on either side.
    pub failed: f64,
    /// Seconds the calling span took.
    pub client: Histogram,
    /// Seconds the callee's entry span took.
    pub server: Histogram,
    /// The calling span less the callee's: network and waiting. The whole calling span where the callee reports none.
    pub own: Histogram,
    /// Seconds between the producer's end and the consumer's start.
    pub queue: Histogram,
    /// Requests that repeat one that failed, weighted. Divided by `requests` it is their share.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: f64,
    /// Calls per visit of the caller that calls at all, in calls.
    #[serde(skip_serializing_if = "Histogram::is_empty")]
    pub fan_out: Histogram,
    /// Seconds of network and waiting on the critical path of its traces, weighted.
    #[serde(skip_serializing_if = "is_zero")]
    pub critical: f64,
    /// Failed requests whose caller did not fail, weighted.
    #[serde(skip_serializing_if = "is_zero")]
    pub handled: f64,
    /// Failed requests whose caller failed as well, weighted. Where nothing is known of the caller's own end it is neither.
    #[serde(skip_serializing_if = "is_zero")]
    pub passed_on: f64,
    /// Failed requests that the callee went on with after the calling span had ended, weighted: the caller gave up.
    #[serde(skip_serializing_if = "is_zero")]
    pub given_up: f64,
    /// Seconds that the calling spans of these took, weighted. Divided by `given_up` it is about the caller's timeout.
    #[serde(skip_serializing_if = "is_zero")]
    pub given_up_seconds: f64,
    /// Requests whose halves cannot lie as they do by one clock: the callee began before it was called, or ended after it was
    /// answered.
    #[serde(skip_serializing_if = "is_none")]
    pub skewed: u64,
    /// Seconds by which the callee's clock is at least ahead of the caller's in these requests, added up; behind where negative.
    #[serde(skip_serializing_if = "is_zero")]
    pub skew: f64,
    /// Requests that came from a workload and carried no context that the callee could read; on edges from `unknown`.
    #[serde(skip_serializing_if = "is_none")]
    pub without_context: u64,
}

/// How many requests of an edge rest on which evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// Both halves came.
    pub paired: u64,
    /// An edge hint in `tracestate` named the caller.
    pub hinted: u64,
    /// A span link joined the halves.
    pub linked: u64,
    /// Only the caller's half came.
    pub client_only: u64,
    /// Only the callee's half came.
    pub server_only: u64,
    /// The halves met across spans that never came.
    pub bridged: u64,
    /// The caller's agent counted them itself; spans of the same requests are evidence besides.
    #[serde(skip_serializing_if = "is_none")]
    pub counted: u64,
}

/// First and last sight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Start of the earliest request.
    pub first: UnixNanos,
    /// Start of the latest request.
    pub last: UnixNanos,
}

impl Seen {
    /// Widens the range to hold `at`. A range of 0 to 0 holds nothing yet.
    pub fn note(&mut self, at: UnixNanos) {
        self.first = if self.first == 0 { at } else { self.first.min(at) };
        self.last = self.last.max(at);
    }
}

/// A producer and a consumer joined through a destination.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FlowKey {
    /// Who sent.
    pub producer: NodeId,
    /// Where to; `None` where neither side named it.
    pub destination: Option<NodeId>,
    /// Who received.
    pub consumer: NodeId,
}

/// What passed on a flow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Flow {
    /// Messages, weighted by sampling probability.
    pub requests: f64,
    /// Messages whose sending or processing failed.
    pub failed: f64,
    /// Seconds from the producer's end to the consumer's start.
    pub queue: Histogram,
}

/// One row of the flat projection: caller, callee, connection type, requests, failed.
#[derive(Clone, Debug, PartialEq)]
pub struct FlatEdge {
    /// Who calls whom, and how.
    pub key: EdgeKey,
    /// Requests.
    pub requests: f64,
    /// Failed requests.
    pub failed: f64,
}

impl Map {
    /// Adds the statistics of one node to another's and forgets the first; edges that touch it move with it.
    ///
    /// For a peer that turns out to be a service of ours: its edges become edges to that service.
    pub fn merge_node(&mut self, from: &NodeId, into: &NodeId) -> Vec<EdgeKey> {
        let moved: Vec<EdgeKey> = self
            .edges
            .keys()
            .filter(|key| key.client == *from || key.server == *from)
            .cloned()
            .collect();
        for old in &moved {
            let Some(edge) = self.edges.remove(old) else {
                continue;
            };
            let end = |id: &NodeId| if id == from { into.clone() } else { id.clone() };
            let connection = match old.connection_type {
                ConnectionType::VirtualNode => ConnectionType::Direct,
                other => other,
            };
            let key = EdgeKey::new(end(&old.client), end(&old.server), connection);
            self.edges.entry(key).or_default().merge(edge);
        }
        if from != into {
            self.nodes.remove(from);
        }
        moved
    }

    /// Gives a node another id; its edges and flows move with it and stay what they are.
    pub fn rename_node(&mut self, from: &NodeId, into: &NodeId) {
        let end = |id: &NodeId| if id == from { into.clone() } else { id.clone() };
        let touched: Vec<EdgeKey> = self
            .edges
            .keys()
            .filter(|key| key.client == *from || key.server == *from)
            .cloned()
            .collect();
        for old in touched {
            let Some(edge) = self.edges.remove(&old) else {
                continue;
            };
            let key = EdgeKey::new(end(&old.client), end(&old.server), old.connection_type);
            self.edges.entry(key).or_default().merge(edge);
        }
        let flows = std::mem::take(&mut self.flows).into_iter().map(|(key, flow)| {
            let key = FlowKey {
                producer: end(&key.producer),
                destination: key.destination.as_ref().map(end),
                consumer: end(&key.consumer),
            };
            (key, flow)
        });
        self.flows = flows.collect();
        if let Some(node) = self.nodes.remove(from) {
            self.nodes.insert(into.clone(), node);
        }
    }

    /// The kind of a node; [`NodeKind::Service`] where the map does not hold it.
    pub fn kind(&self, id: &NodeId) -> NodeKind {
        self.nodes.get(id).map_or(NodeKind::Service, |node| node.kind)
    }

    /// The `id` label of an edge's series.
    pub fn edge_id(&self, key: &EdgeKey) -> String {
        key.id(self.kind(&key.server))
    }

    /// Who answers for a node: what is stated for it, else the first stated caller of a virtual node.
    ///
    /// "First" is by id, not by traffic, so that an owner does not change with the load.
    pub fn owner(&self, id: &NodeId) -> Owner {
        if let Some(owner) = self.stated_owner(id) {
            return owner;
        }
        let mut callers = self
            .edges
            .keys()
            .filter(|key| key.server == *id && key.client != *id);
        let inherited = if self.kind(id).is_virtual() {
            callers.find_map(|key| self.stated_owner(&key.client))
        } else {
            None
        };
        inherited.unwrap_or(Owner {
            team: Owner::NOBODY.to_owned(),
            tier: String::new(),
        })
    }

    fn stated_owner(&self, id: &NodeId) -> Option<Owner> {
        let settings = settings_of(&self.services, id)?;
        let team = settings.team.clone()?;
        Some(Owner {
            team,
            tier: settings.tier.map(|t| t.to_string()).unwrap_or_default(),
        })
    }

    /// Nodes at which work enters the system: what `user` calls, and what `services:` declares.
    pub fn entry_points(&self) -> BTreeSet<NodeId> {
        let called = self
            .edges
            .keys()
            .filter(|key| key.client.as_str() == NodeId::USER);
        let declared = self
            .nodes
            .keys()
            .filter(|id| settings_of(&self.services, id).is_some_and(|settings| settings.entry_point));
        called
            .map(|key| key.server.clone())
            .chain(declared.cloned())
            .collect()
    }

    /// The map without broker destinations: producers lead to their consumers directly. Sorted.
    ///
    /// A producer whose consumers are not known keeps its edge to the destination, and a consumer whose producers
    /// are not known keeps the edge from it.
    pub fn flat_edges(&self) -> Vec<FlatEdge> {
        let is_destination = |id: &NodeId| self.kind(id) == NodeKind::Destination;
        let sends = |id: &NodeId, to: &NodeId| {
            self.flows
                .keys()
                .any(|f| f.producer == *id && f.destination.as_ref() == Some(to))
        };
        let receives = |id: &NodeId, from: &NodeId| {
            self.flows
                .keys()
                .any(|f| f.consumer == *id && f.destination.as_ref() == Some(from))
        };
        let mut flat: BTreeMap<EdgeKey, (f64, f64)> = BTreeMap::new();
        let mut add = |key: EdgeKey, requests: f64, failed: f64| {
            let row = flat.entry(key).or_default();
            row.0 += requests;
            row.1 += failed;
        };
        for (key, edge) in &self.edges {
            let followed = is_destination(&key.server) && sends(&key.client, &key.server)
                || is_destination(&key.client) && receives(&key.server, &key.client);
            if !followed {
                add(key.clone(), edge.stats.requests, edge.stats.failed);
            }
        }
        for (key, flow) in self.flows.iter().filter(|(key, _)| key.destination.is_some()) {
            let key = EdgeKey::new(
                key.producer.clone(),
                key.consumer.clone(),
                ConnectionType::MessagingSystem,
            );
            add(key, flow.requests, flow.failed);
        }
        flat.into_iter()
            .map(|(key, (requests, failed))| FlatEdge {
                key,
                requests,
                failed,
            })
            .collect()
    }

    /// Callees of a node with their edges, by id.
    pub fn callees<'a>(&'a self, id: &'a NodeId) -> impl Iterator<Item = (&'a EdgeKey, &'a Edge)> + 'a {
        self.edges.iter().filter(move |(key, _)| key.client == *id)
    }

    /// Callers of a node with their edges, by id.
    pub fn callers<'a>(&'a self, id: &'a NodeId) -> impl Iterator<Item = (&'a EdgeKey, &'a Edge)> + 'a {
        self.edges.iter().filter(move |(key, _)| key.server == *id)
    }
}
