//! `cargo xtask proof looks`: the dashboards as Grafana's own components draw them.
//!
//! In: Chromium, Node.js and npm, which fetches 450 MB below `target` the first time; Prometheus. Out: pictures below `target`, and
//! `docs/proofs/looks.md` where nothing on them is wrong.
//! Left out on purpose: what is looked at; the test `tests/dashboards/looks.rs` says it.

use std::process::{Command, ExitCode};
use std::time::Instant;

use crate::{Failure, page, root};

/// Where the report goes, below the root of the workspace.
const REPORT: &str = "docs/proofs/looks.md";

/// What a person would run.
const TEST: &str = "test --release --locked --test dashboards -- --ignored --nocapture";

/// Arguments of `cargo xtask proof looks`: none.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Draws, and writes the report.
pub(crate) fn run(_: &Args) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    let status = Command::new("cargo")
        .current_dir(root())
        .args(TEST.split(' '))
        .status()
        .map_err(|error| format!("cannot run `cargo`: {error}"))?;
    if !status.success() {
        return Ok(ExitCode::from(1));
    }
    let head = page::head(
        "Dashboards that can be read",
        "the overview and the dashboards of a service, a queue, the edges and tracemap itself are drawn by Grafana's own components \
         without anything covered, cut off, empty or without a legend, while a fault is on",
        "cargo xtask proof looks",
    )?;
    let took = started.elapsed().as_secs();
    let text = format!("{head}All of it took {took} s, building included.\n\n{LIMITS}");
    page::write(REPORT, &text)?;
    Ok(ExitCode::SUCCESS)
}

const LIMITS: &str = "\
What is drawn: panels of `@grafana/scenes` and `@grafana/ui` in Chromium, 1366 pixels wide, with what a real Prometheus answered while the
demo shop had a slow and a failing service. Two of the pictures stand in the README and beside it (`docs/pictures`).

## What this does not show

- Grafana's server, and the node graph: neither is published as a package. `draw.tsx` binds the drawing components of the other panels by hand.
- Panels that ask Tempo, which are left out of the drawings; that they have data is a test of its own.
";
