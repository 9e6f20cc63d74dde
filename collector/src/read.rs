//! Requests become spans: the one pass over OTLP bytes that pairing rests on.
//!
//! In: the body of an `ExportTraceServiceRequest`. Out: a [`Span`] per usable span, why the others are not, and what
//! resources claim of themselves.
//! Left out on purpose: locks. Every worker has a [`Reader`] of its own, which remembers the names it saw; only a name
//! that is new to it asks the process-wide table.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher as _;
use std::ops::Range;
use std::sync::Arc;

use foldhash::fast::RandomState;
use map::{Language, NodeId};
use otlp::Kind;
use otlp::view::{self, Link, Malformed, RawValue, Resource, UnreadScope, Value, Visit};
use propagation::{EDGE_HINT_KEY, EdgeHint};
use sampling::{Predicates, SpanBits};

use crate::names::{Node, Operation, Share, Version, cut};
use crate::peer::{Attribute, Facts, MESSAGE_COUNT, message_count};
use crate::span::{Address, Extra, Hint, Message, MessageRole, Span, SpanId, TraceId, place_id};

/// A usable span of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// Its trace.
    pub trace: TraceId,
    /// What pairing needs of it.
    pub span: Span,
    /// Where its bytes are in the body.
    pub place: Place,
}

/// Where a span's bytes are, as offsets in the body of its request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The `Span` message.
    pub span_at: u32,
    /// Its length.
    pub span_len: u32,
    /// The `ScopeSpans` around it.
    pub scope_at: u32,
    /// The `ResourceSpans` around that.
    pub resource_at: u32,
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

/// A service answers at an address that its callers dial.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// `host[:port]`.
    pub address: Arc<str>,
    /// Who says so.
    pub service: Node,
}

/// A service is written in a language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Spoken {
    /// Which service.
    pub service: Node,
    /// What the SDK in it says.
    pub language: Language,
}

/// What one request holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extracted {
    /// The usable spans, in the order of the request.
    pub spans: Vec<Received>,
    /// The others.
    pub rejected: Vec<Rejection>,
    /// Addresses that resources claim as their own, where this reader had not seen them.
    pub workloads: Vec<Address>,
    /// Addresses that services answer at, where this reader had not seen them.
    pub claims: Vec<Claim>,
    /// Languages of services, from resources that this reader had not seen.
    pub languages: Vec<Spoken>,
}

/// Reads requests, and remembers names.
#[derive(Debug, Default)]
pub struct Reader {
    known: Known,
    predicates: Arc<Predicates>,
}

impl Reader {
    /// A reader that also notes which of these predicates of tail sampling a span fulfils.
    pub fn new(predicates: Arc<Predicates>) -> Self {
        Self::within(predicates, Share::whole())
    }

    /// The same for a tenant, which brings no more names than its share.
    pub fn within(predicates: Arc<Predicates>, names: Arc<Share>) -> Self {
        Self {
            known: Known::new(names),
            predicates,
        }
    }

    /// True where it notes these predicates, and no others.
    pub fn notes(&self, predicates: &Arc<Predicates>) -> bool {
        Arc::ptr_eq(&self.predicates, predicates)
    }

    /// Reads all spans of a request.
    ///
    /// # Errors
    /// [`Malformed`] where `body` is not an `ExportTraceServiceRequest`; nothing of it is used then.
    pub fn read(&mut self, body: &[u8]) -> Result<Extracted, Malformed> {
        self.known.make_room();
        let mut pass = Pass::new(&mut self.known, &self.predicates, body.len());
        view::read_spans(body, &mut pass)?;
        Ok(pass.out)
    }

    /// As [`Reader::read`], for a body that was validated before.
    pub fn read_valid(&mut self, body: &[u8]) -> Extracted {
        self.known.make_room();
        let mut pass = Pass::new(&mut self.known, &self.predicates, body.len());
        view::read_spans_unchecked(body, &mut pass);
        pass.out
    }
}

