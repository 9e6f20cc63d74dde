//! A receiver of remote write that answers by a script and shows what it got.
//!
//! In: requests. Out: their headers and messages, in order.
//! Left out on purpose: storing anything; Prometheus does that.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use prost::Message as _;
use tokio::sync::mpsc;

use crate::messages::{v1, v2};

/// One request as it came.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) headers: HeaderMap,
    /// After decompression.
    pub(crate) body: Vec<u8>,
}

impl Taken {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap_or("not text"))
    }

    pub(crate) fn is_v2(&self) -> bool {
        self.header("content-type") == "application/x-protobuf;proto=io.prometheus.write.v2.Request"
    }

    pub(crate) fn v1(&self) -> v1::WriteRequest {
        assert_eq!(self.header("content-type"), "application/x-protobuf");
        v1::WriteRequest::decode(self.body.as_slice()).expect("a WriteRequest")
    }

    pub(crate) fn v2(&self) -> v2::Request {
        assert!(self.is_v2(), "{:?}", self.headers);
        v2::Request::decode(self.body.as_slice()).expect("a Request")
    }
}

/// An answer of the script.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reply {
    /// This status, nothing else.
    Status(u16),
    /// This status and a `Retry-After`.
    After(u16, &'static str),
    /// 204 with the headers of 2.0, less so many samples.
    Wrote { less: u64 },
    /// No answer: the connection stays open.
    Never,
}

/// Listens on a free port until the test ends.
pub(crate) struct Receiver {
    pub(crate) url: String,
    taken: mpsc::UnboundedReceiver<Taken>,
}

impl Receiver {
    /// Answers by the script, then always as its last line says.
    pub(crate) async fn start(script: &[Reply]) -> Self {
        Self::listen(([127, 0, 0, 1], 0).into(), script).await
    }

    /// As [`Receiver::start`], at an address.
    pub(crate) async fn listen(address: SocketAddr, script: &[Reply]) -> Self {
        let script = Arc::new(Mutex::new(VecDeque::from(script.to_vec())));
        let (sender, taken) = mpsc::unbounded_channel();
        let listener = tokio::net::TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, sender) = (Arc::clone(&script), sender.clone());
                let service = service_fn(move |request| answer(Arc::clone(&script), sender.clone(), request));
                tokio::spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self {
            url: format!("http://{address}/api/v1/write"),
            taken,
        }
    }

    /// The next request, once it comes.
    pub(crate) async fn next(&mut self) -> Taken {
        let next = tokio::time::timeout(crate::peer::PATIENCE, self.taken.recv()).await;
        next.expect("another request comes")
            .expect("the receiver listens")
    }

    /// True where all requests were looked at.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.taken.try_recv().is_err()
    }
}

async fn answer(
    script: Arc<Mutex<VecDeque<Reply>>>,
    sender: mpsc::UnboundedSender<Taken>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .expect("the sender finishes its request")
        .to_bytes();
    let body = snap::raw::Decoder::new()
        .decompress_vec(&body)
        .expect("a snappy block");
    let taken = Taken {
        headers: head.headers,
        body,
    };
    let reply = {
        let mut script = script.lock().expect("no holder panics");
        let last = script.len() == 1;
        if last {
            script.front().copied()
        } else {
            script.pop_front()
        }
    };
    let mut response = Response::new(Full::from("said by the receiver"));
    let wrote = taken.is_v2().then(|| written(&taken.v2()));
    let _ = sender.send(taken);
    let status = match reply.expect("a script has a line") {
        Reply::Status(status) => status,
        Reply::After(status, after) => {
            response
                .headers_mut()
                .insert("retry-after", after.parse().expect("a header"));
            status
        }
        Reply::Wrote { less } => {
            let (samples, histograms) = wrote.unwrap_or_default();
            for (name, count) in [
                ("samples", samples - less),
                ("histograms", histograms),
                ("exemplars", 0),
            ] {
                let name: http::HeaderName = format!("x-prometheus-remote-write-{name}-written")
                    .parse()
                    .expect("a name");
                response.headers_mut().insert(name, count.into());
            }
            204
        }
        Reply::Never => std::future::pending().await,
    };
    *response.status_mut() = status.try_into().expect("a status");
    Ok(response)
}

fn written(request: &v2::Request) -> (u64, u64) {
    let series = request.timeseries.iter();
    series.fold((0, 0), |(samples, histograms), series| {
        (
            samples + series.samples.len() as u64,
            histograms + series.histograms.len() as u64,
        )
    })
}
