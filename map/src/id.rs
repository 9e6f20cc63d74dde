//! What a node and an edge are called, and of which kind they are.
//!
//! In: resource attributes as text. Out: ids that every file, series and page of tracemap uses.
//! Left out on purpose: how a name is found in a span; that is the collector's.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A node's id, `[environment/][namespace/]name`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// The caller of entry points: whoever is not a known workload.
    pub const USER: &'static str = "user";
    /// The caller of a request whose own caller exists but never reported.
    pub const UNKNOWN: &'static str = "unknown";

    /// An id as it is written.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// `[environment/][namespace/]name`; empty parts are left out.
    pub fn qualified(environment: &str, namespace: &str, name: &str) -> Self {
        let mut id = String::with_capacity(environment.len() + namespace.len() + name.len() + 2);
        for part in [environment, namespace] {
            if !part.is_empty() {
                id.push_str(part);
                id.push('/');
            }
        }
        id.push_str(name);
        Self::new(id)
    }

    /// The node that stands for people and systems outside.
    pub fn user() -> Self {
        Self::new(Self::USER)
    }

    /// The node that stands for callers that did not report.
    pub fn unknown() -> Self {
        Self::new(Self::UNKNOWN)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part of the id, without environment and namespace.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl From<&str> for NodeId {
    fn from(id: &str) -> Self {
        Self::new(id)
    }
}

impl std::borrow::Borrow<str> for NodeId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What a node is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// A workload that reports spans under its `service.name`.
    #[default]
    Service,
    /// A database, seen from its callers.
    Database,
    /// A cache, seen from its callers.
    Cache,
    /// A queue, topic or stream on a broker.
    Destination,
    /// A peer that does not report.
    External,
    /// People and systems outside, see [`NodeId::USER`].
    User,
    /// Callers that did not report, see [`NodeId::UNKNOWN`].
    Unknown,
    /// Rare nodes folded together because a budget was reached.
    Overflow,
}

impl NodeKind {
    /// True for the kinds that report no spans of their own, so that only their callers can tell of them.
    pub fn is_virtual(self) -> bool {
        !matches!(self, Self::Service)
    }

    /// The kind's name in files, series and pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Database => "database",
            Self::Cache => "cache",
            Self::Destination => "destination",
            Self::External => "external",
            Self::User => "user",
            Self::Unknown => "unknown",
            Self::Overflow => "overflow",
        }
    }

    /// How calls to a node of this kind are labelled, where nothing else decides.
    pub fn connection_type(self) -> ConnectionType {
        match self {
            Self::Service => ConnectionType::Direct,
            Self::Database | Self::Cache => ConnectionType::Database,
            Self::Destination => ConnectionType::MessagingSystem,
            Self::External | Self::User | Self::Unknown | Self::Overflow => ConnectionType::VirtualNode,
        }
    }
}

impl fmt::Display for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The `connection_type` label of the service-graph series, in Tempo's spelling.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum ConnectionType {
    /// A request between two services: the empty label.
    #[default]
    #[serde(rename = "")]
    Direct,
    /// By way of a broker.
    #[serde(rename = "messaging_system")]
    MessagingSystem,
    /// To a database or cache that reports no spans.
    #[serde(rename = "database")]
    Database,
    /// To or from a node that reports no spans.
    #[serde(rename = "virtual_node")]
    VirtualNode,
}

impl ConnectionType {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Direct,
        Self::MessagingSystem,
        Self::Database,
        Self::VirtualNode,
    ];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "",
            Self::MessagingSystem => "messaging_system",
            Self::Database => "database",
            Self::VirtualNode => "virtual_node",
        }
    }
}

impl FromStr for ConnectionType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|c| c.as_str() == text).ok_or_else(|| {
            format!(
                "unknown connection type `{text}`: write ``, `messaging_system`, `database` or `virtual_node`"
            )
        })
    }
}

/// What makes an edge one edge: caller, callee and how they are connected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct EdgeKey {
    /// The caller, or the producer, or the destination that a consumer reads.
    pub client: NodeId,
    /// The callee, or the destination that a producer writes, or the consumer.
    pub server: NodeId,
    /// How they are connected.
    #[serde(default, skip_serializing_if = "is_direct")]
    pub connection_type: ConnectionType,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_direct(connection: &ConnectionType) -> bool {
    *connection == ConnectionType::Direct
}

impl EdgeKey {
    /// A key from its three parts.
    pub fn new(client: NodeId, server: NodeId, connection_type: ConnectionType) -> Self {
        Self {
            client,
            server,
            connection_type,
        }
    }

    /// The `id` label of the edge's series: `client->server`.
    ///
    /// Two services that talk directly and also by a broker without a named destination have two edges; the
    /// second is told apart by `#messaging_system`. Ids of edges to virtual nodes need no such mark.
    pub fn id(&self, server_kind: NodeKind) -> String {
        let plain = format!("{}->{}", self.client, self.server);
        if self.connection_type == ConnectionType::MessagingSystem && server_kind == NodeKind::Service {
            return plain + "#messaging_system";
        }
        plain
    }
}
