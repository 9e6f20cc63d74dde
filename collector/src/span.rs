//! What pairing needs of a span, taken out of the OTLP bytes once.
//!
//! In: a well-formed `ExportTraceServiceRequest`. Out: one [`Span`] per usable span, and why the others are not.
//! Left out on purpose: everything that neither the map nor the metrics read; the bytes have it.

use std::collections::HashMap;
use std::sync::Arc;

use map::{NodeId, NodeKind};
use otlp::view::{self, Malformed, Resource, Value};
use otlp::{Kind, StatusCode};

use crate::peer::{self, Attribute, Facts};

/// 16 bytes, not all zero.
pub type TraceId = [u8; 16];
/// 8 bytes as a number, not zero.
pub type SpanId = u64;

/// One span, as pairing sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Its id; the two halves of a B3 call share one.
    pub id: SpanId,
    /// The parent's id; `None` for a root.
    pub parent: Option<SpanId>,
    /// The service that recorded it; `None` where the resource has no `service.name`.
    pub service: Option<NodeId>,
    /// The operation.
    pub name: Arc<str>,
    /// Its role.
    pub kind: Kind,
    /// Nanoseconds since 1970, UTC.
    pub start: u64,
    /// Nanoseconds since 1970, UTC; never before `start`.
    pub end: u64,
    /// How it ended.
    pub status: StatusCode,
    /// How many requests it stands for: 1 / sampling probability.
    pub weight: f64,
    /// What is read only of some spans; most have none of it.
    pub extra: Option<Box<Extra>>,
}

/// The rarer facts of a span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extra {
    /// The far side that the attributes name.
    pub peer: Option<Peer>,
    /// What it does with a message, if anything.
    pub message: Option<Message>,
    /// Spans of other traces (or of this one) that it continues.
    pub links: Vec<(TraceId, SpanId)>,
    /// `server.address:server.port` of a SERVER span: what its caller dialled.
    pub own_address: Option<Arc<str>>,
    /// Address of whoever called a SERVER span.
    pub caller_address: Option<Arc<str>>,
}

/// A far side that reports no spans itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The node's id.
    pub id: NodeId,
    /// The node's kind.
    pub kind: NodeKind,
    /// The address that was dialled, by which a service may turn out to be behind it.
    pub address: Option<Arc<str>>,
}

/// What a span does with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Sends, receives or processes.
    pub role: MessageRole,
    /// The queue or topic, where it is named.
    pub destination: Option<Arc<str>>,
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

/// A link, and the table's note that its producer is still awaited.
const LINK_BYTES: usize = 24 + 80;

impl Span {
    /// Duration in seconds.
    pub fn seconds(&self) -> f64 {
        (self.end - self.start) as f64 / 1e9
    }

    /// True where the status is an error.
    pub fn failed(&self) -> bool {
        self.status == StatusCode::Error
    }

    /// The far side, where it is named.
    pub fn peer(&self) -> Option<&Peer> {
        self.extra.as_deref()?.peer.as_ref()
    }

    /// What it does with a message.
    pub fn message(&self) -> Option<&Message> {
        self.extra.as_deref()?.message.as_ref()
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
        self.service.is_some() && !self.consumes()
    }

    /// Its links.
    pub fn links(&self) -> &[(TraceId, SpanId)] {
        self.extra.as_deref().map_or(&[], |extra| &extra.links)
    }

    /// Bytes it occupies in the trace table, shared strings aside.
    pub fn footprint(&self) -> usize {
        let extra = self
            .extra
            .as_deref()
            .map_or(0, |e| size_of::<Extra>() + e.links.len() * LINK_BYTES);
        size_of::<Self>() + extra
    }
}

/// Why a span of a good request is not used. The sender is told by `partial_success`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rejection {
    /// The trace id is not 16 bytes, or all zero.
    TraceId,
    /// The span id is not 8 bytes, or all zero.
    SpanId,
    /// The parent's id is neither empty nor 8 bytes.
    ParentId,
}

