//! The trace store and the map, as the query APIs ask for them.
//!
//! In: questions of `query`. Out: traces, names, edges.
//! Left out on purpose: formats and languages, which are `query`'s.

use std::sync::Arc;

use bytes::Bytes;
use map::{Map, NodeKind};
use otlp::Kind;
use query::{BackendError, Dependency};
use store::{Condition, Field, Found, Literal, Op, Scope, Search, TagValue, TimeRange, TraceStore};

use crate::clock::Clock;
use crate::pipeline::Routes;

/// Answers from the store and the ledger.
pub(crate) struct Backend {
    pub(crate) store: Option<Arc<TraceStore>>,
    pub(crate) routes: Routes,
    pub(crate) clock: Clock,
}

impl Backend {
    fn store(&self) -> Result<&TraceStore, BackendError> {
        self.store
            .as_deref()
            .ok_or_else(|| "no traces are stored: set `collector.data_dir`, and keep `collector.store.enabled` and `collector.journal` on".into())
    }

    fn map(&self) -> Option<Map> {
        self.routes.ask_and_wait(|ledger| ledger.map())
    }
}

impl query::Backend for Backend {
    fn trace(&self, id: [u8; 16]) -> Result<Option<Bytes>, BackendError> {
        Ok(self.store()?.trace(id)?)
    }

    fn search(&self, search: &Search) -> Result<Found, BackendError> {
        Ok(self.store()?.search(search)?)
    }

    fn services(&self) -> Result<Vec<String>, BackendError> {
        Ok(self.store()?.services())
    }

    fn operations(&self, service: &str) -> Result<Vec<(String, Kind)>, BackendError> {
        Ok(self.store()?.operations(service))
    }

    fn tags(
        &self,
        scope: Option<Scope>,
        range: TimeRange,
    ) -> Result<Vec<(Scope, Vec<String>)>, BackendError> {
        Ok(self.store()?.tags(scope, range))
    }

    fn tag_values(&self, tag: &Field, range: TimeRange, limit: usize) -> Result<Vec<TagValue>, BackendError> {
        Ok(self.store()?.tag_values(tag, range, limit))
    }

    /// Edges seen in that time, producers and consumers joined; counts are those since the map began.
    fn dependencies(&self, end_unix_nano: u64, lookback_nanos: u64) -> Result<Vec<Dependency>, BackendError> {
        let map = self.map().ok_or("the collector is ending")?;
        let from = end_unix_nano.saturating_sub(lookback_nanos);
        let seen = |edge: &map::model::FlatEdge| match map.edges.get(&edge.key) {
            Some(edge) => edge.seen.last >= from && edge.seen.first <= end_unix_nano,
            None => true,
        };
        let flat = map.flat_edges();
        let of_interest = flat.iter().filter(|edge| seen(edge));
        Ok(of_interest
            .map(|edge| Dependency {
                parent: edge.key.client.to_string(),
                child: edge.key.server.to_string(),
                call_count: edge.requests.round() as u64,
            })
            .collect())
    }

    fn node_condition(&self, id: &str) -> Option<Condition> {
        let map = self.map()?;
        let found = map
            .nodes
            .iter()
            .find(|(node, _)| node.as_str() == id || node.name() == id)?;
        found
            .1
            .kind
            .is_virtual()
            .then(|| calls(found.0.as_str(), found.1.kind))
    }

    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    fn now_unix_nano(&self) -> u64 {
        self.clock.now()
    }
}

/// What the spans that call a virtual node say: the reverse of how `peer` names it.
fn calls(id: &str, kind: NodeKind) -> Condition {
    let mut ways = vec![is("peer.service", id)];
    match kind {
        NodeKind::Destination => {
            ways.push(is("messaging.destination.name", id));
            ways.push(is("messaging.destination.template", id));
        }
        NodeKind::Database | NodeKind::Cache => {
            let (rest, host) = id
                .rsplit_once('@')
                .map_or((id, None), |(rest, host)| (rest, Some(host)));
            let (system, namespace) = rest
                .split_once(':')
                .map_or((rest, None), |(system, namespace)| (system, Some(namespace)));
            let host = host.map(addressed);
            let namespace = namespace.map(|namespace| is("db.namespace", namespace));
            let system = is("db.system.name", system);
            ways.push(Condition::And(
                [Some(system), namespace, host].into_iter().flatten().collect(),
            ));
            ways.push(is("db.namespace", id));
        }
        _ => {
            ways.push(addressed(id));
            ways.push(is("rpc.service", id));
        }
    }
    Condition::Or(ways)
}

/// `host[:port]` by the address that was dialled.
fn addressed(address: &str) -> Condition {
    let whole = [is("server.address", address), is("network.peer.address", address)];
    let parts = address
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse::<i64>().ok()?)));
    let Some((host, port)) = parts else {
        return Condition::Or(whole.into());
    };
    let with_port = Condition::And(vec![
        Condition::Or(vec![is("server.address", host), is("network.peer.address", host)]),
        Condition::Compare {
            field: span_attribute("server.port"),
            op: Op::Eq,
            value: Literal::Int(port),
        },
    ]);
    Condition::Or(whole.into_iter().chain([with_port]).collect())
}

fn is(key: &str, value: &str) -> Condition {
    Condition::Compare {
        field: span_attribute(key),
        op: Op::Eq,
        value: Literal::Str(value.to_owned()),
    }
}

fn span_attribute(key: &str) -> Field {
    Field::Attribute {
        scope: Some(Scope::Span),
        key: key.to_owned(),
    }
}
