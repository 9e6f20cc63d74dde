//! `cargo xtask proof petshop`: the rules of the profile `static` on metrics of a recorded system with injected issues.
//!
//! In: a directory with `petshop-metrics`; `promtool` and `gzip` on the PATH. Out: what the rules paged, on standard output and
//! in `docs/proofs/petshop.md`.
//! Left out on purpose: a delay, since a sample stands for five minutes; issues of availability, of which these rules know
//! nothing, but as controls; any evaluation of the rules but promtool's.

mod outcome;
mod system;
mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use alerts::recorded::{self, Firing};
use alerts::{AlertSettings, Profile, RULES_PATH};

use crate::{Failure, page};
use outcome::{Healthy, Issue};
use system::{Played, System};
use table::Table;

/// Where the report goes, below the root of the workspace.
const REPORT: &str = "docs/proofs/petshop.md";
/// The set, below the directory of sets.
const SET: &str = "petshop-metrics";
/// Scrapes for each row of the tables, which stands for five minutes: the fewest by which a window of five minutes has a mean.
const SCRAPES_PER_ROW: usize = 2;
/// Seconds between two scrapes, and between two evaluations.
const EVERY: u64 = 300 / SCRAPES_PER_ROW as u64;
/// Rows of the past before an issue: twelve hours, half of what the rules look back by default.
const PAST: usize = 144;
/// Rows in which too little of the past is there to judge anything: `static.learn`, and the first window.
const LEARNING: usize = 13;

/// Arguments of `cargo xtask proof petshop`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The directory that holds the sets
    #[arg(long)]
    data: PathBuf,
    /// Keeps the rules and series of every issue here, as files for `promtool test rules`
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// Plays every issue and the time without one, tells, and writes the report.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let scenario = args.data.join(SET).join("high_traffic");
    let system = System::read(&scenario.join("graph.csv"))?;
    let past = Table::read(&scenario.join("noissue/metrics.csv.gz"))?;
    let scratch = tempfile::tempdir()?;
    let keep = args.keep.as_deref().unwrap_or(scratch.path());
    let healthy = play_healthy(&system, &past, &keep.join("noissue"))?;
    println!("{}", healthy.line());
    let mut issues = Vec::new();
    for label in outcome::labels(&scenario.join("labels.csv"))? {
        let rows = Table::read(&args.data.join(SET).join(&label.case).join("metrics.csv.gz"))?;
        let mut played = Played::new(&system, SCRAPES_PER_ROW);
        played.rows(&past, past.rows().saturating_sub(PAST)..past.rows());
        let from = played.scrapes();
        played.rows(&rows, 0..rows.rows());
        let firing = evaluate(&system, &played, &keep.join(label.case.replace('/', "-")))?;
        let issue = Issue::new(label, &firing, from, SCRAPES_PER_ROW);
        println!("{}", issue.line());
        issues.push(issue);
    }
    let head = page::head(
        "The rules of the profile `static` on recorded metrics",
        "metrics of a service graph alone are enough to page somebody, and to name the culprit more often than chance",
        "cargo xtask proof petshop --data DIR",
    )?;
    let report = outcome::markdown(&head, &healthy, &issues, system.nodes());
    page::write(REPORT, &report)?;
    Ok(ExitCode::SUCCESS)
}

fn play_healthy(system: &System, past: &Table, dir: &Path) -> Result<Healthy, Failure> {
    let mut played = Played::new(system, SCRAPES_PER_ROW);
    played.rows(past, 0..past.rows());
    let firing = evaluate(system, &played, dir)?;
    Ok(Healthy::new(
        &firing,
        LEARNING * SCRAPES_PER_ROW,
        played.scrapes(),
        SCRAPES_PER_ROW,
    ))
}

/// Settings of the rules: the defaults, but for the time between evaluations.
fn settings() -> AlertSettings {
    AlertSettings {
        profile: Profile::Static,
        evaluation_interval: config::HumanDuration::from_secs(EVERY),
        page_for: config::HumanDuration::from_secs(EVERY),
        ..AlertSettings::default()
    }
}

/// What fired at each scrape.
fn evaluate(system: &System, played: &Played<'_>, dir: &Path) -> Result<Vec<Vec<Firing>>, Failure> {
    let settings = settings();
    let files = alerts::generate(system.map(), &settings);
    let rules = files.get(RULES_PATH).ok_or("no rules are generated")?;
    let every = settings.evaluation_interval;
    let test = recorded::test_file("rules.yaml", every, played.scrapes(), played.series());
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join("rules.yaml"), rules)?;
    std::fs::write(dir.join("recorded.test.yaml"), test)?;
    let output = Command::new("promtool")
        .args(["test", "rules", "recorded.test.yaml"])
        .current_dir(dir)
        .output()
        .map_err(|error| format!("cannot run `promtool` ({error}): install the package `prometheus`"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    // Whatever fires is told as a failure; anything else that is said is no such thing and refused below.
    if !output.status.success() && said.trim().is_empty() {
        return Err(format!("`promtool` ended with {} and said nothing", output.status).into());
    }
    let mut by_scrape = recorded::firing(&said)
        .map_err(|unread| format!("`promtool test rules` said `{}`", unread.0.trim()))?;
    Ok((0..played.scrapes())
        .map(|scrape| by_scrape.remove(&scrape).unwrap_or_default())
        .collect())
}
