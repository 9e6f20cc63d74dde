//! A trace store with something in it, and the query APIs over it.
//!
//! In: nothing. Out: 24 traces of a shop, in memory or in a segment of many blocks.
//! Left out on purpose: the map behind the APIs, of which they ask only names.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use otlp::Kind;
use prost::Message as _;
use query::{BackendError, Dependency};
use store::{
    Condition, Field, Filter, Found, Fragment, Literal, Op, Scope, Search, StoreSettings, TagValue,
    TimeRange, TraceStore,
};

/// How many traces there are.
pub const TRACES: u8 = 24;
/// When the first of them began, nanoseconds since 1970.
pub const START: u64 = 1_795_320_000_000_000_000;

/// The id of trace `n`.
pub fn id(n: u8) -> [u8; 16] {
    let mut id = [0xab; 16];
    id[15] = n;
    id
}

/// Blocks of two or three traces.
pub fn settings() -> StoreSettings {
    StoreSettings {
        block_bytes: 2 << 10,
        ..StoreSettings::default()
    }
}

/// A store in `dir` with all traces, none of them sealed.
///
/// # Panics
/// Where the disk does not work.
pub fn filled(dir: &Path) -> TraceStore {
    let store = TraceStore::open(dir, settings(), None).expect("the directory is ours");
    for n in 0..TRACES {
        let fragment = Fragment {
            trace_id: id(n),
            data: trace(n).into(),
        };
        store.put(fragment).expect("it is a trace");
    }
    store
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, Value::StringValue(value.to_owned()))
}

/// The bytes of trace `n`: a page that asks a shop that asks a database.
pub fn trace(n: u8) -> Vec<u8> {
    let start = START + u64::from(n) * 1_000_000_000;
    let services = ["web", "cart", "cart"];
    let kinds = [Kind::Server, Kind::Server, Kind::Client];
    let resource_spans = (0_u8..3)
        .map(|at| {
            let service = services[usize::from(at)];
            let span = Span {
                trace_id: id(n).to_vec(),
                span_id: vec![at + 1; 8],
                parent_span_id: if at == 0 { Vec::new() } else { vec![at; 8] },
                name: format!("GET /{service}/{}", n % 5),
                kind: kinds[usize::from(at)].number(),
                start_time_unix_nano: start + u64::from(at) * 1_000_000,
                end_time_unix_nano: start + u64::from(at) * 1_000_000 + u64::from(n) * 7_000_000,
                attributes: vec![
                    text("http.request.method", ["GET", "POST"][usize::from(n % 2)]),
                    pair(
                        "http.response.status_code",
                        Value::IntValue(200 + 100 * i64::from(n % 4)),
                    ),
                    pair("load", Value::DoubleValue(f64::from(n) / 8.0)),
                    pair("cached", Value::BoolValue(n % 3 == 0)),
                    text("db.system", "postgresql"),
                    text("note", &"x".repeat(usize::from(n) * 13)),
                ],
                events: vec![Event {
                    time_unix_nano: start,
                    name: "exception".to_owned(),
                    attributes: vec![text("exception.type", "Timeout")],
                    ..Event::default()
                }],
                links: vec![Link {
                    trace_id: id(n.wrapping_add(1)).to_vec(),
                    span_id: vec![1; 8],
                    attributes: vec![text("link.kind", "retry")],
                    ..Link::default()
                }],
                status: Some(Status {
                    message: if n % 6 == 0 {
                        "it failed".to_owned()
                    } else {
                        String::new()
                    },
                    code: i32::from(n % 6 == 0) * 2,
                }),
                ..Span::default()
            };
            ResourceSpans {
                resource: Some(Resource {
                    attributes: vec![
                        text("service.name", service),
                        text("k8s.pod.name", &format!("{service}-{n}")),
                    ],
                    ..Resource::default()
                }),
                scope_spans: vec![ScopeSpans {
                    scope: Some(InstrumentationScope {
                        name: "io.opentelemetry.http".to_owned(),
                        version: "2.9.0".to_owned(),
                        ..InstrumentationScope::default()
                    }),
                    spans: vec![span],
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }
        })
        .collect();
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// Searches that between them look at every column, every filter and every scope.
pub fn searches() -> Vec<Search> {
    let compare = |field, op, value| Filter::Spans(Condition::Compare { field, op, value });
    let attribute = |scope, key: &str| Field::Attribute {
        scope,
        key: key.to_owned(),
    };
    let filters = [
        Filter::All,
        compare(
            attribute(Some(Scope::Resource), "service.name"),
            Op::Eq,
            Literal::Str("cart".to_owned()),
        ),
        compare(
            attribute(None, "http.response.status_code"),
            Op::Ge,
            Literal::Int(400),
        ),
        compare(
            attribute(Some(Scope::Event), "exception.type"),
            Op::Ne,
            Literal::Str("a".to_owned()),
        ),
        compare(Field::TraceDuration, Op::Gt, Literal::Duration(50_000_000)),
        Filter::Spans(Condition::Not(Box::new(Condition::Exists(Field::StatusMessage)))),
    ];
    filters
        .into_iter()
        .map(|filter| Search {
            filter,
            limit: 100,
            ..Search::default()
        })
        .collect()
}

/// The store as the APIs ask it.
pub struct Kept(pub TraceStore);

impl query::Backend for Kept {
    fn trace(&self, id: [u8; 16]) -> Result<Option<Bytes>, BackendError> {
        Ok(self.0.trace(id)?)
    }

    fn search(&self, search: &Search) -> Result<Found, BackendError> {
        Ok(self.0.search(search)?)
    }

    fn services(&self) -> Result<Vec<String>, BackendError> {
        Ok(self.0.services())
    }

    fn operations(&self, service: &str) -> Result<Vec<(String, Kind)>, BackendError> {
        Ok(self.0.operations(service))
    }

    fn tags(
        &self,
        scope: Option<Scope>,
        range: TimeRange,
    ) -> Result<Vec<(Scope, Vec<String>)>, BackendError> {
        Ok(self.0.tags(scope, range))
    }

    fn tag_values(&self, tag: &Field, range: TimeRange, limit: usize) -> Result<Vec<TagValue>, BackendError> {
        Ok(self.0.tag_values(tag, range, limit))
    }

    fn dependencies(&self, end_unix_nano: u64, lookback_nanos: u64) -> Result<Vec<Dependency>, BackendError> {
        let edge = || Dependency {
            parent: "web".to_owned(),
            child: "cart".to_owned(),
            call_count: u64::MAX,
        };
        Ok((lookback_nanos > 0 && end_unix_nano > START)
            .then(edge)
            .into_iter()
            .collect())
    }

    fn node_condition(&self, id: &str) -> Option<Condition> {
        (id == "postgresql").then(|| Condition::Compare {
            field: Field::Attribute {
                scope: None,
                key: "db.system".to_owned(),
            },
            op: Op::Eq,
            value: Literal::Str(id.to_owned()),
        })
    }

    fn version(&self) -> &str {
        "0.0.0"
    }

    fn now_unix_nano(&self) -> u64 {
        START + 60_000_000_000
    }
}

/// The store behind the APIs, for as long as the process lives.
///
/// # Panics
/// Where the disk does not work.
pub fn backend() -> Arc<Kept> {
    let dir = tempfile::tempdir()
        .expect("a directory for temporary files")
        .keep();
    let store = filled(&dir);
    store.seal().expect("the disk has room");
    Arc::new(Kept(store))
}
