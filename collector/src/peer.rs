//! Who is on the far side of a span that reports only one side.
//!
//! In: attributes by the OpenTelemetry semantic conventions, new names and old. Out: the virtual node's id and kind,
//! and what the span does with a message.
//! Left out on purpose: whole URLs, paths and statements. They make a node per request.

use map::{NodeId, NodeKind};
use otlp::Kind;

use crate::names::{End, cut};
use crate::span::MessageRole;

/// The attributes that are read, old and new names under one. The order is that of [`Facts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// `service.peer.name`, before it `peer.service`.
    PeerService,
    /// `db.system.name`, before it `db.system`.
    DbSystem,
    /// `db.namespace`, before it `db.name`.
    DbNamespace,
    /// `messaging.destination.template`: the destination without its variable parts.
    DestinationTemplate,
    /// `messaging.destination.name`, before it `messaging.destination`.
    Destination,
    /// `messaging.system`.
    MessagingSystem,
    /// `messaging.operation.type`, before it `messaging.operation`.
    Operation,
    /// `server.address`, before it `net.peer.name` and `http.host`.
    ServerAddress,
    /// `network.peer.address`, before it `net.sock.peer.addr` and `net.peer.ip`.
    PeerAddress,
    /// `client.address`.
    ClientAddress,
    /// `rpc.service`.
    RpcService,
    /// `url.full`, before it `http.url`. Only its host is read.
    Url,
    /// `tracemap.message.places`: the names that a broker gave to the messages, as agents report them.
    MessagePlaces,
    /// `server.port`, before it `net.peer.port`: a number, or one as text.
    ServerPort,
    /// `http.request.resend_count`: a number.
    ResendCount,
    /// `messaging.batch.message_count`: a number.
    MessageCount,
}

/// How many of them are text.
const TEXTS: usize = 13;

/// Of how many messages a span is; on a link, how many of them are the linked span's.
pub const MESSAGE_COUNT: &[u8] = b"messaging.batch.message_count";
/// More messages in one span are not believed: no broker takes a batch of so many.
const MAX_MESSAGES: u32 = 1 << 20;

/// How many messages a number that someone wrote says they are.
pub fn message_count(number: i64) -> u32 {
    u32::try_from(number.max(0))
        .unwrap_or(MAX_MESSAGES)
        .min(MAX_MESSAGES)
}

/// Names of caches among the values of `db.system.name`.
const CACHES: &[&[u8]] = &[b"redis", b"memcached", b"valkey", b"hazelcast", b"geode"];

impl Attribute {
    /// What an attribute of this name says and how new the name is: of two names for one fact the newer counts.
    /// `None` where nobody asks. The length tells most names apart, so that a key costs one comparison or none.
    #[inline]
    pub fn of(key: &[u8]) -> Option<(Self, u8)> {
        let found = match (key.len(), key) {
            (7, b"db.name") => (Self::DbNamespace, 1),
            (8, b"url.full") => (Self::Url, 2),
            (8, b"http.url") => (Self::Url, 1),
            (9, b"db.system") => (Self::DbSystem, 1),
            (9, b"http.host") => (Self::ServerAddress, 1),
            (11, b"server.port") => (Self::ServerPort, 3),
            (11, b"rpc.service") => (Self::RpcService, 2),
            (11, b"net.peer.ip") => (Self::PeerAddress, 1),
            (12, b"peer.service") => (Self::PeerService, 1),
            (12, b"db.namespace") => (Self::DbNamespace, 2),
            (13, b"net.peer.name") => (Self::ServerAddress, 2),
            (13, b"net.peer.port") => (Self::ServerPort, 2),
            (14, b"server.address") => (Self::ServerAddress, 3),
            (14, b"client.address") => (Self::ClientAddress, 2),
            (14, b"db.system.name") => (Self::DbSystem, 2),
            (16, b"messaging.system") => (Self::MessagingSystem, 2),
            (17, b"service.peer.name") => (Self::PeerService, 2),
            (18, b"net.sock.peer.addr") => (Self::PeerAddress, 2),
            (19, b"messaging.operation") => (Self::Operation, 1),
            (20, b"network.peer.address") => (Self::PeerAddress, 3),
            (21, b"messaging.destination") => (Self::Destination, 1),
            (23, b"tracemap.message.places") => (Self::MessagePlaces, 1),
            (24, b"messaging.operation.type") => (Self::Operation, 2),
            (25, b"http.request.resend_count") => (Self::ResendCount, 1),
            (26, b"messaging.destination.name") => (Self::Destination, 2),
            (29, MESSAGE_COUNT) => (Self::MessageCount, 1),
            (30, b"messaging.destination.template") => (Self::DestinationTemplate, 2),
            _ => return None,
        };
        Some(found)
    }
}

