//! Where the figures were measured, as far as another reader needs it to compare.
//!
//! In: `/proc` and git. Out: [`Machine`].
//! Left out on purpose: names of hosts, users and paths.

use std::fmt;
use std::fs::read_to_string;
use std::process::Command;

use serde::Serialize;

/// The machine and the source.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    /// The commit, with `+` where files differ from it; absent without git.
    pub(crate) commit: Option<String>,
    pub(crate) cores: usize,
    pub(crate) cpu: String,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    /// Runnable processes in the minute before: above 0.5 somebody else was at work.
    pub(crate) load_before: f64,
}

impl Machine {
    pub(crate) fn read() -> Self {
        let text = |path: &str| read_to_string(path).unwrap_or_default();
        let value = |text: &str, key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_default()
                .trim_start_matches([' ', '\t', ':'])
                .trim()
                .to_owned()
        };
        let memory = value(&text("/proc/meminfo"), "MemTotal");
        let first = |text: &str| text.split_whitespace().next().unwrap_or_default().to_owned();
        Self {
            commit: commit(),
            cores: std::thread::available_parallelism().map_or(0, Into::into),
            cpu: value(&text("/proc/cpuinfo"), "model name"),
            memory_mib: first(&memory).parse::<u64>().unwrap_or_default() / 1024,
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: first(&text("/proc/loadavg")).parse().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            commit,
            cores,
            cpu,
            memory_mib,
            kernel,
            load_before,
        } = self;
        let commit = commit.as_deref().unwrap_or("no git");
        write!(
            f,
            "commit {commit}; {cores} cores, {cpu}, {memory_mib} MiB, Linux {kernel}; load before {load_before}"
        )
    }
}

fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git")
            .args(args)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let clean = git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(if clean { commit } else { commit + "+" })
}
