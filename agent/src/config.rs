//! The section `agent` of the configuration: the operator's manual of the agent.
//!
//! In: the keys of one YAML section. Out: [`AgentConfig`], typed, with every default in place.
//! Left out on purpose: what only several keys together can have wrong, see `check.rs`; and what the environment adds,
//! see [`crate::detect`].

mod detect;
mod edges;
mod export;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;

use ::config::{ByteSize, HumanDuration};
use otlp::access::AccessSettings;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::listen::ListenAddr;

pub use detect::{Detector, Detectors};
pub use edges::{
    CorrelationConfig, EdgeDirection, EdgeMode, EdgeRule, EdgesConfig, RemoteSamplingConfig, SamplerKind,
    SamplingConfig,
};

mod limits;
mod plan;
mod pods;
mod propagation;
mod queues;
mod tls;
mod transparent;

pub use self::export::{ExportProtocol, Secret};
pub use self::limits::LimitsConfig;
pub use self::plan::PlanConfig;
pub use self::pods::{KubernetesConfig, PodsConfig};
pub use self::propagation::{ContextFormat, PropagationConfig, SignedRequests, Trust};
pub use self::queues::{QueueConfig, QueueContext, QueueProtocol};
pub use self::tls::{ClientAuthConfig, ClientTlsConfig, ServerTlsConfig};
pub use self::transparent::{
    Deliver, ListenMode, Network, NetworkError, NodeConfig, NodeListenConfig, TransparentConfig,
};

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
    /// Brokers of message queues that the service's clients reach through the agent. Default: none.
    pub queues: Vec<QueueConfig>,
    /// Several workloads with one agent; then none of the keys above. Each needs its `service`: the agent's own
    /// environment says nothing about them.
    pub workloads: Vec<WorkloadConfig>,
    /// What is said of the host in the spans of a single workload: any of `host` (`host.name`), `os` (`os.type`, `host.arch`)
    /// and `container` (`container.id`). Default `[host, os]`; `[]` says nothing. `resource` and the environment win over it.
    pub detect: Detectors,
    /// OTLP for SDKs on this node, relayed to the collector. Default: off.
    pub otlp: OtlpConfig,
    /// Threads that requests run on; each connection stays on one. Default 1, which is good for some 20,000 requests a
    /// second. Changes need a restart.
    pub threads: Option<NonZeroU16>,
    /// Where the agent speaks of itself.
    pub admin: AdminConfig,
    /// Where spans go.
    pub export: ExportConfig,
    /// Which context formats are read and written.
    pub propagation: PropagationConfig,
    /// What is told of each edge.
    pub edges: EdgesConfig,
    /// Which traces that begin here are recorded.
    pub sampling: SamplingConfig,
    /// When a call is part of a request.
    pub correlation: CorrelationConfig,
    /// Listeners that all of `workloads` share, which are told apart by address. Default: off.
    pub node: NodeConfig,
    /// How redirected connections are treated.
    pub transparent: TransparentConfig,
    /// What one caller may take of the proxies.
    pub limits: LimitsConfig,
    /// A plan of modes and shares that is kept elsewhere. Default: none.
    pub plan: Option<PlanConfig>,
    /// What the API server of Kubernetes says of the pods beside the agent. Default: it is not asked.
    pub kubernetes: KubernetesConfig,
    /// How long the agent serves on once it was asked to stop and `/readyz` says so. Meanwhile answers of HTTP/1.1 end their
    /// connection, so that few are left to be closed. Default `0s`. Kubernetes takes an address out of its services a moment
    /// after it asks a pod to end: `5s` outlasts that.
    pub drain_delay: HumanDuration,
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
    /// Brokers of message queues that the service's clients reach through the agent. Default: none.
    pub queues: Vec<QueueConfig>,
    /// Addresses or networks of its pods, by which `agent.node` knows its connections: `[10.244.1.7, "fd00:1::7"]`. Of
    /// several that contain an address the narrowest counts. Default: none.
    pub addresses: Vec<Network>,
}

