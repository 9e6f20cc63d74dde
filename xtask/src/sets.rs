//! The recorded sets: where their traces lie, and what is known to differ.
//!
//! In: a directory of sets. Out: the files of each, in an order that does not change.
//! Left out on purpose: the sets themselves, which are no part of this repository.

use std::path::{Path, PathBuf};

use crate::Failure;

/// One set, a directory with an `edges.csv` and a `measured.json` of its own.
pub(crate) struct Set {
    pub(crate) name: &'static str,
    pub(crate) traces: Traces,
    pub(crate) known: &'static [Known],
}

/// Where a set's traces lie.
pub(crate) enum Traces {
    /// Files that are read as they are: directories below the set, and the endings of names.
    Files(&'static [&'static str], &'static [&'static str]),
    /// Span tables that have to be converted first: a glob for the converter.
    Tables(&'static str),
}

/// A difference that is right, and why.
pub(crate) struct Known {
    pub(crate) caller: &'static str,
    pub(crate) callee: &'static str,
    pub(crate) expected: u64,
    pub(crate) found: u64,
    pub(crate) reason: &'static str,
}

const REPEATS: &str =
    "five SERVER spans share trace, span id, kind and service, so all but the first are repeats of it";
const SHARED_ID: &str =
    "a child of an id that two halves share belongs to the serving half, and that is `yelp_main/api_proxy`";

/// All sets, in the order of the report.
pub(crate) const SETS: &[Set] = &[
    Set {
        name: "hotel-jaeger",
        traces: Traces::Files(&[""], &[".jsonl.gz"]),
        known: &[],
    },
    Set {
        name: "zipkin-real",
        traces: Traces::Files(&[""], &[".json", ".json.gz"]),
        known: &[
            Known {
                caller: "bouncer",
                callee: "pusher",
                expected: 5,
                found: 1,
                reason: REPEATS,
            },
            Known {
                caller: "unknown",
                callee: "yelp-main",
                expected: 2,
                found: 0,
                reason: SHARED_ID,
            },
            Known {
                caller: "yelp_main/api_proxy",
                callee: "yelp-main",
                expected: 0,
                found: 2,
                reason: SHARED_ID,
            },
        ],
    },
    Set {
        name: "format-fixtures",
        traces: Traces::Files(&["kiali-bookinfo", "jaeger-otlp", "jaeger-ui"], &[".json"]),
        known: &[],
    },
    Set {
        name: "trainticket-0129",
        traces: Traces::Tables("trace*/*_trace.csv.gz"),
        known: &[],
    },
    Set {
        name: "trainticket-0130-a",
        traces: Traces::Tables("trace/*_trace.csv.gz"),
        known: &[],
    },
    Set {
        name: "onlineboutique-0822",
        traces: Traces::Tables("trace/*_trace.csv.gz"),
        known: &[],
    },
];

/// Files in the sets' directories that hold no spans.
const NO_TRACES: &[&str] = &["measured.json", "small.json"];

/// The files of a directory with one of the endings, sorted.
///
/// # Errors
/// A directory that cannot be read, or holds no such file.
pub(crate) fn files(dir: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, Failure> {
    let entries =
        std::fs::read_dir(dir).map_err(|error| format!("cannot read `{}`: {error}", dir.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if endings.iter().any(|ending| name.ends_with(ending)) && !NO_TRACES.contains(&name) {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(format!("`{}` holds no file that ends in {endings:?}", dir.display()).into());
    }
    Ok(files)
}
