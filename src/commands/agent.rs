//! `tracemap agent`: the agent alone.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::Failure;
use crate::settings::{Settings, Uses};

/// Arguments of `tracemap agent`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The configuration file. Default: the environment alone
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Runs until asked to stop.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let settings = Settings::read(args.config.as_deref(), Uses::Agent)?;
    super::on_runtime(async { Ok(agent::run(settings.agent, collector::rim::stop_signal()).await?) })?;
    Ok(ExitCode::SUCCESS)
}
