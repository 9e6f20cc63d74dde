//! Three nodes under load, around which things fail, beside the same nodes without agents.
//!
//! In: a [`Plan`]. Out: an [`Outcome`]: what became of every call and every span, and when what was broken.
//! Left out on purpose: Kubernetes, whose part in this is to start and end processes in an order that `processes` keeps; and
//! loss of power. The command and a system test share this file.
//!
//! Without agents only the cuts are made, since calls meet nothing else then. A call may fail while what it needs is cut off,
//! or while an agent that it goes through is killed by SIGKILL; every other failure is a difference.

pub(crate) mod calls;
pub(crate) mod hosts;
pub(crate) mod processes;
pub(crate) mod topology;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep};

pub(crate) use crate::kills::harness::Failure;
use crate::kills::harness::random::Random;
use crate::kills::harness::senders::{Door, Senders};
use crate::kills::harness::verdict::{Asked, traces_not_stored};
use crate::kills::harness::{Load, SendCounts, Verdict};
use calls::{Call, Clients, causes, serve};
use processes::{CollectorSeat, NodeSeat, Place, Process};
use topology::{Cut, NODES, POD, Topology};

/// Until agents with a collector have delivered everything.
const PATIENCE: Duration = Duration::from_mins(3);
const ASK_EVERY: Duration = Duration::from_millis(100);
/// Differences beyond these are counted only.
const TOLD: usize = 20;

/// What is done to the nodes.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The command `tracemap`.
    pub(crate) tracemap: PathBuf,
    /// `deploy/redirect/tracemap-redirect.sh`.
    pub(crate) script: PathBuf,
    /// Decides which node it is, and what is repeated.
    pub(crate) seed: u64,
    /// How often each thing is done.
    pub(crate) rounds: usize,
    /// How long a cut or a full disk lasts, and the calm after each.
    pub(crate) fault: Duration,
    pub(crate) calm: Duration,
    /// `agent.drain_delay`; the chart's is five seconds.
    pub(crate) drain_delay: Duration,
    /// New traces a second from all pods together, of seven spans in the mean.
    pub(crate) traces_per_second: u64,
    /// Calls a second from each pod to each that it calls.
    pub(crate) calls_per_second: u64,
    /// When a call without an answer has failed; far longer than a busy machine takes for one.
    pub(crate) patience: Duration,
    /// `collector.pairing.wait`, longer than anything lasts that parts the two halves of a trace.
    pub(crate) wait: Duration,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    None,
    CutFromCollector,
    CutOff,
    DiskFull,
    CollectorKilled,
    Rolled,
    AgentKilled,
}

impl Fault {
    pub(crate) const ALL: [Self; 7] = [
        Self::None,
        Self::CutFromCollector,
        Self::CutOff,
        Self::DiskFull,
        Self::CollectorKilled,
        Self::Rolled,
        Self::AgentKilled,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "nothing",
            Self::CutFromCollector => "a node cut off from the collector",
            Self::CutOff => "a node cut off from everything",
            Self::DiskFull => "the disk of a node full, and the collector out of its reach",
            Self::CollectorKilled => "the collector killed by SIGKILL",
            Self::Rolled => "every agent rolled, one by one",
            Self::AgentKilled => "an agent killed by SIGKILL",
        }
    }
}

/// When something was broken, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phase {
    pub(crate) fault: Fault,
    node: u8,
    began: Instant,
    ended: Instant,
}

/// Before this an agent has written what it gathered of its own spans; they are acknowledged to nobody.
const GATHERED: Duration = Duration::from_secs(1);

impl Phase {
    /// Whether the spans of a call may end with an agent that is killed in this phase.
    fn takes_along(&self, call: &Call) -> bool {
        let of_node = call.from == self.node || call.to == self.node;
        of_node && call.began < self.ended && call.ended + GATHERED > self.began
    }

    fn touches(&self, call: &Call) -> bool {
        call.began < self.ended && call.ended > self.began
    }

    /// Whether a call may fail by it: where it would without us, or where an agent dies under it.
    fn excuses(&self, call: &Call) -> bool {
        let of_node = call.from == self.node || call.to == self.node;
        let may = match self.fault {
            Fault::CutOff => of_node && call.from != call.to,
            Fault::AgentKilled => of_node,
            _ => false,
        };
        may && self.touches(call)
    }
}

/// All calls, and what was broken meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Course {
    pub(crate) calls: Vec<Call>,
    pub(crate) phases: Vec<Phase>,
}