/// Beyond this many names of a sort a reader forgets what it remembers; the process-wide table has it.
const MAX_KNOWN: usize = 1 << 16;
/// Longer resources and peers are read every time.
const MAX_KEY_BYTES: usize = 4 << 10;

/// What a resource says of its spans.
#[derive(Clone, Copy, Debug, Default)]
struct Workload {
    service: Option<Node>,
    version: Version,
    /// Predicates that it fulfils.
    bits: SpanBits,
}

/// What a reader remembers.
#[derive(Debug)]
struct Known {
    names: Arc<Share>,
    resources: HashMap<Box<[u8]>, Workload, RandomState>,
    /// By the index of the service, one more than it, and 0 for none.
    operations: Vec<HashMap<Box<str>, Operation, RandomState>>,
    operation_count: usize,
    peers: HashMap<Box<[u8]>, Option<Node>, RandomState>,
    destinations: HashMap<Box<[u8]>, Node, RandomState>,
    claimed: HashMap<Node, HashSet<Box<[u8]>, RandomState>, RandomState>,
    claims: usize,
}

impl Default for Known {
    fn default() -> Self {
        Self::new(Share::whole())
    }
}

impl Known {
    fn new(names: Arc<Share>) -> Self {
        Self {
            names,
            resources: HashMap::default(),
            operations: Vec::new(),
            operation_count: 0,
            peers: HashMap::default(),
            destinations: HashMap::default(),
            claimed: HashMap::default(),
            claims: 0,
        }
    }

    fn make_room(&mut self) {
        let most = [
            self.resources.len(),
            self.operation_count,
            self.peers.len(),
            self.destinations.len(),
            self.claims,
        ];
        if most.into_iter().any(|n| n >= MAX_KNOWN) {
            *self = Self::new(Arc::clone(&self.names));
        }
    }

    #[inline]
    fn operation(&mut self, service: Option<Node>, name: &str) -> Operation {
        let slot = service.map_or(0, |service| service.index() + 1);
        if slot >= self.operations.len() {
            self.operations.resize_with(slot + 1, HashMap::default);
        }
        let name = cut(name);
        let Some(known) = self.operations.get_mut(slot) else {
            return self.names.operation(service, name);
        };
        if let Some(operation) = known.get(name) {
            return *operation;
        }
        let operation = self.names.operation(service, name);
        known.insert(name.into(), operation);
        self.operation_count += 1;
        operation
    }

    #[inline]
    fn destination(&mut self, name: &[u8]) -> Node {
        if let Some(node) = self.destinations.get(name) {
            return *node;
        }
        let node = self.names.destination(str::from_utf8(name).unwrap_or_default());
        if name.len() <= MAX_KEY_BYTES {
            self.destinations.insert(name.into(), node);
        }
        node
    }

    #[inline]
    fn peer(&mut self, facts: &Facts<'_>, key: &mut Vec<u8>) -> Option<Node> {
        key.clear();
        facts.write_peer_key(key);
        if key.is_empty() {
            return None;
        }
        if let Some(peer) = self.peers.get(key.as_slice()) {
            return *peer;
        }
        let peer = facts.peer().map(|end| self.names.node(&end));
        if key.len() <= MAX_KEY_BYTES {
            self.peers.insert(key.as_slice().into(), peer);
        }
        peer
    }

    /// True where this reader has not seen `service` claim what `key` stands for.
    #[inline]
    fn is_new_claim(&mut self, service: Node, key: &[u8]) -> bool {
        let held = self.claimed.entry(service).or_default();
        if held.contains(key) {
            return false;
        }
        if key.len() <= MAX_KEY_BYTES {
            held.insert(key.into());
            self.claims += 1;
        }
        true
    }
}

/// One pass over one request.
struct Pass<'a, 'r> {
    known: &'r mut Known,
    predicates: &'r Predicates,
    facts: Facts<'a>,
    /// What the present resource says.
    workload: Workload,
    /// Predicates that the coming span fulfils.
    bits: SpanBits,
    links: Vec<(TraceId, SpanId)>,
    /// Of how many messages each link is, where one of them says it.
    times: Vec<u32>,
    key: Vec<u8>,
    place: Place,
    out: Extracted,
}

