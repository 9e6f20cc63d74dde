//! The JSON API of Jaeger's user interface, which Grafana's Jaeger data source speaks as well.
//!
//! In: requests below `/api`. Out: `{"data": …, "total": …, "limit": 0, "offset": 0, "errors": …}`.
//! A trace that is not kept is 404 with `errors`, never 200 with empty `data`: Grafana reads the first trace unasked.
//! Left out on purpose: `raw`, by which Jaeger leaves clock skew uncorrected. We never correct it.

use std::collections::BTreeSet;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use otlp::Kind;
use serde::Serialize;
use serde_json::{Value, json};
use store::TimeRange;

use super::traces::Traces;
use super::{Asked, json_tags, kind, required};
use crate::api::{self, Api, Failure};
use crate::backend::Dependency;
use crate::duration;
use crate::params::{Params, ordered, trace_id};
use crate::render::{self, hex, jaeger};
use crate::traceql::MAX_TERMS;

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const DAY: u64 = 86_400_000_000_000;
/// How far back a search reaches that does not say it, as in Jaeger.
const SEARCH_LOOKBACK: u64 = 2 * DAY;
/// How far back the dependency graph reaches where nothing is said, as in Jaeger.
const DEPENDENCY_LOOKBACK: u64 = DAY;
const DEFAULT_TRACES: usize = 100;
/// The most traces that may be asked for by id in one request.
const MOST_IDS: usize = 100;

pub(super) fn router(api: Api) -> Router {
    Router::new()
        .route("/api/services", get(services))
        .route("/api/services/{service}/operations", get(operation_names))
        .route("/api/operations", get(operations))
        .route("/api/traces", get(search))
        .route("/api/traces/{id}", get(trace))
        .route("/api/dependencies", get(dependencies))
        .fallback(unknown)
        .with_state(api)
}

#[derive(Serialize)]
struct Structured<T> {
    data: T,
    total: usize,
    limit: usize,
    offset: usize,
    errors: Option<Vec<Fault>>,
}

impl<T> Structured<T> {
    fn of(data: T, total: usize) -> Self {
        Self {
            data,
            total,
            limit: 0,
            offset: 0,
            errors: None,
        }
    }
}

