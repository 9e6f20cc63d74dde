//! `tracemap collector`: the collector alone.

use std::path::PathBuf;
use std::process::ExitCode;

use collector::rim::{Collector, stop_signal};

use crate::Failure;
use crate::settings::{Settings, Uses};

/// Arguments of `tracemap collector`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The configuration file. Default: the environment alone
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Runs until asked to stop.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let Settings {
        collector,
        generate,
        services,
        ..
    } = Settings::read(args.config.as_deref(), Uses::Collector)?;
    super::on_runtime(async {
        Collector::bind(&collector, &generate, services)
            .await?
            .run(stop_signal())
            .await;
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}
