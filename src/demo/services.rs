//! What the shop is made of: its services, their routes and the calls that each route makes, as one table.
//!
//! In: nothing. Out: [`SERVICES`] and the names beside it; `serve` runs what stands here.
//! Left out on purpose: goods, prices and baskets. The shop is made of calls; answers only say who was asked.

use http::Method;

use super::latency::Latency;

/// The shop's front. Users come in here and nowhere else.
pub(super) const WEB: &str = "web";
/// Baskets.
pub(super) const CART: &str = "cart";
/// Products.
pub(super) const CATALOGUE: &str = "catalogue";
/// Turns a basket into an order.
pub(super) const CHECKOUT: &str = "checkout";
/// Takes the money. The leaf that examples slow down.
pub(super) const PAYMENT: &str = "payment";
/// Writes orders down, fed by the queue.
pub(super) const WORKER: &str = "worker";
/// The database stand-in. Not a service that is traced: it is seen by its clients only.
pub(super) const DATABASE: &str = "database";

/// Everything that can be slowed or made to fail, as error messages list it.
pub(super) const PARTICIPANTS: [&str; 7] = [WEB, CART, CATALOGUE, CHECKOUT, PAYMENT, WORKER, DATABASE];
/// Who has an OpenTelemetry SDK: those with a database client, the queue's sender and its consumer.
pub(super) const SDK_SERVICES: [&str; 4] = [CART, CATALOGUE, CHECKOUT, WORKER];

/// One HTTP service.
pub(super) struct Service {
    /// `service.name`.
    pub(super) name: &'static str,
    /// Time that the service itself takes per request.
    pub(super) own: Latency,
    /// What it answers; anything else is 404.
    pub(super) routes: &'static [Route],
}

/// One route: what is asked, and what is done for it, in order.
pub(super) struct Route {
    /// GET or POST.
    pub(super) method: Method,
    /// Path template; the only variable is `{id}`, a number.
    pub(super) path: &'static str,
    /// One after the other; the first that fails ends the request.
    pub(super) steps: &'static [Step],
}

/// One thing that a route does for its answer.
pub(super) enum Step {
    /// Asks another service through both agents. `{id}` in the path is the one of the request being served.
    Call {
        /// Whom.
        service: &'static str,
        /// GET or POST.
        method: Method,
        /// One of the callee's path templates.
        path: &'static str,
    },
    /// Asks the database.
    Query(Query),
    /// Puts an order on the queue `orders`.
    SendOrder,
}

/// A statement of the database stand-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Query {
    /// `SELECT` or `INSERT`.
    pub(super) operation: &'static str,
    /// One of [`TABLES`].
    pub(super) table: &'static str,
}

/// The database's tables and how many rows each has at first.
pub(super) const TABLES: [(&str, u64); 3] = [("products", 24), ("carts", 8), ("orders", 0)];

/// What the worker does for each order.
pub(super) const STORE_ORDER: Query = Query {
    operation: "INSERT",
    table: "orders",
};
/// Time that the worker itself takes per order.
pub(super) const WORKER_OWN: Latency = own(18.0);
/// Time that the database takes per statement.
pub(super) const DATABASE_OWN: Latency = own(3.0);

/// The HTTP services, callers before callees.
pub(super) static SERVICES: [Service; 5] = [
    Service {
        name: WEB,
        own: own(6.0),
        routes: &[
            Route {
                method: Method::GET,
                path: "/",
                steps: &[get(CATALOGUE, "/products")],
            },
            Route {
                method: Method::GET,
                path: "/products/{id}",
                steps: &[get(CATALOGUE, "/products/{id}")],
            },
            Route {
                method: Method::GET,
                path: "/cart",
                steps: &[get(CART, "/cart")],
            },
            Route {
                method: Method::POST,
                path: "/checkout",
                steps: &[post(CHECKOUT, "/checkout")],
            },
        ],
    },
    Service {
        name: CHECKOUT,
        own: own(12.0),
        routes: &[Route {
            method: Method::POST,
            path: "/checkout",
            steps: &[get(CART, "/cart"), post(PAYMENT, "/charges"), Step::SendOrder],
        }],
    },
    Service {
        name: CART,
        own: own(8.0),
        routes: &[Route {
            method: Method::GET,
            path: "/cart",
            steps: &[select("carts"), get(CATALOGUE, "/products")],
        }],
    },
    Service {
        name: CATALOGUE,
        own: own(7.0),
        routes: &[
            Route {
                method: Method::GET,
                path: "/products",
                steps: &[select("products")],
            },
            Route {
                method: Method::GET,
                path: "/products/{id}",
                steps: &[select("products")],
            },
        ],
    },
    Service {
        name: PAYMENT,
        own: own(22.0),
        routes: &[Route {
            method: Method::POST,
            path: "/charges",
            steps: &[],
        }],
    },
];

const fn own(median_ms: f64) -> Latency {
    Latency {
        median_ms,
        sigma: 0.3,
    }
}

const fn get(service: &'static str, path: &'static str) -> Step {
    Step::Call {
        service,
        method: Method::GET,
        path,
    }
}

const fn post(service: &'static str, path: &'static str) -> Step {
    Step::Call {
        service,
        method: Method::POST,
        path,
    }
}

const fn select(table: &'static str) -> Step {
    Step::Query(Query {
        operation: "SELECT",
        table,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_in_the_table_has_a_route_that_answers_it_further_down() {
        for (place, service) in SERVICES.iter().enumerate() {
            for step in service.routes.iter().flat_map(|route| route.steps) {
                let Step::Call {
                    service: callee,
                    method,
                    path,
                } = step
                else {
                    continue;
                };
                let answers = SERVICES[place + 1..].iter().filter(|below| below.name == *callee);
                let route = answers
                    .flat_map(|below| below.routes)
                    .find(|route| route.path == *path);
                assert_eq!(
                    route.map(|route| &route.method),
                    Some(method),
                    "{} -> {callee} {path}",
                    service.name
                );
            }
        }
    }

    #[test]
    fn every_statement_in_the_table_names_a_table_and_comes_from_a_service_with_an_sdk() {
        for service in &SERVICES {
            for step in service.routes.iter().flat_map(|route| route.steps) {
                if let Step::Query(query) = step {
                    assert!(TABLES.iter().any(|(name, _)| *name == query.table), "{query:?}");
                }
                let seen_by_proxies = matches!(step, Step::Call { .. });
                assert!(
                    seen_by_proxies || SDK_SERVICES.contains(&service.name),
                    "{}",
                    service.name
                );
            }
        }
        assert!(TABLES.iter().any(|(name, _)| *name == STORE_ORDER.table));
    }
}
