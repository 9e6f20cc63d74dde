//! One connection to a proxy, HTTP/1.1 or HTTP/2, with one request on it at a time.
//!
//! In: an address. Out: the right answer to each request, or a failure.
//! Left out on purpose: on HTTP/1.1 a library, whose time would be in every latency. HTTP/2 has hyper's client on a runtime
//! of the connection's thread alone, which costs the direct way as much as any other.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::{Failure, openloop};

/// Of every request and every answer, in bytes.
pub(crate) const BODY: usize = 1024;
/// One answer in time must not take longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    #[value(name = "h1")]
    #[serde(rename = "HTTP/1.1")]
    Http1,
    /// HTTP/2 without TLS, by prior knowledge.
    #[value(name = "h2")]
    #[serde(rename = "HTTP/2")]
    Http2,
}

impl Protocol {
    pub(crate) const ALL: [Self; 2] = [Self::Http1, Self::Http2];
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        })
    }
}

/// A connection that is kept alive.
pub(crate) enum Client {
    Http1(Http1),
    Http2(Http2),
}

impl Client {
    pub(crate) fn connect(protocol: Protocol, to: SocketAddr) -> Result<Self, Failure> {
        match protocol {
            Protocol::Http1 => Http1::connect(to).map(Self::Http1),
            Protocol::Http2 => Http2::connect(to).map(Self::Http2),
        }
    }
}

impl openloop::Client for Client {
    fn request(&mut self, number: u64) -> Result<(), Failure> {
        match self {
            Self::Http1(client) => client.request(number),
            Self::Http2(client) => {
                let Http2 { runtime, connection } = client;
                runtime.block_on(connection.request(number))
            }
        }
    }
}

/// A sampled parent, another one for each number.
fn traceparent(number: u64) -> String {
    format!("00-{:032x}-{:016x}-01", u128::from(number) + 1, number + 1)
}

/// HTTP/1.1 on a socket that blocks.
pub(crate) struct Http1 {
    to: SocketAddr,
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Http1 {
    pub(crate) fn connect(to: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            to,
            stream,
            request: Vec::new(),
            answer: vec![0; 4 * BODY],
        })
    }

    pub(crate) fn request(&mut self, number: u64) -> Result<(), Failure> {
        self.request.clear();
        write!(
            self.request,
            "POST /items/{} HTTP/1.1\r\nhost: {}\r\nuser-agent: proxy-bench\r\n\
             content-type: application/octet-stream\r\ncontent-length: {BODY}\r\ntraceparent: {}\r\n\r\n",
            number % 1000,
            self.to,
            traceparent(number)
        )?;
        self.request.resize(self.request.len() + BODY, b'x');
        self.stream.write_all(&self.request)?;
        self.answer()
    }

    /// Reads one answer to its end.
    fn answer(&mut self) -> Result<(), Failure> {
        let mut filled = 0;
        loop {
            let room = self.answer.get_mut(filled..).unwrap_or_default();
            let read = self.stream.read(room)?;
            if read == 0 {
                return Err("the connection ended within an answer".into());
            }
            filled += read;
            let seen = self.answer.get(..filled).unwrap_or_default();
            if let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = seen.get(..end).unwrap_or_default();
                check_head(head)?;
                let body = filled - end - 4;
                if body == BODY {
                    return Ok(());
                }
                if body > BODY {
                    return Err(format!("more than one answer of {BODY} bytes came").into());
                }
            }
        }
    }
}

/// An answer with the status 200 and as many bytes as the service sends.
fn check_head(head: &[u8]) -> Result<(), Failure> {
    let head = std::str::from_utf8(head)?;
    let (status, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    if status.split(' ').nth(1) != Some("200") {
        return Err(format!("the answer was `{status}`, not 200").into());
    }
    let length = headers.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    if length != Some(BODY) {
        return Err(format!("the answer's content-length is {length:?}, not {BODY}").into());
    }
    Ok(())
}

/// HTTP/2 with a runtime that runs only while a request is under way.
pub(crate) struct Http2 {
    runtime: Runtime,
    connection: Http2Connection,
}

impl Http2 {
    pub(crate) fn connect(to: SocketAddr) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let connection = runtime.block_on(Http2Connection::connect(to))?;
        Ok(Self { runtime, connection })
    }
}

/// A connection on which any number of requests can be under way.
#[derive(Clone)]
pub(crate) struct Http2Connection {
    to: SocketAddr,
    sender: http2::SendRequest<Full<Bytes>>,
    body: Bytes,
}

impl Http2Connection {
    pub(crate) async fn connect(to: SocketAddr) -> Result<Self, Failure> {
        let stream = tokio::net::TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        // Whatever ends the connection is told to each request on it.
        tokio::spawn(connection);
        Ok(Self {
            to,
            sender,
            body: Bytes::from(vec![b'x'; BODY]),
        })
    }

    pub(crate) async fn request(&mut self, number: u64) -> Result<(), Failure> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}/items/{}", self.to, number % 1000))
            .header("user-agent", "proxy-bench")
            .header("content-type", "application/octet-stream")
            .header("traceparent", traceparent(number))
            .body(Full::new(self.body.clone()))?;
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if status != 200 || body.len() != BODY {
            return Err(format!(
                "the answer was {status} with {} bytes, not 200 with {BODY}",
                body.len()
            )
            .into());
        }
        Ok(())
    }
}
