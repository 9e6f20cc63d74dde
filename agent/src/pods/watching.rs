//! The watch of pods, from one configuration to the next.
//!
//! In: `agent.kubernetes.pods`, and what the environment says of the cluster. Out: a watch that runs, or that there is none.
//! Left out on purpose: waiting for it, and failing for it: the agent does its work with pods unknown.

use std::sync::Arc;

use ::config::Finding;
use kubernetes::{Client, Server, address_of_pod, parse_address};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::error;

use super::api::Api;
use super::watch::Watch;
use super::{Known, PodMetrics};
use crate::config::{AgentConfig, PodsConfig};
use crate::telemetry::{Metrics, TlsSide};
use crate::tls;

/// What is known of pods, and who keeps it up to date.
#[derive(Default)]
pub(crate) struct Watching {
    config: Option<PodsConfig>,
    known: watch::Sender<Arc<Known>>,
    /// Ends with this.
    task: JoinSet<()>,
}

impl Watching {
    /// What is known now, and word of every change, for as long as the agent runs.
    pub(crate) fn known(&self) -> watch::Receiver<Arc<Known>> {
        self.known.subscribe()
    }

    /// Watches as `config` says from now on. What is known holds until the first list.
    pub(crate) fn follow(
        &mut self,
        config: &PodsConfig,
        (pods, metrics): (&PodMetrics, &Arc<Metrics>),
        lookup: impl Fn(&str) -> Option<String>,
        stop: &watch::Receiver<bool>,
    ) {
        if self.config.as_ref() == Some(config) {
            return;
        }
        self.config = Some(config.clone());
        self.task = JoinSet::new();
        if !config.watch {
            self.known.send_replace(Arc::default());
            pods.known(0);
            return;
        }
        let observer = tls::counts(metrics, TlsSide::Kubernetes);
        let target = api(config, &lookup).and_then(|api| parse_address(&api));
        let (Some((scheme, authority)), Some(node)) = (target, node(config, &lookup)) else {
            error!(
                "pods are not watched: `agent.kubernetes.pods.node` or `agent.kubernetes.pods.api` is missing"
            );
            return;
        };
        let server = Server {
            scheme,
            authority,
            token_file: config.token_file.clone(),
            ca_file: config.ca_file.clone(),
            user_agent: concat!("tracemap-agent/", env!("CARGO_PKG_VERSION")),
        };
        let api = Api {
            client: Client::new(server, observer),
            node,
        };
        let which = (config.workload_label.clone(), config.max);
        let watch = Watch::new(api, which, pods.clone(), self.known.clone());
        self.task.spawn(watch.run(stop.clone()));
    }
}

/// The address as written, else the one that every pod is told.
fn api(config: &PodsConfig, lookup: impl Fn(&str) -> Option<String>) -> Option<String> {
    config.api.clone().or_else(|| address_of_pod(lookup))
}

fn node(config: &PodsConfig, lookup: impl Fn(&str) -> Option<String>) -> Option<String> {
    let told = || {
        ["K8S_NODE_NAME", "NODE_NAME"]
            .into_iter()
            .find_map(|name| lookup(name).filter(|name| !name.is_empty()))
    };
    config.node.clone().or_else(told)
}

/// What the keys have wrong. Outside a cluster nothing says what they will be told inside one.
pub(crate) fn problems(config: &AgentConfig, lookup: impl Fn(&str) -> Option<String>) -> Vec<Finding> {
    let pods = &config.kubernetes.pods;
    let mut problems = Vec::new();
    let mut found = |key: &str, message: String, hint: &str| {
        problems.push(Finding {
            path: format!("agent.kubernetes.pods.{key}"),
            message,
            hint: Some(hint.to_owned()),
        });
    };
    if let Some(api) = pods.api.as_deref().filter(|api| parse_address(api).is_none()) {
        found(
            "api",
            format!(
                "`agent.kubernetes.pods.api` is `{api}`, but it must be `https://host:port` without a path"
            ),
            "leave it out in a pod, or write such as `https://10.96.0.1:443`",
        );
    }
    if pods.watch && api(pods, &lookup).is_some() && node(pods, &lookup).is_none_or(|node| node.is_empty()) {
        found(
            "node",
            "`agent.kubernetes.pods.node` is missing, and neither `K8S_NODE_NAME` nor `NODE_NAME` is set"
                .to_owned(),
            "set `NODE_NAME` by the downward API: `valueFrom: { fieldRef: { fieldPath: spec.nodeName } }`",
        );
    }
    if pods.watch && pods.max == 0 {
        found(
            "max",
            "`agent.kubernetes.pods.max` is `0`, so that no pod is ever known".to_owned(),
            "leave it out, or write `watch: false`",
        );
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(list: &[(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> {
        move |name| {
            let found = list.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        }
    }

    const CLUSTER: (&str, &str) = ("KUBERNETES_SERVICE_HOST", "fd00::1");

    #[test]
    fn a_pod_is_told_where_the_api_server_and_on_which_node_it_is() {
        let config = PodsConfig::default();
        let told = variables(&[
            CLUSTER,
            ("KUBERNETES_SERVICE_PORT", "6443"),
            ("K8S_NODE_NAME", ""),
            ("NODE_NAME", "n7"),
        ]);
        assert_eq!(api(&config, &told).as_deref(), Some("https://[fd00::1]:6443"));
        assert_eq!(node(&config, &told).as_deref(), Some("n7"));
        let told = variables(&[("KUBERNETES_SERVICE_HOST", "10.96.0.1")]);
        assert_eq!(api(&config, told).as_deref(), Some("https://10.96.0.1:443"));
        let written = PodsConfig {
            api: Some("https://written:1".to_owned()),
            node: Some("n8".to_owned()),
            ..config
        };
        let told = variables(&[CLUSTER, ("NODE_NAME", "n7")]);
        assert_eq!(api(&written, &told).as_deref(), Some("https://written:1"));
        assert_eq!(node(&written, &told).as_deref(), Some("n8"));
    }

    #[test]
    fn every_problem_is_told_under_its_key_and_a_missing_node_only_in_a_cluster() {
        let mut config = AgentConfig::default();
        let paths = |config: &AgentConfig, list: &[(&'static str, &'static str)]| {
            let found = problems(config, variables(list)).into_iter();
            found
                .map(|found| found.path.replace("agent.kubernetes.pods.", ""))
                .collect::<Vec<_>>()
        };
        assert_eq!(paths(&config, &[CLUSTER]), [""; 0]);
        config.kubernetes.pods.watch = true;
        assert_eq!(paths(&config, &[]), [""; 0]);
        assert_eq!(paths(&config, &[CLUSTER]), ["node"]);
        assert_eq!(paths(&config, &[CLUSTER, ("NODE_NAME", "n7")]), [""; 0]);
        config.kubernetes.pods.max = 0;
        config.kubernetes.pods.api = Some("kubernetes.default".to_owned());
        assert_eq!(paths(&config, &[]), ["api", "node", "max"]);
    }
}
