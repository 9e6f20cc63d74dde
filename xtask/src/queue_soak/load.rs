//! One agent under one load.
//!
//! In: protocols, the size of their messages, a rate and a time. Out: counts of clients, agent and collector side by side, and
//! the agent's memory.
//! Left out on purpose: what is enough.

use std::fmt::{Display, Formatter, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::Failure;
use crate::agent_process::{AgentProcess, pause};
use crate::agent_soak::collector::Collector;
use crate::agent_soak::memory::Memory;
use crate::queues::broker::{Broker, free_ports, local};
use crate::queues::ledger::Ledger;
use crate::queues::{Client, Protocol, ended};

/// Longer than the slowest of them takes to begin on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);
/// The agent's default `max_message`.
const MAX_MESSAGE: u64 = 1 << 20;
/// Files that connections to the collector and `/metrics` have or have not.
const SLACK: usize = 2;
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is to be done.
pub(super) struct Load {
    pub(super) what: &'static str,
    pub(super) protocols: &'static [Protocol],
    /// Bytes of a message.
    pub(super) size: u64,
    /// Messages a second, of each protocol.
    pub(super) rate: f64,
    pub(super) time: Duration,
}

/// What came of it.
pub(super) struct Soaked {
    pub(super) what: &'static str,
    /// What, how much, and how much it should be.
    pub(super) figures: Vec<(String, u64, Option<u64>)>,
    pub(super) memory: Memory,
}

impl Soaked {
    /// Whether all is as it should be; memory aside.
    pub(super) fn is_right(&self) -> bool {
        let wrong =
            |(_, found, expected): &(String, u64, Option<u64>)| expected.is_some_and(|of| of != *found);
        !self.figures.iter().any(wrong)
    }

    /// Resident memory at its most, KiB.
    pub(super) fn most_kib(&self) -> i64 {
        let [_, _, (_, most), _] = self.memory.figures();
        most
    }
}

impl Display for Soaked {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.what)?;
        for (what, found, expected) in &self.figures {
            let expected = expected.map_or(String::new(), |expected| format!("  of {expected}"));
            writeln!(f, "  {what:<58}{found:>12}{expected}")?;
        }
        for (what, figure) in self.memory.figures() {
            writeln!(f, "  {what:<58}{figure:>12}")?;
        }
        Ok(())
    }
}

/// One protocol's clients and what they tell.
struct Stream {
    protocol: Protocol,
    ledger: Arc<Ledger>,
    publisher: Client,
    consumer: Client,
    _broker: Broker,
}

impl Load {
    pub(super) fn run(&self, program: &Path) -> Result<Soaked, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let collector = runtime.block_on(Collector::start())?;
        let brokers = self.protocols.iter().map(|protocol| Broker::start(*protocol));
        let brokers = brokers.collect::<Result<Vec<_>, _>>()?;
        let (agent, ports) = self.agent(program, &brokers, &collector)?;
        let streams: Vec<_> = self
            .protocols
            .iter()
            .zip(brokers)
            .zip(&ports)
            .map(|((protocol, broker), port)| self.stream(*protocol, broker, *port))
            .collect();
        for stream in &streams {
            let begun = stream.ledger.goes_on_by(5, PATIENCE);
            begun.map_err(|failure| format!("{}: {failure}", stream.protocol.name()))?;
        }
        let memory = Memory::watch(agent.id());
        pause(self.time / 4);
        let files = agent.files()?;
        pause(self.time.saturating_sub(self.time / 4));
        let memory = memory.end();
        let left_open = left_open(&agent, files)?;
        let mut figures = vec![
            ("seconds of load".to_owned(), self.time.as_secs(), None),
            (
                "files open at the end of the load, beside those at its first quarter".to_owned(),
                left_open,
                Some(0),
            ),
        ];
        for stream in streams {
            stream.compare(&agent, self.size, &mut figures)?;
        }
        let spans = agent.metric("tracemap_agent_spans_total{")?;
        let sent = agent.until_metric("tracemap_agent_spans_total{outcome=\"sent\"}", spans)?;
        figures.push(("spans that the agent calls sent".to_owned(), sent, Some(spans)));
        figures.push((
            "spans at the collector".to_owned(),
            collector.spans(),
            Some(spans),
        ));
        Ok(Soaked {
            what: self.what,
            figures,
            memory,
        })
    }

    /// An agent with a port for each broker.
    fn agent(
        &self,
        program: &Path,
        brokers: &[Broker],
        collector: &Collector,
    ) -> Result<(AgentProcess, [u16; 5]), Failure> {
        let ports: [u16; 5] = free_ports()?;
        let mut more = format!(
            "  export: {{ endpoint: 'http://{}' }}\n  queues:\n",
            collector.address
        );
        for ((protocol, broker), port) in self.protocols.iter().zip(brokers).zip(ports) {
            let own = match protocol {
                Protocol::Redis => ", context: both, inject_streams: ['*']",
                _ => "",
            };
            let (name, upstream) = (protocol.name(), broker.address());
            let _ = writeln!(
                more,
                "    - {{ protocol: {name}, listen: '127.0.0.1:{port}', upstream: '{upstream}'{own} }}"
            );
        }
        let nobody = local(free_ports::<1>()?[0]);
        Ok((AgentProcess::start(program, nobody, &more)?, ports))
    }

    fn stream(&self, protocol: Protocol, broker: Broker, port: u16) -> Stream {
        let ledger = Arc::new(Ledger::new(self.size..self.size + 1, self.rate));
        Stream {
            protocol,
            consumer: protocol.consume(local(port), &ledger),
            publisher: protocol.publish(local(port), &ledger),
            ledger,
            _broker: broker,
        }
    }
}

