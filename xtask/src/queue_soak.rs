//! `cargo xtask proof queue-soak`: one agent before five brokers at once for as long as it is let, its memory and its counters.
//!
//! In: how long. Out: figures on standard output and `docs/proofs/queue-soak.md`; exit code 1 where memory grows with time or
//! with the size of messages, files stay open, or a message is not in the counters as the clients saw it.
//! Left out on purpose: speed, which is `benches/queues`'s; here clients, brokers and collector share the machine with the agent.

#[path = "queue_soak/load.rs"]
mod load;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::queues::Protocol;
use crate::{Failure, agent_process, page};
use load::{Load, Soaked};

/// Where the report goes, below the root of the workspace.
const REPORT: &str = "docs/proofs/queue-soak.md";
const SMALL: u64 = 1 << 10;
const LARGE: u64 = 4 << 20;
/// Protocols whose messages pass in pieces.
const STREAMED: [Protocol; 4] = [Protocol::Amqp, Protocol::Nats, Protocol::Redis, Protocol::Mqtt];
/// What memory may be more with large messages than with small ones, KiB: less than one of them.
const MORE_STREAMED: i64 = 4 << 10;
/// The same before Kafka, whose request is held whole, on its way out beside the one that is made of it, and whole on its way in.
const MORE_HELD: i64 = 32 << 10;

/// Arguments of `cargo xtask proof queue-soak`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long the load of small messages lasts; that of large ones is a quarter of it, twice
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Small messages a second, of each protocol
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    /// A built `tracemap-agent`. Default: builds one in the release profile
    #[arg(long)]
    agent: Option<PathBuf>,
}

/// Loads, compares, tells, and writes the report.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let program = args.agent.clone().map_or_else(agent_process::build, Ok)?;
    let time = Duration::try_from_secs_f64(args.minutes * 60.0)?;
    let load =
        |what: &'static str, protocols: &'static [Protocol], size: u64, rate: f64, time: Duration| Load {
            what,
            protocols,
            size,
            rate,
            time,
        };
    let loads = [
        load("1 KiB, all five at once", &Protocol::ALL, SMALL, args.rate, time),
        load("4 MiB, all but Kafka", &STREAMED, LARGE, 2.0, time / 4),
        load("4 MiB, Kafka", &[Protocol::Kafka], LARGE, 2.0, time / 4),
    ];
    let mut soaked = Vec::new();
    for load in &loads {
        let outcome = load.run(&program)?;
        println!("{outcome}");
        soaked.push(outcome);
    }
    let [small, streamed, held] = &soaked[..] else {
        return Err("there are three loads".into());
    };
    let more = [
        (streamed.most_kib() - small.most_kib(), MORE_STREAMED),
        (held.most_kib() - small.most_kib(), MORE_HELD),
    ];
    println!("KiB more with 4 MiB than with 1 KiB, and the bound: {more:?}");
    let is_flat = small.memory.is_flat() && more.iter().all(|(more, bound)| more <= bound);
    if !is_flat || soaked.iter().any(|soaked| !soaked.is_right()) {
        return Ok(ExitCode::from(1));
    }
    page::write(REPORT, &markdown(args, &soaked, more)?)?;
    Ok(ExitCode::SUCCESS)
}

fn markdown(args: &Args, soaked: &[Soaked], more: [(i64, i64); 2]) -> Result<String, Failure> {
    let command = format!(
        "cargo xtask proof queue-soak --minutes {} --rate {}",
        args.minutes, args.rate
    );
    let mut text = page::head(
        "An agent before five brokers for long",
        "the agent's memory stays flat with time and with the size of messages, nothing stays open, and every message is counted once each way.",
        &command,
    )?;
    text.push_str(
        "One agent stands before Kafka, RabbitMQ, NATS with JetStream, Redis and Mosquitto at once. For each a publisher sends numbered\n\
         messages at a steady rate and waits for their acknowledgements, and a consumer takes them, both through that agent: 1 KiB, then\n\
         4 MiB at two a second. Their counts are compared with `tracemap_agent_queue_messages_total`, the agent's spans with the collector's.\n\n",
    );
    for soaked in soaked {
        let _ = writeln!(
            text,
            "## {}\n\n| figure | found | must be |\n|---|---:|---:|",
            soaked.what
        );
        for (what, found, expected) in &soaked.figures {
            let expected = expected.map_or(String::new(), |expected| expected.to_string());
            let _ = writeln!(text, "| {what} | {found} | {expected} |");
        }
        for (what, figure) in soaked.memory.figures() {
            let _ = writeln!(text, "| {what} | {figure} | |");
        }
        text.push('\n');
    }
    let [(streamed, of_streamed), (held, of_held)] = more;
    let _ = writeln!(
        text,
        "Entries of Redis that are larger than `max_message` pass as they are, and are counted so.\n\n\
         At its most the agent had {streamed} KiB more with messages of 4 MiB than with those of 1 KiB (bound: {of_streamed}, one message), and\n\
         {held} KiB before Kafka (bound: {of_held}), where a request is held whole while its batches are looked into.\n\n\
         Memory is flat over time where the line through the samples of the last three quarters, drawn out over their time, rises by less\n\
         than 5 % of the mean or 1 MiB, whichever is more.\n\nWhat this does not show: TLS, many connections, clusters, and days."
    );
    Ok(text)
}
