//! The mixed load: a service, its callers, and what each request must end as.
//!
//! In: a seed and bounds. Out: requests byte by byte, and counts of what was asked.
//! Left out on purpose: open-loop arrivals; nothing here measures latency.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::Failure;
use crate::pairs::{Random, garbage};

/// Longer than any answer takes; reached only where something is wrong.
const PATIENCE: Duration = Duration::from_mins(1);
const PLAIN: usize = 1024;

/// When the load ends, and what it is.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) requests: u64,
    pub(crate) time: Duration,
    pub(crate) connections: u64,
    pub(crate) seed: u64,
}

/// How a request must end.
#[derive(Clone, Copy)]
enum Kind {
    Success,
    ClientError,
    ServerError,
    /// The service breaks off.
    Closed,
    /// The caller does.
    GivenUp,
    /// Through the forward proxy.
    Call,
}

/// What was asked so far.
#[derive(Default)]
pub(crate) struct Asked {
    kinds: [AtomicU64; 6],
    wrong: AtomicU64,
}

impl Asked {
    fn count(&self, kind: Kind) -> u64 {
        self.kinds
            .get(kind as usize)
            .map_or(0, |count| count.load(Relaxed))
    }

    pub(crate) fn all(&self) -> u64 {
        self.kinds.iter().map(|count| count.load(Relaxed)).sum()
    }

    pub(crate) fn outbound(&self) -> u64 {
        self.count(Kind::Call)
    }

    /// Answers that were not what the service gave.
    pub(crate) fn wrong(&self) -> u64 {
        self.wrong.load(Relaxed)
    }

    /// Direction, outcome, and how many requests must be in it.
    pub(crate) fn outcomes(&self) -> [(&'static str, &'static str, u64); 6] {
        [
            ("inbound", "success", self.count(Kind::Success)),
            ("inbound", "client_error", self.count(Kind::ClientError)),
            ("inbound", "server_error", self.count(Kind::ServerError)),
            ("inbound", "upstream_closed", self.count(Kind::Closed)),
            ("inbound", "client_disconnected", self.count(Kind::GivenUp)),
            ("outbound", "success", self.count(Kind::Call)),
        ]
    }
}

/// Runs to the first bound; how long that took.
pub(crate) async fn run(
    inbound: SocketAddr,
    outbound: SocketAddr,
    service: SocketAddr,
    bounds: Bounds,
    asked: Arc<Asked>,
) -> Result<Duration, Failure> {
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for number in 0..bounds.connections {
        let caller = Caller {
            // One in eight calls others, as the service behind would.
            calls: number % 8 == 7,
            agent: if number % 8 == 7 { outbound } else { inbound },
            service,
            random: Random(bounds.seed.wrapping_add(number << 32)),
            asked: asked.clone(),
        };
        callers.spawn(caller.until(began + bounds.time, bounds.requests));
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(began.elapsed())
}

struct Caller {
    calls: bool,
    agent: SocketAddr,
    service: SocketAddr,
    random: Random,
    asked: Arc<Asked>,
}

impl Caller {
    async fn until(mut self, end: Instant, requests: u64) -> Result<(), Failure> {
        let mut stream = TcpStream::connect(self.agent).await?;
        stream.set_nodelay(true)?;
        while Instant::now() < end && self.asked.all() < requests {
            let (kind, path, body) = self.next();
            let request = self.request(path, body);
            stream.write_all(&request).await?;
            if let Some(count) = self.asked.kinds.get(kind as usize) {
                count.fetch_add(1, Relaxed);
            }
            let whole = match kind {
                Kind::GivenUp => tokio::time::timeout(PATIENCE, head(&mut stream)).await?.is_ok(),
                _ => tokio::time::timeout(PATIENCE, answered(&mut stream, status(kind), body)).await?,
            };
            if whole == matches!(kind, Kind::Closed) {
                self.asked.wrong.fetch_add(1, Relaxed);
            }
            if matches!(kind, Kind::Closed | Kind::GivenUp) {
                stream = TcpStream::connect(self.agent).await?;
                stream.set_nodelay(true)?;
            }
        }
        Ok(())
    }

    fn next(&mut self) -> (Kind, &'static str, usize) {
        if self.calls {
            return (Kind::Call, "/plain", PLAIN);
        }
        match self.random.below(100) {
            0..70 => (Kind::Success, "/plain", PLAIN),
            70..80 => (Kind::Success, "/chunked", PLAIN),
            80..86 => (Kind::ClientError, "/not-found", 0),
            86..92 => (Kind::ServerError, "/broken", 0),
            92..97 => (Kind::GivenUp, "/endless", 0),
            _ => (Kind::Closed, "/breaks-off", PLAIN),
        }
    }

    fn request(&mut self, path: &str, _: usize) -> Vec<u8> {
        let target = if self.calls {
            format!("http://{}{path}", self.service)
        } else {
            path.to_owned()
        };
        let mut out = format!("GET {target} HTTP/1.1\r\nhost: {}\r\n", self.service).into_bytes();
        for name in ["traceparent", "tracestate", "baggage", "b3", "x-correlation-id"] {
            if self.random.below(20) == 0 {
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b": ");
                out.extend(garbage(&mut self.random));
                out.extend_from_slice(b"\r\n");
            }
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

fn status(kind: Kind) -> &'static str {
    match kind {
        Kind::ClientError => "404",
        Kind::ServerError => "500",
        Kind::Success | Kind::Closed | Kind::GivenUp | Kind::Call => "200",
    }
}

/// The head of an answer, and what came of its body with it.
async fn head(stream: &mut TcpStream) -> Result<(String, Vec<u8>), Failure> {
    let mut came = Vec::with_capacity(2048);
    loop {
        if let Some(end) = came.windows(4).position(|window| window == b"\r\n\r\n") {
            let body = came.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&came).into_owned(), body));
        }
        if stream.read_buf(&mut came).await? == 0 {
            return Err("the connection ended before the answer's head".into());
        }
    }
}

/// Whether an answer with this status and this much content came to its end.
async fn answered(stream: &mut TcpStream, status: &str, content: usize) -> bool {
    let Ok((head, mut body)) = head(stream).await else {
        return false;
    };
    if head.split(' ').nth(1) != Some(status) {
        return false;
    }
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let whole = |body: &[u8]| {
        if chunked {
            body.ends_with(b"\r\n0\r\n\r\n")
        } else {
            body.len() >= content
        }
    };
    while !whole(&body) {
        if stream.read_buf(&mut body).await.unwrap_or(0) == 0 {
            return false;
        }
    }
    // In chunks the frame around the content holds no `x`.
    String::from_utf8_lossy(&body).matches('x').count() == content
}

/// A service that answers by the path, on connections that stay open.
pub(crate) async fn service() -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    Ok(address)
}

async fn serve(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let plain = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {PLAIN}\r\n\r\n{}",
        "x".repeat(PLAIN)
    );
    let half = "x".repeat(PLAIN / 2);
    let chunk = format!("{:x}\r\n{half}\r\n", half.len());
    let chunked = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    while let Ok((head, _)) = head(&mut stream).await {
        let answer = match head.split(' ').nth(1).unwrap_or_default() {
            "/plain" => plain.as_str(),
            "/chunked" => chunked.as_str(),
            "/broken" => "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
            "/endless" => "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nthe beginning",
            "/breaks-off" => "HTTP/1.1 200 OK\r\ncontent-length: 1024\r\n\r\nxxxx",
            _ => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        if head.starts_with("GET /breaks-off") {
            return;
        }
    }
}
