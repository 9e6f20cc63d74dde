//! What the agent tells of each edge, which traces it samples, and when it takes a call for part of a request.
//!
//! In: the keys `edges`, `sampling` and `correlation` of the agent's section. Out: typed values with their defaults.
//! Left out on purpose: what is wrong with them, see `check.rs`.

use std::path::PathBuf;

use ::config::HumanDuration;
use otlp::access::AccessSettings;
use schemars::JsonSchema;
use serde::Deserialize;

use super::ServerTlsConfig;
use crate::listen::ListenAddr;

/// What the agent tells of each edge. Context is propagated in every mode.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EdgesConfig {
    /// What is told of a request that no rule names. Default `span`.
    pub mode: EdgeMode,
    /// What is told of requests to or from some peers; the first rule that matches wins. Default: none.
    pub rules: Vec<EdgeRule>,
    /// Whether every outbound request is counted for the collector, so that the map is exact whatever is sampled.
    /// Default `true`; without `agent.export.endpoint` nothing is counted.
    pub counts: bool,
    /// How often counts are sent. Default `10s`; at least `100ms`. While the collector is away they gather, and go out
    /// together when it is back.
    pub interval: HumanDuration,
    /// Most peers that are told apart, in counts and in the labels of `tracemap_agent_edge_context_total`; more share
    /// `__overflow__`. Default 512, at 1 to 5 KB each.
    pub max_peers: usize,
    /// The file that access log lines are appended to. Default: standard output.
    pub access_log: Option<PathBuf>,
}

/// What is told of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EdgeMode {
    /// A span.
    #[default]
    Span,
    /// No span; a line in the access log.
    Log,
    /// No span and no line: context passes on, and outbound requests are counted.
    Count,
}

/// The mode of some edges.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EdgeRule {
    /// Which requests: `outbound` or `inbound`.
    pub direction: EdgeDirection,
    /// The peers, with `*` for any text and `?` for one character. Outbound it is `host:port`, or `host` where the request
    /// names no port; a rule without a port is for all ports. Inbound it is the caller's node id, such as
    /// `production/shop/web`, or `unknown`.
    pub peer: String,
    /// What is told of them.
    pub mode: EdgeMode,
}

/// Which way a rule's requests go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EdgeDirection {
    /// To the service.
    Inbound,
    /// From the service.
    Outbound,
}

/// Which traces that begin here are recorded. Those that came with a decision keep it.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingConfig {
    /// How. Default `parent_based_always_on`.
    #[serde(rename = "type")]
    pub kind: SamplerKind,
    /// The share that `parent_based_traceidratio` records, 0 to 1, exact to 2^-56. Default 1. It is told to everyone after
    /// us as `ot=th:` in `tracestate`, so that rates can be scaled up again; edge counts need no scaling.
    pub ratio: f64,
    /// Tells SDKs on this node the same share, as Jaeger's remote sampling: they ask `/sampling?service=NAME`. Default: off;
    /// usually `127.0.0.1:5778`.
    pub listen: Option<ListenAddr>,
    /// The same over gRPC, as `jaeger.api_v2.SamplingManager`. Default: off; usually `127.0.0.1:5779`.
    pub grpc: Option<ListenAddr>,
    /// TLS for those who ask, on both. Default: none.
    pub tls: Option<ServerTlsConfig>,
    /// Who may ask, and how much. Default: whoever reaches the addresses.
    pub access: AccessSettings,
    /// Takes the share of each workload's `service`, and those of its operations, from a Jaeger collector, in place of `type`
    /// and `ratio`, which serve until it has answered. An operation is named as the first span of its trace, such as
    /// `GET /orders/{id}`. Default: off.
    pub remote: Option<RemoteSamplingConfig>,
}

/// Whom the agent asks for sampling strategies.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoteSamplingConfig {
    /// Address of the collector's remote sampling over HTTP: `http://host:5778`.
    pub endpoint: String,
    /// How often it is asked. Default `1m`; at least `100ms`.
    #[serde(default = "each_minute")]
    pub interval: HumanDuration,
}

fn each_minute() -> HumanDuration {
    HumanDuration::from_secs(60)
}

/// How traces that begin here are sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SamplerKind {
    /// All of them.
    #[default]
    ParentBasedAlwaysOn,
    /// A share of them, chosen by the trace id.
    #[serde(rename = "parent_based_traceidratio")]
    ParentBasedTraceIdRatio,
}

/// When an outbound call counts as part of an inbound request, and how much one parent may gather.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CorrelationConfig {
    /// Whether a call that carries nothing belongs to a request that has been the only one in flight since it began, where
    /// the called host was never called with none in flight. Default `true`. Calls that carry context show how often
    /// this is right: it is each span's `correlation.confidence`.
    pub exclusive: bool,
    /// Below which share of right answers that is switched off, 0 to 1. Default 0.99.
    pub floor: f64,
    /// How many answers must be known before they can switch it off. Default 100.
    pub min_audited: u32,
    /// Most calls below one parent; the next begins a trace of its own, with a link to that parent. Default 5000. It keeps
    /// a context that an application reuses for ever from growing one endless trace.
    pub max_children: u32,
    /// How long a parent may get children, from its first. Default `1h`.
    pub max_age: HumanDuration,
    /// Most calls that one workload adds to one trace. Default 20000.
    pub max_spans: u32,
}

impl Default for EdgesConfig {
    fn default() -> Self {
        Self {
            mode: EdgeMode::Span,
            rules: Vec::new(),
            counts: true,
            interval: HumanDuration::from_secs(10),
            max_peers: 512,
            access_log: None,
        }
    }
}

impl Default for SamplingConfig {
    fn default() -> Self {
        Self {
            kind: SamplerKind::ParentBasedAlwaysOn,
            ratio: 1.0,
            listen: None,
            grpc: None,
            tls: None,
            access: AccessSettings::default(),
            remote: None,
        }
    }
}

impl Default for CorrelationConfig {
    fn default() -> Self {
        Self {
            exclusive: true,
            floor: 0.99,
            min_audited: 100,
            max_children: 5_000,
            max_age: HumanDuration::from_secs(3_600),
            max_spans: 20_000,
        }
    }
}
