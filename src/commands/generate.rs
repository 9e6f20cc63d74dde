//! `tracemap generate`: all artefacts from a map file.
//!
//! In: a map, the configuration, a directory. Out: the directory in step, and where asked for our routes in an existing
//! Alertmanager configuration and a reload of who reads them. Input that makes no sense together writes nothing.
//! Left out on purpose: what the files say.

#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use collector::generate::{
    Artefacts, Gone, SyncReport, artefacts_since, held, impossible_objectives, keep_gone, sync, too_large,
    unknown_services,
};
use config::{ConfigErrors, Finding, Loader, Problem};
use http::{Method, StatusCode};
use instrumentation::plan::{self, PLAN_PATH, Plan, PlanSettings};
use instrumentation::resilience::{RESILIENCE_PATH, Resilience, contradictions};
use map::Map;
use map::file::{map_from_yaml, read_stats};

use super::publish::http::{Address, Server};
use crate::Failure;
use crate::settings::{GRAFANA_TOKEN, Settings, Uses};

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
    /// Where the rules find what changes. Default: `generate.alerts.profile` of the configuration
    #[arg(long, value_enum)]
    profile: Option<Profile>,
    /// Write nothing; exit 1 where the directory, or the file of `--merge-into`, is out of date
    #[arg(long)]
    check: bool,
    /// An existing Alertmanager configuration to keep our routes in. They stand between marker comments, every other byte
    /// stays; where they cannot be put in, nothing is written
    #[arg(long, value_name = "FILE")]
    merge_into: Option<PathBuf>,
    /// The address of a Prometheus or an Alertmanager that is to read its files again when they are written. May be
    /// repeated. Prometheus needs `--web.enable-lifecycle` for it
    #[arg(long, value_name = "URL", conflicts_with = "check")]
    reload: Vec<String>,
    /// Panels and bytes of every dashboard
    #[arg(long)]
    verbose: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// In the collector's series: the same rules whatever the map
    Live,
    /// In the rules themselves, which read the series of a service graph alone
    Static,
}

impl From<Profile> for alerts::Profile {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Live => Self::Live,
            Profile::Static => Self::Static,
        }
    }
}

/// Reads the map, generates, and says what changed.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut settings = Settings::read(args.config.as_deref(), Uses::Collector)?;
    if let Some(profile) = args.profile {
        settings.generate.alerts.profile = profile.into();
    }
    let out = args.out.as_ref().or(settings.generate.out.as_ref());
    let out =
        out.ok_or("no directory to write to: give `--out`, or set `generate.out` in the configuration")?;
    let mut map = read(&args.map)?;
    let mut impossible = impossible_objectives(&map.services);
    impossible.extend(plan::pin_problems(&map));
    impossible.extend(contradictions(&map, &settings.generate.resilience));
    let mut unknown = unknown_services(&map, &settings.services);
    // What the configuration states overrides what the map file carries.
    map.services.extend(settings.services);
    unknown.extend(plan::pin_problems(&map));
    unknown.extend(plan::unknown_teams(
        &map,
        &settings.generate.plan,
        "generate.plan",
    ));
    unknown.extend(contradictions(&map, &settings.generate.resilience));
    unknown.extend(plan::shortage(
        &plan::of_map(&map, &settings.generate.plan, None),
        &settings.generate.plan,
    ));
    let owners = alerts::unreachable_owners(&map, &settings.generate.alerts, "generate.alerts");
    refuse_in_map(&args.map, impossible)?;
    refuse(args.config.as_deref(), [unknown, owners.refused].concat())?;
    let merged = args
        .merge_into
        .as_deref()
        .map(|file| merged(file, &map, &settings.generate.alerts, out));
    let merged = merged.transpose()?;
    let mut files = artefacts_since(&map, &settings.generate, &held(out));
    let plan = planned(out, &map, &settings.generate.plan);
    files.insert(PLAN_PATH.to_owned(), plan.to_yaml());
    keep_gone(out, &mut files, &settings.generate, Gone::Keep, SystemTime::now())?;
    let report = sync(out, &files, !args.check)?;
    tell(&report, args.check);
    let mut is_current = report.is_current();
    if let Some(merged) = merged {
        is_current &= merged.is_current();
        merged.bring_in(args.check)?;
    }
    for note in owners.told {
        println!("note: {}: {}", note.message, note.hint.unwrap_or_default());
    }
    for large in too_large(&files, &settings.generate) {
        println!("left out: {large}");
    }
    tell_sizes(&files, args.verbose);
    print!("{}", plan::summary(&plan));
    tell_out_of_reach(&files);
    reload_all(&args.reload)?;
    Ok(if args.check && !is_current {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    })
}

/// The plan of the map; the one that is in the directory stays where a change is not worth it.
fn planned(out: &Path, map: &Map, settings: &PlanSettings) -> Plan {
    let before = std::fs::read_to_string(out.join(PLAN_PATH)).ok();
    let before = before.as_deref().and_then(Plan::from_yaml);
    plan::of_map(map, settings, before.as_ref())
}

