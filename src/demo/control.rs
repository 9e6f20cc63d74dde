//! The shop's control listener: faults are planted and healed over HTTP while the shop runs.
//!
//! In: `POST /faults/{service}` with `{"slow_ms":400}` or `{"fail":0.5}`, `DELETE /faults/{service}`,
//! `DELETE /faults`, `GET /faults`. Out: the faults that stand, or `{"error": …}`.
//! Left out on purpose: authentication; it listens on loopback. A JSON content type is required, which keeps web pages
//! in a browser on the same machine from posting here.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde_json::json;
use tracing::info;

use super::faults::{Fault, FaultError, Faults};

/// The routes, over the shop's faults.
pub(super) fn router(faults: Arc<Faults>) -> Router {
    Router::new()
        .route("/faults", get(list).delete(heal_all))
        .route("/faults/{service}", post(plant).delete(heal))
        .with_state(faults)
}

async fn list(State(faults): State<Arc<Faults>>) -> Response {
    Json(faults.all()).into_response()
}

async fn plant(
    State(faults): State<Arc<Faults>>,
    Path(service): Path<String>,
    change: Result<Json<Fault>, JsonRejection>,
) -> Response {
    let Json(change) = match change {
        Ok(change) => change,
        Err(rejection) => return refusal(rejection.status(), &rejection.body_text()),
    };
    match faults.plant(&service, change) {
        Ok(fault) => {
            info!(
                service,
                slow_ms = fault.slow_ms,
                fail = fault.fail,
                "demo fault planted"
            );
            Json(fault).into_response()
        }
        Err(error) => refused(&error),
    }
}

async fn heal(State(faults): State<Arc<Faults>>, Path(service): Path<String>) -> Response {
    match faults.heal(&service) {
        Ok(()) => {
            info!(service, "demo fault healed");
            Json(json!({})).into_response()
        }
        Err(error) => refused(&error),
    }
}

async fn heal_all(State(faults): State<Arc<Faults>>) -> Response {
    faults.heal_all();
    info!("all demo faults healed");
    Json(json!({})).into_response()
}

fn refused(error: &FaultError) -> Response {
    let status = match error {
        FaultError::UnknownService { .. } => StatusCode::NOT_FOUND,
        FaultError::Empty | FaultError::TooSlow { .. } | FaultError::NotAShare { .. } => {
            StatusCode::BAD_REQUEST
        }
    };
    refusal(status, &error.to_string())
}

fn refusal(status: StatusCode, reason: &str) -> Response {
    (status, Json(json!({ "error": reason }))).into_response()
}
