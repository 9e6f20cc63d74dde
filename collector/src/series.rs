//! The counters and histograms that Prometheus scrapes. They never fall.
//!
//! In: what closed traces say, by slots that are found once. Out: values by series; their text is `exposition`'s.
//! Left out on purpose: corrections. A late half changes the map, never a counter that was scraped (DESIGN §3.6).

mod exemplar;
mod slab;
mod store;
mod timing;
mod version;

use std::sync::Arc;

use baseline::Verdict;
use map::catalogue::{CALL_BUCKETS, LATENCY_BUCKETS};
use map::{EdgeKey, Histogram, NodeId};
use otlp::{Kind, StatusCode};
use serde::{Deserialize, Serialize};

use crate::shard::SpanDelta;
use crate::span::TraceId;

pub use exemplar::{Exemplar, Exemplars};
pub use slab::Slab;
pub use store::{SeriesLimits, SeriesStore};
pub use timing::{Observed, Timing, ZERO_THRESHOLD};
pub use version::{VersionSeries, Versions};

/// One edge of Tempo's service graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GraphSeries {
    /// Who calls whom.
    pub key: EdgeKey,
    /// Requests.
    pub requests: f64,
    /// Failed requests.
    pub failed: f64,
    /// Seconds by the caller's span.
    pub client: Timing,
    /// Seconds by the callee's span.
    pub server: Timing,
    /// Seconds in the queue; `None` for edges without a broker.
    pub queue: Option<Box<Timing>>,
    /// Traces to look at: of `client` first, of `server` second.
    pub exemplars: Exemplars,
}

impl GraphSeries {
    fn new(key: EdgeKey) -> Self {
        Self {
            key,
            requests: 0.0,
            failed: 0.0,
            client: Timing::default(),
            server: Timing::default(),
            queue: None,
            exemplars: Exemplars::default(),
        }
    }

    /// Counts requests.
    #[inline]
    pub fn count(&mut self, weight: f64, failed: bool) {
        self.requests += weight;
        self.failed += if failed { weight } else { 0.0 };
    }
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EntitySeries {
    /// The label `id`.
    pub id: Arc<str>,
    /// Node or edge.
    pub kind: EntityKind,
    /// The caller; empty for a node.
    pub client: Arc<str>,
    /// The callee; empty for a node.
    pub server: Arc<str>,
    /// Requests.
    pub requests: f64,
    /// Failed requests.
    pub failed: f64,
    /// Own seconds.
    pub own: Timing,
    /// Total seconds.
    pub total: Timing,
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
    /// Of the judged ones those that failed by themselves.
    #[serde(default)]
    pub own_failed: u64,
    /// Expected to.
    #[serde(default)]
    pub own_failed_expected: f64,
    /// Of the judged ones those that failed.
    #[serde(default)]
    pub judged_failed: u64,
    /// Expected to.
    #[serde(default)]
    pub judged_failed_expected: f64,
    /// Seconds on the critical path of a trace.
    pub critical: f64,
    /// Of them those of slow requests beyond the usual own time of their operation.
    #[serde(default)]
    pub critical_excess: f64,
    /// Requests that repeat one that failed.
    pub retries: f64,
    /// Calls per visit of the caller.
    pub fan_out: Calls,
    /// Seconds in the queue; `None` for nodes and for edges without a broker.
    pub queue: Option<Box<Timing>>,
    /// Traces to look at: of `total` first, of `own` second.
    pub exemplars: Exemplars,
    /// The same requests by the version that answered; empty for edges.
    #[serde(default, skip_serializing_if = "Versions::is_empty")]
    pub versions: Versions,
}

/// A request as an entity counts it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its trace.
    pub trace: &'a TraceId,
    /// When it is counted, nanoseconds.
    pub now: u64,
    /// How many it stands for.
    pub weight: f64,
    /// True where it failed.
    pub failed: bool,
    /// True where it failed by itself.
    pub own_failed: bool,
    /// Its own time, where it is known.
    pub own: Option<Observed>,
    /// Its duration, where it is known.
    pub total: Option<Observed>,
    /// Its seconds on the critical path.
    pub critical: f64,
    /// True where somebody else counts it, so that only its times are new.
    pub counted_elsewhere: bool,
}

