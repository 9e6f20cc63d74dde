//! Who is on the far side of a span that reports only one side.
//!
//! In: attributes by the OpenTelemetry semantic conventions, new names and old. Out: the virtual node's id and kind,
//! and what the span does with a message.
//! Left out on purpose: whole URLs, paths and statements. They make a node per request.

use std::sync::Arc;

use map::{NodeId, NodeKind};
use otlp::Kind;
use otlp::view::Value;

use crate::span::{Interner, Message, MessageRole, Peer};

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
    /// `server.port`, before it `net.peer.port`.
    ServerPort,
    /// `network.peer.address`, before it `net.sock.peer.addr` and `net.peer.ip`.
    PeerAddress,
    /// `client.address`.
    ClientAddress,
    /// `rpc.service`.
    RpcService,
    /// `url.full`, before it `http.url`. Only its host is read.
    Url,
}

const ATTRIBUTES: usize = 13;

/// (name, what it says, how new the name is): of two names for one fact the newer counts.
const NAMES: &[(&str, Attribute, u8)] = &[
    ("service.peer.name", Attribute::PeerService, 2),
    ("peer.service", Attribute::PeerService, 1),
    ("db.system.name", Attribute::DbSystem, 2),
    ("db.system", Attribute::DbSystem, 1),
    ("db.namespace", Attribute::DbNamespace, 2),
    ("db.name", Attribute::DbNamespace, 1),
    (
        "messaging.destination.template",
        Attribute::DestinationTemplate,
        2,
    ),
    ("messaging.destination.name", Attribute::Destination, 2),
    ("messaging.destination", Attribute::Destination, 1),
    ("messaging.system", Attribute::MessagingSystem, 2),
    ("messaging.operation.type", Attribute::Operation, 2),
    ("messaging.operation", Attribute::Operation, 1),
    ("server.address", Attribute::ServerAddress, 3),
    ("net.peer.name", Attribute::ServerAddress, 2),
    ("http.host", Attribute::ServerAddress, 1),
    ("server.port", Attribute::ServerPort, 3),
    ("net.peer.port", Attribute::ServerPort, 2),
    ("network.peer.address", Attribute::PeerAddress, 3),
    ("net.sock.peer.addr", Attribute::PeerAddress, 2),
    ("net.peer.ip", Attribute::PeerAddress, 1),
    ("client.address", Attribute::ClientAddress, 2),
    ("rpc.service", Attribute::RpcService, 2),
    ("url.full", Attribute::Url, 2),
    ("http.url", Attribute::Url, 1),
];

/// Names of caches among the values of `db.system.name`.
const CACHES: &[&str] = &["redis", "memcached", "valkey", "hazelcast", "geode"];

impl Attribute {
    /// What an attribute of this name says; `None` where nobody asks.
    pub fn of(key: &str) -> Option<(Self, u8)> {
        // Every name read here starts with one of these letters; most attributes of a span do not pass.
        if !matches!(
            key.as_bytes().first(),
            Some(b's' | b'p' | b'd' | b'm' | b'n' | b'h' | b'c' | b'r' | b'u')
        ) {
            return None;
        }
        NAMES
            .iter()
            .find(|(name, ..)| *name == key)
            .map(|&(_, attribute, rank)| (attribute, rank))
    }
}

/// What a span's attributes say, each fact by its newest name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    texts: [Option<(&'a str, u8)>; ATTRIBUTES],
    port: Option<(i64, u8)>,
}

impl<'a> Facts<'a> {
    /// Takes note of an attribute. Of the same fact said twice the newer name counts; empty text says nothing.
    pub fn note(&mut self, (attribute, rank): (Attribute, u8), value: Value<'a>) {
        match value {
            Value::Int(port)
                if attribute == Attribute::ServerPort && self.port.is_none_or(|(_, held)| held < rank) =>
            {
                self.port = Some((port, rank));
            }
            Value::Str(text) if attribute == Attribute::ServerPort => {
                if let Ok(port) = text.parse() {
                    self.note((attribute, rank), Value::Int(port));
                }
            }
            Value::Str(text) if !text.is_empty() => {
                let slot = &mut self.texts[attribute as usize];
                if slot.is_none_or(|(_, held)| held < rank) {
                    *slot = Some((text, rank));
                }
            }
            _ => {}
        }
    }

    fn text(&self, attribute: Attribute) -> Option<&'a str> {
        self.texts[attribute as usize].map(|(text, _)| text)
    }

    /// `host:port` that was dialled; the port is left out where it is the scheme's own or unknown.
    pub fn dialled(&self) -> Option<String> {
        let host = self
            .text(Attribute::ServerAddress)
            .or_else(|| self.text(Attribute::Url).and_then(host_of_url))
            .or_else(|| self.text(Attribute::PeerAddress))?;
        match self.port {
            Some((port, _)) if !matches!(port, 80 | 443) && !has_port(host) => Some(format!("{host}:{port}")),
            _ => Some(host.to_owned()),
        }
    }

    /// The address of whoever called.
    pub fn caller(&self) -> Option<&'a str> {
        self.text(Attribute::PeerAddress)
            .or_else(|| self.text(Attribute::ClientAddress))
    }
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':')
        .is_some_and(|(head, port)| !head.contains(':') && port.bytes().all(|b| b.is_ascii_digit()))
}

