//! What README and `deploy/examples` show is read by the programs it is for.
//!
//! In: the examples as they stand. Out: the program's complaint where it refuses one.
//! Left out on purpose: Grafana's provisioning files, for want of a Grafana; and starting what an example describes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::root;

/// Reads a configuration as `tracemap generate` does: all sections, with every problem at once.
fn read_by_tracemap(config: &Path, map: &str) -> Output {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let map_file = dir.path().join("map.yaml");
    std::fs::write(&map_file, map).expect("the map is written");
    let ours = std::env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| name.to_string_lossy().starts_with("TRACEMAP_"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracemap"));
    for name in ours {
        command.env_remove(name);
    }
    let out = dir.path().join("generated");
    command
        .args(["generate", "--map"])
        .arg(map_file)
        .arg("--config")
        .arg(config)
        .arg("--out")
        .arg(out);
    command.output().expect("tracemap runs")
}

/// The code blocks of the README in one language.
fn readme_blocks(language: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README is read");
    let fence = format!("```{language}\n");
    let blocks = readme
        .split(&fence)
        .skip(1)
        .filter_map(|rest| Some(rest.split_once("\n```")?.0.to_owned() + "\n"));
    blocks.collect()
}

/// The map that the README writes by hand.
fn readme_map() -> String {
    let blocks = readme_blocks("sh");
    let map = blocks.iter().find_map(|block| {
        Some(
            block
                .split_once("<<'YAML'\n")?
                .1
                .split_once("YAML\n")?
                .0
                .to_owned(),
        )
    });
    map.expect("the README writes a map by hand")
}

/// The same with the services of the example configurations, which state nothing of a service that is on no map.
fn map_with_what_is_stated() -> String {
    let more = "- {client: web, server: checkout}\n- {client: nightly-report, server: cart}\nservices:\n";
    readme_map().replace("services:\n", more)
}

fn example(name: &str) -> PathBuf {
    root().join("deploy/examples").join(name)
}

#[test]
fn the_configurations_in_deploy_are_read() {
    for name in ["collector.yaml", "agent-sidecar.yaml", "agent-node.yaml"] {
        let output = read_by_tracemap(&example(name), &map_with_what_is_stated());
        assert!(
            output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn the_configuration_and_the_map_in_the_readme_are_read() {
    let blocks = readme_blocks("yaml");
    let config = blocks
        .iter()
        .find(|block| block.contains("\nagent:\n"))
        .expect("the README shows a configuration");
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), config).expect("the configuration is written");
    let output = read_by_tracemap(file.path(), &map_with_what_is_stated());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let wrong = config.replace("outbound:", "outbuond:");
    std::fs::write(file.path(), wrong).expect("the configuration is written");
    let output = read_by_tracemap(file.path(), &map_with_what_is_stated());
    assert_eq!(
        output.status.code(),
        Some(2),
        "a misspelled key is told: {output:?}"
    );
}

#[test]
fn the_prometheus_configuration_is_one() {
    let checked = Command::new("promtool")
        .args(["check", "config"])
        .arg(example("prometheus.yml"))
        .output();
    let output = checked.expect("promtool runs: it is in the Debian package `prometheus`");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
