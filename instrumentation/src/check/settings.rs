//! From where on something is a finding, and which findings are known.
//!
//! In: the section `generate.check`. Out: [`CheckSettings`], and what is wrong with it.
//! Left out on purpose: the level that fails a build; that is an argument of who asks.

use config::{Finding, HumanDuration};
use map::diff::ChangeSettings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::date::Date;
use super::kinds::KINDS;

/// From where on something is a finding. Shares are between 0 and 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CheckSettings {
    /// Edges and nodes with fewer requests say nothing of how they usually are. Default 20.
    pub min_requests: u64,
    /// Services that call one database. Default 2.
    pub sharing: usize,
    /// Services that a request passes of which each waits for the next, beyond which a chain is deep. Default 4.
    pub chain: usize,
    /// Calls of one service in one request, in the mean. Default 3.
    pub chatty: f64,
    /// Calls of one database or cache in one request, in the mean. Default 10.
    pub queries: f64,
    /// Calls of one callee in a large request, the 99th percentile; four times those of the usual request or more. Default 20.
    pub burst: f64,
    /// Callees of one service. Default 12.
    pub callees: usize,
    /// Share of an edge's requests that repeat a failed one. Default 0.1.
    pub retries: f64,
    /// How long a call may take at its 99th percentile. Default `10s`, or the shortest latency that its caller, or an entry point
    /// that waits for the caller, promises in `objectives`.
    pub wait: HumanDuration,
    /// Share of an edge's requests that the caller gave up. Default 0.01.
    pub given_up: f64,
    /// Share of failed calls after which the caller failed as well. Default 0.9.
    pub passed_on: f64,
    /// Services of an entry point that wait for one node. Default 5.
    pub dependents: usize,
    /// Share of an edge's requests that joined no span of the callee. Default 0.05.
    pub lost_context: f64,
    /// Share of a node's requests whose caller did not report. Default 0.05.
    pub orphans: f64,
    /// Calls of a service of which nothing says where they went, as a share of all its calls. Default 0.05.
    pub unnamed: f64,
    /// By how much two clocks may differ, in the mean of the requests that show it. Default `5ms`.
    pub skew: HumanDuration,
    /// Share of an edge's requests that must show it. Default 0.1.
    pub skewed: f64,
    /// Findings that are known and accepted for a time. Default `[]`.
    pub silences: Vec<Silence>,
    /// From where on `tracemap diff` tells that a number has changed.
    pub change: ChangeSettings,
}

/// A finding that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Silence {
    /// The finding's id, as `tracemap check` prints it.
    pub id: String,
    /// Why it may stay. Somebody else will read it.
    pub reason: String,
    /// The last day on which it may, such as `2026-12-31`. From the next day on it is a finding again.
    pub until: Date,
}

impl Default for CheckSettings {
    fn default() -> Self {
        Self {
            min_requests: 20,
            sharing: 2,
            chain: 4,
            chatty: 3.0,
            queries: 10.0,
            burst: 20.0,
            callees: 12,
            retries: 0.1,
            wait: HumanDuration::from_secs(10),
            given_up: 0.01,
            passed_on: 0.9,
            dependents: 5,
            lost_context: 0.05,
            orphans: 0.05,
            unnamed: 0.05,
            skew: HumanDuration::from_millis(5),
            skewed: 0.1,
            silences: Vec::new(),
            change: ChangeSettings::default(),
        }
    }
}

impl CheckSettings {
    /// What is wrong with the settings; `path` is where they stand.
    pub fn check(&self, path: &str) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut say = |key: &str, message: String, hint: &str| {
            found.push(Finding {
                path: format!("{path}.{key}"),
                message,
                hint: Some(hint.to_owned()),
            });
        };
        let shares = [
            ("retries", self.retries),
            ("given_up", self.given_up),
            ("passed_on", self.passed_on),
            ("lost_context", self.lost_context),
            ("orphans", self.orphans),
            ("unnamed", self.unnamed),
            ("skewed", self.skewed),
        ];
        for (key, share) in shares {
            if !(share > 0.0 && share <= 1.0) {
                let message = format!("`{key}` is {share}, but it is a share of requests");
                say(
                    key,
                    message,
                    "write a share above 0 and up to 1, such as 0.05 for 5 %",
                );
            }
        }
        for (key, calls) in [
            ("chatty", self.chatty),
            ("queries", self.queries),
            ("burst", self.burst),
        ] {
            if !(calls > 1.0 && calls.is_finite()) {
                let message = format!("`{key}` is {calls}, but one call is what a request needs");
                say(key, message, "write a number of calls above 1");
            }
        }
        if self.sharing < 2 {
            let message = format!("`sharing` is {}, but sharing takes two", self.sharing);
            say("sharing", message, "write 2 or more");
        }
        for (i, silence) in self.silences.iter().enumerate() {
            if silence.reason.trim().is_empty() {
                let message = format!("`reason` of the silence of `{}` is empty", silence.id);
                say(
                    &format!("silences[{i}].reason"),
                    message,
                    "say why the finding may stay",
                );
            }
            let kind = silence.id.split(':').next().unwrap_or_default();
            if !KINDS.iter().any(|known| known.name == kind) {
                let message = format!(
                    "`{}` is no id of a finding: no kind is called `{kind}`",
                    silence.id
                );
                say(
                    &format!("silences[{i}].id"),
                    message,
                    "write an id as `tracemap check` prints it",
                );
            }
        }
        found.extend(self.change.check(&format!("{path}.change")));
        found
    }
}
