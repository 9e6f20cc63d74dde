//! Random systems, and the spans that they would record.
//!
//! In: random call trees with the layers that agents and SDKs add. Out: their spans, and the truth to compare with.
//! Left out on purpose: brokers and aliases; they have examples.

use std::collections::BTreeMap;

use collector::names::{End, Node, Operation};
use collector::read::{Place, Received};
use collector::span::{Span, TraceId};
use map::NodeKind;
use otlp::{Kind, StatusCode};
use proptest::prelude::*;

const SERVICES: u8 = 5;

/// A request to a service, with what it asks of others.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    service: u8,
    /// The agent, the SDK, a framework: spans around the work, from outside in.
    layers: Layers,
    calls: Vec<Call>,
}

#[derive(Clone, Copy, Debug)]
struct Layers {
    agent: bool,
    internal: bool,
}

#[derive(Clone, Debug)]
struct Call {
    /// 0 where the calling service records no CLIENT span, 2 where SDK and agent do.
    clients: u8,
    to: Far,
}

#[derive(Clone, Debug)]
enum Far {
    Service(Request),
    Database(u8),
}

pub(crate) fn requests() -> impl Strategy<Value = Vec<Request>> {
    let layers = || (any::<bool>(), any::<bool>()).prop_map(|(agent, internal)| Layers { agent, internal });
    let leaf = (0..SERVICES, layers()).prop_map(|(service, layers)| Request {
        service,
        layers,
        calls: vec![],
    });
    let tree = leaf.prop_recursive(4, 24, 3, move |inner| {
        let database = (1..=2u8, 0..3u8).prop_map(|(clients, db)| Call {
            clients,
            to: Far::Database(db),
        });
        let service = (0..=2u8, inner).prop_map(|(clients, to)| Call {
            clients,
            to: Far::Service(to),
        });
        let calls = prop::collection::vec(prop_oneof![1 => database, 3 => service], 0..3);
        (0..SERVICES, layers(), calls).prop_map(|(service, layers, calls)| Request {
            service,
            layers,
            calls,
        })
    });
    prop::collection::vec(tree, 1..4)
}

/// What happened, and the spans that tell it.
#[derive(Default)]
pub(crate) struct Rendered {
    pub(crate) spans: Vec<Received>,
    pub(crate) edges: BTreeMap<(String, String), u64>,
    pub(crate) visits: Vec<Visited>,
    pub(crate) asked: Vec<Asked>,
    next: u64,
    trace: u8,
}

/// A visit by its serving spans, outermost first.
pub(crate) struct Visited {
    pub(crate) service: String,
    pub(crate) spans: Vec<(TraceId, u64)>,
}

/// A call to a service that CLIENT spans tell of, outermost first.
pub(crate) struct Asked {
    pub(crate) clients: Vec<(TraceId, u64)>,
    pub(crate) arrived: (TraceId, u64),
}

pub(crate) fn render(requests: &[Request]) -> Rendered {
    let mut out = Rendered::default();
    for request in requests {
        out.trace += 1;
        out.request(request, None, "user", None);
    }
    out
}

impl Rendered {
    /// Renders a request; returns its outermost span's id.
    fn request(&mut self, request: &Request, parent: Option<u64>, caller: &str, not: Option<u8>) -> u64 {
        // A service that calls itself within one visit is the same visit again: choose another.
        let number = if Some(request.service) == not {
            (request.service + 1) % SERVICES
        } else {
            request.service
        };
        let service = format!("s{number}");
        *self
            .edges
            .entry((caller.to_owned(), service.clone()))
            .or_default() += 1;
        let mut inner = self.span(&service, Kind::Server, parent, None);
        let outer = inner;
        let mut serving = vec![(self.id(), outer)];
        if request.layers.agent {
            inner = self.span(&service, Kind::Server, Some(inner), None);
            serving.push((self.id(), inner));
        }
        if request.layers.internal {
            inner = self.span(&service, Kind::Internal, Some(inner), None);
        }
        self.visits.push(Visited {
            service: service.clone(),
            spans: serving,
        });
        for call in &request.calls {
            self.call(call, inner, &service, number);
        }
        outer
    }

    fn call(&mut self, call: &Call, mut parent: u64, service: &str, number: u8) {
        let database = match call.to {
            Far::Database(db) => Some(format!("postgresql@db{db}")),
            Far::Service(_) => None,
        };
        let mut clients = Vec::new();
        for _ in 0..call.clients {
            parent = self.span(service, Kind::Client, Some(parent), database.as_deref());
            clients.push((self.id(), parent));
        }
        match (&call.to, database) {
            (Far::Service(callee), _) => {
                let arrived = self.request(callee, Some(parent), service, Some(number));
                if !clients.is_empty() {
                    self.asked.push(Asked {
                        clients,
                        arrived: (self.id(), arrived),
                    });
                }
            }
            (Far::Database(_), database) => {
                *self
                    .edges
                    .entry((service.to_owned(), database.unwrap_or_default()))
                    .or_default() += 1;
            }
        }
    }

    fn id(&self) -> TraceId {
        [self.trace; 16]
    }

    fn span(&mut self, service: &str, kind: Kind, parent: Option<u64>, database: Option<&str>) -> u64 {
        self.next += 1;
        let id = self.next;
        let peer = database.map(|id| Node::of(&End::new(id.into(), NodeKind::Database)));
        let span = Span {
            id,
            parent_id: parent.unwrap_or(0),
            operation: Operation::of(Some(Node::service(service.into())), "op"),
            start: 1_000_000_000 + id * 1_000,
            end: 2_000_000_000 - id * 1_000,
            peer,
            extra: None,
            weight: 1.0,
            kind,
            status: StatusCode::Unset,
            counted: false,
        };
        self.spans.push(Received {
            trace: self.id(),
            span,
            place: Place::default(),
        });
        id
    }
}
