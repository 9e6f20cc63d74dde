//! One trace's spans become visits, calls and flows (DESIGN §4).
//!
//! In: all spans of a trace that came so far, in any order. Out: [`Assembly`]; the same spans give the same result,
//! so a trace that got late spans is assembled again and the difference is what changed.
//! Left out on purpose: time, tables, names of peers that are aliases, baselines. Nothing here waits or remembers;
//! a [`Workspace`] holds nothing but room to work in.

mod blame;
mod calls;
mod chains;
mod critical;
mod ids;
mod layers;
mod messages;
mod retries;
#[cfg(test)]
mod tests;
mod tree;
mod visits;

use map::ConnectionType;

use crate::names::{Node, Operation};
use crate::span::{Address, Span, SpanId, TraceId};

pub(crate) use messages::producer as producer_of;
use tree::{Ground, Index, Tree};

/// What a trace says about the system.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assembly {
    /// Requests that services served.
    pub visits: Vec<Visit>,
    /// Requests between nodes.
    pub calls: Vec<Call>,
    /// Messages followed from producer to consumer.
    pub flows: Vec<FlowSeen>,
    /// How often each visit called each of its callees.
    pub fan_outs: Vec<FanOut>,
    /// CLIENT and sending spans whose far side neither reported nor is named.
    pub unnamed: Vec<UnnamedPeer>,
    /// How many they are.
    pub unnamed_peers: u64,
}

/// A call of which nothing says where it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnnamedPeer {
    /// The calling span.
    pub span: SpanId,
    /// Who calls.
    pub client: Node,
}

impl UnnamedPeer {
    fn of(span: &Span, client: Node) -> Self {
        Self {
            span: span.id,
            client,
        }
    }
}

/// One request to a service, nested spans of the service included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Visit {
    /// The entry span.
    pub span: SpanId,
    /// What the entry span does; its service is the one visited.
    pub operation: Operation,
    /// When it began, nanoseconds since 1970.
    pub start: u64,
    /// Duration of the entry span, seconds.
    pub total: f64,
    /// The entry span less its outgoing calls, seconds.
    pub own: f64,
    /// Seconds of it on the critical path of the trace, not its calls'. See [`Call::critical`].
    pub critical: f64,
    /// False where the calling span of one of its calls did not come, so that its own time holds the callee's.
    pub complete: bool,
    /// True where the entry span is an error.
    pub failed: bool,
    /// True where it is, and none of its calls failed.
    pub own_failed: bool,
    /// 0 where another visit called it; else how many visits the longest way has that begins with it, 255 at most.
    pub chain: u8,
    /// How many requests it stands for.
    pub weight: f32,
}

/// One request over an edge.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "what is said of a call, each by itself"
)]
pub struct Call {
    /// The callee's entry span, or the calling span where the callee reports none.
    pub span: SpanId,
    /// The outermost calling span, where there is one.
    pub calling: Option<SpanId>,
    /// The entry span of the visit that calls; 0 where none does.
    pub visit: SpanId,
    /// Who calls.
    pub client: Node,
    /// Who is called.
    pub server: Node,
    /// Set where the ends alone do not tell it.
    pub connection: Option<ConnectionType>,
    /// What is asked: that of the callee's entry span, else of the calling span, whose version is not the callee's.
    pub operation: Operation,
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
    /// Seconds of network and waiting on the critical path of the trace: the chain back from the end of its root.
    pub critical: f64,
    /// How many requests it stands for: of a batch, all its messages.
    pub weight: f32,
    /// How many messages of a batch it is; 1 of all that is no batch.
    pub messages: u32,
    /// True where either side is an error.
    pub failed: bool,
    /// True where it failed and the visit that it led to did not, or is not known.
    pub own_failed: bool,
    /// Where it failed and the calling visit is known, whether that failed as well.
    pub passed_on: Option<bool>,
    /// Seconds by which the callee's clock is at least ahead of the caller's, behind where negative; 0 where one clock may have
    /// timed both.
    pub skew: f32,
    /// True where it came from a workload and carried no context.
    pub without_context: bool,
    /// True where it repeats a call of the same visit that failed.
    pub retry: bool,
    /// True where the caller's agent counts the edge itself: evidence and example, but not a request more.
    pub counted_elsewhere: bool,
    /// What it rests on.
    pub evidence: Basis,
}

