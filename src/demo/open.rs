//! Opens the shop: turns its bound listeners into running tasks.
//!
//! In: a bound shop, the agents' addresses and the OTLP endpoint. Out: the tasks by the stage they stop in, and counts.
//! Left out on purpose: what the parts do. Each has a module of its own; here they only meet.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tracing::error;

use super::database;
use super::faults::Faults;
use super::flaws;
use super::http::Client;
use super::lifecycle::{Lifecycle, Stage};
use super::serve::{self, Instance};
use super::services::{CHECKOUT, WEB, WORKER};
use super::telemetry::Telemetry;
use super::traffic::{self, TrafficCounts};
use super::worker::{self, OrderQueue, QueueCounts, Worker};
use super::{Bound, Proxies, Shop, control};

/// An open shop.
pub(super) struct Opened {
    pub(super) life: Lifecycle,
    pub(super) telemetry: Telemetry,
    pub(super) traffic: Arc<TrafficCounts>,
    pub(super) orders: Arc<QueueCounts>,
}

/// Starts everything, what others stand on first.
pub(super) fn open(shop: Shop, proxies: &HashMap<&'static str, Proxies>, otlp: &str) -> Opened {
    let ground = Ground {
        telemetry: Telemetry::new(otlp),
        faults: Arc::new(Faults::new(shop.settings.error_rate)),
        database: shop.database.1,
        callees: Arc::new(callees(&shop.services, proxies)),
    };
    let mut life = Lifecycle::new();
    ground.open(&mut life, shop.database.0, shop.control.0);
    let (queue, orders) = ground.hire_workers(&mut life);
    ground.open_services(&mut life, shop.services, proxies, queue);
    let traffic = ground.let_users_in(&mut life, shop.settings.requests_per_second);
    if shop.settings.flaws {
        let stop = life.reached(Stage::UsersLeave);
        life.users.spawn(flaws::run(otlp.to_owned(), stop));
    }
    Opened {
        life,
        telemetry: ground.telemetry,
        traffic,
        orders,
    }
}

/// What the parts share.
struct Ground {
    telemetry: Telemetry,
    faults: Arc<Faults>,
    database: SocketAddr,
    callees: Arc<HashMap<&'static str, SocketAddr>>,
}

impl Ground {
    fn open(&self, life: &mut Lifecycle, database: TcpListener, control: TcpListener) {
        life.ground
            .spawn(database::serve(database, Arc::clone(&self.faults)));
        let stop = life.reached(Stage::ServicesClose);
        life.ground.spawn(serve_http(
            "control",
            control,
            control::router(Arc::clone(&self.faults)),
            stop,
        ));
    }

    fn hire_workers(&self, life: &mut Lifecycle) -> (OrderQueue, Arc<QueueCounts>) {
        let counts = Arc::new(QueueCounts::default());
        let (queue, receiver) = worker::queue(Arc::clone(&counts), self.telemetry.tracer(CHECKOUT));
        let worker = Arc::new(Worker {
            tracer: self.telemetry.tracer(WORKER),
            database: self.database_client(WORKER),
            faults: Arc::clone(&self.faults),
            counts: Arc::clone(&counts),
        });
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..worker::WORKERS {
            life.workers.spawn(Arc::clone(&worker).run(Arc::clone(&receiver)));
        }
        (queue, counts)
    }

    fn open_services(
        &self,
        life: &mut Lifecycle,
        services: Vec<Bound>,
        proxies: &HashMap<&'static str, Proxies>,
        queue: OrderQueue,
    ) {
        let mut queue = Some(queue);
        for Bound {
            service, listener, ..
        } in services
        {
            let instance = Arc::new(Instance {
                service,
                client: Client::new(proxies.get(service.name).map(|proxies| proxies.outbound)),
                callees: Arc::clone(&self.callees),
                database: self.database_client(service.name),
                queue: if service.name == CHECKOUT {
                    queue.take()
                } else {
                    None
                },
                faults: Arc::clone(&self.faults),
            });
            let stop = life.reached(Stage::ServicesClose);
            life.services
                .spawn(serve_http(service.name, listener, serve::router(&instance), stop));
        }
    }

    fn let_users_in(&self, life: &mut Lifecycle, per_second: f64) -> Arc<TrafficCounts> {
        let counts = Arc::new(TrafficCounts::default());
        if let Some(front) = self.callees.get(WEB) {
            let stop = life.reached(Stage::UsersLeave);
            life.users
                .spawn(traffic::run(*front, per_second, Arc::clone(&counts), stop));
        }
        counts
    }

    fn database_client(&self, service: &str) -> database::Client {
        database::Client::new(self.database, self.telemetry.tracer(service))
    }
}

/// Where each service is reached.
fn callees(
    services: &[Bound],
    proxies: &HashMap<&'static str, Proxies>,
) -> HashMap<&'static str, SocketAddr> {
    let reached = |bound: &Bound| {
        let name = bound.service.name;
        (
            name,
            proxies.get(name).map_or(bound.address, |proxies| proxies.inbound),
        )
    };
    services.iter().map(reached).collect()
}

async fn serve_http(
    name: &'static str,
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    // Small answers must not wait for more to send (Nagle); a socket that refuses the option works without it.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop).await {
        error!(service = name, %error, "part of the demo shop stopped serving");
    }
}
