//! What the map saw, as numbers that stay while little changes.
//!
//! In: statistics of an edge or a node, and the numbers before. Out: [`ObservedEdge`] and
//! [`ObservedService`], or why not. Everything else follows from these alone, so that timeouts which fit each
//! other still do after one of them was held.
//! Left out on purpose: what the numbers mean.

use map::{Edge, Histogram, Map, Node, NodeStats};

use super::ResilienceSettings;
use super::figures::{held, two_figures};
use super::file::{ObservedEdge, ObservedService};
use super::shape::Shape;

/// Seconds below which a rate says nothing.
const MIN_SPAN: f64 = 60.0;
/// A day: whatever is slower is an accident of a clock.
const MOST_MS: f64 = 86_400_000.0;
/// The share of calls that no objective may cut into.
const LOW: f64 = 0.95;
/// Repeats below this count may be chance: two requests that look alike.
const MIN_REPEATS: f64 = 5.0;

/// What an edge showed, or why that is not enough.
pub(super) fn edge(
    edge: &Edge,
    settings: &ResilienceSettings,
    before: Option<&ObservedEdge>,
) -> Result<ObservedEdge, String> {
    let (stats, least) = (&edge.stats, settings.min_requests as f64);
    // An edge that had numbers keeps them while it lacks little.
    let least_now = if before.is_some() { 0.8 * least } else { least };
    let (seconds, callee_only) = seconds(edge);
    let seen = seconds.count() as f64;
    if stats.requests <= 0.0 && seen <= 0.0 {
        return Err("nothing observed".to_owned());
    }
    if seen < least_now {
        return Err(format!("not enough data: fewer than {least} requests were timed"));
    }
    let requests = stats.requests.max(seen);
    let share = |part: f64| (part / requests).clamp(0.0, 1.0);
    let repeats = if stats.retries >= MIN_REPEATS {
        stats.retries
    } else {
        0.0
    };
    let span = edge.seen.last.saturating_sub(edge.seen.first) as f64 / 1e9;
    let keep = |value: f64, of: fn(&ObservedEdge) -> f64| held(value, before.map(of));
    let calls_per_visit = stats.fan_out.quantile(0.99).unwrap_or(1.0).max(1.0).round();
    let rate = (span >= MIN_SPAN).then(|| requests / span);
    Ok(ObservedEdge {
        requests: keep(requests, |b| b.requests as f64) as u64,
        rate: rate.map(|rate| held(rate, before.and_then(|b| b.rate))),
        failed: keep(share(stats.failed), |b| b.failed),
        repeated: keep(share(repeats), |b| b.repeated),
        mean_ms: keep(millis(seconds.mean()), |b| b.mean_ms),
        p50_ms: keep(millis(seconds.quantile(0.5)), |b| b.p50_ms),
        p95_ms: keep(millis(seconds.quantile(LOW)), |b| b.p95_ms),
        high_ms: keep(millis(seconds.quantile(settings.quantile)), |b| b.high_ms),
        calls_per_visit: keep(calls_per_visit, |b| f64::from(b.calls_per_visit)) as u32,
        callee_only,
    })
}

/// How long calls took as the caller saw it, else as the callee did; the second value is true for the latter.
pub(super) fn seconds(edge: &Edge) -> (&Histogram, bool) {
    let (client, server) = (&edge.stats.client, &edge.stats.server);
    if client.is_empty() && !server.is_empty() {
        (server, true)
    } else {
        (client, false)
    }
}

/// What a service showed of its own time, and of how its calls lie beside each other.
pub(super) fn service(
    map: &Map,
    shape: &Shape<'_>,
    node: usize,
    settings: &ResilienceSettings,
    before: Option<&ObservedService>,
) -> ObservedService {
    let none = Node::default();
    let stats = &map.nodes.get(shape.nodes[node]).unwrap_or(&none).stats;
    let is_enough = |histogram: &Histogram| histogram.count() >= settings.min_requests;
    let own = |q: f64| is_enough(&stats.own).then(|| millis(stats.own.quantile(q)));
    let overlap = is_enough(&stats.own)
        .then(|| overlap(map, shape, node, stats))
        .flatten()
        .filter(|_| is_enough(&stats.total));
    ObservedService {
        own_ms: own(settings.quantile).map(|own| held(own, before.and_then(|b| b.own_ms))),
        own_p95_ms: own(LOW).map(|own| held(own, before.and_then(|b| b.own_p95_ms))),
        overlap: overlap.map(|overlap| held(overlap, before.and_then(|b| b.overlap)).min(1.0)),
    }
}

/// The union of a visit's calls against their sum, both in the mean. Own time is what the union leaves of the
/// visit.
fn overlap(map: &Map, shape: &Shape<'_>, node: usize, stats: &NodeStats) -> Option<f64> {
    let waited = stats.total.mean()? - stats.own.mean()?;
    let edges = shape.out[node]
        .iter()
        .filter_map(|&call| map.edges.get(shape.calls[call].key));
    let summed: f64 = edges
        .map(|edge| edge.stats.requests * seconds(edge).0.mean().unwrap_or(0.0))
        .sum();
    let summed = summed / stats.requests;
    let ratio = waited / summed;
    // Nine tenths are the noise of means; what calls beyond their visit makes less than a tenth of it.
    (ratio.is_finite() && summed > 0.0 && waited > 0.0).then(
        || {
            if ratio >= 0.9 { 1.0 } else { ratio.max(0.1) }
        },
    )
}

/// Share of the calls that took longer than `attempt` milliseconds; `None` where none did.
pub(super) fn cut_off(edge: &Edge, attempt: u64, before: Option<f64>) -> Option<f64> {
    let (seconds, _) = seconds(edge);
    let limit = attempt as f64 / 1e3;
    // A bucket that the limit lies in counts as below it. Its width is a factor of 2^(2^-scale), at best 4.4
    // %.
    let width = (-f64::from(seconds.scale())).exp2().exp2();
    let is_above = |(upper, _): &(f64, u64)| upper / width >= limit * (1.0 - 1e-9);
    let above: u64 = seconds.buckets().filter(is_above).map(|(_, n)| n).sum();
    let share = two_figures(above as f64 / seconds.count() as f64);
    (share > 0.0).then(|| held(share, before))
}

fn millis(seconds: Option<f64>) -> f64 {
    (seconds.unwrap_or(0.0) * 1e3).clamp(0.0, MOST_MS)
}
