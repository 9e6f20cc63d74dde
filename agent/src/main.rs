//! `tracemap-agent`: the agent alone.
//!
//! In: one YAML file, of which the section `agent` is read. Out: an agent until SIGINT or SIGTERM; logs on standard error.
//! Left out on purpose: the collector and the generators, see the command `tracemap`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use agent::AgentConfig;
use clap::Parser;
use config::{ConfigErrors, Foreign, Loader};
use schemars::JsonSchema;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// Keeps trace context alive across a service's calls and ships spans to the collector.
#[derive(Debug, Parser)]
#[command(name = "tracemap-agent", version)]
struct Arguments {
    /// The configuration file. Default: the environment alone (`TRACEMAP_AGENT_…`).
    #[arg(long)]
    config: Option<PathBuf>,
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
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match load(arguments.config.as_deref()) {
        Ok(config) => start(config),
        Err(errors) => failed(&errors.to_string()),
    }
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

fn start(config: AgentConfig) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("cannot start the runtime: {error}")),
    };
    match runtime.block_on(agent::run(config, shutdown())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let causes =
                std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
            failed(&causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
        }
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
