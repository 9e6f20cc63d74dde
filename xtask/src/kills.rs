//! `cargo xtask proof kills`: a collector under load, killed again and again, against what was sent.
//!
//! In: how often and how hard. Out: figures on standard output and `docs/proofs/kills.md`; exit code 1 where anything that
//! was acknowledged is missing or counted twice.
//! Left out on purpose: how it is done, which a system test shares (`harness`).

#[path = "kills/harness.rs"]
pub(crate) mod harness;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::{Failure, page};
use harness::{Outcome, Plan};

/// Where the report goes, below the root of the workspace.
const REPORT: &str = "docs/proofs/kills.md";

/// Arguments of `cargo xtask proof kills`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often the collector is killed
    #[arg(long, default_value_t = 100)]
    rounds: usize,
    /// Decides when it is killed and what is repeated
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// New traces a second, of seven spans in the mean
    #[arg(long, default_value_t = 800)]
    traces_per_second: u64,
    /// A built `tracemap`. Default: builds one in the release profile
    #[arg(long)]
    tracemap: Option<PathBuf>,
}

/// Kills, compares, tells, and writes the report.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let plan = Plan {
        tracemap: args.tracemap.clone().map_or_else(page::build, Ok)?,
        seed: args.seed,
        rounds: args.rounds,
        snapshot_every: 33,
        traces_per_second: args.traces_per_second,
        wait: Duration::from_secs(10),
    };
    let outcome = harness::run(&plan)?;
    for (what, figure) in outcome.figures() {
        println!("{what:<55}{figure:>12}");
    }
    if !outcome.verdict.differences.is_empty() {
        println!("\n{}", outcome.verdict.differences.join("\n"));
        return Ok(ExitCode::from(1));
    }
    page::write(REPORT, &markdown(args, &outcome)?)?;
    Ok(ExitCode::SUCCESS)
}

fn markdown(args: &Args, outcome: &Outcome) -> Result<String, Failure> {
    let Args {
        rounds,
        seed,
        traces_per_second,
        ..
    } = args;
    let command = format!(
        "cargo xtask proof kills --rounds {rounds} --seed {seed} --traces-per-second {traces_per_second}"
    );
    let mut text = page::head(
        "A collector that is killed",
        "however often a collector is killed by SIGKILL under load, no span that it acknowledged is lost, and none is \
         counted twice,\nalso where the sender repeats a request.",
        &command,
    )?;
    text.push_str(
        "Eight senders send numbered traces over OTLP/gRPC, the two halves of each in different requests, and send every request that was\n\
         not acknowledged again with the same bytes. One request in twelve is sent again although it was acknowledged, one pair in three\n\
         bears a batch id. The collector is killed at moments that the seed decides: while it takes spans, while it replays its journal,\n\
         while it ends and writes its last snapshot, and (each 33rd time) around the instant at which it writes one as it runs. In the end every edge of `/metrics` and of the map, every\n\
         series of span metrics, and every trace by its id are compared with what was sent; one difference, and the command ends with 1.\n\n\
         | figure | |\n|---|---:|\n",
    );
    for (what, figure) in outcome.figures() {
        let _ = writeln!(text, "| {what} | {figure} |");
    }
    text.push_str(
        "\nWhat this does not show: loss of power, for the page cache outlives a kill ([power-cuts.md](power-cuts.md) has that); repeats that\n\
         come later than `pairing.keep` after their trace was closed; halves that come later than `pairing.wait`, which was 10 s here.\n",
    );
    Ok(text)
}
