//! What surrounds a span within its visit, and what lies below it.
//!
//! In: a [`Tree`]. Out: [`Layers`], found in one pass down and one pass up, however deep the nesting.
//! Left out on purpose: other visits. Nothing here looks beyond an entry span or into another service, except that
//! a span knows whether it has a child there.

use otlp::Kind;

use super::tree::{Index, Tree};
use crate::span::{MessageRole, Span};

/// Agents, SDKs and frameworks record one request several times; these are the layers, by index of the span.
pub(super) struct Layers {
    /// The outermost CLIENT or PRODUCER span that is the span or above it; one that takes messages is none.
    pub(super) outermost_call: Vec<Option<Index>>,
    /// The span with which the visit that a span belongs to begins: its entry, or below a polling entry the span that
    /// processes a message.
    pub(super) visit: Vec<Index>,
    /// What is above a span.
    pub(super) above: Vec<Above>,
    /// What is below a span, itself included where that is said.
    pub(super) below: Vec<Below>,
}

/// What is strictly above a span in its visit.
#[derive(Clone, Copy, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each asked for alone"
)]
pub(super) struct Above {
    /// A CLIENT span or one that sends a message: the span below it is the same request again.
    pub(super) calls: bool,
    /// A span that sends a message.
    pub(super) sends: bool,
    /// A span that processes a message.
    pub(super) processes: bool,
    /// One that does and names its producers by links.
    pub(super) processes_linked: bool,
    /// A span that receives messages and names their producers by links.
    pub(super) receives_linked: bool,
}

/// What is below a span in its visit.
#[derive(Clone, Copy, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each asked for alone"
)]
pub(super) struct Below {
    /// The span itself or one below it has a child in another service.
    pub(super) remote: bool,
    /// The same, where the child serves and does not consume.
    pub(super) remote_call: bool,
    /// The nearest span that names a far side, itself included.
    pub(super) peer: Option<Nearest>,
    /// The nearest span that names a destination, itself included.
    pub(super) destination: Option<Nearest>,
    /// The nearest consuming child that names a destination, of whatever service.
    pub(super) consumer_destination: Option<Nearest>,
    /// A span that processes a message, strictly below.
    pub(super) processes: bool,
    /// One that does and names its producers by links, strictly below.
    pub(super) processes_linked: bool,
}

/// A span and how many levels down it is; the nearest sorts first.
pub(super) type Nearest = (u32, Index);

impl Layers {
    pub(super) fn of(tree: &Tree<'_>) -> Self {
        let n = tree.spans.len();
        let mut layers = Self {
            outermost_call: vec![None; n],
            visit: (0..n).collect(),
            above: vec![Above::default(); n],
            below: vec![Below::default(); n],
        };
        for &i in &tree.top_down {
            layers.look_up(tree, i);
        }
        for &i in tree.top_down.iter().rev() {
            layers.look_down(tree, i);
        }
        layers
    }

    fn look_up(&mut self, tree: &Tree<'_>, i: Index) {
        if let Some(parent) = tree.parent_in_visit(i) {
            let span = &tree.spans[parent];
            let above = self.above[parent];
            self.above[i] = Above {
                calls: above.calls || span.kind == Kind::Client && !span.consumes() || span.sends(),
                sends: above.sends || span.sends(),
                processes: above.processes || processes(span),
                processes_linked: above.processes_linked || processes(span) && is_linked(span),
                receives_linked: above.receives_linked || receives(span) && is_linked(span),
            };
            self.outermost_call[i] = self.outermost_call[parent];
            let began = self.visit[parent];
            self.visit[i] = if polls(&tree.spans[began]) && processes(&tree.spans[i]) {
                i
            } else {
                began
            };
        }
        if self.outermost_call[i].is_none() && calls(&tree.spans[i]) {
            self.outermost_call[i] = Some(i);
        }
    }

    fn look_down(&mut self, tree: &Tree<'_>, i: Index) {
        let span = &tree.spans[i];
        let mut below = Below {
            peer: span.peer().map(|_| (0, i)),
            destination: names_destination(span).then_some((0, i)),
            ..Below::default()
        };
        for &child in &tree.children[i] {
            let span = &tree.spans[child];
            let consumer = (span.consumes() && names_destination(span)).then_some((0, child));
            below.consumer_destination = nearer(below.consumer_destination, consumer);
            if tree.entry[child] == child {
                below.remote = true;
                below.remote_call |= !span.consumes();
                continue;
            }
            let inner = self.below[child];
            below.remote |= inner.remote;
            below.remote_call |= inner.remote_call;
            below.peer = nearer(below.peer, further(inner.peer));
            below.destination = nearer(below.destination, further(inner.destination));
            below.consumer_destination =
                nearer(below.consumer_destination, further(inner.consumer_destination));
            below.processes |= inner.processes || processes(span);
            below.processes_linked |= inner.processes_linked || processes(span) && is_linked(span);
        }
        self.below[i] = below;
    }
}

/// True for spans in which somebody else is asked for something.
pub(super) fn calls(span: &Span) -> bool {
    matches!(span.kind, Kind::Client | Kind::Producer) && !span.consumes()
}

/// True for the CLIENT spans in which a consumer waits for messages.
pub(super) fn polls(span: &Span) -> bool {
    span.kind == Kind::Client && receives(span)
}

/// True where the producers of what it consumes are named by links.
pub(super) fn is_linked(span: &Span) -> bool {
    !span.links().is_empty()
}

fn processes(span: &Span) -> bool {
    span.message().is_some_and(|m| m.role == MessageRole::Process)
}

fn receives(span: &Span) -> bool {
    span.message().is_some_and(|m| m.role == MessageRole::Receive)
}

fn names_destination(span: &Span) -> bool {
    span.message().is_some_and(|m| m.destination.is_some())
}

fn further(nearest: Option<Nearest>) -> Option<Nearest> {
    nearest.map(|(levels, i)| (levels + 1, i))
}

fn nearer(a: Option<Nearest>, b: Option<Nearest>) -> Option<Nearest> {
    a.into_iter().chain(b).min()
}
