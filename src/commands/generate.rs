//! `tracemap generate`: all artefacts from a map file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::ValueEnum;
use collector::generate::{Artefacts, Gone, SyncReport, artefacts, keep_gone, sync, too_large};
use map::Map;
use map::file::{map_from_yaml, read_stats};

use crate::Failure;
use crate::settings::{Settings, Uses};

/// Arguments of `tracemap generate`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The map, as `tracemap map` or a collector wrote it or a person did; statistics are read from beside it
    #[arg(long)]
    map: PathBuf,
    /// The directory to bring in step; `generate.out` of the configuration if left out
    #[arg(long)]
    out: Option<PathBuf>,
    /// The configuration file, for `generate` and `services`
    #[arg(long)]
    config: Option<PathBuf>,
    /// Where the rules find what changes
    #[arg(long, value_enum, default_value_t = Profile::Live)]
    profile: Profile,
    /// Write nothing; exit 1 where the directory is out of date
    #[arg(long)]
    check: bool,
    /// Panels and bytes of every dashboard
    #[arg(long)]
    verbose: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Profile {
    Live,
}

/// Reads the map, generates, and says what changed.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let Profile::Live = args.profile;
    let settings = Settings::read(args.config.as_deref(), Uses::Collector)?;
    let out = args.out.as_ref().or(settings.generate.out.as_ref());
    let out =
        out.ok_or("no directory to write to: give `--out`, or set `generate.out` in the configuration")?;
    let mut map = read(&args.map)?;
    // What the configuration states overrides what the map file carries.
    map.services.extend(settings.services);
    let mut files = artefacts(&map, &settings.generate);
    keep_gone(out, &mut files, &settings.generate, Gone::Keep, SystemTime::now())?;
    let report = sync(out, &files, !args.check)?;
    tell(&report, args.check);
    for large in too_large(&files, &settings.generate) {
        println!("left out: {large}");
    }
    tell_sizes(&files, args.verbose);
    Ok(if args.check && !report.is_current() {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    })
}

pub(super) fn read(path: &Path) -> Result<Map, Failure> {
    let text = config::read_text(path)?;
    let mut map = map_from_yaml(&text).map_err(|error| format!("`{}`: {error}", path.display()))?;
    let stats = path.with_extension("stats.yaml");
    if stats.exists() {
        let text = config::read_text(&stats)?;
        read_stats(&mut map, &text).map_err(|error| format!("`{}`: {error}", stats.display()))?;
    }
    Ok(map)
}

fn tell(report: &SyncReport, only_look: bool) {
    let (wrote, removed) = if only_look {
        ("out of date", "left over")
    } else {
        ("written", "removed")
    };
    for (files, what) in [(&report.written, wrote), (&report.removed, removed)] {
        for file in files {
            println!("{what}: {file}");
        }
    }
    for file in &report.foreign {
        println!("left alone: {file} (not written by tracemap, or edited since)");
    }
    println!("{} files unchanged", report.unchanged);
}

/// What the dashboards cost: the sum and the largest, or each.
fn tell_sizes(files: &Artefacts, verbose: bool) {
    let mut sizes = dashboards::sizes(files);
    sizes.retain(|size| size.file.starts_with("dashboards"));
    let told = |size: &dashboards::Size| {
        format!(
            "{}: {} panels, {} queries, {} bytes",
            size.file, size.panels, size.queries, size.bytes
        )
    };
    if verbose {
        for size in &sizes {
            println!("{}", told(size));
        }
    }
    if let Some(largest) = sizes.iter().max_by_key(|size| size.bytes) {
        let (panels, bytes) = sizes
            .iter()
            .fold((0, 0), |sum, size| (sum.0 + size.panels, sum.1 + size.bytes));
        println!(
            "{} dashboards, {panels} panels, {bytes} bytes; the largest is {}",
            sizes.len(),
            told(largest)
        );
    }
}
