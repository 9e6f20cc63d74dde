//! What the agent makes of messages: their place in a trace, their spans, and what is added to them.
//!
//! In: word of messages from the protocol of one connection. Out: context for messages that bear none; spans by the
//! semantic conventions for messaging; messages under work among the requests in flight, so that what their consumer calls
//! meanwhile is theirs.
//! Left out on purpose: protocols. Parents are found as for calls over HTTP, by the same evidence (see `place`).

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use otlp::Kind;
use otlp::encode::{Attributes, LinkRecord};
use propagation::{EdgeClass, Extracted, SpanContext, SpanId, TraceId};

use super::Queue;
use super::cloud_events::Event;
use super::metrics::{Became, MessageCounters, Way};
use super::splice::{Carried, Courier, End, How, Received, Receiving, Sending, Sent, Skip, Token};
use super::ways::Ways;
use crate::config::{EdgeMode, QueueContext};
use crate::correlation::LiveGuard;
use crate::exchange::{OpenSpan, Opening};
use crate::modes;
use crate::peer::Peer;
use crate::place;
use crate::semconv;
use crate::telemetry::{Direction, NotCarried};
use crate::trace::{self, RandomIds};

/// Spans of one connection that may be open at a time, at about 1 KiB each. Beyond it new ones end at once.
const MAX_OPEN: usize = 16_384;

/// How many messages a span, or one of its links, is of.
const MESSAGE_COUNT: &str = "messaging.batch.message_count";

/// The courier of one connection.
pub(super) struct Messages {
    queue: Arc<Queue>,
    counters: MessageCounters,
    /// The broker of this connection; of a cluster there are several.
    broker: Peer,
    ways: Arc<Ways>,
    /// The address that the client reached the agent at.
    here: SocketAddr,
    open: HashMap<Token, Open>,
    next: u64,
}

/// A message, or several that were sent or received together, of which the end is not known yet.
struct Open {
    way: Way,
    messages: usize,
    began: Instant,
    span: Option<OpenSpan>,
    /// Told where it stays one message, in bytes.
    size: Option<u64>,
    /// For further messages of the same place; absent where they were received with places of their own.
    counted: Option<place::Counted>,
    /// Who sent it, of one that was received.
    caller: Option<String>,
    /// Keeps it among the requests in flight.
    live: Option<LiveGuard>,
}

impl Messages {
    pub(super) fn new(queue: Arc<Queue>, broker: Peer, ways: Arc<Ways>, here: SocketAddr) -> Self {
        let counters = queue.metrics.counters(queue.protocol);
        Self {
            queue,
            counters,
            broker,
            ways,
            here,
            open: HashMap::new(),
            next: 0,
        }
    }

