//! What a pod is a part of, by the names that Kubernetes' controllers give.
//!
//! In: a pod's name, the controller that owns it, its labels. Out: the name of its service, and attributes.
//! Left out on purpose: asking the API server for the owner's owner, which would need leave to read all of those.

/// What a pod is a part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Workload {
    pub(super) service: String,
    pub(super) attributes: Vec<(&'static str, String)>,
}

/// `owner` is kind and name of the controller; `label` gives the pod's labels.
pub(super) fn of(pod: &str, owner: Option<(&str, &str)>, label: impl Fn(&str) -> Option<String>) -> Workload {
    let Some((kind, name)) = owner else {
        return workload(pod, []);
    };
    let made_by = |template: &str| without_hash(name, &label(template)?).map(str::to_owned);
    match kind {
        "ReplicaSet" => {
            let set = ("k8s.replicaset.name", name.to_owned());
            if let Some(deployment) = made_by("pod-template-hash") {
                return workload(&deployment, [set, ("k8s.deployment.name", deployment.clone())]);
            }
            // Argo's rollouts, which are no deployments.
            let rollout = made_by("rollouts-pod-template-hash");
            workload(rollout.as_deref().unwrap_or(name), [set])
        }
        "StatefulSet" => workload(name, [("k8s.statefulset.name", name.to_owned())]),
        "DaemonSet" => workload(name, [("k8s.daemonset.name", name.to_owned())]),
        "Job" => {
            let job = ("k8s.job.name", name.to_owned());
            match without_time(name) {
                Some(cron) => workload(cron, [job, ("k8s.cronjob.name", cron.to_owned())]),
                None => workload(name, [job]),
            }
        }
        // A static pod is named after its node: no name for a service.
        "Node" => workload(pod.strip_suffix(&format!("-{name}")).unwrap_or(pod), []),
        _ => workload(name, []),
    }
}

fn workload(service: &str, attributes: impl IntoIterator<Item = (&'static str, String)>) -> Workload {
    Workload {
        service: service.to_owned(),
        attributes: attributes.into_iter().collect(),
    }
}

/// `cart` of `cart-7d9f8b6c5`, whose template has the hash `7d9f8b6c5`.
fn without_hash<'a>(name: &'a str, hash: &str) -> Option<&'a str> {
    let rest = name.strip_suffix(hash)?.strip_suffix('-')?;
    (!hash.is_empty() && !rest.is_empty()).then_some(rest)
}

/// `report` of `report-28503600`: a cron job's jobs are named after the minute that they are for, since 1970.
fn without_time(name: &str) -> Option<&str> {
    let (rest, minute) = name.rsplit_once('-')?;
    let minutes = minute.len() == 8 && minute.bytes().all(|byte| byte.is_ascii_digit());
    (minutes && !rest.is_empty()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_owner_says_what_it_is_a_part_of() {
        for (owner, label, expected) in [
            (
                "ReplicaSet cart-7d9f8b6c5",
                "pod-template-hash=7d9f8b6c5",
                "cart k8s.replicaset.name=cart-7d9f8b6c5 k8s.deployment.name=cart",
            ),
            (
                "ReplicaSet cart-blue",
                "",
                "cart-blue k8s.replicaset.name=cart-blue",
            ),
            (
                "ReplicaSet cart-5c",
                "rollouts-pod-template-hash=5c",
                "cart k8s.replicaset.name=cart-5c",
            ),
            (
                "ReplicaSet -5c",
                "pod-template-hash=5c",
                "-5c k8s.replicaset.name=-5c",
            ),
            ("StatefulSet ledger", "", "ledger k8s.statefulset.name=ledger"),
            ("DaemonSet logs", "", "logs k8s.daemonset.name=logs"),
            (
                "Job report-28503600",
                "",
                "report k8s.job.name=report-28503600 k8s.cronjob.name=report",
            ),
            ("Job migrate-2", "", "migrate-2 k8s.job.name=migrate-2"),
            ("Node n7", "", "static"),
            ("Workflow nightly", "", "nightly"),
            ("", "", "static-n7"),
        ] {
            let labels = |key: &str| {
                let (name, value) = label.split_once('=')?;
                (name == key).then(|| value.to_owned())
            };
            let made = of("static-n7", owner.split_once(' '), labels);
            let text = made
                .attributes
                .iter()
                .fold(made.service, |text, (key, value)| format!("{text} {key}={value}"));
            assert_eq!(text, expected, "{owner}");
        }
    }
}
