//! The HTTP/1.1 client of the shop: of its services, through their agents' outbound proxies, and of its users.
//!
//! In: a method, an address, a path and headers. Out: the status and the body, or why there is none.
//! Left out on purpose: names, TLS, redirects and request bodies that stream. Everything here is on loopback.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// How long a call may take, connecting and body included.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Servers close idle connections after 15 s or later; leaving first keeps a request from meeting a closing one.
const MAX_IDLE: Duration = Duration::from_secs(5);
/// Idle connections kept per address.
const MAX_IDLE_PER_ADDRESS: usize = 64;
/// Largest answer that is read, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// Headers that a service passes on from the request it serves to the requests it makes, and does not look into.
pub(super) const FORWARDED: [&str; 5] = [
    "traceparent",
    "tracestate",
    "baggage",
    "x-correlation-id",
    "x-request-id",
];

/// The headers among `incoming` that are passed on, with every value of each, in order.
pub(super) fn forwarded(incoming: &HeaderMap) -> HeaderMap {
    let mut passed = HeaderMap::new();
    for name in FORWARDED {
        for value in incoming.get_all(name) {
            passed.append(name, value.clone());
        }
    }
    passed
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// Nobody listens, or not for us.
    #[error("cannot connect to `{address}`")]
    Connect {
        /// The proxy where there is one, else the server.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The connection broke, or what came was not HTTP.
    #[error("`{address}` broke off")]
    Broken {
        /// The proxy where there is one, else the server.
        address: SocketAddr,
        /// What hyper said.
        #[source]
        source: hyper::Error,
    },
    /// The body broke off or was larger than 1 MiB.
    #[error("the answer of `{address}` is larger than 1 MiB or broke off")]
    Body {
        /// The proxy where there is one, else the server.
        address: SocketAddr,
    },
    /// No whole answer in time.
    #[error("`{address}` did not answer within {seconds} s", seconds = CALL_TIMEOUT.as_secs())]
    TimedOut {
        /// The proxy where there is one, else the server.
        address: SocketAddr,
    },
    /// A path that no request line can hold.
    #[error("`{path}` is no path: write one such as `/cart`")]
    Path {
        /// The path as given.
        path: String,
    },
}

struct Idle {
    sender: SendRequest<Full<Bytes>>,
    since: Instant,
}

/// A client with a pool of kept-alive connections, to servers directly or all through one forward proxy.
pub(super) struct Client {
    proxy: Option<SocketAddr>,
    idle: Mutex<HashMap<SocketAddr, Vec<Idle>>>,
}

impl Client {
    /// Requests go to `proxy` in absolute form where one is given, else to the server itself in origin form.
    pub(super) fn new(proxy: Option<SocketAddr>) -> Self {
        Self {
            proxy,
            idle: Mutex::default(),
        }
    }

    /// Sends one request to `server` and reads the whole answer. Every status is an answer, 5xx too.
    ///
    /// # Errors
    /// No connection, a broken one, or no whole answer within 10 s.
    pub(super) async fn send(
        &self,
        method: Method,
        server: SocketAddr,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), CallError> {
        let address = self.proxy.unwrap_or(server);
        let request = self.request(method, server, path, headers, body)?;
        let exchange = async {
            let (response, mut sender) = self.exchange(address, request).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER)
                .collect()
                .await
                .map_err(|_| CallError::Body { address })?;
            // Right after a body the connection is not free yet; kept too early it would be passed over and another opened.
            if sender.ready().await.is_ok() {
                self.keep(address, sender);
            }
            Ok((head.status, body.to_bytes()))
        };
        timeout(CALL_TIMEOUT, exchange)
            .await
            .unwrap_or(Err(CallError::TimedOut { address }))
    }

    fn request(
        &self,
        method: Method,
        server: SocketAddr,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, CallError> {
        let target = if self.proxy.is_some() {
            format!("http://{server}{path}")
        } else {
            path.to_owned()
        };
        let no_path = |_| CallError::Path {
            path: path.to_owned(),
        };
        let uri: Uri = target.parse().map_err(no_path)?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        if let Ok(host) = HeaderValue::try_from(server.to_string()) {
            request.headers_mut().insert(header::HOST, host);
        }
        Ok(request)
    }

    /// Tries kept connections first. One that closed before it took the request gives it back, and the next is tried;
    /// a request that may have left is never sent twice.
    async fn exchange(
        &self,
        address: SocketAddr,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, SendRequest<Full<Bytes>>), CallError> {
        while let Some(mut sender) = self.take(address) {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, sender)),
                Err(mut refused) => match refused.take_message() {
                    Some(unsent) => request = unsent,
                    None => {
                        return Err(CallError::Broken {
                            address,
                            source: refused.into_error(),
                        });
                    }
                },
            }
        }
        let mut sender = connect(address).await?;
        match sender.send_request(request).await {
            Ok(response) => Ok((response, sender)),
            Err(source) => Err(CallError::Broken { address, source }),
        }
    }

    fn take(&self, address: SocketAddr) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.get_mut(&address)?;
        kept.retain(|idle| idle.since.elapsed() < MAX_IDLE && !idle.sender.is_closed());
        let ready = kept.iter().rposition(|idle| idle.sender.is_ready())?;
        Some(kept.remove(ready).sender)
    }

    fn keep(&self, address: SocketAddr, sender: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.entry(address).or_default();
        if kept.len() < MAX_IDLE_PER_ADDRESS {
            kept.push(Idle {
                sender,
                since: Instant::now(),
            });
        }
    }
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>, CallError> {
    let refused = |source| CallError::Connect { address, source };
    let stream = TcpStream::connect(address).await.map_err(refused)?;
    stream.set_nodelay(true).map_err(refused)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|source| CallError::Broken { address, source })?;
    // Ends by itself when the sender is dropped or the peer closes; the exchange reports what went wrong.
    tokio::spawn(connection);
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use axum::serve::ListenerExt as _;

    use super::*;

    #[test]
    fn only_context_headers_are_passed_on_and_each_with_all_its_values() {
        let mut incoming = HeaderMap::new();
        for (name, value) in [
            (
                "traceparent",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            ),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
            ("x-request-id", "r-7"),
            ("cookie", "secret"),
            ("host", "web"),
        ] {
            incoming.append(name, HeaderValue::from_static(value));
        }
        let passed: Vec<_> = forwarded(&incoming)
            .iter()
            .map(|(k, v)| format!("{k}: {}", v.to_str().unwrap()))
            .collect();
        assert_eq!(
            passed,
            [
                "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                "tracestate: a=1",
                "tracestate: b=2",
                "x-request-id: r-7",
            ]
        );
    }

    #[tokio::test]
    async fn requests_one_after_the_other_share_a_connection() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&accepted);
        let listener = listener.tap_io(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let router = axum::Router::new().fallback(|| async { "here" });
        tokio::spawn(async move { axum::serve(listener, router).await });
        let client = Client::new(None);
        for _ in 0..20 {
            let answered = client
                .send(Method::GET, address, "/", HeaderMap::new(), Bytes::new())
                .await;
            assert_eq!(answered.unwrap(), (StatusCode::OK, Bytes::from_static(b"here")));
        }
        assert_eq!(accepted.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn an_address_where_nobody_listens_is_named() {
        let gone = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let error = Client::new(None)
            .send(Method::GET, gone, "/", HeaderMap::new(), Bytes::new())
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), format!("cannot connect to `{gone}`"));
    }
}