/// What a span's attributes say, each fact by its newest name, as the bytes of the request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    texts: [&'a [u8]; TEXTS],
    /// How new the name was by which a fact came; 0 for none.
    ranks: [u8; TEXTS],
    port: i64,
    port_rank: u8,
    resend: u32,
    messages: Option<u32>,
}

impl<'a> Facts<'a> {
    /// Forgets everything.
    #[inline]
    pub fn clear(&mut self) {
        (self.ranks, self.port_rank, self.resend) = ([0; TEXTS], 0, 0);
        self.messages = None;
    }

    /// Takes note of a text. Of the same fact said twice the newer name counts; empty text says nothing.
    #[inline]
    pub fn note_text(&mut self, attribute: Attribute, rank: u8, text: &'a [u8]) {
        match attribute {
            Attribute::ServerPort | Attribute::ResendCount | Attribute::MessageCount => {
                let number = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
                number.inspect(|number| self.note_number(attribute, rank, *number));
            }
            _ if text.is_empty() => {}
            _ => {
                let slot = attribute as usize;
                if let (Some(held), Some(at)) = (self.ranks.get_mut(slot), self.texts.get_mut(slot))
                    && *held < rank
                {
                    (*held, *at) = (rank, text);
                }
            }
        }
    }

    /// Takes note of a number.
    #[inline]
    pub fn note_number(&mut self, attribute: Attribute, rank: u8, number: i64) {
        match attribute {
            Attribute::ServerPort if self.port_rank < rank => (self.port, self.port_rank) = (number, rank),
            Attribute::ResendCount => self.resend = u32::try_from(number).unwrap_or(0),
            Attribute::MessageCount => self.messages = Some(message_count(number)),
            _ => {}
        }
    }

    /// How often the same request was sent before.
    pub fn resend(&self) -> u32 {
        self.resend
    }

    /// How many messages the span says it is of: those that were sent, received or processed as one batch.
    pub fn messages(&self) -> Option<u32> {
        self.messages
    }

