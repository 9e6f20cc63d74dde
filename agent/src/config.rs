//! The section `agent` of the configuration: the operator's manual of the agent.
//!
//! In: the keys of one YAML section. Out: [`AgentConfig`], typed, with every default in place.
//! Left out on purpose: what only several keys together can have wrong, see `check.rs`; and what the environment adds,
//! see [`crate::detect`].

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use ::config::{ByteSize, HumanDuration};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::listen::ListenAddr;

/// One agent: the workloads whose requests pass through it, and where their spans go.
///
/// The keys from `service` to `outbound` describe one workload, which is all that a sidecar needs. An agent for a node
/// lists several under `workloads` instead.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AgentConfig {
    /// Name of the service, `service.name` of its spans. Default: `OTEL_SERVICE_NAME`, else `service.name` in
    /// `OTEL_RESOURCE_ATTRIBUTES`, else on Kubernetes the pod's name without the parts its controller added.
    pub service: Option<String>,
    /// `service.namespace`. Default: from `OTEL_RESOURCE_ATTRIBUTES`, else none.
    pub namespace: Option<String>,
    /// `deployment.environment.name`, such as `production`. Default: from `OTEL_RESOURCE_ATTRIBUTES`, else none.
    pub environment: Option<String>,
    /// More resource attributes of every span, such as `service.version: "1.4"`. Default: `OTEL_RESOURCE_ATTRIBUTES`.
    pub resource: BTreeMap<String, String>,
    /// Route templates such as `/orders/{id}`: the first that matches a request's path names its span. A segment in
    /// braces stands for one segment, `{*rest}` for all that remain. Default: none, so spans are named by method alone,
    /// since a path has no bound on its values.
    pub routes: Vec<String>,
    /// Where requests for the service arrive, and where it really listens. Default: none.
    pub inbound: Vec<InboundConfig>,
    /// The proxy that the service's own calls go through (`HTTP_PROXY`). Default: off.
    pub outbound: Option<OutboundConfig>,
    /// Several workloads with one agent; then none of the keys above. Each needs its `service`: the agent's own
    /// environment says nothing about them.
    pub workloads: Vec<WorkloadConfig>,
    /// OTLP for SDKs on this node, relayed to the collector. Default: off.
    pub otlp: OtlpConfig,
    /// Where the agent speaks of itself.
    pub admin: AdminConfig,
    /// Where spans go.
    pub export: ExportConfig,
    /// Which context formats are read and written.
    pub propagation: PropagationConfig,
}

/// One workload: a service with its listeners. Its requests never explain another workload's.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WorkloadConfig {
    /// Name of the service, `service.name` of its spans. Needed here.
    pub service: Option<String>,
    /// `service.namespace`. Default: none.
    pub namespace: Option<String>,
    /// `deployment.environment.name`. Default: none.
    pub environment: Option<String>,
    /// More resource attributes of every span. Default: none.
    pub resource: BTreeMap<String, String>,
    /// Route templates such as `/orders/{id}`, see `agent.routes`. Default: none.
    pub routes: Vec<String>,
    /// Where requests for the service arrive, and where it really listens. Default: none.
    pub inbound: Vec<InboundConfig>,
    /// The proxy that the service's own calls go through. Default: off.
    pub outbound: Option<OutboundConfig>,
}

/// A reverse proxy in front of the service.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InboundConfig {
    /// Where callers connect. Default `127.0.0.1:15006`; port 0 takes a free one. Other hosts reach it only if an
    /// address of this host, or `0.0.0.0`, is written here.
    #[serde(default = "default_inbound")]
    pub listen: ListenAddr,
    /// Where the service listens: `http://host:port`. HTTP/1.1 goes there as HTTP/1.1, HTTP/2 (gRPC) as HTTP/2 without TLS.
    pub upstream: String,
}

/// The forward proxy for the service's own calls.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutboundConfig {
    /// Where the service connects. Default `127.0.0.1:15001`. It forwards to anywhere for whoever reaches it: an address
    /// that other hosts reach makes an open proxy.
    pub listen: ListenAddr,
}

/// OTLP for SDKs: an address turns a transport on.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpConfig {
    /// OTLP/gRPC. Default: off; usually `127.0.0.1:4317`, beside a collector on the same host `127.0.0.1:14317`.
    pub grpc: Option<ListenAddr>,
    /// OTLP/HTTP. Default: off; usually `127.0.0.1:4318`, beside a collector on the same host `127.0.0.1:14318`.
    pub http: Option<ListenAddr>,
}