    fn read<'a>(&self, carried: Carried<'a>) -> Cow<'a, Extracted> {
        match carried {
            Carried::Raw(carried) => Cow::Owned(self.extract(carried)),
            Carried::Read(extracted) => Cow::Borrowed(extracted),
        }
    }

    fn extract(&self, carried: &dyn propagation::Extract) -> Extracted {
        let shared = &self.queue.workload.shared;
        let mut extracted = shared.propagator.extract(carried);
        if extracted.context.is_none()
            && let Some(event) = Event::of(carried)
        {
            extracted = shared.propagator.extract(&event);
        }
        shared.metrics.skipped(&extracted.skipped);
        extracted
    }

    fn keep(&mut self, open: Open) -> Option<Token> {
        if self.open.len() >= MAX_OPEN {
            finish(&self.queue, &self.counters, open, Became::Open, End::default());
            return None;
        }
        self.next += 1;
        let token = Token(self.next);
        self.open.insert(token, open);
        Some(token)
    }

    /// What every span of a message says.
    fn opening(&self, kind: Kind, what: &What<'_>, more: &dyn Fn(&mut Attributes)) -> Opening {
        let mut attributes = Attributes::with_capacity(512);
        let queue = &self.queue;
        attributes.push("messaging.system", queue.protocol.system());
        attributes.push("messaging.operation.name", what.operation);
        attributes.push("messaging.operation.type", what.kind);
        attributes.push("messaging.destination.name", what.destination);
        attributes.push("server.address", self.broker.address.as_str());
        attributes.push("server.port", i64::from(self.broker.port));
        if what.messages > 1 {
            attributes.push(MESSAGE_COUNT, what.messages as i64);
        }
        more(&mut attributes);
        Opening {
            kind,
            name: what.name(),
            attributes,
        }
    }

    /// Says how the broker named messages, and of how many each name is.
    fn places(&self, out: &mut Attributes, places: &[(&str, usize)]) {
        let system = self.queue.protocol.system();
        out.push_display(semconv::MESSAGE_PLACES, Places { system, places });
    }

    fn processes(&mut self, what: &What<'_>, message: &Received<'_>, receiving: &Receiving<'_>) -> Open {
        let extracted = self.read(message.carried);
        let workload = &self.queue.workload;
        let found = place::inbound(workload, &extracted, || what.name(), &mut RandomIds);
        let correlation = workload.shared.correlation_attribute(&found.correlation);
        let span = found.telling.span.then(|| {
            let mut opening = self.opening(Kind::Consumer, what, receiving.more);
            if let Some(correlation) = correlation {
                opening.attributes.push(semconv::CORRELATION_ID, &correlation);
            }
            // Where context came it says who sent the message, and one way to say it is enough.
            if let Some(place) = message.place.filter(|_| extracted.context.is_none()) {
                self.places(&mut opening.attributes, &[(place, message.messages)]);
            }
            OpenSpan::new(workload.resource.clone(), &found.joined, Vec::new(), opening)
        });
        let live = workload.live.enter(found.onward.context, found.correlation);
        if live.is_none() {
            workload.shared.metrics.not_carried(NotCarried::TooManyInFlight);
        }
        Open {
            way: Way::Received,
            messages: message.messages,
            began: Instant::now(),
            span,
            size: receiving.size,
            counted: Some(found.counted),
            caller: Some(found.caller),
            live,
        }
    }

    fn receives_several(&mut self, what: &What<'_>, receiving: &Receiving<'_>) -> Open {
        let (mut links, mut places) = (Contexts::default(), Vec::new());
        let mut sampled = false;
        for message in receiving.messages {
            let extracted = self.read(message.carried);
            place::count_received(&self.queue.workload, &extracted, message.messages as u64);
            match &extracted.context {
                Some(context) => {
                    sampled |= context.flags.is_sampled();
                    links.add(context, message.messages);
                }
                None => places.extend(message.place.map(|place| (place, message.messages))),
            }
        }
        let links = links.into_links();
        let workload = &self.queue.workload;
        let mut joined = trace::join_inbound(&Extracted::default(), &mut RandomIds);
        if links.is_empty() {
            joined.recorded = workload.share.begin(|| what.name(), &mut joined.context, true);
        } else {
            // Whoever sent them decided.
            joined.context.set_sampled(sampled);
            joined.recorded = sampled;
        }
        let mode = workload.modes.of(Direction::Outbound, &self.broker.authority);
        let span = (joined.recorded && mode == EdgeMode::Span).then(|| {
            let mut opening = self.opening(Kind::Client, what, receiving.more);
            if !places.is_empty() {
                self.places(&mut opening.attributes, &places);
            }
            OpenSpan::new(workload.resource.clone(), &joined, links, opening)
        });
        Open {
            way: Way::Received,
            messages: what.messages,
            began: Instant::now(),
            span,
            size: receiving.size,
            counted: None,
            caller: None,
            live: None,
        }
    }
}

/// What is done with which messages.
struct What<'a> {
    operation: &'static str,
    /// `messaging.operation.type`.
    kind: &'static str,
    destination: &'a str,
    messages: usize,
}

impl What<'_> {
    fn name(&self) -> String {
        format!("{} {}", self.operation, self.destination)
    }
}

