//! The section `agent.limits`: what one caller may take of the agent.
//!
//! In: the keys of the section. Out: [`LimitsConfig`], typed, with every default in place.
//! Left out on purpose: bounds on requests that are under way, for the service has its own and they reach through; and
//! the size of headers (256 of them, 256 KiB on HTTP/2, about 400 KiB on HTTP/1.1), which is above what servers take.

use ::config::HumanDuration;
use schemars::JsonSchema;
use serde::Deserialize;

/// What one caller may take of the proxies. The defaults are wider than those of servers, so that what a service would
/// have taken from its callers directly, it gets through the agent as well.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Connections of callers at once, those of all workloads together. Default: half of the files that the process may
    /// open, since each may need a second one to the other side; the soft limit is raised to the hard one at the start.
    /// At the bound the connection that has been idle longest makes room, then new ones wait to be accepted.
    pub max_connections: Option<u32>,
    /// How long an HTTP/1.1 request may take from its first byte to the end of its headers. Default `60s`; `0s` for ever.
    /// A connection that is slower is closed and counted as `header_timeout`.
    pub header_timeout: HumanDuration,
    /// How long a connection may be without a request. Default `1h`, longer than servers and load balancers wait; `0s` for
    /// ever. Upgraded connections and tunnels are never idle.
    pub idle_timeout: HumanDuration,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            max_connections: None,
            header_timeout: HumanDuration::from_secs(60),
            idle_timeout: HumanDuration::from_secs(3600),
        }
    }
}
