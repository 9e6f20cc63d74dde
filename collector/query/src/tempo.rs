//! Tempo's HTTP API, as far as Grafana's Tempo data source uses it.
//!
//! In: `GET` requests. Out: traces as protobuf or JSON, search results, tag names and values.
//! Left out on purpose: `TraceQL` metrics and the streaming gRPC service; Grafana asks for them only when told to.
//!
//! Source: tempo `docs/sources/tempo/api_docs/_index.md`; grafana `pkg/tsdb/tempo`.

mod logfmt;
mod search;
mod tags;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use crate::api::{self, Api, Failure};
use crate::params::{Params, trace_id};
use crate::render::otlp_json::List;
use crate::render::{self, envelope};

const PROTOBUF: &str = "application/protobuf";

/// All routes, to be nested where Grafana's data source points, as `/tempo`.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/api/echo", get(|| async { "echo" }))
        .route("/ready", get(|| async { "ready\n" }))
        .route("/api/status/buildinfo", get(build_info))
        .route("/api/traces/{id}", get(trace_v1))
        .route("/api/v2/traces/{id}", get(trace_v2))
        .route("/api/search", get(find))
        .route("/api/search/tags", get(tags_v1))
        .route("/api/v2/search/tags", get(tags_v2))
        .route("/api/search/tag/{tag}/values", get(values_v1))
        .route("/api/v2/search/tag/{tag}/values", get(values_v2))
        .route("/api/metrics/{*rest}", get(metrics))
        .fallback(unknown)
        .with_state(api)
}

/// A failure is a line of text, as Tempo's are; Grafana shows it.
impl IntoResponse for TempoFailure {
    fn into_response(self) -> Response {
        let mut response = (self.0.status(), format!("{}\n", self.0.message())).into_response();
        if self.0.status() == StatusCode::SERVICE_UNAVAILABLE {
            let one = header::HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, one);
        }
        response
    }
}

struct TempoFailure(Failure);

impl From<Failure> for TempoFailure {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

type Answer = Result<Response, TempoFailure>;

async fn build_info(State(api): State<Api>) -> Answer {
    let info = json!({ "version": api.backend().version(), "goVersion": "", "revision": "", "branch": "" });
    Ok(render::response(render::json(&info, api.limits().answer_bytes)?))
}

async fn trace_v1(State(api): State<Api>, Path(id): Path<String>, headers: HeaderMap) -> Answer {
    trace(api, &id, wants_protobuf(&headers), Version::V1).await
}

async fn trace_v2(State(api): State<Api>, Path(id): Path<String>, headers: HeaderMap) -> Answer {
    trace(api, &id, wants_protobuf(&headers), Version::V2).await
}

/// The first answers with the bare trace, the second with an envelope around it.
#[derive(Clone, Copy)]
enum Version {
    V1,
    V2,
}

/// A trace by its id. `start` and `end` are not read: they would only hide a trace that is there.
async fn trace(api: Api, id: &str, protobuf: bool, version: Version) -> Answer {
    let id = trace_id(id)?;
    let (kind, body) = api
        .ask(move |backend, limits| {
            let data = backend.trace(id)?;
            let data =
                data.ok_or_else(|| Failure::NotFound(format!("trace `{}` is not kept", render::hex(&id))))?;
            let limit = limits.answer_bytes;
            if protobuf {
                let body = match version {
                    Version::V1 => data,
                    Version::V2 => envelope::trace_by_id_response(&data),
                };
                return if body.len() > limit {
                    Err(Failure::TooLarge { limit })
                } else {
                    Ok((PROTOBUF, body))
                };
            }
            let spans = render::decoded(&data, limit)?.resource_spans;
            let body = match version {
                Version::V1 => render::json(
                    &V1 {
                        batches: List(&spans),
                    },
                    limit,
                )?,
                Version::V2 => render::json(&V2::of(List(&spans)), limit)?,
            };
            Ok(("application/json", Bytes::from(body)))
        })
        .await?;
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

#[derive(Serialize)]
struct V1<T> {
    batches: T,
}

#[derive(Serialize)]
struct V2<T> {
    trace: V2Trace<T>,
    metrics: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct V2Trace<T> {
    resource_spans: T,
}

impl<T> V2<T> {
    fn of(resource_spans: T) -> Self {
        Self {
            trace: V2Trace { resource_spans },
            metrics: serde_json::Map::new(),
        }
    }
}

fn wants_protobuf(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(header::ACCEPT).iter();
    accepted.any(|value| value.to_str().is_ok_and(|value| value.contains(PROTOBUF)))
}

async fn find(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    let params = Params::of(query.as_deref());
    let body = api
        .ask(move |backend, limits| {
            let search = search::read(&params, limits, |id| backend.node_condition(id))?;
            let found = api::search(backend, &search)?;
            render::json(&search::answer(&found), limits.answer_bytes)
        })
        .await?;
    Ok(render::response(body))
}

async fn tags_v1(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    tags(api, query, tags::names_v1).await
}

async fn tags_v2(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    tags(api, query, tags::names_v2).await
}

async fn tags(api: Api, query: Option<String>, names: tags::Names) -> Answer {
    let params = Params::of(query.as_deref());
    let body = api
        .ask(move |backend, limits| render::json(&names(&params, backend, limits)?, limits.answer_bytes))
        .await?;
    Ok(render::response(body))
}

async fn values_v1(State(api): State<Api>, Path(tag): Path<String>, RawQuery(query): RawQuery) -> Answer {
    values(api, tag, query, tags::values_v1).await
}

async fn values_v2(State(api): State<Api>, Path(tag): Path<String>, RawQuery(query): RawQuery) -> Answer {
    values(api, tag, query, tags::values_v2).await
}

async fn values(api: Api, tag: String, query: Option<String>, values: tags::Values) -> Answer {
    let params = Params::of(query.as_deref());
    let body = api
        .ask(move |backend, limits| {
            render::json(&values(&tag, &params, backend, limits)?, limits.answer_bytes)
        })
        .await?;
    Ok(render::response(body))
}

async fn metrics() -> Answer {
    let message = "TraceQL metrics are not supported: ask Prometheus for `traces_spanmetrics_*` instead";
    Err(Failure::BadRequest(message.to_owned()).into())
}

async fn unknown() -> Answer {
    let message = "no such endpoint: this is the part of Tempo's API that Grafana uses, below `/api`";
    Err(Failure::NotFound(message.to_owned()).into())
}
