//! One protocol's messages under kills.
//!
//! In: a protocol, an agent's program or none, how often, and a seed. Out: what was killed and the ledger's verdict.
//! Left out on purpose: judging the verdict.

use std::fmt::{Display, Formatter};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::Failure;
use crate::agent_process::{AgentProcess, pause};
use crate::kills::harness::random::Random;
use crate::queues::broker::{Broker, free_ports, local};
use crate::queues::ledger::{Ledger, Verdict};
use crate::queues::{Protocol, ended};

/// Messages a second.
const RATE: f64 = 500.0;
/// Bytes of a message.
const SIZES: std::ops::Range<u64> = 16..2000;
/// Messages that must be acknowledged, and come, between two kills.
const BETWEEN: usize = 50;
/// Longer than a broker takes to start and its clients to find it on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);
/// After the last message came, how long a further one may still come that nobody wants.
const QUIET: Duration = Duration::from_secs(2);
/// Milliseconds until something is killed, and until it is started again, at most.
const UNTIL_KILLED: u64 = 400;
const UNTIL_STARTED: u64 = 300;

/// What is to be done.
pub(super) struct Course<'a> {
    pub(super) protocol: Protocol,
    /// Its program; without one clients connect to the broker.
    pub(super) agent: Option<&'a Path>,
    pub(super) rounds: u64,
    pub(super) seed: u64,
}

/// What came of it.
pub(super) struct Outcome {
    pub(super) agents_killed: u64,
    pub(super) brokers_killed: u64,
    pub(super) verdict: Verdict,
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let (agents, brokers, verdict) = (self.agents_killed, self.brokers_killed, &self.verdict);
        write!(f, "agents killed {agents}, broker killed {brokers}, {verdict}")
    }
}

/// An agent that starts again at the same address.
struct Agent<'a> {
    program: &'a Path,
    listen: SocketAddr,
    queues: String,
    process: Option<AgentProcess>,
}

impl<'a> Agent<'a> {
    fn start(program: &'a Path, protocol: Protocol, broker: SocketAddr) -> Result<Self, Failure> {
        let [listen, brokers] = free_ports()?;
        let more = match protocol {
            Protocol::Kafka => format!(", broker_ports: {brokers}"),
            // Otherwise entries stay as they are.
            Protocol::Redis => ", context: both, inject_streams: ['*']".to_owned(),
            _ => String::new(),
        };
        let name = protocol.name();
        let mut agent = Self {
            program,
            listen: local(listen),
            queues: format!(
                "  queues: [{{ protocol: {name}, listen: '127.0.0.1:{listen}', upstream: '{broker}'{more} }}]\n"
            ),
            process: None,
        };
        agent.start_again()?;
        Ok(agent)
    }

    fn kill(&mut self) {
        self.process = None;
    }

    fn start_again(&mut self) -> Result<(), Failure> {
        // Nobody asks for what stands behind the inbound proxy.
        let nobody = local(free_ports::<1>()?[0]);
        self.process = Some(AgentProcess::start(self.program, nobody, &self.queues)?);
        Ok(())
    }
}

impl Course<'_> {
    pub(super) fn run(&self) -> Result<Outcome, Failure> {
        let mut broker = Broker::start(self.protocol)?;
        let agent = |program| Agent::start(program, self.protocol, broker.address());
        let mut agents = [
            self.agent.map(agent).transpose()?,
            self.agent.map(agent).transpose()?,
        ];
        let [to, from] = agents
            .each_ref()
            .map(|agent| agent.as_ref().map_or(broker.address(), |agent| agent.listen));
        let ledger = Arc::new(Ledger::new(SIZES, RATE));
        let consumer = self.protocol.consume(from, &ledger);
        let publisher = self.protocol.publish(to, &ledger);
        let killed = self.kill(&mut broker, &mut agents, &ledger);
        ledger.no_more();
        if killed.is_err() {
            ledger.end();
        }
        let published = ended(publisher);
        ledger.all_came(PATIENCE);
        pause(QUIET);
        ledger.end();
        let consumed = ended(consumer);
        let (agents_killed, brokers_killed) = killed?;
        published.and(consumed)?;
        Ok(Outcome {
            agents_killed,
            brokers_killed,
            verdict: ledger.verdict(),
        })
    }

    /// How often an agent and the broker were killed.
    fn kill(
        &self,
        broker: &mut Broker,
        agents: &mut [Option<Agent<'_>>; 2],
        ledger: &Ledger,
    ) -> Result<(u64, u64), Failure> {
        let mut random = Random::new(self.seed);
        let mut killed = (0, 0);
        // Each in turn, so that few rounds have all of them.
        for round in 0..self.rounds {
            ledger.goes_on_by(BETWEEN, PATIENCE)?;
            pause(Duration::from_millis(random.below(UNTIL_KILLED)));
            let away = Duration::from_millis(random.below(UNTIL_STARTED));
            let victim = round.wrapping_add(self.seed) % 3;
            let victim = usize::try_from(victim).unwrap_or_default();
            if let Some(Some(agent)) = agents.get_mut(victim) {
                agent.kill();
                pause(away);
                agent.start_again()?;
                killed.0 += 1;
            } else {
                broker.kill()?;
                if self.protocol.broker_keeps_the_place() {
                    ledger.place_was_lost();
                }
                pause(away);
                broker.start_again()?;
                killed.1 += 1;
            }
        }
        ledger.goes_on_by(BETWEEN, PATIENCE)?;
        Ok(killed)
    }
}
