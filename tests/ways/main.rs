//! The commands that bring dashboards into Grafana and look whether they still show anything.
//!
//! In: the command, a Grafana as its API is written down, a real Prometheus with a past. Out: exit codes and what is told.
//! Left out on purpose: what becomes of each dashboard in each case; the tests of the crate `grafana` say that.

#[path = "../../grafana/tests/publish/fake.rs"]
#[allow(dead_code, reason = "the tests of `grafana` use more of it")]
mod fake;
mod publish;
mod rot;
#[path = "../system/support.rs"]
#[allow(dead_code, reason = "the tests of `system` use more of it")]
mod support;

use std::process::{Command, Output};

/// Runs the command without variables of ours, but for those given.
async fn tracemap(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracemap"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TRACEMAP_")) {
        command.env_remove(name);
    }
    command.args(args).envs(variables.iter().copied());
    let done = tokio::task::spawn_blocking(move || command.output());
    done.await.expect("the thread ends").expect("tracemap runs")
}

/// Exit code, standard output, standard error.
fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}
