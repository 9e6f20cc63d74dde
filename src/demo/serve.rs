//! Runs the table of `services`: one interpreter for every route of every HTTP service.
//!
//! In: requests. Out: JSON that says who answered and whom it asked; 404 for a product that is no number, 500 where
//! the service itself fails, 502 with the reason where someone it asked does.
//! Left out on purpose: spans of our own. A service passes context headers on and knows nothing of tracing but that.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::RawPathParams;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;
use tracing::debug;

use super::database;
use super::faults::Faults;
use super::http::{Client, forwarded};
use super::services::{Query, Route, Service, Step};
use super::telemetry::{Metadata, Parent};
use super::worker::OrderQueue;

/// One running HTTP service.
pub(super) struct Instance {
    /// Its row of the table.
    pub(super) service: &'static Service,
    /// Through its agent's outbound proxy, where it has one.
    pub(super) client: Client,
    /// Where each service is reached: its agent's inbound proxy, where it has one.
    pub(super) callees: Arc<HashMap<&'static str, SocketAddr>>,
    /// Its own client, with its own SDK.
    pub(super) database: database::Client,
    /// For the one service that sends orders.
    pub(super) queue: Option<OrderQueue>,
    /// The shop's.
    pub(super) faults: Arc<Faults>,
}

/// Why a request has no good answer.
struct Failure {
    status: StatusCode,
    reason: String,
}

impl Failure {
    /// Someone that the service asked has failed.
    fn downstream(reason: &dyn std::fmt::Display) -> Self {
        Self {
            status: StatusCode::BAD_GATEWAY,
            reason: reason.to_string(),
        }
    }
}

/// The service's routes, ready to be served.
pub(super) fn router(instance: &Arc<Instance>) -> Router {
    instance
        .service
        .routes
        .iter()
        .fold(Router::new(), |router, route| {
            let instance = Arc::clone(instance);
            let handler = move |parameters: RawPathParams, headers: HeaderMap| async move {
                let id = parameters.iter().next().map(|(_, id)| id.to_owned());
                instance.answer(route, id.as_deref(), &headers).await
            };
            let method = if route.method == Method::POST {
                post(handler)
            } else {
                get(handler)
            };
            router.route(route.path, method)
        })
}

impl Instance {
    async fn answer(&self, route: &Route, id: Option<&str>, headers: &HeaderMap) -> Response {
        let name = self.service.name;
        match self.run(route, id, headers).await {
            Ok(answers) => Json(json!({ "service": name, "answers": answers })).into_response(),
            Err(failure) => {
                debug!(
                    service = name,
                    route = route.path,
                    reason = failure.reason,
                    "demo request failed"
                );
                (
                    failure.status,
                    Json(json!({ "service": name, "error": failure.reason })),
                )
                    .into_response()
            }
        }
    }

    async fn run(&self, route: &Route, id: Option<&str>, headers: &HeaderMap) -> Result<Vec<Value>, Failure> {
        if let Some(id) = id.filter(|id| id.parse::<u32>().is_err()) {
            let reason = format!("`{id}` is no product: write a number such as `/products/7`");
            return Err(Failure {
                status: StatusCode::NOT_FOUND,
                reason,
            });
        }
        self.own_work().await?;
        let mut answers = Vec::with_capacity(route.steps.len());
        for step in route.steps {
            answers.push(self.step(step, id, headers).await?);
        }
        Ok(answers)
    }

    async fn own_work(&self) -> Result<(), Failure> {
        let own = self.service.own.sample(&mut rand::rng());
        let suffering = self.faults.draw(self.service.name);
        sleep(own + suffering.delay).await;
        if suffering.fails {
            let reason = format!("`{}` failed", self.service.name);
            return Err(Failure {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                reason,
            });
        }
        Ok(())
    }

    async fn step(&self, step: &Step, id: Option<&str>, headers: &HeaderMap) -> Result<Value, Failure> {
        match step {
            Step::Call {
                service,
                method,
                path,
            } => {
                let path = id.map_or_else(|| (*path).to_owned(), |id| path.replace("{id}", id));
                self.call(service, method.clone(), &path, forwarded(headers))
                    .await
            }
            Step::Query(query) => self.query(*query, headers).await,
            Step::SendOrder => self.send_order(headers),
        }
    }

    async fn call(
        &self,
        callee: &str,
        method: Method,
        path: &str,
        headers: HeaderMap,
    ) -> Result<Value, Failure> {
        let Some(address) = self.callees.get(callee) else {
            return Err(Failure::downstream(&format_args!("`{callee}` is not running")));
        };
        let answered = self
            .client
            .send(method, *address, path, headers, Bytes::new())
            .await;
        let (status, body) = answered
            .map_err(|error| Failure::downstream(&format_args!("`{callee}` did not answer: {error}")))?;
        if !status.is_success() {
            return Err(Failure::downstream(&format_args!(
                "`{callee}` answered {}",
                status.as_u16()
            )));
        }
        serde_json::from_slice(&body)
            .map_err(|_| Failure::downstream(&format_args!("`{callee}` answered something that is not JSON")))
    }

    async fn query(&self, query: Query, headers: &HeaderMap) -> Result<Value, Failure> {
        let parent = Parent::of_request(headers);
        let rows = self
            .database
            .query(&parent, query)
            .await
            .map_err(|error| Failure::downstream(&error))?;
        Ok(json!({ "table": query.table, "rows": rows }))
    }

    fn send_order(&self, headers: &HeaderMap) -> Result<Value, Failure> {
        let Some(queue) = &self.queue else {
            return Err(Failure::downstream(&"the service has no queue"));
        };
        let text = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        };
        let metadata: Metadata = forwarded(headers).iter().filter_map(text).collect();
        queue
            .send(&Parent::of_request(headers), metadata)
            .map_err(|error| Failure::downstream(&error))?;
        Ok(json!({ "order": "sent" }))
    }
}
