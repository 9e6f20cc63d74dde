//! `cargo xtask proof agent-buffer`: an agent and its collector under load, killed in turns, against what was sent.
//!
//! In: how often and how hard. Out: figures on standard output and `docs/proofs/agent-buffer.md`; exit code 1 where anything
//! that was acknowledged is missing or counted twice.
//! Left out on purpose: sending and comparing, which `kills` has.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::kills::harness::random::Random;
use crate::kills::harness::senders::{Door, Senders};
use crate::kills::harness::verdict::{self, get};
use crate::kills::harness::victim::{Addresses, Victim};
use crate::kills::harness::{Load, SendCounts, Verdict};
use crate::{Failure, page};

/// Where the report goes, below the root of the workspace.
const REPORT: &str = "docs/proofs/agent-buffer.md";
/// How long a trace waits for its other half: longer than an agent may keep it while its collector is away.
const WAIT: Duration = Duration::from_secs(45);
/// Until an agent with a collector has delivered everything.
const PATIENCE: Duration = Duration::from_mins(2);
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Arguments of `cargo xtask proof agent-buffer`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often one of the two is killed
    #[arg(long, default_value_t = 100)]
    rounds: usize,
    /// Decides when they are killed and what is repeated
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// New traces a second, of seven spans in the mean
    #[arg(long, default_value_t = 300)]
    traces_per_second: u64,
    /// A built `tracemap`. Default: builds one in the release profile
    #[arg(long)]
    tracemap: Option<PathBuf>,
}

/// Kills, compares, tells, and writes the report.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let tracemap = args.tracemap.clone().map_or_else(page::build, Ok)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(kill_and_compare(args, &tracemap))?;
    let figures = outcome.figures();
    for (what, figure) in &figures {
        println!("{what:<60}{figure:>12}");
    }
    if !outcome.verdict.differences.is_empty() {
        println!("\n{}", outcome.verdict.differences.join("\n"));
        return Ok(ExitCode::from(1));
    }
    page::write(REPORT, &markdown(args, &figures)?)?;
    Ok(ExitCode::SUCCESS)
}

/// What came of it.
struct Outcome {
    agent_kills: usize,
    collector_kills: usize,
    /// Most bytes that were seen to wait at the agent.
    most_buffered: u64,
    traces: u64,
    sent: SendCounts,
    took: Duration,
    verdict: Verdict,
}

/// The two, and how they are started.
struct Pair<'a> {
    tracemap: &'a Path,
    collector_config: PathBuf,
    collector_at: Addresses,
    /// One exports by gRPC, the other by HTTP.
    agent_configs: [PathBuf; 2],
    agent_at: Addresses,
}

impl<'a> Pair<'a> {
    fn new(tracemap: &'a Path, dir: &Path) -> Result<Self, Failure> {
        let (collector_at, agent_at) = (Addresses::free()?, Addresses::free()?);
        let spool = dir.join("spool");
        let config = |protocol: &str, to| -> Result<PathBuf, Failure> {
            let Addresses { grpc, http, web } = agent_at;
            let text = format!(
                "agent:\n  otlp: {{ grpc: '{grpc}', http: '{http}' }}\n  admin: {{ listen: '{web}' }}\n  export:\n    \
                 endpoint: 'http://{to}'\n    protocol: {protocol}\n    delay: 20ms\n    drain: 0s\n    \
                 buffer: {{ path: '{}', max_size: 1GiB }}\n",
                spool.display()
            );
            let path = dir.join(format!("agent-{protocol}.yaml"));
            std::fs::write(&path, text)?;
            Ok(path)
        };
        Ok(Self {
            tracemap,
            collector_config: collector_at.write_config(dir, WAIT)?,
            agent_configs: [
                config("grpc", collector_at.grpc)?,
                config("http", collector_at.http)?,
            ],
            collector_at,
            agent_at,
        })
    }

    fn collector(&self) -> Result<Victim, Failure> {
        Victim::start(
            self.tracemap,
            "collector",
            &self.collector_config,
            self.collector_at.web,
        )
    }

    fn agent(&self, number: usize) -> Result<Victim, Failure> {
        let [grpc, http] = &self.agent_configs;
        let config = if number.is_multiple_of(2) { grpc } else { http };
        Victim::start(self.tracemap, "agent", config, self.agent_at.web)
    }

    /// Bytes that wait at the agent.
    async fn buffered(&self) -> Result<u64, Failure> {
        let page = get(self.agent_at.web, "/metrics", "text/plain").await?;
        let page = std::str::from_utf8(&page)?;
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix("tracemap_agent_buffered_bytes "));
        Ok(value
            .ok_or("the agent does not say what it buffers")?
            .trim()
            .parse::<f64>()? as u64)
    }
}

