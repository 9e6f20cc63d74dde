//! What people say about their services: owners, tiers, objectives, runbooks.
//!
//! In: the `services:` section of the configuration. Out: [`Owner`]s and [`Objective`]s by node.
//! Left out on purpose: labels and resource attributes as a source; whoever reads those adds them here.

use std::collections::BTreeMap;

use config::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::NodeId;

/// The `services:` section: settings by node id, or by the bare name where that is not ambiguous.
pub type Services = BTreeMap<String, ServiceSettings>;

/// What people state about one service, database or queue.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceSettings {
    /// Who is paged for it. Default: nobody in particular, the alert says `unowned`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// How much it matters: 1 is the most. Default: none stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<u8>,
    /// True where work starts here although no user calls it: a worker, a timer. Default `false`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub entry_point: bool,
    /// Address of the team's own runbook; alerts link to it beside the generated one. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    /// Latency objectives. Default: none; degradation is then judged against the learned baseline alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub objectives: Vec<Objective>,
    /// What its requests usually take in the mean. Default: the past says so. Only alerts of the profile `static` read it, which
    /// then judge from the first minute on; a collector learns, and `collector.baseline.pins` holds what it learned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usual: Option<Usual>,
    /// What the plan is to do whatever it would decide. Default: nothing pinned.
    #[serde(skip_serializing_if = "PlanPins::is_empty")]
    pub plan: PlanPins,
}

/// What people decide of the plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PlanPins {
    /// How much is told of calls of this service, by whom it calls: `{ redis: count }`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub edges: BTreeMap<String, Mode>,
    /// Share of the traces that begin here which is recorded, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
}

impl PlanPins {
    /// True where nothing is pinned.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How much is told of the requests of an edge. All are counted.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Spans of those whose trace is recorded.
    #[default]
    Span,
    /// A line in the log with trace and correlation id.
    Log,
    /// Nothing more.
    Count,
}

/// Usual times of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Usual {
    /// What it takes without waiting for others, for example `20ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own: Option<HumanDuration>,
    /// What it takes with them, for example `80ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<HumanDuration>,
}

/// A share of requests that is to be answered within a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// A request counts as good when it took at most this long, for example `300ms`.
    pub latency: HumanDuration,
    /// Share of good requests that is promised, between 0 and 1, for example `0.99`.
    pub target: f64,
    /// The period over which the promise holds, for example `30d`.
    pub window: HumanDuration,
}

/// Who answers for a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The team, [`Owner::NOBODY`] where none is stated.
    pub team: String,
    /// The tier as text, empty where none is stated.
    pub tier: String,
}

impl Owner {
    /// The team of a node that nobody claimed.
    pub const NOBODY: &'static str = "unowned";
}

/// The settings of a node: by its id, else by its bare name.
pub fn settings_of<'a>(services: &'a Services, node: &NodeId) -> Option<&'a ServiceSettings> {
    services.get(node.as_str()).or_else(|| services.get(node.name()))
}
