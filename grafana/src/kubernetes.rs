//! Dashboards as Kubernetes objects: `ConfigMap`s for the sidecar, `GrafanaDashboard` resources for the operator.
//!
//! In: dashboards and settings. Out: a YAML file of one object per dashboard; those that are too large are left out and
//! told. An object is called by its dashboard's uid, so it stays while the entity stays.
//! Left out on purpose: the folder as an object of its own; both make it from its name.
//! Source: kiwigrid/k8s-sidecar and Grafana's Helm chart; grafana-operator, `grafana.integreatly.org/v1beta1`.

use std::fmt::Write as _;

use serde_json::Value;

use crate::dashboard::{Dashboard, ascii};
use crate::settings::{OperatorSettings, SidecarSettings};

/// `ConfigMap`s, below the output directory.
pub const CONFIG_MAPS_FILE: &str = "kubernetes/grafana-configmaps.yaml";
/// The operator's resources, below the output directory.
pub const OPERATOR_FILE: &str = "kubernetes/grafana-operator.yaml";

/// Kubernetes' limit for the data of a `ConfigMap`. Resources of the operator are bounded by etcd at 1.5 MiB, JSON in JSON
/// with each quote escaped; this holds for both.
const LARGEST: usize = 1 << 20;
/// `kubectl apply` writes the whole object into an annotation, and annotations may take this together.
const LARGEST_APPLIED: usize = 256 << 10;

/// A dashboard that fits into no Kubernetes object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{file}` has {bytes} bytes, but a Kubernetes object takes at most {LARGEST}: it is not in `{left_out_of}`; \
     use provisioning files or `tracemap publish grafana` for it"
)]
pub struct TooLarge {
    /// The dashboard's file.
    pub file: String,
    /// Its size on one line.
    pub bytes: usize,
    /// The file that is without it.
    pub left_out_of: &'static str,
}

/// One `ConfigMap` per dashboard.
pub(crate) fn config_maps(
    dashboards: &[Dashboard],
    folder: &str,
    settings: &SidecarSettings,
) -> (String, Vec<TooLarge>) {
    let each = |dashboard: &Dashboard, json: &str| {
        let key = dashboard.file.rsplit('/').next().unwrap_or_default();
        let mut object = metadata("v1", "ConfigMap", &dashboard.uid, settings.namespace.as_deref());
        let _ = writeln!(
            object,
            "    {}: {}",
            settings.label,
            quoted(&settings.label_value)
        );
        let _ = writeln!(
            object,
            "  annotations:\n    {}: {}",
            settings.folder_annotation,
            quoted(folder)
        );
        let _ = writeln!(object, "data:\n  {}: |-\n    {json}", quoted(key));
        object
    };
    let use_it = "The sidecar of Grafana's Helm chart finds these by their label, and Grafana's folder by their annotation.\n\
         # A collector with `collector.publish.kubernetes` applies them, and removes those whose dashboard is gone. By hand:";
    objects(dashboards, CONFIG_MAPS_FILE, use_it, each)
}

/// One `GrafanaDashboard` per dashboard.
pub(crate) fn resources(
    dashboards: &[Dashboard],
    folder: &str,
    settings: &OperatorSettings,
) -> (String, Vec<TooLarge>) {
    let each = |dashboard: &Dashboard, json: &str| {
        let api = "grafana.integreatly.org/v1beta1";
        let mut object = metadata(
            api,
            "GrafanaDashboard",
            &dashboard.uid,
            settings.namespace.as_deref(),
        );
        let _ = writeln!(
            object,
            "spec:\n  uid: {}\n  folder: {}",
            quoted(&dashboard.uid),
            quoted(folder)
        );
        if settings.allow_cross_namespace_import {
            object.push_str("  allowCrossNamespaceImport: true\n");
        }
        object.push_str("  instanceSelector:\n    matchLabels:\n");
        for (label, value) in &settings.instance_selector {
            let _ = writeln!(object, "      {}: {}", quoted(label), quoted(value));
        }
        let _ = writeln!(object, "  json: |-\n    {json}");
        object
    };
    let use_it =
        "The Grafana operator (v5) gives these to each Grafana whose labels their `instanceSelector` names.";
    objects(dashboards, OPERATOR_FILE, use_it, each)
}