/// Where the agent speaks of itself.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// Serves `/metrics`, `/healthz` and `/readyz`. Default `127.0.0.1:7071`.
    pub listen: ListenAddr,
}

/// Where spans go, and how many may wait.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExportConfig {
    /// OTLP/gRPC address of the collector: `http://host:port`. Default: none; then requests pass, and their spans are
    /// dropped and counted as `no_endpoint`.
    pub endpoint: Option<String>,
    /// Spans that wait for the collector.
    pub buffer: BufferConfig,
    /// How batches are compressed. Default `none`: on one node a copy is cheaper than `gzip` or `zstd`.
    pub compression: Compression,
    /// How long spans are gathered before they are sent. Default `200ms`; `0s` sends at once, in smaller batches.
    pub delay: HumanDuration,
    /// How long one batch may take before it is sent again. Default `10s`.
    pub timeout: HumanDuration,
    /// How long the agent waits, when it stops, for requests in flight and then for the collector. Default `5s` each.
    pub drain: HumanDuration,
}

/// The bound on what waits for the collector.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BufferConfig {
    /// Bytes of encoded spans that may wait in memory. Default `64MiB`. At the bound the agent's own new spans are dropped
    /// and counted, and SDKs are told to try again.
    pub max_size: ByteSize,
}

/// How batches are compressed on their way to the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// Which context formats are read and written, and which headers carry the correlation id.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PropagationConfig {
    /// Formats that are read, the first valid one wins. Default `[tracecontext, b3, b3multi]`.
    pub extract: Vec<ContextFormat>,
    /// Formats that are written. Default `[tracecontext]`.
    pub inject: Vec<ContextFormat>,
    /// Whether the format that a request came in is written as well. Default `true`.
    pub mirror: bool,
    /// Headers that may hold the correlation id: all are read, the first one is written.
    /// Default `[x-correlation-id, x-request-id]`; an empty list neither reads nor writes one.
    pub correlation_headers: Vec<String>,
}

/// A format of trace context, named as in `OTEL_PROPAGATORS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ContextFormat {
    /// W3C `traceparent` and `tracestate`.
    TraceContext,
    /// Zipkin's single `b3` header.
    B3,
    /// Zipkin's `x-b3-…` headers.
    B3Multi,
}

fn loopback(port: u16) -> ListenAddr {
    ListenAddr(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

fn default_inbound() -> ListenAddr {
    loopback(15006)
}

impl Default for OutboundConfig {
    fn default() -> Self {
        Self {
            listen: loopback(15001),
        }
    }
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            listen: loopback(7071),
        }
    }
}

impl Default for ExportConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            buffer: BufferConfig::default(),
            compression: Compression::None,
            delay: HumanDuration::from_millis(200),
            timeout: HumanDuration::from_secs(10),
            drain: HumanDuration::from_secs(5),
        }
    }
}

impl Default for BufferConfig {
    fn default() -> Self {
        Self {
            max_size: ByteSize::mib(64),
        }
    }
}

impl Default for PropagationConfig {
    fn default() -> Self {
        Self {
            extract: vec![
                ContextFormat::TraceContext,
                ContextFormat::B3,
                ContextFormat::B3Multi,
            ],
            inject: vec![ContextFormat::TraceContext],
            mirror: true,
            correlation_headers: vec![
                propagation::keys::CORRELATION_ID.to_owned(),
                propagation::keys::REQUEST_ID.to_owned(),
            ],
        }
    }
}

impl PropagationConfig {
    pub(crate) fn for_propagator(&self) -> propagation::PropagatorConfig {
        propagation::PropagatorConfig {
            extract: self.extract.iter().copied().map(ContextFormat::format).collect(),
            inject: self.inject.iter().copied().map(ContextFormat::format).collect(),
            mirror: self.mirror,
            correlation_keys: self.correlation_headers.clone(),
        }
    }
}

impl ContextFormat {
    fn format(self) -> propagation::Format {
        match self {
            Self::TraceContext => propagation::Format::TraceContext,
            Self::B3 => propagation::Format::B3,
            Self::B3Multi => propagation::Format::B3Multi,
        }
    }
}

impl AgentConfig {
    /// The flat keys as a workload; `None` where none of them is set.
    pub fn flat_workload(&self) -> Option<WorkloadConfig> {
        let flat = WorkloadConfig {
            service: self.service.clone(),
            namespace: self.namespace.clone(),
            environment: self.environment.clone(),
            resource: self.resource.clone(),
            routes: self.routes.clone(),
            inbound: self.inbound.clone(),
            outbound: self.outbound.clone(),
        };
        (flat != WorkloadConfig::default()).then_some(flat)
    }
}
