//! What the query APIs ask of the collector.
//!
//! In: ids, searches, names. Out: stored traces, what was found, the map's edges.
//! Left out on purpose: how a backend answers. Calls may block; they never run on a thread of the async runtime.

use std::error::Error;

use bytes::Bytes;
use otlp::Kind;
use store::{Condition, Field, Found, Scope, Search, TagValue, TimeRange};

/// Why a backend has no answer: any error, shown to the person who asked with all its causes.
pub type BackendError = Box<dyn Error + Send + Sync>;

/// The traces and the map behind the APIs.
///
/// Every method but [`Backend::version`] and [`Backend::now_unix_nano`] may block and is called from threads that may.
pub trait Backend: Send + Sync + 'static {
    /// All spans of a trace as OTLP `TracesData` in protobuf, grouped by resource; `None` where none is kept.
    fn trace(&self, id: [u8; 16]) -> Result<Option<Bytes>, BackendError>;

    /// The traces that match, newest first.
    fn search(&self, search: &Search) -> Result<Found, BackendError>;

    /// Every `service.name` that is kept, sorted, each once.
    fn services(&self) -> Result<Vec<String>, BackendError>;

    /// The names and kinds of a service's spans, sorted, each pair once.
    fn operations(&self, service: &str) -> Result<Vec<(String, Kind)>, BackendError>;

    /// Attribute keys by scope, sorted; of `scope` alone where it is given.
    fn tags(&self, scope: Option<Scope>, range: TimeRange)
    -> Result<Vec<(Scope, Vec<String>)>, BackendError>;

    /// Up to `limit` values that a field has, each once; none where there are as many as spans (ids, durations).
    fn tag_values(&self, tag: &Field, range: TimeRange, limit: usize) -> Result<Vec<TagValue>, BackendError>;

    /// Who called whom in the `lookback_nanos` before `end_unix_nano`, each pair once.
    fn dependencies(&self, end_unix_nano: u64, lookback_nanos: u64) -> Result<Vec<Dependency>, BackendError>;

    /// What a span is like that calls the node with this id, where the map knows a node of this id or name that
    /// sends no spans itself: a database, a broker, an external peer.
    fn node_condition(&self, id: &str) -> Option<Condition>;

    /// Our version, `1.2.3`.
    fn version(&self) -> &str;

    /// The time now, in nanoseconds since 1970, UTC. Searches without a time range end here.
    fn now_unix_nano(&self) -> u64;
}

/// An edge of the map, as Jaeger's dependency graph draws it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The caller's name.
    pub parent: String,
    /// The callee's name.
    pub child: String,
    /// Requests in the time that was asked for.
    pub call_count: u64,
}