impl Call {
    /// The seconds on the critical path for each of the requests that it stands for: a trace waits once for a batch.
    pub fn critical_each(&self) -> f64 {
        self.critical / f64::from(self.messages.max(1))
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
    /// Only the callee's half came, and the request itself said who called.
    Hinted,
}

impl Basis {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Paired,
        Self::Linked,
        Self::ClientOnly,
        Self::ServerOnly,
        Self::Bridged,
        Self::Hinted,
    ];

    /// The value of the label `evidence`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paired => "paired",
            Self::Linked => "linked",
            Self::ClientOnly => "client_only",
            Self::ServerOnly => "server_only",
            Self::Bridged => "bridged",
            Self::Hinted => "hinted",
        }
    }
}

/// A message followed to its consumer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlowSeen {
    /// The consumer's span.
    pub span: SpanId,
    /// The same for the same producer's and consumer's spans in every run; who replays counts each once by it.
    pub key: u64,
    /// Who sent.
    pub producer: Node,
    /// Where to, where either side named it.
    pub destination: Option<Node>,
    /// Who received.
    pub consumer: Node,
    /// Seconds from the producer's end to the consumer's start, not below 0.
    pub queue: f64,
    /// Duration of the producer's span, seconds; `None` where only a hint names the producer.
    pub client_seconds: Option<f64>,
    /// Duration of the consumer's span, seconds.
    pub server_seconds: f64,
    /// True where either side is an error.
    pub failed: bool,
    /// How many messages it stands for.
    pub weight: f32,
}

/// The calls of one visit to one callee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FanOut {
    /// The entry span of the visit.
    pub visit: SpanId,
    /// Who calls.
    pub client: Node,
    /// Who is called.
    pub server: Node,
    /// How often; at least 1.
    pub calls: u32,
}

/// The producing half of a link into another trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Producer {
    /// Who sent.
    pub service: Node,
    /// Where to.
    pub destination: Option<Node>,
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
    fn is_workload(&self, address: Address) -> bool;
}

/// Room to work in, kept from trace to trace so that assembling allocates only what it returns.
#[derive(Debug, Default)]
pub struct Workspace {
    ground: Ground,
    draft: Draft,
    visits: visits::Room,
    critical: critical::Room,
    retries: retries::Room,
}

/// What was found so far; of each call also from where in the trace it goes out.
#[derive(Debug, Default)]
struct Draft {
    visits: Vec<Visit>,
    calls: Vec<Call>,
    origins: Vec<Origin>,
    flows: Vec<FlowSeen>,
    unnamed: Vec<UnnamedPeer>,
}

/// Where a call goes out, by index of the span; [`tree::NONE`] where nothing is known.
#[derive(Clone, Copy, Debug)]
struct Origin {
    /// The outermost calling span.
    calling: Index,
    /// The span with the remote child, within it.
    caller: Index,
    /// The entry of the calling visit.
    visit: Index,
    /// The callee's entry.
    callee: Index,
}

impl Origin {
    /// Of a call that nobody here makes.
    const NOWHERE: Self = Self {
        calling: tree::NONE,
        caller: tree::NONE,
        visit: tree::NONE,
        callee: tree::NONE,
    };
}

impl Draft {
    fn clear(&mut self) {
        self.visits.clear();
        self.calls.clear();
        self.origins.clear();
        self.flows.clear();
        self.unnamed.clear();
    }

    fn call(&mut self, call: Call, origin: Origin) {
        self.calls.push(call);
        self.origins.push(origin);
    }
}

/// What the trace `id` says about the system. Linear in the number of its spans, but for sorting.
pub fn assemble(
    id: TraceId,
    spans: &[Span],
    around: &dyn Surroundings,
    workspace: &mut Workspace,
) -> Assembly {
    let Workspace {
        ground,
        draft,
        visits: busy,
        critical,
        retries,
    } = workspace;
    draft.clear();
    let mut tree = Tree::grow(spans, ground);
    layers::find(&mut tree);
    visits::find(&mut tree, busy, draft);
    calls::find(&tree, around, draft);
    if tree.messages {
        messages::find(&tree, &messages::Links { trace: id, around }, draft);
    }
    retries::mark(&tree, retries, draft);
    critical::find(&mut tree, critical, draft);
    blame::find(&tree, draft);
    chains::find(&tree, draft);
    Assembly {
        visits: draft.visits.as_slice().to_vec(),
        calls: draft.calls.as_slice().to_vec(),
        flows: draft.flows.as_slice().to_vec(),
        fan_outs: retries::fan_outs(&tree, retries, draft),
        unnamed: draft.unnamed.as_slice().to_vec(),
        unnamed_peers: draft.unnamed.len() as u64,
    }
}
