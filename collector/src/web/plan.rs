//! The plan in force, for agents, SDKs and people.
//!
//! In: questions, which say who asks and what it follows. Out: the plan as agents read it, the share of a service's traces as
//! Jaeger's remote samplers read it, and which agents follow which plan.
//! Left out on purpose: deciding (`planner`).

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use instrumentation::plan::{Plan, PlannedRoot};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Ctx, typed};
use crate::planner::AgentSeen;

/// Who asks: the instance of an agent.
const AGENT: &str = "tracemap-agent";
/// The ids of the services that it stands before, with commas.
const NODES: &str = "tracemap-agent-nodes";
/// Traces that begin with each of them a second, likewise; empty where it does not know.
const RATES: &str = "tracemap-agent-rates";
/// After how many seconds it asks again.
const INTERVAL: &str = "tracemap-agent-interval";
/// Which part of the traces that begin with each of them begins there, likewise.
const PARTS: HeaderName = HeaderName::from_static("tracemap-plan-parts");
/// The revision that it follows.
const APPLIED: &str = "tracemap-plan-applied";
/// A revision that it refused, and why.
const REFUSED: &str = "tracemap-plan-refused";
/// Services that are remembered of one agent.
const MAX_NODES: usize = 256;

/// The plan, for agents. `If-None-Match` with its revision is answered without a body.
pub(super) async fn document(State(shared): Ctx, headers: HeaderMap) -> Response {
    let agent = seen(&headers, shared.now());
    let parts = agent.map(|agent| shared.plan.heard(agent));
    let Some(told) = shared.plan.told() else {
        return no_plan();
    };
    let tag = format!("\"{}\"", told.tag);
    let held = headers.get(header::IF_NONE_MATCH);
    let mut response = if held.is_some_and(|held| held.as_bytes() == tag.as_bytes()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        typed("application/json", told.document.clone())
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    let parts = parts.unwrap_or_default();
    let parts: Vec<String> = parts.iter().map(|part| format!("{part:.4e}")).collect();
    if let Ok(parts) = HeaderValue::from_str(&parts.join(",")) {
        response.headers_mut().insert(PARTS, parts);
    }
    response
}

/// The plan, as `plan.yaml`.
pub(super) async fn yaml(State(shared): Ctx) -> Response {
    match shared.plan.told() {
        Some(told) => typed("application/yaml", told.plan.to_yaml()),
        None => no_plan(),
    }
}

/// Agents of the last hour, and what they follow.
pub(super) async fn agents(State(shared): Ctx) -> Json<Value> {
    let revision = shared.plan.told().map(|told| told.plan.revision.clone());
    Json(json!({ "revision": revision, "agents": shared.plan.agents(shared.now()) }))
}

/// Query of a remote sampler.
#[derive(Deserialize)]
pub(super) struct SamplingQuery {
    /// The name that the SDK gives itself.
    #[serde(default)]
    service: String,
}

/// The share of a service's traces, as Jaeger's collector answers it (Jaeger documentation, "APIs", remote sampling configuration).
pub(super) async fn sampling(State(shared): Ctx, Query(query): Query<SamplingQuery>) -> Response {
    if query.service.is_empty() {
        let text = "`service` is missing: ask /sampling?service=NAME\n";
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    let Some(told) = shared.plan.told() else {
        return no_plan();
    };
    Json(strategy(&told.plan, &query.service)).into_response()
}

/// What a service is told; of a name that several services have, what the first of them is.
fn strategy(plan: &Plan, service: &str) -> Value {
    let roots = || plan.roots.iter();
    let exact = roots().find(|root| root.node.as_str() == service);
    let named = exact.or_else(|| roots().find(|root| root.node.name() == service));
    let node = named.map(|root| &root.node);
    let of_node: Vec<&PlannedRoot> = roots().filter(|root| Some(&root.node) == node).collect();
    let otherwise = instrumentation::plan::otherwise(&of_node).share;
    let probability = |share: f64| json!({ "samplingRate": share });
    let each = of_node.iter().filter_map(|root| {
        let operation = root.operation.as_deref()?;
        Some(json!({ "operation": operation, "probabilisticSampling": probability(root.share) }))
    });
    let each: Vec<Value> = each.collect();
    let mut answer =
        json!({ "strategyType": "PROBABILISTIC", "probabilisticSampling": probability(otherwise) });
    if !each.is_empty() {
        answer["operationSampling"] = json!({
            "defaultSamplingProbability": otherwise,
            "defaultLowerBoundTracesPerSecond": 0.0,
            "perOperationStrategies": each,
        });
    }
    answer
}

/// What an agent says of itself.
fn seen(headers: &HeaderMap, now: u64) -> Option<AgentSeen> {
    let of = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let instance = of(AGENT).filter(|instance| !instance.is_empty())?;
    let nodes = of(NODES).unwrap_or_default().split(',').map(str::trim);
    let nodes = nodes.filter(|node| !node.is_empty()).take(MAX_NODES);
    let rates = of(RATES).unwrap_or_default().split(',');
    let mut agent = AgentSeen {
        instance: instance.to_owned(),
        nodes: nodes.map(ToOwned::to_owned).collect(),
        traces_per_second: rates
            .map(|rate| rate.trim().parse().ok())
            .take(MAX_NODES)
            .collect(),
        applied: of(APPLIED).map(ToOwned::to_owned),
        refused: of(REFUSED).map(ToOwned::to_owned),
        seen_unix_nanos: now,
        ..AgentSeen::default()
    };
    let interval = of(INTERVAL).and_then(|seconds| seconds.parse::<f64>().ok());
    agent.asks_every(interval.map(|seconds| (seconds * 1e9) as u64));
    Some(agent)
}

fn no_plan() -> Response {
    let text = "no plan yet: it takes two looks at the traffic\n";
    (
        StatusCode::SERVICE_UNAVAILABLE,
        [(header::RETRY_AFTER, "15")],
        text,
    )
        .into_response()
}
