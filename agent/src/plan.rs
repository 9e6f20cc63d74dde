//! A plan that others make: how much is told of which edge, and which share of new traces is recorded.
//!
//! In: a document. Out: a [`Plan`], checked whole.
//! Left out on purpose: fetching it (`ask`), making plans, and any way to change more by one than edges' modes and shares.
//!
//! The document is JSON:
//!
//! ```json
//! { "version": 1, "revision": "9f1c",
//!   "edges": [
//!     { "caller": "shop/web", "callee": "shop/cart", "addresses": ["cart:8080"], "mode": "log" },
//!     { "caller": "user", "callee": "shop/web", "share": 0.1, "limit": 12.5, "spans": 8.0,
//!       "operations": [{ "operation": "GET /orders/{id}", "share": 1.0 }] } ] }
//! ```
//!
//! `caller` and `callee` are node ids of the map. `mode` is `span`, `log` or `count`: what both ends tell of the edge. The
//! callee's agent knows it by the caller's hint; the caller's by `addresses`, under which the callee is called (as `peer` in
//! `agent.edges.rules`). `share`, 0 to 1, is that of the traces that begin with a request on the edge, so its caller is `user`
//! or `unknown`; `operations` are shares of some of them by the name of the first span. Keys that are not known here are left
//! to later versions of this document with the same number. An `ETag` is sent back as `If-None-Match`.
//!
//! `limit`, of the operations of an edge or of one of them, is how many traces a second may be recorded in the whole system, and `spans` how
//! many spans each of them has (1 if absent); while more begin here, less of them are recorded. Without a limit nothing is held back.

mod ask;

use std::collections::BTreeMap;
use std::time::Duration;

use http::Uri;
use instrumentation::plan::pace::Limit;
use map::NodeId;
use serde::Deserialize;

pub(crate) use ask::{Asker, follow};

use crate::BoxError;
use crate::config::{AgentConfig, EdgeDirection, EdgeMode, EdgeRule, EdgesConfig, PlanConfig};
use crate::sampling::Strategy;

/// The version of the document that is read.
const VERSION: u32 = 1;

/// A plan that has no problem.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Plan {
    /// How whoever made it calls it.
    pub(crate) revision: Option<String>,
    edges: Vec<PlannedEdge>,
}

