//! Connections that send half of a head and nothing more.
//!
//! In: how many. Out: what they cost, and how others fare beside them.
//! Left out on purpose: waiting for them to be cut; a test of the agent does that with a short `header_timeout`.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::Failure;
use crate::agent_process::{AgentProcess, pause};
use crate::pairs::asked;

/// Requests beside them.
const OTHERS: usize = 1_000;
/// What a half-open connection may cost, bytes: the library's first buffers for reading and writing, a task, and room for noise.
const MOST: u64 = 32 << 10;
const PATIENCE: Duration = Duration::from_mins(1);

/// What they cost.
pub(crate) struct Crowd {
    open: u64,
    counted: u64,
    bytes_each: u64,
    served: usize,
    slowest: Duration,
    files_after: usize,
    files_before: usize,
}

pub(crate) fn run(
    runtime: &Runtime,
    program: &Path,
    service: SocketAddr,
    connections: usize,
) -> Result<Crowd, Failure> {
    let agent = AgentProcess::start(program, service, "  limits: { header_timeout: 1h }\n")?;
    let (files_before, rss_before) = (agent.files()?, agent.rss_kib()?);
    let held = runtime.block_on(open(agent.inbound, connections))?;
    let open = u64::try_from(held.len())?;
    let counted = agent.until_metric("tracemap_agent_connections", open)?;
    let grown = agent.rss_kib()?.saturating_sub(rss_before) << 10;
    let (served, slowest) = runtime.block_on(others(agent.inbound));
    drop(held);
    let until = Instant::now() + PATIENCE;
    while agent.files()? > files_before + 2 && Instant::now() < until {
        pause(Duration::from_millis(100));
    }
    Ok(Crowd {
        open,
        counted,
        bytes_each: grown / open.max(1),
        served,
        slowest,
        files_after: agent.files()?,
        files_before,
    })
}

async fn open(agent: SocketAddr, connections: usize) -> Result<Vec<TcpStream>, Failure> {
    let mut held = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut stream = TcpStream::connect(agent).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: ca").await?;
        held.push(stream);
    }
    Ok(held)
}

async fn others(agent: SocketAddr) -> (usize, Duration) {
    let (mut served, mut slowest) = (0, Duration::ZERO);
    for _ in 0..OTHERS {
        let began = Instant::now();
        let request = b"GET /plain HTTP/1.1\r\nhost: cart\r\nconnection: close\r\n\r\n";
        let answer = asked(agent, request).await;
        served += usize::from(answer.is_ok_and(|answer| answer.whole && answer.status == "200"));
        slowest = slowest.max(began.elapsed());
    }
    (served, slowest)
}

impl Crowd {
    /// Others were served, memory is bounded, and nothing stays open.
    pub(crate) fn holds(&self) -> bool {
        self.served == OTHERS
            && self.counted == self.open
            && self.bytes_each <= MOST
            && self.files_after <= self.files_before + 2
    }

    /// For the report.
    pub(crate) fn figures(&self) -> [(&'static str, String); 6] {
        [
            ("half-open connections", self.open.to_string()),
            (
                "of these in `tracemap_agent_connections`",
                self.counted.to_string(),
            ),
            ("bytes of resident memory for each", self.bytes_each.to_string()),
            (
                "requests beside them, answered",
                format!("{} of {OTHERS}", self.served),
            ),
            ("slowest of these, ms", self.slowest.as_millis().to_string()),
            (
                "files open once they were gone, before them",
                format!("{}, {}", self.files_after, self.files_before),
            ),
        ]
    }
}