impl Stream {
    /// Ends it, and holds the agent's counters against what its clients saw.
    fn compare(
        self,
        agent: &AgentProcess,
        size: u64,
        figures: &mut Vec<(String, u64, Option<u64>)>,
    ) -> Result<(), Failure> {
        let name = self.protocol.name();
        // An entry of Redis is one command, which is held whole to be looked into, or not at all.
        let unseen = self.protocol == Protocol::Redis && size > MAX_MESSAGE;
        self.ledger.no_more();
        ended(self.publisher)?;
        self.ledger.all_came(PATIENCE);
        let series = |direction: &str, outcome: &str| {
            format!(
                "tracemap_agent_queue_messages_total{{direction=\"{direction}\",outcome=\"{outcome}\",protocol=\"{name}\"}}"
            )
        };
        let verdict = self.ledger.verdict();
        let sent = verdict.sent + verdict.sent_again;
        for (direction, count) in [("sent", sent), ("received", verdict.came)] {
            let expected = if unseen { 0 } else { count };
            let ok = agent.until_metric(&series(direction, "ok"), expected)?;
            let more = ok.saturating_sub(expected);
            let found = if self.protocol == Protocol::Kafka && direction == "received" {
                // Its client may drop an answer and ask again; the agent has seen both.
                figures.push((
                    format!("{name}: messages received that its client dropped"),
                    more,
                    None,
                ));
                ok - more
            } else {
                ok
            };
            figures.push((
                format!("{name}: messages {direction}, `ok`"),
                found,
                Some(expected),
            ));
            let other =
                agent.metric(&series(direction, "failed"))? + agent.metric(&series(direction, "open"))?;
            figures.push((format!("{name}: messages {direction}, otherwise"), other, Some(0)));
        }
        self.ledger.end();
        ended(self.consumer)?;
        let wrong = verdict.lost.len() as u64 + verdict.beyond + verdict.altered;
        figures.push((
            format!("{name}: messages lost, beyond the promise or altered"),
            wrong,
            Some(0),
        ));
        let skipped = agent.metric(&format!(
            "tracemap_agent_queue_skipped_total{{protocol=\"{name}\""
        ))?;
        let expected = unseen.then_some(sent + verdict.came);
        figures.push((format!("{name}: passed without more"), skipped, expected));
        Ok(())
    }
}

/// How many files more there are than `before`, once they stay so.
fn left_open(agent: &AgentProcess, before: usize) -> Result<u64, Failure> {
    for _ in 0..50 {
        if agent.files()? <= before + SLACK {
            return Ok(0);
        }
        pause(LOOK_EVERY);
    }
    Ok(u64::try_from(agent.files()?.saturating_sub(before))?)
}
