//! The agent between a client and a service: latency that it adds, CPU and memory that it takes.
//!
//! In: a rate and rounds. Out: [`Figures`], or a failure where a request or a span was lost.
//! Left out on purpose: other proxies, which are the benchmark `proxy`; TLS; and tracing at less than every request.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use map::catalogue as names;
use serde::Serialize;

use crate::client::{Client, Way};
use crate::entry::{start_collector, start_tracemap};
use crate::openloop::{self, Schedule};
use crate::peers::Role;
use crate::process::{Contestant, READY_EVERY, free_addresses, until};
use crate::stat::{Spread, quantile};
use crate::{Failure, http};

const ASK_EVERY: Duration = Duration::from_millis(100);
/// Which quantiles are told.
const SHARES: [(&str, f64); 3] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)];

/// How much is measured.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) rate: f64,
    pub(crate) turn: Duration,
    pub(crate) connections: usize,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) requests_per_second: f64,
    pub(crate) requests_per_turn: u64,
    pub(crate) connections: usize,
    /// Microseconds from due time to sending, p99 of the direct turns: the part of every latency that is the clients' own.
    pub(crate) client_lateness_p99_us: Spread,
    pub(crate) latency: Vec<Latency>,
    pub(crate) agents: Vec<AgentFigure>,
    /// Spans that the collector mapped; as many as were made, or there would be no figure.
    pub(crate) spans: u64,
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
    /// Times the direct turn of the same round.
    pub(crate) ratio: Spread,
}

/// One agent's figures, over the turns that it was part of.
#[derive(Debug, Serialize)]
pub(crate) struct AgentFigure {
    pub(crate) name: &'static str,
    pub(crate) cpu_seconds_per_1000_requests: Spread,
    pub(crate) rss_mib: f64,
    pub(crate) peak_rss_mib: f64,
    pub(crate) requests: u64,
}

/// Starts service, collector and agents, lets the ways take turns, and checks that no span was lost.
pub(crate) fn measure(plan: &Plan) -> Result<Figures, Failure> {
    openloop::wake_up_on_time();
    let scratch = tempfile::tempdir()?;
    let (_service, [upstream]) = Contestant::peer(Role::Upstream.as_str())?;
    let (_collector, grpc, web) = start_collector(scratch.path(), "collector", &[])?;
    let mut agents = [
        Agent::start("inbound", scratch.path(), grpc, Some(upstream))?,
        Agent::start("outbound", scratch.path(), grpc, None)?,
    ];
    let [inbound, outbound] = [agents[0].proxy, agents[1].proxy];
    let ways = [
        (
            "direct",
            Way {
                connect: upstream,
                target: upstream,
            },
            [false, false],
        ),
        (
            "inbound proxy",
            Way {
                connect: inbound,
                target: inbound,
            },
            [true, false],
        ),
        (
            "outbound and inbound proxy",
            Way {
                connect: outbound,
                target: inbound,
            },
            [true, true],
        ),
    ];
    let schedule = Schedule {
        rate: plan.rate,
        length: plan.turn,
        connections: plan.connections,
    };
    let mut rounds: Vec<[openloop::Turn; 3]> = Vec::new();
    let mut trace = 0;
    for round in 0..=plan.rounds {
        eprintln!(
            "agent: round {round} of {}{}",
            plan.rounds,
            if round == 0 { " (warm-up)" } else { "" }
        );
        let mut turns: [openloop::Turn; 3] = Default::default();
        for turn in 0..ways.len() {
            let index = (turn + round) % ways.len();
            let (_, way, through) = ways[index];
            let before = [agents[0].process.cpu_seconds()?, agents[1].process.cpu_seconds()?];
            let mut clients = schedule.clients(|| Client::connect(way))?;
            turns[index] = openloop::run(&mut clients, schedule, trace)?;
            trace += schedule.requests();
            for (agent, before) in agents
                .iter_mut()
                .zip(before)
                .zip(through)
                .filter_map(|(a, on)| on.then_some(a))
            {
                agent.end_turn(before, schedule.requests(), round > 0)?;
            }
        }
        if round > 0 {
            rounds.push(turns);
        }
    }
    let spans = agents.iter().map(|agent| agent.requests).sum();
    let has_all = |page: &str| mapped(page) >= spans as f64;
    let page = until(
        "the collector did not map every span",
        web,
        "/metrics",
        ASK_EVERY,
        has_all,
    )?;
    if mapped(&page) > spans as f64 {
        return Err(format!(
            "no figure: {spans} spans were made, but the collector mapped {}",
            mapped(&page)
        )
        .into());
    }
    Ok(Figures {
        requests_per_second: plan.rate,
        requests_per_turn: schedule.requests(),
        connections: plan.connections,
        client_lateness_p99_us: Spread::of(rounds.iter().map(|[direct, ..]| us(&direct.lateness, 0.99))),
        latency: (0..ways.len())
            .flat_map(|way| latencies(ways[way].0, way, &rounds))
            .collect(),
        agents: agents.iter().map(Agent::figure).collect::<Result<_, _>>()?,
        spans,
    })
}

