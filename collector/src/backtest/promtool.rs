//! promtool, which evaluates the rules.
//!
//! In: the rule file and a timeline. Out: what fired at each scrape.
//! Left out on purpose: everything that promtool knows.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use alerts::recorded::{self, Firing};
use config::HumanDuration;

use super::timeline::Timeline;

const RULES: &str = "rules.yaml";
const TEST: &str = "recorded.test.yaml";

/// Why nothing is known of the alerts.
#[derive(Debug, thiserror::Error)]
pub enum PromtoolError {
    /// It is not there.
    #[error("`promtool` is not in PATH: install it, on Debian with the package `prometheus`")]
    Absent,
    /// It could not be run, or its files not be written.
    #[error("cannot run `promtool`")]
    Run(#[source] io::Error),
    /// It said something else than what fires.
    #[error("`promtool test rules` said `{0}`, which is no alert: it must be of version 2.42 or later")]
    Said(String),
}

/// Evaluates the rules at every scrape, in `keep` where the files shall stay, else in a directory that goes again.
pub(super) fn evaluate(
    rules: &str,
    every: HumanDuration,
    timeline: &Timeline,
    keep: Option<&Path>,
) -> Result<BTreeMap<usize, Vec<Firing>>, PromtoolError> {
    let room = match keep {
        Some(_) => None,
        None => Some(Room::new().map_err(PromtoolError::Run)?),
    };
    let dir = keep
        .or(room.as_ref().map(|room| room.0.as_path()))
        .unwrap_or(Path::new("."));
    let test = recorded::test_file(RULES, every, timeline.scrapes(), timeline.series());
    std::fs::create_dir_all(dir).map_err(PromtoolError::Run)?;
    for (name, text) in [(RULES, rules), (TEST, &test)] {
        std::fs::write(dir.join(name), text).map_err(PromtoolError::Run)?;
    }
    let said = run(dir)?;
    recorded::firing(&said).map_err(|unread| PromtoolError::Said(unread.0.trim().to_owned()))
}

/// What promtool says of failures.
fn run(dir: &Path) -> Result<String, PromtoolError> {
    let output = Command::new("promtool")
        .args(["test", "rules", TEST])
        .current_dir(dir)
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => PromtoolError::Absent,
            _ => PromtoolError::Run(error),
        })?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let silent = said.trim().is_empty();
    match output.status.code() {
        Some(0) if silent => Ok(said),
        Some(1) if !silent => Ok(said),
        _ => Err(PromtoolError::Said(format!(
            "{} ({})",
            said.trim(),
            output.status
        ))),
    }
}

/// A directory that goes when it is dropped.
struct Room(std::path::PathBuf);

impl Room {
    fn new() -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tracemap-backtest-{}-{next}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