/// A reverse proxy in front of the service.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InboundConfig {
    /// Where callers connect. Default `127.0.0.1:15006`; port 0 takes a free one. Other hosts reach it only if an
    /// address of this host, or `0.0.0.0`, is written here.
    #[serde(default = "default_inbound")]
    pub listen: ListenAddr,
    /// How requests come here. Default `proxy`: callers connect to `listen` in place of the service.
    #[serde(default)]
    pub mode: ListenMode,
    /// In the modes `redirect` and `tproxy`: where a connection goes on to. Default `destination`.
    #[serde(default)]
    pub deliver: Deliver,
    /// In mode `tproxy`: whether the service sees its caller's address in place of the agent's. Default `false`. It needs
    /// the rules that `deploy/redirect` makes for it, by which answers find back; without them no connection is made.
    #[serde(default)]
    pub preserve_source: bool,
    /// TLS for callers. Default: none, HTTP/1.1 and HTTP/2 without TLS.
    #[serde(default)]
    pub tls: Option<ServerTlsConfig>,
    /// Where the service listens: `http://host:port`, or `https://host:port` where it wants TLS. HTTP/1.1 goes there as
    /// HTTP/1.1, HTTP/2 (gRPC) as HTTP/2. Needed in mode `proxy`; in others a connection says itself where it was going.
    #[serde(default)]
    pub upstream: String,
    /// How a service at `https://` is verified, and what it is shown. Default: by the authorities of this host.
    #[serde(default)]
    pub upstream_tls: Option<ClientTlsConfig>,
    /// Whether callers are believed. Default `continue`.
    #[serde(default)]
    pub trust: Trust,
}

/// The forward proxy for the service's own calls.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutboundConfig {
    /// Where the service connects. Default `127.0.0.1:15001`. In mode `proxy` it forwards to anywhere, so an address that other
    /// hosts reach needs `allow`. Redirected connections over IPv6 need `[::1]` or `[::]`.
    pub listen: ListenAddr,
    /// How calls come here. Default `proxy`: the service is told of it by `HTTP_PROXY`.
    pub mode: ListenMode,
    /// Who may call through the proxy, as addresses or networks: `10.244.1.0/24`; others are answered 403. Default `[]`:
    /// whoever reaches `listen`, which must be loopback then. Redirected connections do not ask for it.
    pub allow: Vec<Network>,
    /// Where calls through the proxy may not go, as addresses or networks, whatever name leads there; they are answered 403.
    /// Default: with `allow`, the agent's own host and link-local addresses (`0.0.0.0/8`, `127.0.0.0/8`, `169.254.0.0/16`, `::`,
    /// `::1`, `fe80::/10`): there are services that trust whoever is on the host, and the metadata of clouds with credentials
    /// in it. Without `allow` none: the callers are on the host themselves. Redirected connections do not ask for it.
    pub deny: Option<Vec<Network>>,
    /// Hosts outside: calls to them lose baggage and the `tracestate` member `tm`, which names our services. Names,
    /// addresses, `*.example.com` for all below, or `*`; after `!` those that are inside. The last that matches decides:
    /// `["*", "!*.svc.cluster.local"]`. Default `[]`: nobody is outside.
    pub untrusted: Vec<String>,
    /// How targets at `https://` are verified that the service asks the proxy for without `CONNECT`, so that the agent
    /// encrypts the call and not the service. Default: by the authorities of this host.
    pub tls: Option<ClientTlsConfig>,
}

impl OutboundConfig {
    /// Where calls may not go.
    pub(crate) fn denied(&self) -> Vec<Network> {
        match &self.deny {
            Some(deny) => deny.clone(),
            None if self.allow.is_empty() => Vec::new(),
            None => own_host(),
        }
    }
}

/// What is denied to callers on other hosts unless something else is written.
pub(crate) fn own_host() -> Vec<Network> {
    OWN_HOST
        .into_iter()
        .filter_map(|network| network.parse().ok())
        .collect()
}

