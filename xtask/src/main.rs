//! `cargo xtask`: what people who work on tracemap do by hand and want done the same way each time.
//!
//! In: arguments. Out: reports under `docs/proofs`, and the answers of tools that are not part of the tests.
//! Left out on purpose: building and testing, which are cargo's; and the JSON Schema and golden files, which their own
//! tests rewrite with `UPDATE_EXPECT=1`.

mod agent_buffer;
mod agent_faults;
mod agent_process;
mod agent_soak;
mod alert_cost;
mod backtest;
mod bare;
mod check;
mod deny;
mod edges;
mod fuzz;
mod image;
mod kills;
mod looks;
mod nodes;
mod page;
#[path = "../../agent/tests/wire/pairs.rs"]
mod pairs;
mod petshop;
mod plan;
mod power_cuts;
mod queue_kills;
mod queue_soak;
mod queues;
mod recorded_maps;
mod report;
mod sets;
mod simulate;
mod store;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};

/// What people who work on tracemap do by hand.
#[derive(Parser)]
#[command(name = "cargo xtask", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measures a claim and writes what came out
    #[command(subcommand)]
    Proof(Proof),
    /// Checks licences, bans and sources with cargo-deny
    Deny(deny::Args),
}

#[derive(Subcommand)]
enum Proof {
    /// Compares the maps of recorded traces with the edges that are known of them
    RecordedMaps(recorded_maps::Args),
    /// What `tracemap check` finds on recorded traces, against what is known to be there
    Check(check::Args),
    /// Plays recorded systems with labelled faults to the generated alerts
    Backtest(backtest::Args),
    /// Plays recorded metrics with injected issues to the alerts of the profile `static`
    Petshop(petshop::Args),
    /// Runs the generated rules and one SLO per service and edge in a real Prometheus, and compares what they cost
    AlertCost(alert_cost::Args),
    /// Plays random systems with planted faults to the generated alerts
    Simulate(simulate::Args),
    /// Draws the generated dashboards with Grafana's own components in a browser
    Looks(looks::Args),
    /// Kills a collector under load, again and again, and compares what it knows with what was sent
    Kills(kills::Args),
    /// Kills an agent with a buffer on disk and its collector in turns, and compares what is known with what was sent
    AgentBuffer(agent_buffer::Args),
    /// Holds a budget of spans while traffic grows tenfold, and counts what a plan keeps of recorded faults
    Plan(plan::Args),
    /// Breaks what three nodes with agents stand on, and compares calls and spans with nodes without agents
    Nodes(nodes::Args),
    /// Cuts the power of a journal's simulated disk and verifies what is left
    PowerCuts(power_cuts::Args),
    /// Fills the trace store and asks it
    Store(store::Args),
    /// Runs every fuzz target for a while
    Fuzz(fuzz::Args),
    /// Asks an agent whose collector, disk or service fails, and the service directly, and compares
    AgentFaults(agent_faults::Args),
    /// Loads an agent for long and looks at its memory and its counters
    AgentSoak(agent_soak::Args),
    /// Kills agents and brokers while messages pass, and compares what came with what was acknowledged
    QueueKills(queue_kills::Args),
    /// Loads an agent before five brokers for long and looks at its memory and its counters
    QueueSoak(queue_soak::Args),
    /// Runs the README's two commands in a Debian that has nothing else
    Bare(bare::Args),
    /// Builds the image twice in different places, compares, and tests what came out
    Image(image::Args),
}

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Proof(Proof::RecordedMaps(args)) => recorded_maps::run(&args),
        Task::Proof(Proof::Check(args)) => check::run(&args),
        Task::Proof(Proof::Backtest(args)) => backtest::run(&args),
        Task::Proof(Proof::Petshop(args)) => petshop::run(&args),
        Task::Proof(Proof::AlertCost(args)) => alert_cost::run(&args),
        Task::Proof(Proof::Simulate(args)) => simulate::run(&args),
        Task::Proof(Proof::Looks(args)) => looks::run(&args),
        Task::Proof(Proof::Kills(args)) => kills::run(&args),
        Task::Proof(Proof::AgentBuffer(args)) => agent_buffer::run(&args),
        Task::Proof(Proof::Plan(args)) => plan::run(&args),
        Task::Proof(Proof::Nodes(args)) => nodes::run(&args),
        Task::Proof(Proof::PowerCuts(args)) => power_cuts::run(&args),
        Task::Proof(Proof::Store(args)) => store::run(&args),
        Task::Proof(Proof::Fuzz(args)) => fuzz::run(&args),
        Task::Proof(Proof::AgentFaults(args)) => agent_faults::run(&args),
        Task::Proof(Proof::AgentSoak(args)) => agent_soak::run(&args),
        Task::Proof(Proof::QueueKills(args)) => queue_kills::run(&args),
        Task::Proof(Proof::QueueSoak(args)) => queue_soak::run(&args),
        Task::Proof(Proof::Bare(args)) => bare::run(&args),
        Task::Proof(Proof::Image(args)) => image::run(&args),
        Task::Deny(args) => deny::run(&args),
    };
    result.unwrap_or_else(|failure| {
        eprintln!("cargo xtask: {failure}");
        ExitCode::from(2)
    })
}

/// The root of the workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or_else(|| Path::new("."))
}

/// Runs a program to its end; its standard output, or what it said where it failed.
fn output(command: &mut Command) -> Result<Vec<u8>, Failure> {
    let program = PathBuf::from(command.get_program()).display().to_string();
    let output = command
        .output()
        .map_err(|error| format!("cannot run `{program}`: {error}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("`{program}` ended with {}: {}", output.status, said.trim()).into())
}
