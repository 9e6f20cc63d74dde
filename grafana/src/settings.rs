//! The section `generate.grafana` of the configuration.
//!
//! In: YAML, by way of the `config` crate. Out: settings with a default for every key, and what is wrong with them.
//! Left out on purpose: what dashboards look like (`generate.dashboards`), and tokens, which belong into no such file.

use std::collections::BTreeMap;

use config::{Finding, HumanDuration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How dashboards get into Grafana.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GrafanaSettings {
    /// The folder of all dashboards. Default `tracemap`. One folder, at the top: whatever else is in it stays.
    pub folder: String,
    /// Address of the Prometheus that scrapes the collector, as Grafana reaches it. Default `http://127.0.0.1:9090`.
    pub prometheus_url: String,
    /// Address of the Loki that holds the log lines, as Grafana reaches it. Default: none, and no link leads to logs. With it a data
    /// source of Loki whose lines link to their traces, and from spans to their lines, are provisioned.
    pub loki_url: Option<String>,
    /// How often that Prometheus scrapes. Default `15s`; panels ask for no shorter step.
    pub scrape_interval: HumanDuration,
    /// Address of the collector's web port, as Grafana reaches it, for the data sources of traces. Default:
    /// `generate.dashboards.web_url`, which is how browsers reach it.
    pub collector_url: Option<String>,
    /// Where Grafana sees the directory `dashboards` of `generate.out`. Default
    /// `${GF_PATHS_PROVISIONING}/../../dashboards`: right where the whole of `generate.out` is mounted and the
    /// environment variable `GF_PATHS_PROVISIONING` names its `grafana/provisioning`. Grafana replaces `$NAME` by its
    /// environment.
    pub dashboards_path: String,
    /// How long the dashboard of something that left the map stays, with a notice, before it is removed. Default `7d`;
    /// `0s` removes it at once. `tracemap generate` removes at once whatever this says: who takes a service out of a
    /// map by hand means it.
    pub keep_gone: HumanDuration,
    /// `ConfigMap`s for the sidecar of Grafana's Helm chart, in `kubernetes/grafana-configmaps.yaml`. Default: none;
    /// `{}` is all it takes.
    pub sidecar: Option<SidecarSettings>,
    /// `GrafanaDashboard` resources for the operator, in `kubernetes/grafana-operator.yaml`. Default: none; `{}` is all
    /// it takes where Grafana has the label `dashboards: grafana`.
    pub operator: Option<OperatorSettings>,
}

impl Default for GrafanaSettings {
    fn default() -> Self {
        Self {
            folder: "tracemap".to_owned(),
            prometheus_url: "http://127.0.0.1:9090".to_owned(),
            loki_url: None,
            scrape_interval: HumanDuration::from_secs(15),
            collector_url: None,
            dashboards_path: "${GF_PATHS_PROVISIONING}/../../dashboards".to_owned(),
            keep_gone: HumanDuration::from_secs(7 * 24 * 3600),
            sidecar: None,
            operator: None,
        }
    }
}

/// How the sidecar finds `ConfigMap`s.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SidecarSettings {
    /// Namespace of the `ConfigMap`s. Default: none is written, `kubectl` decides.
    pub namespace: Option<String>,
    /// The label that it looks for. Default `grafana_dashboard`, as `sidecar.dashboards.label` of the chart.
    pub label: String,
    /// The label's value. Default `1`, as `sidecar.dashboards.labelValue` is read there.
    pub label_value: String,
    /// The annotation that names the folder. Default `k8s-sidecar-target-directory`, the sidecar's own; the chart's
    /// `sidecar.dashboards.folderAnnotation` changes it. Grafana shows the folder where
    /// `sidecar.dashboards.provider.foldersFromFilesStructure` is true.
    pub folder_annotation: String,
}

impl Default for SidecarSettings {
    fn default() -> Self {
        Self {
            namespace: None,
            label: "grafana_dashboard".to_owned(),
            label_value: "1".to_owned(),
            folder_annotation: "k8s-sidecar-target-directory".to_owned(),
        }
    }
}

/// How the operator finds resources, and Grafana by them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OperatorSettings {
    /// Namespace of the resources. Default: none is written, `kubectl` decides.
    pub namespace: Option<String>,
    /// Labels of the Grafana resources that get the dashboards (`spec.instanceSelector.matchLabels`). Default
    /// `{dashboards: grafana}`. It cannot be changed on resources that exist: remove them first.
    pub instance_selector: BTreeMap<String, String>,
    /// Whether a Grafana of another namespace may get them. Default false.
    pub allow_cross_namespace_import: bool,
}

impl Default for OperatorSettings {
    fn default() -> Self {
        Self {
            namespace: None,
            instance_selector: BTreeMap::from([("dashboards".to_owned(), "grafana".to_owned())]),
            allow_cross_namespace_import: false,
        }
    }
}

/// Grafana refuses longer titles of folders (`pkg/services/folder`), and names in paths that climb.
const LONGEST_FOLDER: usize = 189;

