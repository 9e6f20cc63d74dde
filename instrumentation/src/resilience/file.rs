//! `resilience.yaml`: what is recommended for each call, and why.
//!
//! In: the numbers, or the text of the file. Out: the other of the two.
//! Left out on purpose: hand-written input; people state theirs in `services`.

use std::collections::BTreeMap;

use config::HumanDuration;
use map::{EdgeKey, NodeId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of the file that this build writes, and the only one that it reads.
pub const VERSION: u32 = 1;
/// Where the file lies, below the output directory.
pub const RESILIENCE_PATH: &str = "resilience.yaml";

/// The whole content of `resilience.yaml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resilience {
    /// Version of the format.
    pub version: u32,
    /// Services that wait for others, by id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<NodeId, ServiceNumbers>,
    /// Every edge of the map, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<EdgeNumbers>,
    /// Services whose objective or pinned timeout is below what 95 % of their requests need, and by how much.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub out_of_reach: BTreeMap<NodeId, String>,
    /// What people state that cannot hold together. `tracemap generate` refuses it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contradictions: Vec<String>,
    /// Services that stand in no fragment of a mesh, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub not_in_mesh: BTreeMap<NodeId, String>,
}

/// What a service needs to answer, if everything takes as long as it may.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceNumbers {
    /// Its own time and the timeouts of its calls, repeats included.
    pub needs: HumanDuration,
    /// The shortest time that anybody gives it: an attempt of a caller, or its own objective. Absent where
    /// nobody limits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub has: Option<HumanDuration>,
    /// Its longest stated objective, where it is an entry point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<HumanDuration>,
    /// What was seen of it.
    pub observed: ObservedService,
    /// The same in words.
    pub because: String,
}

/// What was seen of a service, to two figures, and still while little changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ObservedService {
    /// Its own time at `quantile`, in milliseconds. Absent where too few requests were seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_ms: Option<f64>,
    /// The same at the 95th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_p95_ms: Option<f64>,
    /// Time spent waiting, divided by the sum of all calls: 1 where calls follow each other, less where they
    /// run beside each other. Absent where it is not known; 1 is then assumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<f64>,
}

/// What is recommended for one edge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EdgeNumbers {
    /// Who calls whom.
    pub edge: EdgeKey,
    /// How long to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Timeout>,
    /// How often to repeat; absent where nothing is repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// When to stop calling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,
    /// How many calls at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<u32>,
    /// What the numbers rest on. Absent where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<ObservedEdge>,
    /// Why each number is what it is, or why there is none.
    pub because: Because,
}

/// How long a caller waits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timeout {
    /// For the answer, repeats and the time between them included.
    pub total: HumanDuration,
    /// For one attempt.
    pub attempt: HumanDuration,
    /// Share of the calls seen that took longer than an attempt. Absent where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cuts_off: Option<f64>,
}

/// How a failed call is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retries {
    /// Repeats after the first attempt.
    pub attempts: u32,
    /// Repeats at one time, in per cent of the requests under way.
    pub budget_percent: u32,
    /// Repeats that are allowed at one time however few requests there are.
    pub min_concurrency: u32,
}

/// When a caller stops calling. Each condition alone opens it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Breaker {
    /// So many failures one after the other.
    pub consecutive_failures: u32,
    /// This share of failures within `window`,
    pub failure_percent: u32,
    /// of at least so many requests.
    pub min_requests: u32,
    /// What failures are counted over.
    pub window: HumanDuration,
    /// How long it stays open before a call is tried again.
    pub open_for: HumanDuration,
}

/// What was seen of an edge, to two figures, and still while little changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ObservedEdge {
    /// Requests.
    pub requests: u64,
    /// Requests per second, over all instances of the caller. Absent where less than a minute was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Share of the requests that failed.
    pub failed: f64,
    /// Share of the requests that repeat a failed one.
    pub repeated: f64,
    /// Mean, in milliseconds.
    pub mean_ms: f64,
    /// Median, in milliseconds.
    pub p50_ms: f64,
    /// At the 95th percentile, in milliseconds.
    pub p95_ms: f64,
    /// At `quantile`, in milliseconds.
    pub high_ms: f64,
    /// Calls in one visit of the caller, at the 99th percentile.
    pub calls_per_visit: u32,
    /// True where only the callee told how long it took: the network is not in it.
    pub callee_only: bool,
}

/// Reasons, one for each number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Because {
    /// Of the timeout.
    pub timeout: String,
    /// Of the retries.
    pub retries: String,
    /// Of the circuit breaker.
    pub breaker: String,
    /// Of the pool.
    pub pool: String,
}

impl Resilience {
    /// The file's text. Same numbers, same bytes.
    #[expect(
        clippy::missing_panics_doc,
        reason = "plain data of strings and numbers serialises"
    )]
    pub fn to_yaml(&self) -> String {
        let body = serde_yaml::to_string(self).expect("plain data of strings and numbers serialises");
        format!(
            "# Timeouts, retries, circuit breakers and pools. Generated by tracemap; nothing applies them \
             by itself.\n{body}"
        )
    }

    /// What an earlier run wrote. `None` for anything else: what was held is then found anew.
    pub fn from_yaml(text: &str) -> Option<Self> {
        let file: Self = serde_yaml::from_str(text).ok()?;
        (file.version == VERSION).then_some(file)
    }
}
