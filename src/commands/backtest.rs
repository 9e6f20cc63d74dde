//! `tracemap backtest FILE…`: which pages the alerts would have sent on recorded traces.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use collector::backtest::{self, BacktestSettings, Fault, Learning, Recording, RecordingReader, read_faults};

use crate::Failure;
use crate::progress::each_request;
use crate::settings::{Settings, Uses};

/// Arguments of `tracemap backtest`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Recorded traces: OTLP JSON, JSON lines or protobuf, Jaeger JSON, Zipkin v2 JSON; plain, gzip or zstd; `-` is standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// What really happened: CSV with the columns `time` and `service`, and where known `type`, `calls` and `effect`
    #[arg(long)]
    faults: Option<PathBuf>,
    /// Learn baselines from the whole recording but the faults, before any of it is judged
    #[arg(long, conflicts_with = "causal")]
    offline: bool,
    /// Learn baselines as a collector does, from what came before. Without either flag: both, where faults are given, else this
    #[arg(long)]
    causal: bool,
    /// The configuration file, for `collector.pairing`, `collector.baseline`, `generate.alerts` and `services`
    #[arg(long)]
    config: Option<PathBuf>,
    /// Say instead how many slow traces of each fault a plan (`generate.plan`) keeps that may keep this share of all spans, 0 to 1, beside
    /// the same share of all
    #[arg(long, value_name = "SHARE", requires = "faults", conflicts_with_all = ["offline", "causal", "keep", "format"])]
    plan: Option<f64>,
    /// Keep the rules and the recorded series here, as files for `promtool test rules`
    #[arg(long)]
    keep: Option<PathBuf>,
    /// What to write
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Times that traces are drawn for `--plan`.
const SEEDS: u64 = 10;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Reads traces and faults, plays them, and says what would have happened.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let settings = Settings::read(args.config.as_deref(), Uses::Collector)?;
    let faults = args.faults.as_deref().map(faults).transpose()?;
    let recording = read(&args.files)?;
    if recording.is_empty() {
        return Err("the files hold no span".into());
    }
    let plan = settings.generate.plan.clone();
    let settings = BacktestSettings {
        table: settings.collector.table(false),
        ledger: settings.collector.ledger(settings.services),
        alerts: settings.generate.alerts,
        keep: args.keep.clone(),
    };
    if let (Some(share), Some(faults)) = (args.plan, &faults) {
        if !(share > 0.0 && share <= 1.0) {
            return Err(format!("`--plan` is {share}, but it must be a share above 0 and at most 1").into());
        }
        let sampled = backtest::sampled(&recording, faults, &settings, (&plan, share), SEEDS);
        write!(std::io::stdout(), "{}", backtest::sampled_text(&sampled))?;
        return Ok(ExitCode::SUCCESS);
    }
    let learn: &[Learning] = match (args.offline, args.causal) {
        (true, _) => &[Learning::Offline],
        (_, true) => &[Learning::Causal],
        _ if faults.is_some() => &[Learning::Offline, Learning::Causal],
        _ => &[Learning::Causal],
    };
    let outcomes = learn
        .iter()
        .map(|learning| backtest::run(&recording, faults.as_deref(), *learning, &settings))
        .collect::<Result<Vec<_>, _>>()?;
    let mut out = std::io::stdout();
    match args.format {
        Format::Text => write!(out, "{}", backtest::text(&outcomes))?,
        Format::Json => writeln!(out, "{:#}", backtest::json(&outcomes))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn faults(path: &Path) -> Result<Vec<Fault>, Failure> {
    let text = config::read_text(path)?;
    read_faults(&text).map_err(|error| format!("`{}`: {error}", path.display()).into())
}

fn read(files: &[PathBuf]) -> Result<Recording, Failure> {
    let mut reader = RecordingReader::default();
    each_request(files, |request| reader.take(&request.body))?;
    Ok(reader.finish())
}
