//! A plan that others make: how much is told of which edge, and which share of new traces is recorded.
//!
//! In: a document from `agent.plan.url`, every so often. Out: a [`Plan`], checked whole; the one before where there is nothing
//! better.
//! Left out on purpose: making plans, and any way to change more by one than edges' modes and shares.
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
//!
//! With each question goes who asks: `tracemap-agent`, an instance; `tracemap-agent-nodes`, node ids; `tracemap-agent-rates`, how many
//! traces began with each of these a second since the last question, empty where nothing is known; `tracemap-agent-interval`, after how
//! many seconds it asks again; `tracemap-plan-applied`, the `revision` that it follows; and `tracemap-plan-refused`, one that has a
//! problem, and which. Every answer says in `tracemap-plan-parts` which part of the traces that begin with each of these nodes begins here,
//! 0 to 1 in the same order, so that the agents together record what the plan has room for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use http::header::{AUTHORIZATION, ETAG, HeaderValue, IF_NONE_MATCH};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use instrumentation::plan::pace::Limit;
use map::NodeId;
use otlp::tls::{HttpsConnector, Protocols};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::{error, warn};

use crate::BoxError;
use crate::config::{AgentConfig, EdgeDirection, EdgeMode, EdgeRule, EdgesConfig, PlanConfig};
use crate::pods::PodWorkloads;
use crate::reload::{PlanOutcome, ReloadMetrics};
use crate::sampling::{Meters, Strategy, UNTOLD};
use crate::telemetry::{Metrics, TlsSide};
use crate::tls::Origin;
use crate::workload::Workload;

/// The version of the document that is read.
const VERSION: u32 = 1;
/// Longest document that is read, in bytes.
const MAX_DOCUMENT: usize = 4 << 20;
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

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

/// Who asks for a plan, as whoever makes it shows it.
pub(crate) struct Asker {
    /// A name no other start of any agent has.
    instance: String,
    /// The configured workloads.
    pub(crate) workloads: ArcSwap<Vec<Arc<Workload>>>,
    /// Those of pods, where these are watched.
    pub(crate) pods: ArcSwapOption<Mutex<PodWorkloads>>,
    /// The revision of the plan that requests meet.
    pub(crate) applied: ArcSwap<Option<String>>,
}

impl Default for Asker {
    fn default() -> Self {
        Self {
            instance: crate::start::instance(),
            workloads: ArcSwap::default(),
            pods: ArcSwapOption::default(),
            applied: ArcSwap::default(),
        }
    }
}

impl Asker {
    /// Node ids of all workloads that can be told, and what begins with each.
    fn asked_for(&self) -> Vec<(String, Arc<Meters>)> {
        let of = |workload: &Arc<Workload>| (workload.node.to_string(), workload.share.meters());
        let mut all: Vec<_> = self.workloads.load().iter().map(of).collect();
        if let Some(pods) = self.pods.load().as_deref() {
            let pods = pods.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(pods.workloads().map(of));
        }
        let mut left = MAX_NODES;
        all.retain(|(node, _)| {
            // No id has a comma; one that comes from outside may.
            let fits = node.len() < left && !node.contains(',') && HeaderValue::from_str(node).is_ok();
            left -= if fits { node.len() + 1 } else { 0 };
            fits
        });
        all
    }
}

/// Most node ids that are told, bytes.
const MAX_NODES: usize = 8_192;
/// Longest problem of a plan that is told, bytes.
const MAX_PROBLEM: usize = 200;

/// What is known when the plan is asked for.
#[derive(Debug, Default)]
struct Asking {
    tag: Option<HeaderValue>,
    refused: Option<String>,
    /// How many traces had begun with each workload at the last question.
    begun: Vec<Begun>,
}

/// How many traces had begun with a workload at some time.
#[derive(Debug)]
struct Begun {
    meters: Arc<Meters>,
    traces: u64,
    at: Instant,
}