/// How many calls there were during a fault.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) calls: usize,
    /// Those that passed by the agents.
    pub(crate) untraced: usize,
    /// Those that failed as they may.
    pub(crate) excused: usize,
    /// Those that failed and must not.
    pub(crate) failed: usize,
}

impl Course {
    pub(crate) fn tally(&self, fault: Fault) -> Tally {
        let mut tally = Tally::default();
        for call in &self.calls {
            let mut during = self.phases.iter().filter(|phase| phase.touches(call));
            let is_of = match fault {
                Fault::None => during.next().is_none(),
                fault => during.any(|phase| phase.fault == fault),
            };
            if !is_of {
                continue;
            }
            tally.calls += 1;
            match &call.answer {
                Ok(trace) => tally.untraced += usize::from(trace.is_none()),
                Err(_) if self.is_excused(call) => tally.excused += 1,
                Err(_) => tally.failed += 1,
            }
        }
        tally
    }

    fn is_excused(&self, call: &Call) -> bool {
        self.phases.iter().any(|phase| phase.excuses(call))
    }

    /// Failures that nothing excuses, in words.
    pub(crate) fn differences(&self) -> Vec<String> {
        let failed = self.calls.iter().filter(|call| call.answer.is_err());
        let failed: Vec<_> = failed.filter(|call| !self.is_excused(call)).collect();
        let word = |call: &&Call| {
            let nearest = self.phases.iter().rfind(|phase| phase.began < call.ended);
            let after = nearest.map_or_else(String::new, |phase| {
                let late = call.began.saturating_duration_since(phase.began);
                format!(", {late:.1?} into: {} ({})", phase.fault.name(), phase.node)
            });
            let (from, to) = (call.from, call.to);
            let cause = call.answer.as_ref().err().map_or("", String::as_str);
            format!("a call from node {from} to node {to} failed: {cause}{after}")
        };
        let mut told: Vec<_> = failed.iter().take(TOLD).map(word).collect();
        if failed.len() > TOLD {
            told.push(format!("and {} more calls", failed.len() - TOLD));
        }
        told
    }

    /// The traces that services saw, but those whose spans an agent may not have written when it was killed.
    fn traces(&self) -> BTreeSet<String> {
        let kills = || {
            self.phases
                .iter()
                .filter(|phase| phase.fault == Fault::AgentKilled)
        };
        let traces = self
            .calls
            .iter()
            .filter(|call| !kills().any(|phase| phase.takes_along(call)))
            .filter_map(|call| call.answer.as_ref().ok()?.clone());
        traces.collect()
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) with: Course,
    pub(crate) without: Course,
    pub(crate) traces: u64,
    pub(crate) sent: SendCounts,
    pub(crate) verdict: Verdict,
    /// Traces of calls, and how many of them are not in the store.
    pub(crate) call_traces: usize,
    pub(crate) call_traces_missing: usize,
    /// Spans that agents say they dropped.
    pub(crate) dropped: u64,
    /// Requests of SDKs that agents refused while neither disk nor collector would have had them.
    pub(crate) refused: u64,
    pub(crate) took: Duration,
}

impl Outcome {
    /// Everything that is not as it must be.
    pub(crate) fn differences(&self) -> Vec<String> {
        let mut told = self.verdict.differences.clone();
        told.extend(self.with.differences());
        let without = self.without.differences();
        told.extend(without.into_iter().map(|told| format!("without agents: {told}")));
        let missing = self.call_traces_missing as u64;
        if missing > self.dropped {
            told.push(format!(
                "{missing} traces of calls are not in the store, and agents say that they dropped {} spans",
                self.dropped
            ));
        }
        told
    }
}

impl Outcome {
    /// All of it, for a terminal.
    pub(crate) fn told(&self) -> String {
        let mut text = self.table();
        for (what, figure) in self.figures() {
            let _ = writeln!(text, "{what:<75}{figure:>12}");
        }
        for (cause, calls) in causes(self.with.calls.iter()) {
            let _ = writeln!(text, "calls that failed with agents: {calls}: {cause}");
        }
        text
    }

    /// One line for each fault.
    pub(crate) fn table(&self) -> String {
        let mut text =
            "| what is broken | times | calls | past the agents | failed as they may | failed otherwise | \
                        without agents: calls | failed as they may | failed otherwise |\n\
                        |---|---:|---:|---:|---:|---:|---:|---:|---:|\n"
                .to_owned();
        for fault in Fault::ALL {
            let (with, without) = (self.with.tally(fault), self.without.tally(fault));
            let times = self
                .with
                .phases
                .iter()
                .filter(|phase| phase.fault == fault)
                .count();
            let _ = writeln!(
                text,
                "| {} | {times} | {} | {} | {} | {} | {} | {} | {} |",
                fault.name(),
                with.calls,
                with.untraced,
                with.excused,
                with.failed,
                without.calls,
                without.excused,
                without.failed,
            );
        }
        text
    }

