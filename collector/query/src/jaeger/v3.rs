//! Jaeger's `api_v3` over HTTP.
//!
//! In: requests below `/api/v3`, parameters in camelCase or, as older clients write them, in `snake_case`.
//! Out: OTLP/JSON in `{"result": …}`, and errors in gRPC-gateway's form. No match is 404, as in Jaeger.
//! Left out on purpose: trace summaries and the filter language, which no client needs yet.
//!
//! Source: jaeger v2 `internal/apiv3/{http_gateway,query_parser}.go`.

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use otlp::Kind;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use store::TimeRange;

use super::{Asked, json_tags, kind, required};
use crate::api::{self, Api, Failure, Limits};
use crate::backend::Backend;
use crate::params::{Params, ordered, trace_id};
use crate::render;
use crate::render::otlp_json::Json;

const DEFAULT_TRACES: usize = 100;

pub(super) fn router(api: Api) -> Router {
    Router::new()
        .route("/api/v3/services", get(services))
        .route("/api/v3/operations", get(operations))
        .route("/api/v3/traces", get(search))
        .route("/api/v3/traces/{id}", get(trace))
        .with_state(api)
}

struct GatewayFailure(Failure);

impl From<Failure> for GatewayFailure {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl IntoResponse for GatewayFailure {
    fn into_response(self) -> Response {
        let (status, message) = (self.0.status(), self.0.message());
        let body = json!({ "error": { "httpCode": status.as_u16(), "message": message } });
        (status, axum::Json(body)).into_response()
    }
}

type Answer = Result<Response, GatewayFailure>;

async fn services(State(api): State<Api>) -> Answer {
    let body = api.ask(|backend, limits| {
        render::json(&json!({ "services": backend.services()? }), limits.answer_bytes)
    });
    Ok(render::response(body.await?))
}

async fn operations(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    let params = Params::of(query.as_deref());
    let service = required(&params, "service")?.to_owned();
    let asked = either(&params, "spanKind", "span_kind").map(|(_, name)| kind(name));
    let asked = asked.transpose()?;
    let body = api.ask(move |backend, limits| {
        let operations = backend.operations(&service)?;
        let operations = operations
            .iter()
            .filter(|(_, kind)| asked.is_none_or(|asked| asked == *kind))
            .map(|(name, kind)| json!({ "name": name, "spanKind": kind_name(*kind) }));
        let operations: Vec<_> = operations.collect();
        render::json(&json!({ "operations": operations }), limits.answer_bytes)
    });
    Ok(render::response(body.await?))
}

/// Spans of no kind are internal here, as in Jaeger.
fn kind_name(kind: Kind) -> &'static str {
    if kind == Kind::Unspecified {
        Kind::Internal.as_str()
    } else {
        kind.as_str()
    }
}

async fn search(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    let asked = asked(&Params::of(query.as_deref()), api.limits().traces)?;
    let body = api.ask(move |backend, limits| {
        let found = api::search(backend, &asked.search(limits)?)?;
        let ids = found.traces.iter().map(|hit| hit.trace_id);
        result(ids, backend, limits)
    });
    Ok(render::response(body.await?))
}

async fn trace(State(api): State<Api>, Path(id): Path<String>) -> Answer {
    let id = trace_id(&id)?;
    let body = api.ask(move |backend, limits| result(std::iter::once(id), backend, limits));
    Ok(render::response(body.await?))
}

#[derive(Serialize)]
struct Wrapper {
    result: TracesData,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TracesData {
    resource_spans: Vec<Box<RawValue>>,
}

/// All spans of the traces together. This form has no place to say that some are left out, so too many are a failure.
fn result(
    ids: impl Iterator<Item = [u8; 16]>,
    backend: &dyn Backend,
    limits: &Limits,
) -> Result<Vec<u8>, Failure> {
    let limit = limits.answer_bytes;
    let (mut resource_spans, mut bytes) = (Vec::new(), 0);
    for id in ids {
        let data = backend.trace(id)?.unwrap_or_default();
        for spans in &render::decoded(&data, limit)?.resource_spans {
            let rendered = render::raw(&Json(spans), limit)?;
            bytes += rendered.get().len();
            if bytes > limit {
                return Err(Failure::TooLarge { limit });
            }
            resource_spans.push(rendered);
        }
    }
    if resource_spans.is_empty() {
        return Err(Failure::NotFound("No traces found".to_owned()));
    }
    let result = TracesData { resource_spans };
    render::json(&Wrapper { result }, limit)
}

fn asked(params: &Params, most: usize) -> Result<Asked, Failure> {
    let time = |name, old| match either(params, name, old) {
        Some((name, _)) => params.rfc3339(name),
        None => Ok(None),
    };
    let start = time("query.startTimeMin", "query.start_time_min")?;
    let end = time("query.startTimeMax", "query.start_time_max")?;
    let (Some(start), Some(end)) = (start, end) else {
        let message = "parameters `query.startTimeMin` and `query.startTimeMax` are required";
        return Err(Failure::BadRequest(message.to_owned()));
    };
    let duration = |name, old| match either(params, name, old) {
        Some((name, _)) => params.duration(name),
        None => Ok(None),
    };
    let depth = either(params, "query.searchDepth", "query.search_depth");
    let depth = depth.map_or("query.num_traces", |(name, _)| name);
    let text = |name, old| either(params, name, old).map(|(_, text)| text.to_owned());
    let tags = params.text("query.attributes");
    let tags = tags
        .map(|object| json_tags("query.attributes", object))
        .transpose()?;
    Ok(Asked {
        service: text("query.serviceName", "query.service_name"),
        operation: text("query.operationName", "query.operation_name"),
        tags: tags.unwrap_or_default(),
        min_duration: duration("query.durationMin", "query.duration_min")?,
        max_duration: duration("query.durationMax", "query.duration_max")?,
        range: ordered(TimeRange { start, end })?,
        limit: params.count(depth, DEFAULT_TRACES, most)?,
    })
}

/// The parameter under its name or its older one, and under which of them it is there.
fn either<'a>(params: &'a Params, name: &'static str, old: &'static str) -> Option<(&'static str, &'a str)> {
    let under = |name: &'static str| Some((name, params.text(name)?));
    under(name).or_else(|| under(old))
}
