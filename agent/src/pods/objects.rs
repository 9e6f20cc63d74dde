//! What the API server says of pods, as far as it is read.
//!
//! In: JSON of a page of pods, or of one event. Out: [`Pod`]s, and what happened to them.
//! Left out on purpose: every field that does not tell whose an address is.
//! Source: Kubernetes API `v1`, `Pod`, `PodList`, `WatchEvent`; OpenTelemetry semantic conventions, "Specify resource
//! attributes using Kubernetes".

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Pod, names};

/// A page of pods.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    #[serde(default)]
    pub(super) metadata: PageMeta,
    /// `null` where there are none.
    pub(super) items: Option<Vec<Object>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageMeta {
    pub(super) resource_version: Option<String>,
    /// Asks for the next page; empty or absent on the last one.
    #[serde(rename = "continue")]
    pub(super) next: Option<String>,
}

/// A pod as the API server has it.
#[derive(Debug, Deserialize)]
pub(super) struct Object {
    #[serde(default)]
    metadata: Meta,
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    deletion_timestamp: Option<IgnoredAny>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<Owner>>,
}

#[derive(Debug, Deserialize)]
struct Owner {
    kind: Option<String>,
    name: Option<String>,
    controller: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
    host_network: Option<bool>,
    containers: Option<Vec<Container>>,
    init_containers: Option<Vec<Container>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    name: Option<String>,
    restart_policy: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<Address>>,
}

#[derive(Debug, Deserialize)]
struct Address {
    ip: Option<String>,
}

/// What happened.
#[derive(Debug)]
pub(super) enum Event {
    /// A pod is so now.
    Is(Box<Object>),
    /// A pod is no more.
    Gone(Box<Object>),
    /// Nothing, up to this place.
    Bookmark(Box<Object>),
    /// The watch ends, with the code of an HTTP status.
    Error(u16),
    /// Something that is not known here.
    Other,
}

impl Event {
    /// One line of a watch.
    ///
    /// # Errors
    /// It is no event.
    pub(super) fn read(line: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Kind<'a> {
            #[serde(borrow, rename = "type")]
            kind: Cow<'a, str>,
        }
        #[derive(Deserialize)]
        struct Of<T> {
            object: T,
        }
        #[derive(Deserialize)]
        struct Failed {
            code: Option<u16>,
        }
        let object = || serde_json::from_slice::<Of<Box<Object>>>(line).map(|event| event.object);
        Ok(match &*serde_json::from_slice::<Kind<'_>>(line)?.kind {
            "ADDED" | "MODIFIED" => Self::Is(object()?),
            "DELETED" => Self::Gone(object()?),
            "BOOKMARK" => Self::Bookmark(object()?),
            "ERROR" => {
                let failed = serde_json::from_slice::<Of<Failed>>(line)?.object;
                Self::Error(failed.code.unwrap_or(500))
            }
            _ => Self::Other,
        })
    }
}

/// What an object says of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// These addresses are this pod's.
    Pod(Pod),
    /// The pod with this uid has no address of its own, not yet, or never more.
    Nothing(String),
}

impl Object {
    /// The place in the history of all pods that it was read at.
    pub(super) fn version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
    }

    /// Only pods have one.
    pub(super) fn uid(&self) -> Option<&str> {
        self.metadata.uid.as_deref().filter(|uid| !uid.is_empty())
    }

    /// `label` is the one that names its service. Nothing of an object that is no pod.
    pub(super) fn said(self, label: &str) -> Option<Said> {
        let uid = self.uid()?.to_owned();
        let addresses = self.addresses();
        let (Some(name), false) = (self.metadata.name.clone(), addresses.is_empty()) else {
            return Some(Said::Nothing(uid));
        };
        let workload = self.workload(&name, label);
        let mut attributes = vec![
            ("k8s.pod.uid", uid.clone()),
            ("k8s.pod.name", name),
            (
                "k8s.pod.ip",
                addresses.first().map(ToString::to_string).unwrap_or_default(),
            ),
        ];
        let Self { metadata, spec, .. } = self;
        let container = spec.as_ref().and_then(Spec::only_container);
        let node = spec.and_then(|spec| spec.node_name);
        attributes.extend(metadata.namespace.map(|name| ("k8s.namespace.name", name)));
        attributes.extend(node.map(|name| ("k8s.node.name", name)));
        attributes.extend(container.map(|name| ("k8s.container.name", name)));
        attributes.extend(workload.attributes);
        let attributes = attributes.into_iter();
        Some(Said::Pod(Pod {
            uid,
            addresses,
            leaving: metadata.deletion_timestamp.is_some(),
            service: workload.service,
            attributes: attributes.map(|(key, value)| (key.to_owned(), value)).collect(),
        }))
    }

    /// Those that are this pod's alone, the first one first.
    fn addresses(&self) -> Vec<IpAddr> {
        let on_node = |spec: &Spec| spec.host_network == Some(true);
        let Some(status) = self.status.as_ref() else {
            return Vec::new();
        };
        // What has ended gives its addresses back long before it is deleted.
        let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        if ended || self.spec.as_ref().is_none_or(on_node) {
            return Vec::new();
        }
        let all = status.pod_ips.iter().flatten();
        let all = all.filter_map(|address| address.ip.as_deref());
        let mut addresses = Vec::new();
        for text in status.pod_ip.as_deref().into_iter().chain(all) {
            if let Ok(address) = text.parse::<IpAddr>()
                && !addresses.contains(&address.to_canonical())
            {
                addresses.push(address.to_canonical());
            }
        }
        addresses
    }

    fn workload(&self, pod: &str, label: &str) -> names::Workload {
        let text = |texts: &Option<BTreeMap<String, String>>, key: &str| {
            let text = texts.as_ref()?.get(key)?;
            (!text.is_empty()).then(|| text.clone())
        };
        let labels = |key: &str| text(&self.metadata.labels, key);
        let owners = self.metadata.owner_references.iter().flatten();
        let owner = owners
            .filter(|owner| owner.controller == Some(true))
            .find_map(|owner| Some((owner.kind.as_deref()?, owner.name.as_deref()?)));
        let owned = names::of(pod, owner, labels);
        let stated = text(
            &self.metadata.annotations,
            "resource.opentelemetry.io/service.name",
        );
        names::Workload {
            service: stated.or_else(|| labels(label)).unwrap_or(owned.service),
            ..owned
        }
    }
}

impl Spec {
    /// The container that everything of the pod is of, where that is certain.
    fn only_container(&self) -> Option<String> {
        let beside = self.init_containers.iter().flatten();
        let beside = beside.filter(|container| container.restart_policy.as_deref() == Some("Always"));
        let mut all = self.containers.iter().flatten().chain(beside);
        let only = all.next()?.name.clone();
        only.filter(|_| all.next().is_none())
    }
}

#[cfg(test)]
#[path = "objects/tests.rs"]
mod tests;
