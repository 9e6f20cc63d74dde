//! `cargo xtask proof check`: what `tracemap check` finds on recorded traces, against what is known to be there.
//!
//! In: the recorded sets, and of one of them the dependencies that its mesh saw. Out: all findings on standard output and in
//! `docs/proofs/check.md`; exit code 1 where a finding that is known to be there is absent.
//! The mesh's dependencies become a committed map for `--against`: it saw a call whose context is lost, which no span shows.
//! Left out on purpose: whether every other finding is right. They are listed with their numbers for whoever knows the systems.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde_json::Value;

use crate::recorded_maps::{read, traces};
use crate::sets::{SETS, Set};
use crate::{Failure, output, page};

const REPORT: &str = "docs/proofs/check.md";

/// Arguments of `cargo xtask proof check`.
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

/// What is known of a set: the finding, and who knows it.
const KNOWN: &[(&str, &str, &str)] = &[
    (
        "onlineboutique-0822",
        "broken-context:checkoutservice->currencyservice",
        "the mesh saw the calls, and no trace has them: the caller makes an internal span and passes no context on",
    ),
    (
        "onlineboutique-0822",
        "chatty:frontend->productcatalogservice",
        "the front asks for each product of a page by itself",
    ),
    (
        "onlineboutique-0822",
        "chatty:frontend->currencyservice",
        "and for the price of each",
    ),
    (
        "trainticket-0129",
        "deep-chain:ts-gateway-service",
        "gateway, preserve, travel, basic and station wait for each other",
    ),
    (
        "trainticket-0129",
        "chatty:ts-travel-service->ts-seat-service",
        "travel asks for the seats of each train and class",
    ),
    (
        "trainticket-0130-a",
        "deep-chain:ts-gateway-service",
        "as on the day before",
    ),
    (
        "trainticket-0130-a",
        "chatty:ts-travel-service->ts-seat-service",
        "as on the day before",
    ),
    (
        "zipkin-real",
        "missing-service-name:spans",
        "`envoy.json` is a span without a name",
    ),
];

/// What was found on one set.
struct Outcome {
    set: &'static str,
    contract: bool,
    findings: Vec<Value>,
}

/// Checks every set, tells, and writes the report.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let tracemap = args.tracemap.clone().map_or_else(page::build, Ok)?;
    let scratch = tempfile::tempdir()?;
    let outcomes = SETS.iter().map(|set| check(set, args, &tracemap, scratch.path()));
    let outcomes = outcomes.collect::<Result<Vec<_>, Failure>>()?;
    let absent = absent(&outcomes);
    let text = table(&outcomes);
    print!("{text}");
    if !absent.is_empty() {
        println!("\nnot found, though it is there: {}", absent.join(", "));
        return Ok(ExitCode::from(1));
    }
    let mut whole = page::head(
        "Findings on recorded traces",
        "`tracemap check` finds what is known to be wrong with recorded systems.",
        "cargo xtask proof check --data DIR --to-otlp SCRIPT",
    )?;
    whole.push_str(METHOD);
    whole.push_str(&known_table());
    whole.push_str("\n## All findings\n\n");
    whole.push_str(&text);
    page::write(REPORT, &whole)?;
    Ok(ExitCode::SUCCESS)
}

const METHOD: &str = "DIR holds the sets and SCRIPT turns span tables into OTLP JSON; neither is part of this repository. Each set was read by\n\
    `tracemap map` and then by `tracemap check` with the default thresholds. The tables have neither span kinds nor status, so that nothing\n\
    that needs failures can be found on them. Of onlineboutique-0822 the dependencies that Istio saw (`metric/dependency.csv`, services only)\n\
    were given as `--against`: the traces alone do not show the lost context, since the callee's half of it was never recorded.\n\n\
    What this does not show: that every other finding would be called right by who runs these systems, and that nothing is wrong with them\n\
    besides. Each kind is planted, found, and not found where it is not, by `instrumentation/src/check/tests.rs` on maps and by\n\
    `src/demo/flaws/tests.rs` on spans.\n\n";

