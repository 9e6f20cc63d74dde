//! `tracemap diff`: what changed from one map to another.
//!
//! In: two map files, the configuration, today's date. Out: nodes, edges and findings that came, went or changed. Exit code 0, or as
//! `git diff --exit-code` has it 1 where anything did; 2 for input that cannot be used.
//! Left out on purpose: what a change is (`map::diff`) and what a finding is (`instrumentation::check`).

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use instrumentation::check::changes::Difference;
use instrumentation::check::{check, compare};
use map::Map;
use map::diff::diff;

use super::check::{read_stated, today};
use super::generate::read;
use crate::Failure;

/// Arguments of `tracemap diff`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The earlier map; statistics are read from beside it
    old: PathBuf,
    /// The later map
    new: PathBuf,
    /// The configuration file, for `generate.check` and `services`
    #[arg(long)]
    config: Option<PathBuf>,
    /// How the changes are written; `annotation` is what Grafana's `POST /api/annotations` takes
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Exit 1 where anything changed
    #[arg(long)]
    exit_code: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Annotation,
}

/// Tells what changed.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    // What is stated of services holds for the later map; on the earlier one some of them may not be yet.
    let (new, settings) = read_stated(&args.new, args.config.as_deref())?;
    let mut old = read(&args.old)?;
    old.services.clone_from(&new.services);
    let report = |map: &Map| check(map, None, &settings, today());
    let difference = Difference {
        map: diff(&old, &new, &settings.change),
        findings: compare::compare(&report(&old), &report(&new)),
    };
    let text = match args.format {
        Format::Text => difference.to_text(),
        Format::Json => difference.to_json(),
        Format::Annotation => difference.to_annotation(latest(&new)),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if args.exit_code && !difference.is_empty() {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    })
}

/// When the latest request of a map was, milliseconds since 1970.
fn latest(map: &Map) -> Option<u64> {
    let edges = map.edges.values().map(|edge| edge.seen.last);
    edges.max().filter(|at| *at > 0).map(|at| at / 1_000_000)
}
