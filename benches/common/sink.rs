//! A collector that checks and counts spans and forgets them.
//!
//! In: OTLP over gRPC. Out: a page that says how many spans came.
//! Left out on purpose: everything that would take time from the contestants.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use otlp::intake::{
    Accepted, BatchMeta, IntakeObserver, Limits, Observed, Outcome, Refusal, Signal, TraceSink,
};
use tokio::net::TcpListener;

use crate::Failure;

/// Serves until killed.
pub(crate) async fn serve(listener: TcpListener, page: TcpListener) -> Result<(), Failure> {
    let spans = Arc::new(Spans::default());
    let shown = spans.clone();
    let router = Router::new().route(
        "/",
        get(move || async move { format!("spans {}\n", shown.0.load(Relaxed)) }),
    );
    tokio::spawn(async move { axum::serve(page, router).await });
    let forever = std::future::pending();
    otlp::intake::serve_grpc(listener, Dropped, Limits::default(), spans, forever).await;
    Ok(())
}

#[derive(Clone)]
struct Dropped;

impl TraceSink for Dropped {
    async fn export(&self, _: Bytes, _: BatchMeta) -> Result<Accepted, Refusal> {
        Ok(Accepted::default())
    }
}

/// Spans of requests that were taken.
#[derive(Default)]
struct Spans(AtomicU64);

impl IntakeObserver for Spans {
    fn request(&self, observed: &Observed) {
        if observed.signal == Signal::Traces && observed.outcome == Outcome::Accepted {
            self.0.fetch_add(observed.spans, Relaxed);
        }
    }
}
