//! The collector beside its peers: CPU and memory for the same spans.
//!
//! In: how many spans and rounds. Out: [`Figures`], or a failure where a span was not accounted for.
//! Left out on purpose: the most that each can take. With one machine for both sides that would measure the sender too.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use map::catalogue as names;
use serde::Serialize;

use crate::load::{EDGES_PER_TRACE, SPANS_PER_TRACE};
use crate::peers::Role;
use crate::process::{Contestant, free_addresses, until};
use crate::sender::{Sender, Sent};
use crate::stat::Spread;
use crate::{Failure, http, otelcol};

/// How often a contestant is asked whether it is done. Being asked costs it CPU, which counts.
const ASK_EVERY: Duration = Duration::from_millis(500);
pub(crate) const READY_EVERY: Duration = Duration::from_millis(20);

/// How much is measured.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) spans_per_turn: u64,
    pub(crate) otelcol: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) spans_per_turn: u64,
    pub(crate) bytes_per_span: f64,
    /// The collector first.
    pub(crate) contestants: Vec<Figure>,
}

/// One contestant's figures.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    /// User and system seconds for a million spans, one value a round.
    pub(crate) cpu_seconds_per_million: Spread,
    /// The same over the collector's of the same round.
    pub(crate) times_the_collector: Spread,
    /// Spans acknowledged in a second, with the sender on the same machine.
    pub(crate) spans_per_second: Spread,
    /// The same as the first, from the start of the process to its end, whatever it did between its turns.
    pub(crate) cpu_seconds_per_million_whole_life: f64,
    pub(crate) peak_rss_mib: f64,
    pub(crate) spans: u64,
    /// Requests sent again because the contestant asked for a pause.
    pub(crate) retries: u64,
}

/// Starts all contestants, lets them take turns, and checks that the collector counted every span.
pub(crate) fn measure(plan: &Plan) -> Result<Figures, Failure> {
    let scratch = tempfile::tempdir()?;
    let mut entries = vec![
        Entry::collector(scratch.path())?,
        Entry::peer("floor: same intake, message dropped", Role::Drop)?,
        Entry::peer("tonic with prost, message dropped", Role::Prost)?,
    ];
    if let Some(path) = &plan.otelcol {
        entries.push(Entry::otelcol(path, scratch.path())?);
    }
    let sender = Sender::new()?;
    for round in 0..=plan.rounds {
        eprintln!(
            "collector: round {round} of {}{}",
            plan.rounds,
            if round == 0 { " (warm-up)" } else { "" }
        );
        for entry in &mut entries {
            entry.take_turn(&sender, plan.spans_per_turn, round > 0)?;
        }
    }
    entries.iter().try_for_each(Entry::check)?;
    let collector = entries
        .first()
        .map(|entry| entry.turns.clone())
        .unwrap_or_default();
    let contestants = entries
        .iter()
        .map(|entry| entry.figure(&collector))
        .collect::<Result<_, _>>()?;
    Ok(Figures {
        spans_per_turn: plan.spans_per_turn,
        bytes_per_span: sender.bytes_per_span(),
        contestants,
    })
}

/// What a contestant's page says, and where.
enum Account {
    /// It has none; an acknowledgement is all.
    None,
    Collector(SocketAddr),
    Otelcol(SocketAddr),
}

struct Entry {
    name: &'static str,
    process: Contestant,
    grpc: SocketAddr,
    account: Account,
    turns: Vec<Turn>,
    spans: u64,
    retries: u64,
}

#[derive(Clone, Copy)]
struct Turn {
    cpu_per_million: f64,
    spans_per_second: f64,
}

impl Entry {
    fn new(name: &'static str, process: Contestant, grpc: SocketAddr, account: Account) -> Self {
        Self {
            name,
            process,
            grpc,
            account,
            turns: Vec::new(),
            spans: 0,
            retries: 0,
        }
    }

    fn peer(name: &'static str, role: Role) -> Result<Self, Failure> {
        let (process, grpc) = Contestant::peer(role)?;
        Ok(Self::new(name, process, grpc, Account::None))
    }

    fn collector(scratch: &Path) -> Result<Self, Failure> {
        let (process, grpc, web) = start_collector(scratch)?;
        Ok(Self::new(
            "tracemap collector",
            process,
            grpc,
            Account::Collector(web),
        ))
    }