impl EntitySeries {
    fn new(id: Arc<str>, kind: EntityKind, client: Arc<str>, server: Arc<str>) -> Self {
        Self {
            id,
            kind,
            client,
            server,
            requests: 0.0,
            failed: 0.0,
            own: Timing::default(),
            total: Timing::default(),
            judged: 0,
            own_slow: 0,
            own_expected: 0.0,
            total_slow: 0,
            total_expected: 0.0,
            own_failed: 0,
            own_failed_expected: 0.0,
            judged_failed: 0,
            judged_failed_expected: 0.0,
            critical: 0.0,
            critical_excess: 0.0,
            retries: 0.0,
            fan_out: Calls::default(),
            queue: None,
            exemplars: Exemplars::default(),
            versions: Versions::default(),
        }
    }

    /// Counts a request.
    #[inline]
    pub fn request(&mut self, request: &Request<'_>, verdict: Option<Verdict>) {
        if !request.counted_elsewhere {
            self.requests += request.weight;
            self.failed += if request.failed { request.weight } else { 0.0 };
        }
        self.critical += request.critical * request.weight;
        if let Some(own) = request.own {
            self.own.observe(own, request.weight);
        }
        if let Some(total) = request.total {
            self.total.observe(total, request.weight);
        }
        let seconds = |seen: Option<Observed>| seen.map(Observed::seconds);
        self.exemplars.note(
            request.trace,
            request.now,
            seconds(request.total),
            seconds(request.own),
        );
        if let Some(verdict) = verdict {
            self.judged += 1;
            self.own_failed += u64::from(request.own_failed);
            self.own_failed_expected += verdict.own_failed_expected;
            self.judged_failed += u64::from(request.failed);
            self.judged_failed_expected += verdict.failed_expected;
            // What was late while nobody waited kept nobody waiting.
            self.critical_excess += verdict.own_excess.min(request.critical) * request.weight;
            self.own_slow += u64::from(verdict.own_slow);
            self.own_expected += verdict.own_expected;
            self.total_slow += u64::from(verdict.total_slow);
            self.total_expected += verdict.total_expected;
        }
    }
}

/// Calls per visit, in the buckets of [`CALL_BUCKETS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// Visits per bucket, the last one above all bounds. Not cumulative.
    buckets: [u64; CALL_BUCKETS.len() + 1],
    sum: u64,
}

impl Calls {
    /// Counts a visit that called so often.
    #[inline]
    pub fn observe(&mut self, calls: u32) {
        let at = CALL_BUCKETS
            .iter()
            .filter(|bound| **bound < f64::from(calls))
            .count();
        if let Some(bucket) = self.buckets.get_mut(at) {
            *bucket += 1;
            self.sum += u64::from(calls);
        }
    }

    /// Visits at or below each bound, then all of them.
    pub fn cumulative(&self) -> [f64; CALL_BUCKETS.len() + 1] {
        let mut sum = 0;
        self.buckets.map(|bucket| {
            sum += bucket;
            sum as f64
        })
    }

    /// Calls of all visits.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// True where no visit was counted.
    pub fn is_empty(&self) -> bool {
        self.buckets.iter().all(|bucket| *bucket == 0)
    }
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

/// One series of span metrics, added up from what shards report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpanSeries {
    /// Spans.
    pub calls: f64,
    /// Per bucket of [`LATENCY_BUCKETS`], the last one above all bounds. Not cumulative.
    pub classic: [f64; LATENCY_BUCKETS.len() + 1],
    /// Sum in seconds.
    pub sum: f64,
    /// The same in exponential buckets, weights rounded.
    pub exponential: Histogram,
    /// Traces to look at, in both places.
    pub exemplars: Exemplars,
}

impl SpanSeries {
    /// Spans at or below each bound, then all of them.
    pub fn cumulative(&self) -> [f64; LATENCY_BUCKETS.len() + 1] {
        let mut sum = 0.0;
        self.classic.map(|bucket| {
            sum += bucket;
            sum
        })
    }

    /// Adds what a shard counted since its last report.
    pub fn add(&mut self, delta: &SpanDelta) {
        self.calls += delta.calls;
        for (bucket, more) in self.classic.iter_mut().zip(delta.latency.classic) {
            *bucket += more;
        }
        self.sum += delta.latency.sum;
        self.exponential.merge(&delta.latency.exponential);
        if let Some((trace, seconds, at)) = &delta.exemplar {
            self.exemplars.note(trace, *at, Some(*seconds), Some(*seconds));
        }
    }
}

/// The label `span_kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KindLabel(u8);

/// The label `status_code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
