//! `cargo xtask proof agent-soak`: an agent under a mixed load for as long as it is let, its memory and its counters.
//!
//! In: how long, or how many requests. Out: figures on standard output and `docs/proofs/agent-soak.md`; exit code 1 where
//! memory grows, files stay open, or a counter differs from what was asked.
//! Left out on purpose: speed, which is `benches/proxy`'s; here load, service and collector share the machine with the agent.

#[path = "agent_soak/collector.rs"]
pub(crate) mod collector;
#[path = "agent_soak/load.rs"]
mod load;
#[path = "agent_soak/memory.rs"]
pub(crate) mod memory;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::agent_process::{self, AgentProcess, pause};
use crate::{Failure, page};
use collector::Collector;
use load::{Asked, Bounds};
use memory::Memory;

/// Where the report goes, below the root of the workspace.
const REPORT: &str = "docs/proofs/agent-soak.md";

/// Arguments of `cargo xtask proof agent-soak`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long at most, in seconds
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// How many requests at most; an hour of 1,000 a second by default
    #[arg(long, default_value_t = 3_600_000)]
    requests: u64,
    /// Connections at once
    #[arg(long, default_value_t = 64)]
    connections: u64,
    /// Decides what is asked
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A built `tracemap-agent`. Default: builds one in the release profile
    #[arg(long)]
    agent: Option<PathBuf>,
}

/// One line of the report: what, how much, and how much it should be.
type Figure = (String, u64, Option<u64>);

/// Loads, compares, tells, and writes the report.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let program = args.agent.clone().map_or_else(agent_process::build, Ok)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let collector = runtime.block_on(Collector::start())?;
    let service = runtime.block_on(load::service())?;
    let more = format!(
        "  export: {{ endpoint: 'http://{}' }}\n  edges: {{ interval: 5s }}\n",
        collector.address
    );
    let agent = AgentProcess::start(&program, service, &more)?;
    let (files_before, memory) = (agent.files()?, Memory::watch(agent.id()));
    let asked = Arc::new(Asked::default());
    let bounds = Bounds {
        requests: args.requests,
        time: Duration::from_secs(args.seconds),
        connections: args.connections,
        seed: args.seed,
    };
    let took = runtime.block_on(load::run(
        agent.inbound,
        agent.outbound,
        service,
        bounds,
        asked.clone(),
    ))?;
    let memory = memory.end();
    let mut figures = compare(&agent, &asked, &collector)?;
    figures.push((
        "files open after the load, beside those before it".into(),
        left_open(&agent, files_before)?,
        Some(0),
    ));
    let wrong = figures
        .iter()
        .any(|(_, found, expected)| expected.is_some_and(|expected| expected != *found));
    for (what, found, expected) in &figures {
        let expected = expected.map_or(String::new(), |expected| format!("  of {expected}"));
        println!("{what:<58}{found:>12}{expected}");
    }
    for (what, figure) in memory.figures() {
        println!("{what:<58}{figure:>12}");
    }
    if wrong || !memory.is_flat() {
        return Ok(ExitCode::from(1));
    }
    page::write(REPORT, &markdown(args, took, &figures, &memory)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Every request in the one outcome that it must be in, every span at the collector.
fn compare(agent: &AgentProcess, asked: &Asked, collector: &Collector) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for (direction, outcome, expected) in asked.outcomes() {
        let series =
            format!("tracemap_agent_requests_total{{direction=\"{direction}\",outcome=\"{outcome}\"}}");
        let found = agent.until_metric(&series, expected)?;
        figures.push((
            format!("{direction} requests that ended `{outcome}`"),
            found,
            Some(expected),
        ));
    }
    let all = asked.all();
    let sums = [
        ("requests in any outcome", "tracemap_agent_requests_total{"),
        (
            "requests by the source of their context",
            "tracemap_agent_context_total{",
        ),
        ("spans in any outcome", "tracemap_agent_spans_total{"),
    ];
    for (what, series) in sums {
        figures.push((what.to_owned(), agent.until_metric(series, all)?, Some(all)));
    }
    // Random bytes in a context header may say that nobody wants the trace, such as `b3: 0`.
    let unsampled = agent.metric("tracemap_agent_spans_total{outcome=\"unsampled\"}")?;
    figures.push((
        "spans that the caller's context did not want".to_owned(),
        unsampled,
        None,
    ));
    let wanted = all.saturating_sub(unsampled);
    let sent = agent.until_metric("tracemap_agent_spans_total{outcome=\"sent\"}", wanted)?;
    figures.push(("spans that the agent calls sent".to_owned(), sent, Some(wanted)));
    let waiting = agent.until_metric("tracemap_agent_buffered_bytes", 0)?;
    figures.push(("bytes that wait for the collector".to_owned(), waiting, Some(0)));
    figures.push((
        "spans at the collector".to_owned(),
        collector.spans(),
        Some(wanted),
    ));
    let calls = asked.outbound();
    figures.push((
        "calls in the edge counts at the collector".to_owned(),
        collector.until_calls(calls),
        Some(calls),
    ));
    figures.push((
        "answers that were not as the service gave them".to_owned(),
        asked.wrong(),
        Some(0),
    ));
    Ok(figures)
}

/// Pooled connections end a second after their last use.
fn left_open(agent: &AgentProcess, before: usize) -> Result<u64, Failure> {
    for _ in 0..100 {
        if agent.files()? <= before + 2 {
            return Ok(0);
        }
        pause(Duration::from_millis(100));
    }
    Ok(u64::try_from(agent.files()?.saturating_sub(before))?)
}

fn markdown(args: &Args, took: Duration, figures: &[Figure], memory: &Memory) -> Result<String, Failure> {
    let command = format!(
        "cargo xtask proof agent-soak --seconds {} --requests {} --connections {} --seed {}",
        args.seconds, args.requests, args.connections, args.seed
    );
    let mut text = page::head(
        "An agent under load for long",
        "the agent's memory stays flat, nothing stays open, every request is in exactly one outcome, and every span that its caller wants arrives.",
        &command,
    )?;
    text.push_str(
        "Connections that stay open send requests one after another, inbound and through the forward proxy: plain ones of 1 KiB, echoes,\n\
         chunked answers, client and server errors, random bytes in the context headers, answers that the service breaks off, and\n\
         answers that the caller does not wait for. The service's and the callers' own counts are compared with the agent's.\n\n\
         | figure | found | must be |\n|---|---:|---:|\n",
    );
    let _ = writeln!(text, "| seconds of load | {} | |", took.as_secs());
    for (what, found, expected) in figures {
        let expected = expected.map_or(String::new(), |expected| expected.to_string());
        let _ = writeln!(text, "| {what} | {found} | {expected} |");
    }
    for (what, figure) in memory.figures() {
        let _ = writeln!(text, "| {what} | {figure} | |");
    }
    text.push_str(
        "\nMemory is flat where the line through the samples of the last three quarters, drawn out over their time, rises by less than\n\
         5 % of the mean or 1 MiB, whichever is more.\n\nWhat this does not show: HTTP/2, TLS, and days.\n",
    );
    Ok(text)
}
