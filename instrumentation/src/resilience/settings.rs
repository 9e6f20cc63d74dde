//! Settings of the numbers for resilience, as the operator writes them.
//!
//! In: the `resilience` part of `generate`. Out: [`ResilienceSettings`], and what is wrong with them.
//! Left out on purpose: what people state about one service; that stands in `services`.

use std::collections::BTreeSet;

use config::{Finding, HumanDuration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which numbers are recommended, and for whom they are written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResilienceSettings {
    /// Writes `resilience.yaml`. Default true. Nothing applies it by itself.
    pub enabled: bool,
    /// Meshes for which the same numbers are written below `resilience/`. Default `[]`. They are fragments to
    /// be looked at and applied by people.
    pub mesh: BTreeSet<Mesh>,
    /// Requests below which an edge gets no number. Default 200.
    pub min_requests: u64,
    /// The share of calls that a timeout lets through, before `margin`. Default 0.999. Among fewer than a
    /// thousand calls it is the slowest.
    pub quantile: f64,
    /// By how much that time is multiplied. Default 1.5. More cuts off fewer calls on a bad day, and holds
    /// callers longer on one that is worse.
    pub margin: f64,
    /// No timeout is shorter, unless an objective forces it. Default `50ms`: below that a pause of a garbage
    /// collector or a packet that was lost ends calls that would have been answered.
    pub min_timeout: HumanDuration,
    /// The most repeats of one request. Default 2, at most 5; 0 recommends none.
    pub max_retries: u32,
    /// By how much the busiest time is busier than the mean over all that the map saw, for pools. Default 3.
    pub peak: f64,
    /// The least size of a pool. Default 10: a limit that is too low fails requests, and one that is too high
    /// costs little.
    pub min_pool: u32,
    /// A circuit breaker opens by chance at most once in this time. Default `30d`. Longer opens later in a
    /// real failure.
    pub false_opening: HumanDuration,
    /// The domain of the cluster, for hosts of the mesh. Default `cluster.local`.
    pub cluster_domain: String,
    /// The label of pods by which Istio tells callers apart. Default `app`. Its value must be the service's
    /// name.
    pub caller_label: String,
}

/// A mesh, or the proxy below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mesh {
    /// `DestinationRule` and `VirtualService` of each callee.
    Istio,
    /// Annotations of each callee's `Service`, and an `HTTPRoute` for callers in other namespaces.
    Linkerd,
    /// Clusters and routes of each caller.
    Envoy,
}

impl Default for ResilienceSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            mesh: BTreeSet::new(),
            min_requests: 200,
            quantile: 0.999,
            margin: 1.5,
            min_timeout: HumanDuration::from_millis(50),
            max_retries: 2,
            peak: 3.0,
            min_pool: 10,
            false_opening: HumanDuration::from_secs(30 * 86_400),
            cluster_domain: "cluster.local".to_owned(),
            caller_label: "app".to_owned(),
        }
    }
}

impl ResilienceSettings {
    /// What the types allow and good sense does not. Keys begin with `path`.
    pub fn check(&self, path: &str) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut want = |holds: bool, key: &str, value: String, hint: &str| {
            if !holds {
                found.push(Finding {
                    path: format!("{path}.{key}"),
                    message: format!("`{key}` is {value}"),
                    hint: Some(hint.to_owned()),
                });
            }
        };
        let (q, margin, peak) = (self.quantile, self.margin, self.peak);
        want(
            (0.5..1.0).contains(&q),
            "quantile",
            q.to_string(),
            "write a share from 0.5 to below 1, such as 0.999",
        );
        want(
            (1.0..=100.0).contains(&margin),
            "margin",
            margin.to_string(),
            "write a factor from 1 to 100, such as 1.5",
        );
        want(
            (1.0..=1000.0).contains(&peak),
            "peak",
            peak.to_string(),
            "write a factor from 1 to 1000, such as 3",
        );
        let requests = self.min_requests;
        want(
            requests >= 10,
            "min_requests",
            requests.to_string(),
            "write at least 10: fewer have no quantiles",
        );
        let (retries, pool) = (self.max_retries, self.min_pool);
        want(
            retries <= 5,
            "max_retries",
            retries.to_string(),
            "write at most 5: each may double the load",
        );
        want(
            pool >= 1,
            "min_pool",
            pool.to_string(),
            "write at least 1: through an empty pool nothing is called",
        );
        let day = HumanDuration::from_secs(86_400);
        want(
            self.false_opening >= day,
            "false_opening",
            self.false_opening.to_string(),
            "write at least `1d`",
        );
        let domain = self.cluster_domain.split('.').all(super::mesh::is_label);
        want(
            domain,
            "cluster_domain",
            format!("`{}`", self.cluster_domain),
            "write a domain, such as `cluster.local`",
        );
        let label = &self.caller_label;
        want(
            is_label_key(label),
            "caller_label",
            format!("`{label}`"),
            "write the key of a label, such as `app` or `app.kubernetes.io/name`",
        );
        found
    }
}

/// Source: Kubernetes documentation, "Labels and Selectors", syntax.
fn is_label_key(key: &str) -> bool {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(p, n)| (Some(p), n));
    let is_alphanumeric = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() <= 63
        && is_alphanumeric(name.chars().next())
        && is_alphanumeric(name.chars().last())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && prefix.is_none_or(|prefix| prefix.len() <= 253 && prefix.split('.').all(super::mesh::is_label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_told_by_its_key() {
        assert_eq!(ResilienceSettings::default().check("r"), []);
        let odd = ResilienceSettings {
            min_requests: 0,
            quantile: f64::NAN,
            margin: 0.5,
            max_retries: 9,
            peak: 0.0,
            min_pool: 0,
            false_opening: HumanDuration::from_secs(60),
            cluster_domain: "cluster local".to_owned(),
            caller_label: "-app".to_owned(),
            ..ResilienceSettings::default()
        };
        let told: Vec<String> = odd.check("r").into_iter().map(|finding| finding.path).collect();
        let keys = [
            "quantile",
            "margin",
            "peak",
            "min_requests",
            "max_retries",
            "min_pool",
            "false_opening",
            "cluster_domain",
            "caller_label",
        ];
        assert_eq!(told, keys.map(|key| format!("r.{key}")));
    }
}
