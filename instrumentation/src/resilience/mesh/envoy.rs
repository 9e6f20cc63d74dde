//! Clusters and routes for Envoy.
//!
//! In: services with the numbers of their callers. Out: `clusters.yaml` and `routes.yaml` for each caller,
//! below `resilience/envoy`, as answers of discovery, which Envoy reads from files too. Where they lie and
//! how they are reached is somebody else's to say: merge them by name. Source: Envoy 1.40,
//! `envoy.config.cluster.v3.Cluster` and `envoy.config.route.v3.RouteConfiguration`.
//! Left out on purpose: endpoints, listeners and TLS.

use std::collections::BTreeMap;
use std::time::Duration;

use config::HumanDuration;
use serde_json::{Map, Value, json};

use super::super::file::{Breaker, EdgeNumbers, Retries, Timeout};
use super::super::retries::BACKOFF_MS;
use super::{Callee, documents, request_timeout};

const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const ROUTES: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
/// At most this much of a service is put out of use at a time, in per cent.
const MAX_EJECTION: u32 = 50;
/// What a request is repeated for.
const RETRY_ON: &str = "connect-failure,refused-stream,unavailable,reset,5xx";

pub(super) fn files(callees: &[Callee<'_>]) -> BTreeMap<String, String> {
    let mut callers: BTreeMap<&str, BTreeMap<&str, &EdgeNumbers>> = BTreeMap::new();
    for callee in callees {
        for caller in &callee.callers {
            if let Some(place) = &caller.place {
                let calls = callers.entry(&place.path).or_default();
                calls.entry(&callee.place.host).or_insert(caller.numbers);
            }
        }
    }
    let mut files = BTreeMap::new();
    for (path, calls) in callers {
        let clusters: Vec<Value> = calls
            .iter()
            .filter_map(|(host, numbers)| cluster(host, numbers))
            .collect();
        let hosts: Vec<Value> = calls
            .iter()
            .filter_map(|(host, numbers)| virtual_host(host, numbers))
            .collect();
        let mut add = |file: &str, resources: Vec<Value>| {
            let answer = documents(&[json!({ "resources": resources })]);
            files.insert(format!("resilience/envoy/{path}/{file}.yaml"), answer);
        };
        if !clusters.is_empty() {
            add("clusters", clusters);
        }
        if !hosts.is_empty() {
            let routes = json!({ "@type": ROUTES, "name": "resilience", "virtual_hosts": hosts });
            add("routes", vec![routes]);
        }
    }
    files
}

fn cluster(host: &str, numbers: &EdgeNumbers) -> Option<Value> {
    let mut cluster = json!({ "@type": CLUSTER, "name": host });
    let limits = thresholds(numbers);
    if limits.is_empty() && numbers.breaker.is_none() {
        return None;
    }
    if !limits.is_empty() {
        cluster["circuit_breakers"] = json!({ "thresholds": [limits] });
    }
    if let Some(breaker) = numbers.breaker {
        cluster["outlier_detection"] = outliers(breaker);
    }
    Some(cluster)
}

fn thresholds(numbers: &EdgeNumbers) -> Map<String, Value> {
    let mut limits = Map::new();
    if let Some(pool) = numbers.pool {
        for key in ["max_connections", "max_pending_requests", "max_requests"] {
            limits.insert(key.to_owned(), pool.into());
        }
    }
    if let Some(Retries {
        budget_percent,
        min_concurrency,
        ..
    }) = numbers.retries
    {
        let budget = json!({
            "budget_percent": { "value": budget_percent },
            "min_retry_concurrency": min_concurrency,
        });
        limits.insert("retry_budget".to_owned(), budget);
    }
    limits
}

fn outliers(breaker: Breaker) -> Value {
    json!({
        "consecutive_5xx": breaker.consecutive_failures,
        "interval": seconds(breaker.window),
        "base_ejection_time": seconds(breaker.open_for),
        "max_ejection_percent": MAX_EJECTION,
        "failure_percentage_threshold": breaker.failure_percent,
        "failure_percentage_request_volume": breaker.min_requests,
        "enforcing_failure_percentage": 100,
    })
}

fn virtual_host(host: &str, numbers: &EdgeNumbers) -> Option<Value> {
    let timeout = numbers.timeout?;
    let mut route = json!({ "cluster": host, "timeout": seconds(request_timeout(numbers)?) });
    if let Some(retries) = numbers.retries {
        route["retry_policy"] = repeats(timeout, retries);
    }
    Some(json!({
        "name": host,
        "domains": [host, format!("{host}:*")],
        "routes": [{ "match": { "prefix": "/" }, "route": route }],
    }))
}

fn repeats(timeout: Timeout, retries: Retries) -> Value {
    let backoff = HumanDuration(Duration::from_secs_f64(BACKOFF_MS / 1e3));
    json!({
        "retry_on": RETRY_ON,
        "num_retries": retries.attempts,
        "per_try_timeout": seconds(timeout.attempt),
        "retry_back_off": { "base_interval": seconds(backoff) },
    })
}

/// As protobuf's JSON writes durations: `0.12s`.
fn seconds(duration: HumanDuration) -> String {
    format!("{}s", duration.get().as_secs_f64())
}
