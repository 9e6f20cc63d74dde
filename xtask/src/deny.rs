//! `cargo xtask deny`: cargo-deny with the checks that this machine can make.
//!
//! In: `deny.toml`. Out: cargo-deny's own words and its verdict as the exit code.
//! Left out on purpose: installing it. It builds for minutes, and the tests hold the versions and bans without it.

use std::process::{Command, ExitCode};

use crate::{Failure, root};

/// What needs nothing but the lock file and the crates that it names.
const CHECKS: [&str; 3] = ["licenses", "bans", "sources"];

/// Arguments of `cargo xtask deny`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also check advisories, whose database comes from the network
    #[arg(long)]
    advisories: bool,
    /// Where cargo-deny is
    #[arg(long, default_value = "cargo-deny")]
    program: String,
}

/// Runs cargo-deny and hands on its verdict.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut command = Command::new(&args.program);
    command
        .current_dir(root())
        .args(["--locked", "--workspace", "check"])
        .args(CHECKS);
    if args.advisories {
        command.arg("advisories");
    }
    let status = command.status().map_err(|error| {
        format!(
            "cannot run `{}` ({error}): install it with `cargo install cargo-deny --locked`",
            args.program
        )
    })?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}