/// Refuses what the configuration states against the map, each problem with the line of its key.
pub(super) fn refuse(config: Option<&Path>, findings: Vec<Finding>) -> Result<(), Failure> {
    if findings.is_empty() {
        return Ok(());
    }
    let text = config.map(config::read_text).transpose()?.unwrap_or_default();
    let source = config.map_or_else(|| "environment".to_owned(), |path| path.display().to_string());
    let loader = Loader::new(&source).not_config([GRAFANA_TOKEN]);
    loader.load_checked(&text, config::process_env(), |_: &Settings| findings)?;
    Ok(())
}

/// Refuses what the map file states itself.
pub(super) fn refuse_in_map(map: &Path, findings: Vec<Finding>) -> Result<(), Failure> {
    let problem = |finding: Finding| Problem {
        source: map.display().to_string(),
        path: finding.path,
        line: None,
        column: None,
        message: finding.message,
        hint: finding.hint,
    };
    let problems: Vec<Problem> = findings.into_iter().map(problem).collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(ConfigErrors { problems }.into())
    }
}

/// Somebody's configuration of Alertmanager, and what it is to be.
struct Merged {
    path: PathBuf,
    before: String,
    after: String,
}

/// Reads an existing configuration and puts our routes in, on paper.
fn merged(path: &Path, map: &Map, settings: &alerts::AlertSettings, out: &Path) -> Result<Merged, Failure> {
    let before = config::read_text(path)?;
    let templates = std::path::absolute(out)?.join(alerts::TEMPLATES_PATH);
    let after = alerts::merge(&before, map, settings, &templates.display().to_string());
    let after = after.map_err(|error| format!("`{}`: {error}", path.display()))?;
    // A link stays a link: what it leads to is replaced.
    let path = std::fs::canonicalize(path)?;
    Ok(Merged { path, before, after })
}

impl Merged {
    fn is_current(&self) -> bool {
        self.before == self.after
    }

    fn bring_in(&self, only_look: bool) -> Result<(), Failure> {
        let path = self.path.display();
        match (self.is_current(), only_look) {
            (true, _) => println!("up to date: {path}"),
            (false, true) => println!("out of date: {path}"),
            (false, false) => {
                self.write()
                    .map_err(|error| format!("cannot replace `{path}`: {error}"))?;
                println!("merged into: {path}");
            }
        }
        Ok(())
    }

    /// Replaces the file at once. It keeps its owner and mode, or Alertmanager could not read it, or others could.
    fn write(&self) -> std::io::Result<()> {
        let mut beside = self.path.clone().into_os_string();
        beside.push(".tracemap-new");
        let beside = PathBuf::from(beside);
        let written = self
            .write_beside(&beside)
            .and_then(|()| std::fs::rename(&beside, &self.path));
        if written.is_err() {
            let _ = std::fs::remove_file(&beside);
        }
        written
    }

    fn write_beside(&self, beside: &Path) -> std::io::Result<()> {
        let there = std::fs::metadata(&self.path)?;
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(beside)?;
        file.write_all(self.after.as_bytes())?;
        let made = file.metadata()?;
        if (made.uid(), made.gid()) != (there.uid(), there.gid()) {
            chown(beside, Some(there.uid()), Some(there.gid()))?;
        }
        file.set_permissions(there.permissions())?;
        file.sync_all()
    }
}

/// Asks each to read its files again; every one that did not is told.
fn reload_all(urls: &[String]) -> Result<(), Failure> {
    if urls.is_empty() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut failed = Vec::new();
    for url in urls {
        match runtime.block_on(reload(url)) {
            Ok(()) => println!("reloaded: {url}"),
            Err(error) => failed.push(error.to_string()),
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "the files are written, but not everybody reads them: {}",
            failed.join("; ")
        )
        .into())
    }
}

/// Source: Prometheus and Alertmanager documentation, "Management API".
async fn reload(url: &str) -> Result<(), Failure> {
    let server = Server::new(Address {
        url: url.to_owned(),
        // Each answer stands: a 500 says that the files are refused, and one that is away reads them when it comes.
        patience: Duration::ZERO,
        ..Address::default()
    })?;
    let answer = server.ask(Method::POST, "/-/reload", None).await?;
    let advice = match answer.status {
        status if status.is_success() => return Ok(()),
        StatusCode::FORBIDDEN if answer.text.contains("Lifecycle API is not enabled") => {
            "start Prometheus with `--web.enable-lifecycle`, or send it SIGHUP"
        }
        StatusCode::INTERNAL_SERVER_ERROR => "it goes on with the configuration that it had",
        _ => "is this the address of a Prometheus or an Alertmanager?",
    };
    Err(format!(
        "`{}` answers {}: {}: {advice}",
        server.url(),
        answer.status,
        answer.shown()
    )
    .into())
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

/// Objectives and stated timeouts that nearly every request would have to be faster for.
fn tell_out_of_reach(files: &Artefacts) {
    let numbers = files
        .get(RESILIENCE_PATH)
        .and_then(|text| Resilience::from_yaml(text));
    for why in numbers.iter().flat_map(|numbers| numbers.out_of_reach.values()) {
        println!("note: {why}");
    }
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
