//! Runs helm and kustomize on what lies in `deploy`, and finds the pods in what they say.
//!
//! In: files of values, a directory of Kustomize's. Out: the objects, as text and parsed.
//! Left out on purpose: any judgement of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;

/// The chart, from the root of the repository.
pub(crate) const CHART: &str = "deploy/helm/tracemap";

/// The release of Kubernetes that objects are rendered for; helm built by `go install` knows none.
const KUBERNETES: &str = "1.34.4";

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A tool in the version that the tests know.
pub(crate) fn tool(name: &str) -> Command {
    let path = root().join("target/deploy/bin").join(name);
    assert!(
        path.exists(),
        "`{}` is missing: {}",
        path.display(),
        super::GET_TOOLS
    );
    let mut command = Command::new(path);
    command.current_dir(root());
    command
}

/// Runs helm with nobody's plugins, repositories or cluster.
pub(crate) fn helm(args: &[&str]) -> Output {
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut command = tool("helm");
    for (variable, below) in [
        ("HELM_CACHE_HOME", "cache"),
        ("HELM_CONFIG_HOME", "config"),
        ("HELM_DATA_HOME", "data"),
        ("KUBECONFIG", "none"),
    ] {
        command.env(variable, home.path().join(below));
    }
    command.args(args).output().expect("helm runs")
}

/// The arguments that render the chart as the documentation installs it.
pub(crate) fn release(values: &[String]) -> Vec<&str> {
    let mut args = vec![
        "template",
        "tracemap",
        CHART,
        "--namespace",
        "tracemap",
        "--kube-version",
        KUBERNETES,
    ];
    args.extend(values.iter().flat_map(|file| ["--values", file.as_str()]));
    args
}

/// The test matrix: a name, and files of values. The default values come first.
pub(crate) fn cases() -> Vec<(String, Vec<String>)> {
    let dir = root().join(CHART).join("ci");
    let entries = std::fs::read_dir(&dir).expect("deploy/helm/tracemap/ci");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let name = |file: &PathBuf| file.file_stem().expect("a name").to_string_lossy().into_owned();
    let mut cases = vec![("default".to_owned(), Vec::new())];
    cases.extend(
        files
            .iter()
            .map(|file| (name(file), vec![file.display().to_string()])),
    );
    assert!(cases.len() > 5, "values are missing in {}", dir.display());
    cases
}

/// What every case of the matrix renders to: name, text, objects.
pub(crate) fn renders() -> impl Iterator<Item = (String, String, Vec<Value>)> {
    static RENDERED: OnceLock<Vec<(String, String, Vec<Value>)>> = OnceLock::new();
    let render = |(name, values): (String, Vec<String>)| {
        let output = helm(&release(&values));
        assert!(output.status.success(), "{name}: {}", super::said(&output));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let objects = documents(&text);
        (name, text, objects)
    };
    RENDERED
        .get_or_init(|| cases().into_iter().map(render).collect())
        .iter()
        .cloned()
}

/// A directory of Kustomize's, built.
pub(crate) fn kustomize(dir: &str) -> String {
    let output = tool("kustomize")
        .args(["build", dir])
        .output()
        .expect("kustomize runs");
    assert!(output.status.success(), "{dir}: {}", super::said(&output));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The objects of a text.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    let read: Vec<Value> = serde_yaml::from_multiple(text).expect("YAML");
    read.into_iter().filter(|value| !value.is_null()).collect()
}

/// What helm writes for itself, which means nothing to others.
pub(crate) fn is_of_helm(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("# Source: ")
        || line.starts_with("helm.sh/chart:")
        || line == "app.kubernetes.io/managed-by: Helm"
}

/// A pod that some object makes.
pub(crate) struct Pod<'a> {
    /// The object's name.
    pub(crate) name: &'a str,
    labels: &'a Value,
    /// The pod's `spec`.
    pub(crate) spec: &'a Value,
}

/// The pods that objects make.
pub(crate) fn pods(objects: &[Value]) -> Vec<Pod<'_>> {
    objects.iter().filter_map(Pod::of).collect()
}

impl<'a> Pod<'a> {
    fn of(object: &'a Value) -> Option<Self> {
        let spec = &object["spec"];
        let templates = [spec.get("template"), spec.pointer("/jobTemplate/spec/template")];
        let template = templates.into_iter().flatten().next()?;
        Some(Self {
            name: text(&object["metadata"]["name"]),
            labels: &template["metadata"]["labels"],
            spec: &template["spec"],
        })
    }

    /// `containers` or `initContainers`.
    pub(crate) fn containers(&self, which: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
        self.spec[which].as_array().into_iter().flatten()
    }

    /// Whether the labels are among the pod's.
    pub(crate) fn has(&self, selector: &Value) -> bool {
        super::is_within(selector, self.labels)
    }

    /// Whether it is somebody's service, with a sidecar of ours.
    pub(crate) fn is_example(&self) -> bool {
        self.name.starts_with("example-")
    }
}

/// A text, empty where there is none.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
