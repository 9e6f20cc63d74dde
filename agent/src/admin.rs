//! Where the agent speaks of itself.
//!
//! In: `GET /metrics`, `/healthz`, `/readyz`. Out: the Prometheus text format, and one word each.
//! Left out on purpose: changing anything.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use otlp::access::Access;
use tokio::sync::watch;

use crate::body::ProxyBody;
use crate::forward::text;
use crate::limits::Admission;
use crate::reload::Ledger;
use crate::serve::Handler;
use crate::telemetry::Metrics;

/// Answers about the agent.
pub(crate) struct Admin {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) ledger: Ledger,
    /// True once the agent stops taking requests.
    pub(crate) stop: watch::Receiver<bool>,
    /// Who may read.
    pub(crate) access: Access,
    /// How many connections they may have.
    pub(crate) admission: Arc<Admission>,
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
    fn admission(&self) -> Option<Arc<Admission>> {
        Some(self.admission.clone())
    }

    async fn handle(self: Arc<Self>, request: Request<Incoming>, peer: SocketAddr) -> Response<ProxyBody> {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            return text(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD are answered here\n",
            );
        }
        let path = request.uri().path();
        if !["/healthz", "/readyz"].contains(&path) {
            let admitted = self
                .access
                .admit_by(request.headers(), request.uri(), Some(peer.ip()));
            if let Err(denied) = admitted {
                let mut response = text(denied.status(), &format!("{denied}\n"));
                response.headers_mut().extend(denied.headers());
                return response;
            }
        }
        match path {
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
