//! Who may come in at the collector's listeners.
//!
//! In: the keys `access` of OTLP and page. Out: what their listeners ask of a request, and how often whom they denied.
//! Left out on purpose: how that is asked, which `otlp::access` does for agent and collector alike.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use map::catalogue as names;
use otlp::access::{Access, AccessObserver, AccessSettings, Denied, TokenError};
use otlp::serve::Peer;
use otlp::tls::Reload;

use crate::scrape::Scrape;

/// How often somebody was denied at one listener, and what became of its tokens when they changed.
#[derive(Debug, Default)]
pub(crate) struct DoorCounts {
    denied: [AtomicU64; Denied::REASONS.len()],
    reloads: [AtomicU64; Reload::ALL.len()],
}

impl AccessObserver for DoorCounts {
    fn denied(&self, reason: &'static str) {
        if let Some(index) = Denied::REASONS.iter().position(|known| *known == reason) {
            self.denied[index].fetch_add(1, Relaxed);
        }
    }

    fn reload(&self, outcome: Reload) {
        self.reloads[outcome as usize].fetch_add(1, Relaxed);
    }
}

/// The counts of both listeners.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    pub(crate) otlp: Arc<DoorCounts>,
    pub(crate) page: Arc<DoorCounts>,
}

impl Doors {
    /// Writes the counts as series.
    pub(crate) fn write(&self, out: &mut Scrape<'_>) {
        let doors = [("otlp", &self.otlp), ("page", &self.page)];
        out.family(names::COLLECTOR_DENIED);
        for (listener, counts) in doors {
            for (reason, count) in Denied::REASONS.into_iter().zip(&counts.denied) {
                out.sample(
                    &[("listener", listener), ("reason", reason)],
                    count.load(Relaxed) as f64,
                );
            }
        }
        out.family(names::COLLECTOR_TOKEN_RELOADS);
        for (listener, counts) in doors {
            for (outcome, count) in Reload::ALL.into_iter().zip(&counts.reloads) {
                let labels = [("listener", listener), ("outcome", outcome.as_str())];
                out.sample(&labels, count.load(Relaxed) as f64);
            }
        }
    }
}

/// Who may read the page. A page elsewhere may lead its own name to a loopback address, so there the names are looked at.
pub(crate) fn of_page(
    settings: &AccessSettings,
    hosts: &[String],
    bound: Option<SocketAddr>,
    counts: Arc<DoorCounts>,
) -> Result<Access, TokenError> {
    let looked_at = bound.is_some_and(|bound| bound.ip().is_loopback());
    Access::new(settings, looked_at.then_some(hosts), counts)
}

/// Asks every request for the page, but those of whoever looks after the process.
pub(crate) async fn ask(
    State(access): State<Access>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    if ["/healthz", "/readyz"].contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let (head, body): (_, Body) = request.into_parts();
    // Questions over gRPC are posted, and change nothing.
    let changes = [Method::PUT, Method::DELETE, Method::PATCH].contains(&head.method);
    let admitted = access.admit(&head, Some(peer.ip()));
    let admitted = admitted.and_then(|client| {
        if changes {
            access.may_write(&client)
        } else {
            Ok(())
        }
    });
    match admitted {
        Ok(()) => next.run(Request::from_parts(head, body)).await,
        Err(denied) => (denied.status(), denied.headers(), format!("{denied}\n")).into_response(),
    }
}
