//! What came out of a comparison, for a terminal and for `docs/proofs`.
//!
//! In: [`Outcome`]s. Out: text; the same outcomes, date and commit give the same bytes.
//! Left out on purpose: paths of the machine that measured.

use std::fmt::Write as _;

use crate::edges::Difference;
use crate::sets::Known;

/// One set, compared.
pub(crate) struct Outcome {
    pub(crate) set: &'static str,
    /// Pairs in the set's `edges.csv`.
    pub(crate) pairs: usize,
    /// Requests over those pairs.
    pub(crate) requests: u64,
    /// Requests that the map has between services of the set.
    pub(crate) found: u64,
    /// Differences that are right, with their reasons.
    pub(crate) known: Vec<&'static Known>,
    /// Differences that nobody expected, and expected ones that are absent.
    pub(crate) surprises: Vec<Difference>,
}

/// One line per set.
pub(crate) fn table(outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "{:<22}{:>8}{:>12}{:>12}{:>8}{:>14}\n",
        "set", "pairs", "expected", "in the map", "known", "not expected"
    );
    for Outcome {
        set,
        pairs,
        requests,
        found,
        known,
        surprises,
    } in outcomes
    {
        let (known, surprises) = (known.len(), surprises.len());
        let _ = writeln!(
            text,
            "{set:<22}{pairs:>8}{requests:>12}{found:>12}{known:>8}{surprises:>14}"
        );
    }
    text
}

/// One line per difference that nobody expected.
pub(crate) fn surprises(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for (set, surprise) in outcomes
        .iter()
        .flat_map(|o| o.surprises.iter().map(move |s| (o.set, s)))
    {
        let Difference {
            caller,
            callee,
            expected,
            found,
        } = surprise;
        let _ = writeln!(
            text,
            "{set}: {caller} -> {callee}: expected {expected}, the map has {found}"
        );
    }
    text
}

/// The page for `docs/proofs`.
pub(crate) fn markdown(outcomes: &[Outcome], date: &str, commit: &str) -> String {
    let mut text = format!(
        "# Maps of recorded traces\n\n\
         Claim: `tracemap map` finds exactly the calls between services that are known of each recorded set, with equal counts.\n\n\
         Measured {date} at {commit}, by\n\n\
         ```sh\ncargo xtask proof recorded-maps --data DIR --to-otlp SCRIPT\n```\n\n\
         DIR holds the sets and SCRIPT turns span tables into OTLP JSON; neither is part of this repository. The tables have no span\n\
         kinds. Each set was read by `tracemap map … --format csv` and compared with its `edges.csv`, which was counted without tracemap,\n\
         over pairs whose both ends are services of the set. The command ends with 1 on any difference that is not listed here.\n\n\
         | set | pairs | requests known | requests in the map | pairs that differ |\n|---|---:|---:|---:|---:|\n"
    );
    for Outcome {
        set,
        pairs,
        requests,
        found,
        known,
        ..
    } in outcomes
    {
        let _ = writeln!(
            text,
            "| {set} | {pairs} | {requests} | {found} | {} |",
            known.len()
        );
    }
    let known: Vec<_> = outcomes
        .iter()
        .flat_map(|o| o.known.iter().map(move |known| (o.set, *known)))
        .collect();
    if known.is_empty() {
        return text;
    }
    text.push_str("\nEvery difference, with its reason:\n\n");
    text.push_str("| set | pair | known | in the map | reason |\n|---|---|---:|---:|---|\n");
    for (
        set,
        Known {
            caller,
            callee,
            expected,
            found,
            reason,
        },
    ) in known
    {
        let _ = writeln!(
            text,
            "| {set} | {caller} → {callee} | {expected} | {found} | {reason} |"
        );
    }
    text
}
