//! One trace's spans become visits, calls and flows (DESIGN §4).
//!
//! In: all spans of a trace that came so far, in any order. Out: [`Assembly`]; the same spans give the same result,
//! so a trace that got late spans is assembled again and the difference is what changed.
//! Left out on purpose: time, tables, names of peers that are aliases, baselines. Nothing here waits or remembers.

mod calls;
mod ids;
mod layers;
mod messages;
mod tree;

use std::sync::Arc;

use map::{ConnectionType, NodeId, NodeKind};

use crate::span::{Span, SpanId, TraceId};

use layers::Layers;
pub(crate) use messages::producer as producer_of;
pub use tree::Tree;

/// What a trace says about the system.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assembly {
    /// Requests that services served.
    pub visits: Vec<Visit>,
    /// Requests between nodes.
    pub calls: Vec<Call>,
    /// Messages followed from producer to consumer.
    pub flows: Vec<FlowSeen>,
    /// CLIENT and sending spans whose far side neither reported nor is named.
    pub unnamed_peers: u64,
}

impl Assembly {
    /// Bytes it occupies while its trace is kept, shared strings aside.
    pub fn footprint(&self) -> usize {
        self.visits.len() * size_of::<Visit>()
            + self.calls.len() * size_of::<Call>()
            + self.flows.len() * size_of::<FlowSeen>()
    }
}

/// One request to a service, nested spans of the service included.
#[derive(Clone, Debug, PartialEq)]
pub struct Visit {
    /// The entry span.
    pub span: SpanId,
    /// The service.
    pub service: NodeId,
    /// Name of the entry span.
    pub operation: Arc<str>,
    /// When it began, nanoseconds since 1970.
    pub start: u64,
    /// Duration of the entry span, seconds.
    pub total: f64,
    /// The entry span less its outgoing calls, seconds.
    pub own: f64,
    /// True where the entry span is an error.
    pub failed: bool,
    /// How many requests it stands for.
    pub weight: f64,
}

/// One request over an edge.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The callee's entry span, or the calling span where the callee reports none.
    pub span: SpanId,
    /// The outermost calling span, where there is one.
    pub calling: Option<SpanId>,
    /// Who calls.
    pub client: End,
    /// Who is called.
    pub server: End,
    /// Set where the ends alone do not tell it.
    pub connection: Option<ConnectionType>,
    /// What is asked: name of the callee's entry span, else of the calling span.
    pub operation: Arc<str>,
    /// When it began, nanoseconds since 1970.
    pub start: u64,
    /// Duration of the outermost calling span, seconds.
    pub client_seconds: Option<f64>,
    /// Duration of the callee's entry span, seconds.
    pub server_seconds: Option<f64>,
    /// Network and waiting, seconds: the two above subtracted, or the whole calling span.
    pub own: Option<f64>,
    /// Seconds from the producer's end to the consumer's start.
    pub queue: Option<f64>,
    /// True where either side is an error.
    pub failed: bool,
    /// How many requests it stands for.
    pub weight: f64,
    /// What it rests on.
    pub evidence: Basis,
}

/// One end of a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct End {
    /// The node's id, before aliases.
    pub id: NodeId,
    /// The node's kind.
    pub kind: NodeKind,
    /// The address that was dialled, where only that names the node.
    pub address: Option<Arc<str>>,
}

impl End {
    /// A service that reports its own spans.
    pub fn service(id: NodeId) -> Self {
        Self {
            id,
            kind: NodeKind::Service,
            address: None,
        }
    }

    fn destination(name: &Arc<str>) -> Self {
        Self {
            id: NodeId::new(Arc::clone(name)),
            kind: NodeKind::Destination,
            address: None,
        }
    }
}

/// What a call rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Basis {
    /// Both halves came.
    Paired,
    /// A span link joined them.
    Linked,
    /// Only the caller's half came.
    ClientOnly,
    /// Only the callee's half came.
    ServerOnly,
    /// The halves met across spans without a service.
    Bridged,
}

impl Basis {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Paired,
        Self::Linked,
        Self::ClientOnly,
        Self::ServerOnly,
        Self::Bridged,
    ];

    /// The value of the label `evidence`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paired => "paired",
            Self::Linked => "linked",
            Self::ClientOnly => "client_only",
            Self::ServerOnly => "server_only",
            Self::Bridged => "bridged",
        }
    }
}

/// A message followed to its consumer.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowSeen {
    /// The consumer's span.
    pub span: SpanId,
    /// Who sent.
    pub producer: NodeId,
    /// Where to, where either side named it.
    pub destination: Option<NodeId>,
    /// Who received.
    pub consumer: NodeId,
    /// Seconds from the producer's end to the consumer's start, not below 0.
    pub queue: f64,
    /// Duration of the producer's span, seconds.
    pub client_seconds: f64,
    /// Duration of the consumer's span, seconds.
    pub server_seconds: f64,
    /// True where either side is an error.
    pub failed: bool,
    /// How many messages it stands for.
    pub weight: f64,
}

/// The producing half of a link into another trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Producer {
    /// Who sent.
    pub service: NodeId,
    /// Where to.
    pub destination: Option<Arc<str>>,
    /// When the sending span ended.
    pub end: u64,
    /// Its duration in seconds.
    pub seconds: f64,
    /// True where it is an error.
    pub failed: bool,
}

/// What one trace needs to know of the others.
pub trait Surroundings {
    /// The producing span that a link names, if it came.
    fn producer(&self, trace: TraceId, span: SpanId) -> Option<Producer>;
    /// True where a workload claimed the address.
    fn is_workload(&self, address: &str) -> bool;
}

/// What the trace `id` says about the system. Linear in the number of its spans.
pub fn assemble(id: TraceId, spans: &[Span], around: &dyn Surroundings) -> Assembly {
    let tree = Tree::grow(spans);
    let layers = Layers::of(&tree);
    let mut out = Assembly::default();
    calls::between_services(&tree, &layers, &mut out);
    calls::to_virtual_nodes(&tree, &layers, &mut out);
    calls::from_outside(&tree, around, &mut out);
    messages::sent(&tree, &layers, &mut out);
    messages::received(&tree, &layers, &messages::Links { trace: id, around }, &mut out);
    calls::visits(&tree, &layers, &mut out);
    out
}