fn check(set: &'static Set, args: &Args, tracemap: &Path, scratch: &Path) -> Result<Outcome, Failure> {
    let dir = args.data.join(set.name);
    let map = scratch.join(set.name).with_extension("yaml");
    let files = traces(set, &dir, &args.to_otlp, scratch)?;
    output(Command::new(tracemap).arg("map").args(&files).arg("-o").arg(&map))?;
    let mut command = Command::new(tracemap);
    command.args(["check", "--format", "json", "--map"]).arg(&map);
    let mesh = dir.join("metric/dependency.csv");
    let contract = mesh.exists() && set.name.starts_with("onlineboutique");
    if contract {
        let declared = scratch.join("contract.yaml");
        std::fs::write(&declared, declaration(&read(&mesh)?))?;
        command.arg("--against").arg(declared);
    }
    // Exit code 1 says that there are findings.
    let done = command.output()?;
    if !matches!(done.status.code(), Some(0 | 1)) {
        return Err(format!("{}: {}", set.name, String::from_utf8_lossy(&done.stderr)).into());
    }
    let report: Value = serde_json::from_slice(&done.stdout)?;
    let findings = report["findings"].as_array().cloned().unwrap_or_default();
    Ok(Outcome {
        set: set.name,
        contract,
        findings,
    })
}

/// A map of the dependencies between services that a mesh saw. Rows that lead to addresses are of its nodes.
fn declaration(csv: &str) -> String {
    let mut map = String::from("version: 1\nedges:\n- {client: user, server: frontend}\n");
    for row in csv.lines().skip(1) {
        let mut columns = row.split(',');
        if let (Some(caller), Some(callee)) = (columns.next(), columns.next())
            && callee.ends_with("service")
        {
            let _ = writeln!(map, "- {{client: {caller}, server: {callee}}}");
        }
    }
    map
}

fn absent(outcomes: &[Outcome]) -> Vec<String> {
    let is_found = |set: &str, id: &str| {
        let of = outcomes.iter().filter(|outcome| outcome.set == set);
        of.flat_map(|outcome| &outcome.findings)
            .any(|finding| finding["id"] == id)
    };
    let absent = KNOWN.iter().filter(|(set, id, _)| !is_found(set, id));
    absent.map(|(set, id, _)| format!("{set} {id}")).collect()
}

fn known_table() -> String {
    let mut text =
        String::from("Known to be there, and found:\n\n| set | finding | why it is there |\n|---|---|---|\n");
    for (set, id, reason) in KNOWN {
        let _ = writeln!(text, "| {set} | `{id}` | {reason} |");
    }
    text
}

/// Each finding with its numbers.
fn table(outcomes: &[Outcome]) -> String {
    let mut text = String::from("| set | severity | finding | numbers |\n|---|---|---|---|\n");
    for Outcome {
        set,
        contract,
        findings,
    } in outcomes
    {
        let set = if *contract {
            format!("{set}, with a contract")
        } else {
            (*set).to_owned()
        };
        if findings.is_empty() {
            let _ = writeln!(text, "| {set} | | none | |");
        }
        for finding in findings {
            let field = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
            let facts = finding["evidence"].as_array().into_iter().flatten();
            let facts = facts.filter(|fact| fact["value"].is_number());
            let facts: Vec<String> = facts
                .map(|fact| format!("{} {}", fact["name"].as_str().unwrap_or_default(), fact["value"]))
                .collect();
            let _ = writeln!(
                text,
                "| {set} | {} | `{}` | {} |",
                field("severity"),
                field("id"),
                facts.join(", ")
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mesh_declares_services_and_not_the_nodes_that_they_run_on() {
        let csv = "Source,Target,Weight\ncheckoutservice,currencyservice,1\ncartservice,33.33.33.80,1\n";
        assert_eq!(
            declaration(csv),
            "version: 1\nedges:\n- {client: user, server: frontend}\n- {client: checkoutservice, server: currencyservice}\n"
        );
    }

    #[test]
    fn a_known_finding_that_is_absent_is_told() {
        assert_eq!(absent(&[]).len(), KNOWN.len());
        let outcome = Outcome {
            set: KNOWN[0].0,
            contract: true,
            findings: vec![serde_json::json!({"id": KNOWN[0].1})],
        };
        assert_eq!(absent(&[outcome]).len(), KNOWN.len() - 1);
    }
}
