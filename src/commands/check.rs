//! `tracemap check`: findings on a map, and questions to it.
//!
//! In: a map file, perhaps a committed one to compare with, the configuration, today's date. Out: findings as text, JSON or SARIF.
//! Exit code 0 where none is as severe as asked for, 1 where one is, 2 for input that cannot be used.
//! Left out on purpose: what is a finding; see `instrumentation::check`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use collector::generate::{impossible_objectives, unknown_services};
use instrumentation::check::{self, CheckSettings, Date, Report, Severity, to_sarif, to_text};
use map::Map;

use super::generate::{read, refuse, refuse_in_map};
use crate::Failure;
use crate::settings::{Settings, Uses};

/// Arguments of `tracemap check`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The map, as `tracemap map` or a collector wrote it or a person did; statistics are read from beside it
    #[arg(long)]
    map: PathBuf,
    /// The configuration file, for `generate.check` and `services`
    #[arg(long)]
    config: Option<PathBuf>,
    /// A committed map: calls that it does not have are findings
    #[arg(long, value_name = "MAP")]
    against: Option<PathBuf>,
    /// How the findings are written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Exit 1 where a finding is at least so severe
    #[arg(long, value_enum, default_value_t = Level::Warning, value_name = "SEVERITY")]
    fail_on: Level,
    /// Says why A calls B on the map, or the most likely reason why it does not
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with_all = ["config", "against", "format", "fail_on"])]
    why: Option<Vec<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Sarif,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    Info,
    Warning,
    Error,
}

impl From<Level> for Severity {
    fn from(level: Level) -> Self {
        match level {
            Level::Info => Self::Info,
            Level::Warning => Self::Warning,
            Level::Error => Self::Error,
        }
    }
}

/// Tells what was found, or answers why. An explanation is an answer whether there is an edge or not.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if let Some([client, server]) = args.why.as_deref() {
        let why = read(&args.map)?.why(client, server);
        writeln!(std::io::stdout(), "{why}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let (map, settings) = read_stated(&args.map, args.config.as_deref())?;
    let contract = args.against.as_deref().map(read).transpose()?;
    let report = check::check(&map, contract.as_ref(), &settings, today());
    let text = match args.format {
        Format::Text => to_text(&report),
        Format::Json => report.to_json(),
        Format::Sarif => to_sarif(
            &report,
            &args.map.display().to_string(),
            env!("CARGO_PKG_VERSION"),
        ),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(code(&report, args.fail_on.into()))
}

fn code(report: &Report, fail_on: Severity) -> ExitCode {
    if report.fails(fail_on) {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    }
}

/// A map with what the configuration states of its services, and the settings of the checks.
pub(super) fn read_stated(path: &Path, config: Option<&Path>) -> Result<(Map, CheckSettings), Failure> {
    let settings = Settings::read(config, Uses::Collector)?;
    let mut map = read(path)?;
    refuse_in_map(path, impossible_objectives(&map.services))?;
    refuse(config, unknown_services(&map, &settings.services))?;
    map.services.extend(settings.services);
    Ok((map, settings.generate.check))
}

pub(super) fn today() -> Date {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Date::of_unix(now.as_secs())
}
