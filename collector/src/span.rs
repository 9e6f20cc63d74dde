//! What pairing needs of a span, taken out of the OTLP bytes once (by `read`).
//!
//! In: nothing; these are the types. Out: [`Span`], 64 bytes, and the rarer facts in [`Extra`].
//! Left out on purpose: everything that neither the map nor the metrics read; the bytes have it.

use std::sync::Arc;

use otlp::{Kind, StatusCode};

use crate::names::{Node, Operation};

/// 16 bytes, not all zero.
pub type TraceId = [u8; 16];
/// 8 bytes as a number, not zero.
pub type SpanId = u64;

/// One span, as pairing sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Its id; the two halves of a B3 call share one.
    pub id: SpanId,
    /// The parent's id; 0 for a root. Read it by [`Span::parent`].
    pub parent_id: SpanId,
    /// What is done, and by which service.
    pub operation: Operation,
    /// Nanoseconds since 1970, UTC.
    pub start: u64,
    /// Nanoseconds since 1970, UTC; never before `start`.
    pub end: u64,
    /// The far side that the attributes of a CLIENT, PRODUCER or CONSUMER span name.
    pub peer: Option<Node>,
    /// What is read only of some spans; most have none of it.
    pub extra: Option<Box<Extra>>,
    /// How many requests it stands for: 1 / sampling probability.
    pub weight: f32,
    /// Its role.
    pub kind: Kind,
    /// How it ended.
    pub status: StatusCode,
    /// True for a CLIENT span that an agent made and whose request it counts itself (DESIGN §2).
    pub counted: bool,
}

/// The rarer facts of a span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extra {
    /// What it does with a message, if anything.
    pub message: Option<Message>,
    /// Spans of other traces (or of this one) that it continues.
    pub links: Vec<(TraceId, SpanId)>,
    /// Of how many messages each link is; empty where each is of one.
    pub times: Vec<u32>,
    /// Messages that it sent, by the names that the broker gave them; those that it received are links.
    pub places: Vec<(TraceId, SpanId)>,
    /// The address of whoever called a SERVER span without parent, by [`Address`].
    pub caller: Option<Address>,
    /// What the edge hint in `tracestate` says of a SERVER or CONSUMER span's caller.
    pub hint: Option<Hint>,
    /// `http.request.resend_count` or its kin: this call repeats one that failed. 0 where nothing is said.
    pub resend: u32,
    /// Bits of the tail sampling predicates that its attributes fulfil.
    pub predicates: u64,
}

/// The caller's half of an edge, carried by the request itself (DESIGN §2, `tm=`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hint {
    /// Who called.
    pub caller: Node,
    /// When the caller sent it, nanoseconds since 1970; 0 where nothing is said.
    pub sent: u64,
    /// True where the caller's agent counts the edge itself.
    pub counted: bool,
}

/// An address, kept as 64 bits of its hash: the addresses of callers are without number, and are only ever compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(pub u64);

/// What a span does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Sends, receives or processes.
    pub role: MessageRole,
    /// The queue or topic, where it is named: a node of kind `Destination`.
    pub destination: Option<Node>,
    /// How many messages the span says it is of (`messaging.batch.message_count`): 0 of a poll that got none.
    pub count: Option<u32>,
}

/// The side of the broker that a span is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageRole {
    /// Hands messages to the broker.
    Send,
    /// Takes messages from the broker; a CLIENT span by the conventions, yet the consuming side.
    Receive,
    /// Handles a message.
    Process,
    /// Tells the broker what became of a message; neither side of it.
    Settle,
}

/// What stands for a message that a broker named: links that name it lead to whoever sent the message, in whatever trace.
/// No span has such ids: they are the 128 bits of FNV-1a, of which a trace's are random.
pub fn place_id(place: &[u8]) -> (TraceId, SpanId) {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let hash = place
        .iter()
        .fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, &byte| {
            (hash ^ u128::from(byte)).wrapping_mul(PRIME)
        });
    (hash.to_be_bytes(), (hash >> 64) as u64 ^ hash as u64 | 1)
}

/// A link, and the table's note that its producer is still awaited.
const LINK_BYTES: usize = 24 + 80;

impl Span {
    /// The parent's id; `None` for a root.
    pub fn parent(&self) -> Option<SpanId> {
        (self.parent_id != 0).then_some(self.parent_id)
    }

    /// The service that recorded it; `None` where the resource has no `service.name`.
    pub fn service(&self) -> Option<Node> {
        self.operation.service
    }

    /// Its name.
    pub fn name(&self) -> &'static Arc<str> {
        &self.operation.get().name
    }

    /// Duration in seconds.
    pub fn seconds(&self) -> f64 {
        (self.end - self.start) as f64 / 1e9
    }

    /// True where the status is an error.
    pub fn failed(&self) -> bool {
        self.status == StatusCode::Error
    }

    /// What it does with a message.
    pub fn message(&self) -> Option<Message> {
        self.extra.as_deref()?.message
    }

    /// True for the consuming side of a broker.
    pub fn consumes(&self) -> bool {
        self.message()
            .is_some_and(|m| matches!(m.role, MessageRole::Receive | MessageRole::Process))
    }

    /// True where it hands a message to a broker.
    pub fn sends(&self) -> bool {
        self.message().is_some_and(|m| m.role == MessageRole::Send)
    }

    /// True where a link of a consumer to it names the producer: it has a service and is no consumer itself.
    pub fn can_produce(&self) -> bool {
        self.service().is_some() && !self.consumes()
    }

    /// Its links.
    pub fn links(&self) -> &[(TraceId, SpanId)] {
        self.extra.as_deref().map_or(&[], |extra| &extra.links)
    }

    /// Its links, each with how many messages it is of.
    pub fn counted_links(&self) -> impl Iterator<Item = ((TraceId, SpanId), u32)> {
        let times = self.extra.as_deref().map_or(&[][..], |extra| &extra.times);
        let links = self.links().iter().enumerate();
        links.map(|(at, link)| (*link, times.get(at).copied().unwrap_or(1)))
    }

    /// Bytes it occupies in the trace table, shared names aside.
    pub fn footprint(&self) -> usize {
        let extra = self.extra.as_deref().map_or(0, |e| {
            size_of::<Extra>() + (e.links.len() + e.places.len()) * LINK_BYTES
        });
        size_of::<Self>() + extra
    }
}

const _: () = assert!(
    size_of::<Span>() == 64,
    "the table's budget stands and falls with it"
);