async fn kill_and_compare(args: &Args, tracemap: &Path) -> Result<Outcome, Failure> {
    let began = Instant::now();
    let scratch = tempfile::tempdir()?;
    let pair = Pair::new(tracemap, scratch.path())?;
    let mut random = Random::new(args.seed);
    let load = Load::new(args.seed, args.traces_per_second);
    let doors = [Door::Grpc(pair.agent_at.grpc), Door::Http(pair.agent_at.http)];
    let (mut agent, mut collector) = (pair.agent(0)?, pair.collector()?);
    agent.ready().await?;
    collector.ready().await?;
    let senders = Senders::start(&load, &doors, args.seed);
    let (mut agent_kills, mut collector_kills, mut most_buffered) = (0, 0, 0);
    for round in 0..args.rounds {
        tokio::time::sleep(Duration::from_millis(random.below(1_500))).await;
        most_buffered = most_buffered.max(pair.buffered().await.unwrap_or(0));
        let away = Duration::from_millis(random.below(1_000));
        if round.is_multiple_of(2) {
            agent.kill()?;
            agent_kills += 1;
            tokio::time::sleep(away).await;
            agent = pair.agent(agent_kills)?;
            // Each fourth dies while it may still be starting.
            if random.below(4) != 0 {
                agent.ready().await?;
            }
        } else {
            collector.kill()?;
            collector_kills += 1;
            tokio::time::sleep(away).await;
            collector = pair.collector()?;
        }
    }
    agent.ready().await?;
    collector.ready().await?;
    let (traces, sent) = senders.finish().await?;
    let deadline = Instant::now() + PATIENCE;
    while pair.buffered().await? > 0 {
        agent.assert_running()?;
        if Instant::now() > deadline {
            return Err(format!("the agent does not deliver what it has:\n{}", agent.output()).into());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    let asked = verdict::Asked::of(&load, traces, pair.collector_at.web, WAIT);
    let verdict = asked.until(|| collector.assert_running()).await?;
    Ok(Outcome {
        agent_kills,
        collector_kills,
        most_buffered,
        traces,
        sent,
        took: began.elapsed(),
        verdict,
    })
}

impl Outcome {
    /// One line for each figure.
    fn figures(&self) -> Vec<(&'static str, String)> {
        let SendCounts {
            requests,
            acknowledged_spans,
            retried,
            repeated,
        } = self.sent;
        vec![
            ("kills of the agent", self.agent_kills.to_string()),
            ("kills of the collector", self.collector_kills.to_string()),
            ("traces", self.traces.to_string()),
            (
                "spans that the agent acknowledged",
                acknowledged_spans.to_string(),
            ),
            ("requests that the agent acknowledged", requests.to_string()),
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
                "most KiB seen waiting at the agent",
                (self.most_buffered >> 10).to_string(),
            ),
            ("edges compared", self.verdict.edges.to_string()),
            ("span series compared", self.verdict.calls.to_string()),
            ("traces read back by id", self.verdict.read_back.to_string()),
            ("differences", self.verdict.differences.len().to_string()),
            ("seconds in all", format!("{:.0}", self.took.as_secs_f64())),
        ]
    }
}

fn markdown(args: &Args, figures: &[(&'static str, String)]) -> Result<String, Failure> {
    let Args {
        rounds,
        seed,
        traces_per_second,
        ..
    } = args;
    let command = format!(
        "cargo xtask proof agent-buffer --rounds {rounds} --seed {seed} --traces-per-second {traces_per_second}"
    );
    let mut text = page::head(
        "An agent that is killed",
        "however often an agent with a buffer on disk and its collector are killed by SIGKILL, no span that the agent acknowledged\n\
         is lost, and none is counted twice, also where the sender repeats a request.",
        &command,
    )?;
    text.push_str(
        "Four senders send numbered traces to the agent by OTLP/gRPC and four by OTLP/HTTP, the two halves of each trace in different\n\
         requests, and send every request that was not acknowledged again with the same bytes. One request in twelve is sent again\n\
         although it was acknowledged. Agent and collector are killed in turns, at moments that the seed decides, each fourth agent\n\
         perhaps before it was ready; the agents export by gRPC and by HTTP in turns, each the buffer that the one before left. In the\n\
         end every edge of `/metrics` and of the map, every series of span metrics, and every trace by its id are compared with what was\n\
         sent; one difference, and the command ends with 1.\n\n| figure | |\n|---|---:|\n",
    );
    for (what, figure) in figures {
        let _ = writeln!(text, "| {what} | {figure} |");
    }
    let _ = write!(
        text,
        "\nWhat this does not show: loss of power, for the page cache outlives a kill; halves that come later than `pairing.wait`, which\n\
         was {} s here.\n",
        WAIT.as_secs()
    );
    Ok(text)
}