    /// One line for each figure.
    pub(crate) fn figures(&self) -> Vec<(&'static str, String)> {
        let SendCounts {
            requests,
            acknowledged_spans,
            retried,
            repeated,
        } = self.sent;
        let verdict = &self.verdict;
        vec![
            ("traces that pods sent", self.traces.to_string()),
            ("spans that agents acknowledged", acknowledged_spans.to_string()),
            ("requests that agents acknowledged", requests.to_string()),
            (
                "requests that agents refused for want of disk",
                self.refused.to_string(),
            ),
            (
                "requests sent again because nothing acknowledged them",
                retried.to_string(),
            ),
            (
                "requests sent again although they were acknowledged",
                repeated.to_string(),
            ),
            (
                "spans that the collector recognised as repeated",
                verdict.duplicates.to_string(),
            ),
            ("edges compared", verdict.edges.to_string()),
            ("span series compared", verdict.calls.to_string()),
            ("traces of pods read back by id", verdict.read_back.to_string()),
            (
                "acknowledged spans lost or doubled",
                verdict.differences.len().to_string(),
            ),
            ("traces of calls read back by id", self.call_traces.to_string()),
            ("of these not in the store", self.call_traces_missing.to_string()),
            (
                "spans of calls that agents counted as dropped",
                self.dropped.to_string(),
            ),
            ("seconds in all", format!("{:.0}", self.took.as_secs_f64())),
        ]
    }
}

/// Runs the plan on a runtime of its own.
pub(crate) fn run(plan: &Plan) -> Result<Outcome, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(break_and_compare(plan))
}

async fn break_and_compare(plan: &Plan) -> Result<Outcome, Failure> {
    let began = Instant::now();
    let topology = Topology::new()?;
    serve(&topology).await?;
    let without = without_agents(plan, &topology).await?;

    let place = Place::new(plan)?;
    let collector_seat = CollectorSeat::new(&place, &topology, plan)?;
    let mut collector = Some(collector_seat.start().await?);
    let mut nodes = Vec::new();
    for node in &topology.nodes {
        let mut seat = NodeSeat::new(&place, node, plan)?;
        seat.start().await?;
        nodes.push(seat);
    }
    let load = Load::new(plan.seed, plan.traces_per_second);
    let senders = Senders::start_on(&load, doors(&topology), plan.seed);
    let clients = Clients::start(&topology, plan.calls_per_second, plan.patience);
    let mut faults = Faults {
        plan,
        topology: &topology,
        random: Random::new(plan.seed),
        phases: Vec::new(),
        refused: 0,
    };
    sleep(plan.calm).await;
    for _ in 0..plan.rounds {
        faults.cut(Fault::CutFromCollector).await?;
        faults.cut(Fault::CutOff).await?;
        faults.fill_a_disk(&nodes).await?;
        faults.kill_the_collector(&mut collector, &collector_seat).await?;
        faults.roll(&mut nodes).await?;
        faults.kill_an_agent(&mut nodes).await?;
    }
    let with = Course {
        calls: clients.finish().await?,
        phases: faults.phases,
    };
    let (traces, sent) = senders.finish().await?;
    delivered(&mut nodes).await?;
    let mut dropped = 0;
    for node in &nodes {
        dropped += node.dropped().await?;
    }
    let (wait, web) = (plan.wait, Topology::collector_at(7070));
    let asked = async move {
        let asked = Asked::of(&load, traces, web, wait).beside(POD);
        asked.until(|| Ok(())).await
    };
    let verdict = topology.collector.run(asked).await??;
    let seen = with.traces();
    let call_traces = seen.len();
    let missing = async move { traces_not_stored(web, seen.iter()).await };
    Ok(Outcome {
        with,
        without,
        traces,
        sent,
        verdict,
        call_traces,
        call_traces_missing: topology.collector.run(missing).await??,
        dropped,
        refused: faults.refused,
        took: began.elapsed(),
    })
}

/// The same cuts, and nobody between callers and services.
async fn without_agents(plan: &Plan, topology: &Topology) -> Result<Course, Failure> {
    let clients = Clients::start(topology, plan.calls_per_second, plan.patience);
    let mut faults = Faults {
        plan,
        topology,
        random: Random::new(plan.seed),
        phases: Vec::new(),
        refused: 0,
    };
    sleep(plan.calm).await;
    for _ in 0..plan.rounds {
        faults.cut(Fault::CutFromCollector).await?;
        faults.cut(Fault::CutOff).await?;
    }
    Ok(Course {
        calls: clients.finish().await?,
        phases: faults.phases,
    })
}

