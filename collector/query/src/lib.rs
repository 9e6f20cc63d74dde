//! Tempo's and Jaeger's query APIs, so that stock Grafana and Jaeger's user interface work with no other backend.
//!
//! In: HTTP requests, and a [`Backend`] that holds traces and the map. Out: routers that answer as Tempo ([`tempo`])
//! and Jaeger ([`jaeger`]) would, and a parser for the searching part of `TraceQL` ([`traceql`]).
//! Left out on purpose: `TraceQL` metrics and pipelines, streaming over gRPC, authentication (the listener's), and
//! anything that writes.

mod api;
mod backend;
mod duration;
pub mod jaeger;
mod loose;
mod params;
mod render;
pub mod tempo;
mod time;
pub mod traceql;

use std::sync::Arc;

use axum::Router;

pub use api::{Api, Limits};
pub use backend::{Backend, BackendError, Dependency};

/// Both APIs where Grafana is pointed at them: Tempo below `/tempo`, Jaeger below `/jaeger`.
///
/// They share one bound on the work that is under way; see [`Limits`].
pub fn router(backend: Arc<dyn Backend>, limits: Limits) -> Router {
    let api = Api::new(backend, limits);
    Router::new()
        .nest("/tempo", tempo::router(api.clone()))
        .nest("/jaeger", jaeger::router(api))
}
