//! `cargo xtask proof store`: how fast the trace store answers when it is full.
//!
//! In: how many spans. Out: the figures of the store's own benchmark, `docs/proofs/store.md`; exit code 1 where the 95th
//! percentile of a question is above its bound.
//! Left out on purpose: the questions, which are the benchmark's.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::{Failure, output, page, root};

/// Where the report goes, below the root of the workspace.
const REPORT: &str = "docs/proofs/store.md";
/// Most milliseconds that the 95th percentile may take.
const BY_ID: f64 = 20.0;
const SEARCH: f64 = 200.0;

/// Arguments of `cargo xtask proof store`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many spans are stored
    #[arg(long, default_value_t = 10_000_000)]
    spans: u64,
    /// Where they are stored meanwhile. Default: the system's directory for temporary files
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Measures, tells, and writes the report.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut command = Command::new("cargo");
    command.current_dir(root());
    command.args([
        "bench",
        "--quiet",
        "--locked",
        "--package",
        "tracemap-store",
        "--bench",
        "store",
        "--",
    ]);
    command.arg(args.spans.to_string());
    if let Some(dir) = &args.dir {
        // The benchmark removes what it is given.
        command.arg(format!("dir={}", dir.join("tracemap-store-proof").display()));
    }
    let told = String::from_utf8(output(&mut command)?)?;
    print!("{told}");
    let slow = slow(&told)?;
    if !slow.is_empty() {
        println!("\ntoo slow:\n{}", slow.join("\n"));
        return Ok(ExitCode::from(1));
    }
    page::write(REPORT, &markdown(args, &told)?)?;
    Ok(ExitCode::SUCCESS)
}

/// The lines whose 95th percentile is above its bound.
///
/// # Errors
/// Where the output has no such lines: then nothing was measured.
fn slow(told: &str) -> Result<Vec<&str>, Failure> {
    let questions: Vec<(&str, f64, f64)> = told
        .lines()
        .filter_map(|line| {
            let bound = match line {
                _ if line.starts_with("trace by id") => BY_ID,
                _ if line.starts_with("search ") => SEARCH,
                _ => return None,
            };
            Some((line, p95(line)?, bound))
        })
        .collect();
    for kind in ["trace by id", "search "] {
        if !questions.iter().any(|(line, ..)| line.starts_with(kind)) {
            return Err(format!("the benchmark tells no `{kind}`").into());
        }
    }
    let slow = questions.into_iter().filter(|(_, p95, bound)| p95 > bound);
    Ok(slow.map(|(line, ..)| line).collect())
}

fn p95(line: &str) -> Option<f64> {
    let (_, rest) = line.split_once("p95 ")?;
    rest.split(' ').next()?.parse().ok()
}

fn markdown(args: &Args, told: &str) -> Result<String, Failure> {
    let command = format!("cargo xtask proof store --spans {}", args.spans);
    let mut text = page::head(
        "The trace store when it is full",
        &format!(
            "with {} spans stored, 95 of 100 traces are there by id within {BY_ID} ms, and 95 of 100 searches within {SEARCH} ms.",
            args.spans
        ),
        &command,
    )?;
    text.push_str(
        "Spans are those of ordinary HTTP services, twelve attributes each. A trace by id is asked for 2,000 times at random, each search 60\n\
         times with other values; both through the store's own interface, without HTTP. The files were written just before, so the page\n\
         cache holds what of them fits. `complete: false` says that a search stopped at its limit of work and told so.\n\n```text\n",
    );
    text.push_str(told);
    text.push_str("```\n");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: &str =
        "trace by id: p50 0.1 ms, p95 19.9 ms, p99 30 ms\nsearch by error (1 hits): p50 1 ms, p95 199 ms\n";

    #[test]
    fn a_question_above_its_bound_is_told() {
        assert!(slow(FAST).unwrap().is_empty());
        assert_eq!(slow(&FAST.replace("19.9", "20.1")).unwrap().len(), 1);
        assert_eq!(slow(&FAST.replace("199", "201")).unwrap().len(), 1);
    }

    #[test]
    fn no_answer_is_no_proof() {
        assert!(slow("search by error: p95 1 ms").is_err());
        assert!(slow("").is_err());
    }
}
