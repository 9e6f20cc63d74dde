//! What both APIs share: the backend behind its bounds, and how a question can fail.
//!
//! In: closures that ask the backend. Out: their answers, worked out on threads that may block, a few at a time.
//! Left out on purpose: how a failure is written, which each API has its own form for.

use std::error::Error;
use std::sync::Arc;

use axum::http::StatusCode;
use store::{Found, Search};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::error;

use crate::backend::{Backend, BackendError};

/// Bounds on what one question, and all of them together, may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Questions that are worked on at a time, at least 1. Each takes one thread.
    pub concurrent: usize,
    /// Questions that wait for their turn; further ones are answered 503.
    pub waiting: usize,
    /// The most traces in one answer, whatever `limit` asks for.
    pub traces: usize,
    /// The most spans of each trace in a search's answer, whatever `spss` asks for.
    pub spans_per_trace: usize,
    /// The most tag names of a scope and the most values of a tag in one answer.
    pub tags: usize,
    /// Bytes of stored data after which a search stops and answers with what it has, or 422 where that is nothing.
    pub examined_bytes: u64,
    /// The longest answer in bytes. A trace beyond it is answered 422; Jaeger's lists of traces are cut short.
    pub answer_bytes: usize,
}

impl Default for Limits {
    /// 4 at a time, 64 waiting, 1,500 traces (the most that Jaeger's user interface asks for), 100 spans of each,
    /// 10,000 tags, 1 GiB examined, answers of 64 MiB.
    fn default() -> Self {
        Self {
            concurrent: 4,
            waiting: 64,
            traces: 1_500,
            spans_per_trace: 100,
            tags: 10_000,
            examined_bytes: 1 << 30,
            answer_bytes: 64 << 20,
        }
    }
}

/// The backend behind its bounds. Clones share them.
#[derive(Clone)]
pub struct Api {
    backend: Arc<dyn Backend>,
    limits: Arc<Limits>,
    admitted: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

impl Api {
    /// An API over `backend`; give one to both routers so that they share its bounds.
    pub fn new(backend: Arc<dyn Backend>, limits: Limits) -> Self {
        let concurrent = limits.concurrent.clamp(1, Semaphore::MAX_PERMITS);
        let admitted = concurrent
            .saturating_add(limits.waiting)
            .min(Semaphore::MAX_PERMITS);
        Self {
            backend,
            limits: Arc::new(limits),
            admitted: Arc::new(Semaphore::new(admitted)),
            running: Arc::new(Semaphore::new(concurrent)),
        }
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Runs `ask` on a thread that may block, when it is its turn.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Backend, &Limits) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let turn = self.turn().await?;
        let (backend, limits) = (Arc::clone(&self.backend), Arc::clone(&self.limits));
        let answer = tokio::task::spawn_blocking(move || {
            // Held here and not by the request: the thread stays busy when the client goes away.
            let _turn = turn;
            ask(&*backend, &limits)
        });
        let answer = answer
            .await
            .unwrap_or_else(|panicked| Err(Failure::Backend(panicked.into())));
        if let Err(Failure::Backend(error)) = &answer {
            error!(error = %chain(&**error), "trace query failed");
        }
        answer
    }

    async fn turn(&self) -> Result<[OwnedSemaphorePermit; 2], Failure> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned();
        let admitted = admitted.map_err(|_| Failure::Busy)?;
        let running = Arc::clone(&self.running).acquire_owned().await;
        Ok([admitted, running.map_err(|_| Failure::Busy)?])
    }
}

/// What the search finds. To find nothing only means something where all was looked at.
pub(crate) fn search(backend: &dyn Backend, search: &Search) -> Result<Found, Failure> {
    let found = backend.search(search)?;
    if found.traces.is_empty() && !found.complete {
        let examined_bytes = found.examined_bytes;
        return Err(Failure::Inconclusive { examined_bytes });
    }
    Ok(found)
}

/// Why a question has no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The question is wrong; what would be right.
    BadRequest(String),
    /// There is no such thing.
    NotFound(String),
    /// The answer would be longer than this many bytes.
    TooLarge { limit: usize },
    /// Nothing was found, but not everything was looked at.
    Inconclusive { examined_bytes: u64 },
    /// Too many questions at a time.
    Busy,
    /// The store or the map failed.
    Backend(BackendError),
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        Self::Backend(error)
    }
}

impl Failure {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::TooLarge { .. } | Self::Inconclusive { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Backend(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The whole text for the person who asked.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::BadRequest(message) | Self::NotFound(message) => message.clone(),
            Self::TooLarge { limit } => format!("the answer is longer than {limit} bytes, ask for less"),
            Self::Busy => "too many queries are waiting, ask again in a moment".to_owned(),
            Self::Inconclusive { examined_bytes } => format!(
                "nothing was found in {examined_bytes} bytes, but the search did not see all of the time range: ask \
                 for a shorter one or a rarer condition"
            ),
            Self::Backend(error) => chain(&**error),
        }
    }
}

/// The error and its causes in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
