//! A small shop of real services for `tracemap up --demo`: something to see a map, dashboards and alerts of.
//!
//! In: the addresses of the agent's proxies and an OTLP endpoint. Out: HTTP traffic between five services, a queue
//! with a worker and a database, each on a socket of its own, and faults in them on demand.
//! Left out on purpose: instrumentation of HTTP. The services pass context headers on, and the agents' proxies do the
//! rest; only what a proxy cannot see, database and queue, is traced by SDKs.
//!
//! ```text
//! users ─▶ web ─┬─▶ catalogue ─▶ database
//!               ├─▶ cart ─┬─▶ database
//!               │         └─▶ catalogue ─▶ …
//!               └─▶ checkout ─┬─▶ cart ─▶ …
//!                             ├─▶ payment
//!                             └─▶ queue `orders` ─▶ worker ─▶ database
//! ```
//! `services` is the shop as a table, `open` starts it, `serve` runs it, `faults` disturbs it, `lifecycle` stops it. `flaws` is no part
//! of it: made up spans of an office beside it.

mod command;
mod control;
mod database;
mod faults;
mod flaws;
mod http;
mod latency;
mod lifecycle;
mod open;
mod serve;
mod services;
mod telemetry;
#[cfg(test)]
mod tests;
mod traffic;
mod worker;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tracing::{error, info};

pub(crate) use command::{DemoAction, command};
use open::Opened;
use services::{SERVICES, Service};
use traffic::TrafficCounts;
use worker::QueueCounts;

/// Where the control listener is unless told otherwise.
pub(crate) const DEFAULT_CONTROL: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7072);

/// How the shop runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ShopSettings {
    /// Where faults are planted and healed. Default `127.0.0.1:7072`; port 0 lets the system choose.
    /// Whoever reaches it can disturb the shop, so keep it on loopback.
    pub(crate) control: SocketAddr,
    /// Users' requests per second, on average. Default 20; 0 sends none, 10,000 is the most. Each makes about 2 calls
    /// between services and 7 spans, so 20 is about 150 spans a second.
    pub(crate) requests_per_second: f64,
    /// Share of requests that fail by themselves in each service, the worker and the database, 0 to 1. Default 0.002;
    /// a checkout passes five services and asks the database twice, so about 1.4 % of checkouts fail.
    pub(crate) error_rate: f64,
    /// Also an office in which everything is wrong that `tracemap check` finds. Default no: the plain shop is healthy.
    pub(crate) flaws: bool,
}

impl Default for ShopSettings {
    fn default() -> Self {
        Self {
            control: DEFAULT_CONTROL,
            requests_per_second: 20.0,
            error_rate: 0.002,
            flaws: false,
        }
    }
}

impl ShopSettings {
    fn check(&self) -> io::Result<()> {
        let rate = self.requests_per_second;
        if !(0.0..=10_000.0).contains(&rate) {
            let reason =
                format!("`requests_per_second` is {rate}: write a number from 0 to 10000 such as 20");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        if !(0.0..=1.0).contains(&self.error_rate) {
            let reason = format!(
                "`error_rate` is {}: write a share from 0 to 1 such as 0.002",
                self.error_rate
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        Ok(())
    }
}

/// What an agent must know of one HTTP service to stand beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShopWorkload {
    /// `service.name`.
    pub(crate) service: &'static str,
    /// Where the service itself listens: the upstream of its inbound proxy.
    pub(crate) upstream: SocketAddr,
    /// Path templates of its routes, such as `/products/{id}`.
    pub(crate) routes: Vec<&'static str>,
}

/// The two sides of one service's agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proxies {
    /// The reverse proxy before the service; others call it here.
    pub(crate) inbound: SocketAddr,
    /// The forward proxy behind the service; it calls others through here.
    pub(crate) outbound: SocketAddr,
}

/// A shop whose listeners are bound and which does nothing yet.
pub(crate) struct Shop {
    settings: ShopSettings,
    services: Vec<Bound>,
    database: (TcpListener, SocketAddr),
    control: (TcpListener, SocketAddr),
}

struct Bound {
    service: &'static Service,
    listener: TcpListener,
    address: SocketAddr,
}

impl Shop {
    /// Binds every listener: the services and the database on loopback ports that the system chooses.
    ///
    /// # Errors
    /// Settings out of range (`InvalidInput`), or an address that cannot be bound, such as a `control` that is in use.
    pub(crate) async fn bind(settings: ShopSettings) -> io::Result<Self> {
        settings.check()?;
        let control = bind(settings.control).await.map_err(|error| {
            let address = settings.control;
            let hint = "is another demo shop running?";
            io::Error::new(
                error.kind(),
                format!("cannot listen on the demo's control address `{address}` ({error}): {hint}"),
            )
        })?;
        let mut services = Vec::with_capacity(SERVICES.len());
        for service in &SERVICES {
            let (listener, address) = bind(any_port()).await?;
            services.push(Bound {
                service,
                listener,
                address,
            });
        }
        Ok(Self {
            settings,
            services,
            database: bind(any_port()).await?,
            control,
        })
    }

