//! Where the agent speaks of itself.
//!
//! In: `GET /metrics`, `/healthz`, `/readyz`. Out: the Prometheus text format, and one word each.
//! Left out on purpose: changing anything.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::sync::watch;

use crate::body::ProxyBody;
use crate::forward::text;
use crate::reload::Ledger;
use crate::serve::Handler;
use crate::telemetry::Metrics;

/// Answers about the agent.
pub(crate) struct Admin {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) ledger: Ledger,
    /// True once the agent stops taking requests.
    pub(crate) stop: watch::Receiver<bool>,
}

impl Admin {
    fn metrics(&self) -> Response<ProxyBody> {
        self.ledger.publish(&self.metrics);
        match self.metrics.render() {
            Ok(rendered) => {
                let mut response = Response::new(ProxyBody::text(rendered));
                let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, format);
                response
            }
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
        }
    }
}

impl Handler for Admin {
    async fn handle(self: Arc<Self>, request: Request<Incoming>, _: SocketAddr) -> Response<ProxyBody> {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            return text(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD are answered here\n",
            );
        }
        match request.uri().path() {
            "/metrics" => self.metrics(),
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" if *self.stop.borrow() => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
            "/readyz" => text(StatusCode::OK, "ready\n"),
            _ => text(
                StatusCode::NOT_FOUND,
                "here are `/metrics`, `/healthz` and `/readyz`\n",
            ),
        }
    }
}