/// More messages of one span are not joined by the broker's names; agents report fewer.
const MAX_PLACES: usize = 256;
/// Less than this no span takes in a request; a guess at their number that costs no growing.
const USUAL_SPAN_BYTES: usize = 400;

impl<'r> Pass<'_, 'r> {
    fn new(known: &'r mut Known, predicates: &'r Predicates, bytes: usize) -> Self {
        let out = Extracted {
            spans: Vec::with_capacity((bytes / USUAL_SPAN_BYTES + 1).min(1 << 16)),
            ..Extracted::default()
        };
        Self {
            known,
            predicates,
            workload: Workload::default(),
            bits: SpanBits::default(),
            facts: Facts::default(),
            links: Vec::new(),
            times: Vec::new(),
            key: Vec::new(),
            place: Place::default(),
            out,
        }
    }
}

impl<'a> Visit<'a> for Pass<'a, '_> {
    fn resource(&mut self, resource: &Resource<'a>, at: Range<usize>) {
        self.place.resource_at = at.start as u32;
        let mut parts = resource.raw_parts();
        let only = match (parts.next(), parts.next()) {
            (Some(part), None) if part.len() <= MAX_KEY_BYTES => Some(part),
            _ => None,
        };
        if let Some(known) = only.and_then(|part| self.known.resources.get(part)) {
            self.workload = *known;
            return;
        }
        let (service, version, language) = service_of(resource, &self.known.names, &mut self.out.workloads);
        let spoken = service.zip(language);
        let spoken = spoken.map(|(service, language)| Spoken { service, language });
        self.out.languages.extend(spoken);
        self.workload = Workload {
            service,
            version,
            bits: SpanBits::default(),
        };
        for (key, value) in resource.attributes() {
            self.predicates.note(&mut self.workload.bits, key, value);
        }
        if let Some(part) = only {
            self.known.resources.insert(part.into(), self.workload);
        }
    }

    #[inline]
    fn scope(&mut self, _scope: &UnreadScope<'a>, at: Range<usize>) {
        self.place.scope_at = at.start as u32;
    }

    #[inline]
    fn attribute(&mut self, key: &'a [u8], value: RawValue<'a>) {
        if !self.predicates.is_empty() {
            let key = str::from_utf8(key).unwrap_or_default();
            self.predicates.note(&mut self.bits, key, value.value());
        }
        let Some((attribute, rank)) = Attribute::of(key) else {
            return;
        };
        if let Some(text) = value.as_bytes_of_str() {
            self.facts.note_text(attribute, rank, text);
        } else if let Some(number) = value.as_int() {
            self.facts.note_number(attribute, rank, number);
        }
    }

    fn link(&mut self, link: Link<'a>) {
        let named = link.trace_id.try_into().ok().zip(id_of(link.span_id));
        let Some(named) = named else { return };
        let mut attributes = link.attributes();
        let times = attributes.find_map(|(key, value)| match value {
            Value::Int(number) if key.as_bytes() == MESSAGE_COUNT => Some(message_count(number)),
            _ => None,
        });
        self.note_link(named, times.unwrap_or(1));
    }

    #[inline]
    fn span(&mut self, span: &view::Span<'a>, at: Range<usize>) {
        (self.place.span_at, self.place.span_len) = (at.start as u32, at.len() as u32);
        match self.read(span) {
            Ok((trace, read)) => self.out.spans.push(Received {
                trace,
                span: read,
                place: self.place,
            }),
            Err(reason) => self.out.rejected.push(reason),
        }
        self.facts.clear();
        self.links.clear();
        self.times.clear();
        self.bits = SpanBits::default();
    }
}