impl Rejection {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::TraceId, Self::SpanId, Self::ParentId];

    /// The value of the label `reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TraceId => "invalid_trace_id",
            Self::SpanId => "invalid_span_id",
            Self::ParentId => "invalid_parent_span_id",
        }
    }
}

/// The spans of one request.
#[derive(Debug, Default)]
pub struct Extracted {
    /// The usable ones, in the order of the request.
    pub spans: Vec<(TraceId, Span)>,
    /// The others.
    pub rejected: Vec<Rejection>,
    /// Addresses that the resources claim as their own.
    pub workload_addresses: Vec<Arc<str>>,
}

/// Keeps one copy of every name that spans repeat.
#[derive(Debug, Default)]
pub struct Interner(HashMap<Box<str>, Arc<str>>);

/// Beyond this many names the interner starts afresh; names in use stay alive through their spans.
const MAX_INTERNED: usize = 100_000;

impl Interner {
    /// The shared copy of `text`.
    pub fn get(&mut self, text: &str) -> Arc<str> {
        if let Some(shared) = self.0.get(text) {
            return Arc::clone(shared);
        }
        if self.0.len() >= MAX_INTERNED {
            self.0.clear();
        }
        let shared: Arc<str> = text.into();
        self.0.insert(text.into(), Arc::clone(&shared));
        shared
    }
}

/// Reads all spans of a request.
///
/// # Errors
/// [`Malformed`] where `body` is not an `ExportTraceServiceRequest`; nothing of it is used then.
pub fn extract(body: &[u8], names: &mut Interner) -> Result<Extracted, Malformed> {
    view::validate(body)?;
    Ok(extract_valid(body, names))
}

/// As [`extract`], for a body that [`view::validate`] accepted before, as the intake has.
pub fn extract_valid(body: &[u8], names: &mut Interner) -> Extracted {
    let mut out = Extracted::default();
    let mut last_resource: Option<(*const u8, Identity)> = None;
    view::for_each_span_unchecked(body, |resource, _scope, span| {
        let key = resource
            .raw_parts()
            .next()
            .map_or(std::ptr::null(), <[u8]>::as_ptr);
        if last_resource
            .as_ref()
            .is_none_or(|(seen, _)| *seen != key || key.is_null())
        {
            let identity = Identity::read(resource, names);
            out.workload_addresses.extend(identity.addresses.iter().cloned());
            last_resource = Some((key, identity));
        }
        let service = last_resource
            .as_ref()
            .and_then(|(_, identity)| identity.service.clone());
        match read_span(span, service, names) {
            Ok(read) => out.spans.push(read),
            Err(reason) => out.rejected.push(reason),
        }
    });
    out
}

/// What a resource says of the workload.
struct Identity {
    service: Option<NodeId>,
    addresses: Vec<Arc<str>>,
}

impl Identity {
    fn read(resource: &Resource<'_>, names: &mut Interner) -> Self {
        let (mut name, mut namespace, mut environment) = ("", "", "");
        let mut addresses = Vec::new();
        for (key, value) in resource.attributes() {
            let Value::Str(text) = value else { continue };
            match key {
                "service.name" => name = text,
                "service.namespace" => namespace = text,
                "deployment.environment.name" => environment = text,
                "deployment.environment" if environment.is_empty() => environment = text,
                "k8s.pod.ip" | "host.ip" => addresses.push(names.get(text)),
                _ => {}
            }
        }
        let service = (!name.is_empty()).then(|| service_id(environment, namespace, name));
        Self { service, addresses }
    }
}

/// A service named `user` is told apart from [`NodeId::USER`], or whatever it calls would be an entry point.
fn service_id(environment: &str, namespace: &str, name: &str) -> NodeId {
    let id = NodeId::qualified(environment, namespace, name);
    if id.as_str() == NodeId::USER {
        NodeId::from("user (service)")
    } else {
        id
    }
}

