//! The section `agent.plan`.
//!
//! In: its keys. Out: [`PlanConfig`].
//! Left out on purpose: the plan itself, see `plan.rs`.

use ::config::HumanDuration;
use schemars::JsonSchema;
use serde::Deserialize;

/// A plan of what is told of which edge, and of which share of traces, that somebody keeps for many agents.
///
/// The agent's own `edges.rules` come before the plan's; a share of the plan stands in place of `sampling.type` and `ratio`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanConfig {
    /// Where it is: `http://host:port/path`. What cannot be fetched or has problems changes nothing.
    pub url: String,
    /// How often it is asked for. Default `30s`; at least `100ms`. One that did not change costs an answer without a body
    /// where the server knows `If-None-Match`.
    #[serde(default = "each_half_minute")]
    pub interval: HumanDuration,
}

fn each_half_minute() -> HumanDuration {
    HumanDuration::from_secs(30)
}
