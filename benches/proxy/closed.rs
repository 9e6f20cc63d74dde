//! Clients that send as much as is answered.
//!
//! In: where to, and for how long. Out: how many requests were answered.
//! Left out on purpose: latency. Where a machine is full it says how full, not how fast anything is.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Failure;
use crate::client::{Http1, Http2Connection, Protocol};

/// Connections of HTTP/1.1, each with one request.
const CONNECTIONS: u64 = 64;
/// Connections of HTTP/2, each with as many requests as it has streams.
const HTTP2_CONNECTIONS: u64 = 8;
const STREAMS: u64 = 8;
/// More requests than one client sends in a turn; each client counts its traces from a multiple of it.
const TRACES_OF_A_CLIENT: u64 = 1 << 32;

/// What was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    pub(crate) requests: u64,
    pub(crate) took: Duration,
}

/// Sends for `length`. Clients number their traces from `turn` on, so that none comes twice.
pub(crate) fn saturate(
    protocol: Protocol,
    to: SocketAddr,
    length: Duration,
    turn: u64,
) -> Result<Answered, Failure> {
    let clients = match protocol {
        Protocol::Http1 => CONNECTIONS,
        Protocol::Http2 => HTTP2_CONNECTIONS,
    };
    let started = Instant::now();
    let end = started + length;
    let first = |client: u64| (turn * CONNECTIONS + client * STREAMS) * TRACES_OF_A_CLIENT;
    let requests = thread::scope(|scope| {
        let start = |client| {
            let first = first(client);
            scope.spawn(move || match protocol {
                Protocol::Http1 => one_at_a_time(to, end, first),
                Protocol::Http2 => several_at_a_time(to, end, first),
            })
        };
        let running: Vec<_> = (0..clients).map(start).collect();
        let ended = running
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a client panicked")?);
        ended.sum::<Result<u64, Failure>>()
    })?;
    Ok(Answered {
        requests,
        took: started.elapsed(),
    })
}

fn one_at_a_time(to: SocketAddr, end: Instant, first: u64) -> Result<u64, Failure> {
    let mut client = Http1::connect(to)?;
    let mut requests = 0;
    while Instant::now() < end {
        client.request(first + requests)?;
        requests += 1;
    }
    Ok(requests)
}

fn several_at_a_time(to: SocketAddr, end: Instant, first: u64) -> Result<u64, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let connection = Http2Connection::connect(to).await?;
        let mut streams = JoinSet::new();
        for stream in 0..STREAMS {
            let (mut connection, first) = (connection.clone(), first + stream * TRACES_OF_A_CLIENT);
            streams.spawn(async move {
                let mut requests = 0;
                while Instant::now() < end {
                    connection.request(first + requests).await?;
                    requests += 1;
                }
                Ok::<_, Failure>(requests)
            });
        }
        let mut requests = 0;
        while let Some(stream) = streams.join_next().await {
            requests += stream??;
        }
        Ok(requests)
    })
}
