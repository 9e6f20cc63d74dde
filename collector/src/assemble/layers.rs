//! What surrounds a span within its visit, and what lies below it.
//!
//! In: a [`Tree`]. Out: its seats' facts and nearest names, found in one pass down and one pass up, however deep the
//! nesting. Agents, SDKs and frameworks record one request several times; these are the layers.
//! Left out on purpose: other visits. Nothing here looks beyond an entry span or into another service, except that
//! a span knows whether it has a child there.

use otlp::Kind;

use super::tree::{Index, NONE, NOTHING, Nearest, Seat, Tree};
use crate::span::{MessageRole, Span};

// What a span is; bits 0 and 1 are the tree's.
/// A CLIENT span.
pub(super) const CLIENT: u32 = 1 << 2;
/// A CLIENT or PRODUCER span.
pub(super) const ASKS: u32 = 1 << 3;
/// A SERVER or CONSUMER span.
pub(super) const SERVES: u32 = 1 << 4;
/// It has to do with a message.
pub(super) const MESSAGE: u32 = 1 << 5;
/// It receives or processes messages.
pub(super) const CONSUMES: u32 = 1 << 6;
/// It sends messages.
pub(super) const SENDS: u32 = 1 << 7;
/// It processes a message.
pub(super) const PROCESSES: u32 = 1 << 8;
/// It receives messages.
pub(super) const RECEIVES: u32 = 1 << 9;
/// It has links; those of a consuming span name its producers.
pub(super) const LINKED: u32 = 1 << 10;
/// It names the destination of its message.
const NAMES: u32 = 1 << 11;

// What is strictly above it in its visit.
/// A CLIENT span or one that sends a message: the span below it is the same request again.
pub(super) const BELOW_CALL: u32 = 1 << 12;
/// A span that sends a message.
pub(super) const BELOW_SENDING: u32 = 1 << 13;
/// A span that processes a message.
pub(super) const BELOW_PROCESS: u32 = 1 << 14;
/// One that does and names its producers by links.
pub(super) const BELOW_LINKED_PROCESS: u32 = 1 << 15;
/// A span that receives messages and names their producers by links.
pub(super) const BELOW_LINKED_RECEIVE: u32 = 1 << 16;

// What is below it in its visit.
/// The span itself or one below it has a child in another service.
pub(super) const REMOTE: u32 = 1 << 17;
/// The same, where the child serves and does not consume.
pub(super) const REMOTE_CALL: u32 = 1 << 18;
/// A span that processes a message, strictly below.
pub(super) const ABOVE_PROCESS: u32 = 1 << 19;
/// One that does and names its producers by links, strictly below.
pub(super) const ABOVE_LINKED_PROCESS: u32 = 1 << 20;
/// The span itself or one below it is a call that an agent counts; of a CLIENT span it is the same call.
pub(super) const COUNTED: u32 = 1 << 21;

const LEVEL: Nearest = 1 << 32;
/// Longer chains are counted as of this many calls; a visit says one more, and its calls another.
const MAX_DEPTH: u8 = 253;

/// What a span says by itself, as bits.
pub(super) fn facts_of(span: &Span) -> u32 {
    let mut facts = match span.kind {
        Kind::Client => CLIENT | ASKS,
        Kind::Producer => ASKS,
        Kind::Server | Kind::Consumer => SERVES,
        Kind::Unspecified | Kind::Internal => 0,
    };
    facts |= if span.counted { COUNTED } else { 0 };
    let Some(extra) = span.extra.as_deref() else {
        return facts;
    };
    if let Some(message) = extra.message {
        facts |= MESSAGE;
        facts |= match message.role {
            MessageRole::Send => SENDS,
            MessageRole::Receive => CONSUMES | RECEIVES,
            MessageRole::Process => CONSUMES | PROCESSES,
            MessageRole::Settle => 0,
        };
        facts |= if message.destination.is_some() { NAMES } else { 0 };
    }
    if !extra.links.is_empty() {
        facts |= LINKED;
    }
    facts
}

/// Finds what is above and below every span.
pub(super) fn find(tree: &mut Tree<'_>) {
    for at in 0..tree.top_down.len() {
        look_up(tree, tree.top_down[at]);
    }
    for at in (0..tree.top_down.len()).rev() {
        pass_up(tree, tree.top_down[at]);
    }
}

