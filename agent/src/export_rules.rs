//! What may leave and what is added on the way out, from the configuration and the agent's place on Kubernetes.
//!
//! In: configuration, what was detected, environment variables. Out: [`Rules`], and what is wrong with the section `export`.
//! Left out on purpose: applying them, see `otlp::export::rewrite`; and other pods than the agent's own, which only the
//! API server knows.

use ::config::Finding;
use otlp::export::rewrite::Rules;
use otlp::export::{DiskSettings, ExportHeaders};

use crate::config::{AgentConfig, ExportConfig, Kubernetes, Overflow, WorkloadConfig};
use crate::detect::{Detected, Host};

/// An attribute, whether it says something of the node rather than the pod, and the variables that may hold it.
type Downward = (&'static str, bool, [&'static str; 2]);

/// Attributes as in the semantic conventions for Kubernetes; variables as the OpenTelemetry documentation and many charts
/// name them.
const DOWNWARD: [Downward; 5] = [
    ("k8s.node.name", true, ["K8S_NODE_NAME", "NODE_NAME"]),
    (
        "k8s.namespace.name",
        false,
        ["K8S_NAMESPACE_NAME", "POD_NAMESPACE"],
    ),
    ("k8s.pod.name", false, ["K8S_POD_NAME", "POD_NAME"]),
    ("k8s.pod.ip", false, ["K8S_POD_IP", "POD_IP"]),
    ("k8s.pod.uid", false, ["K8S_POD_UID", "POD_UID"]),
];

/// The rules for everything that leaves. `workloads` are those that are served, with what was detected for each.
pub(crate) fn rules(
    config: &AgentConfig,
    workloads: &[(WorkloadConfig, Detected)],
    lookup: impl Fn(&str) -> Option<String>,
    host: &Host,
) -> Rules {
    let export = &config.export;
    let as_usize = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
    let sidecar = config.flat_workload().is_some();
    let mut resource = match config.otlp.kubernetes {
        Kubernetes::Off => Vec::new(),
        Kubernetes::Pod => kubernetes(true, workloads, lookup),
        Kubernetes::Node => kubernetes(false, workloads, lookup),
        Kubernetes::Auto => kubernetes(sidecar, workloads, lookup),
    };
    resource.extend(host.attributes(&config.otlp.detect));
    Rules {
        redact: export.redact.clone(),
        max_value_bytes: export.max_attribute_length.map(as_usize),
        max_attributes: export.max_attributes.map(as_usize),
        resource,
        sender: None,
    }
}

/// What is known of this pod, or of this node alone. Stated attributes win over variables.
fn kubernetes(
    pod: bool,
    workloads: &[(WorkloadConfig, Detected)],
    lookup: impl Fn(&str) -> Option<String>,
) -> Vec<(String, String)> {
    let mut known = std::collections::BTreeMap::new();
    for (key, of_node, variables) in DOWNWARD {
        let value = variables
            .iter()
            .find_map(|name| lookup(name).filter(|value| !value.is_empty()));
        if let Some(value) = value.filter(|_| pod || of_node) {
            known.insert(key.to_owned(), value);
        }
    }
    // What was detected is the process's own, of which there is one workload at most.
    if let Some((workload, detected)) = workloads.first().filter(|_| pod) {
        let stated = detected.attributes.iter().chain(&workload.resource);
        let stated = stated.filter(|(key, _)| key.starts_with("k8s."));
        known.extend(stated.map(|(key, value)| (key.clone(), value.clone())));
    }
    known.into_iter().collect()
}

/// What is sent with every request.
pub(crate) fn headers(export: &ExportConfig) -> ExportHeaders {
    let values = export.headers.iter();
    let files = export.headers_from.iter();
    ExportHeaders {
        values: values
            .map(|(name, value)| (name.clone(), value.0.clone()))
            .collect(),
        files: files.map(|(name, path)| (name.clone(), path.clone())).collect(),
    }
}

