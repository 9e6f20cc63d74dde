//! What is normal for whom, and what people do about it.
//!
//! In: ids of nodes and edges. Out: baselines as JSON; a pin set or taken away, a baseline that begins anew.
//! Left out on purpose: how a baseline is learned, and how a change survives a restart (`intake`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use baseline::{Normal, Normality};
use serde::Serialize;

use super::{Ctx, ending};
use crate::intake::Sink;
use crate::ledger::{Baseline, BaselineChange, Change, ChangeRefused, PinnedBy};
use crate::rim::Shared;

/// `/api/v1/baselines`.
#[derive(Serialize)]
struct Listed {
    baselines: Vec<Shown>,
}

/// A node's or an edge's.
#[derive(Serialize)]
struct Shown {
    id: String,
    kind: &'static str,
    /// Who holds it; `null` while it learns.
    pinned: Option<PinnedBy>,
    operations: Vec<ShownOperation>,
}

#[derive(Serialize)]
struct ShownOperation {
    operation: String,
    /// Whether requests are judged by it yet; what is normal is said only then.
    judged: bool,
    /// Learned from so many requests, older ones weighing less.
    requests: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    normal: Option<ShownNormal>,
}

#[derive(Serialize)]
struct ShownNormal {
    source: &'static str,
    own: ShownTime,
    total: ShownTime,
    own_failed_share: f64,
    failed_share: f64,
}

#[derive(Serialize)]
struct ShownTime {
    slow_above_seconds: f64,
    slow_share: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    median_seconds: Option<f64>,
}

impl From<Baseline> for Shown {
    fn from(baseline: Baseline) -> Self {
        Self {
            id: baseline.id,
            kind: baseline.kind.as_str(),
            pinned: baseline.pinned,
            operations: baseline.operations.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<(String, Normal)> for ShownOperation {
    fn from((operation, normal): (String, Normal)) -> Self {
        Self {
            operation,
            judged: normal.judged,
            requests: normal.requests,
            normal: normal.judged.then(|| ShownNormal {
                source: normal.source.as_str(),
                own: normal.own.into(),
                total: normal.total.into(),
                own_failed_share: normal.own_failed,
                failed_share: normal.failed,
            }),
        }
    }
}

impl From<Normality> for ShownTime {
    fn from(time: Normality) -> Self {
        Self {
            slow_above_seconds: time.slow_above,
            slow_share: time.slow_share,
            median_seconds: time.median,
        }
    }
}

pub(super) async fn list(State(shared): Ctx) -> Response {
    match shared.routes.ask(|ledger| ledger.baselines(None)).await {
        Some(baselines) => Json(Listed {
            baselines: baselines.into_iter().map(Into::into).collect(),
        })
        .into_response(),
        None => ending(),
    }
}

pub(super) async fn one(State(shared): Ctx, Path(id): Path<String>) -> Response {
    let asked = id.clone();
    match shared
        .routes
        .ask(move |ledger| ledger.baselines(Some(&asked)))
        .await
    {
        Some(baselines) => match baselines.into_iter().next() {
            Some(baseline) => Json(Shown::from(baseline)).into_response(),
            None => unknown(&id),
        },
        None => ending(),
    }
}

pub(super) async fn pin(State(shared): Ctx, Path(id): Path<String>) -> Response {
    change(&shared, id, Change::Pin).await
}

pub(super) async fn unpin(State(shared): Ctx, Path(id): Path<String>) -> Response {
    change(&shared, id, Change::Unpin).await
}

pub(super) async fn reset(State(shared): Ctx, Path(id): Path<String>) -> Response {
    change(&shared, id, Change::Reset).await
}

/// Makes a change, and answers once a restart would not undo it.
async fn change(shared: &Arc<Shared>, id: String, change: Change) -> Response {
    // What the journal holds of earlier runs comes first.
    if !shared.ready.load(Ordering::Relaxed) {
        return later("the journal is being read");
    }
    let wanted = BaselineChange { id, change };
    let asked = wanted.clone();
    let accepted = shared.routes.ask(move |ledger| ledger.accepts(&asked)).await;
    let id = wanted.id.clone();
    match accepted {
        None => return ending(),
        Some(Err(ChangeRefused::Unknown)) => return unknown(&id),
        Some(Err(ChangeRefused::Configured)) => {
            let text = format!("`{id}` stands in `collector.baseline.pins`: take it out there\n");
            return (StatusCode::CONFLICT, text).into_response();
        }
        Some(Ok(())) => {}
    }
    if Sink(Arc::clone(shared)).change_baseline(wanted).await.is_err() {
        return later("the journal takes nothing");
    }
    tracing::info!(id, ?change, "a person changed a baseline");
    let done = match change {
        Change::Pin => "is pinned: it learns nothing until `DELETE /api/v1/pins/ID`",
        Change::Unpin => "learns again",
        Change::Reset => "is forgotten, and is not judged until it is learned anew",
    };
    format!("the baseline of `{id}` {done}\n").into_response()
}

fn unknown(id: &str) -> Response {
    let shown: String = id.chars().take(200).collect();
    let text = format!(
        "no node or edge `{shown}` has answered a request: /api/v1/baselines lists those that have\n"
    );
    (StatusCode::NOT_FOUND, text).into_response()
}

fn later(why: &str) -> Response {
    (
        StatusCode::SERVICE_UNAVAILABLE,
        format!("{why}: ask again later\n"),
    )
        .into_response()
}
