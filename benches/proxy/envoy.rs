//! Envoy as a reverse proxy.
//!
//! In: addresses, and whether it traces. Out: its configuration.
//! Left out on purpose: everything that a reverse proxy with tracing can do without: no access log, no statistics sink, no
//! filter but the router. Speaks HTTP/1.1 and HTTP/2 on one address, and to the service what the client speaks, as the agent
//! does; its bounds on connections to the service are raised above what the benchmark opens.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::proxies::WORKERS;

/// How Envoy's OpenTelemetry tracer batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Batches {
    /// As it comes: a request to the collector for every 5 spans of a worker thread, or after 5 s.
    Default,
    /// As the agent sends them: 512 spans, or those of 200 ms.
    Large,
}

/// What the sink gets, and where it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tracing {
    pub(crate) sink: SocketAddr,
    pub(crate) batches: Batches,
}

/// The command that serves `config`.
pub(crate) fn command(envoy: &Path, config: &Path) -> Command {
    let mut command = Command::new(envoy);
    command
        .arg("--config-path")
        .arg(config)
        .args(["--concurrency", &WORKERS.to_string()])
        .args(["--disable-hot-restart", "--log-level", "warning"]);
    command
}

/// Its configuration, in JSON as it reads it.
pub(crate) fn config(listen: SocketAddr, upstream: SocketAddr, tracing: Option<Tracing>) -> String {
    let of = |kind: &str| format!("type.googleapis.com/envoy.{kind}");
    let address = |address: SocketAddr| serde_json::json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } });
    let cluster = |name: &str, to: SocketAddr, protocol: serde_json::Value| {
        let mut options =
            serde_json::json!({ "@type": of("extensions.upstreams.http.v3.HttpProtocolOptions") });
        if let (Some(options), Some(protocol)) = (options.as_object_mut(), protocol.as_object()) {
            options.extend(protocol.clone());
        }
        serde_json::json!({
            "name": name,
            "type": "STATIC",
            "circuit_breakers": { "thresholds": [
                { "max_connections": 10_000, "max_pending_requests": 10_000, "max_requests": 10_000 },
            ] },
            "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options },
            "load_assignment": { "cluster_name": name, "endpoints": [
                { "lb_endpoints": [{ "endpoint": { "address": address(to) } }] },
            ] },
        })
    };
    let as_the_client = serde_json::json!({
        "use_downstream_protocol_config": { "http_protocol_options": {}, "http2_protocol_options": {} },
    });
    let http2 = serde_json::json!({ "explicit_http_config": { "http2_protocol_options": {} } });
    let mut clusters = vec![cluster("upstream", upstream, as_the_client)];
    let mut manager = serde_json::json!({
        "@type": of("extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "inbound",
        "codec_type": "AUTO",
        "route_config": { "virtual_hosts": [{
            "name": "all",
            "domains": ["*"],
            "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "upstream" } }],
        }] },
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": { "@type": of("extensions.filters.http.router.v3.Router") },
        }],
    });
    let mut runtime = serde_json::json!({});
    if let Some(Tracing { sink, batches }) = tracing {
        clusters.push(cluster("sink", sink, http2));
        manager["tracing"] = serde_json::json!({ "random_sampling": { "value": 100 }, "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": of("config.trace.v3.OpenTelemetryConfig"),
                "grpc_service": { "envoy_grpc": { "cluster_name": "sink" }, "timeout": "10s" },
                "service_name": "shop",
            },
        } });
        if batches == Batches::Large {
            runtime = serde_json::json!({
                "tracing.opentelemetry.min_flush_spans": 512,
                "tracing.opentelemetry.flush_interval_ms": 200,
            });
        }
    }
    serde_json::json!({
        "node": { "id": "benchmark", "cluster": "benchmark" },
        "layered_runtime": { "layers": [{ "name": "static", "static_layer": runtime }] },
        "static_resources": {
            "listeners": [{
                "name": "inbound",
                "address": address(listen),
                "traffic_direction": "INBOUND",
                "filter_chains": [{ "filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": manager,
                }] }],
            }],
            "clusters": clusters,
        },
    })
    .to_string()
}