/// The agent's own host, and what is next to it without a router: RFC 1122, section 3.2.1.3; RFC 3927; RFC 4291.
const OWN_HOST: [&str; 6] = [
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "::/128",
    "::1/128",
    "fe80::/10",
];

/// OTLP for SDKs: an address turns a transport on.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpConfig {
    /// OTLP/gRPC. Default: off; usually `127.0.0.1:4317`, beside a collector on the same host `127.0.0.1:14317`.
    pub grpc: Option<ListenAddr>,
    /// OTLP/HTTP. Default: off; usually `127.0.0.1:4318`, beside a collector on the same host `127.0.0.1:14318`.
    pub http: Option<ListenAddr>,
    /// Which `k8s.…` resource attributes are added where an SDK did not set them. Default `auto`.
    pub kubernetes: Kubernetes,
    /// What is said of the agent's host where an SDK did not say it: any of `host`, `os` and `container`, as in
    /// `agent.detect`. Default `[]`.
    pub detect: Vec<Detector>,
    /// TLS for SDKs, on both. Default: none.
    pub tls: Option<ServerTlsConfig>,
    /// Which SDKs may send, and how much. Default: whoever reaches the addresses.
    pub access: AccessSettings,
    /// Names under which browsers may send to OTLP/HTTP while it listens at loopback without tokens, beside addresses and
    /// `localhost`: a web page elsewhere may lead its own name here. Default `[]`. Programs may use any name.
    pub hosts: Vec<String>,
}

/// What the agent's place on Kubernetes says about the SDKs that send to it.
///
/// Read from `K8S_POD_NAME`, `K8S_NAMESPACE_NAME`, `K8S_NODE_NAME`, `K8S_POD_IP` and `K8S_POD_UID`, or the same as
/// `POD_NAME`, `POD_NAMESPACE`, `NODE_NAME`, `POD_IP` and `POD_UID`, which the downward API fills; and from
/// `k8s.…` attributes in `OTEL_RESOURCE_ATTRIBUTES`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kubernetes {
    /// As `pod` where the keys of a single workload are used, else as `node`.
    #[default]
    Auto,
    /// They are in the agent's own pod: its name, namespace, node, address and uid.
    Pod,
    /// They are on the agent's node, in other pods: the node's name alone.
    Node,
    /// Nothing is added.
    Off,
}

/// Where the agent speaks of itself.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// Serves `/metrics`, `/healthz` and `/readyz`. Default `127.0.0.1:7071`.
    pub listen: ListenAddr,
    /// TLS for readers. Default: none.
    pub tls: Option<ServerTlsConfig>,
    /// Who may read `/metrics`. Default: whoever reaches the address.
    pub access: AccessSettings,
}

