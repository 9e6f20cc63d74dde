//! The section `collector.publish` of the configuration.
//!
//! In: YAML, by way of the `config` crate. Out: settings with a default for every key, what is wrong with them, and a
//! publisher that is of them.
//! Left out on purpose: what objects say (`generate`), and a token, which is in a file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use ::kubernetes::{
    Client, Kind, Publisher, SERVICE_ACCOUNT, Server, Target, address_of_pod, namespace_of_pod, parse_address,
};
use config::{Finding, HumanDuration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::generator_of;
use crate::settings::GenerateSettings;

/// Where generated objects are kept in step while the collector runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PublishSettings {
    /// In the collector's cluster, by server-side apply as the field manager `tracemap`. Default: nowhere.
    pub kubernetes: Option<KubernetesPublishSettings>,
}

/// Objects of one namespace that follow the map. Only what the collector applied itself is ever changed or removed: it bears
/// `app.kubernetes.io/managed-by: tracemap` and the instance's label, and its fields are the manager `tracemap`'s.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KubernetesPublishSettings {
    /// What is published: `dashboards` (with `generate.grafana.sidecar`), `rules` and `alertmanager_config` (with
    /// `generate.alerts.notify.kubernetes`). At least one. What is taken out of this list stays in the cluster.
    pub objects: BTreeSet<PublishedObjects>,
    /// The namespace. Default: that of the collector's pod.
    pub namespace: Option<String>,
    /// Tells the objects of one collector from those of another in the same namespace, as the label
    /// `app.kubernetes.io/instance`. Default `tracemap`. After a change the objects of the old name stay.
    pub instance: String,
    /// Take back fields that another manager has changed, and take over objects of the same names that are not ours.
    /// Default false: they are left alone, counted and told. Objects of another instance are left alone either way.
    pub force: bool,
    /// How often all is looked at although nothing was generated, for what others have changed or removed; and the longest
    /// pause after an object was refused. Default `5m`.
    pub resync: HumanDuration,
    /// Address of the API server, `https://host:port`, or `http://host:port` of a proxy to it, which gets no token. Default:
    /// as in every pod, `https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT`.
    pub api: Option<String>,
    /// The token shown to it, read again for each request. Default
    /// `/var/run/secrets/kubernetes.io/serviceaccount/token`. Never logged.
    pub token_file: PathBuf,
    /// The authority of its certificate, PEM, followed as it changes. Default
    /// `/var/run/secrets/kubernetes.io/serviceaccount/ca.crt`.
    pub ca_file: PathBuf,
}

/// What can be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PublishedObjects {
    /// A `ConfigMap` for each dashboard, for the sidecar of Grafana's chart.
    Dashboards,
    /// The `PrometheusRule`.
    Rules,
    /// The `AlertmanagerConfig`.
    AlertmanagerConfig,
}

impl PublishedObjects {
    /// What `generate` has generated for Kubernetes.
    pub fn generated(generate: &GenerateSettings) -> impl Iterator<Item = Self> {
        let all = [Self::Dashboards, Self::Rules, Self::AlertmanagerConfig];
        all.into_iter().filter(|object| object.is_generated(generate))
    }

    fn is_generated(self, generate: &GenerateSettings) -> bool {
        match self {
            Self::Dashboards => generate.grafana.sidecar.is_some(),
            Self::Rules | Self::AlertmanagerConfig => generate.alerts.notify.kubernetes.is_some(),
        }
    }

    /// The namespace that objects are generated for, where they are for one.
    fn namespace(self, generate: &GenerateSettings) -> Option<&str> {
        match self {
            Self::Dashboards => generate.grafana.sidecar.as_ref()?.namespace.as_deref(),
            Self::Rules | Self::AlertmanagerConfig => {
                Some(generate.alerts.notify.kubernetes.as_ref()?.namespace.as_str())
            }
        }
    }

    /// The key that has them generated.
    fn generator(self) -> &'static str {
        generator_of(self.kind())
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Dashboards => "dashboards",
            Self::Rules => "rules",
            Self::AlertmanagerConfig => "alertmanager_config",
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Dashboards => Kind::ConfigMap,
            Self::Rules => Kind::PrometheusRule,
            Self::AlertmanagerConfig => Kind::AlertmanagerConfig,
        }
    }
}

impl Default for KubernetesPublishSettings {
    fn default() -> Self {
        let account = PathBuf::from(SERVICE_ACCOUNT);
        Self {
            objects: BTreeSet::new(),
            namespace: None,
            instance: "tracemap".to_owned(),
            force: false,
            resync: HumanDuration::from_secs(300),
            api: None,
            token_file: account.join("token"),
            ca_file: account.join("ca.crt"),
        }
    }
}