fn read_span(
    span: &view::Span<'_>,
    service: Option<NodeId>,
    names: &mut Interner,
) -> Result<(TraceId, Span), Rejection> {
    let trace_id: TraceId = span.trace_id.try_into().map_err(|_| Rejection::TraceId)?;
    if trace_id == [0; 16] {
        return Err(Rejection::TraceId);
    }
    let id = id_of(span.span_id).ok_or(Rejection::SpanId)?;
    let parent = match span.parent_span_id {
        [] => None,
        // Eight zero bytes are how some exporters write "no parent".
        bytes => match <[u8; 8]>::try_from(bytes).map(u64::from_be_bytes) {
            Ok(0) => None,
            Ok(parent) => Some(parent),
            Err(_) => return Err(Rejection::ParentId),
        },
    };
    let extra = read_extra(span, names);
    let read = Span {
        id,
        parent,
        service,
        name: names.get(span.name),
        kind: span.kind,
        start: span.start_unix_nano,
        end: span.end_unix_nano.max(span.start_unix_nano),
        status: span.status,
        weight: weight(span.trace_state),
        extra: (extra != Extra::default()).then(|| Box::new(extra)),
    };
    Ok((trace_id, read))
}

fn read_extra(span: &view::Span<'_>, names: &mut Interner) -> Extra {
    let mut facts = Facts::default();
    if span.kind != Kind::Internal {
        for (key, value) in span.attributes() {
            if let Some(attribute) = Attribute::of(key) {
                facts.note(attribute, value);
            }
        }
    }
    let links = span
        .links()
        .filter_map(|link| Some((link.trace_id.try_into().ok()?, id_of(link.span_id)?)));
    let mut extra = Extra {
        links: links.collect(),
        ..Extra::default()
    };
    extra.message = peer::message(span.kind, &facts, names);
    match span.kind {
        Kind::Client | Kind::Producer | Kind::Consumer => extra.peer = peer::resolve(&facts, names),
        Kind::Server => {
            extra.own_address = facts.dialled().map(|address| names.get(&address));
            extra.caller_address = facts.caller().map(|address| names.get(address));
        }
        Kind::Internal | Kind::Unspecified => {}
    }
    extra
}

fn id_of(bytes: &[u8]) -> Option<SpanId> {
    let id = u64::from_be_bytes(bytes.try_into().ok()?);
    (id != 0).then_some(id)
}

/// How many requests a sampled span stands for, from `ot=th:…` in its `tracestate`; 1 where nothing is said.
///
/// Source: OpenTelemetry `TraceState: Probability Sampling`: `th` is the rejection threshold in 2^-56, 1 to 14
/// hex digits with trailing zeros left out; the probability is `1 - th / 2^56`.
pub fn weight(trace_state: &str) -> f64 {
    const RANGE: f64 = (1u64 << 56) as f64;
    if trace_state.is_empty() {
        return 1.0;
    }
    let ot = trace_state
        .split(',')
        .find_map(|member| member.trim().strip_prefix("ot="));
    let th = ot.and_then(|ot| ot.split(';').find_map(|part| part.strip_prefix("th:")));
    let threshold = th
        .filter(|th| (1..=14).contains(&th.len()) && th.bytes().all(|b| b.is_ascii_hexdigit()))
        .and_then(|th| u64::from_str_radix(&format!("{th:0<14}"), 16).ok());
    threshold.map_or(1.0, |threshold| RANGE / (RANGE - threshold as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sampled_span_stands_for_the_inverse_of_its_probability() {
        let cases = [
            ("", 1.0),
            ("ot=th:0", 1.0),
            ("ot=th:8", 2.0),
            ("vendor=x, ot=rv:1234;th:c", 4.0),
            ("ot=th:zz", 1.0),
            ("ot=th:123456789abcdef0", 1.0),
        ];
        for (state, expected) in cases {
            assert!(
                (weight(state) - expected).abs() < 1e-9,
                "{state}: {}",
                weight(state)
            );
        }
    }

    #[test]
    fn names_are_kept_once() {
        let mut names = Interner::default();
        assert!(Arc::ptr_eq(&names.get("GET /cart"), &names.get("GET /cart")));
    }
}