    fn otelcol(path: &Path, scratch: &Path) -> Result<Self, Failure> {
        let otelcol::Started {
            name,
            process,
            grpc,
            own,
        } = otelcol::start(path, scratch)?;
        Ok(Self::new(name, process, grpc, Account::Otelcol(own)))
    }

    fn take_turn(&mut self, sender: &Sender, spans: u64, counts: bool) -> Result<(), Failure> {
        let before = self.process.cpu_seconds()?;
        let sent = sender
            .send(self.grpc, spans)
            .map_err(|error| format!("{}: {error}", self.name))?;
        self.spans += sent.spans;
        self.retries += sent.retries;
        self.settle()?;
        if counts {
            self.turns
                .push(Turn::of(self.process.cpu_seconds()? - before, sent));
        }
        Ok(())
    }

    /// Waits until nothing of this turn is left to do.
    fn settle(&self) -> Result<(), Failure> {
        match self.account {
            Account::None => {}
            Account::Collector(web) => {
                let is_idle = |page: &str| http::sum(page, names::COLLECTOR_TRACES, r#"state="open""#) == 0.0;
                until(
                    "the collector did not close its traces",
                    web,
                    "/metrics",
                    ASK_EVERY,
                    is_idle,
                )?;
            }
            Account::Otelcol(own) => {
                let has_all = |page: &str| http::sum(page, otelcol::ACCEPTED, "") >= self.spans as f64;
                until(
                    "otelcol did not count every span",
                    own,
                    "/metrics",
                    ASK_EVERY,
                    has_all,
                )?;
            }
        }
        Ok(())
    }

    /// Every span was mapped and every call became a request on an edge; else the figure is of less than the work.
    fn check(&self) -> Result<(), Failure> {
        let Account::Collector(web) = self.account else {
            return Ok(());
        };
        let page = http::get(web, "/metrics")?;
        let mapped = http::sum(&page, names::COLLECTOR_SPANS, r#"outcome="mapped"#);
        let edges = http::sum(&page, names::EDGE_REQUESTS, "");
        let expected = (
            self.spans as f64,
            (self.spans / SPANS_PER_TRACE * EDGES_PER_TRACE) as f64,
        );
        if (mapped, edges) == expected {
            return Ok(());
        }
        let (spans, requests) = expected;
        Err(format!(
            "no figure: of {spans} spans the collector mapped {mapped}, of {requests} requests it has {edges} on edges"
        )
        .into())
    }

    fn figure(&self, collector: &[Turn]) -> Result<Figure, Failure> {
        let pairs = self.turns.iter().zip(collector);
        Ok(Figure {
            name: self.name,
            cpu_seconds_per_million: Spread::of(self.turns.iter().map(|turn| turn.cpu_per_million)),
            times_the_collector: Spread::of(
                pairs.map(|(own, ours)| own.cpu_per_million / ours.cpu_per_million),
            ),
            spans_per_second: Spread::of(self.turns.iter().map(|turn| turn.spans_per_second)),
            cpu_seconds_per_million_whole_life: self.process.cpu_seconds()? * 1e6 / self.spans as f64,
            peak_rss_mib: self.process.rss_mib()?.1,
            spans: self.spans,
            retries: self.retries,
        })
    }
}

impl Turn {
    fn of(cpu_seconds: f64, sent: Sent) -> Self {
        Self {
            cpu_per_million: cpu_seconds * 1e6 / sent.spans as f64,
            spans_per_second: sent.spans as f64 / sent.took.as_secs_f64(),
        }
    }
}

/// Starts the real collector with every setting but its addresses at the default; returns OTLP/gRPC and web page.
pub(crate) fn start_collector(scratch: &Path) -> Result<(Contestant, SocketAddr, SocketAddr), Failure> {
    let [grpc, http, web] = free_addresses()?;
    let config = scratch.join("collector.yaml");
    let text = format!("collector:\n  otlp: {{ grpc: {grpc}, http: {http} }}\n  web: {{ listen: {web} }}\n");
    std::fs::write(&config, text)?;
    let process = Contestant::tracemap(&["collector"], &config, &scratch.join("collector.log"))?;
    until("the collector was not ready", web, "/readyz", READY_EVERY, |_| {
        true
    })?;
    Ok((process, grpc, web))
}