impl Asking {
    /// Traces that began a second since the last question, with commas between workloads; and begins anew.
    fn rates(&mut self, workloads: &[(String, Arc<Meters>)], now: Instant) -> String {
        let begun = |(_, meters): &(String, Arc<Meters>)| Begun {
            meters: meters.clone(),
            traces: meters.begun(),
            at: now,
        };
        let before = std::mem::replace(&mut self.begun, workloads.iter().map(begun).collect());
        let rate = |begun: &Begun| {
            let before = before
                .iter()
                .find(|before| Arc::ptr_eq(&before.meters, &begun.meters));
            let rate = before.map(|before| {
                let seconds = now.saturating_duration_since(before.at).as_secs_f64();
                begun.traces.saturating_sub(before.traces) as f64 / seconds
            });
            rate.filter(|rate| rate.is_finite())
                .map_or_else(String::new, |rate| format!("{rate:.3}"))
        };
        self.begun.iter().map(rate).collect::<Vec<_>>().join(",")
    }
}

/// Notes which part of a workload's traces begins here, as the answer says.
fn take_parts(workloads: &[(String, Arc<Meters>)], parts: Option<&HeaderValue>) {
    // Of a server that says no parts at all everybody may take the whole.
    let untold = if parts.is_some() { UNTOLD } else { 1.0 };
    let mut parts = parts
        .and_then(|parts| parts.to_str().ok())
        .unwrap_or_default()
        .split(',');
    for (_, meters) in workloads {
        let part = parts.next().and_then(|part| part.trim().parse::<f64>().ok());
        let part = part.filter(|part| (0.0..=1.0).contains(part));
        meters.set_part(part.unwrap_or(untold));
    }
}

/// Fetches the plan for as long as anyone wants to know it; `plans` has the last good one, or none once it is too old.
pub(crate) async fn follow(
    config: PlanConfig,
    plans: watch::Sender<Option<Arc<Plan>>>,
    (reloads, metrics): (ReloadMetrics, Arc<Metrics>),
    asker: Arc<Asker>,
) {
    let (Some(uri), Ok(tls)) = (
        address(&config),
        Origin::new(config.tls.as_ref(), TlsSide::Export, &metrics),
    ) else {
        // Checked before: `problems` asks for an address; files that went since are told of by the listeners' reload.
        error!("no plan is asked for: the files of `agent.plan.tls` cannot be read");
        return;
    };
    let mut ticks = tokio::time::interval(config.interval.0);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut asking, mut failing, mut heard) = (Asking::default(), false, Instant::now());
    loop {
        ticks.tick().await;
        let asked = tokio::time::timeout(TIMEOUT, ask(&config, uri.clone(), &tls, &mut asking, &asker));
        let outcome = match asked.await.unwrap_or_else(|late| Err(late.into())) {
            Ok(None) => PlanOutcome::Unchanged,
            Ok(Some((document, new_tag))) => {
                // A document with problems is told of once, not each time.
                asking.tag = new_tag;
                taken(&document, &plans, &mut asking)
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    warn!(%error, "no plan learnt: the last one stays");
                }
                reloads.plan(PlanOutcome::Failed);
                if heard.elapsed() > config.max_age.0 && plans.borrow().is_some() {
                    error!(max_age = %config.max_age, "the plan is too old: the configuration alone holds");
                    plans.send_replace(None);
                    asking = Asking {
                        begun: asking.begun,
                        ..Asking::default()
                    };
                }
                continue;
            }
        };
        (failing, heard) = (false, Instant::now());
        reloads.plan(outcome);
    }
}

fn taken(document: &[u8], plans: &watch::Sender<Option<Arc<Plan>>>, asking: &mut Asking) -> PlanOutcome {
    asking.refused = None;
    let plan = match Plan::read(document) {
        Ok(plan) => plan,
        Err(problem) => {
            error!(%problem, "plan not taken over: the one before stays");
            let told = problem.to_string();
            asking.refused = Some(told.chars().take(MAX_PROBLEM).collect());
            return PlanOutcome::Rejected;
        }
    };
    let changed = plans.send_if_modified(|last| {
        let new = last.as_deref() != Some(&plan);
        if new {
            *last = Some(Arc::new(plan));
        }
        new
    });
    if changed {
        PlanOutcome::Applied
    } else {
        PlanOutcome::Unchanged
    }
}

