//! `cargo xtask proof power-cuts`: a journal on a disk that forgets what was not synced.
//!
//! In: how many cuts and seeds. Out: figures on standard output and `docs/proofs/power-cuts.md`; exit code 1 where a promise
//! of the journal is broken.
//! Left out on purpose: the disk and the load, which are `journal::sim`'s.

use std::fmt::Write as _;
use std::process::ExitCode;

use journal::sim::{Report, power_cuts};

use crate::{Failure, page};

/// Where the report goes, below the root of the workspace.
const REPORT: &str = "docs/proofs/power-cuts.md";

/// Arguments of `cargo xtask proof power-cuts`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Cuts for each seed
    #[arg(long, default_value_t = 100)]
    cuts: u64,
    /// How many seeds, each with a disk of its own
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
}

/// Cuts, verifies, tells, and writes the report.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut sum = Report::default();
    for seed in args.first_seed..args.first_seed + args.seeds {
        let report = power_cuts(seed, args.cuts)
            .map_err(|error| format!("seed {seed}: the journal cannot be opened: {error}"))?;
        if !report.holds() {
            println!("seed {seed} breaks a promise: {report:#?}");
            return Ok(ExitCode::from(1));
        }
        add(&mut sum, &report);
    }
    for (what, figure) in figures(&sum) {
        println!("{what:<60}{figure:>12}");
    }
    page::write(REPORT, &markdown(args, &sum)?)?;
    Ok(ExitCode::SUCCESS)
}

fn add(sum: &mut Report, one: &Report) {
    sum.cuts += one.cuts;
    sum.cuts_while_opening += one.cuts_while_opening;
    sum.offered += one.offered;
    sum.acknowledged += one.acknowledged;
    sum.unacknowledged_found += one.unacknowledged_found;
    sum.torn_bytes += one.torn_bytes;
    sum.damaged_records += one.damaged_records;
    sum.lost += one.lost;
    sum.unreadable_segments += one.unreadable_segments;
    sum.invented += one.invented;
    sum.duplicated += one.duplicated;
    sum.out_of_order += one.out_of_order;
}

fn figures(report: &Report) -> [(&'static str, u64); 12] {
    [
        ("power cuts", report.cuts),
        (
            "of these while the journal was being opened",
            report.cuts_while_opening,
        ),
        ("records handed in", report.offered),
        ("records acknowledged", report.acknowledged),
        (
            "records found that were never acknowledged (allowed)",
            report.unacknowledged_found,
        ),
        ("bytes of half-written records cut off", report.torn_bytes),
        ("damaged records skipped", report.damaged_records),
        ("acknowledged records lost", report.lost),
        (
            "segments of which no header is readable",
            report.unreadable_segments,
        ),
        ("records that nobody handed in", report.invented),
        ("records found twice", report.duplicated),
        ("records or completions out of order", report.out_of_order),
    ]
}

fn markdown(args: &Args, sum: &Report) -> Result<String, Failure> {
    let Args {
        cuts,
        seeds,
        first_seed,
    } = args;
    let command =
        format!("cargo xtask proof power-cuts --cuts {cuts} --seeds {seeds} --first-seed {first_seed}");
    let mut text = page::head(
        "A journal that loses power",
        "a record whose append completed is there after the power was cut, in order and once.",
        &command,
    )?;
    text.push_str(
        "The journal runs on a simulated disk (`journal::sim`). A cut forgets an arbitrary part of every byte that was not synced and of\n\
         every name that the directory was not synced for, whole sectors out of order included. Three threads append bursts meanwhile,\n\
         writes fall short, and writes, syncs and truncations fail now and then. After each cut the journal is opened and read to its\n\
         end; the command ends with 1 unless the last five rows are 0.\n\n\
         | figure | |\n|---|---:|\n",
    );
    for (what, figure) in figures(sum) {
        let _ = writeln!(text, "| {what} | {figure} |");
    }
    text.push_str(
        "\nWhat this does not show: whether a disk that says it has synced has done so; snapshots and the trace store, which are written\n\
         anew from the journal where a restart does not find them whole.\n",
    );
    Ok(text)
}