/// All of them with `---` between; the comment says how to apply them, and what an ordinary `apply` would not take.
fn objects(
    dashboards: &[Dashboard],
    file: &'static str,
    use_it: &str,
    each: impl Fn(&Dashboard, &str) -> String,
) -> (String, Vec<TooLarge>) {
    let mut text = format!(
        "# Written by tracemap. {use_it}\n\
         #   kubectl apply --server-side --field-manager=tracemap -f {file}\n\
         # `--server-side` because an ordinary `apply` takes no object above {LARGEST_APPLIED} bytes. It removes nothing, not with\n\
         # `--prune` either, which knows only what an ordinary `apply` made.\n"
    );
    let mut left_out = Vec::new();
    for dashboard in dashboards {
        let json = dashboard.minified();
        if json.len() + dashboard.file.len() > LARGEST {
            left_out.push(TooLarge {
                file: dashboard.file.clone(),
                bytes: json.len(),
                left_out_of: file,
            });
            continue;
        }
        text.push_str("---\n");
        text.push_str(&each(dashboard, &json));
    }
    (text, left_out)
}

/// Up to and with the labels that all have; further labels may follow.
fn metadata(api: &str, kind: &str, name: &str, namespace: Option<&str>) -> String {
    // Uids may have capitals and `_` in files that are not ours; names of objects may not.
    let name = name.to_ascii_lowercase().replace('_', "-");
    let name = name.trim_matches('-');
    let mut text = format!(
        "apiVersion: {api}\nkind: {kind}\nmetadata:\n  name: {}\n",
        quoted(name)
    );
    if let Some(namespace) = namespace {
        let _ = writeln!(text, "  namespace: {}", quoted(namespace));
    }
    text.push_str("  labels:\n    app.kubernetes.io/managed-by: tracemap\n");
    text
}

/// A double-quoted scalar: JSON's strings are YAML's.
fn quoted(text: &str) -> String {
    ascii(&Value::from(text).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dashboard(uid: &str, title: &str) -> Dashboard {
        let content = serde_json::json!({"uid": uid, "title": title}).to_string();
        Dashboard::read(&format!("dashboards/{uid}.json"), &content).unwrap()
    }

    fn documents(text: &str) -> Vec<Value> {
        text.split("---\n")
            .skip(1)
            .map(|one| serde_yaml::from_str(one).unwrap())
            .collect()
    }

    #[test]
    fn a_config_map_has_the_label_the_folder_and_the_dashboard_as_it_was() {
        let title = "a 'quoted': #name\u{2028}\u{202e}ü";
        let settings = SidecarSettings {
            namespace: Some("monitoring".to_owned()),
            ..SidecarSettings::default()
        };
        let (text, left_out) = config_maps(
            &[dashboard("tracemap-1", title), dashboard("A_b", "x")],
            "Team: Shop",
            &settings,
        );
        assert!(left_out.is_empty());
        let found = documents(&text);
        assert_eq!(found.len(), 2);
        let first = &found[0];
        assert_eq!(first["kind"], "ConfigMap");
        assert_eq!(first["metadata"]["name"], "tracemap-1");
        assert_eq!(first["metadata"]["namespace"], "monitoring");
        assert_eq!(first["metadata"]["labels"]["grafana_dashboard"], "1");
        assert_eq!(
            first["metadata"]["annotations"]["k8s-sidecar-target-directory"],
            "Team: Shop"
        );
        let json: Value = serde_json::from_str(first["data"]["tracemap-1.json"].as_str().unwrap()).unwrap();
        assert_eq!(json["title"], title);
        assert_eq!(found[1]["metadata"]["name"], "a-b");
    }

    #[test]
    fn a_resource_of_the_operator_has_uid_folder_and_selector() {
        let (text, _) = resources(
            &[dashboard("tracemap-1", "x")],
            "tracemap",
            &OperatorSettings::default(),
        );
        let found = documents(&text);
        assert_eq!(found[0]["apiVersion"], "grafana.integreatly.org/v1beta1");
        assert_eq!(found[0]["kind"], "GrafanaDashboard");
        let spec = &found[0]["spec"];
        assert_eq!(
            (&spec["uid"], &spec["folder"]),
            (&Value::from("tracemap-1"), &Value::from("tracemap"))
        );
        assert_eq!(spec["instanceSelector"]["matchLabels"]["dashboards"], "grafana");
        let json: Value = serde_json::from_str(spec["json"].as_str().unwrap()).unwrap();
        assert_eq!(json["uid"], "tracemap-1");
    }

    #[test]
    fn a_dashboard_beyond_the_limit_is_left_out_and_told() {
        let large = dashboard("large", &"x".repeat(5000));
        let mut huge = dashboard("huge", "x");
        huge.json["description"] = Value::from("ü".repeat(LARGEST / 6 + 1));
        let (text, left_out) = config_maps(&[huge, large], "tracemap", &SidecarSettings::default());
        assert_eq!(left_out.len(), 1);
        let told = left_out[0].to_string();
        assert!(
            told.starts_with("`dashboards/huge.json` has 10") && told.contains(CONFIG_MAPS_FILE),
            "{told}"
        );
        assert_eq!(documents(&text).len(), 1);
    }
}
