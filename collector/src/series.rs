//! The counters and histograms that Prometheus scrapes. They never fall.
//!
//! In: spans, and what closed traces say. Out: values by series, and their text (`exposition`).
//! Left out on purpose: corrections. A late half changes the map, never a counter that was scraped (DESIGN §3.6).

use std::collections::BTreeMap;
use std::sync::Arc;

use map::catalogue::LATENCY_BUCKETS;
use map::{ConnectionType, EdgeKey, FlowKey, NodeId};
use otlp::{Kind, StatusCode};
use serde::{Deserialize, Serialize};

use crate::assemble::{Call, FlowSeen, Visit};
use crate::baseline::Verdict;
use crate::builder::Named;
use crate::span::Span;

/// All series that come from spans.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SeriesStore {
    /// Tempo's service graph.
    #[serde(with = "map::pairs")]
    pub graph: BTreeMap<EdgeKey, GraphSeries>,
    /// Tempo's span metrics.
    #[serde(with = "map::pairs")]
    pub spans: BTreeMap<SpanKey, SpanSeries>,
    /// Ours, by the label `id`.
    pub entities: BTreeMap<String, EntitySeries>,
}

/// One edge of the service graph.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct GraphSeries {
    /// Requests.
    pub requests: f64,
    /// Failed requests.
    pub failed: f64,
    /// Seconds by the callee's span.
    pub server: Classic,
    /// Seconds by the caller's span.
    pub client: Classic,
    /// Seconds in the queue; `None` for edges without a broker.
    pub queue: Option<Classic>,
}

/// Labels of a span metric.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SpanKey {
    /// `service`.
    pub service: NodeId,
    /// `span_name`.
    pub name: Arc<str>,
    /// `span_kind`, in Tempo's spelling.
    pub kind: KindLabel,
    /// `status_code`, in Tempo's spelling.
    pub status: StatusLabel,
}

/// The label `span_kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KindLabel(u8);

/// The label `status_code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StatusLabel(u8);

impl KindLabel {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self.0 {
            1 => "SPAN_KIND_INTERNAL",
            2 => "SPAN_KIND_SERVER",
            3 => "SPAN_KIND_CLIENT",
            4 => "SPAN_KIND_PRODUCER",
            5 => "SPAN_KIND_CONSUMER",
            _ => "SPAN_KIND_UNSPECIFIED",
        }
    }
}

impl From<Kind> for KindLabel {
    fn from(kind: Kind) -> Self {
        Self(kind.number() as u8)
    }
}

impl StatusLabel {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self.0 {
            1 => "STATUS_CODE_OK",
            2 => "STATUS_CODE_ERROR",
            _ => "STATUS_CODE_UNSET",
        }
    }
}

impl From<StatusCode> for StatusLabel {
    fn from(status: StatusCode) -> Self {
        Self(status.number() as u8)
    }
}

/// One series of span metrics.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SpanSeries {
    /// Spans.
    pub calls: f64,
    /// Seconds.
    pub latency: Classic,
}

/// Whether an entity is a node or an edge: the label `kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntityKind {
    /// A node's visits.
    Service,
    /// An edge's calls.
    Edge,
}

impl EntityKind {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Edge => "edge",
        }
    }
}

/// Everything of ours about one node or edge.
#[derive(Debug, Serialize, Deserialize)]
pub struct EntitySeries {
    /// Node or edge.
    pub kind: EntityKind,
    /// The caller; empty for a node.
    pub client: String,
    /// The callee; empty for a node.
    pub server: String,
    /// Requests.
    pub requests: f64,
    /// Failed requests.
    pub failed: f64,
    /// Own seconds.
    pub own: Classic,
    /// Total seconds.
    pub total: Classic,
    /// Judged requests.
    pub judged: u64,
    /// Of them slow in own time.
    pub own_slow: u64,
    /// Expected to be.
    pub own_expected: f64,
    /// Of them slow in total.
    pub total_slow: u64,
    /// Expected to be.
    pub total_expected: f64,
}

/// A histogram with the buckets of [`LATENCY_BUCKETS`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Classic {
    /// Observations per bucket, the last one above all bounds. Not cumulative.
    buckets: Vec<f64>,
    /// Sum in seconds.
    sum: f64,
}

impl Default for Classic {
    fn default() -> Self {
        Self {
            buckets: vec![0.0; LATENCY_BUCKETS.len() + 1],
            sum: 0.0,
        }
    }
}

impl Classic {
    /// Adds an observation that stands for `weight` requests.
    pub fn observe(&mut self, seconds: f64, weight: f64) {
        let at = LATENCY_BUCKETS.partition_point(|&bound| bound < seconds);
        if let Some(bucket) = self.buckets.get_mut(at) {
            *bucket += weight;
            self.sum += seconds * weight;
        }
    }

    /// Counts at or below each bound, then all of them.
    pub fn cumulative(&self) -> impl Iterator<Item = f64> + '_ {
        self.buckets.iter().scan(0.0, |sum, bucket| {
            *sum += bucket;
            Some(*sum)
        })
    }

    /// Sum in seconds.
    pub fn sum(&self) -> f64 {
        self.sum
    }
}

