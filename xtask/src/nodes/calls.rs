//! Services in the pods, and clients that call them all the time.
//!
//! In: pods. Out: what became of each call, and of which trace it was.
//! Left out on purpose: patience. A client that repeated what failed would hide it; only a request that never left, because
//! its connection had ended before, goes out on a new one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error as _;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Failure;
use super::topology::{Pod, SERVICE_PORT, Topology};

/// One client in so many makes a connection for each call; the others keep theirs.
const ALONE: usize = 3;

/// One call, and what became of it.
#[derive(Debug)]
pub(crate) struct Call {
    /// Numbers of the nodes.
    pub(crate) from: u8,
    pub(crate) to: u8,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    /// The trace that the service saw, where it saw one; else why it failed.
    pub(crate) answer: Result<Option<String>, String>,
}

/// Running clients.
pub(crate) struct Clients {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Vec<Call>>,
}

/// Starts the service of every pod; each answers with the trace that its request was of.
pub(crate) async fn serve(topology: &Topology) -> Result<(), Failure> {
    for (_, pod) in topology.pods() {
        let bound = pod.host.run(TcpListener::bind(("0.0.0.0", SERVICE_PORT)));
        let listener = bound.await??;
        pod.host.runtime().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let service = service_fn(|request| async move { Ok::<_, Infallible>(answer(&request)) });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
    }
    Ok(())
}

fn answer(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let context = request.headers().get("traceparent");
    let context = context.and_then(|value| value.to_str().ok());
    let trace = context
        .and_then(|value| value.split('-').nth(1))
        .unwrap_or_default();
    Response::new(Full::from(trace.to_owned()))
}

impl Clients {
    /// From every pod to every other pod but those of its own number on other nodes, so often a second each; a call
    /// that takes longer than `patience` has failed.
    pub(crate) fn start(topology: &Topology, calls_per_second: u64, patience: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        let pause = Duration::from_secs(1) / calls_per_second.max(1) as u32;
        for (from, caller) in topology.pods() {
            for (to, callee) in topology
                .pods()
                .filter(|(to, callee)| calls((from, caller), (*to, callee)))
            {
                let client = Client {
                    ends: (from, to),
                    to: callee.service(),
                    keeps: !tasks.len().is_multiple_of(ALONE),
                    kept: None,
                    stop: stop.clone(),
                };
                tasks.spawn_on(client.run(pause, patience), caller.host.runtime());
            }
        }
        Self { stop, tasks }
    }

    /// Lets each end its call; all of them, the first first.
    pub(crate) async fn finish(mut self) -> Result<Vec<Call>, Failure> {
        self.stop.store(true, Relaxed);
        let mut all = Vec::new();
        while let Some(calls) = self.tasks.join_next().await {
            all.extend(calls?);
        }
        all.sort_by_key(|call| call.began);
        Ok(all)
    }
}

/// Its neighbour, and those of the other nodes that do not have its own place there.
fn calls((from, caller): (u8, &Pod), (to, callee): (u8, &Pod)) -> bool {
    let place = |pod: &Pod| pod.address.octets()[3];
    caller.address != callee.address && (from == to || place(caller) != place(callee))
}

struct Client {
    ends: (u8, u8),
    to: SocketAddr,
    keeps: bool,
    kept: Option<SendRequest<Empty<Bytes>>>,
    stop: Arc<AtomicBool>,
}

impl Client {
    async fn run(mut self, pause: Duration, patience: Duration) -> Vec<Call> {
        let mut calls = Vec::new();
        let mut due = Instant::now();
        while !self.stop.load(Relaxed) {
            tokio::time::sleep_until(due).await;
            // Who was held up does not make up for it.
            due = (due + pause).max(Instant::now());
            let began = Instant::now();
            let answer = tokio::time::timeout(patience, self.call()).await;
            let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
            if answer.is_err() || !self.keeps {
                self.kept = None;
            }
            let (from, to) = self.ends;
            let ended = Instant::now();
            calls.push(Call {
                from,
                to,
                began,
                ended,
                answer,
            });
        }
        calls
    }

    async fn call(&mut self) -> Result<Option<String>, String> {
        if let Some(sender) = &mut self.kept {
            // What ended while nothing was under way is nobody's failure.
            match sender.ready().await {
                Ok(()) => match ask(sender, self.to).await {
                    Err(error) if error.is_canceled() => {}
                    answer => return answer.map_err(|error| told(&error)).and_then(trace),
                },
                Err(_) => self.kept = None,
            }
        }
        let sender = self.kept.insert(connect(self.to).await?);
        let answer = ask(sender, self.to).await;
        answer.map_err(|error| told(&error)).and_then(trace)
    }
}

async fn connect(to: SocketAddr) -> Result<SendRequest<Empty<Bytes>>, String> {
    let stream = TcpStream::connect(to).await;
    let stream = stream.map_err(|error| format!("not connected: {}", error.kind()))?;
    let _ = stream.set_nodelay(true);
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(|error| told(&error))?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn ask(sender: &mut SendRequest<Empty<Bytes>>, to: SocketAddr) -> Result<(u16, Bytes), hyper::Error> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = hyper::Uri::from_static("/work");
    let host = hyper::header::HeaderValue::from_str(&to.to_string());
    request
        .headers_mut()
        .extend(host.ok().map(|host| (hyper::header::HOST, host)));
    let answer = sender.send_request(request).await?;
    let code = answer.status().as_u16();
    Ok((code, answer.into_body().collect().await?.to_bytes()))
}

fn trace((code, body): (u16, Bytes)) -> Result<Option<String>, String> {
    if code != 200 {
        return Err(format!("status {code}"));
    }
    let trace = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(trace).filter(|trace| !trace.is_empty()))
}

/// Few words, the same for the same cause.
fn told(error: &hyper::Error) -> String {
    let io = error
        .source()
        .and_then(|source| source.downcast_ref::<std::io::Error>());
    match io.map(std::io::Error::kind) {
        Some(ErrorKind::ConnectionReset) => "connection reset".to_owned(),
        Some(kind) => kind.to_string(),
        None => error.to_string(),
    }
}

/// How many failed for which reason.
pub(crate) fn causes<'a>(calls: impl Iterator<Item = &'a Call>) -> BTreeMap<&'a str, usize> {
    let failed = calls.filter_map(|call| call.answer.as_ref().err());
    failed.fold(BTreeMap::new(), |mut causes, cause| {
        *causes.entry(cause.as_str()).or_default() += 1;
        causes
    })
}
