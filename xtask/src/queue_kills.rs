//! `cargo xtask proof queue-kills`: agents and brokers killed while messages pass, against what was acknowledged.
//!
//! In: how often, and a seed. Out: figures on standard output and `docs/proofs/queue-kills.md`; exit code 1 where an
//! acknowledged message is missing, came more often than its protocol promises, or has other bytes.
//! Left out on purpose: clusters, whose leaders move; the agent's tests have one of Kafka's.

#[path = "queue_kills/course.rs"]
mod course;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::queues::Protocol;
use crate::{Failure, agent_process, page};
use course::{Course, Outcome};

/// Where the report goes, below the root of the workspace.
const REPORT: &str = "docs/proofs/queue-kills.md";

/// Arguments of `cargo xtask proof queue-kills`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often something is killed, for each protocol
    #[arg(long, default_value_t = 20)]
    rounds: u64,
    /// Decides when something is killed, and what first
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only these protocols; then no report is written
    #[arg(long)]
    only: Vec<String>,
    /// A built `tracemap-agent`. Default: builds one in the release profile
    #[arg(long)]
    agent: Option<PathBuf>,
}

/// With agents, and without.
struct Pair {
    protocol: Protocol,
    through: Outcome,
    direct: Outcome,
}

/// Kills, compares, tells, and writes the report.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let program = args.agent.clone().map_or_else(agent_process::build, Ok)?;
    println!("seed {}", args.seed);
    let mut pairs = Vec::new();
    for protocol in Protocol::ALL {
        if !args.only.is_empty() && !args.only.iter().any(|only| only == protocol.name()) {
            continue;
        }
        let course = |agent| Course {
            protocol,
            agent,
            rounds: args.rounds,
            seed: args.seed,
        };
        let told = |failure: Failure| format!("{}: {failure}", protocol.name());
        let pair = Pair {
            protocol,
            through: course(Some(program.as_path())).run().map_err(told)?,
            direct: course(None).run().map_err(told)?,
        };
        for (way, outcome) in [("through agents", &pair.through), ("direct", &pair.direct)] {
            println!("{} {way}: {outcome}", protocol.name());
        }
        pairs.push(pair);
    }
    if pairs.iter().any(|pair| !pair.through.verdict.is_clean()) {
        return Ok(ExitCode::from(1));
    }
    if !args.only.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    page::write(REPORT, &markdown(args, &pairs)?)?;
    Ok(ExitCode::SUCCESS)
}

fn markdown(args: &Args, pairs: &[Pair]) -> Result<String, Failure> {
    let command = format!(
        "cargo xtask proof queue-kills --rounds {} --seed {}",
        args.rounds, args.seed
    );
    let mut text = page::head(
        "Agents and brokers that are killed while messages pass",
        "whatever is killed, the agents before the publisher and the consumer or the broker, no acknowledged message is lost, none comes\n\
         more often than its protocol promises, and each comes byte for byte as it was sent.",
        &command,
    )?;
    text.push_str(
        "A publisher sends numbered messages of 16 to 2,000 random bytes through one agent, 500 a second, and a consumer reads them through\n\
         another. In each round, at a moment that the seed decides, one of the two agents or the broker is killed by SIGKILL, and started\n\
         again up to 300 ms later on what it left; the next round begins when messages are acknowledged and come again. Mosquitto keeps\n\
         what it holds in memory and writes it when it ends, so it is ended by SIGTERM. Redis syncs each entry. Clients connect again as an\n\
         application would: rdkafka, async-nats and rumqttc by themselves, lapin and redis-rs by being made anew. *Direct* is the same without\n\
         agents, the broker killed in every round. A message may come as often as it was sent, and more often where the broker marks it.\n\
         RabbitMQ and NATS write down later what was delivered and acknowledged, so after a kill it may come once more without a mark.\n\n\
         | protocol, clients and promise | way | agents killed | broker killed | sent | acknowledged | lost | beyond the promise | again within it | altered |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for pair in pairs {
        let what = format!("{}: {}", pair.protocol.name(), pair.protocol.promise());
        for (what, way, outcome) in [
            (what.as_str(), "agents", &pair.through),
            ("", "direct", &pair.direct),
        ] {
            let verdict = &outcome.verdict;
            let _ = writeln!(
                text,
                "| {what} | {way} | {} | {} | {} | {} | {} | {} | {} | {} |",
                outcome.agents_killed,
                outcome.brokers_killed,
                verdict.sent,
                verdict.acknowledged,
                verdict.lost.len(),
                verdict.doubled.len(),
                verdict.again - verdict.beyond,
                verdict.altered
            );
        }
    }
    text.push_str(
        "\nWhat this does not show: loss of power; clusters and leaders that move; transactions; `QoS` 2; messages whose publisher is killed\n\
         as well, or that are larger than 2,000 bytes.\n",
    );
    Ok(text)
}