impl<'a> Pass<'a, '_> {
    #[inline]
    fn read(&mut self, span: &view::Span<'a>) -> Result<(TraceId, Span), Rejection> {
        let trace: TraceId = span.trace_id.try_into().map_err(|_| Rejection::TraceId)?;
        if trace == [0; 16] {
            return Err(Rejection::TraceId);
        }
        let id = id_of(span.span_id).ok_or(Rejection::SpanId)?;
        let parent_id = match span.parent_span_id {
            [] => 0,
            // Eight zero bytes are how some exporters write "no parent".
            bytes => u64::from_be_bytes(bytes.try_into().map_err(|_| Rejection::ParentId)?),
        };
        let operation = self.known.operation(self.workload.service, span.name);
        let operation = operation.with_version(self.workload.version);
        let peer = match span.kind {
            Kind::Client | Kind::Producer | Kind::Consumer => self.known.peer(&self.facts, &mut self.key),
            _ => None,
        };
        let weight = if span.trace_state.is_empty() {
            1.0
        } else {
            weight(span.trace_state) as f32
        };
        let read = Span {
            id,
            parent_id,
            operation,
            start: span.start_unix_nano,
            end: span.end_unix_nano.max(span.start_unix_nano),
            peer,
            extra: self.extra(span, parent_id),
            weight,
            kind: span.kind,
            status: span.status,
            counted: span.kind == Kind::Client && stamps(span.trace_state),
        };
        Ok((trace, read))
    }

    #[inline]
    fn extra(&mut self, span: &view::Span<'a>, parent: SpanId) -> Option<Box<Extra>> {
        let message = match span.kind {
            Kind::Client | Kind::Producer | Kind::Consumer => self.message(span.kind),
            _ => None,
        };
        let mut caller = None;
        if span.kind == Kind::Server {
            self.claim();
            if parent == 0 {
                caller = self.facts.caller().map(address);
            }
        }
        let serves = matches!(span.kind, Kind::Server | Kind::Consumer);
        let hint = if serves && !span.trace_state.is_empty() {
            hint(span.trace_state, self.workload.service, &self.known.names)
        } else {
            None
        };
        let (resend, predicates) = (self.facts.resend(), self.predicates_of(span));
        let mut places = Vec::new();
        if let Some(message) = message {
            let facts = self.facts;
            let named = facts.places().take(MAX_PLACES);
            let named = named.map(|(place, times)| (place_id(place), times));
            match message.role {
                MessageRole::Send => places.extend(named.map(|(place, _)| place)),
                MessageRole::Receive | MessageRole::Process => {
                    named.for_each(|(place, times)| self.note_link(place, times));
                }
                MessageRole::Settle => {}
            }
        }
        let is_plain = message.is_none() && self.links.is_empty() && caller.is_none();
        if is_plain && hint.is_none() && resend == 0 && predicates == 0 {
            return None;
        }
        Some(Box::new(Extra {
            message,
            links: self.links.clone(),
            times: self.times.clone(),
            places,
            caller,
            hint,
            resend,
            predicates,
        }))
    }

    #[inline]
    fn predicates_of(&mut self, span: &view::Span<'_>) -> u64 {
        let mut bits = SpanBits(self.bits.0 | self.workload.bits.0);
        if self.predicates.wants_trace_state() {
            self.predicates.note_trace_state(&mut bits, span.trace_state);
        }
        bits.0
    }

    #[inline]
    fn message(&mut self, kind: Kind) -> Option<Message> {
        let role = self.facts.role(kind)?;
        let named = self.facts.destination_or_broker();
        let destination = named.map(|name| self.known.destination(name));
        let count = self.facts.messages();
        Some(Message {
            role,
            destination,
            count,
        })
    }

    /// Notes a link that is of so many messages.
    #[inline]
    fn note_link(&mut self, link: (TraceId, SpanId), times: u32) {
        if times != 1 || !self.times.is_empty() {
            self.times.resize(self.links.len(), 1);
            self.times.push(times);
        }
        self.links.push(link);
    }

    /// A SERVER span says at which address its callers dialled it.
    #[inline]
    fn claim(&mut self) {
        let Some(service) = self.workload.service else {
            return;
        };
        self.key.clear();
        self.facts.write_own_key(&mut self.key);
        if self.key.is_empty() || !self.known.is_new_claim(service, &self.key) {
            return;
        }
        if let Some(address) = self.facts.own_address() {
            self.out.claims.push(Claim {
                address: address.into(),
                service,
            });
        }
    }
}

