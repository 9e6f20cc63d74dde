//! `cargo xtask proof recorded-maps`: maps of recorded traces against the edges that are known of them.
//!
//! In: a directory of recorded sets, each with `edges.csv`, and a converter for those that are tables.
//! Out: a table on standard output and `docs/proofs/recorded-maps.md`; exit code 1 on a difference that is not known.
//! Left out on purpose: `user`, `unknown` callers and virtual nodes. The known edges are between services of the set.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde_json::Value;

use crate::edges::{self, Difference, Edges};
use crate::report::{self, Outcome};
use crate::sets::{self, Known, SETS, Set, Traces};
use crate::{Failure, output, page};

/// Where the report goes, below the root of the workspace.
const REPORT: &str = "docs/proofs/recorded-maps.md";

/// Arguments of `cargo xtask proof recorded-maps`.
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

/// Compares every set, tells, and writes the report.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let tracemap = args.tracemap.clone().map_or_else(page::build, Ok)?;
    let scratch = tempfile::tempdir()?;
    let outcomes = SETS
        .iter()
        .map(|set| compare(set, args, &tracemap, scratch.path()));
    let outcomes = outcomes.collect::<Result<Vec<_>, Failure>>()?;
    print!("{}", report::table(&outcomes));
    let surprises: usize = outcomes.iter().map(|outcome| outcome.surprises.len()).sum();
    if surprises > 0 {
        print!("\n{}", report::surprises(&outcomes));
        return Ok(ExitCode::from(1));
    }
    page::write(
        REPORT,
        &report::markdown(&outcomes, &page::today()?, &page::commit()?),
    )?;
    Ok(ExitCode::SUCCESS)
}

fn compare(set: &Set, args: &Args, tracemap: &Path, scratch: &Path) -> Result<Outcome, Failure> {
    let dir = args.data.join(set.name);
    let of_set = |error: String| format!("{}: {error}", set.name);
    let files = traces(set, &dir, &args.to_otlp, scratch)?;
    let csv = output(
        Command::new(tracemap)
            .arg("map")
            .args(&files)
            .args(["--format", "csv"]),
    )?;
    let found = edges::read(&String::from_utf8(csv)?, "requests").map_err(of_set)?;
    let expected = edges::read(&read(&dir.join("edges.csv"))?, "count").map_err(of_set)?;
    let found = edges::between(found, &services(&dir, &expected)?);
    let (known, surprises) = judge(edges::differences(&expected, &found), set.known);
    Ok(Outcome {
        set: set.name,
        pairs: expected.len(),
        requests: expected.values().sum(),
        found: found.values().sum(),
        known,
        surprises,
    })
}

/// Differences that are known, and those that are not; a known one that did not show is a surprise too.
fn judge(found: Vec<Difference>, known: &'static [Known]) -> (Vec<&'static Known>, Vec<Difference>) {
    let as_difference = |known: &Known| Difference {
        caller: known.caller.to_owned(),
        callee: known.callee.to_owned(),
        expected: known.expected,
        found: known.found,
    };
    let (shown, absent): (Vec<_>, Vec<_>) = known
        .iter()
        .partition(|known| found.contains(&as_difference(known)));
    let mut surprises: Vec<Difference> = found
        .into_iter()
        .filter(|difference| !shown.iter().any(|known| as_difference(known) == *difference))
        .collect();
    surprises.extend(absent.into_iter().map(as_difference));
    (shown, surprises)
}

/// The set's services: those it measured, and those that its edges name.
fn services(dir: &Path, expected: &Edges) -> Result<BTreeSet<String>, Failure> {
    let measured: Value = serde_json::from_str(&read(&dir.join("measured.json"))?)?;
    let listed = measured["services"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let named = expected
        .keys()
        .flat_map(|(caller, callee)| [caller.as_str(), callee.as_str()]);
    Ok(listed.chain(named).map(str::to_owned).collect())
}

pub(crate) fn traces(
    set: &Set,
    dir: &Path,
    converter: &Path,
    scratch: &Path,
) -> Result<Vec<PathBuf>, Failure> {
    match set.traces {
        Traces::Files(folders, endings) => {
            let each = folders
                .iter()
                .map(|folder| sets::files(&dir.join(folder), endings));
            Ok(each.collect::<Result<Vec<_>, _>>()?.concat())
        }
        Traces::Tables(glob) => {
            let converted = scratch.join(set.name).with_extension("jsonl.gz");
            let mut command = Command::new("python3");
            command
                .arg(converter)
                .arg(dir)
                .arg("-o")
                .arg(&converted)
                .args(["--glob", glob]);
            output(&mut command)?;
            Ok(vec![converted])
        }
    }
}

pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    static KNOWN: &[Known] = &[Known {
        caller: "a",
        callee: "b",
        expected: 5,
        found: 1,
        reason: "repeats",
    }];

    fn difference(caller: &str, expected: u64, found: u64) -> Difference {
        Difference {
            caller: caller.to_owned(),
            callee: "b".to_owned(),
            expected,
            found,
        }
    }

    #[test]
    fn a_difference_is_known_only_with_its_exact_counts() {
        assert_eq!(judge(vec![difference("a", 5, 1)], KNOWN).1, []);
        assert_eq!(
            judge(vec![difference("a", 5, 2)], KNOWN).1,
            [difference("a", 5, 2), difference("a", 5, 1)]
        );
    }

    #[test]
    fn a_known_difference_that_is_gone_is_a_surprise() {
        assert_eq!(judge(vec![], KNOWN).1, [difference("a", 5, 1)]);
    }
}
