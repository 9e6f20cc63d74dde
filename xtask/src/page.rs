//! Pages of `docs/proofs`, as far as they are alike.
//!
//! In: a claim and a command. Out: the page's beginning, the built `tracemap`, the written file.
//! Left out on purpose: figures.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::{Failure, output, root};

/// Title, claim, and how it was measured.
pub(crate) fn head(title: &str, claim: &str, command: &str) -> Result<String, Failure> {
    let (date, commit, machine) = (today()?, commit()?, machine());
    Ok(format!(
        "# {title}\n\nClaim: {claim}\n\nMeasured {date} at {commit}, on {machine}, by\n\n```sh\n{command}\n```\n\n"
    ))
}

/// Writes a page below the root and says so.
pub(crate) fn write(page: &str, text: &str) -> Result<(), Failure> {
    let path = root().join(page);
    std::fs::write(&path, text).map_err(|error| format!("cannot write `{}`: {error}", path.display()))?;
    println!("\nwritten: {page}");
    Ok(())
}

/// Builds the command and says where cargo put it.
pub(crate) fn build() -> Result<PathBuf, Failure> {
    let cargo = || {
        let mut command = Command::new("cargo");
        command.current_dir(root());
        command
    };
    output(cargo().args(["build", "--release", "--locked", "--bin", "tracemap"]))?;
    let metadata = output(cargo().args(["metadata", "--locked", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_slice(&metadata)?;
    let target = metadata["target_directory"]
        .as_str()
        .ok_or("`cargo metadata` names no target directory")?;
    Ok(Path::new(target).join("release/tracemap"))
}

/// The date, as `2026-01-31`.
pub(crate) fn today() -> Result<String, Failure> {
    let date = output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    Ok(String::from_utf8(date)?.trim().to_owned())
}

/// The commit that was measured, with a mark where the tree differed from it.
pub(crate) fn commit() -> Result<String, Failure> {
    let git = |args: &[&str]| output(Command::new("git").current_dir(root()).args(args));
    let id = String::from_utf8(git(&["rev-parse", "--short=12", "HEAD"])?)?
        .trim()
        .to_owned();
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Ok(if changed {
        format!("{id} and changes after it")
    } else {
        id
    })
}

/// What the figures depend on: cores, processor, memory, kernel, and how busy it is now.
fn machine() -> String {
    let text = |path: &str| read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_default()
            .trim_start_matches(['\t', ' ', ':'])
            .trim()
            .to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processor = value(&text("/proc/cpuinfo"), "model name");
    let memory = value(&text("/proc/meminfo"), "MemTotal");
    let gib = memory
        .split(' ')
        .next()
        .and_then(|kib| kib.parse::<u64>().ok())
        .unwrap_or_default()
        >> 20;
    let kernel = text("/proc/sys/kernel/osrelease").trim().to_owned();
    let load = text("/proc/loadavg")
        .split(' ')
        .next()
        .unwrap_or_default()
        .to_owned();
    format!("{cores} cores ({processor}), {gib} GiB, Linux {kernel}, load at the end {load}")
}