/// One sender in each pod, by gRPC in the first of a node and by HTTP in the other, to the agent of the node.
fn doors(topology: &Topology) -> Vec<(Door, tokio::runtime::Handle)> {
    let doors = topology.nodes.iter().flat_map(|node| {
        let doors = [Door::Grpc(node.at(4317)), Door::Http(node.at(4318))];
        let runtimes = node.pods.iter().map(|pod| pod.host.runtime().clone());
        doors.into_iter().zip(runtimes)
    });
    doors.collect()
}

/// Waits until nothing waits at any agent.
async fn delivered(nodes: &mut [NodeSeat<'_>]) -> Result<(), Failure> {
    let asked = Instant::now();
    for node in nodes {
        while node.series("tracemap_agent_buffered_bytes ").await? > 0 {
            node.assert_running()?;
            if asked.elapsed() > PATIENCE {
                return Err(format!(
                    "the agent of node {} does not deliver what it has",
                    node.node.number
                )
                .into());
            }
            sleep(ASK_EVERY).await;
        }
    }
    Ok(())
}

/// What breaks things, and mends them again.
struct Faults<'a> {
    plan: &'a Plan,
    topology: &'a Topology,
    random: Random,
    phases: Vec<Phase>,
    refused: u64,
}

impl Faults<'_> {
    fn any_node(&mut self) -> u8 {
        self.random.below(NODES.into()) as u8 + 1
    }

    async fn over(&mut self, fault: Fault, node: u8, began: Instant) {
        let ended = Instant::now();
        self.phases.push(Phase {
            fault,
            node,
            began,
            ended,
        });
        sleep(self.plan.calm).await;
    }

    async fn cut(&mut self, fault: Fault) -> Result<(), Failure> {
        let (node, began) = (self.any_node(), Instant::now());
        let from = match fault {
            Fault::CutOff => Cut::Everything,
            _ => Cut::Collector,
        };
        self.topology.cut(node, from)?;
        sleep(self.plan.fault).await;
        self.topology.heal()?;
        self.over(fault, node, began).await;
        Ok(())
    }

    /// A disk fills only while nothing leaves it, so the collector is out of reach too.
    async fn fill_a_disk(&mut self, nodes: &[NodeSeat<'_>]) -> Result<(), Failure> {
        let (node, began) = (self.any_node(), Instant::now());
        let seat = &nodes[usize::from(node - 1)];
        let refusals = "tracemap_agent_relay_requests_total{outcome=\"busy\"";
        let before = seat.series(refusals).await?;
        self.topology.cut(node, Cut::Collector)?;
        seat.disk.fill()?;
        sleep(self.plan.fault).await;
        let refused = loop {
            let refused = seat.series(refusals).await? - before;
            if refused > 0 {
                break refused;
            }
            if began.elapsed() > PATIENCE {
                return Err("an agent whose disk is full refuses nothing".into());
            }
            sleep(ASK_EVERY).await;
        };
        self.refused += refused;
        seat.disk.empty()?;
        self.topology.heal()?;
        self.over(Fault::DiskFull, node, began).await;
        Ok(())
    }

    async fn kill_the_collector(
        &mut self,
        collector: &mut Option<Process>,
        seat: &CollectorSeat<'_>,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        if let Some(mut collector) = collector.take() {
            collector.assert_running()?;
            collector.kill()?;
        }
        sleep(self.plan.fault / 2).await;
        *collector = Some(seat.start().await?);
        self.over(Fault::CollectorKilled, 0, began).await;
        Ok(())
    }

    async fn roll(&mut self, nodes: &mut [NodeSeat<'_>]) -> Result<(), Failure> {
        for seat in nodes {
            let (node, began) = (seat.node.number, Instant::now());
            seat.end().await?;
            seat.start().await?;
            self.over(Fault::Rolled, node, began).await;
        }
        Ok(())
    }

    async fn kill_an_agent(&mut self, nodes: &mut [NodeSeat<'_>]) -> Result<(), Failure> {
        let (node, began) = (self.any_node(), Instant::now());
        let seat = &mut nodes[usize::from(node - 1)];
        seat.kill().await?;
        self.over(Fault::AgentKilled, node, began).await;
        seat.start_again().await?;
        sleep(self.plan.calm).await;
        Ok(())
    }
}
