//! An API server that answers as the test says, question by question, over real connections.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use otlp::tls::{Protocols, ServerFiles, ServerTls};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::support::*;

/// Ends, with every connection, when it is dropped.
pub(super) struct Api {
    pub(super) address: SocketAddr,
    asked: mpsc::UnboundedReceiver<Asked>,
    _serving: JoinSet<()>,
}

/// A question that waits for its answer.
pub(super) struct Asked {
    pub(super) target: String,
    pub(super) token: Option<String>,
    answer: oneshot::Sender<Response<Chunks>>,
}

/// An open watch; it ends when this is dropped.
pub(super) struct Events(mpsc::UnboundedSender<io::Result<Bytes>>);

impl Api {
    pub(super) async fn start() -> Self {
        Self::serve(([127, 0, 0, 1], 0).into(), None).await
    }

    pub(super) async fn serve(address: SocketAddr, tls: Option<ServerFiles>) -> Self {
        let listener = TcpListener::bind(address).await.expect("a listener");
        let address = listener.local_addr().expect("its address");
        let tls = tls.map(|files| ServerTls::new(files, Protocols::Http1, Arc::new(())).expect("files"));
        let (questions, asked) = mpsc::unbounded_channel();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, questions) = (tls.clone(), questions.clone());
                connections.spawn(async move {
                    match tls {
                        None => converse(stream, questions).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                converse(stream, questions).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            asked,
            _serving: serving,
        }
    }

    /// The next question.
    pub(super) async fn asked(&mut self) -> Asked {
        soon("a question", self.asked.recv()).await.expect("an agent")
    }

    /// Answers a list, and the watch after it.
    pub(super) async fn watched(&mut self, pods: &[Value]) -> Events {
        self.asked().await.list("1", "", pods);
        self.asked().await.watch()
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    questions: mpsc::UnboundedSender<Asked>,
) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (answer, answered) = oneshot::channel();
        let token = request.headers().get("authorization");
        let asked = Asked {
            target: request.uri().to_string(),
            token: token.map(|value| value.to_str().expect("text").to_owned()),
            answer,
        };
        let known = questions.send(asked);
        async move {
            if known.is_err() {
                return std::future::pending().await;
            }
            let Ok(response) = answered.await else {
                return std::future::pending().await;
            };
            Ok::<_, Infallible>(response)
        }
    });
    // An agent that goes away is not the server's affair.
    let _ = Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

impl Asked {
    pub(super) fn list(self, version: &str, next: &str, pods: &[Value]) {
        let page = json!({ "kind": "PodList", "metadata": { "resourceVersion": version, "continue": next }, "items": pods });
        self.says(200, page.to_string().into());
    }

    pub(super) fn status(self, code: u16) {
        self.says(code, Bytes::from_static(b"{ \"kind\": \"Status\" }"));
    }

    pub(super) fn watch(self) -> Events {
        let (chunks, body) = mpsc::unbounded_channel();
        self.respond(200, body);
        Events(chunks)
    }

    fn says(self, code: u16, text: Bytes) {
        let (chunks, body) = mpsc::unbounded_channel();
        chunks.send(Ok(text)).expect("a body");
        self.respond(code, body);
    }

    fn respond(self, code: u16, body: mpsc::UnboundedReceiver<io::Result<Bytes>>) {
        let response = Response::builder().status(code).body(Chunks(body));
        let given = self.answer.send(response.expect("a response"));
        assert!(given.is_ok(), "the agent waits for its answer");
    }
}

impl Events {
    pub(super) fn send(&self, kind: &str, object: &Value) {
        self.write(&line(kind, object));
    }

    pub(super) fn write(&self, text: &str) {
        self.0
            .send(Ok(Bytes::copy_from_slice(text.as_bytes())))
            .expect("a watch");
    }

    /// The connection breaks.
    pub(super) fn fail(self) {
        self.0
            .send(Err(io::ErrorKind::BrokenPipe.into()))
            .expect("a watch");
    }
}

pub(super) fn line(kind: &str, object: &Value) -> String {
    json!({ "type": kind, "object": object }).to_string() + "\n"
}

/// What is sent is what comes, piece by piece.
pub(super) struct Chunks(mpsc::UnboundedReceiver<io::Result<Bytes>>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = self.0.poll_recv(cx);
        polled.map(|chunk| Some(chunk?.map(Frame::data)))
    }
}

/// A pod of the deployment `service` as of `version`.
pub(super) fn pod(uid: &str, service: &str, address: &str, version: u32) -> Value {
    json!({
        "metadata": {
            "name": format!("{service}-7d9f8b6c5-x2z4w"), "namespace": "shop", "uid": uid,
            "resourceVersion": version.to_string(), "labels": { "pod-template-hash": "7d9f8b6c5" },
            "ownerReferences": [{ "kind": "ReplicaSet", "name": format!("{service}-7d9f8b6c5"), "controller": true }],
        },
        "spec": { "nodeName": "n 7", "containers": [{ "name": "app" }] },
        "status": { "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }] },
    })
}

pub(super) fn bookmark(version: u32) -> Value {
    json!({ "kind": "Pod", "metadata": { "resourceVersion": version.to_string(), "creationTimestamp": null } })
}
