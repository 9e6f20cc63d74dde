//! What README, `docs/start`, `deploy/examples` and `deploy/compose` show is read by the programs it is for.
//!
//! In: the examples as they stand. Out: the program's complaint where it refuses one.
//! Left out on purpose: Grafana's provisioning files, for want of a Grafana, and files of meshes and other collectors, which are
//! only told apart from ours; and starting what an example describes.

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
    blocks(&root().join("README.md"), language)
}

/// The code blocks of a page in one language.
fn blocks(page: &Path, language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    let fence = format!("```{language}\n");
    let blocks = text
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
    let compose = [
        "../compose/config/collector.yaml",
        "../compose/config/demo.yaml",
        "../compose/config/agent.yaml",
    ];
    for name in [
        "collector.yaml",
        "agent-sidecar.yaml",
        "agent-node.yaml",
        "agent-queues.yaml",
    ]
    .iter()
    .chain(&compose)
    {
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

/// What a block of YAML in `docs/start` is for, by its first line that is not a comment.
#[derive(Debug, PartialEq, Eq)]
enum Block {
    /// Our configuration.
    Configuration,
    /// Our map.
    Map,
    /// Prometheus' configuration.
    Prometheus,
    /// Somebody else's, by a comment in its first line that says whose.
    Foreign,
}

fn kind(block: &str) -> Option<Block> {
    let begins = |keys: &[&str]| {
        let first = block
            .lines()
            .find(|line| !line.starts_with('#'))
            .unwrap_or_default();
        keys.iter()
            .any(|key| first.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')))
    };
    let foreign = ["# Istio", "# Linkerd", "# OpenTelemetry Collector"];
    if foreign.iter().any(|whose| block.starts_with(whose)) {
        return Some(Block::Foreign);
    }
    let ours = begins(&["agent", "collector", "generate", "services"]).then_some(Block::Configuration);
    let map = begins(&["version"]).then_some(Block::Map);
    let prometheus = begins(&["global", "scrape_configs", "rule_files"]).then_some(Block::Prometheus);
    ours.or(map).or(prometheus)
}

/// A map of the services that a configuration states something of.
fn map_of_what_states(configuration: &str) -> String {
    let read: serde_json::Value = serde_yaml::from_str(configuration).expect("a configuration is YAML");
    let stated = read["services"].as_object().into_iter().flatten();
    let edges = stated.map(|(service, _)| format!("- {{client: user, server: '{service}'}}\n"));
    format!(
        "version: 1\nedges:\n- {{client: user, server: web}}\n{}",
        edges.collect::<String>()
    )
}

#[test]
fn every_configuration_in_the_pages_for_a_start_is_read() {
    let pages = std::fs::read_dir(root().join("docs/start")).expect("the pages are there");
    let pages: Vec<PathBuf> = pages.flatten().map(|page| page.path()).collect();
    assert!(pages.len() >= 4, "{pages:?}");
    let mut read = 0;
    for page in pages {
        let name = page.display().to_string();
        for block in blocks(&page, "yaml") {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let file = dir.path().join("file.yaml");
            std::fs::write(&file, &block).expect("the block is written");
            let output = match kind(&block) {
                Some(Block::Foreign) => continue,
                Some(Block::Configuration) => read_by_tracemap(&file, &map_of_what_states(&block)),
                Some(Block::Map) => {
                    let empty = dir.path().join("empty.yaml");
                    std::fs::write(&empty, "{}\n").expect("the directory is ours");
                    read_by_tracemap(&empty, &block)
                }
                Some(Block::Prometheus) => checked_by_promtool(&file),
                None => panic!("{name}: whose is this? Begin it with a comment that says so:\n{block}"),
            };
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{name}:\n{block}\n{said}");
            read += 1;
        }
    }
    assert!(read >= 6, "{read} blocks of ours");
}

/// What promtool says of a configuration, without looking for the files that it names.
fn checked_by_promtool(config: &Path) -> Output {
    let mut command = Command::new("promtool");
    command.args(["check", "config", "--syntax-only"]).arg(config);
    command
        .output()
        .expect("promtool runs: it is in the Debian package `prometheus`")
}

#[test]
fn the_prometheus_configurations_are_such() {
    for config in ["prometheus.yml", "../compose/config/prometheus.yml"] {
        let output = checked_by_promtool(&example(config));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{config}: {said}");
    }
    let checked = Command::new("promtool")
        .args(["check", "config"])
        .arg(example("prometheus.yml"))
        .output();
    let output = checked.expect("promtool runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