#[derive(Serialize)]
struct Fault {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    msg: String,
    #[serde(rename = "traceID", skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

struct LegacyFailure(Failure);

impl From<Failure> for LegacyFailure {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl IntoResponse for LegacyFailure {
    fn into_response(self) -> Response {
        let (status, msg) = (self.0.status(), self.0.message());
        let mut body = Structured::of(Value::Null, 0);
        body.errors = Some(vec![Fault {
            code: Some(status.as_u16()),
            msg,
            trace_id: None,
        }]);
        (status, axum::Json(body)).into_response()
    }
}

type Answer = Result<Response, LegacyFailure>;

async fn services(State(api): State<Api>) -> Answer {
    let body = api.ask(|backend, limits| {
        let services = backend.services()?;
        let total = services.len();
        render::json(&Structured::of(services, total), limits.answer_bytes)
    });
    Ok(render::response(body.await?))
}

/// Every name of an operation of the service, each once.
async fn operation_names(State(api): State<Api>, Path(service): Path<String>) -> Answer {
    let body = api.ask(move |backend, limits| {
        let operations = backend.operations(&service)?;
        let names: BTreeSet<String> = operations.into_iter().map(|(name, _)| name).collect();
        let total = names.len();
        render::json(&Structured::of(names, total), limits.answer_bytes)
    });
    Ok(render::response(body.await?))
}

async fn operations(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    let params = Params::of(query.as_deref());
    let service = required(&params, "service")?.to_owned();
    let kind = params.text("spanKind").map(kind).transpose()?;
    let body = api.ask(move |backend, limits| {
        let mut operations = backend.operations(&service)?;
        operations.retain(|(_, of)| kind.is_none_or(|kind| kind == *of));
        let data: Vec<_> = operations
            .iter()
            .map(|(name, kind)| json!({ "name": name, "spanKind": kind_name(*kind) }))
            .collect();
        let total = data.len();
        render::json(&Structured::of(data, total), limits.answer_bytes)
    });
    Ok(render::response(body.await?))
}

fn kind_name(kind: Kind) -> &'static str {
    if kind == Kind::Unspecified {
        ""
    } else {
        kind.as_str()
    }
}

async fn search(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    let params = Params::of(query.as_deref());
    if params.text("traceID").is_some() {
        return by_ids(api, &params).await;
    }
    let now = api.backend().now_unix_nano();
    let asked = asked(&params, now, api.limits().traces)?;
    let body = api.ask(move |backend, limits| {
        let found = api::search(backend, &asked.search(limits)?)?;
        let mut traces = Traces::within(limits.answer_bytes);
        for hit in &found.traces {
            traces.read(hit.trace_id, backend)?;
        }
        let mut warnings = Vec::new();
        if !traces.left_out.is_empty() {
            let more = traces.left_out.len();
            warnings.push(format!(
                "{more} more traces were left out because the answer would be too large"
            ));
        }
        if !found.complete {
            warnings
                .push("the search did not see all of the time range, there may be more traces".to_owned());
        }
        traces.warn(warnings, backend)?;
        render::json(&Structured::of(traces.rendered, 0), limits.answer_bytes)
    });
    Ok(render::response(body.await?))
}

fn asked(params: &Params, now: u64, most: usize) -> Result<Asked, Failure> {
    let service = Some(required(params, "service")?.to_owned());
    let end = params.unit_time("end", MICROSECOND)?;
    let start = match params.unit_time("start", MICROSECOND)? {
        Some(start) => start,
        None => end.unwrap_or(now).saturating_sub(lookback(params)),
    };
    let end = end.unwrap_or(now).saturating_add(MICROSECOND);
    let mut tags = Vec::new();
    for tag in params.all("tag") {
        let (key, text) = tag.split_once(':').ok_or_else(|| {
            let shown: String = tag.chars().take(80).collect();
            Failure::BadRequest(format!("parameter `tag` is `{shown}` but must be `key:value`"))
        })?;
        tags.push((key.to_owned(), text.to_owned()));
    }
    for object in params.all("tags") {
        tags.extend(json_tags("tags", object)?);
    }
    if tags.len() > MAX_TERMS {
        return Err(Failure::BadRequest(format!(
            "a search may have at most {MAX_TERMS} tags"
        )));
    }
    Ok(Asked {
        service,
        operation: params.text("operation").map(str::to_owned),
        tags,
        min_duration: params.duration("minDuration")?,
        max_duration: params.duration("maxDuration")?,
        range: ordered(TimeRange { start, end })?,
        limit: params.count("limit", DEFAULT_TRACES, most)?,
    })
}

/// The user interface sends `1h` or `2d` beside `start` and `end`, or `custom`.
fn lookback(params: &Params) -> u64 {
    let nanos = params
        .text("lookback")
        .and_then(|text| duration::parse(text).ok());
    nanos.unwrap_or(SEARCH_LOOKBACK)
}

/// The traces with the ids of `traceID`; those that are not kept are named in `errors`.
async fn by_ids(api: Api, params: &Params) -> Answer {
    let ids = params
        .all("traceID")
        .map(trace_id)
        .collect::<Result<Vec<_>, _>>()?;
    if ids.len() > MOST_IDS {
        let message = format!("at most {MOST_IDS} traces can be asked for by id at a time");
        return Err(Failure::BadRequest(message).into());
    }
    let body = api.ask(move |backend, limits| {
        let mut traces = Traces::within(limits.answer_bytes);
        for id in ids {
            traces.read(id, backend)?;
        }
        if traces.rendered.is_empty() {
            return Err(not_kept());
        }
        let missing = traces.missing.iter().map(|id| fault("trace not found", *id));
        let left_out = traces
            .left_out
            .iter()
            .map(|id| fault("the answer would be too large", *id));
        let errors: Vec<_> = missing.chain(left_out).collect();
        let mut body = Structured::of(traces.rendered, 0);
        body.errors = (!errors.is_empty()).then_some(errors);
        render::json(&body, limits.answer_bytes)
    });
    Ok(render::response(body.await?))
}

fn fault(msg: &str, id: [u8; 16]) -> Fault {
    Fault {
        code: None,
        msg: msg.to_owned(),
        trace_id: Some(hex(&id)),
    }
}

fn not_kept() -> Failure {
    Failure::NotFound("trace not found".to_owned())
}

async fn trace(State(api): State<Api>, Path(id): Path<String>) -> Answer {
    let id = trace_id(&id)?;
    let body = api.ask(move |backend, limits| {
        let data = backend.trace(id)?.ok_or_else(not_kept)?;
        let trace = jaeger::trace(id, render::decoded(&data, limits.answer_bytes)?);
        render::json(&Structured::of([trace], 0), limits.answer_bytes)
    });
    Ok(render::response(body.await?))
}

async fn dependencies(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    let params = Params::of(query.as_deref());
    let end = params.unit_time("endTs", MILLISECOND)?;
    let end = end.unwrap_or_else(|| api.backend().now_unix_nano());
    let lookback = params.number::<u64>("lookback")?;
    let lookback = lookback.map_or(DEPENDENCY_LOOKBACK, |millis| millis.saturating_mul(MILLISECOND));
    let service = params.text("service").map(str::to_owned);
    let body = api.ask(move |backend, limits| {
        let mut edges = backend.dependencies(end, lookback)?;
        edges.retain(|edge| {
            service
                .as_ref()
                .is_none_or(|of| edge.parent == *of || edge.child == *of)
        });
        let data: Vec<_> = edges.iter().map(dependency).collect();
        render::json(&Structured::of(data, 0), limits.answer_bytes)
    });
    Ok(render::response(body.await?))
}

fn dependency(edge: &Dependency) -> Value {
    json!({ "parent": edge.parent, "child": edge.child, "callCount": edge.call_count })
}

async fn unknown() -> Answer {
    let message = "no such endpoint: this is the part of Jaeger's API that reads, below `/api`";
    Err(Failure::NotFound(message.to_owned()).into())
}