/// At most this many series of span metrics; further span names share [`OVERFLOW_NAME`] per service.
const MAX_SPAN_SERIES: usize = 20_000;
/// The `span_name` of what is beyond the budget.
const OVERFLOW_NAME: &str = "__overflow__";

impl SeriesStore {
    /// Counts a span of a service in the span metrics.
    pub fn span(&mut self, service: &NodeId, span: &Span) {
        let mut key = SpanKey {
            service: service.clone(),
            name: Arc::clone(&span.name),
            kind: span.kind.into(),
            status: span.status.into(),
        };
        if self.spans.len() >= MAX_SPAN_SERIES && !self.spans.contains_key(&key) {
            key.name = OVERFLOW_NAME.into();
        }
        let series = self.spans.entry(key).or_default();
        series.calls += span.weight;
        series.latency.observe(span.seconds(), span.weight);
    }

    /// The series of a node, at 0 from first sight.
    #[expect(
        clippy::missing_panics_doc,
        reason = "it never does; looked up by `&str` first, this runs once a span"
    )]
    pub fn node(&mut self, id: &str) -> &mut EntitySeries {
        if !self.entities.contains_key(id) {
            self.entities
                .insert(id.to_owned(), EntitySeries::new(EntityKind::Service, "", ""));
        }
        self.entities.get_mut(id).expect("inserted above")
    }

    /// The series of an edge, at 0 from first sight.
    pub fn edge(&mut self, named: &Named) -> &mut EntitySeries {
        let new = || {
            let (client, server) = (named.key.client.as_str(), named.key.server.as_str());
            EntitySeries::new(EntityKind::Edge, client, server)
        };
        self.entities.entry(named.id.clone()).or_insert_with(new)
    }

    /// Counts a visit of a node.
    pub fn visit(&mut self, node: &NodeId, visit: &Visit, verdict: Option<Verdict>) {
        let series = self.node(node.as_str());
        series.request(
            visit.weight,
            visit.failed,
            Some(visit.own),
            Some(visit.total),
            verdict,
        );
    }

    /// Counts a call, and as an edge of the service graph unless a broker's destination is one of its ends.
    pub fn call(&mut self, named: &Named, call: &Call, verdict: Option<Verdict>) {
        let total = call.client_seconds.or(call.server_seconds);
        self.edge(named)
            .request(call.weight, call.failed, call.own, total, verdict);
        if named.key.connection_type != ConnectionType::MessagingSystem {
            let series = self.graph.entry(named.key.clone()).or_default();
            series.request(call.weight, call.failed, call.client_seconds, call.server_seconds);
        }
    }

    /// Counts a followed message as an edge from producer to consumer.
    pub fn flow(&mut self, flow: &FlowKey, seen: &FlowSeen) {
        let key = EdgeKey::new(
            flow.producer.clone(),
            flow.consumer.clone(),
            ConnectionType::MessagingSystem,
        );
        let series = self.graph.entry(key).or_default();
        series.request(
            seen.weight,
            seen.failed,
            Some(seen.client_seconds),
            Some(seen.server_seconds),
        );
        series
            .queue
            .get_or_insert_default()
            .observe(seen.queue, seen.weight);
    }

    /// Ends the service-graph series of an edge that no longer exists; a scraper sees them go stale.
    pub fn end_edge(&mut self, key: &EdgeKey) {
        self.graph.remove(key);
    }

    /// Ends our own series of an edge whose id no longer exists.
    pub fn end_entity(&mut self, id: &str) {
        self.entities.remove(id);
    }
}

impl GraphSeries {
    fn request(&mut self, weight: f64, failed: bool, client: Option<f64>, server: Option<f64>) {
        self.requests += weight;
        self.failed += if failed { weight } else { 0.0 };
        client.inspect(|s| self.client.observe(*s, weight));
        server.inspect(|s| self.server.observe(*s, weight));
    }
}

impl EntitySeries {
    fn new(kind: EntityKind, client: &str, server: &str) -> Self {
        Self {
            kind,
            client: client.to_owned(),
            server: server.to_owned(),
            requests: 0.0,
            failed: 0.0,
            own: Classic::default(),
            total: Classic::default(),
            judged: 0,
            own_slow: 0,
            own_expected: 0.0,
            total_slow: 0,
            total_expected: 0.0,
        }
    }

    fn request(
        &mut self,
        weight: f64,
        failed: bool,
        own: Option<f64>,
        total: Option<f64>,
        verdict: Option<Verdict>,
    ) {
        self.requests += weight;
        self.failed += if failed { weight } else { 0.0 };
        own.inspect(|s| self.own.observe(*s, weight));
        total.inspect(|s| self.total.observe(*s, weight));
        if let Some(verdict) = verdict {
            self.judged += 1;
            self.own_slow += u64::from(verdict.own_slow);
            self.own_expected += verdict.own_expected;
            self.total_slow += u64::from(verdict.total_slow);
            self.total_expected += verdict.total_expected;
        }
    }
}
