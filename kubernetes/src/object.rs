//! Objects that are published, by kind and name.
//!
//! In: objects as JSON. Out: an [`Object`] with a [`Key`], of one of the [`Kind`]s that are ours to write.
//! Left out on purpose: any other kind. What may be written is a closed list, as it is in the role that allows it.

use std::fmt;

use serde_json::Value;

use crate::encoded;

/// What may be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A dashboard for the sidecar of Grafana's chart.
    ConfigMap,
    /// Rules, for the Prometheus operator.
    PrometheusRule,
    /// Routes and receivers, for the Prometheus operator.
    AlertmanagerConfig,
}

impl Kind {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::ConfigMap, Self::PrometheusRule, Self::AlertmanagerConfig];

    /// As in `kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::PrometheusRule => "PrometheusRule",
            Self::AlertmanagerConfig => "AlertmanagerConfig",
        }
    }

    /// As in `apiVersion`.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::ConfigMap => "v1",
            Self::PrometheusRule => "monitoring.coreos.com/v1",
            Self::AlertmanagerConfig => "monitoring.coreos.com/v1alpha1",
        }
    }

    /// Where those of a namespace are.
    pub(crate) fn path(self, namespace: &str) -> String {
        let (api, plural) = match self {
            Self::ConfigMap => ("api", "configmaps"),
            Self::PrometheusRule => ("apis", "prometheusrules"),
            Self::AlertmanagerConfig => ("apis", "alertmanagerconfigs"),
        };
        let (version, namespace) = (self.api_version(), encoded(namespace));
        format!("/{api}/{version}/namespaces/{namespace}/{plural}")
    }
}

/// What an object is called, in its namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Of what kind.
    pub kind: Kind,
    /// By what name.
    pub name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.name)
    }
}

/// An object as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// What it is called.
    pub key: Key,
    /// All of it.
    pub json: Value,
}

/// An object that is none, or of a kind that is not published.
#[derive(Debug, PartialEq, Eq)]
pub struct ObjectError {
    said: String,
}

impl fmt::Display for ObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

impl std::error::Error for ObjectError {}

impl Object {
    /// Takes an object that says its kind, its version and its name.
    ///
    /// # Errors
    /// It does not, or it is of another kind.
    pub fn new(json: Value) -> Result<Self, ObjectError> {
        let text = |at: &str| json.pointer(at).and_then(Value::as_str).unwrap_or_default();
        let (api, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
        let known = Kind::ALL
            .into_iter()
            .find(|known| known.as_str() == kind && known.api_version() == api);
        let wrong = |said: String| Err(ObjectError { said });
        match known {
            None => wrong(format!("`{kind}` of `{api}` is no kind that is published")),
            Some(_) if name.is_empty() => wrong(format!("a `{kind}` has no name")),
            Some(kind) => Ok(Self {
                key: Key {
                    kind,
                    name: name.to_owned(),
                },
                json,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_published_is_an_object_and_its_place_is_in_its_namespace() {
        let rule = json!({
            "apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": {"name": "a"},
        });
        let key = Object::new(rule).unwrap().key;
        assert_eq!(key.to_string(), "PrometheusRule a");
        assert_eq!(
            key.kind.path("x/y"),
            "/apis/monitoring.coreos.com/v1/namespaces/x%2Fy/prometheusrules"
        );
        assert_eq!(Kind::ConfigMap.path("a"), "/api/v1/namespaces/a/configmaps");
        for (wrong, said) in [
            (
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}),
                "`Secret` of `v1`",
            ),
            (
                json!({"apiVersion": "v2", "kind": "ConfigMap", "metadata": {"name": "a"}}),
                "of `v2`",
            ),
            (json!({"apiVersion": "v1", "kind": "ConfigMap"}), "no name"),
            (json!(null), "no kind"),
        ] {
            let error = Object::new(wrong).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