    #[inline]
    fn text(&self, attribute: Attribute) -> Option<&'a [u8]> {
        let slot = attribute as usize;
        (*self.ranks.get(slot)? > 0).then(|| self.texts.get(slot).copied())?
    }

    /// The host that was dialled, perhaps with its port.
    fn host(&self) -> Option<&'a [u8]> {
        self.text(Attribute::ServerAddress)
            .or_else(|| self.text(Attribute::Url).and_then(host_of_url))
            .or_else(|| self.text(Attribute::PeerAddress))
    }

    /// The port that was dialled, where it is neither unknown nor the scheme's own.
    fn port(&self) -> Option<i64> {
        (self.port_rank > 0 && !matches!(self.port, 80 | 443)).then_some(self.port)
    }

    /// `host:port` that was dialled; the port is left out where it is the scheme's own or unknown.
    pub fn dialled(&self) -> Option<String> {
        Some(self.with_port(self.host()?))
    }

    /// The host that a serving span says it was reached at. Who the peer is says nothing about that.
    fn own_host(&self) -> Option<&'a [u8]> {
        self.text(Attribute::ServerAddress)
            .or_else(|| self.text(Attribute::Url).and_then(host_of_url))
    }

    /// `host:port` that a serving span was reached at, in the form of [`Facts::dialled`].
    pub fn own_address(&self) -> Option<String> {
        Some(self.with_port(self.own_host()?))
    }

    /// Writes what [`Facts::own_address`] depends on. Nothing where there is none.
    #[inline]
    pub fn write_own_key(&self, key: &mut Vec<u8>) {
        if let Some(host) = self.own_host() {
            key.extend_from_slice(&self.port().unwrap_or_default().to_le_bytes());
            key.extend_from_slice(host);
        }
    }

    fn with_port(&self, host: &[u8]) -> String {
        let host = cut(lossless(host));
        match self.port() {
            Some(port) if !has_port(host) => format!("{host}:{port}"),
            _ => host.to_owned(),
        }
    }

    /// The address of whoever called.
    pub fn caller(&self) -> Option<&'a [u8]> {
        self.text(Attribute::PeerAddress)
            .or_else(|| self.text(Attribute::ClientAddress))
    }

    /// The queue or topic.
    pub fn destination(&self) -> Option<&'a [u8]> {
        self.text(Attribute::DestinationTemplate)
            .or_else(|| self.text(Attribute::Destination))
    }

    /// The names that a broker gave to the messages of the span, each with how many it is of (`NAME+N`).
    pub fn places(&self) -> impl Iterator<Item = (&'a [u8], u32)> {
        let all = self.text(Attribute::MessagePlaces).unwrap_or_default();
        all.split(|byte| *byte == b' ')
            .filter(|place| !place.is_empty())
            .map(counted_place)
    }

    /// A broker that is named but not its queue stands for the queue: one node too few beats a lost edge.
    pub fn destination_or_broker(&self) -> Option<&'a [u8]> {
        self.destination().or_else(|| self.text(Attribute::PeerService))
    }

    /// What a span does with a message. `receive` is a CLIENT span by the conventions, yet on the consuming side.
    ///
    /// Source: OpenTelemetry semantic conventions, "Messaging spans": send is PRODUCER, or CLIENT where the context
    /// was not injected; receive and settle are CLIENT; process is CONSUMER.
    pub fn role(&self, kind: Kind) -> Option<MessageRole> {
        let operation = self.text(Attribute::Operation);
        let is_messaging = || self.text(Attribute::MessagingSystem).is_some() || self.destination().is_some();
        match (kind, operation) {
            (Kind::Consumer, Some(b"receive")) => Some(MessageRole::Receive),
            (Kind::Consumer, _) => Some(MessageRole::Process),
            (Kind::Producer, _) => Some(MessageRole::Send),
            (Kind::Client, Some(b"receive")) if is_messaging() => Some(MessageRole::Receive),
            (Kind::Client, Some(b"send" | b"publish" | b"create")) if is_messaging() => {
                Some(MessageRole::Send)
            }
            (Kind::Client, Some(b"settle")) if is_messaging() => Some(MessageRole::Settle),
            _ => None,
        }
    }

    /// Writes what [`Facts::peer`] depends on, so that equal bytes have equal peers. Nothing where there is none.
    #[inline]
    pub fn write_peer_key(&self, key: &mut Vec<u8>) {
        let mut put = |tag: u8, text: Option<&[u8]>| {
            if let Some(text) = text {
                key.push(tag);
                key.extend_from_slice(&(text.len() as u32).to_le_bytes());
                key.extend_from_slice(text);
            }
        };
        let system = self.text(Attribute::DbSystem);
        put(0, system);
        if let Some(name) = self.text(Attribute::PeerService) {
            return put(1, Some(name));
        }
        put(2, self.text(Attribute::DbNamespace));
        put(3, self.destination());
        put(4, self.text(Attribute::ServerAddress));
        put(5, self.host());
        put(6, self.text(Attribute::RpcService));
        if let Some(port) = self.port() {
            put(7, Some(&port.to_le_bytes()));
        }
    }

    /// The far side of a CLIENT, PRODUCER or CONSUMER span; `None` where no attribute names it.
    ///
    /// Order: `service.peer.name`, the database (`system:namespace@host`), the destination, the address that was
    /// dialled, the RPC service. A database is its system, its namespace and its host together, because a namespace
    /// alone is shared by unrelated servers and a host alone by unrelated databases.
    pub fn peer(&self) -> Option<End> {
        let named = |id: &str, kind| Some(End::new(NodeId::from(cut(id)), kind));
        let text = |attribute| self.text(attribute).map(lossless);
        let system = self.text(Attribute::DbSystem);
        let data_kind = system.map(|s| {
            if CACHES.contains(&s) {
                NodeKind::Cache
            } else {
                NodeKind::Database
            }
        });
        if let Some(name) = text(Attribute::PeerService) {
            return named(name, data_kind.unwrap_or(NodeKind::External));
        }
        let (namespace, dialled) = (text(Attribute::DbNamespace), self.dialled());
        if data_kind.is_some() || namespace.is_some() {
            let host = text(Attribute::ServerAddress).or(dialled.as_deref());
            let id = database_id(system.map(lossless), namespace, host);
            return named(&id, data_kind.unwrap_or(NodeKind::Database));
        }
        if let Some(destination) = self.destination() {
            return named(lossless(destination), NodeKind::Destination);
        }
        if let Some(address) = dialled {
            let id = NodeId::from(address.as_str());
            return Some(End {
                address: Some(address.into()),
                ..End::new(id, NodeKind::External)
            });
        }
        named(text(Attribute::RpcService)?, NodeKind::External)
    }
}

/// A broker's name for messages, and of how many it is. What comes before the last `@` is an application's own, and may hold `+`.
fn counted_place(place: &[u8]) -> (&[u8], u32) {
    let counted = || {
        let at = place.iter().rposition(|byte| matches!(byte, b'+' | b'@'))?;
        let (name, number) = place.split_at_checked(at)?;
        let number = lossless(number.strip_prefix(b"+")?).parse().ok()?;
        Some((name, message_count(number)))
    };
    counted().unwrap_or((place, 1))
}

