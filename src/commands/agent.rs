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
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Checks whether a service passes context on with the calls it makes
    Conform(agent::conform::ConformArgs),
}

/// Runs until asked to stop.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if let Some(Command::Conform(asked)) = &args.command {
        return conform(asked);
    }
    let file = args.config.clone();
    let source = agent::ConfigSource::new(args.config.clone(), move || {
        Settings::read(file.as_deref(), Uses::Agent).map(|settings| settings.agent)
    });
    let config = source.read_now()?;
    super::on_runtime(async { Ok(agent::run(config, Some(source), collector::rim::stop_signal()).await?) })?;
    Ok(ExitCode::SUCCESS)
}

/// The exit code is 1 where the service does not pass everything on.
fn conform(asked: &agent::conform::ConformArgs) -> Result<ExitCode, Failure> {
    let report = super::on_runtime(async { Ok(agent::conform::conform(asked).await?) })?;
    if asked.json {
        println!("{}", report.json());
    } else {
        print!("{report}");
    }
    Ok(ExitCode::from(u8::from(!report.passed())))
}