/// The document and its tag; `None` where it is the one with the tag that we have.
async fn ask(
    config: &PlanConfig,
    uri: Uri,
    tls: &Origin,
    asking: &mut Asking,
    asker: &Asker,
) -> Result<Option<(Bytes, Option<HeaderValue>)>, BoxError> {
    let secure = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
    let tls = if secure { Some(tls.get().await?) } else { None };
    // A connection of its own each time: the next question is half a minute away.
    let connector = HttpsConnector::new(tls, Protocols::Http1);
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
    let mut request = Request::get(uri).body(Empty::new())?;
    let headers = request.headers_mut();
    if let Some(tag) = &asking.tag {
        headers.insert(IF_NONE_MATCH, tag.clone());
    }
    if let Some(file) = &config.token_file {
        let token = tokio::fs::read_to_string(file).await;
        let token = token.map_err(|error| format!("cannot read `{}`: {error}", file.display()))?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.trim()))?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
    let applied = Option::clone(&asker.applied.load());
    let workloads = asker.asked_for();
    let nodes: Vec<&str> = workloads.iter().map(|(node, _)| node.as_str()).collect();
    let nodes = nodes.join(",");
    let rates = asking.rates(&workloads, Instant::now());
    let interval = config.interval.0.as_secs_f64().to_string();
    let told = [
        ("tracemap-agent", Some(asker.instance.as_str())),
        ("tracemap-agent-nodes", Some(nodes.as_str())),
        ("tracemap-agent-rates", Some(rates.as_str())),
        ("tracemap-agent-interval", Some(interval.as_str())),
        ("tracemap-plan-applied", applied.as_deref()),
        ("tracemap-plan-refused", asking.refused.as_deref()),
    ];
    for (name, value) in told {
        // A problem may hold what no header does; then that is not told.
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(name, value);
        }
    }
    let response = client.request(request).await?;
    let parts = response.headers().get("tracemap-plan-parts");
    match response.status() {
        StatusCode::OK => take_parts(&workloads, parts),
        StatusCode::NOT_MODIFIED => {
            take_parts(&workloads, parts);
            return Ok(None);
        }
        status => return Err(format!("the answer has status {}", status.as_u16()).into()),
    }
    let tag = response.headers().get(ETAG).cloned();
    let body = Limited::new(response.into_body(), MAX_DOCUMENT).collect().await?;
    Ok(Some((body.to_bytes(), tag)))
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
    fn a_question_says_how_often_traces_began_since_the_last_one() {
        let of = |begun: u32| {
            let meters = Arc::new(Meters::default());
            begin(&meters, begun);
            meters
        };
        let mut workloads = vec![("shop/web".to_owned(), of(5)), ("shop/cart".to_owned(), of(0))];
        let (mut asking, now) = (Asking::default(), Instant::now());
        assert_eq!(asking.rates(&workloads, now), ",", "nothing is known at first");
        begin(&workloads[0].1, 30);
        workloads.push(("shop/new".to_owned(), of(1)));
        assert_eq!(
            asking.rates(&workloads, now + Duration::from_secs(10)),
            "3.000,0.000,"
        );
        assert_eq!(
            asking.rates(&workloads, now + Duration::from_secs(20)),
            "0.000,0.000,0.000"
        );
    }

    fn begin(meters: &Arc<Meters>, times: u32) {
        let share = crate::sampling::Share::with(crate::sampling::Sampler::AlwaysOn, meters.clone());
        for _ in 0..times {
            let mut context = propagation::SpanContext::start(&mut (rand::random, rand::random), true);
            share.begin(String::new, &mut context, true);
        }
    }

    #[test]
    fn an_answer_says_which_part_begins_here_or_nothing_that_holds() {
        let workloads: Vec<(String, Arc<Meters>)> = ["a", "b", "c"]
            .map(|node| (node.to_owned(), Arc::default()))
            .into();
        let parts = || {
            workloads
                .iter()
                .map(|(_, meters)| meters.part())
                .collect::<Vec<_>>()
        };
        take_parts(&workloads, Some(&HeaderValue::from_static("0.25, 0e0")));
        assert_eq!(parts(), [0.25, 0.0, UNTOLD]);
        take_parts(&workloads, Some(&HeaderValue::from_static("-1,7,nan")));
        assert_eq!(parts(), [UNTOLD; 3]);
        take_parts(&workloads, None);
        assert_eq!(parts(), [1.0; 3]);
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