/// What the configuration leaves to a pod, and is not there.
#[derive(Debug, thiserror::Error)]
#[error("this is no pod of a cluster: write `{0}`")]
pub struct NotInAPod(&'static str);

impl KubernetesPublishSettings {
    /// What the types allow and Kubernetes does not, and objects that nobody generates.
    pub fn check(&self, generate: &GenerateSettings) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut say = |key: &str, message: String, hint: &str| {
            found.push(Finding {
                path: format!("collector.publish.kubernetes.{key}"),
                message,
                hint: Some(hint.to_owned()),
            });
        };
        if self.objects.is_empty() {
            let hint = "write such as `[dashboards, rules]`, or leave the section out";
            say(
                "objects",
                "`objects` is empty, so nothing is published".to_owned(),
                hint,
            );
        }
        for object in &self.objects {
            if !object.is_generated(generate) {
                let (name, key) = (object.as_str(), object.generator());
                let message = format!("`objects` has `{name}`, but `{key}` is not set");
                say(
                    "objects",
                    message,
                    &format!("write `{key}`; `{{}}` is all it takes"),
                );
            }
        }
        if let Some(namespace) = self.namespace.as_deref() {
            if !is_label(namespace) {
                let message =
                    format!("`namespace` is `{namespace}`, which Kubernetes does not take as a name");
                let hint = "write small letters, digits and `-`, such as `monitoring`";
                say("namespace", message, hint);
            }
            // Rules and routes are generated for the same.
            let others: BTreeMap<&str, &str> = self
                .objects
                .iter()
                .filter_map(|object| Some((object.generator(), object.namespace(generate)?)))
                .collect();
            for (key, other) in others.into_iter().filter(|(_, other)| *other != namespace) {
                let message = format!("`namespace` is `{namespace}`, but `{key}.namespace` is `{other}`");
                say("namespace", message, "write one namespace in both");
            }
        }
        if !is_label_value(&self.instance) {
            let message = format!(
                "`instance` is `{}`, which Kubernetes does not take as a label",
                self.instance
            );
            say(
                "instance",
                message,
                "write letters, digits, `-`, `_` and `.`, such as `tracemap`",
            );
        }
        if self.resync.get().is_zero() {
            let message = "`resync` is `0s`, which would ask the API server without a pause".to_owned();
            say("resync", message, "leave it out, or write such as `5m`");
        }
        if let Some(api) = self.api.as_deref().filter(|api| parse_address(api).is_none()) {
            let message = format!("`api` is `{api}`, but it must be `https://host:port` without a path");
            say(
                "api",
                message,
                "leave it out in a pod, or write such as `https://10.96.0.1:443`",
            );
        }
        found
    }

    /// A publisher of these settings, as the pod has them where they say nothing.
    ///
    /// # Errors
    /// They say nothing, and this is no pod.
    pub fn publisher(
        &self,
        user_agent: &'static str,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Publisher, NotInAPod> {
        let api = self.api.clone().or_else(|| address_of_pod(lookup));
        let (scheme, authority) = api
            .and_then(|api| parse_address(&api))
            .ok_or(NotInAPod("collector.publish.kubernetes.api"))?;
        let namespace = self.namespace.clone().or_else(namespace_of_pod);
        let namespace = namespace.ok_or(NotInAPod("collector.publish.kubernetes.namespace"))?;
        let server = Server {
            scheme,
            authority,
            token_file: self.token_file.clone(),
            ca_file: self.ca_file.clone(),
            user_agent,
        };
        let target = Target {
            namespace,
            instance: self.instance.clone(),
            kinds: self.objects.iter().map(|object| object.kind()).collect(),
            force: self.force,
        };
        // Its failures are counted by their reason, those of TLS too.
        Ok(Publisher::new(Client::new(server, Arc::new(())), target))
    }
}

/// Source: Kubernetes documentation, "Object Names and IDs", RFC 1123 label names.
fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len())
        && text.chars().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Source: Kubernetes documentation, "Labels and Selectors", syntax. An empty one tells nothing from nothing.
fn is_label_value(text: &str) -> bool {
    let end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && end(text.chars().next())
        && end(text.chars().last())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(publish: &str, generate: &str) -> Vec<String> {
        let publish: KubernetesPublishSettings = serde_yaml::from_str(publish).unwrap();
        let generate: GenerateSettings = serde_yaml::from_str(generate).unwrap();
        let found = publish.check(&generate).into_iter();
        found
            .map(|finding| finding.path.replace("collector.publish.kubernetes.", ""))
            .collect()
    }

    #[test]
    fn what_is_published_must_be_generated_and_for_the_same_namespace() {
        let both = "{grafana: {sidecar: {}}, alerts: {notify: {kubernetes: {namespace: shop}}}}";
        let all = "objects: [dashboards, rules, alertmanager_config]";
        assert!(found(&format!("{{{all}}}"), both).is_empty());
        assert!(found(&format!("{{{all}, namespace: shop}}"), both).is_empty());
        assert_eq!(found("{}", both), ["objects"]);
        assert_eq!(found(&format!("{{{all}}}"), "{}"), ["objects"; 3]);
        assert_eq!(
            found(&format!("{{{all}, namespace: other}}"), both),
            ["namespace"]
        );
        assert!(found("{objects: [dashboards], namespace: other}", both).is_empty());
        assert_eq!(
            found(
                "{objects: [dashboards], namespace: A, instance: '', resync: 0s, api: kubernetes}",
                both
            ),
            ["namespace", "instance", "resync", "api"]
        );
    }

    #[test]
    fn outside_of_a_pod_the_key_to_write_is_told() {
        let settings = KubernetesPublishSettings::default();
        let error = settings.publisher("test", |_| None).err().unwrap().to_string();
        assert!(error.contains("collector.publish.kubernetes.api"), "{error}");
        let told = |name: &str| (name == "KUBERNETES_SERVICE_HOST").then(|| "10.96.0.1".to_owned());
        let settings = KubernetesPublishSettings {
            namespace: Some("shop".to_owned()),
            ..settings
        };
        let publisher = settings.publisher("test", told).unwrap();
        assert_eq!(publisher.target().namespace, "shop");
    }
}