/// Names that the broker gave, as the attribute has them: `SYSTEM:NAME`, with `+N` behind one that is of N messages.
struct Places<'a> {
    system: &'static str,
    places: &'a [(&'a str, usize)],
}

impl fmt::Display for Places<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (place, messages)) in self.places.iter().enumerate() {
            let space = if at > 0 { " " } else { "" };
            write!(out, "{space}{}:{place}", self.system)?;
            if *messages > 1 {
                write!(out, "+{messages}")?;
            }
        }
        Ok(())
    }
}

/// Contexts that messages bear, each once, with how many bear it.
#[derive(Default)]
struct Contexts {
    links: Vec<(LinkRecord, usize)>,
    known: HashMap<(TraceId, SpanId), usize>,
}

impl Contexts {
    fn add(&mut self, context: &SpanContext, messages: usize) {
        let at = *self
            .known
            .entry((context.trace_id, context.span_id))
            .or_insert(self.links.len());
        match self.links.get_mut(at) {
            Some((_, times)) => *times += messages,
            None => self.links.push((link(context), messages)),
        }
    }

    fn into_links(self) -> Vec<LinkRecord> {
        let each = self.links.into_iter().map(|(mut link, messages)| {
            if messages > 1 {
                link.attributes.push(MESSAGE_COUNT, messages as i64);
            }
            link
        });
        each.collect()
    }
}

impl Courier for Messages {
    fn reads(&mut self, carried: &dyn propagation::Extract) -> Extracted {
        self.extract(carried)
    }

    fn sends(&mut self, message: &Sending<'_>) -> Sent {
        let what = What {
            operation: message.operation,
            kind: "send",
            destination: message.destination,
            messages: 1,
        };
        let extracted = self.read(message.carried);
        let workload = &self.queue.workload;
        let shared = &workload.shared;
        let now = Instant::now();
        let mut found = place::outbound(
            workload,
            &extracted,
            (&self.broker, EdgeClass::Message),
            (now, || what.name()),
            &mut RandomIds,
        );
        let bears = extracted.context.as_ref();
        let mut add = Vec::new();
        if self.injects() && bears.is_none() && self.may_change(message.destination) {
            // A list takes whatever it is given.
            let context = (&found.joined.context, &found.correlation);
            let _ = shared
                .propagator
                .inject(&mut add, context.0, context.1, extracted.format);
            // What the message has stays, also where it is not valid.
            if let Carried::Raw(carried) = message.carried {
                add.retain(|(key, _): &(String, Vec<u8>)| !has(carried, key));
            }
        }
        let span = found.telling.span.then(|| {
            // The semantic conventions ask for PRODUCER where the context that travels is this span's.
            let created = bears.is_none();
            let kind = if created { Kind::Producer } else { Kind::Client };
            let mut opening = self.opening(kind, &what, message.more);
            let out = &mut opening.attributes;
            out.push(semconv::CORRELATION_METHOD, found.method.as_str());
            if let Some(confidence) = found.confidence {
                out.push(semconv::CORRELATION_CONFIDENCE, confidence);
            }
            if let Some(correlation) = shared.correlation_attribute(&found.correlation) {
                out.push(semconv::CORRELATION_ID, &correlation);
            }
            let mut links = std::mem::take(&mut found.links);
            links.extend(bears.map(link));
            OpenSpan::new(workload.resource.clone(), &found.joined, links, opening)
        });
        let open = Open {
            way: Way::Sent,
            messages: 1,
            began: now,
            span,
            size: message.size,
            counted: Some(found.counted),
            caller: None,
            live: None,
        };
        Sent {
            token: self.keep(open),
            add,
        }
    }

    fn stands_for(&mut self, token: Token, messages: usize) {
        if let Some(open) = self.open.get_mut(&token) {
            let more = messages.saturating_sub(open.messages) as u64;
            if let Some(counted) = open.counted {
                let workload = &self.queue.workload;
                let peer = open.caller.as_deref().unwrap_or(&self.broker.authority);
                place::count_more(workload, peer, counted, more);
                if open.caller.is_some() && open.live.is_none() {
                    let metrics = &workload.shared.metrics;
                    metrics.not_carried_by(NotCarried::TooManyInFlight, more);
                }
            }
            open.messages = messages;
            if let Some(span) = &mut open.span {
                span.attributes().push(MESSAGE_COUNT, messages as i64);
            }
        }
    }

