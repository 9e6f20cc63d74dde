//! One broker, direct and through the agent, in turn.
//!
//! In: a setup. Out: its [`Figures`], or a failure where a message was lost or not seen.
//! Left out on purpose: what the figures mean.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use map::catalogue as names;
use serde::Serialize;
use tempfile::TempDir;

use crate::Failure;
use crate::brokers::{Broker, Setup};
use crate::openloop::{self, Schedule};
use crate::process::{Contestant, READY_EVERY, free_addresses, until};
use crate::stat::{Spread, quantile};

/// What a protocol's producer can do.
pub(crate) trait Producer: Send {
    /// Sends so many messages, waiting only while too many are not acknowledged.
    fn send(&mut self, messages: u64) -> Result<(), Failure>;
    /// Waits until all are acknowledged.
    fn settle(&mut self) -> Result<(), Failure>;
    /// How many messages go at once.
    fn at_once(&self) -> u64 {
        1
    }
    /// Sends a single message.
    fn send_one(&mut self) -> Result<(), Failure> {
        self.send(1)
    }
}

/// How long, and with which agent.
pub(crate) struct Plan {
    pub(crate) agent: PathBuf,
    /// The share of traces that it records, 0 to 1.
    pub(crate) ratio: f64,
    pub(crate) rounds: usize,
    pub(crate) length: Duration,
}

/// What came of one setup.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) name: &'static str,
    /// Messages a second, saturated.
    pub(crate) direct_per_second: Spread,
    /// Through the agent over direct, in the same round.
    pub(crate) saturated_ratio: Spread,
    /// CPU seconds per million messages, saturated.
    pub(crate) broker_direct: Spread,
    pub(crate) broker: Spread,
    pub(crate) agent: Spread,
    /// Of half of the direct rate, how much was kept.
    pub(crate) half_kept_direct: Spread,
    pub(crate) half_kept: Spread,
    /// Microseconds.
    pub(crate) p50_direct: Spread,
    pub(crate) p50_added: Spread,
    pub(crate) p99_direct: Spread,
    pub(crate) p99_added: Spread,
    /// MiB of the agent, the most that ever were.
    pub(crate) agent_peak_mib: f64,
}

struct Turn {
    per_second: f64,
    broker: f64,
    agent: f64,
    half_kept: f64,
    p50: f64,
    p99: f64,
}

/// Measures one setup in all rounds.
pub(crate) fn measure(setup: Setup, jars: Option<&Path>, plan: &Plan) -> Result<Figures, Failure> {
    let dir = tempfile::tempdir()?;
    let broker = Broker::start(setup, jars, dir.path())?;
    let (_sink, [spans, _]) = Contestant::peer::<2>("sink")?;
    let agent = Agent::start(plan, setup, broker.address, spans)?;
    // Everything is warm afterwards.
    saturate(setup, broker.address, plan.length / 4)?;
    saturate(setup, agent.address, plan.length / 4)?;
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        let mut half = 0.0;
        for agent_first in [false, true] {
            if agent_first == (round % 2 == 1) {
                direct.push(turn(setup, &broker, None, plan, &mut half)?);
            } else {
                through.push(turn(setup, &broker, Some(&agent), plan, &mut half)?);
            }
        }
    }
    agent.saw_all()?;
    let each = |of: &dyn Fn(&Turn) -> f64, turns: &[Turn]| Spread::of(turns.iter().map(of));
    let both =
        |of: &dyn Fn(&Turn, &Turn) -> f64| Spread::of(direct.iter().zip(&through).map(|(d, t)| of(d, t)));
    Ok(Figures {
        name: setup.name(),
        direct_per_second: each(&|turn| turn.per_second, &direct),
        saturated_ratio: both(&|direct, through| through.per_second / direct.per_second),
        broker_direct: each(&|turn| turn.broker, &direct),
        broker: each(&|turn| turn.broker, &through),
        agent: each(&|turn| turn.agent, &through),
        half_kept_direct: each(&|turn| turn.half_kept, &direct),
        half_kept: each(&|turn| turn.half_kept, &through),
        p50_direct: each(&|turn| turn.p50, &direct),
        p50_added: both(&|direct, through| through.p50 - direct.p50),
        p99_direct: each(&|turn| turn.p99, &direct),
        p99_added: both(&|direct, through| through.p99 - direct.p99),
        agent_peak_mib: agent.process.rss_mib()?.1,
    })
}

