//! The numbers as fragments for meshes.
//!
//! In: the numbers, and which meshes are asked for. Out: files below `resilience/`, one or two for each
//! service. A fragment is to be looked at and merged by people: it holds what the map knows, and no port, no
//! subset, no route.
//! Left out on purpose: databases, queues and peers, which a mesh sees as bytes; services whose ids are no
//! hosts.

mod envoy;
mod istio;
mod linkerd;

use std::collections::{BTreeMap, BTreeSet};

use config::HumanDuration;
use map::services::settings_of;
use map::{Map, NodeId, NodeKind};
use serde_json::Value;

use super::file::{EdgeNumbers, Resilience};
use super::settings::{Mesh, ResilienceSettings};

/// Fragments by path.
pub(super) fn files(
    map: &Map,
    numbers: &Resilience,
    settings: &ResilienceSettings,
) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    if settings.mesh.is_empty() {
        return files;
    }
    let callees = callees(map, numbers, settings);
    for mesh in &settings.mesh {
        files.extend(match mesh {
            Mesh::Istio => istio::files(&callees, settings),
            Mesh::Linkerd => linkerd::files(&callees),
            Mesh::Envoy => envoy::files(&callees),
        });
    }
    files
}

/// Services that stand in no fragment, and why.
pub(super) fn left_out(map: &Map, settings: &ResilienceSettings) -> BTreeMap<NodeId, String> {
    let callees = map.edges.keys().filter(|_| !settings.mesh.is_empty());
    let callees: BTreeSet<&NodeId> = callees.map(|key| &key.server).collect();
    let called = callees.into_iter().filter(|id| map.kind(id) == NodeKind::Service);
    let refused = called.filter_map(|id| Some((id.clone(), place(map, id, settings).err()?)));
    refused.collect()
}

/// A service in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    name: String,
    /// None where the id names none: the file belongs to whatever namespace it is applied to.
    namespace: Option<String>,
    host: String,
    /// Where its file lies, without an ending.
    path: String,
}

/// A service with the numbers of all who call it.
struct Callee<'a> {
    place: Place,
    callers: Vec<Caller<'a>>,
}

/// One edge into a service.
struct Caller<'a> {
    /// None for callers outside, and for those whose ids are no hosts.
    place: Option<Place>,
    numbers: &'a EdgeNumbers,
}

impl Callee<'_> {
    /// The longest timeout, where every caller has one: it cuts nobody short.
    fn longest(&self) -> Option<HumanDuration> {
        let timeouts: Option<Vec<_>> = self.numbers().map(request_timeout).collect();
        timeouts?.into_iter().max()
    }

    fn numbers(&self) -> impl Iterator<Item = &EdgeNumbers> {
        self.callers.iter().map(|caller| caller.numbers)
    }
}

/// How long a proxy waits for one request. A caller that repeats by itself sends each repeat as a request of its own.
fn request_timeout(numbers: &EdgeNumbers) -> Option<HumanDuration> {
    let timeout = numbers.timeout?;
    Some(if numbers.retries.is_some() {
        timeout.total
    } else {
        timeout.attempt
    })
}

fn callees<'a>(map: &Map, numbers: &'a Resilience, settings: &ResilienceSettings) -> Vec<Callee<'a>> {
    let mut callers: BTreeMap<&NodeId, Vec<Caller<'a>>> = BTreeMap::new();
    let is_call = |numbers: &&EdgeNumbers| {
        map.kind(&numbers.edge.server) == NodeKind::Service && super::shape::is_waited_for(map, &numbers.edge)
    };
    for numbers in numbers.edges.iter().filter(is_call) {
        let client = &numbers.edge.client;
        let is_ours = map.kind(client) == NodeKind::Service;
        let place = place(map, client, settings).ok().filter(|_| is_ours);
        callers
            .entry(&numbers.edge.server)
            .or_default()
            .push(Caller { place, numbers });
    }
    let callees = callers.into_iter().filter_map(|(id, callers)| {
        let place = place(map, id, settings).ok()?;
        let says = |numbers: &EdgeNumbers| {
            numbers.timeout.is_some() || numbers.pool.is_some() || numbers.breaker.is_some()
        };
        callers
            .iter()
            .any(|caller| says(caller.numbers))
            .then_some(Callee { place, callers })
    });
    callees.collect()
}

/// Where a service is: what is stated, else `[environment/][namespace/]name`. The environment is a cluster of
/// its own.
fn place(map: &Map, id: &NodeId, settings: &ResilienceSettings) -> Result<Place, String> {
    let stated = settings_of(&map.services, id).and_then(|stated| stated.resilience.as_ref()?.host.clone());
    let parts: Vec<&str> = id.as_str().split('/').collect();
    let is_path = parts.iter().all(|part| is_label(part)) && parts.len() <= 3;
    if let Some(host) = stated {
        if !is_host(&host) {
            return Err(format!("`{host}` is no host"));
        }
        let mut labels = host.split('.').map(str::to_owned);
        let (name, namespace) = (labels.next().unwrap_or_default(), labels.next());
        let path = if is_path {
            id.as_str().to_owned()
        } else {
            host.clone()
        };
        return Ok(Place {
            name,
            namespace,
            host,
            path,
        });
    }
    if !is_path || !is_service_name(id.name()) {
        return Err(format!(
            "`{id}` is no name of a Kubernetes service: state its host in `services.{id}.resilience.host`"
        ));
    }
    let namespace = parts.iter().rev().nth(1).map(|part| (*part).to_owned());
    let host = match &namespace {
        Some(namespace) => format!("{}.{namespace}.svc.{}", id.name(), settings.cluster_domain),
        None => id.name().to_owned(),
    };
    Ok(Place {
        name: id.name().to_owned(),
        namespace,
        host,
        path: id.as_str().to_owned(),
    })
}

/// Source: RFC 1123 as Kubernetes reads it, in lower case.
pub(super) fn is_label(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty()
        && text.len() <= 63
        && text.chars().all(is_inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Source: RFC 1035 as Kubernetes wants names of services.
fn is_service_name(text: &str) -> bool {
    is_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase())
}

/// A name of labels, the first of which is a service's.
pub(super) fn is_host(text: &str) -> bool {
    let mut labels = text.split('.');
    text.len() <= 253 && labels.next().is_some_and(is_service_name) && labels.all(is_label)
}

/// Objects of Kubernetes as one file.
fn documents(objects: &[Value]) -> String {
    let yaml =
        |object: &Value| serde_yaml::to_string(object).expect("plain data of strings and numbers serialises");
    let head = "# Generated by tracemap from the dependency map; the reasons stand in resilience.yaml. \
     Look at it before it is applied.\n";
    let documents: Vec<String> = objects.iter().map(yaml).collect();
    head.to_owned() + &documents.join("---\n")
}

/// `name`, and the namespace where one is known.
fn metadata(name: &str, namespace: Option<&str>) -> Value {
    let mut metadata = serde_json::json!({
        "name": name,
        "labels": { "app.kubernetes.io/managed-by": "tracemap" },
    });
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    metadata
}
