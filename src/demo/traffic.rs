//! The shop's users: a steady mix of page views, arriving at random.
//!
//! In: where the front is, and how many requests a second. Out: requests without any tracing header, and counts.
//! Left out on purpose: users who wait. Arrivals do not slow down when the shop does (an open loop), because users do
//! not know each other; only their number at one time is bounded.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use rand::{Rng, RngExt as _};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::http::Client;
use super::latency::poisson_gap;

/// Users who wait for an answer at one time; further ones are skipped and counted.
const MAX_WAITING: usize = 256;
/// Every how many skipped requests a line is logged.
const LOG_EVERY: u64 = 100;
/// Longest pause that is planned at once, so that a rate near 0 does not overflow the clock.
const MAX_GAP: Duration = Duration::from_hours(1);

/// Pages and their shares of the traffic; the shares add up to 100.
const MIX: [(u32, Page); 4] = [
    (
        30,
        Page {
            method: Method::GET,
            path: "/",
        },
    ),
    (
        25,
        Page {
            method: Method::GET,
            path: "/products/{id}",
        },
    ),
    (
        15,
        Page {
            method: Method::GET,
            path: "/cart",
        },
    ),
    (
        30,
        Page {
            method: Method::POST,
            path: "/checkout",
        },
    ),
];
/// Products that users look at: `/products/1` and so on.
const PRODUCTS: u32 = 24;

struct Page {
    method: Method,
    /// `{id}` stands for a product.
    path: &'static str,
}

/// What became of the users' requests.
#[derive(Debug, Default)]
pub(super) struct TrafficCounts {
    /// Answered, well or not, or given up.
    pub(super) finished: AtomicU64,
    /// Those among them that were answered with 5xx or not at all.
    pub(super) failed: AtomicU64,
    /// Not sent, because too many users were waiting.
    pub(super) skipped: AtomicU64,
}

/// Sends about `per_second` requests a second to `front` until `stop`, then waits for the last answers.
///
/// 0 sends none.
pub(super) async fn run(
    front: SocketAddr,
    per_second: f64,
    counts: Arc<TrafficCounts>,
    stop: impl Future<Output = ()>,
) {
    let users = Arc::new(Client::new(None));
    let waiting = Arc::new(Semaphore::new(MAX_WAITING));
    let mut visits = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    let mut next = Instant::now();
    loop {
        next += gap(per_second);
        tokio::select! {
            () = &mut stop => break,
            () = sleep_until(next) => {}
        }
        while visits.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&waiting).try_acquire_owned() else {
            skip(&counts);
            continue;
        };
        let (users, counts) = (Arc::clone(&users), Arc::clone(&counts));
        visits.spawn(async move {
            visit(&users, front, &counts).await;
            drop(place);
        });
    }
    visits.join_all().await;
}

fn gap(per_second: f64) -> Duration {
    if per_second > 0.0 {
        poisson_gap(per_second, &mut rand::rng()).min(MAX_GAP)
    } else {
        MAX_GAP
    }
}

fn skip(counts: &TrafficCounts) {
    let skipped = counts.skipped.fetch_add(1, Ordering::Relaxed) + 1;
    if skipped % LOG_EVERY == 1 {
        warn!(
            skipped,
            waiting = MAX_WAITING,
            "demo users skipped because too many wait for an answer"
        );
    }
}

async fn visit(users: &Client, front: SocketAddr, counts: &TrafficCounts) {
    let (method, path) = choose(&mut rand::rng());
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static("tracemap-demo"));
    if method == Method::POST {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let answered = users.send(method, front, &path, headers, Bytes::new()).await;
    let failed = match &answered {
        Ok((status, _)) => status.is_server_error(),
        Err(error) => {
            debug!(%error, "demo user got no answer");
            true
        }
    };
    counts.finished.fetch_add(1, Ordering::Relaxed);
    counts.failed.fetch_add(u64::from(failed), Ordering::Relaxed);
}

/// One user's request, drawn from the mix.
fn choose(rng: &mut impl Rng) -> (Method, String) {
    let mut left = rng.random_range(0..100);
    for (share, page) in MIX {
        if left < share {
            let product = rng.random_range(1..=PRODUCTS).to_string();
            return (page.method, page.path.replace("{id}", &product));
        }
        left -= share;
    }
    (Method::GET, "/".to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn three_requests_in_ten_are_checkouts_and_every_page_is_seen() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        for _ in 0..10_000 {
            let (method, path) = choose(&mut rng);
            let page = if path.starts_with("/products/") {
                "/products/{id}"
            } else {
                path.as_str()
            };
            *seen.entry(format!("{method} {page}")).or_default() += 1;
        }
        let pages: Vec<_> = seen.keys().map(String::as_str).collect();
        assert_eq!(
            pages,
            ["GET /", "GET /cart", "GET /products/{id}", "POST /checkout"]
        );
        let checkouts = seen["POST /checkout"];
        assert!(
            (2_850..3_150).contains(&checkouts),
            "{checkouts} of 10000 are checkouts"
        );
    }
}
