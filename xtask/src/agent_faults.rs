//! `cargo xtask proof agent-faults`: the same requests directly and through an agent around which things fail.
//!
//! In: how long each fault lasts. Out: figures on standard output and `docs/proofs/agent-faults.md`; exit code 1 where a
//! request that succeeds directly fails through the agent, or callers are not served beside 10,000 half-open connections.
//! Left out on purpose: what becomes of the spans meanwhile; the exporter's own tests say that.

#[path = "agent_faults/collectors.rs"]
mod collectors;
#[path = "agent_faults/half_open.rs"]
mod half_open;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::agent_process::{self, AgentProcess};
use crate::pairs::{Random, pair, speak};
use crate::{Failure, page};
use collectors::{Fault, Standing};

/// Where the report goes, below the root of the workspace.
const REPORT: &str = "docs/proofs/agent-faults.md";

/// Arguments of `cargo xtask proof agent-faults`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long each fault lasts, in seconds
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Half-open connections
    #[arg(long, default_value_t = 10_000)]
    half_open: usize,
    /// Decides what is asked
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A built `tracemap-agent`. Default: builds one in the release profile
    #[arg(long)]
    agent: Option<PathBuf>,
}

/// One fault's outcome.
struct Outcome {
    fault: Fault,
    pairs: u64,
    different: Vec<String>,
    dropped: u64,
    sent: u64,
    rss_kib: u64,
}

/// Breaks things, asks, tells, and writes the report.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let program = args.agent.clone().map_or_else(agent_process::build, Ok)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let service = runtime.block_on(service())?;
    let mut outcomes = Vec::new();
    for fault in Fault::ALL {
        let outcome = under(&runtime, fault, &program, service, args)?;
        let Outcome { pairs, different, .. } = &outcome;
        println!(
            "{:<50}{pairs:>10} pairs{:>6} different",
            fault.name(),
            different.len()
        );
        outcomes.push(outcome);
    }
    let crowd = half_open::run(&runtime, &program, service, args.half_open)?;
    for (what, figure) in crowd.figures() {
        println!("{what:<60}{figure:>10}");
    }
    let different: Vec<_> = outcomes.iter().flat_map(|outcome| &outcome.different).collect();
    for difference in &different {
        println!("\n{difference}");
    }
    if !different.is_empty() || !crowd.holds() {
        return Ok(ExitCode::from(1));
    }
    page::write(REPORT, &markdown(args, &outcomes, &crowd)?)?;
    Ok(ExitCode::SUCCESS)
}

async fn service() -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(speak(stream));
        }
    });
    Ok(address)
}

fn under(
    runtime: &Runtime,
    fault: Fault,
    program: &Path,
    service: SocketAddr,
    args: &Args,
) -> Result<Outcome, Failure> {
    let standing = runtime.block_on(Standing::with(fault))?;
    let agent = AgentProcess::start(program, service, &standing.export())?;
    let end = Instant::now() + Duration::from_secs(args.seconds);
    let mut random = Random(args.seed);
    let (mut pairs, mut different) = (0, Vec::new());
    while Instant::now() < end && different.len() < 10 {
        pairs += 1;
        if let Err(difference) = runtime.block_on(pair(&mut random, service, agent.inbound)) {
            different.push(format!("{}, pair {pairs}: {difference}", fault.name()));
        }
    }
    let counted = agent.until_metric("tracemap_agent_requests_total{", pairs)?;
    if counted != pairs {
        different.push(format!(
            "{}: {pairs} requests, {counted} in an outcome",
            fault.name()
        ));
    }
    Ok(Outcome {
        fault,
        pairs,
        different,
        dropped: agent.metric("tracemap_agent_spans_total{outcome=\"dropped\"}")?,
        sent: agent.metric("tracemap_agent_spans_total{outcome=\"sent\"}")?,
        rss_kib: agent.rss_kib()?,
    })
}

fn markdown(args: &Args, outcomes: &[Outcome], crowd: &half_open::Crowd) -> Result<String, Failure> {
    let command = format!(
        "cargo xtask proof agent-faults --seconds {} --half-open {} --seed {}",
        args.seconds, args.half_open, args.seed
    );
    let mut text = page::head(
        "An agent around which things fail",
        "no request that succeeds directly fails through the agent, whatever the collector, the disk and the headers are like.",
        &command,
    )?;
    text.push_str(
        "Each request goes to the service directly and through the agent, and both answers are compared in status and content. Every\n\
         context header holds random bytes, up to 4 KB of them. The service answers with lengths, in chunks, until it closes, byte by\n\
         byte, with 1 MiB, with 150 headers, with errors, and it breaks off in the middle, which must never look whole.\n\n\
         | the collector | pairs | different | spans sent | spans dropped | resident memory, KiB |\n|---|---:|---:|---:|---:|---:|\n",
    );
    for outcome in outcomes {
        let Outcome {
            fault,
            pairs,
            different,
            dropped,
            sent,
            rss_kib,
        } = outcome;
        let _ = writeln!(
            text,
            "| {} | {pairs} | {} | {sent} | {dropped} | {rss_kib} |",
            fault.name(),
            different.len()
        );
    }
    text.push_str("\nThen connections that send half of a head and nothing more, and others beside them:\n\n| figure | |\n|---|---:|\n");
    for (what, figure) in crowd.figures() {
        let _ = writeln!(text, "| {what} | {figure} |");
    }
    text.push_str("\nWhat this does not show: speed, HTTP/2 and TLS. Spans that are neither sent nor dropped still wait.\n");
    Ok(text)
}
