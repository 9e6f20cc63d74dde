//! A stand-in for the agents: passes every request on and puts a span id of its own into its context.
//!
//! In: the shop's workloads. Out: two proxies for each, and a log of what went through them.
//! Left out on purpose: spans. What the agents make of the requests is theirs to test.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::net::TcpListener;

use super::super::http::Client;
use super::super::{Proxies, ShopWorkload};

/// Which of a service's two proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Inbound,
    Outbound,
}

/// A request that came to a proxy.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) service: &'static str,
    pub(super) side: Side,
    pub(super) method: Method,
    /// As in the request line.
    pub(super) target: String,
    /// As they came.
    pub(super) received: HeaderMap,
    /// As they were passed on.
    pub(super) passed: HeaderMap,
}

/// What went through, in order.
pub(super) type Log = Arc<Mutex<Vec<Seen>>>;

struct Proxy {
    service: &'static str,
    side: Side,
    /// None for the forward proxy, which goes where the request says.
    upstream: Option<SocketAddr>,
    client: Client,
    log: Log,
}

/// Starts both proxies of every workload.
pub(super) async fn start(workloads: &[ShopWorkload]) -> (HashMap<&'static str, Proxies>, Log) {
    let log = Log::default();
    let mut proxies = HashMap::new();
    for workload in workloads {
        let inbound = listen(workload.service, Side::Inbound, Some(workload.upstream), &log).await;
        let outbound = listen(workload.service, Side::Outbound, None, &log).await;
        proxies.insert(workload.service, Proxies { inbound, outbound });
    }
    (proxies, log)
}

async fn listen(service: &'static str, side: Side, upstream: Option<SocketAddr>, log: &Log) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = Arc::new(Proxy {
        service,
        side,
        upstream,
        client: Client::new(None),
        log: Arc::clone(log),
    });
    let router = Router::new().fallback(move |request: Request| async move { proxy.pass(request).await });
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

impl Proxy {
    async fn pass(&self, request: Request) -> Response {
        let (head, _) = request.into_parts();
        let named = head
            .uri
            .authority()
            .and_then(|authority| authority.as_str().parse().ok());
        let Some(server) = self.upstream.or(named) else {
            return (
                StatusCode::BAD_REQUEST,
                "a forward proxy needs an absolute target",
            )
                .into_response();
        };
        let mut passed = head.headers.clone();
        passed.remove(header::HOST);
        passed.remove(header::CONTENT_LENGTH);
        let traceparent = continued(passed.get("traceparent"));
        passed.insert("traceparent", traceparent);
        self.log.lock().unwrap().push(Seen {
            service: self.service,
            side: self.side,
            method: head.method.clone(),
            target: head.uri.to_string(),
            received: head.headers,
            passed: passed.clone(),
        });
        match self
            .client
            .send(head.method, server, head.uri.path(), passed, Bytes::new())
            .await
        {
            Ok((status, body)) => (status, body).into_response(),
            Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
        }
    }
}

/// The same trace with a new span id, or a new trace.
fn continued(traceparent: Option<&HeaderValue>) -> HeaderValue {
    let trace = traceparent.and_then(|value| value.to_str().ok()?.get(3..35).map(str::to_owned));
    let trace = trace.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
    HeaderValue::try_from(format!("00-{trace}-{:016x}-01", rand::random::<u64>())).unwrap()
}
