//! Which calls are repeated, so that no chain of calls repeats at two places.
//!
//! In: the calls, what people state and what was seen. Out: for each call how often it is repeated, and why.
//! Two layers that repeat twice each send nine requests for one; on a chain only the layer next to the
//! failure repeats, since it repeats the least work. Source: Google SRE, "Addressing Cascading Failures",
//! Retries.
//! Left out on purpose: guessing from names or methods what may be repeated.

use std::collections::BTreeMap;

use map::services::settings_of;
use map::{ConnectionType, Map, NodeKind};

use super::ResilienceSettings;
use super::figures::percent;
use super::file::{ObservedEdge, Retries};
use super::shape::Shape;

/// A share of failed requests above which repeats make things worse.
const TOO_MANY_FAILED: f64 = 0.1;
/// The share of requests that may fail after all repeats.
const LEFT_OVER: f64 = 1e-4;
/// The least budget, in per cent of the requests under way. Source: Google SRE, "Handling Overload",
/// per-client retry budget.
const MIN_BUDGET: u32 = 10;
/// The largest, which is Envoy's default. Source:
/// `envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget`.
const MAX_BUDGET: u32 = 20;
/// Envoy's default for `min_retry_concurrency`.
const MIN_CONCURRENCY: u32 = 3;
/// Time before the first repeat at most, in milliseconds; it doubles. Envoy's default base interval.
pub(super) const BACKOFF_MS: f64 = 25.0;

/// What is decided for a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) retries: Option<Retries>,
    /// Repeats that the caller makes by itself already, for which a timeout must have room.
    pub(super) own: u32,
    pub(super) because: String,
}

impl Decision {
    fn none(because: impl Into<String>) -> Self {
        Self {
            because: because.into(),
            ..Self::default()
        }
    }

    /// Repeats that a timeout has room for.
    pub(super) fn count(&self) -> u32 {
        self.retries.map_or(self.own, |retries| retries.attempts)
    }
}

/// The longest time between `n` repeats and their attempts together, in milliseconds. Envoy waits at random
/// up to `(2^i - 1)` times the base before repeat `i`.
pub(super) fn backoff_ms(n: u32) -> f64 {
    (1..=n).map(|i| BACKOFF_MS * (f64::from(i).exp2() - 1.0)).sum()
}

/// A decision for each call of `shape`, by index.
pub(super) fn decide(
    map: &Map,
    shape: &Shape<'_>,
    observed: &[Result<ObservedEdge, String>],
    settings: &ResilienceSettings,
) -> Vec<Decision> {
    let mut decisions = vec![Decision::default(); shape.calls.len()];
    let mut chains = Chains::new(shape);
    // Who repeats already, repeats.
    for (i, call) in shape.calls.iter().enumerate() {
        let repeated = observed[i].as_ref().map_or(0.0, |seen| seen.repeated);
        if repeated > 0.0 {
            let id = map.edge_id(call.key);
            chains.take(i, format!("`{id}` is repeated by its caller already"));
            decisions[i] = Decision {
                own: 1,
                because: format!(
                    "the caller repeats by itself already ({} of its requests repeat a failed one): a mesh \
                     that repeats too multiplies",
                    percent(repeated)
                ),
                ..Decision::default()
            };
        }
    }
    // The callee nearest to the end of its chain first.
    let mut place = vec![0; shape.nodes.len()];
    shape
        .order
        .iter()
        .enumerate()
        .for_each(|(at, &node)| place[node] = at);
    let mut candidates: Vec<usize> = (0..shape.calls.len())
        .filter(|&i| decisions[i].own == 0)
        .collect();
    candidates.sort_by_key(|&i| (std::cmp::Reverse(place[shape.calls[i].server]), i));
    for i in candidates {
        decisions[i] = decide_one(map, shape, i, &observed[i], settings, &chains);
        if decisions[i].retries.is_some() {
            let id = map.edge_id(shape.calls[i].key);
            chains.take(i, format!("`{id}` is where this chain repeats"));
        }
    }
    decisions
}

