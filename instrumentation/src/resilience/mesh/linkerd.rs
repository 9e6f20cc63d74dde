//! Annotations for Linkerd, which since 2.16 take the place of `ServiceProfile`.
//!
//! In: services with the numbers of their callers. Out: a file for each service, below `resilience/linkerd`:
//! its `Service` with annotations only, for `kubectl apply --server-side` or a patch of Kustomize, and an
//! `HTTPRoute` for each other namespace whose callers differ. A `ServiceProfile` of the service would win
//! over both. Source: Linkerd's reference, "Timeouts", "Retries", "Circuit Breaking", "`HTTPRoute`" (consumer
//! routes).
//! Left out on purpose: pools and budgets of retries, which Linkerd has no word for; callers of one namespace
//! are not told apart.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::file::EdgeNumbers;
use super::{Callee, Caller, documents, metadata, request_timeout};

pub(super) fn files(callees: &[Callee<'_>]) -> BTreeMap<String, String> {
    let file = |callee: &Callee<'_>| {
        let objects = objects(callee)?;
        Some((
            format!("resilience/linkerd/{}.yaml", callee.place.path),
            documents(&objects),
        ))
    };
    callees.iter().filter_map(file).collect()
}

fn objects(callee: &Callee<'_>) -> Option<Vec<Value>> {
    let everybody: Vec<&EdgeNumbers> = callee.numbers().collect();
    let calls = of_calls(&everybody);
    let mut annotations = calls.clone();
    let breakers = callee.numbers().filter_map(|numbers| numbers.breaker);
    if let Some(row) = breakers.map(|breaker| breaker.consecutive_failures).max() {
        let mut say = |key: &str, value: String| {
            annotations.insert(format!("balancer.linkerd.io/failure-accrual{key}"), value.into());
        };
        say("", "consecutive".to_owned());
        say("-consecutive-max-failures", row.to_string());
    }
    if annotations.is_empty() {
        return None;
    }
    let place = &callee.place;
    let mut meta = metadata(&place.name, place.namespace.as_deref());
    // A label of ours would claim an object that is somebody else's.
    meta.as_object_mut()?.remove("labels");
    meta["annotations"] = annotations.into();
    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": meta });
    let mut objects = vec![service];
    for (namespace, numbers) in by_namespace(callee) {
        let own = of_calls(&numbers);
        if own.is_empty() || own == calls {
            continue;
        }
        objects.push(route(callee, namespace, own));
    }
    Some(objects)
}

/// Callers in namespaces other than the service's own. A route there holds for that namespace only.
fn by_namespace<'a>(callee: &'a Callee<'_>) -> BTreeMap<&'a str, Vec<&'a EdgeNumbers>> {
    let mut callers: BTreeMap<&str, Vec<&EdgeNumbers>> = BTreeMap::new();
    let home = callee.place.namespace.as_deref();
    for Caller { place, numbers } in &callee.callers {
        let namespace = place.as_ref().and_then(|place| place.namespace.as_deref());
        if let Some(namespace) = namespace.filter(|namespace| home.is_some_and(|home| home != *namespace)) {
            callers.entry(namespace).or_default().push(numbers);
        }
    }
    callers
}

/// What holds for all of these calls: the longest timeout, where each has one, and repeats where each is
/// repeated.
fn of_calls(calls: &[&EdgeNumbers]) -> Map<String, Value> {
    let mut annotations = Map::new();
    let longest: Option<Vec<_>> = calls.iter().map(|numbers| request_timeout(numbers)).collect();
    if let Some(longest) = longest.and_then(|all| all.into_iter().max()) {
        annotations.insert(
            "timeout.linkerd.io/request".to_owned(),
            longest.to_string().into(),
        );
    }
    let retries: Option<Vec<_>> = calls.iter().map(|numbers| numbers.retries).collect();
    let least = retries.iter().flatten().map(|retries| retries.attempts).min();
    let attempts = calls.iter().filter_map(|numbers| numbers.timeout);
    let attempt = attempts.map(|timeout| timeout.attempt).max();
    if let (Some(limit), Some(attempt)) = (least, attempt) {
        let mut say = |key: &str, value: String| {
            annotations.insert(format!("retry.linkerd.io/{key}"), value.into());
        };
        say("http", "5xx".to_owned());
        say("grpc", "unavailable,internal".to_owned());
        say("limit", limit.to_string());
        say("timeout", attempt.to_string());
    }
    annotations
}

fn route(callee: &Callee<'_>, namespace: &str, annotations: Map<String, Value>) -> Value {
    let place = &callee.place;
    let mut meta = metadata(&format!("{}-resilience", place.name), Some(namespace));
    meta["annotations"] = annotations.into();
    let (name, home) = (&place.name, &place.namespace);
    let parent = json!({ "group": "", "kind": "Service", "name": name, "namespace": home });
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": meta,
        "spec": {
            "parentRefs": [parent],
            "rules": [{ "matches": [{ "path": { "type": "PathPrefix", "value": "/" } }] }],
        },
    })
}