impl GrafanaSettings {
    /// What the types allow and Grafana or Kubernetes does not; `at` is the section's path.
    pub fn check(&self, at: &str) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut tell = |key: &str, message: String, hint: &str| {
            found.push(Finding {
                path: format!("{at}.{key}"),
                message,
                hint: Some(hint.to_owned()),
            });
        };
        if let Err(problem) = check_folder(&self.folder) {
            tell(
                "folder",
                format!("`folder` is {:?}, but {problem}", self.folder),
                "write a name such as `tracemap`",
            );
        }
        let urls = [
            ("prometheus_url", Some(&self.prometheus_url)),
            ("collector_url", self.collector_url.as_ref()),
            ("loki_url", self.loki_url.as_ref()),
        ];
        for (key, url) in urls {
            if let Some(url) = url.filter(|url| !is_address(url)) {
                tell(
                    key,
                    format!("`{key}` is `{url}`, which is no address"),
                    "write `http://host:port`",
                );
            }
        }
        if let Some(sidecar) = &self.sidecar {
            for (key, value) in [
                ("label", &sidecar.label),
                ("folder_annotation", &sidecar.folder_annotation),
            ] {
                if !is_qualified_name(value) {
                    let message = format!("`{key}` is `{value}`, which Kubernetes does not take as a name");
                    tell(
                        &format!("sidecar.{key}"),
                        message,
                        "write letters, digits, `-`, `_` and `.`, such as `grafana_dashboard`",
                    );
                }
            }
        }
        if self
            .operator
            .as_ref()
            .is_some_and(|operator| operator.instance_selector.is_empty())
        {
            let message =
                "`instance_selector` is empty, and would give the dashboards to every Grafana".to_owned();
            tell(
                "operator.instance_selector",
                message,
                "write the labels of one, such as `{dashboards: grafana}`",
            );
        }
        found
    }
}

/// What is wrong with the name of a folder, if anything.
///
/// # Errors
/// The problem, in words that follow "but".
pub(crate) fn check_folder(name: &str) -> Result<(), &'static str> {
    if name.trim().is_empty() {
        return Err("a folder needs a name");
    }
    if name.len() > LONGEST_FOLDER {
        return Err("Grafana takes at most 189 bytes");
    }
    if name.chars().any(char::is_control) || name.contains(['/', '\\']) || name.starts_with('.') {
        return Err("it is a directory's name too: no `/`, no `\\`, no dot first, no control character");
    }
    if name.eq_ignore_ascii_case("general") {
        return Err("that is what Grafana calls the place outside of folders");
    }
    Ok(())
}

/// Grafana replaces `$NAME` in provisioning files, so such an address is its to judge.
fn is_address(url: &str) -> bool {
    let http = url.starts_with("http://") || url.starts_with("https://") || url.starts_with('$');
    http && !url.chars().any(|c| c.is_control() || c == ' ')
}

/// Source: Kubernetes documentation, "Labels and Selectors", syntax; the prefix is a DNS name.
fn is_qualified_name(text: &str) -> bool {
    let name = text.rsplit_once('/').map_or(text, |(_, name)| name);
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() <= 63
        && ends(name.chars().next())
        && ends(name.chars().last())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && text.matches('/').count() <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(settings: &GrafanaSettings) -> Vec<String> {
        settings
            .check("generate.grafana")
            .into_iter()
            .map(|finding| finding.path)
            .collect()
    }

    #[test]
    fn the_defaults_have_no_problem_and_every_wrong_value_is_told_with_its_key() {
        assert!(problems(&GrafanaSettings::default()).is_empty());
        let wrong = GrafanaSettings {
            folder: "a/b".to_owned(),
            prometheus_url: "prometheus:9090".to_owned(),
            collector_url: Some("http://a b".to_owned()),
            sidecar: Some(SidecarSettings {
                label: "-x".to_owned(),
                ..SidecarSettings::default()
            }),
            operator: Some(OperatorSettings {
                instance_selector: BTreeMap::new(),
                ..OperatorSettings::default()
            }),
            ..GrafanaSettings::default()
        };
        assert_eq!(
            problems(&wrong),
            [
                "generate.grafana.folder",
                "generate.grafana.prometheus_url",
                "generate.grafana.collector_url",
                "generate.grafana.sidecar.label",
                "generate.grafana.operator.instance_selector",
            ]
        );
    }

    #[test]
    fn a_folder_must_be_a_name_for_grafana_and_for_a_directory() {
        for folder in ["", " ", "..", "a/b", "General", "a\nb", &"x".repeat(190)] {
            assert!(check_folder(folder).is_err(), "{folder:?}");
        }
        for folder in ["tracemap", "Team Shop (prod)", "Überblick"] {
            assert_eq!(check_folder(folder), Ok(()), "{folder:?}");
        }
    }

    #[test]
    fn an_empty_section_turns_a_way_on() {
        let settings: GrafanaSettings = serde_yaml::from_str("sidecar: {}\n").unwrap();
        assert_eq!(settings.sidecar, Some(SidecarSettings::default()));
        assert_eq!(settings.operator, None);
    }
}
