//! A collector that is killed again and again under load, and what it knows in the end.
//!
//! In: a [`Plan`]. Out: an [`Outcome`] that holds every difference from what was sent.
//! Left out on purpose: loss of power, which a kill does not show; `proof power-cuts` does. The command and a system test
//! share this file, so it asks nothing of either.
//!
//! Senders never give up: a request without an acknowledgement is sent again with the same bytes until it has one, as an
//! exporter with a retry does. Some that were acknowledged are sent again too. So every trace is there in the end, and
//! exactly once, or the collector is wrong.

pub(crate) mod load;
pub(crate) mod random;
pub(crate) mod senders;
pub(crate) mod verdict;
pub(crate) mod victim;

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use random::Random;
use senders::{Door, Senders};
use victim::{Addresses, Victim};

pub(crate) use load::Load;
pub(crate) use senders::SendCounts;
pub(crate) use verdict::Verdict;

/// What went wrong; nothing here is handled, all of it is told.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// Just before a running collector cuts its first snapshot, a minute after it was ready; kills shall fall into that too.
const BEFORE_SNAPSHOT: Duration = Duration::from_millis(59_900);

/// What is done to the collector.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The command `tracemap`.
    pub(crate) tracemap: PathBuf,
    /// Decides when it is killed and what is repeated.
    pub(crate) seed: u64,
    /// Kills.
    pub(crate) rounds: usize,
    /// Each so many-th kill waits for the time of a snapshot; 0 for none.
    pub(crate) snapshot_every: usize,
    /// New traces a second.
    pub(crate) traces_per_second: u64,
    /// `collector.pairing.wait`, longer than a restart takes: both halves of a trace are there when it closes.
    pub(crate) wait: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) kills: usize,
    /// Kills that came before the collector was ready, that is, while it replayed.
    pub(crate) kills_while_starting: usize,
    /// Kills that came while it ended, that is, while it wrote its last snapshot.
    pub(crate) kills_while_stopping: usize,
    pub(crate) traces: u64,
    pub(crate) sent: SendCounts,
    /// From the start of the process until it was ready, shortest first.
    pub(crate) restarts: Vec<Duration>,
    pub(crate) took: Duration,
    pub(crate) verdict: Verdict,
}

/// Runs the plan on a runtime of its own.
pub(crate) fn run(plan: &Plan) -> Result<Outcome, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(kill_and_compare(plan))
}

async fn kill_and_compare(plan: &Plan) -> Result<Outcome, Failure> {
    let began = Instant::now();
    let scratch = tempfile::tempdir()?;
    let addresses = Addresses::free()?;
    let config = addresses.write_config(scratch.path(), plan.wait)?;
    let mut random = Random::new(plan.seed);
    let load = Load::new(plan.seed, plan.traces_per_second);
    let senders = Senders::start(&load, &[Door::Grpc(addresses.grpc)], plan.seed);
    let collector = || Victim::start(&plan.tracemap, "collector", &config, addresses.web);
    let (mut restarts, mut kills_while_starting, mut kills_while_stopping) = (Vec::new(), 0, 0);
    for round in 0..plan.rounds {
        let mut victim = collector()?;
        let moment = Moment::of(round, plan.snapshot_every, &mut random);
        match moment {
            Moment::AfterStart(delay) => {
                tokio::time::sleep(delay).await;
                kills_while_starting += usize::from(!victim.is_ready().await);
            }
            Moment::AfterReady(delay) => {
                restarts.push(victim.ready().await?);
                tokio::time::sleep(delay).await;
            }
            Moment::WhileStopping(delay, stopping) => {
                restarts.push(victim.ready().await?);
                tokio::time::sleep(delay).await;
                victim.terminate()?;
                tokio::time::sleep(stopping).await;
                kills_while_stopping += usize::from(victim.assert_running().is_ok());
            }
        }
        if !matches!(moment, Moment::WhileStopping(..)) {
            victim.assert_running()?;
        }
        victim.kill()?;
    }
    let mut victim = collector()?;
    restarts.push(victim.ready().await?);
    let (traces, sent) = senders.finish().await?;
    restarts.sort_unstable();
    let asked = verdict::Asked::of(&load, traces, addresses.web, plan.wait);
    let verdict = asked.until(|| victim.assert_running()).await?;
    Ok(Outcome {
        kills: plan.rounds,
        kills_while_starting,
        kills_while_stopping,
        traces,
        sent,
        restarts,
        took: began.elapsed(),
        verdict,
    })
}

/// When a collector is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// While it replays, or shortly after.
    AfterStart(Duration),
    /// While it takes spans.
    AfterReady(Duration),
    /// So long after it was ready it is asked to end, and so long after that it has to.
    WhileStopping(Duration, Duration),
}

impl Moment {
    fn of(round: usize, snapshot_every: usize, random: &mut Random) -> Self {
        let millis = Duration::from_millis;
        if (round + 1).checked_rem(snapshot_every) == Some(0) {
            return Self::AfterReady(BEFORE_SNAPSHOT + millis(random.below(700)));
        }
        match random.below(6) {
            0 => Self::AfterStart(millis(random.below(80))),
            1 | 2 => Self::WhileStopping(millis(random.below(1_500)), millis(random.below(60))),
            _ => Self::AfterReady(millis(random.below(2_500))),
        }
    }
}

impl Outcome {
    /// One line for each figure.
    pub(crate) fn figures(&self) -> Vec<(&'static str, String)> {
        let seconds = |at: usize| self.restarts.get(at).map_or(0.0, Duration::as_secs_f64);
        let last = self.restarts.len().saturating_sub(1);
        let SendCounts {
            requests,
            acknowledged_spans,
            retried,
            repeated,
        } = self.sent;
        vec![
            ("kills", self.kills.to_string()),
            (
                "of these before the collector was ready",
                self.kills_while_starting.to_string(),
            ),
            (
                "of these while the collector was ending",
                self.kills_while_stopping.to_string(),
            ),
            ("traces", self.traces.to_string()),
            ("spans acknowledged", acknowledged_spans.to_string()),
            ("requests acknowledged", requests.to_string()),
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
                self.verdict.duplicates.to_string(),
            ),
            (
                "seconds from start to ready, median",
                format!("{:.2}", seconds(last / 2)),
            ),
            (
                "seconds from start to ready, longest",
                format!("{:.2}", seconds(last)),
            ),
            ("edges compared", self.verdict.edges.to_string()),
            ("span series compared", self.verdict.calls.to_string()),
            ("traces read back by id", self.verdict.read_back.to_string()),
            ("seconds in all", format!("{:.0}", self.took.as_secs_f64())),
        ]
    }
}
