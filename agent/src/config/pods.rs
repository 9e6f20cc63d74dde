//! What the API server of Kubernetes is asked for.
//!
//! In: the section `agent.kubernetes`. Out: typed keys with their defaults.
//! Left out on purpose: what the downward API says of the agent's own pod, which needs no key but `agent.otlp.kubernetes`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// What the agent learns from the API server of Kubernetes.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KubernetesConfig {
    /// Whose addresses the pods of this node have.
    pub pods: PodsConfig,
}

/// The pods of this node, listed and watched, so that an address says whose it is: for the spans of SDKs in other pods, and
/// on listeners of `agent.node` for pods that are no `workloads`.
///
/// Its service account may `get`, `list` and `watch` pods, see `deploy/kubernetes/agent-rbac.yaml`. Nothing waits for the
/// API server: what it has not told yet is not known, and while it is away what it told last holds. A new pod is known some
/// moments after it has its address. Pods with the node's network have no address of their own, and are not known.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PodsConfig {
    /// Whether they are watched. Default `false`.
    pub watch: bool,
    /// The node whose pods they are. Default: `K8S_NODE_NAME`, else `NODE_NAME`, which the downward API fills
    /// (`spec.nodeName`).
    pub node: Option<String>,
    /// Address of the API server, `https://host:port`, or `http://host:port` of a proxy to it, which gets no token. Default:
    /// as in every pod, `https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT`.
    pub api: Option<String>,
    /// The token shown to it, read again for each request. Default
    /// `/var/run/secrets/kubernetes.io/serviceaccount/token`. Never logged.
    pub token_file: PathBuf,
    /// The authority of its certificate, PEM, followed as it changes. Default
    /// `/var/run/secrets/kubernetes.io/serviceaccount/ca.crt`.
    pub ca_file: PathBuf,
    /// The label that names a pod's service. Default `app.kubernetes.io/name`; a pod without it is named as the
    /// `Deployment`, `StatefulSet`, `DaemonSet`, `CronJob` or `Job` that it is of. The annotation
    /// `resource.opentelemetry.io/service.name` goes before both.
    pub workload_label: String,
    /// Most pods that are known; more are left out, and counted. Default `1024`, at about 2 KiB each. A node has 110 unless
    /// its kubelet is told otherwise.
    pub max: u32,
}

impl Default for PodsConfig {
    fn default() -> Self {
        let account = PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount");
        Self {
            watch: false,
            node: None,
            api: None,
            token_file: account.join("token"),
            ca_file: account.join("ca.crt"),
            workload_label: "app.kubernetes.io/name".to_owned(),
            max: 1_024,
        }
    }
}
