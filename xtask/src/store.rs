//! `cargo xtask proof store`: how fast the trace store answers when it is full.
//!
//! In: how many spans, in how many segments. Out: the figures of the store's own benchmark before and after the segments
//! are merged, `docs/proofs/store.md`; exit code 1 where the 95th percentile of a question is above its bound afterwards.
//! Left out on purpose: the questions, which are the benchmark's; and the other engines, which were measured once.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::{Failure, output, page, root};

/// Where the report goes, below the root of the workspace.
const REPORT: &str = "docs/proofs/store.md";
/// Most milliseconds that the 95th percentile may take.
const BY_ID: f64 = 20.0;
const SEARCH: f64 = 200.0;

/// What other engines did with the same spans; not measured again with each report.
const ENGINES: &str = "\
## Other engines

One million of these spans, one engine after the other on the same machine, 2026-11-22, while others were building there; latencies
swing by a factor of two, and so does fjall's size with what it has compacted (1,051 B/span in another run). CPU time includes making the spans, 2.3 to 3.5 s.

| | own segments | fjall 3.1.13 | Parquet (parquet 60.1.0), zstd 1 | the same, zstd 3 |
|---|---:|---:|---:|---:|
| disk, B/span | 61.7 | 802 | 41.2 | 40.3 |
| held in memory for finding, B/span | 0.36 | | 0.87 | 0.87 |
| taken in, spans/s | 73,600 | 66,400 | 93,800 | 91,200 |
| CPU-s per million spans | 6.1 | 6.8 | 4.7 | 5.2 |
| trace by id, p50 | 0.044 ms | 0.006 ms | 2.1 ms | 3.7 ms |
| trace by id, p95 | 0.060 ms | 0.009 ms | 10.2 ms | 11.0 ms |
| service and duration over 300 ms, p95 | 12.6 ms | | 18.6 ms, with its spans 148 ms | 25.1 ms, with its spans 218 ms |
| a rare tag value, p50 | 0.49 ms | | 562 ms | 762 ms |
| a rare tag value, p95 | 5.3 ms | | 897 ms | 1,454 ms |

fjall: one keyspace with its defaults, LZ4, a trace for each key, synced every 10,000 traces; it has no search. Parquet: a row for each
span, 14 columns (ids, start, duration, service, name, kind, status, resource, scope, events, and lists of attribute keys and values),
files of 10,000 traces sorted by trace id, one row group each, pages of 2,000 rows with statistics for each page, a Bloom filter on the
trace id (1 %) and page indexes held in memory, dictionaries except for ids and starts, synced as each file is complete. Its spans were
neither validated nor freed of repeats, and were found at the earliest when their file was complete. A filter on lists of attributes has
to look at every row, so a search by tags would need an index of our own beside it. Pages of 500 rows changed little (a trace by id 1.9 ms
at the median). What Parquet saves on disk, it saves by columns.
";

/// Arguments of `cargo xtask proof store`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many spans are stored
    #[arg(long, default_value_t = 10_000_000)]
    spans: u64,
    /// How many segments they are sealed in before those are merged
    #[arg(long, default_value_t = 1_000)]
    segments: u64,
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
    command.arg(format!("segments={}", args.segments));
    command.arg("merge");
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
    let command = format!(
        "cargo xtask proof store --spans {} --segments {}",
        args.spans, args.segments
    );
    let mut text = page::head(
        "The trace store when it is full",
        &format!(
            "with {} spans stored in {} segments and these merged, 95 of 100 traces are there by id within {BY_ID} ms, and 95 of \
             100 searches within {SEARCH} ms.",
            args.spans, args.segments
        ),
        &command,
    )?;
    text.push_str(
        "Spans are those of ordinary HTTP services, twelve attributes each. A trace by id is asked for 2,000 times at random, each search 60\n\
         times with other values; both through the store's own interface, without HTTP. The files were written just before, so the page\n\
         cache holds what of them fits. `complete: false` says that a search stopped at its limit of work and told so.\n\n\
         The segments are sealed one after the other, as if every minute, and merged as if all windows of time were over.\n\n```text\n",
    );
    text.push_str(told);
    text.push_str("```\n\n");
    text.push_str(ENGINES);
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
