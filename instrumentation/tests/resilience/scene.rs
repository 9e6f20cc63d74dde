//! Maps with statistics, in one line for each edge.
//!
//! In: who calls whom, how often, how slowly. Out: a [`Map`] that saw that over an hour.
//! Left out on purpose: how spans come to a map.

use instrumentation::resilience::{EdgeNumbers, Resilience};
use map::file::map_from_yaml;
use map::{ConnectionType, Edge, EdgeKey, Map, Node, NodeId, NodeKind, Seen};

/// One hour.
const SPAN: u64 = 3_600_000_000_000;

/// What an edge showed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calls {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    /// Milliseconds of all but one of a hundred requests, and of that one.
    pub(crate) usual: f64,
    pub(crate) slow: f64,
    pub(crate) per_visit: u64,
}

pub(crate) fn calls(requests: u64, usual: f64, slow: f64) -> Calls {
    Calls {
        requests,
        failed: requests / 1000,
        usual,
        slow,
        per_visit: 1,
    }
}

/// Adds an edge that was seen for an hour.
pub(crate) fn add(map: &mut Map, client: &str, server: &str, connection: ConnectionType, calls: Calls) {
    let key = EdgeKey::new(client.into(), server.into(), connection);
    for id in [&key.client, &key.server] {
        map.nodes.entry(id.clone()).or_insert_with(|| Node {
            kind: kind(id, &key),
            ..Node::default()
        });
    }
    let mut edge = Edge {
        seen: Seen {
            first: 1,
            last: 1 + SPAN,
        },
        ..Edge::default()
    };
    edge.stats.requests = calls.requests as f64;
    edge.stats.failed = calls.failed as f64;
    let seconds = if client == NodeId::USER {
        &mut edge.stats.server
    } else {
        &mut edge.stats.client
    };
    for i in 0..calls.requests {
        seconds.observe(if i % 100 == 99 { calls.slow } else { calls.usual } / 1e3);
    }
    for _ in 0..calls.requests {
        edge.stats.fan_out.observe(calls.per_visit as f64);
    }
    map.edges.insert(key, edge);
}

fn kind(id: &NodeId, edge: &EdgeKey) -> NodeKind {
    match (id.as_str(), edge.connection_type) {
        (NodeId::USER, _) => NodeKind::User,
        (_, ConnectionType::Database) if *id == edge.server => NodeKind::Database,
        (id, ConnectionType::MessagingSystem) if id.starts_with("topic") => NodeKind::Destination,
        _ => NodeKind::Service,
    }
}

/// What a service showed of itself: its own time and its whole time, in milliseconds.
pub(crate) fn visits(map: &mut Map, id: &str, requests: u64, own: f64, total: f64) {
    let stats = &mut map.nodes.get_mut(id).expect("the node is there").stats;
    stats.requests = requests as f64;
    for _ in 0..requests {
        stats.own.observe(own / 1e3);
        stats.total.observe(total / 1e3);
    }
}

/// Adds what people state, as the section `services`.
pub(crate) fn state(map: &mut Map, services: &str) {
    let text = format!("version: 1\nservices:\n{services}");
    let stated = map_from_yaml(&text).expect("the section reads").services;
    map.services.extend(stated);
}

/// A shop with an entry point that promises, a chain, calls side by side, a database, a queue, a cycle and
/// ids that are no hosts.
pub(crate) fn shop() -> Map {
    use ConnectionType::{Database, Direct, MessagingSystem};
    let mut map = Map::default();
    let mut add = |client, server, connection, calls| add(&mut map, client, server, connection, calls);
    add(
        "user",
        "shop/web",
        ConnectionType::VirtualNode,
        calls(36_000, 60.0, 300.0),
    );
    add("shop/web", "shop/cart", Direct, calls(36_000, 20.0, 100.0));
    add("shop/web", "shop/search", Direct, calls(18_000, 30.0, 90.0));
    add("shop/web", "Legacy Billing", Direct, calls(3_000, 12.0, 40.0));
    add("shop/cart", "pay/payment", Direct, calls(9_000, 10.0, 60.0));
    add("shop/search", "pay/payment", Direct, calls(4_000, 10.0, 200.0));
    add(
        "shop/cart",
        "postgres:carts",
        Database,
        Calls {
            per_visit: 12,
            ..calls(90_000, 2.0, 25.0)
        },
    );
    add(
        "shop/cart",
        "topic:orders",
        MessagingSystem,
        calls(9_000, 1.0, 8.0),
    );
    add(
        "topic:orders",
        "shop/mailer",
        MessagingSystem,
        calls(9_000, 5.0, 50.0),
    );
    add("pay/payment", "pay/bank", Direct, calls(13_000, 8.0, 50.0));
    add("pay/bank", "pay/payment", Direct, calls(400, 4.0, 9.0));
    add("shop/web", "shop/rare", Direct, calls(40, 4.0, 9.0));
    add("shop/web", "ops/audit", Direct, calls(9_000, 8.0, 20.0));
    add("ops/cron", "ops/audit", Direct, calls(2_000, 90.0, 800.0));
    visits(&mut map, "shop/web", 36_000, 5.0, 60.0);
    visits(&mut map, "shop/cart", 36_000, 4.0, 20.0);
    visits(&mut map, "shop/search", 18_000, 10.0, 30.0);
    state(
        &mut map,
        "  shop/web: {objectives: [{latency: 1s, target: 0.99, window: 30d}]}\n  shop/search: {resilience: \
         {idempotent: true}}\n  \
         shop/cart: {resilience: {idempotent: true}}\n  postgres:carts: {resilience: {idempotent: \
         true}}\n  ops/audit: {resilience: {idempotent: true}}\n",
    );
    map
}

/// The numbers of an edge.
pub(crate) fn edge<'a>(numbers: &'a Resilience, client: &str, server: &str) -> &'a EdgeNumbers {
    let is_it = |e: &&EdgeNumbers| e.edge.client.as_str() == client && e.edge.server.as_str() == server;
    numbers.edges.iter().find(is_it).expect("the edge is there")
}

/// The total timeout of an edge, in milliseconds.
pub(crate) fn total(numbers: &Resilience, client: &str, server: &str) -> Option<u128> {
    let timeout = edge(numbers, client, server).timeout?;
    Some(timeout.total.get().as_millis())
}
