//! `DestinationRule` and `VirtualService` for Istio.
//!
//! In: services with the numbers of their callers. Out: a file for each service, below `resilience/istio`.
//! Istio repeats twice by default, on every layer: so each rule says how often, also where that is never.
//! Source: Istio 1.31, reference of `DestinationRule` and `VirtualService`.
//! Left out on purpose: gateways, subsets and TLS.

use std::collections::BTreeMap;

use config::HumanDuration;
use serde_json::{Map, Value, json};

use super::super::file::{EdgeNumbers, Retries, Timeout};
use super::super::settings::ResilienceSettings;
use super::{Callee, Place, documents, metadata, request_timeout};

/// At most this much of a service is put out of use at a time, in per cent.
const MAX_EJECTION: u32 = 50;
/// What a request is repeated for.
const RETRY_ON: &str = "connect-failure,refused-stream,unavailable,reset,5xx";

pub(super) fn files(callees: &[Callee<'_>], settings: &ResilienceSettings) -> BTreeMap<String, String> {
    let file = |callee: &Callee<'_>| {
        let objects: Vec<Value> = [destination_rule(callee), virtual_service(callee, settings)]
            .into_iter()
            .flatten()
            .collect();
        (
            format!("resilience/istio/{}.yaml", callee.place.path),
            documents(&objects),
        )
    };
    callees.iter().map(file).collect()
}

/// One rule holds for all callers, so each limit is the largest that one of them needs. It counts for each
/// instance of a caller, while the numbers are for all instances together: it never binds before the numbers
/// do.
fn destination_rule(callee: &Callee<'_>) -> Option<Value> {
    let mut policy = Map::new();
    if let Some(pool) = callee.numbers().filter_map(|numbers| numbers.pool).max() {
        let pool = json!({
            "tcp": { "maxConnections": pool },
            "http": { "http1MaxPendingRequests": pool, "http2MaxRequests": pool },
        });
        policy.insert("connectionPool".to_owned(), pool);
    }
    let breakers = callee.numbers().filter_map(|numbers| numbers.breaker);
    if let Some(breaker) = breakers.max_by_key(|breaker| breaker.consecutive_failures) {
        let detection = json!({
            "consecutive5xxErrors": breaker.consecutive_failures,
            "interval": "10s",
            "baseEjectionTime": breaker.open_for.to_string(),
            "maxEjectionPercent": MAX_EJECTION,
        });
        policy.insert("outlierDetection".to_owned(), detection);
    }
    let retries = callee.numbers().filter_map(|numbers| numbers.retries);
    if let Some(retries) = retries.max_by_key(|retries| retries.budget_percent) {
        let budget = json!({
            "percent": retries.budget_percent,
            "minRetryConcurrency": retries.min_concurrency,
        });
        policy.insert("retryBudget".to_owned(), budget);
    }
    (!policy.is_empty()).then(|| {
        json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": of(&callee.place),
            "spec": { "host": callee.place.host, "trafficPolicy": policy },
        })
    })
}

fn virtual_service(callee: &Callee<'_>, settings: &ResilienceSettings) -> Option<Value> {
    let mut rules: BTreeMap<String, Value> = BTreeMap::new();
    for caller in &callee.callers {
        let (Some(place), Some(timeout)) = (&caller.place, request_timeout(caller.numbers)) else {
            continue;
        };
        let label = &settings.caller_label;
        let mut source = json!({ "sourceLabels": { label.as_str(): place.name } });
        if let Some(namespace) = &place.namespace {
            source["sourceNamespace"] = namespace.as_str().into();
        }
        let mut rule = rule(callee, timeout, Some(caller.numbers));
        rule["match"] = json!([source]);
        rule["name"] = format!("from-{}", place.path.replace('/', "-")).into();
        rules.entry(place.path.clone()).or_insert(rule);
    }
    let mut rules: Vec<Value> = rules.into_values().collect();
    // Whoever else calls waits as long as the most patient of them.
    match callee.longest() {
        Some(longest) => rules.push(rule(callee, longest, None)),
        None if rules.is_empty() => return None,
        None => rules.push(without_timeout(callee)),
    }
    Some(json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": of(&callee.place),
        "spec": { "hosts": [callee.place.host], "http": rules },
    }))
}

fn rule(callee: &Callee<'_>, timeout: HumanDuration, numbers: Option<&EdgeNumbers>) -> Value {
    let mut rule = without_timeout(callee);
    rule["timeout"] = timeout.to_string().into();
    let repeated = numbers.and_then(|numbers| Some(repeats(numbers.timeout?, numbers.retries?)));
    if let Some(repeated) = repeated {
        rule["retries"] = repeated;
    }
    rule
}

fn repeats(timeout: Timeout, retries: Retries) -> Value {
    json!({
        "attempts": retries.attempts,
        "perTryTimeout": timeout.attempt.to_string(),
        "retryOn": RETRY_ON,
    })
}

fn without_timeout(callee: &Callee<'_>) -> Value {
    json!({
        "retries": { "attempts": 0 },
        "route": [{ "destination": { "host": callee.place.host } }],
    })
}

fn of(place: &Place) -> Value {
    metadata(&format!("{}-resilience", place.name), place.namespace.as_deref())
}
