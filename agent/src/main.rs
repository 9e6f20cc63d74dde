//! `tracemap-agent`: the agent alone.
//!
//! In: one YAML file, of which the section `agent` is read. Out: an agent until SIGINT or SIGTERM, which
//! reads the file again on SIGHUP and when it changes; logs on standard error.
//! Left out on purpose: the collector and the generators, see the command `tracemap`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use agent::conform::{ConformArgs, conform};
use agent::{AgentConfig, ConfigSource};
use clap::{Parser, Subcommand};
use config::{ConfigErrors, Foreign, Loader};
use schemars::JsonSchema;
use serde::Deserialize;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Keeps trace context alive across a service's calls and ships spans to the collector.
#[derive(Debug, Parser)]
#[command(name = "tracemap-agent", version)]
struct Arguments {
    /// The configuration file. Default: the environment alone (`TRACEMAP_AGENT_…`).
    #[arg(long)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks whether a service passes context on with the calls it makes
    Conform(ConformArgs),
}

/// The configuration file as far as this program reads it; its other sections are other programs'.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct File {
    /// The agent.
    agent: AgentConfig,
    /// Read by the collector.
    #[serde(rename = "collector")]
    _collector: Foreign,
    /// Read by `tracemap generate`.
    #[serde(rename = "generate")]
    _generate: Foreign,
    /// Read by the collector and `tracemap generate`.
    #[serde(rename = "services")]
    _services: Foreign,
}

/// What variables of other programs' sections begin with.
const FOREIGN: [&str; 3] = ["TRACEMAP_COLLECTOR_", "TRACEMAP_GENERATE_", "TRACEMAP_SERVICES_"];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    tracing_subscriber::registry()
        .with(lines.with_filter(wanted_logs()))
        .init();
    if let Some(Command::Conform(asked)) = &arguments.command {
        return ask(asked);
    }
    let file = arguments.config.clone();
    let source = ConfigSource::new(arguments.config, move || load(file.as_deref()));
    match source.read_now() {
        Ok(config) => start(config, source),
        Err(errors) => failed(&errors.to_string()),
    }
}

/// What is logged: by `RUST_LOG`, as levels for all or by target, else what is of interest to whoever runs it.
fn wanted_logs() -> Targets {
    let wanted = std::env::var("RUST_LOG").ok();
    let wanted = wanted.and_then(|wanted| wanted.parse().ok());
    wanted.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO))
}

fn load(path: Option<&std::path::Path>) -> Result<AgentConfig, ConfigErrors> {
    let text = path.map(config::read_text).transpose()?.unwrap_or_default();
    let source = path.map_or_else(|| "defaults".to_owned(), |path| path.display().to_string());
    let ours = |name: &str| !FOREIGN.iter().any(|foreign| name.starts_with(foreign));
    let variables = config::process_env().into_iter().filter(|(name, _)| ours(name));
    Loader::new(&source)
        .load_checked(&text, variables, |file: &File| file.agent.check())
        .map(|file| file.agent)
}

/// Exit code 0 where the service passed, 1 where it did not, 2 where it could not be asked.
fn ask(asked: &ConformArgs) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    match runtime.block_on(conform(asked)) {
        Ok(report) => {
            if asked.json {
                println!("{}", report.json());
            } else {
                print!("{report}");
            }
            ExitCode::from(u8::from(!report.passed()))
        }
        Err(error) => failed(&chain(&error)),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, ExitCode> {
    let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    built.map_err(|error| failed(&format!("cannot start the runtime: {error}")))
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn start(config: AgentConfig, source: ConfigSource) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    match runtime.block_on(agent::run(config, Some(source), shutdown())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&chain(&error)),
    }
}

/// Until someone asks the process to end.
async fn shutdown() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without a handler the signal ends the process itself.
    let _ = interrupt.await;
}

fn failed(reason: &str) -> ExitCode {
    eprintln!("{reason}");
    ExitCode::from(2)
}