/// The one SDK whose language is that of the service: others, such as that of a proxy, bear names of their own.
const SDK: &str = "opentelemetry";

/// What a resource says of the workload: who it is, in which version, and in what language.
fn service_of(
    resource: &Resource<'_>,
    names: &Share,
    workloads: &mut Vec<Address>,
) -> (Option<Node>, Version, Option<Language>) {
    let (mut name, mut version, mut namespace, mut environment) = ("", "", "", "");
    let (mut language, mut sdk) = (None, SDK);
    for (key, value) in resource.attributes() {
        let Value::Str(text) = value else { continue };
        match key {
            "service.name" => name = text,
            "service.version" => version = text,
            "service.namespace" => namespace = text,
            "telemetry.sdk.language" => language = Language::of(text),
            "telemetry.sdk.name" => sdk = text,
            "deployment.environment.name" => environment = text,
            "deployment.environment" if environment.is_empty() => environment = text,
            "k8s.pod.ip" | "host.ip" => workloads.push(address(text.as_bytes())),
            _ => {}
        }
    }
    if name.is_empty() {
        return (None, Version::NONE, None);
    }
    let service = names.service(service_id(cut(environment), cut(namespace), cut(name)));
    let language = language.filter(|_| sdk == SDK);
    (Some(service), names.version(service, version), language)
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

/// An address as it is compared: the same in every process, since a log may be read by another one.
fn address(text: &[u8]) -> Address {
    Address(foldhash::quality::FixedState::default().hash_one(text))
}

#[inline]
fn id_of(bytes: &[u8]) -> Option<SpanId> {
    let id = u64::from_be_bytes(bytes.try_into().ok()?);
    (id != 0).then_some(id)
}

fn member<'t>(trace_state: &'t str, key: &str) -> Option<&'t str> {
    let mut members = trace_state.split(',').filter_map(|m| m.trim().split_once('='));
    members.find_map(|(name, value)| (name == key).then_some(value))
}

/// What the caller's edge hint says to `callee`, where there is one. What was meant for another service was passed on by
/// that, and its caller is not ours.
fn hint(trace_state: &str, callee: Option<Node>, names: &Share) -> Option<Hint> {
    let hint = EdgeHint::parse(member(trace_state, EDGE_HINT_KEY)?)?;
    let meant = |id: &String| callee.is_some_and(|callee| callee.id.as_str() == id);
    hint.callee.as_ref().is_none_or(meant).then(|| Hint {
        caller: names.service(NodeId::from(hint.caller.as_str())),
        sent: hint.sent_unix_nano,
        counted: hint.counted,
    })
}

/// Whether the sender of a call says that it counts the call itself. What its service was sent and passed on says
/// nothing of its own calls, and names it as the callee.
#[inline]
fn stamps(trace_state: &str) -> bool {
    let value = if trace_state.is_empty() {
        None
    } else {
        member(trace_state, EDGE_HINT_KEY)
    };
    let hint = value.and_then(EdgeHint::parse);
    hint.is_some_and(|hint| hint.counted && hint.callee.is_none())
}