/// What the keys of `export` have wrong beside the addresses.
pub(crate) fn problems(export: &ExportConfig) -> Vec<Finding> {
    let buffer = &export.buffer;
    let mut problems = Vec::new();
    let mut found = |path: &str, message: String, hint: &str| {
        problems.push(Finding {
            path: path.to_owned(),
            message,
            hint: Some(hint.to_owned()),
        });
    };
    if buffer.path.is_some() && buffer.max_size.bytes() < DiskSettings::LEAST_BYTES {
        let bytes = buffer.max_size.bytes();
        found(
            "agent.export.buffer.max_size",
            format!("`agent.export.buffer.max_size` is {bytes} bytes, too little for a buffer on disk"),
            "write at least `16KiB`",
        );
    }
    if buffer.path.is_none() && buffer.overflow == Overflow::DropOldest {
        found(
            "agent.export.buffer.overflow",
            "`agent.export.buffer.overflow` is `drop_oldest`, but a buffer in memory cannot do that"
                .to_owned(),
            "name a directory in `agent.export.buffer.path`, or leave the key out",
        );
    }
    for (name, error) in headers(export).problems() {
        let key = if export.headers.contains_key(&name) {
            "headers"
        } else {
            "headers_from"
        };
        let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
        let message = format!("`agent.export.{key}`: {error}{cause}");
        found(
            &format!("agent.export.{key}"),
            message,
            "values are visible ASCII",
        );
    }
    if let Some(twice) = export
        .headers_from
        .keys()
        .find(|name| export.headers.contains_key(*name))
    {
        let message =
            format!("`agent.export.headers_from` has `{twice}`, which `agent.export.headers` has too");
        found("agent.export.headers_from", message, "write it in one of them");
    }
    if export.redact.iter().any(String::is_empty) {
        found(
            "agent.export.redact",
            "`agent.export.redact` has an empty key".to_owned(),
            "write the keys of attributes, such as `user.email`",
        );
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const VARIABLES: [(&str, &str); 4] = [
        ("POD_NAME", "cart-7d9f8b6c5-x2z4w"),
        ("K8S_NAMESPACE_NAME", "shop"),
        ("NODE_NAME", "node-7"),
        ("POD_IP", ""),
    ];

    fn added(kubernetes: Kubernetes, workload: Option<&str>, stated: &[(&str, &str)]) -> String {
        let mut config = AgentConfig {
            service: workload.map(str::to_owned),
            ..AgentConfig::default()
        };
        config.otlp.kubernetes = kubernetes;
        let detected = Detected {
            attributes: stated
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            ..Detected::default()
        };
        let workloads: Vec<_> = config
            .flat_workload()
            .into_iter()
            .map(|flat| (flat, detected.clone()))
            .collect();
        let lookup = |name: &str| {
            VARIABLES
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let rules = rules(&config, &workloads, lookup, &Host::default());
        rules
            .resource
            .iter()
            .fold(String::new(), |text, (key, value)| text + key + "=" + value + " ")
    }

    #[test]
    fn a_sidecar_says_all_of_its_pod_and_a_nodes_agent_the_node_alone() {
        let pod = "k8s.namespace.name=shop k8s.node.name=node-7 k8s.pod.name=cart-7d9f8b6c5-x2z4w ";
        assert_eq!(added(Kubernetes::Auto, Some("cart"), &[]), pod);
        assert_eq!(added(Kubernetes::Auto, None, &[]), "k8s.node.name=node-7 ");
        assert_eq!(added(Kubernetes::Pod, None, &[]), pod);
        assert_eq!(
            added(Kubernetes::Node, Some("cart"), &[]),
            "k8s.node.name=node-7 "
        );
        assert_eq!(added(Kubernetes::Off, Some("cart"), &[]), "");
    }

    #[test]
    fn stated_attributes_win_over_variables_and_only_those_of_kubernetes_are_handed_on() {
        let stated = [
            ("k8s.pod.name", "stated"),
            ("k8s.cluster.name", "eu"),
            ("service.version", "7"),
        ];
        assert_eq!(
            added(Kubernetes::Auto, Some("cart"), &stated),
            "k8s.cluster.name=eu k8s.namespace.name=shop k8s.node.name=node-7 k8s.pod.name=stated "
        );
    }

    #[test]
    fn a_buffer_that_cannot_be_is_refused_under_its_key() {
        let mut export = ExportConfig::default();
        assert_eq!(problems(&export), []);
        export.buffer.overflow = Overflow::DropOldest;
        export.redact = vec![String::new()];
        let paths = |export: &ExportConfig| {
            problems(export)
                .into_iter()
                .map(|found| found.path)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            paths(&export),
            ["agent.export.buffer.overflow", "agent.export.redact"]
        );
        export.redact.clear();
        export.buffer.path = Some("spool".into());
        assert_eq!(paths(&export), Vec::<String>::new());
        export.buffer.max_size = ::config::ByteSize(1_000);
        assert_eq!(paths(&export), ["agent.export.buffer.max_size"]);
    }
}