/// `half` is half of the first turn's rate, for both turns of a round.
fn turn(
    setup: Setup,
    broker: &Broker,
    agent: Option<&Agent>,
    plan: &Plan,
    half: &mut f64,
) -> Result<Turn, Failure> {
    let to = agent.map_or(broker.address, |agent| agent.address);
    let cpu = || -> Result<(f64, f64), Failure> {
        let agent = agent.map_or(Ok(0.0), |agent| agent.process.cpu_seconds_of_threads())?;
        Ok((broker.process.cpu_seconds_of_threads()?, agent))
    };
    let before = cpu()?;
    let (messages, elapsed) = saturate(setup, to, plan.length)?;
    // Spans leave a moment later, and are the agent's work too.
    if let Some(agent) = agent {
        agent.is_quiet()?;
    }
    let after = cpu()?;
    let millions = messages as f64 / 1e6;
    let per_second = messages as f64 / elapsed.as_secs_f64();
    if *half == 0.0 {
        *half = per_second / if agent.is_some() { 1.0 } else { 2.0 };
    }
    let half_kept = pace(setup, to, *half, plan.length)?;
    let schedule = Schedule {
        rate: 500.0,
        length: plan.length,
        connections: 4,
    };
    let mut clients = schedule.clients(|| Ok(One(setup.producer(to)?)))?;
    let latency = openloop::run(&mut clients, schedule, 0)?.latency;
    let us = |share| quantile(&latency, share) as f64 / 1e3;
    Ok(Turn {
        per_second,
        broker: (after.0 - before.0) / millions,
        agent: (after.1 - before.1) / millions,
        half_kept,
        p50: us(0.5),
        p99: us(0.99),
    })
}

/// One message at a time.
struct One(Box<dyn Producer>);

impl openloop::Client for One {
    fn request(&mut self, _: u64) -> Result<(), Failure> {
        self.0.send_one()?;
        self.0.settle()
    }
}

fn saturate(setup: Setup, to: SocketAddr, length: Duration) -> Result<(u64, Duration), Failure> {
    let mut producer = setup.producer(to)?;
    let (began, mut sent) = (Instant::now(), 0);
    let step = producer.at_once().max(64);
    while began.elapsed() < length {
        producer.send(step)?;
        sent += step;
    }
    producer.settle()?;
    Ok((sent, began.elapsed()))
}

#[expect(clippy::disallowed_methods, reason = "the schedule is the measurement")]
fn pace(setup: Setup, to: SocketAddr, rate: f64, length: Duration) -> Result<f64, Failure> {
    let mut producer = setup.producer(to)?;
    let (began, at_once) = (Instant::now(), producer.at_once());
    let (mut sent, total) = (0, (rate * length.as_secs_f64()) as u64);
    while sent < total {
        let due = (began.elapsed().as_secs_f64() * rate) as u64;
        let now = due.min(total).saturating_sub(sent) / at_once * at_once;
        if now > 0 {
            producer.send(now)?;
            sent += now;
        } else if total - sent < at_once {
            break;
        } else {
            thread::sleep(Duration::from_millis(1));
        }
    }
    producer.settle()?;
    Ok(sent as f64 / rate / began.elapsed().as_secs_f64())
}

struct Agent {
    process: Contestant,
    address: SocketAddr,
    admin: SocketAddr,
    context: &'static str,
    _dir: TempDir,
}

impl Agent {
    fn start(plan: &Plan, setup: Setup, broker: SocketAddr, sink: SocketAddr) -> Result<Self, Failure> {
        let dir = tempfile::tempdir()?;
        let [address, admin] = free_addresses()?;
        let path = dir.path().join("agent.yaml");
        let (protocol, context, ratio) = (setup.protocol(), setup.context(), plan.ratio);
        let text = format!(
            "agent:\n  service: producer\n  admin: {{ listen: '{admin}' }}\n  export: {{ endpoint: 'http://{sink}' }}\n  \
             sampling: {{ type: parent_based_traceidratio, ratio: {ratio} }}\n  queues: [{{ protocol: {protocol}, listen: '{address}', upstream: '{broker}', context: {context} }}]\n"
        );
        std::fs::write(&path, text)?;
        let mut command = Command::new(&plan.agent);
        command.arg("--config").arg(&path);
        let process = Contestant::start(&mut command, &dir.path().join("log"))?;
        until("the agent is not ready", admin, "/readyz", READY_EVERY, |_| true)?;
        Ok(Self {
            process,
            address,
            admin,
            context,
            _dir: dir,
        })
    }

    /// Waits until all spans have left it.
    fn is_quiet(&self) -> Result<(), Failure> {
        let empty = format!("{} 0\n", names::AGENT_BUFFERED_BYTES);
        until(
            "spans left the agent",
            self.admin,
            "/metrics",
            READY_EVERY,
            |page| page.contains(&empty),
        )?;
        Ok(())
    }

    /// Whether it understood the connections, and let messages pass as they came only where it was to.
    fn saw_all(&self) -> Result<(), Failure> {
        let page = crate::http::get(self.admin, "/metrics")?;
        let of = |series: &str| {
            page.lines()
                .filter(|line| line.starts_with(series))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let (messages, skipped) = (of(names::AGENT_QUEUE_MESSAGES), of(names::AGENT_QUEUE_SKIPPED));
        let passed = skipped.iter().any(|line| !line.contains("unknown_frame"));
        // Series are there from the first connection on.
        let none = messages.iter().all(|line| line.ends_with(" 0"));
        if none || passed {
            return Err(format!(
                "{}: the agent saw {messages:?} and left {skipped:?}",
                self.context
            )
            .into());
        }
        Ok(())
    }
}
