//! What Kubernetes, Istio, the Gateway API and Envoy say to the fragments.
//!
//! In: the fragments of the shop of `scene`, their own definitions, which `tests/deploy/tools.sh` fetches.
//! Out: what they refuse.
//! Left out on purpose: a running mesh, and rules that are written in CEL: kubeconform reads schemas alone.

#[path = "../../../tests/deploy/schemas.rs"]
mod schemas;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use instrumentation::resilience::files;
use serde_json::Value;
use tempfile::TempDir;

use crate::golden::settings;
use crate::scene::shop;

/// What to do where a tool or a schema is not there.
pub(crate) const GET_TOOLS: &str = "run tests/deploy/tools.sh, which fetches it";

fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/deploy")
}

fn tool(name: &str) -> Command {
    let path = target().join("bin").join(name);
    assert!(path.exists(), "`{}` is missing: {GET_TOOLS}", path.display());
    Command::new(path)
}

/// The fragments below `resilience/` of one mesh, as files of a directory.
fn fragments(mesh: &str) -> (TempDir, BTreeMap<PathBuf, String>) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let prefix = format!("resilience/{mesh}/");
    let ours = files(&shop(), &settings(), None);
    let ours = ours.into_iter().filter(|(path, _)| path.starts_with(&prefix));
    let written = ours.map(|(path, text)| {
        let at = dir.path().join(path.replace('/', "_"));
        std::fs::write(&at, &text).expect("a fragment is written");
        (at, text)
    });
    let written = written.collect();
    (dir, written)
}

fn objects(text: &str) -> Vec<Value> {
    let documents = text.split("\n---\n");
    documents
        .map(|document| serde_yaml::from_str(document).expect("YAML"))
        .collect()
}

/// Asks for each object of these files whether it is as its schema says.
fn kubeconform(files: &BTreeMap<PathBuf, String>) -> Output {
    let objects: Vec<Value> = files.values().flat_map(|text| objects(text)).collect();
    let schemas = tempfile::tempdir().expect("a temporary directory");
    schemas::write(&target().join("openapi"), schemas.path(), &objects);
    let location = format!(
        "{}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json",
        schemas.path().display()
    );
    let mut command = tool("kubeconform");
    command
        .args(["-strict", "-summary", "-schema-location", &location])
        .args(files.keys());
    command.output().expect("kubeconform runs")
}

fn envoy(files: &BTreeMap<PathBuf, String>) -> Output {
    tool("mesh")
        .arg("envoy")
        .args(files.keys())
        .output()
        .expect("the check runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The same files with one word replaced, which must be there.
fn spoilt(files: &BTreeMap<PathBuf, String>, word: &str, by: &str) -> BTreeMap<PathBuf, String> {
    assert!(files.values().any(|text| text.contains(word)), "no `{word}`");
    let spoil = |(path, text): (&PathBuf, &String)| {
        let text = text.replace(word, by);
        std::fs::write(path, &text).expect("a fragment is written");
        (path.clone(), text)
    };
    files.iter().map(spoil).collect()
}

#[test]
fn istio_knows_every_field_and_refuses_one_that_is_misspelt() {
    let (_dir, files) = fragments("istio");
    let answer = kubeconform(&files);
    assert!(answer.status.success(), "{}", said(&answer));
    // Two objects for each service that is called, and one for the entry point, which has no pool.
    assert!(said(&answer).contains("Valid: 11,"), "{}", said(&answer));
    for (word, by) in [
        ("perTryTimeout", "perTryTimeuot"),
        ("consecutive5xxErrors: ", "consecutive5xxErrors: -"),
    ] {
        let (_dir, files) = fragments("istio");
        let answer = kubeconform(&spoilt(&files, word, by));
        assert!(!answer.status.success(), "{word}: {}", said(&answer));
    }
}

#[test]
fn kubernetes_and_the_gateway_api_know_what_linkerd_reads() {
    let (_dir, files) = fragments("linkerd");
    assert!(
        files.values().any(|text| text.contains("kind: HTTPRoute")),
        "{files:?}"
    );
    let answer = kubeconform(&files);
    assert!(answer.status.success(), "{}", said(&answer));
    let answer = kubeconform(&spoilt(&files, "parentRefs", "parentRef"));
    assert!(!answer.status.success(), "{}", said(&answer));
}

#[test]
fn envoy_takes_every_cluster_and_route_and_refuses_what_it_does_not_know() {
    let (_dir, files) = fragments("envoy");
    let answer = envoy(&files);
    assert!(answer.status.success(), "{}", said(&answer));
    let spoil = [
        ("per_try_timeout", "per_try_timeuot"),
        ("max_ejection_percent: 50", "max_ejection_percent: 150"),
    ];
    for (word, by) in spoil {
        let (_dir, files) = fragments("envoy");
        let answer = envoy(&spoilt(&files, word, by));
        assert!(!answer.status.success(), "{word}");
    }
}

/// Linkerd reads durations as whole numbers with a unit, and refuses the whole annotation else.
/// Source: `linkerd2`, `policy-controller/k8s/index`, `parse_duration`.
#[test]
fn linkerds_durations_are_whole_numbers() {
    let (_dir, files) = fragments("linkerd");
    let mut seen = 0;
    for line in files.values().flat_map(|text| text.lines()) {
        let Some((key, value)) = line.trim().split_once(": ") else {
            continue;
        };
        if key.starts_with("timeout.linkerd.io/") || key == "retry.linkerd.io/timeout" {
            let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            assert!(digits.parse::<u64>().is_ok(), "{line}");
            seen += 1;
        }
    }
    assert!(seen > 0);
}
