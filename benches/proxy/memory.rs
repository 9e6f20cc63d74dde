//! Memory: once ready, and under many connections.
//!
//! In: contestants. Out: [`Figures`], or a failure where a request or a span was lost.
//! Left out on purpose: HTTP/2, whose clients seldom have a thousand connections.

use std::time::Duration;

use serde::Serialize;

use crate::Failure;
use crate::client::{Client, Protocol};
use crate::openloop::{self, Schedule};
use crate::process::Contestant;
use crate::proxies::Programs;
use crate::servers::Role;

const REQUESTS_PER_SECOND: f64 = 5_000.0;
const CONNECTIONS: usize = 1_000;

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) requests_per_second: f64,
    pub(crate) connections: usize,
    pub(crate) requests: u64,
    pub(crate) contestants: Vec<Figure>,
}

/// One contestant's memory; the sum of its processes, where it has several.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    /// MiB, as soon as it took a connection.
    pub(crate) idle_mib: f64,
    /// MiB, at the end of the load.
    pub(crate) loaded_mib: f64,
    /// MiB, the most that ever were.
    pub(crate) peak_mib: f64,
    pub(crate) cores_per_1000_per_second: f64,
    /// Milliseconds from due time to the end of the answer.
    pub(crate) p99_ms: f64,
}

/// Each of them alone, one after the other.
pub(crate) fn measure(programs: &Programs, length: Duration) -> Result<Figures, Failure> {
    let schedule = Schedule {
        rate: REQUESTS_PER_SECOND,
        length,
        connections: CONNECTIONS,
    };
    let mut contestants = Vec::new();
    for setup in programs.setups() {
        eprintln!("memory: {}", setup.name);
        let (_service, [upstream]) = Contestant::peer(Role::Upstream.as_str())?;
        let mut proxy = programs.start(setup, upstream)?;
        let (idle_mib, _) = proxy.process.rss_mib()?;
        let to = proxy.address(Protocol::Http1);
        let before = proxy.process.cpu_seconds_of_threads()?;
        let mut clients = schedule.clients(|| Client::connect(Protocol::Http1, to))?;
        let turn =
            openloop::run(&mut clients, schedule, 0).map_err(|error| format!("{}: {error}", setup.name))?;
        let (loaded_mib, _) = proxy.process.rss_mib()?;
        proxy.answered(schedule.requests())?;
        let (_, peak_mib) = proxy.process.rss_mib()?;
        contestants.push(Figure {
            name: setup.name,
            idle_mib,
            loaded_mib,
            peak_mib,
            cores_per_1000_per_second: (proxy.process.cpu_seconds_of_threads()? - before) * 1e3
                / schedule.requests() as f64,
            p99_ms: crate::latency::us(&turn.latency, 0.99) / 1e3,
        });
    }
    Ok(Figures {
        requests_per_second: REQUESTS_PER_SECOND,
        connections: CONNECTIONS,
        requests: schedule.requests(),
        contestants,
    })
}