#[derive(Debug, Deserialize)]
struct Document {
    version: u32,
    revision: Option<String>,
    #[serde(default)]
    edges: Vec<PlannedEdge>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct PlannedEdge {
    caller: String,
    callee: String,
    #[serde(default)]
    addresses: Vec<String>,
    mode: Option<EdgeMode>,
    share: Option<f64>,
    limit: Option<f64>,
    spans: Option<f64>,
    #[serde(default)]
    operations: Vec<PlannedOperation>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct PlannedOperation {
    operation: String,
    share: f64,
    limit: Option<f64>,
    spans: Option<f64>,
}

/// How much may be recorded of something, where that is said.
fn limit(traces: Option<f64>, spans: Option<f64>) -> Option<Limit> {
    Some(Limit {
        traces: traces?,
        spans: spans.unwrap_or(1.0),
    })
}

impl Plan {
    /// # Errors
    /// The first thing that is wrong with the document.
    pub(crate) fn read(document: &[u8]) -> Result<Self, BoxError> {
        let Document {
            version,
            revision,
            edges,
        } = serde_json::from_slice(document)?;
        if version != VERSION {
            return Err(format!("`version` is {version}, but this agent reads {VERSION}").into());
        }
        match edges.iter().find_map(PlannedEdge::problem) {
            Some(problem) => Err(problem.into()),
            None => Ok(Self { revision, edges }),
        }
    }

    /// What is told of the edges of `node`, after the rules of the configuration.
    pub(crate) fn rules_of(&self, node: &str, edges: &EdgesConfig) -> Vec<EdgeRule> {
        let of_edge = |edge: &PlannedEdge| {
            let rule = |direction, peer: &str, mode| EdgeRule {
                direction,
                peer: peer.to_owned(),
                mode,
            };
            // What is neither counted nor told would be lost.
            let mode = edge.mode.filter(|mode| *mode != EdgeMode::Count || edges.counts);
            let served = mode.filter(|_| edge.callee == node);
            let called = mode.filter(|_| edge.caller == node).into_iter();
            let inbound = served.map(|mode| rule(EdgeDirection::Inbound, &edge.caller, mode));
            let outbound = called.flat_map(|mode| {
                let to = |address: &String| rule(EdgeDirection::Outbound, address, mode);
                edge.addresses.iter().map(to).collect::<Vec<_>>()
            });
            inbound.into_iter().chain(outbound).collect::<Vec<_>>()
        };
        self.edges.iter().flat_map(of_edge).collect()
    }

    /// The shares of traces that begin at `node`, where the plan says any.
    pub(crate) fn shares_of(&self, node: &str) -> Option<Strategy> {
        let edge = self
            .edges
            .iter()
            .find(|edge| edge.callee == node && edge.share.is_some())?;
        let of_each = edge.operations.iter();
        let operations: BTreeMap<_, _> = of_each.map(|of| (of.operation.clone(), of.share)).collect();
        let otherwise = limit(edge.limit, edge.spans).map(|limit| (String::new(), limit));
        let named = edge.operations.iter().filter_map(|of| {
            let limit = limit(of.limit, of.spans)?;
            Some((of.operation.clone(), limit))
        });
        Some(Strategy {
            share: edge.share?,
            operations,
            limits: otherwise.into_iter().chain(named).collect(),
        })
    }

    /// Whether some edge is told of by a line.
    pub(crate) fn has_lines(&self) -> bool {
        self.edges.iter().any(|edge| edge.mode == Some(EdgeMode::Log))
    }
}

impl PlannedEdge {
    fn problem(&self) -> Option<String> {
        let Self { caller, callee, .. } = self;
        let at = format!("the edge from `{caller}` to `{callee}`");
        if caller.is_empty() || callee.is_empty() || self.addresses.iter().any(String::is_empty) {
            return Some(format!("{at} has an empty name: write node ids and addresses"));
        }
        let begins = [NodeId::USER, NodeId::UNKNOWN].contains(&caller.as_str());
        if self.share.is_some() && !begins {
            return Some(format!(
                "{at} has a `share`, but no trace begins there: its caller must be `user` or `unknown`"
            ));
        }
        if self.share.is_none() && !self.operations.is_empty() {
            return Some(format!("{at} has `operations` without a `share` for all others"));
        }
        let shares = self
            .share
            .iter()
            .chain(self.operations.iter().map(|of| &of.share));
        let wrong = shares.copied().find(|share| !(0.0..=1.0).contains(share));
        if let Some(share) = wrong {
            return Some(format!(
                "{at} has the share {share}, but it must be between 0 and 1"
            ));
        }
        let of_operations = self.operations.iter().flat_map(|of| [of.limit, of.spans]);
        let numbers = of_operations.chain([self.limit, self.spans]).flatten();
        let mut wrong = numbers.filter(|number| !(*number >= 0.0 && number.is_finite()));
        let number = wrong.next()?;
        Some(format!(
            "{at} has a `limit` or `spans` of {number}, but neither can be below 0"
        ))
    }
}

/// What is wrong with the section of the configuration.
pub(crate) fn problems(config: &AgentConfig) -> Vec<::config::Finding> {
    let mut findings = Vec::new();
    let Some(plan) = &config.plan else {
        return findings;
    };
    let mut say = |key: &str, message: String, hint: &str| {
        findings.push(::config::Finding {
            path: format!("agent.plan.{key}"),
            message,
            hint: Some(hint.to_owned()),
        });
    };
    if address(plan).is_none() {
        let message = format!(
            "`agent.plan.url` is `{}`, but it must be `http://host:port/path` or `https://host:port/path`",
            plan.url
        );
        say(
            "url",
            message,
            "write such as `http://collector:7070/api/v1/plan`",
        );
    }
    if plan.interval.0 < Duration::from_millis(100) {
        let message = format!("`agent.plan.interval` is `{}`, which is too short", plan.interval);
        say("interval", message, "write at least `100ms`");
    }
    if plan.max_age.0 < plan.interval.0 {
        let (age, interval) = (plan.max_age, plan.interval);
        let message = format!("`agent.plan.max_age` is `{age}`, less than `interval`, `{interval}`");
        say(
            "max_age",
            message,
            "write several times the interval, such as `1h`",
        );
    }
    if config.sampling.remote.is_some() {
        let message =
            "`agent.plan` stands beside `agent.sampling.remote`, and both say which share is recorded";
        say("url", message.to_owned(), "take one of them out");
    }
    findings
}

fn address(plan: &PlanConfig) -> Option<Uri> {
    let uri: Uri = plan.url.parse().ok()?;
    let fits = uri
        .scheme_str()
        .is_some_and(|scheme| ["http", "https"].contains(&scheme));
    let host = uri
        .authority()
        .is_some_and(|authority| !authority.host().is_empty());
    (fits && host).then_some(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIXTURE: &str = include_str!("plan/fixture.json");

    fn shown(rules: &[EdgeRule]) -> Vec<String> {
        let rule = |rule: &EdgeRule| format!("{:?} {} {:?}", rule.direction, rule.peer, rule.mode);
        rules.iter().map(rule).collect()
    }

    #[test]
    fn each_end_of_an_edge_takes_its_rules_and_its_shares_from_the_same_document() {
        let plan = Plan::read(FIXTURE.as_bytes()).expect("a plan");
        let edges = EdgesConfig::default();
        let of = |node| shown(&plan.rules_of(node, &edges));
        assert_eq!(
            of("shop/web"),
            ["Outbound cart:8080 Log", "Outbound 10.0.0.7:8080 Log"]
        );
        assert_eq!(
            of("shop/cart"),
            ["Inbound shop/web Log", "Outbound db:5432 Count"]
        );
        let quiet = EdgesConfig {
            counts: false,
            ..EdgesConfig::default()
        };
        assert_eq!(
            shown(&plan.rules_of("shop/cart", &quiet)),
            ["Inbound shop/web Log"]
        );
        let shares = plan.shares_of("shop/web").expect("shares");
        assert_eq!(
            (shares.share, shares.operations.get("GET /orders/{id}")),
            (0.1, Some(&1.0))
        );
        assert_eq!(plan.shares_of("shop/cart"), None);
        assert!(plan.has_lines());
    }

    #[test]
    fn a_document_with_a_problem_is_none_and_says_which() {
        let edge = |rest: &str| {
            let text = format!("{{\"version\":1,\"edges\":[{{\"caller\":\"a\",\"callee\":\"b\"{rest}}}]}}");
            Plan::read(text.as_bytes()).expect_err("a problem").to_string()
        };
        assert!(edge(",\"share\":0.5").contains("no trace begins there"));
        assert!(edge(",\"operations\":[{\"operation\":\"GET\",\"share\":1}]").contains("without a `share`"));
        assert!(edge(",\"mode\":\"loud\"").contains("loud"));
        assert!(edge(",\"addresses\":[\"\"]").contains("empty name"));
        let user = "{\"version\":1,\"edges\":[{\"caller\":\"user\",\"callee\":\"b\",\"share\":25}]}";
        let told = Plan::read(user.as_bytes()).expect_err("a problem").to_string();
        assert!(told.contains("has the share 25"), "{told}");
        let user = user.replace(
            "25",
            "0.5,\"operations\":[{\"operation\":\"GET\",\"share\":1,\"limit\":-2}]",
        );
        let told = Plan::read(user.as_bytes()).expect_err("a problem").to_string();
        assert!(told.contains("of -2"), "{told}");
        let told = Plan::read(b"{\"version\":2}").expect_err("a problem").to_string();
        assert_eq!(told, "`version` is 2, but this agent reads 1");
        assert!(Plan::read(b"<html>").is_err());
    }
}