/// True for spans in which somebody else is asked for something.
pub(super) fn calls(tree: &Tree<'_>, i: Index) -> bool {
    let facts = tree.seat(i).facts;
    facts.any(ASKS) && !facts.any(CONSUMES)
}

/// True for the CLIENT spans in which a consumer waits for messages.
pub(super) fn polls(tree: &Tree<'_>, i: Index) -> bool {
    let facts = tree.seat(i).facts;
    facts.any(CLIENT) && facts.any(RECEIVES)
}

/// The span that a [`Nearest`] means.
pub(super) fn found(nearest: Nearest) -> Option<Index> {
    (nearest != NOTHING).then_some(nearest as u32)
}

fn look_up(tree: &mut Tree<'_>, i: Index) {
    let (mut own, names_peer) = (*tree.seat(i), tree.span(i).peer.is_some());
    if own.entry != i && own.parent != NONE {
        let parent = tree.seat(own.parent);
        own.facts.add(below(parent.facts.0));
        own.outermost_call = parent.outermost_call;
        own.visit = parent.visit;
        (own.top, own.depth) = (parent.top, parent.depth);
        if own.facts.any(PROCESSES) && polls(tree, parent.visit) {
            own.visit = i;
            (own.top, own.depth) = (i, 0);
        }
    } else {
        (own.top, own.depth) = chain(tree, &own, i);
    }
    if own.outermost_call == NONE && calls(tree, i) {
        own.outermost_call = i;
    }
    if names_peer {
        own.peer = Nearest::from(i);
    }
    if own.facts.any(NAMES) {
        own.destination = Nearest::from(i);
    }
    tree.seats[i as usize] = own;
}

/// The visit that begins the chain which an entry span is part of, and the calls from there.
///
/// Nobody waits for a consumer, so it begins one; so does whoever was called by a span that belongs to no visit.
fn chain(tree: &Tree<'_>, entry: &Seat, i: Index) -> (Index, u8) {
    if let Some(caller) = tree.seats.get(entry.parent as usize)
        && caller.top != NONE
        && !entry.facts.any(CONSUMES)
    {
        return (caller.top, caller.depth.saturating_add(1).min(MAX_DEPTH));
    }
    let visits = !entry.facts.any(ASKS) || entry.facts.any(CONSUMES) && !polls(tree, i);
    (if visits { i } else { NONE }, 0)
}

/// What holds below a span with these facts.
fn below(parent: u32) -> u32 {
    let has = |bits| parent & bits != 0;
    let mut facts =
        parent & (BELOW_CALL | BELOW_SENDING | BELOW_PROCESS | BELOW_LINKED_PROCESS | BELOW_LINKED_RECEIVE);
    if has(CLIENT) && !has(CONSUMES) || has(SENDS) {
        facts |= BELOW_CALL;
    }
    if has(SENDS) {
        facts |= BELOW_SENDING;
    }
    if has(PROCESSES) {
        facts |= BELOW_PROCESS | if has(LINKED) { BELOW_LINKED_PROCESS } else { 0 };
    }
    if has(RECEIVES) && has(LINKED) {
        facts |= BELOW_LINKED_RECEIVE;
    }
    facts
}

/// Tells the parent what is at and below a span; all below it have told theirs.
fn pass_up(tree: &mut Tree<'_>, i: Index) {
    let child = *tree.seat(i);
    if child.parent == NONE {
        return;
    }
    let parent = &mut tree.seats[child.parent as usize];
    if child.facts.any(CONSUMES) && child.facts.any(NAMES) {
        parent.consumer_destination = parent.consumer_destination.min(Nearest::from(i));
    }
    if child.entry == i {
        parent
            .facts
            .add(REMOTE | if child.facts.any(CONSUMES) { 0 } else { REMOTE_CALL });
        return;
    }
    let mut facts = child.facts.0 & (REMOTE | REMOTE_CALL | ABOVE_PROCESS | ABOVE_LINKED_PROCESS | COUNTED);
    if child.facts.any(PROCESSES) {
        facts |= ABOVE_PROCESS
            | if child.facts.any(LINKED) {
                ABOVE_LINKED_PROCESS
            } else {
                0
            };
    }
    parent.facts.add(facts);
    parent.peer = parent.peer.min(further(child.peer));
    parent.destination = parent.destination.min(further(child.destination));
    parent.consumer_destination = parent
        .consumer_destination
        .min(further(child.consumer_destination));
}

fn further(nearest: Nearest) -> Nearest {
    nearest.saturating_add(LEVEL)
}