fn decide_one(
    map: &Map,
    shape: &Shape<'_>,
    i: usize,
    observed: &Result<ObservedEdge, String>,
    settings: &ResilienceSettings,
    chains: &Chains<'_, '_>,
) -> Decision {
    let call = &shape.calls[i];
    let key = call.key;
    if map.kind(&key.server) == NodeKind::Destination
        || key.connection_type == ConnectionType::MessagingSystem
    {
        return Decision::none("none: a message that is sent twice is processed twice");
    }
    if matches!(map.kind(&key.client), NodeKind::User | NodeKind::Unknown) {
        return Decision::none("none: the caller is not ours");
    }
    let is_idempotent = settings_of(&map.services, &key.server)
        .and_then(|stated| stated.resilience.as_ref())
        .is_some_and(|stated| stated.idempotent);
    if !is_idempotent {
        return Decision::none(format!(
            "none: nobody states that requests to `{0}` may be repeated \
             (`services.{0}.resilience.idempotent`)",
            key.server
        ));
    }
    if settings.max_retries == 0 {
        return Decision::none("none: `max_retries` is 0");
    }
    if call.in_cycle {
        return Decision::none("none: the call is part of a cycle, and repeats in a cycle multiply");
    }
    let seen = match observed {
        Ok(seen) => seen,
        Err(why) => return Decision::none(why.clone()),
    };
    if let Some(why) = chains.conflict(i) {
        return Decision::none(format!(
            "none: {why}, and repeats at two places of a chain multiply"
        ));
    }
    some(seen, settings)
}

/// As many as leave one request in ten thousand failed, if failures were independent.
fn some(seen: &ObservedEdge, settings: &ResilienceSettings) -> Decision {
    let failed = likely_failed(seen);
    if failed > TOO_MANY_FAILED {
        return Decision::none(format!(
            "none: {} of the requests fail, and repeats would load what fails already",
            percent(failed)
        ));
    }
    let enough = |n: &u32| failed.powi(*n as i32 + 1) <= LEFT_OVER;
    let attempts = (1..=settings.max_retries)
        .find(enough)
        .unwrap_or(settings.max_retries);
    let budget = ((200.0 * failed).ceil() as u32).clamp(MIN_BUDGET, MAX_BUDGET);
    let retries = Retries {
        attempts,
        budget_percent: budget,
        min_concurrency: MIN_CONCURRENCY,
    };
    Decision {
        because: format!(
            "stated to be idempotent; at most {} of the requests fail, so {attempts} leave{} some {} \
             failed; never more than \
             {budget} % of the requests under way, and on no other layer of this chain",
            percent(failed),
            if attempts == 1 { "s" } else { "" },
            percent(failed.powi(attempts as i32 + 1)),
        ),
        retries: Some(retries),
        own: 0,
    }
}

/// The failed share by Laplace's rule of succession: none of 200 is evidence of something rare.
pub(super) fn likely_failed(seen: &ObservedEdge) -> f64 {
    let requests = seen.requests as f64;
    ((seen.failed * requests + 1.0) / (requests + 2.0)).clamp(0.0, 1.0)
}

/// Which calls lie on one chain with a call that is repeated.
struct Chains<'s, 'm> {
    shape: &'s Shape<'m>,
    /// By node, the first repeated call that it waits for.
    above: Vec<Option<usize>>,
    /// By node, the first repeated call that waits for it.
    below: Vec<Option<usize>>,
    /// Why, by repeated call.
    taken: BTreeMap<usize, String>,
}

impl<'s, 'm> Chains<'s, 'm> {
    fn new(shape: &'s Shape<'m>) -> Self {
        let nodes = shape.nodes.len();
        Self {
            shape,
            above: vec![None; nodes],
            below: vec![None; nodes],
            taken: BTreeMap::new(),
        }
    }

    fn take(&mut self, i: usize, why: String) {
        let call = self.shape.calls[i];
        self.shape.mark_callers(call.client, i, &mut self.above);
        self.shape.mark_callees(call.server, i, &mut self.below);
        self.taken.insert(i, why);
    }

    /// Why call `i` must not be repeated: a repeated call that it leads to or that leads to it.
    fn conflict(&self, i: usize) -> Option<&str> {
        let call = self.shape.calls[i];
        let other = self.above[call.server].or(self.below[call.client])?;
        self.taken.get(&other).map(String::as_str)
    }
}
