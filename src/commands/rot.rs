//! `tracemap rot`: panels whose queries have found nothing for days.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use config::HumanDuration;
use grafana::rot::{Options, report};
use grafana::{Client, ClientSettings};

use super::publish::{Source, TIMEOUT, token};
use crate::Failure;

/// Arguments of `tracemap rot`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The Prometheus that the dashboards ask
    #[arg(long)]
    prometheus: String,
    /// Panels without data for so many days are rotten
    #[arg(long, default_value_t = 7.0)]
    days: f64,
    #[command(flatten)]
    source: Source,
    /// Text for people, or JSON for programs
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// A file with the bearer token that Prometheus asks for
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// PEM file of the authorities that Prometheus' certificate must lead to. Default: those of this host
    #[arg(long)]
    ca: Option<PathBuf>,
    /// How long Prometheus may be away before this gives up
    #[arg(long, default_value = "1m")]
    wait: HumanDuration,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Seconds in a day.
const DAY: f64 = 86_400.0;

/// Asks for every panel; exit 1 where one is rotten.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if !(0.01..=400.0).contains(&args.days) {
        return Err(format!(
            "`--days` is {}, but it must be between 0.01 and 400: write 7 for a week",
            args.days
        )
        .into());
    }
    let window = Duration::from_secs_f64(args.days * DAY);
    let (files, _) = args.source.read()?;
    let settings = ClientSettings {
        url: args.prometheus.clone(),
        token: token(args.token_file.as_deref(), None, None)?,
        ca: args.ca.clone(),
        timeout: TIMEOUT,
        patience: args.wait.get(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let found = runtime.block_on(async {
        let client = Client::new(settings)?;
        let options = Options {
            window,
            now: SystemTime::now(),
        };
        Ok::<_, Failure>(report(&client, &files, options).await?)
    })?;
    match args.format {
        Format::Json => println!("{:#}", found.to_json()),
        Format::Text => println!("{}", found.lines().join("\n")),
    }
    Ok(if found.is_rotten() {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    })
}
