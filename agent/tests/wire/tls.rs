//! TLS on every side of the agent: callers, services, the rest of the world, the collector. Certificates are made by each
//! test; `curl` and `openssl` are the foreign peers.

mod callers;
mod collector;
pub(crate) mod pki;
mod problems;
mod servers;

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::sync::Arc;

use agent::Running;
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use otlp::tls::{ClientFiles, ClientTls, HttpsConnector, Protocols, ServerFiles, ServerTls};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::support::*;

/// A service with TLS that answers with its request: the version, the protocol agreed on with TLS, and the head's lines.
async fn tls_mirror(files: ServerFiles) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("its address");
    let tls = ServerTls::new(files, Protocols::Both, Arc::new(())).expect("files");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                let Ok(stream) = tls.accept(stream).await else {
                    return;
                };
                let alpn = stream.get_ref().1.alpn_protocol().unwrap_or_default();
                let alpn = String::from_utf8_lossy(alpn).into_owned();
                let service = hyper::service::service_fn(move |request| {
                    let alpn = alpn.clone();
                    async move { Ok::<_, Infallible>(answer(&alpn, &request)) }
                });
                let builder = Builder::new(TokioExecutor::new());
                // A caller that goes away is not the service's affair.
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

fn answer(alpn: &str, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let mut text = format!("{:?} {}\nalpn: {alpn}\n", request.version(), request.uri());
    for (name, value) in request.headers() {
        let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    Response::new(text.into())
}

/// A client of our own.
fn client(files: ClientFiles, http2: bool) -> Client<HttpsConnector, Empty<Bytes>> {
    let protocols = if http2 { Protocols::Http2 } else { Protocols::Http1 };
    let tls = ClientTls::new(files, Arc::new(())).expect("files");
    Client::builder(TokioExecutor::new())
        .http2_only(http2)
        .build(HttpsConnector::new(Some(tls), protocols))
}

/// What the other side answered, or the error with its causes.
async fn get(client: &Client<HttpsConnector, Empty<Bytes>>, uri: &str) -> Result<String, String> {
    let uri: Uri = uri.parse().expect("a uri");
    let response = soon("the answer", client.get(uri))
        .await
        .map_err(|error| chain(&error))?;
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(|error| chain(&error))?;
    Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Runs a foreign client; it is installed by `tests/run.sh`.
async fn foreign(program: &str, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("`{program}` must be installed for this test: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes())
        .await
        .expect("a program that reads");
    // Held open: `openssl s_client` ends with its input.
    let output = soon(program, child.wait_with_output()).await.expect("an end");
    drop(stdin);
    output
}

/// Waits until a series is at least 1.
async fn counted(agent: &Running, series: &str) {
    let reached = async {
        while metric(agent, series).await < 1.0 {
            tokio::task::yield_now().await;
        }
    };
    soon(series, reached).await;
}

/// The series of handshakes.
fn handshakes(side: &str, result: &str) -> String {
    format!("tracemap_agent_tls_handshakes_total{{result=\"{result}\",side=\"{side}\"}}")
}
