//! Asking for a plan.
//!
//! In: an address, and the workloads that the agent stands before. Out: the last good plan, for as long as it holds; and to each workload
//! which part of its service's traces begins there.
//! Left out on purpose: what a plan says.
//!
//! With each question goes who asks: `tracemap-agent`, an instance; `tracemap-agent-nodes`, node ids; `tracemap-agent-rates`, how many
//! traces began with each of these a second since the last question, empty where nothing is known; `tracemap-agent-interval`, after how
//! many seconds it asks again; `tracemap-plan-applied`, the `revision` that it follows; and `tracemap-plan-refused`, one that has a
//! problem, and which. Every answer says in `tracemap-plan-parts` which part of the traces that begin with each of these nodes begins here,
//! 0 to 1 in the same order, so that the agents together record what the plan has room for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use http::header::{AUTHORIZATION, ETAG, HeaderValue, IF_NONE_MATCH};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use otlp::tls::{HttpsConnector, Protocols};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::{error, warn};

use super::{Plan, address};
use crate::BoxError;
use crate::config::PlanConfig;
use crate::pods::PodWorkloads;
use crate::reload::{PlanOutcome, ReloadMetrics};
use crate::sampling::{Meters, UNTOLD};
use crate::telemetry::{Metrics, TlsSide};
use crate::tls::Origin;
use crate::workload::Workload;

/// Longest document that is read, in bytes.
const MAX_DOCUMENT: usize = 4 << 20;
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

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
}
