//! `cargo xtask proof simulate`: the generated alerts on random systems with planted faults.
//!
//! In: how many runs, and the seed of the first; `promtool` on the PATH. Out: what the alerts made of each, on standard
//! output and, for a hundred runs or more, in `docs/proofs/simulate.md`; exit code 1 where a promise was not kept.
//! Left out on purpose: any judgement of its own over series: spans go through the collector's engine as they would from a
//! recording, and `promtool` evaluates the rules that are generated for users.

mod draw;
mod parameters;
mod report;
mod scenario;
mod system;
#[cfg(test)]
mod tests;
mod traffic;
mod trial;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::{Failure, output, page};
use report::Totals;
use trial::Trial;

/// Where the report goes, below the root of the workspace.
const REPORT: &str = "docs/proofs/simulate.md";
/// Fewer runs prove nothing, and leave the report alone.
const REPORTED: u64 = 100;
/// After so many runs it is said how far it has come.
const PROGRESS: u64 = 50;

/// Arguments of `cargo xtask proof simulate`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many systems are drawn and played
    #[arg(long, default_value_t = 1_000)]
    runs: u64,
    /// Seed of the first run; each further one has the next number. Default: drawn
    #[arg(long)]
    seed: Option<u64>,
    /// How many runs are played at a time. Default: as many as there are cores
    #[arg(long)]
    jobs: Option<usize>,
    /// Keeps the rules and series of every run here, in a directory of its seed, as files for `promtool test rules`
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// Plays the runs, tells, and writes the report.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let seed = args.seed.map_or_else(drawn, Ok)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("runs {}, seeds from {seed}", args.runs);
    let trials = play(seed, args.runs, args.jobs.unwrap_or(cores), args.keep.as_ref())?;
    let found = report::markdown(&trials);
    println!("\n{found}");
    if args.runs >= REPORTED {
        page::write(REPORT, &(head(args.runs, seed)? + &found))?;
    } else {
        for trial in &trials {
            println!("{}", trial.line());
        }
    }
    let kept = Totals::of(&trials).is_kept();
    Ok(if kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

/// A seed that nobody chose, short enough to be typed.
fn drawn() -> Result<u64, Failure> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64 % 1_000_000_000)
}

/// Plays the runs of consecutive seeds; in the order of their seeds, or the first that could not be played.
fn play(seed: u64, runs: u64, jobs: usize, keep: Option<&PathBuf>) -> Result<Vec<Trial>, Failure> {
    let next = AtomicU64::new(0);
    let played: Mutex<Vec<Result<Trial, Failure>>> = Mutex::new(Vec::new());
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= runs {
                return;
            }
            let seed = seed.wrapping_add(number);
            let trial = trial::run(seed, keep.map(|dir| dir.join(seed.to_string())));
            if trial.is_err() {
                // What could not be played once will not be later: promtool is absent, or speaks otherwise.
                next.store(runs, Ordering::Relaxed);
            }
            let Ok(mut played) = played.lock() else { return };
            played.push(trial);
            let count = played.len() as u64;
            if count.is_multiple_of(PROGRESS) {
                eprintln!("{count} of {runs}");
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(work);
        }
    });
    let played = played.into_inner().map_err(|_| "a run panicked")?;
    let mut trials = played.into_iter().collect::<Result<Vec<_>, _>>()?;
    trials.sort_by_key(|trial| trial.seed);
    Ok(trials)
}

fn head(runs: u64, seed: u64) -> Result<String, Failure> {
    let version = output(Command::new("promtool").arg("--version"))?;
    let version = String::from_utf8_lossy(&version);
    let version = version.lines().next().unwrap_or_default().split(" (").next();
    let head = page::head(
        "The generated alerts on simulated systems",
        "how often the first page names the culprit on random systems (promised: 97 %), and that no page names a mere symptom and \
         nobody is paged while all is well",
        &format!("cargo xtask proof simulate --runs {runs} --seed {seed}"),
    )?;
    let version = version.unwrap_or("promtool of an unknown version");
    Ok(format!("{head}{METHOD}\nRules were evaluated by {version}.\n\n"))
}

const METHOD: &str = "\
Each run draws a system of services and databases (a chain, a fan-out, a shared dependency, a cycle, services on databases), the
operations of each with log-normal own times and calls at once or one after another, and its load, sampling, lost spans, retries, a
daily season and perhaps a deploy that changes nothing. After 40 minutes in which the collector learns, the own time of one node, or of
two, is multiplied for some minutes; or nothing happens. The numbers stand in `xtask/src/simulate/parameters.rs`. The spans go through
the collector's engine in event time, baselines are learned only from what came before, and the engine is scraped as often as
`promtool` evaluates the generated rules.

A fault *must be named* where the own time at least doubles and at least fifty of the node's requests are judged while it lasts. It is
*named* where the first page after it names a node at fault, and, of two faults that must be named, pages name both. A page is *wrong*
where it names a node that is not at fault. A fault that users hardly feel is among those that must be named, although the rules then
open a ticket on purpose and page nobody: the table of how much longer users wait tells them apart. A ticket takes a quarter of an
hour, and no fault lasts that long here, so whoever was not named is played again with a fault of half an hour.

Not shown: services faster than 5 ms, whose doubling is below the collector's margin; timeouts and queues that fill behind a slow
callee; latency that rises with the load.
";