/// Where spans go, and how many may wait.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExportConfig {
    /// OTLP address of the collector: `http://host:port`, or `https://host:port` with TLS. Default: none; then requests pass,
    /// and their spans are dropped and counted as `no_endpoint`.
    pub endpoint: Option<String>,
    /// How endpoints at `https://` are verified, and what they are shown. Default: by the authorities of this host.
    pub tls: Option<ClientTlsConfig>,
    /// How all endpoints are spoken to. Default `grpc`.
    pub protocol: ExportProtocol,
    /// Sent with every request to all endpoints, such as `x-scope-orgid: shop`. Default: none. Values are never logged.
    pub headers: BTreeMap<String, Secret>,
    /// The same with values from files, such as `authorization: /run/secrets/token`. White space around a value does not count;
    /// a file that changes is read again within ten seconds. Default: none.
    pub headers_from: BTreeMap<String, PathBuf>,
    /// OTLP address that takes the metrics of SDKs, such as an OpenTelemetry Collector's: `http://host:port`. Default:
    /// none; then SDKs are told that metrics are not served. Our collector takes no metrics but the agent's own. They
    /// wait in memory, at most `buffer.memory` of them, and are passed on as they are.
    pub metrics_endpoint: Option<String>,
    /// OTLP address that takes the logs of SDKs, likewise. Default: none; then SDKs are told that logs are not served.
    pub logs_endpoint: Option<String>,
    /// Spans that wait for the collector.
    pub buffer: BufferConfig,
    /// Keys of attributes whose values leave as `[redacted]`, of the agent's own spans and those of SDKs, wherever they
    /// stand in a request; `*` stands for any characters: `["http.request.header.*", "user.email"]`. Default: none.
    /// Of what the map is made of (`service.*`, `server.*`, `db.*`, `messaging.*`) nothing should be named.
    pub redact: Vec<String>,
    /// Longest attribute value in bytes; longer strings are cut. Default: no limit.
    pub max_attribute_length: Option<u32>,
    /// Most attributes of a span, of an event and of a link; later ones are dropped and counted in
    /// `dropped_attributes_count`. Default: no limit, SDKs have 128.
    pub max_attributes: Option<u32>,
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
    /// A directory in which spans wait, the agent's alone. What was acknowledged to an SDK, and the agent's own spans once
    /// encoded, then outlive the agent and wait for the collector's return. Default: none; spans wait in memory.
    pub path: Option<PathBuf>,
    /// Bytes of encoded spans that may wait, on disk where there is a `path` (at least `16KiB`), else in memory. Default
    /// `64MiB`. At the bound SDKs are told to try again; the agent's own new spans wait in memory as far as `memory`
    /// goes, then they are dropped and counted.
    pub max_size: ByteSize,
    /// What happens on disk at `max_size`. Default `back_pressure`.
    pub overflow: Overflow,
    /// What an acknowledged span survives. Default `write`.
    pub durability: Durability,
    /// With a `path`: bytes that may wait in memory to be written, and again for what a full or failing disk does not
    /// take. Default `8MiB`. Spans of SDKs that wait there are acknowledged once the collector has them, and where it does
    /// not take them within seconds SDKs are told to try again.
    pub memory: ByteSize,
}

/// What happens when the budget on disk is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// SDKs are told to try again. Nothing that was acknowledged is lost.
    #[default]
    BackPressure,
    /// The oldest sixteenth goes, counted as `drop_oldest`.
    DropOldest,
}

/// What a span in the buffer survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The end of the process, however it ends. Loss of power may take the last seconds.
    #[default]
    Write,
    /// Loss of power, at the price of a sync of the disk for each group of requests.
    Sync,
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

fn loopback(port: u16) -> ListenAddr {
    ListenAddr(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

fn default_inbound() -> ListenAddr {
    loopback(15006)
}

impl Default for InboundConfig {
    fn default() -> Self {
        Self {
            listen: default_inbound(),
            mode: ListenMode::Proxy,
            deliver: Deliver::Destination,
            preserve_source: false,
            tls: None,
            upstream: String::new(),
            upstream_tls: None,
            trust: Trust::default(),
        }
    }
}

impl Default for OutboundConfig {
    fn default() -> Self {
        Self {
            listen: loopback(15001),
            mode: ListenMode::Proxy,
            allow: Vec::new(),
            deny: None,
            untrusted: Vec::new(),
            tls: None,
        }
    }
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            listen: loopback(7071),
            tls: None,
            access: AccessSettings::default(),
        }
    }
}

impl Default for ExportConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            tls: None,
            protocol: ExportProtocol::Grpc,
            headers: BTreeMap::new(),
            headers_from: BTreeMap::new(),
            metrics_endpoint: None,
            logs_endpoint: None,
            buffer: BufferConfig::default(),
            redact: Vec::new(),
            max_attribute_length: None,
            max_attributes: None,
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
            path: None,
            max_size: ByteSize::mib(64),
            overflow: Overflow::BackPressure,
            durability: Durability::Write,
            memory: ByteSize::mib(8),
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
            queues: self.queues.clone(),
            addresses: Vec::new(),
        };
        (flat != WorkloadConfig::default()).then_some(flat)
    }
}
