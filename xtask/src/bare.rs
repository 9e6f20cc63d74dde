//! `cargo xtask proof bare`: the README's two commands as somebody new runs them.
//!
//! In: root, debootstrap, `tests/bare.sh`. Out: what the script says, and `docs/proofs/bare.md` where both commands did what the README says.
//! Left out on purpose: what a new root is; the script says it.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::ValueEnum;

use crate::{Failure, page, root};

/// Where the report goes, below the root of the workspace.
const REPORT: &str = "docs/proofs/bare.md";

/// Arguments of `cargo xtask proof bare`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The directory of the new root, which stays
    #[arg(long, default_value = "target/bare")]
    root: PathBuf,
    /// Which command; a report is written for both
    #[arg(long, value_enum, default_value_t = Which::Both)]
    which: Which,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    First,
    Second,
    Both,
}

/// Runs the script, and writes the report.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let which = args.which.to_possible_value().ok_or("every way has a name")?;
    let began = std::time::Instant::now();
    let status = Command::new("bash")
        .current_dir(root())
        .arg("tests/bare.sh")
        .arg(&args.root)
        .arg(which.get_name())
        .status()
        .map_err(|error| format!("cannot run `bash`: {error}"))?;
    if !status.success() {
        return Ok(ExitCode::from(1));
    }
    if args.which == Which::Both {
        let head = page::head(
            "A bare machine",
            "the README's two commands do what it says in a Debian 12 with nothing but its base, a C compiler, git and Rust",
            "cargo xtask proof bare",
        )?;
        let minutes = began.elapsed().as_secs() / 60;
        page::write(
            REPORT,
            &format!("{head}Both took {minutes} minutes together, with all they fetched.\n\n{LIMITS}"),
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

const LIMITS: &str = "\
## What this does not show

- rustup: its toolchain was mounted read-only in its place.
- Another kernel: the new root shares the machine's, and its network.
";
