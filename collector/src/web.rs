//! The page, the API and the metrics, on one port.
//!
//! In: HTTP requests. Out: the map as page, picture, JSON, YAML, CSV and text; the generated files; series; baselines, which
//! are the one thing that can be changed here.
//! Left out on purpose: who may ask, see `door.rs`. A change is a PUT or a DELETE, which no page of
//! another origin can send: a browser asks first, and is not answered.

mod baselines;
mod layout;
mod page;
mod picture;
mod plan;
mod why;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use map::{Map, export, file};
use otlp::access::Access;
use serde::Deserialize;

use crate::backend::Backend;
use crate::door::{self, Pages};
use crate::ledger::Ledger;
use crate::rim::Shared;

type Ctx = State<Arc<Shared>>;

/// All that is answered: to probes without a question, and to readers what is their tenant's.
pub(crate) fn router(tenants: &[Arc<Shared>], access: Access) -> Router {
    let pages = Pages {
        access,
        each: tenants.iter().map(routes).collect(),
    };
    let tenants: Arc<[Arc<Shared>]> = tenants.into();
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready).with_state(tenants))
        .fallback(door::ask)
        .with_state(pages)
}

/// What a tenant sees. Nothing here reaches more than its [`Shared`].
fn routes(shared: &Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/map.svg", get(svg))
        .route("/api/v1/map", get(map))
        .route("/api/v1/why", get(why::answer))
        .route("/api/v1/plan", get(plan::document))
        .route("/api/v1/plan.yaml", get(plan::yaml))
        .route("/api/v1/agents", get(plan::agents))
        .route("/sampling", get(plan::sampling))
        .route("/api/v1/baselines", get(baselines::list))
        .route(
            "/api/v1/baselines/{*id}",
            get(baselines::one).delete(baselines::reset),
        )
        .route("/api/v1/pins/{*id}", put(baselines::pin).delete(baselines::unpin))
        .route("/generated/{*path}", get(generated))
        .route("/runbooks/{name}", get(runbook))
        .route("/metrics", get(metrics))
        .with_state(Arc::clone(shared))
        .merge(traces(shared))
}

/// The query APIs of Tempo and Jaeger.
fn traces(shared: &Arc<Shared>) -> Router {
    let backend = Backend {
        store: shared.store.clone(),
        routes: shared.routes.clone(),
        clock: shared.clock,
    };
    query::router(Arc::new(backend), query::Limits::default())
}

/// Not ready until what an earlier run left is taken up.
async fn ready(State(tenants): State<Arc<[Arc<Shared>]>>) -> Response {
    if tenants.iter().all(|shared| shared.ready.load(Ordering::Relaxed)) {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "reading the journal\n").into_response()
    }
}

/// What is answered while the collector ends.
fn ending() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the collector is ending\n").into_response()
}

/// Query of the page.
#[derive(Deserialize)]
struct PageQuery {
    /// The node that a link from a dashboard or an alert is about.
    #[serde(default)]
    node: Option<String>,
}

async fn index(State(shared): Ctx, Query(query): Query<PageQuery>) -> Response {
    let Some((map, lately)) = shared.routes.ask(lately).await else {
        return ending();
    };
    let files: Vec<String> = shared.published.borrow().files.keys().cloned().collect();
    typed(
        "text/html; charset=utf-8",
        page::render(&map, &lately, &files, query.node.as_deref()),
    )
}

/// The map, and what its nodes and edges did in the latest minutes.
fn lately(ledger: &mut Ledger) -> (Map, page::Lately) {
    let map = ledger.map();
    let nodes = map.nodes.keys().map(ToString::to_string);
    let ids: Vec<String> = nodes
        .chain(map.edges.keys().map(|key| map.edge_id(key)))
        .collect();
    let normal = |id: &String| Some((id.clone(), ledger.learned(id)?.own));
    let recent = |id: &String| (id.clone(), ledger.recent(id));
    let lately = page::Lately {
        normal: ids.iter().filter_map(normal).collect(),
        recent: ids.iter().map(recent).collect(),
    };
    (map, lately)
}

async fn svg(State(shared): Ctx) -> Response {
    let Some(map) = shared.map().await else {
        return ending();
    };
    typed("image/svg+xml", picture::draw(&map, None))
}

/// Query of `/api/v1/map`.
#[derive(Deserialize)]
struct MapQuery {
    #[serde(default)]
    format: Option<String>,
}

async fn map(State(shared): Ctx, Query(query): Query<MapQuery>) -> Response {
    let Some(map) = shared.map().await else {
        return ending();
    };
    match query.format.as_deref().unwrap_or("json") {
        "json" => typed("application/json", export::to_json(&map).to_string()),
        "yaml" => typed("application/yaml", file::map_to_yaml(&map)),
        "csv" => typed("text/csv; charset=utf-8", export::to_csv(&map, false)),
        "dot" => typed("text/vnd.graphviz", export::to_dot(&map, false)),
        "text" => typed("text/plain; charset=utf-8", export::to_text(&map)),
        other => {
            let shown: String = other.chars().take(40).collect();
            let text = format!("unknown format `{shown}`: write json, yaml, csv, dot or text\n");
            (StatusCode::BAD_REQUEST, text).into_response()
        }
    }
}

async fn generated(State(shared): Ctx, Path(path): Path<String>) -> Response {
    let published = Arc::clone(&shared.published.borrow());
    let Some(content) = published.files.get(&path) else {
        return (
            StatusCode::NOT_FOUND,
            "no such generated file: the page at / lists them\n",
        )
            .into_response();
    };
    let kind = match path.rsplit_once('.') {
        Some((_, "json")) => "application/json",
        _ => "text/plain; charset=utf-8",
    };
    typed(kind, content.clone())
}

/// Alerts link to their runbook by the alert's name.
async fn runbook(state: Ctx, Path(name): Path<String>) -> Response {
    let name = name.strip_suffix(".md").unwrap_or(&name);
    generated(state, Path(format!("alerts/runbooks/{name}.md"))).await
}

async fn metrics(State(shared): Ctx, headers: HeaderMap) -> Response {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    let format = exposition::negotiate(accept.unwrap_or_default());
    match shared.metrics(format).await {
        Some(body) => ([(header::CONTENT_TYPE, format.content_type())], body).into_response(),
        None => ending(),
    }
}

fn typed(kind: &'static str, body: String) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], body).into_response()
}