    fn not_added(&mut self, token: Token, messages: usize) {
        // Where one of them bears the context, it is that of the span.
        let none = self.open.get_mut(&token).filter(|open| open.messages <= messages);
        if let Some(span) = none.and_then(|open| open.span.as_mut()) {
            span.is_of_kind(Kind::Client);
        }
        let metrics = &self.queue.workload.shared.metrics;
        metrics.not_carried_by(NotCarried::HeadersFull, messages as u64);
    }

    fn receives(&mut self, receiving: &Receiving<'_>) -> Option<Token> {
        let (kind, one) = match (receiving.how, receiving.messages) {
            (How::Processes, [one]) => ("process", Some(one)),
            _ => ("receive", None),
        };
        let what = What {
            operation: receiving.operation,
            kind,
            destination: receiving.destination,
            messages: receiving.messages.iter().map(|each| each.messages).sum(),
        };
        let open = match one {
            Some(one) => self.processes(&what, one, receiving),
            None => self.receives_several(&what, receiving),
        };
        self.keep(open)
    }

    fn settle(&mut self, token: Token, end: End<'_>) {
        if let Some(open) = self.open.remove(&token) {
            let became = if end.error.is_some() {
                Became::Failed
            } else {
                Became::Ok
            };
            finish(&self.queue, &self.counters, open, became, end);
        }
    }

    fn goes_blind(&mut self) {
        for (_, open) in self.open.drain() {
            finish(&self.queue, &self.counters, open, Became::Open, End::default());
        }
    }

    fn skipped(&mut self, why: Skip) {
        self.queue.metrics.skipped(self.queue.protocol, why);
    }

    fn injects(&self) -> bool {
        matches!(self.queue.context, QueueContext::Inject | QueueContext::Both)
    }

    fn joins(&self) -> bool {
        matches!(self.queue.context, QueueContext::Join | QueueContext::Both)
    }

    fn may_change(&self, destination: &str) -> bool {
        let shown = self.queue.context_is_shown();
        !shown
            || self
                .queue
                .streams
                .iter()
                .any(|pattern| modes::matches(pattern, destination))
    }

    fn way_to(&mut self, host: &str, port: u16) -> Option<(String, u16)> {
        self.ways.to(&self.queue, host, port, self.here)
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        let lost = End {
            error: Some("connection_closed"),
            place: None,
        };
        for (_, open) in self.open.drain() {
            finish(&self.queue, &self.counters, open, Became::Open, lost);
        }
    }
}

fn finish(queue: &Queue, counters: &MessageCounters, mut open: Open, became: Became, end: End<'_>) {
    counters.count(open.way, became, open.messages);
    if let Some(mut span) = open.span.take() {
        if let Some(size) = open.size.filter(|_| open.messages == 1) {
            let size = i64::try_from(size).unwrap_or(i64::MAX);
            span.attributes().push("messaging.message.body.size", size);
        }
        if let Some(place) = end.place {
            let system = queue.protocol.system();
            let out = span.attributes();
            out.push_display(semconv::MESSAGE_PLACES, format_args!("{system}:{place}"));
        }
        span.end(open.began.elapsed(), end.error, &queue.workload.shared);
    }
}

fn has(carried: &dyn propagation::Extract, key: &str) -> bool {
    let mut has = false;
    carried.get_all(key, &mut |_| has = true);
    has
}

fn link(context: &SpanContext) -> LinkRecord {
    LinkRecord {
        trace_id: *context.trace_id.as_bytes(),
        span_id: *context.span_id.as_bytes(),
        trace_state: context.trace_state.as_str().to_owned(),
        flags: u32::from(context.flags.bits()),
        attributes: Attributes::default(),
    }
}