/// Text of a validated request, which is UTF-8; empty where it is not.
fn lossless(text: &[u8]) -> &str {
    str::from_utf8(text).unwrap_or_default()
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':')
        .is_some_and(|(head, port)| !head.contains(':') && port.bytes().all(|b| b.is_ascii_digit()))
}

/// `host[:port]` of an absolute URL.
fn host_of_url(url: &[u8]) -> Option<&[u8]> {
    let from = url.windows(3).position(|w| w == b"://")? + 3;
    let rest = url.get(from..)?;
    let authority = rest.split(|b| matches!(b, b'/' | b'?' | b'#')).next()?;
    let host = authority.rsplit(|b| *b == b'@').next()?;
    (!host.is_empty()).then_some(host)
}

fn database_id(system: Option<&str>, namespace: Option<&str>, host: Option<&str>) -> String {
    let mut id = system.unwrap_or_default().to_owned();
    if let Some(namespace) = namespace {
        if !id.is_empty() {
            id.push(':');
        }
        id.push_str(namespace);
    }
    if let Some(host) = host {
        id.push('@');
        id.push_str(host);
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts<'a>(attributes: &[(&'a str, &'a str)]) -> Facts<'a> {
        let mut facts = Facts::default();
        for (key, value) in attributes {
            if let Some((attribute, rank)) = Attribute::of(key.as_bytes()) {
                facts.note_text(attribute, rank, value.as_bytes());
            }
        }
        facts
    }

    fn peer_of(attributes: &[(&str, &str)]) -> Option<String> {
        let peer = facts(attributes).peer()?;
        Some(format!("{} {}", peer.kind, peer.id))
    }

    const PEERS: &[(&[(&str, &str)], &str)] = &[
        (&[("peer.service", "billing")], "external billing"),
        (
            &[("peer.service", "old"), ("service.peer.name", "new")],
            "external new",
        ),
        (
            &[("service.peer.name", "new"), ("peer.service", "old")],
            "external new",
        ),
        (
            &[
                ("db.system", "postgresql"),
                ("db.name", "shop"),
                ("net.peer.name", "db"),
            ],
            "database postgresql:shop@db",
        ),
        (
            &[("db.system.name", "postgresql"), ("db.namespace", "shop")],
            "database postgresql:shop",
        ),
        (
            &[("db.system", "redis"), ("server.address", "cache-1")],
            "cache redis@cache-1",
        ),
        (
            &[("db.system", "redis"), ("peer.service", "sessions")],
            "cache sessions",
        ),
        (
            &[("server.address", "api.example.com"), ("server.port", "443")],
            "external api.example.com",
        ),
        (
            &[("server.address", "10.0.0.7"), ("server.port", "8080")],
            "external 10.0.0.7:8080",
        ),
        (
            &[("http.url", "http://me:secret@pay.example.com:81/v1?card=1")],
            "external pay.example.com:81",
        ),
        (&[("rpc.service", "shop.Cart")], "external shop.Cart"),
        (
            &[
                ("messaging.system", "kafka"),
                ("messaging.destination.name", "orders"),
            ],
            "destination orders",
        ),
    ];

    #[test]
    fn a_peer_is_named_by_new_and_old_conventions() {
        for (attributes, expected) in PEERS {
            assert_eq!(peer_of(attributes).as_deref(), Some(*expected), "{attributes:?}");
        }
    }

    #[test]
    fn spans_with_one_key_have_one_peer_and_paths_are_in_no_key() {
        let key = |attributes: &[(&str, &str)]| {
            let mut key = Vec::new();
            facts(attributes).write_peer_key(&mut key);
            key
        };
        for (i, (a, peer)) in PEERS.iter().enumerate() {
            for (b, other) in PEERS.iter().skip(i + 1) {
                assert!(key(a) != key(b) || peer == other, "{a:?} and {b:?}");
            }
        }
        let of_path = |path: &str| key(&[("url.full", &format!("http://shop:81{path}"))]);
        assert_eq!(of_path("/a"), of_path("/b?c"));
    }

    #[test]
    fn nothing_named_is_no_peer() {
        assert_eq!(
            peer_of(&[("http.request.method", "GET"), ("peer.service", "")]),
            None
        );
    }

    #[test]
    fn receiving_is_the_consuming_side_although_the_span_is_a_client() {
        let polling = facts(&[
            ("messaging.system", "kafka"),
            ("messaging.operation.type", "receive"),
        ]);
        assert_eq!(polling.role(Kind::Client), Some(MessageRole::Receive));
        assert_eq!(Facts::default().role(Kind::Client), None);
    }
}
