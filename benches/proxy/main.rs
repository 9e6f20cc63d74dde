//! The second benchmark: what the agent costs as a reverse proxy, beside Envoy and nginx, as ratios within one run.
//!
//! In: a `tracemap-agent` (`--agent PATH`), perhaps an `envoy` and an `nginx`, and loopback. Out: a table on standard output,
//! then one line of JSON with every figure, the commit and the machine.
//! Left out on purpose: any judgement of time. A shared machine can be twice as slow tomorrow, so nothing here fails because
//! it was slow; it fails where the work was not done: an answer that is not 200 or not 1 KiB, a span that is not at the sink.
//!
//! Contestants: every one is a process of its own, a reverse proxy on loopback before the same service, with two threads or
//! worker processes. Requests are `POST` with 1 KiB and so are answers, on connections that are kept alive; each carries a
//! sampled `traceparent` of its own. Those that trace send a span of every request over OTLP/gRPC to a sink of their own that
//! checks and counts it; how Envoy is configured stands in `envoy.rs`, nginx in `nginx.rs`. HTTP/2 is without TLS, and goes on
//! as HTTP/2, but with nginx as HTTP/1.1, which is all that it speaks to a service.
//!
//! Method, throughput: as many requests as fit, 64 under way at any time (64 connections of HTTP/1.1; 8 of HTTP/2 with 8
//! streams each). The figure is requests over the CPU seconds, user and system, of the contestant's processes by
//! `/proc/<pid>/stat`, until the last span is at the sink. It does not depend on how much of the machine clients and service
//! leave. Contestants take turns within each round, in an order that rotates; one round before is not counted.
//!
//! Method, latency: an open loop with a fixed schedule; latency runs from the instant a request was due, not from the instant
//! it could be sent, so a stall counts for every request that it delayed. CPU at that rate is by
//! `/proc/<pid>/task/*/schedstat`.
//!
//! Method, memory: a fresh process, once ready, then under 1,000 connections that together send 5,000 requests a second.
//!
//! Method, outage: three turns on the same connections; within the third the sink is killed. The second over the first shows
//! what noise is, the third over the second what the outage does.

mod client;
mod closed;
mod envoy;
#[path = "../common/http.rs"]
mod http;
mod latency;
#[path = "../common/machine.rs"]
mod machine;
mod memory;
mod nginx;
#[path = "../common/openloop.rs"]
mod openloop;
mod outage;
#[path = "../common/process.rs"]
mod process;
mod proxies;
mod report;
mod servers;
#[path = "../common/sink.rs"]
mod sink;
#[path = "../common/stat.rs"]
mod stat;
mod throughput;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::proxies::Programs;

/// What went wrong; nothing here is handled, all of it is told.
type Failure = Box<dyn Error + Send + Sync>;

/// Measures the agent as a reverse proxy against peers, side by side
#[derive(Parser)]
struct Args {
    /// Seconds instead of minutes: shows that everything works, with figures too short to be quoted
    #[arg(long)]
    quick: bool,
    /// The agent's program. Default: `tracemap-agent` of the profile `dist`, else the one beside this build's `tracemap`
    #[arg(long, value_name = "PATH")]
    agent: Option<PathBuf>,
    /// An Envoy. Default: `envoy` on the PATH; without one there is a contestant fewer
    #[arg(long, value_name = "PATH")]
    peer_envoy: Option<PathBuf>,
    /// An nginx. Default: `nginx` on the PATH; without one there is a contestant fewer
    #[arg(long, value_name = "PATH")]
    peer_nginx: Option<PathBuf>,
    /// Measures only these parts
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Measures only this protocol
    #[arg(long)]
    protocol: Option<client::Protocol>,
    /// Of the contestants only those whose name has this in it
    #[arg(long, value_name = "TEXT", default_value = "")]
    contestant: String,
    /// Rounds; default 5, or 1 where it is quick
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds a turn; default 4, or 1 where it is quick. Latency, memory and outage take twice that
    #[arg(long)]
    seconds: Option<f64>,
    /// Requests a second where latency is measured
    #[arg(long, default_value_t = 1_000.0)]
    rate: f64,
    /// Is one of the peers; how the benchmark starts its own child processes
    #[arg(long, hide = true)]
    serve: Option<servers::Role>,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// One part of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Throughput,
    Latency,
    Memory,
    Outage,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.serve {
        Some(role) => servers::serve(role),
        None => measure(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("proxy: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> Result<(), Failure> {
    let rounds = args.rounds.unwrap_or(if args.quick { 1 } else { 5 }).max(1);
    let seconds = args.seconds.unwrap_or(if args.quick { 1.0 } else { 4.0 });
    let (turn, long_turn) = (
        Duration::from_secs_f64(seconds),
        Duration::from_secs_f64(2.0 * seconds),
    );
    let machine = machine::Machine::read();
    let programs = Programs::find(
        args.agent.as_deref(),
        args.peer_envoy.as_deref(),
        args.peer_nginx.as_deref(),
        &args.contestant,
    )?;
    let protocols = match args.protocol {
        Some(protocol) => vec![protocol],
        None => client::Protocol::ALL.to_vec(),
    };
    let mut report = report::Report {
        quick: args.quick,
        rounds,
        machine,
        programs: programs.figures()?,
        throughput: Vec::new(),
        latency: Vec::new(),
        memory: None,
        outage: None,
    };
    openloop::wake_up_on_time();
    let wanted = |part| args.only.is_empty() || args.only.contains(&part);
    for protocol in protocols {
        if wanted(Part::Throughput) {
            let figures = throughput::measure(&programs, protocol, rounds, turn)?;
            report.throughput.push(figures);
        }
        if wanted(Part::Latency) {
            let figures = latency::measure(&programs, protocol, rounds, args.rate, long_turn)?;
            report.latency.push(figures);
        }
    }
    if wanted(Part::Memory) {
        report.memory = Some(memory::measure(&programs, long_turn)?);
    }
    if wanted(Part::Outage) {
        report.outage = Some(outage::measure(&programs, rounds, args.rate, long_turn)?);
    }
    print!("{report}");
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}
