//! Who may come in at the collector's listeners, and to which tenant.
//!
//! In: the keys `access` of OTLP and page, and the tenants. Out: what their listeners ask of a request, and how often whom they
//! denied, by tenant where that was known.
//! Left out on purpose: how that is asked, which `otlp::access` does for agent and collector alike.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use map::catalogue as names;
use otlp::access::{Access, AccessObserver, AccessSettings, Denied, HostNames, Tenants, TokenError};
use otlp::serve::Peer;
use otlp::tls::Reload;
use tower_service::Service as _;

use crate::scrape::Scrape;

/// How often somebody was denied at one listener, and what became of its tokens when they changed.
#[derive(Debug)]
pub(crate) struct DoorCounts {
    /// Before it was known whose tenant it is.
    nobodys: [AtomicU64; Denied::REASONS.len()],
    /// By the index of the tenant.
    of_tenants: Vec<[AtomicU64; Denied::REASONS.len()]>,
    reloads: [AtomicU64; Reload::ALL.len()],
}

impl DoorCounts {
    fn new(tenants: usize) -> Self {
        Self {
            nobodys: Default::default(),
            of_tenants: (0..tenants).map(|_| Default::default()).collect(),
            reloads: Default::default(),
        }
    }
}

impl AccessObserver for DoorCounts {
    fn denied(&self, reason: &'static str, tenant: Option<usize>) {
        let of_tenant = tenant.and_then(|tenant| self.of_tenants.get(tenant));
        let counts = of_tenant.unwrap_or(&self.nobodys);
        if let Some(index) = Denied::REASONS.iter().position(|known| *known == reason) {
            counts[index].fetch_add(1, Relaxed);
        }
    }

    fn reload(&self, outcome: Reload) {
        self.reloads[outcome as usize].fetch_add(1, Relaxed);
    }
}

/// The counts of both listeners.
#[derive(Debug)]
pub(crate) struct Doors {
    pub(crate) otlp: Arc<DoorCounts>,
    pub(crate) page: Arc<DoorCounts>,
}

impl Doors {
    pub(crate) fn new(tenants: usize) -> Self {
        Self {
            otlp: Arc::new(DoorCounts::new(tenants)),
            page: Arc::new(DoorCounts::new(tenants)),
        }
    }

    /// Writes the counts of a tenant, and those that are nobody's, as series.
    pub(crate) fn write(&self, tenant: usize, out: &mut Scrape<'_>) {
        let doors = [("otlp", &self.otlp), ("page", &self.page)];
        out.family(names::COLLECTOR_DENIED);
        for (listener, counts) in doors {
            for (index, reason) in Denied::REASONS.into_iter().enumerate() {
                let own = counts
                    .of_tenants
                    .get(tenant)
                    .map_or(0, |own| own[index].load(Relaxed));
                let count = own + counts.nobodys[index].load(Relaxed);
                out.sample(&[("listener", listener), ("reason", reason)], count as f64);
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

/// Who may send, or who may read. A page elsewhere may lead its own name to a loopback address, so there the `hosts` are
/// looked at.
pub(crate) fn access(
    settings: &AccessSettings,
    tenants: Option<&Tenants>,
    hosts: HostNames<'_>,
    counts: Arc<DoorCounts>,
) -> Result<Access, TokenError> {
    match tenants {
        Some(tenants) => Access::of_tenants(settings, tenants, hosts, counts),
        None => Access::new(settings, hosts, counts),
    }
}

/// What is behind the door of the page: all that one tenant sees, by its index.
#[derive(Clone)]
pub(crate) struct Pages {
    pub(crate) access: Access,
    pub(crate) each: Arc<[Router]>,
}

/// Asks every request whose it is, and hands it to that tenant's routes; nothing else leads there.
pub(crate) async fn ask(
    State(pages): State<Pages>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    let (head, body): (_, Body) = request.into_parts();
    // Questions over gRPC are posted, and change nothing.
    let changes = [Method::PUT, Method::DELETE, Method::PATCH].contains(&head.method);
    let access = &pages.access;
    let admitted = access.admit(&head, Some(peer.ip())).and_then(|client| {
        if changes {
            access.may_write(&client)?;
        }
        // The door was made with a page for each tenant.
        pages.each.get(client.tenant()).ok_or(Denied::NoTenant)
    });
    match admitted {
        Ok(page) => {
            let Ok(answer) = page.clone().call(Request::from_parts(head, body)).await;
            answer
        }
        Err(denied) => (denied.status(), denied.headers(), format!("{denied}\n")).into_response(),
    }
}
