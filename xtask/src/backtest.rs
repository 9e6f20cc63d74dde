//! `cargo xtask proof backtest`: the generated alerts on recorded systems with labelled faults.
//!
//! In: a directory of recorded sets, each with `faults_measured.csv`, and the converter for their tables; `promtool` on the PATH.
//! Out: what `tracemap backtest` says of each set, on standard output and in `docs/proofs/backtest.md`.
//! Left out on purpose: any judgement of the figures; they stand beside their chance level on the page.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::{Failure, output, page};

/// Where the report goes, below the root of the workspace.
const REPORT: &str = "docs/proofs/backtest.md";

/// A set with labelled faults: its directory, where its span tables lie, and disturbances that its description names and nobody injected.
struct Set {
    name: &'static str,
    globs: &'static [&'static str],
    episodes: &'static [&'static str],
}

const SETS: &[Set] = &[
    Set {
        name: "onlineboutique-0822",
        globs: &["trace/*_trace.csv.gz"],
        episodes: &["2022-08-22T06:20:00Z,productcatalogservice,episode"],
    },
    Set {
        name: "trainticket-0130-a",
        globs: &["trace/*_trace.csv.gz"],
        episodes: &[],
    },
    Set {
        name: "trainticket-0129",
        globs: &["trace/*_trace.csv.gz", "trace_faultfree/*_trace.csv.gz"],
        episodes: &[],
    },
];

/// Arguments of `cargo xtask proof backtest`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The directory that holds the sets
    #[arg(long)]
    data: PathBuf,
    /// The Python script that turns span tables into OTLP JSON: `SCRIPT DIR -o OUT.jsonl.gz --glob GLOB`
    #[arg(long)]
    to_otlp: PathBuf,
    /// A built `tracemap`. Default: builds one in the release profile
    #[arg(long)]
    tracemap: Option<PathBuf>,
}

/// Runs the backtest of every set, tells, and writes the report.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let tracemap = args.tracemap.clone().map_or_else(page::build, Ok)?;
    let scratch = tempfile::tempdir()?;
    let mut report = page::head(
        "The generated alerts on recorded faults",
        "where a fault slows a recorded system at least twice and has fifty calls to show itself, the first page names the culprit",
        "cargo xtask proof backtest --data DIR --to-otlp SCRIPT",
    )?;
    report.push_str(METHOD);
    for set in SETS {
        let told = backtest(set, args, &tracemap, scratch.path())?;
        println!("{}\n{told}", set.name);
        write!(report, "\n## {}\n\n```text\n{}\n```\n", set.name, told.trim_end())?;
    }
    page::write(REPORT, &report)?;
    Ok(ExitCode::SUCCESS)
}

const METHOD: &str = "\
Spans are played in event time into the collector's engine, which is scraped as often as the rules are evaluated; `promtool` evaluates the
generated rules on those series. *Offline* baselines are learned from traces outside of all labelled faults, *causal* ones only from spans
that ended before the minute that is judged. A fault is *busy* with at least fifty calls, *quiet* with fewer; `return` and `exception` are
controls. A page is a group of Alertmanager's that goes from silent to firing.

Not shown: systems that the thresholds were not chosen on. `page_for`, the thresholds beside a culprit and the rule of the latest fifth
were settled while these three sets were looked at.
";

fn backtest(set: &Set, args: &Args, tracemap: &Path, scratch: &Path) -> Result<String, Failure> {
    let dir = args.data.join(set.name);
    let mut files = Vec::new();
    for (number, glob) in set.globs.iter().enumerate() {
        let file = scratch.join(format!("{}-{number}.jsonl.gz", set.name));
        let mut convert = Command::new("python3");
        convert.arg(&args.to_otlp).arg(&dir).arg("-o").arg(&file);
        output(convert.args(["--glob", glob]))?;
        files.push(file);
    }
    let faults = with_episodes(&dir.join("faults_measured.csv"), set.episodes)?;
    let labels = scratch.join(set.name).with_extension("csv");
    std::fs::write(&labels, faults)?;
    let mut command = Command::new(tracemap);
    command.arg("backtest").args(&files).arg("--faults").arg(labels);
    Ok(String::from_utf8(output(&mut command)?)?)
}

/// The labels, with rows for disturbances that nobody injected: time, service and type; other columns stay empty.
fn with_episodes(labels: &Path, episodes: &[&str]) -> Result<String, Failure> {
    let text = std::fs::read_to_string(labels)
        .map_err(|error| format!("cannot read `{}`: {error}", labels.display()))?;
    let columns: Vec<&str> = text.lines().next().unwrap_or_default().split(',').collect();
    let column = |names: &[&str]| columns.iter().position(|column| names.contains(&column.trim()));
    let places = [
        column(&["time", "time_utc"]),
        column(&["service"]),
        column(&["type"]),
    ];
    let mut all = text.trim_end().to_owned();
    for episode in episodes {
        let mut row = vec![""; columns.len()];
        for (place, value) in places.iter().zip(episode.split(',')) {
            let place = place.ok_or("the labels have no columns for time, service and type")?;
            if let Some(cell) = row.get_mut(place) {
                *cell = value;
            }
        }
        write!(all, "\n{}", row.join(","))?;
    }
    all.push('\n');
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_becomes_a_row_whatever_the_order_of_columns() {
        let dir = tempfile::tempdir().expect("a directory");
        let labels = dir.path().join("labels.csv");
        std::fs::write(&labels, "service,calls,time_utc,type\na,7,t,cpu\n").expect("a file");
        let all = with_episodes(&labels, &["T,b,episode"]).expect("labels");
        assert_eq!(all, "service,calls,time_utc,type\na,7,t,cpu\nb,,T,episode\n");
        std::fs::write(&labels, "service\na\n").expect("a file");
        assert!(with_episodes(&labels, &["T,b,episode"]).is_err());
    }
}
