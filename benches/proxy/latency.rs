//! What a proxy adds to a request at a steady rate, and what CPU that takes.
//!
//! In: contestants, a rate, rounds. Out: [`Figures`], or a failure where a request or a span was lost.
//! Left out on purpose: quantiles above p99; a turn has too few requests for them.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use crate::Failure;
use crate::client::{Client, Protocol};
use crate::openloop::{self, Schedule};
use crate::process::Contestant;
use crate::proxies::{Programs, Proxy};
use crate::servers::Role;
use crate::stat::{Spread, quantile};

const CONNECTIONS: usize = 16;
const DIRECT: &str = "direct";
/// Which quantiles are told.
const SHARES: [(&str, f64); 3] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)];

/// What came of it, on one protocol.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) protocol: Protocol,
    pub(crate) requests_per_second: f64,
    pub(crate) requests_per_turn: u64,
    pub(crate) connections: usize,
    /// Microseconds from due time to sending, p99 of the direct turns: the clients' own part of every latency.
    pub(crate) client_lateness_p99_us: Spread,
    pub(crate) latency: Vec<Latency>,
    /// Cores, of each contestant.
    pub(crate) cpu: Vec<Cpu>,
}

/// One quantile on one way.
#[derive(Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) way: &'static str,
    pub(crate) quantile: &'static str,
    /// Microseconds from due time to the end of the answer.
    pub(crate) us: Spread,
    /// Microseconds above the direct turn of the same round.
    pub(crate) added_us: Spread,
}

/// One contestant's CPU.
#[derive(Debug, Serialize)]
pub(crate) struct Cpu {
    pub(crate) name: &'static str,
    /// CPU seconds of 1,000 requests, which at this rate is also cores per 1,000 requests a second.
    pub(crate) cores_per_1000_per_second: Spread,
}

/// The same request directly, or through a contestant, over the rounds.
struct Way {
    name: &'static str,
    proxy: Option<Proxy>,
    turns: Vec<openloop::Turn>,
    cpu: Vec<f64>,
}

/// Starts all of them and lets them take turns.
pub(crate) fn measure(
    programs: &Programs,
    protocol: Protocol,
    rounds: usize,
    rate: f64,
    length: Duration,
) -> Result<Figures, Failure> {
    let (_service, [upstream]) = Contestant::peer(Role::Upstream.as_str())?;
    let schedule = Schedule {
        rate,
        length,
        connections: CONNECTIONS,
    };
    let mut ways = vec![Way::new(DIRECT, None)];
    for setup in programs.setups() {
        ways.push(Way::new(setup.name, Some(programs.start(setup, upstream)?)));
    }
    let mut first = 0;
    for round in 0..=rounds {
        let warm_up = if round == 0 { " (warm-up)" } else { "" };
        eprintln!("latency, {protocol}: round {round} of {rounds}{warm_up}");
        for position in 0..ways.len() {
            let index = (position + round) % ways.len();
            let Some(way) = ways.get_mut(index) else { continue };
            let turn = way
                .turn(protocol, upstream, schedule, first)
                .map_err(|error| format!("{}, {protocol}: {error}", way.name))?;
            first += schedule.requests();
            if round == 0 {
                way.cpu.clear();
            } else {
                way.turns.push(turn);
            }
        }
    }
    let Some(direct) = ways.first() else {
        return Err("there is no way".into());
    };
    Ok(Figures {
        protocol,
        requests_per_second: rate,
        requests_per_turn: schedule.requests(),
        connections: CONNECTIONS,
        client_lateness_p99_us: Spread::of(direct.turns.iter().map(|turn| us(&turn.lateness, 0.99))),
        latency: ways.iter().flat_map(|way| latencies(way, direct)).collect(),
        cpu: ways.iter().filter_map(Way::cpu).collect(),
    })
}

impl Way {
    fn new(name: &'static str, proxy: Option<Proxy>) -> Self {
        Self {
            name,
            proxy,
            turns: Vec::new(),
            cpu: Vec::new(),
        }
    }

    fn turn(
        &mut self,
        protocol: Protocol,
        upstream: SocketAddr,
        schedule: Schedule,
        first: u64,
    ) -> Result<openloop::Turn, Failure> {
        let to = self
            .proxy
            .as_ref()
            .map_or(upstream, |proxy| proxy.address(protocol));
        let cpu = |proxy: &Option<Proxy>| {
            let proxy = proxy.as_ref();
            proxy.map_or(Ok(0.0), |proxy| proxy.process.cpu_seconds_of_threads())
        };
        let mut clients = schedule.clients(|| Client::connect(protocol, to))?;
        let before = cpu(&self.proxy)?;
        let turn = openloop::run(&mut clients, schedule, first)?;
        if let Some(proxy) = &mut self.proxy {
            proxy.answered(schedule.requests())?;
        }
        self.cpu
            .push((cpu(&self.proxy)? - before) * 1e3 / schedule.requests() as f64);
        Ok(turn)
    }

    fn cpu(&self) -> Option<Cpu> {
        self.proxy.as_ref()?;
        Some(Cpu {
            name: self.name,
            cores_per_1000_per_second: Spread::of(self.cpu.iter().copied()),
        })
    }
}

pub(crate) fn us(sorted: &[u64], share: f64) -> f64 {
    quantile(sorted, share) as f64 / 1_000.0
}

fn latencies(way: &Way, direct: &Way) -> Vec<Latency> {
    let of = |(quantile, share): (&'static str, f64)| {
        let pairs = || way.turns.iter().zip(&direct.turns);
        Latency {
            way: way.name,
            quantile,
            us: Spread::of(pairs().map(|(own, _)| us(&own.latency, share))),
            added_us: Spread::of(
                pairs().map(|(own, direct)| us(&own.latency, share) - us(&direct.latency, share)),
            ),
        }
    };
    SHARES.map(of).into()
}