/// How many requests a sampled span stands for, from `ot=th:…` in its `tracestate`; 1 where nothing is said.
///
/// Source: OpenTelemetry `TraceState: Probability Sampling`: `th` is the rejection threshold in 2^-56, 1 to 14
/// hex digits with trailing zeros left out; the probability is `1 - th / 2^56`.
pub fn weight(trace_state: &str) -> f64 {
    const RANGE: u64 = 1 << 56;
    let ot = member(trace_state, "ot");
    let th = ot.and_then(|ot| ot.split(';').find_map(|part| part.strip_prefix("th:")));
    let threshold = th
        .filter(|th| (1..=14).contains(&th.len()) && th.bytes().all(|b| b.is_ascii_hexdigit()))
        .and_then(|th| u64::from_str_radix(&format!("{th:0<14}"), 16).ok());
    threshold.map_or(1.0, |threshold| RANGE as f64 / (RANGE - threshold) as f64)
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
            ("ot=th:ffffffffffffff", (1u64 << 56) as f64),
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
    fn a_resource_says_its_version_and_one_that_says_none_has_none() {
        let resource = |version: Option<&str>| {
            let attribute = |key: &str, value: &str| {
                let (key, value) = (string(1, key.as_bytes()), string(1, value.as_bytes()));
                string(1, &[key, string(2, &value)].concat())
            };
            let version = version.map(|version| attribute("service.version", version));
            let resource = [attribute("service.name", "read-v"), version.unwrap_or_default()].concat();
            let span = [string(1, &[1; 16]), string(2, &[1; 8]), string(5, b"op")].concat();
            string(1, &[string(1, &resource), string(2, &string(2, &span))].concat())
        };
        let body = [Some("1.4.2"), None, Some("1.5.0")].map(resource).concat();
        let read = Reader::default()
            .read(&body)
            .expect("what was written is well-formed");
        let versions: Vec<_> = read
            .spans
            .iter()
            .map(|read| read.span.operation.version().as_str())
            .collect();
        assert_eq!(versions, [Some("1.4.2"), None, Some("1.5.0")]);
    }

    #[test]
    fn a_resource_says_the_language_of_its_service_and_that_of_a_proxy_does_not() {
        let attribute = |key: &str, value: &str| {
            let (key, value) = (string(1, key.as_bytes()), string(1, value.as_bytes()));
            string(1, &[key, string(2, &value)].concat())
        };
        let resource = |told: [&str; 3]| {
            let keys = ["service.name", "telemetry.sdk.language", "telemetry.sdk.name"];
            let told = keys.iter().zip(told).filter(|(_, value)| !value.is_empty());
            let resource = told.map(|(key, value)| attribute(key, value)).collect::<Vec<_>>();
            string(1, &string(1, &resource.concat()))
        };
        let body = [
            ["read-java", "java", "opentelemetry"],
            ["read-go", "go", ""],
            ["read-envoy", "cpp", "envoy"],
            ["read-old", "cobol", "opentelemetry"],
            ["", "java", "opentelemetry"],
        ];
        let mut reader = Reader::default();
        let body = body.map(resource).concat();
        let read = reader.read(&body).expect("what was written is well-formed");
        let told = read.languages.iter();
        let told: Vec<_> = told
            .map(|spoken| (spoken.service.id.as_str(), spoken.language))
            .collect();
        assert_eq!(told, [("read-java", Language::Java), ("read-go", Language::Go)]);
        let again = reader.read(&body).expect("as before");
        assert_eq!(again.languages, [], "what a resource says is said once");
    }

    #[test]
    fn what_a_broker_named_is_sent_by_one_and_linked_to_by_the_other() {
        let attribute = |key: &str, value: &str| {
            let value = string(2, &string(1, value.as_bytes()));
            string(9, &[string(1, key.as_bytes()), value].concat())
        };
        let span = |kind: u8, operation: &str, places: &str| {
            let parts = [
                string(1, &[1; 16]),
                string(2, &[kind; 8]),
                vec![6 << 3, kind],
                attribute("messaging.system", "kafka"),
                attribute("tracemap.message.places", places),
                attribute("messaging.operation.type", operation),
            ];
            long(2, &parts.concat())
        };
        let spans = [
            span(4, "send", "kafka:orders/0@17"),
            span(3, "receive", "kafka:orders/0@17  kafka:orders/0@18"),
            span(3, "", "kafka:orders/0@17"),
            span(3, "receive", "kafka:orders/0@17 kafka:orders/0@18+40"),
        ];
        let scope = long(2, &spans.concat());
        let read = Reader::default().read(&long(1, &scope)).expect("well-formed");
        let extra = |at: usize| read.spans[at].span.extra.as_deref().cloned().unwrap_or_default();
        let [first, second] = [b"kafka:orders/0@17", b"kafka:orders/0@18"].map(|place| place_id(place));
        assert_ne!(first, second);
        assert_eq!((extra(0).places, extra(0).links), (vec![first], vec![]));
        assert_eq!((extra(1).places, extra(1).links), (vec![], vec![first, second]));
        assert!(extra(1).times.is_empty(), "each is of one message");
        assert_eq!(
            (extra(3).links, extra(3).times),
            (vec![first, second], vec![1, 40])
        );
        assert_eq!(
            extra(2),
            Extra::default(),
            "a call that is no message has no messages"
        );
    }

    #[test]
    fn a_batch_says_of_how_many_messages_it_is_and_each_link_of_how_many() {
        let number = |value: i64| {
            let mut bytes = vec![3 << 3];
            prost::encoding::encode_varint(value as u64, &mut bytes);
            bytes
        };
        let count = |field: u8, value: i64| {
            let pair = [
                string(1, b"messaging.batch.message_count"),
                string(2, &number(value)),
            ];
            string(field, &pair.concat())
        };
        let link =
            |id: u8, more: &[u8]| string(13, &[&string(1, &[1; 16]), &string(2, &[id; 8]), more].concat());
        let span = |count: Vec<u8>, links: &[Vec<u8>]| {
            let role = [
                string(1, b"messaging.operation.type"),
                string(2, &string(1, b"receive")),
            ]
            .concat();
            let parts = [
                string(1, &[1; 16]),
                string(2, &[1; 8]),
                vec![6 << 3, 5],
                string(9, &role),
                count,
                links.concat(),
            ];
            long(2, &parts.concat())
        };
        let spans = [
            span(
                count(9, 43),
                &[link(2, &[]), link(3, &count(4, 40)), link(4, &[])],
            ),
            span(vec![], &[link(2, &[])]),
            span(count(9, i64::MAX), &[]),
            span(count(9, -1), &[]),
        ];
        let read = Reader::default()
            .read(&long(1, &long(2, &spans.concat())))
            .expect("well-formed");
        let said = |at: usize| {
            let extra = read.spans[at].span.extra.as_deref().cloned().expect("a message");
            (extra.message.and_then(|message| message.count), extra.times)
        };
        assert_eq!(said(0), (Some(43), vec![1, 40, 1]));
        assert_eq!(said(1), (None, vec![]));
        assert_eq!(said(2).0, Some(1 << 20), "no batch is so large");
        assert_eq!(said(3).0, Some(0));
    }

    /// A field of bytes.
    fn long(field: u8, content: &[u8]) -> Vec<u8> {
        let length = [content.len() as u8 | 0x80, (content.len() >> 7) as u8];
        [&[field << 3 | 2], &length[..], content].concat()
    }

    /// A short field of bytes.
    fn string(field: u8, content: &[u8]) -> Vec<u8> {
        [&[field << 3 | 2, content.len() as u8], content].concat()
    }

    #[test]
    fn a_hint_beside_other_members_names_the_caller() {
        let state = "vendor=x,tm=c:shop/web;k:h;t:3e8;q:1";
        let read = hint(state, None, &Share::whole()).expect("a hint");
        assert_eq!(
            (read.caller.id.as_str(), read.sent, read.counted),
            ("shop/web", 1_000_000, true)
        );
        assert_eq!(hint("vendor=x", None, &Share::whole()), None);
        assert!(stamps(state) && !stamps("vendor=x") && !stamps("tm=c:web;t:1"));
    }

    #[test]
    fn a_hint_that_was_meant_for_another_service_says_nothing() {
        let [cart, stock] = ["cart", "stock"].map(|name| Node::service(NodeId::from(name)));
        let state = "tm=c:web;t:1;n:1;d:cart";
        assert_eq!(
            hint(state, Some(cart), &Share::whole()).map(|hint| hint.counted),
            Some(true)
        );
        assert_eq!(hint(state, Some(stock), &Share::whole()), None);
        assert!(
            !stamps(state),
            "it is of the call that reached the service, not of its own"
        );
    }
}