fn mapped(page: &str) -> f64 {
    http::sum(page, names::COLLECTOR_SPANS, r#"outcome="mapped"#)
}

fn us(sorted: &[u64], share: f64) -> f64 {
    quantile(sorted, share) as f64 / 1_000.0
}

fn latencies(name: &'static str, way: usize, rounds: &[[openloop::Turn; 3]]) -> Vec<Latency> {
    let of = |(quantile, share): (&'static str, f64)| {
        let both = || {
            rounds
                .iter()
                .map(move |round| (us(&round[way].latency, share), us(&round[0].latency, share)))
        };
        Latency {
            way: name,
            quantile,
            us: Spread::of(both().map(|(own, _)| own)),
            added_us: Spread::of(both().map(|(own, direct)| own - direct)),
            ratio: Spread::of(both().map(|(own, direct)| own / direct)),
        }
    };
    SHARES.map(of).into()
}

/// An agent in a process of its own, with one proxy.
struct Agent {
    name: &'static str,
    process: Contestant,
    proxy: SocketAddr,
    admin: SocketAddr,
    requests: u64,
    cpu_per_1000: Vec<f64>,
}

impl Agent {
    /// An inbound proxy before `upstream`, or without one an outbound proxy.
    fn start(
        name: &'static str,
        scratch: &Path,
        collector: SocketAddr,
        upstream: Option<SocketAddr>,
    ) -> Result<Self, Failure> {
        let [proxy, admin] = free_addresses()?;
        let way = match upstream {
            Some(upstream) => format!("inbound: [{{ listen: {proxy}, upstream: 'http://{upstream}' }}]"),
            None => format!("outbound: {{ listen: {proxy} }}"),
        };
        let config = scratch.join(format!("{name}.yaml"));
        let text = format!(
            "agent:\n  service: shop-{name}\n  routes: ['/items/{{id}}']\n  {way}\n  admin: {{ listen: {admin} }}\n  \
             export: {{ endpoint: 'http://{collector}' }}\n"
        );
        std::fs::write(&config, text)?;
        let process = start_tracemap("agent", &config, &scratch.join(format!("{name}.log")))?;
        until("the agent was not ready", admin, "/readyz", READY_EVERY, |_| true)?;
        Ok(Self {
            name,
            process,
            proxy,
            admin,
            requests: 0,
            cpu_per_1000: Vec::new(),
        })
    }

    /// Waits until every span of the turn is with the collector; CPU until then is the turn's.
    fn end_turn(&mut self, before: f64, requests: u64, counts: bool) -> Result<(), Failure> {
        self.requests += requests;
        let sent = |page: &str| http::sum(page, names::AGENT_SPANS, r#"outcome="sent""#);
        let has_all = |page: &str| sent(page) >= self.requests as f64;
        let page = until(
            "the agent did not send every span",
            self.admin,
            "/metrics",
            ASK_EVERY,
            has_all,
        )?;
        let dropped = http::sum(&page, names::AGENT_SPANS_DROPPED, "");
        if dropped > 0.0 {
            return Err(format!("no figure: the agent `{}` dropped {dropped} spans", self.name).into());
        }
        if counts {
            self.cpu_per_1000
                .push((self.process.cpu_seconds()? - before) * 1e3 / requests as f64);
        }
        Ok(())
    }

    fn figure(&self) -> Result<AgentFigure, Failure> {
        let (rss_mib, peak_rss_mib) = self.process.rss_mib()?;
        let cpu_seconds_per_1000_requests = Spread::of(self.cpu_per_1000.iter().copied());
        Ok(AgentFigure {
            name: self.name,
            cpu_seconds_per_1000_requests,
            rss_mib,
            peak_rss_mib,
            requests: self.requests,
        })
    }
}
