//! `tracemap-collector`: the collector alone.
//!
//! In: one YAML file, of which all sections but `agent` are read. Out: a collector until SIGINT or SIGTERM; logs on
//! standard error.
//! Left out on purpose: the agent and the tools, see the command `tracemap`.

use std::error::Error;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use collector::rim::{Collector, stop_signal};
use collector::settings::{CollectorSettings, GenerateSettings};
use config::{ConfigErrors, Foreign, Loader};
use map::Services;
use schemars::JsonSchema;
use serde::Deserialize;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Turns spans into a dependency map, metrics, dashboards and alert rules.
#[derive(Debug, Parser)]
#[command(name = "tracemap-collector", version)]
struct Arguments {
    /// The configuration file. Default: the environment alone (`TRACEMAP_COLLECTOR_…`).
    #[arg(long)]
    config: Option<PathBuf>,
}

/// The configuration file as far as this program reads it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct File {
    /// Read by the agent.
    #[serde(rename = "agent")]
    _agent: Foreign,
    /// The collector.
    collector: CollectorSettings,
    /// What is written from the map.
    generate: GenerateSettings,
    /// What people state about their services.
    services: Services,
}

/// What variables of the agent's section begin with.
const FOREIGN: &str = "TRACEMAP_AGENT_";

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    tracing_subscriber::registry()
        .with(lines.with_filter(wanted_logs()))
        .init();
    let outcome = load(arguments.config.as_deref())
        .map_err(Into::into)
        .and_then(start);
    outcome.map_or_else(|error| failed(&*error), |()| ExitCode::SUCCESS)
}

/// What is logged: by `RUST_LOG`, as levels for all or by target, else what is of interest to whoever runs it.
fn wanted_logs() -> Targets {
    let wanted = std::env::var("RUST_LOG").ok();
    let wanted = wanted.and_then(|wanted| wanted.parse().ok());
    wanted.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO))
}

fn load(path: Option<&Path>) -> Result<File, ConfigErrors> {
    let text = path.map(config::read_text).transpose()?.unwrap_or_default();
    let source = path.map_or_else(|| "environment".to_owned(), |path| path.display().to_string());
    let variables = config::process_env()
        .into_iter()
        .filter(|(name, _)| !name.starts_with(FOREIGN));
    Loader::new(&source).load_checked(&text, variables, |file: &File| {
        collector::settings::check(&file.collector, &file.generate, &file.services)
    })
}

fn start(file: File) -> Result<(), Box<dyn Error>> {
    let File {
        collector,
        generate,
        services,
        ..
    } = file;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        Collector::bind(&collector, &generate, services)
            .await?
            .run(stop_signal())
            .await;
        Ok(())
    })
}

fn failed(error: &(dyn Error + 'static)) -> ExitCode {
    let causes = std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source());
    eprintln!(
        "tracemap-collector: {}",
        causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    );
    ExitCode::from(2)
}
