//! `cargo xtask proof fuzz`: every fuzz target for a while, one after the other.
//!
//! In: how long, and which targets. Out: figures on standard output and `docs/proofs/fuzz.md`; exit code 1 where a target
//! found something, with the input that does it.
//! Left out on purpose: cargo-fuzz, which needs to be built and adds nothing here: the compiler's own flags do.

mod figures;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use serde_json::Value;

use crate::{Failure, output, page, root};
use figures::Figures;

/// Where the report goes, below the root of the workspace.
const REPORT: &str = "docs/proofs/fuzz.md";
/// Counters for each edge and comparisons of each value, which libFuzzer reads. As cargo-fuzz sets them.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";
/// Targets that begin with recorded files of others.
const RECORDED: [&str; 2] = ["files_detect", "otlp_json"];

/// Arguments of `cargo xtask proof fuzz`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these targets. Default: all of them
    targets: Vec<String>,
    /// Seconds for each target
    #[arg(long, default_value_t = 600)]
    seconds: u64,
}

/// Builds, runs one target after the other, tells, and writes the report.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let fuzz = root().join("fuzz");
    let built = build(&fuzz)?;
    if let Some(unknown) = args.targets.iter().find(|name| !built.contains_key(*name)) {
        let known: Vec<_> = built.keys().map(String::as_str).collect();
        return Err(format!("`{unknown}` is no fuzz target: there are {}", known.join(", ")).into());
    }
    let mut found = false;
    for (name, program) in &built {
        if !args.targets.is_empty() && !args.targets.contains(name) {
            continue;
        }
        let figures = fuzz_one(&fuzz, name, program, args.seconds)?;
        println!("{}", figures.row(name, ""));
        for input in &figures.findings {
            println!("  found: {input}");
        }
        found |= !figures.findings.is_empty();
        record(name, &figures)?;
    }
    println!("\nwritten: {REPORT}");
    Ok(ExitCode::from(u8::from(found)))
}

/// Every target, and where it was built.
fn build(fuzz: &Path) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let cargo = |args: &[&str]| {
        let mut command = Command::new("cargo");
        command.current_dir(fuzz).env("RUSTFLAGS", FLAGS).args(args);
        command
    };
    let host = host()?;
    // With a target named, the flags spare build scripts and macros. Not `--locked`: the lock file of this workspace
    // follows what the other one depends on.
    output(&mut cargo(&["build", "--release", "--bins", "--target", &host]))?;
    let metadata = output(&mut cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_slice(&metadata)?;
    let directory = metadata["target_directory"]
        .as_str()
        .ok_or("`cargo metadata` names no target directory")?;
    let directory = Path::new(directory).join(host).join("release");
    let targets = metadata["packages"].as_array().into_iter().flatten();
    let bins = targets
        .flat_map(|package| package["targets"].as_array().into_iter().flatten())
        .filter(|target| target["kind"][0] == "bin")
        .filter_map(|target| target["name"].as_str());
    Ok(bins.map(|name| (name.to_owned(), directory.join(name))).collect())
}

fn host() -> Result<String, Failure> {
    let told = String::from_utf8(output(Command::new("rustc").arg("-vV"))?)?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("`rustc -vV` names no host")?.to_owned())
}

/// Runs one target on one core.
fn fuzz_one(fuzz: &Path, name: &str, program: &Path, seconds: u64) -> Result<Figures, Failure> {
    let (corpus, artifacts) = (format!("corpus/{name}"), format!("artifacts/{name}"));
    for directory in [&corpus, &artifacts] {
        std::fs::create_dir_all(fuzz.join(directory))?;
    }
    let mut command = Command::new(program);
    command.current_dir(fuzz).stdout(Stdio::null()).args([
        format!("-max_total_time={seconds}"),
        format!("-artifact_prefix={artifacts}/"),
        "-print_final_stats=1".to_owned(),
        "-timeout=10".to_owned(),
    ]);
    if Path::new("/dev/shm").is_dir() {
        // Stores and snapshots are synced; a disk would be measured, not the decoder.
        command.env("TMPDIR", "/dev/shm");
    }
    let seeds = fuzz.join("seeds").join(name);
    if seeds.is_dir() {
        command.arg("-dict=dictionary.txt");
    }
    command.arg(corpus);
    if seeds.is_dir() {
        command.arg(&seeds);
    }
    if RECORDED.contains(&name) {
        command.arg("../otlp/tests/fixtures");
    }
    let before = cpu_seconds();
    let ended = command
        .output()
        .map_err(|error| format!("cannot run `{}`: {error}", program.display()))?;
    let told = String::from_utf8_lossy(&ended.stderr);
    let mut figures = Figures::read(&told);
    figures.cpu_seconds = cpu_seconds() - before;
    if !ended.status.success() && figures.findings.is_empty() {
        let last: Vec<_> = told.lines().rev().take(5).collect();
        return Err(format!("`{name}` ended with {}: {}", ended.status, last.join(" | ")).into());
    }
    Ok(figures)
}

/// Seconds that the children of this process have computed, those that ended.
fn cpu_seconds() -> u64 {
    /// Linux counts in hundredths of a second towards programs.
    const TICKS: u64 = 100;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    // User and system time of children, fields 16 and 17 of proc(5).
    let children = fields.split_whitespace().skip(13).take(2);
    children
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum::<u64>()
        / TICKS
}

/// Puts a target's row into the page; rows of other targets stay as they are.
fn record(name: &str, figures: &Figures) -> Result<(), Failure> {
    let path = root().join(REPORT);
    let mut rows =
        std::fs::read_to_string(&path).map_or_else(|_| BTreeMap::new(), |page| figures::rows(&page));
    let measured = format!("{} {}", page::today()?, page::commit()?);
    rows.insert(name.to_owned(), figures.row(name, &measured));
    std::fs::write(&path, figures::markdown(&rows))
        .map_err(|error| format!("cannot write `{}`: {error}", path.display()).into())
}
