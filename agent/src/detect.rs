//! What the environment and the host say about the workload, where the configuration does not.
//!
//! In: environment variables, and what [`Host`] knows. Out: [`Detected`]: a service name and resource attributes.
//! Left out on purpose: the names of executables. The agent's own says nothing about the service beside it.
//! Sources: OpenTelemetry's environment variables (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`) and the names that
//! Kubernetes' controllers give to pods.

mod host;

use std::collections::BTreeMap;

pub use host::Host;

use crate::config::Detector;

/// What was found in the environment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Detected {
    /// `OTEL_SERVICE_NAME`, else `service.name` of `OTEL_RESOURCE_ATTRIBUTES`, else from the pod's name.
    pub service: Option<String>,
    /// All other attributes of `OTEL_RESOURCE_ATTRIBUTES`, and what was detected beside them.
    pub attributes: BTreeMap<String, String>,
}

/// Letters and digits that Kubernetes uses for the random parts of names: no vowels, nothing that looks alike.
const RANDOM_NAME: &str = "bcdfghjklmnpqrstvwxz2456789";

impl Detected {
    /// From this process's environment.
    pub fn from_process() -> Self {
        Self::from_env(|name| std::env::var(name).ok())
    }

    /// From variables that `lookup` knows.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let mut attributes = parse_attributes(&lookup("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default());
        let stated = lookup("OTEL_SERVICE_NAME").filter(|name| !name.is_empty());
        let attribute = attributes.remove("service.name").filter(|name| !name.is_empty());
        let pod = lookup("KUBERNETES_SERVICE_HOST").and_then(|_| lookup("HOSTNAME"));
        let service = stated
            .or(attribute)
            .or_else(|| pod.as_deref().and_then(workload_of_pod).map(str::to_owned));
        Self { service, attributes }
    }

    /// With what `detectors` find of `host`; what the environment says wins.
    #[must_use]
    pub fn with_host(mut self, detectors: &[Detector], host: &Host) -> Self {
        for (key, value) in host.attributes(detectors) {
            self.attributes.entry(key).or_insert(value);
        }
        self
    }
}

/// `key=value,key=value` with percent-encoded values; pairs that are not so are left out.
fn parse_attributes(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    let decoded = pairs.map(|(key, value)| (key.trim().to_owned(), percent_decode(value.trim())));
    decoded.filter(|(key, _)| !key.is_empty()).collect()
}

fn percent_decode(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let encoded = (first == b'%').then(|| tail.split_at_checked(2)).flatten();
        let byte = encoded.and_then(|(hex, after)| {
            Some((
                u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?,
                after,
            ))
        });
        let (byte, after) = byte.unwrap_or((first, tail));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The `Deployment`, `DaemonSet` or `StatefulSet` that a pod's name was made from.
fn workload_of_pod(pod: &str) -> Option<&str> {
    let (rest, last) = pod.rsplit_once('-')?;
    if !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()) && last.len() < 5 {
        return Some(rest);
    }
    let random = |part: &str| part.chars().all(|c| RANDOM_NAME.contains(c));
    if last.len() != 5 || !random(last) {
        return None;
    }
    match rest.rsplit_once('-') {
        Some((name, hash)) if (6..=10).contains(&hash.len()) && random(hash) => Some(name),
        _ => Some(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(variables: &[(&str, &str)]) -> Detected {
        Detected::from_env(|name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_stated_service_name_wins_over_attributes_and_the_pod() {
        let pod = [
            ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
            ("HOSTNAME", "cart-7d9f8b6c5-x2z4w"),
        ];
        let attributes = (
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.name=from%20attributes,service.version=1.4",
        );
        let stated = ("OTEL_SERVICE_NAME", "stated");
        assert_eq!(
            detect(&[pod[0], pod[1], attributes, stated]).service.as_deref(),
            Some("stated")
        );
        let found = detect(&[pod[0], pod[1], attributes]);
        assert_eq!(found.service.as_deref(), Some("from attributes"));
        assert_eq!(
            found.attributes,
            BTreeMap::from([("service.version".to_owned(), "1.4".to_owned())])
        );
        assert_eq!(detect(&pod).service.as_deref(), Some("cart"));
        assert_eq!(
            detect(&[pod[1]]).service,
            None,
            "a host outside Kubernetes names no service"
        );
    }

    #[test]
    fn a_pods_name_gives_its_workload_only_where_a_controller_made_it() {
        for (pod, workload) in [
            ("cart-7d9f8b6c5-x2z4w", Some("cart")),
            ("cart-worker-7d9f8b6c5-x2z4w", Some("cart-worker")),
            ("node-agent-x2z4w", Some("node-agent")),
            ("ledger-0", Some("ledger")),
            ("ledger", None),
            ("my-laptop", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(workload_of_pod(pod), workload, "{pod}");
        }
    }

    #[test]
    fn odd_attribute_lists_lose_only_what_is_odd() {
        let found = detect(&[("OTEL_RESOURCE_ATTRIBUTES", "a=1,,=2,novalue,b=%zz%2,c=%C3%A9%")]);
        let expected = [("a", "1"), ("b", "%zz%2"), ("c", "é%")];
        assert_eq!(
            found.attributes,
            expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
        );
    }
}
