//! The section `agent.plan`.
//!
//! In: its keys. Out: [`PlanConfig`].
//! Left out on purpose: the plan itself, see `plan.rs`.

use std::path::PathBuf;

use ::config::HumanDuration;
use schemars::JsonSchema;
use serde::Deserialize;

use super::ClientTlsConfig;

/// A plan of what is told of which edge, and of which share of traces, that somebody keeps for many agents.
///
/// The agent's own `edges.rules` come before the plan's; a share of the plan stands in place of `sampling.type` and `ratio`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanConfig {
    /// Where it is: `http://host:port/path` or `https://…`; a collector has it at `/api/v1/plan` of its page. What cannot be fetched or has problems changes nothing.
    pub url: String,
    /// How often it is asked for. Default `30s`; at least `100ms`. One that did not change costs an answer without a body
    /// where the server knows `If-None-Match`.
    #[serde(default = "each_half_minute")]
    pub interval: HumanDuration,
    /// How long a plan holds that cannot be asked for any more. Default `1h`. After it the agent does what its own configuration says,
    /// until there is a plan again.
    #[serde(default = "an_hour")]
    pub max_age: HumanDuration,
    /// A file with the bearer token that is shown, read anew for each question. Default: none.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// Whom to believe at an `https` address, and as whom to come. Default: the authorities of this host.
    #[serde(default)]
    pub tls: Option<ClientTlsConfig>,
}

fn an_hour() -> HumanDuration {
    HumanDuration::from_secs(3_600)
}

fn each_half_minute() -> HumanDuration {
    HumanDuration::from_secs(30)
}