    /// What the agent must run: one entry per HTTP service.
    pub(crate) fn workloads(&self) -> Vec<ShopWorkload> {
        let workload = |bound: &Bound| ShopWorkload {
            service: bound.service.name,
            upstream: bound.address,
            routes: bound.service.routes.iter().map(|route| route.path).collect(),
        };
        self.services.iter().map(workload).collect()
    }

    /// Starts services, worker, database, control listener and users; must be called on a tokio runtime.
    ///
    /// A service that `proxies` leaves out is called directly and calls directly. `otlp` is where SDK spans go, such as
    /// `http://127.0.0.1:4317`. When `shutdown` ends, users leave, services answer what they have, and the worker
    /// empties the queue, each for at most 2 s.
    pub(crate) fn start(
        self,
        proxies: &HashMap<&'static str, Proxies>,
        otlp: &str,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> ShopHandle {
        let (control, rate) = (self.control.1, self.settings.requests_per_second);
        let Opened {
            life,
            telemetry,
            traffic,
            orders,
        } = open::open(self, proxies, otlp);
        info!(%control, requests_per_second = rate, "demo shop runs");
        let task = tokio::spawn(async move {
            life.run(shutdown).await;
            telemetry.shutdown().await;
        });
        ShopHandle {
            control,
            traffic,
            orders,
            task,
        }
    }
}

async fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// What the shop has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShopStats {
    /// Users' requests that were answered or given up.
    pub(crate) requests: u64,
    /// Those among them that were answered with 5xx or not at all.
    pub(crate) failed: u64,
    /// Users' requests that were not sent, because too many users were waiting.
    pub(crate) skipped: u64,
    /// Orders that the worker took, stored or not.
    pub(crate) orders: u64,
    /// Orders that found the queue full.
    pub(crate) orders_refused: u64,
}

/// A running shop. Dropping the handle leaves it running until its `shutdown` ends.
pub(crate) struct ShopHandle {
    control: SocketAddr,
    traffic: Arc<TrafficCounts>,
    orders: Arc<QueueCounts>,
    task: JoinHandle<()>,
}

impl ShopHandle {
    /// Where the control listener is; what [`command`] needs.
    pub(crate) fn control(&self) -> SocketAddr {
        self.control
    }

    /// Counts since the start.
    pub(crate) fn stats(&self) -> ShopStats {
        ShopStats {
            requests: self.traffic.finished.load(Ordering::Relaxed),
            failed: self.traffic.failed.load(Ordering::Relaxed),
            skipped: self.traffic.skipped.load(Ordering::Relaxed),
            orders: self.orders.processed.load(Ordering::Relaxed),
            orders_refused: self.orders.refused.load(Ordering::Relaxed),
        }
    }

    /// Waits until the shop has stopped and its last spans are sent; returns what it did in all.
    pub(crate) async fn stopped(mut self) -> ShopStats {
        if let Err(error) = (&mut self.task).await {
            error!(%error, "demo shop did not stop in order");
        }
        let stats = self.stats();
        let ShopStats {
            requests,
            failed,
            skipped,
            orders,
            orders_refused,
        } = stats;
        info!(
            requests,
            failed, skipped, orders, orders_refused, "demo shop stopped"
        );
        stats
    }
}