/// `host[:port]` of an absolute URL.
fn host_of_url(url: &str) -> Option<&str> {
    let rest = url.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    (!host.is_empty()).then_some(host)
}

/// The far side of a CLIENT, PRODUCER or CONSUMER span; `None` where no attribute names it.
///
/// Order: `service.peer.name`, the database (`system:namespace@host`), the destination, the address that was
/// dialled, the RPC service. A database is its system, its namespace and its host together, because a namespace
/// alone is shared by unrelated servers and a host alone by unrelated databases.
pub fn resolve(facts: &Facts<'_>, names: &mut Interner) -> Option<Peer> {
    let address = facts.dialled().map(|address| names.get(&address));
    let peer = |id: &str, kind: NodeKind, address: Option<Arc<str>>, names: &mut Interner| {
        Some(Peer {
            id: NodeId::new(names.get(id)),
            kind,
            address,
        })
    };
    let system = facts.text(Attribute::DbSystem);
    let data_kind = system.map(|s| {
        if CACHES.contains(&s) {
            NodeKind::Cache
        } else {
            NodeKind::Database
        }
    });
    if let Some(name) = facts.text(Attribute::PeerService) {
        return peer(name, data_kind.unwrap_or(NodeKind::External), None, names);
    }
    let namespace = facts.text(Attribute::DbNamespace);
    if data_kind.is_some() || namespace.is_some() {
        let id = database_id(
            system,
            namespace,
            facts.text(Attribute::ServerAddress).or(address.as_deref()),
        );
        return peer(&id, data_kind.unwrap_or(NodeKind::Database), None, names);
    }
    if let Some(destination) = destination(facts) {
        return peer(destination, NodeKind::Destination, None, names);
    }
    if let Some(address) = address {
        return Some(Peer {
            id: NodeId::new(Arc::clone(&address)),
            kind: NodeKind::External,
            address: Some(address),
        });
    }
    peer(
        facts.text(Attribute::RpcService)?,
        NodeKind::External,
        None,
        names,
    )
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

fn destination<'a>(facts: &Facts<'a>) -> Option<&'a str> {
    facts
        .text(Attribute::DestinationTemplate)
        .or_else(|| facts.text(Attribute::Destination))
}

/// What a span does with a message. `receive` is a CLIENT span by the conventions, yet on the consuming side.
///
/// Source: OpenTelemetry semantic conventions, "Messaging spans": send is PRODUCER, or CLIENT where the context was
/// not injected; receive and settle are CLIENT; process is CONSUMER.
pub fn message(kind: Kind, facts: &Facts<'_>, names: &mut Interner) -> Option<Message> {
    let operation = facts.text(Attribute::Operation);
    let is_messaging = facts.text(Attribute::MessagingSystem).is_some() || destination(facts).is_some();
    let role = match (kind, operation) {
        (Kind::Consumer, Some("receive")) => MessageRole::Receive,
        (Kind::Consumer, _) => MessageRole::Process,
        (Kind::Producer, _) => MessageRole::Send,
        (Kind::Client, Some("receive")) if is_messaging => MessageRole::Receive,
        (Kind::Client, Some("send" | "publish" | "create")) if is_messaging => MessageRole::Send,
        (Kind::Client, Some("settle")) if is_messaging => MessageRole::Settle,
        _ => return None,
    };
    // A broker that is named but not its queue stands for the queue: one node too few beats a lost edge.
    let named = destination(facts).or_else(|| facts.text(Attribute::PeerService));
    Some(Message {
        role,
        destination: named.map(|name| names.get(name)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer_of(attributes: &[(&str, &str)]) -> Option<String> {
        let mut facts = Facts::default();
        for (key, value) in attributes {
            if let Some(attribute) = Attribute::of(key) {
                facts.note(attribute, Value::Str(value));
            }
        }
        let peer = resolve(&facts, &mut Interner::default())?;
        Some(format!("{} {}", peer.kind, peer.id))
    }

    #[test]
    fn a_peer_is_named_by_new_and_old_conventions() {
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[("peer.service", "billing")], "external billing"),
            (
                &[("peer.service", "old"), ("service.peer.name", "new")],
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
        for (attributes, expected) in cases {
            assert_eq!(peer_of(attributes).as_deref(), Some(*expected), "{attributes:?}");
        }
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
        let mut facts = Facts::default();
        for (key, value) in [
            ("messaging.system", "kafka"),
            ("messaging.operation.type", "receive"),
        ] {
            facts.note(Attribute::of(key).unwrap(), Value::Str(value));
        }
        let found = message(Kind::Client, &facts, &mut Interner::default()).unwrap();
        assert_eq!(found.role, MessageRole::Receive);
        assert!(message(Kind::Client, &Facts::default(), &mut Interner::default()).is_none());
    }
}
