//! `tracemap`: collector, agent and the tools around them in one command (DESIGN §7).
//!
//! In: arguments and one configuration file. Out: what the crates do, wired.
//! Left out on purpose: everything else. A command that grows logic gives it to a crate.

mod commands;
mod demo;
mod progress;
mod settings;
mod telemetry;

use std::error::Error;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// From requests to a dependency map, and from the map to dashboards and alerts that name the culprit.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs collector and agent in one process with embedded storage
    Up(commands::up::Args),
    /// Runs the agent alone
    Agent(commands::agent::Args),
    /// Runs the collector alone
    Collector(commands::collector::Args),
    /// Says whether an agent or a collector is ready: for health checks where there is no other program
    Ready(commands::ready::Args),
    /// Sends recorded traces to a collector
    Replay(commands::replay::Args),
    /// Builds a map from recorded traces
    Map(commands::map::Args),
    /// Writes dashboards, rules and everything else from a map
    Generate(commands::generate::Args),
    /// Brings a running Grafana or Mimir in step with what is generated
    Publish(commands::publish::Args),
    /// Names panels whose queries have found nothing for days
    Rot(commands::rot::Args),
    /// Finds what a map says about the architecture and its instrumentation, or why it has an edge
    Check(commands::check::Args),
    /// Tells what changed from one map to another, and which findings came and went
    Diff(commands::diff::Args),
    /// Says which pages the alerts would have sent on recorded traces
    Backtest(commands::backtest::Args),
    /// Disturbs a service of a running demo shop, or heals it
    Demo(commands::demo::Args),
}

/// What a command failed with. The exit code is 2 unless the command's own answer is "no", which is 1.
type Failure = Box<dyn Error + Send + Sync>;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let result = match Cli::parse_from(by_name(std::env::args_os().collect())).command {
        Command::Up(args) => commands::up::run(&args),
        Command::Agent(args) => commands::agent::run(&args),
        Command::Collector(args) => commands::collector::run(&args),
        Command::Ready(args) => commands::ready::run(&args),
        Command::Replay(args) => commands::replay::run(&args),
        Command::Generate(args) => commands::generate::run(&args),
        Command::Publish(args) => commands::publish::run(&args),
        Command::Rot(args) => commands::rot::run(&args),
        Command::Check(args) => commands::check::run(&args),
        Command::Diff(args) => commands::diff::run(&args),
        Command::Backtest(args) => commands::backtest::run(&args),
        Command::Demo(args) => commands::demo::run(args),
        Command::Map(args) => commands::map::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "tracemap: {}", chain(&*failure));
            ExitCode::from(2)
        }
    }
}

/// The arguments, with the command that the program's own name stands for: an image has one program, and the names of the other
/// two as links to it.
fn by_name(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let name = arguments.first().map(Path::new).and_then(Path::file_name);
    let command = match name.and_then(|name| name.to_str()) {
        Some("tracemap-agent") => "agent",
        Some("tracemap-collector") => "collector",
        _ => return arguments,
    };
    arguments.insert(1, command.into());
    arguments
}

/// An error and its causes, in one line unless one of them has several problems to tell.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &str, expected: &str) {
        let split = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert_eq!(by_name(split(arguments)), split(expected));
    }

    #[test]
    fn a_link_named_like_a_part_is_that_part() {
        check(
            "/usr/bin/tracemap-agent --config a.yaml",
            "/usr/bin/tracemap-agent agent --config a.yaml",
        );
        check("tracemap-collector", "tracemap-collector collector");
        check(
            "/opt/tracemap-agent/tracemap up",
            "/opt/tracemap-agent/tracemap up",
        );
        check("tracemap agent", "tracemap agent");
    }
}
