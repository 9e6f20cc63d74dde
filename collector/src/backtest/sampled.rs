//! What a plan would have kept of recorded traces, beside the same share of all.
//!
//! In: a recording, its faults, a budget as a share of its spans. Out: for each fault how many slow traces of the edges to the node at
//! fault there were, and how many of them each way of sampling keeps.
//! Left out on purpose: tail sampling, which would have to be sent everything first, and modes, since recordings are of SDKs and meshes.
//!
//! Traces are sampled where they begin, by a hash of their id and a seed. The planner sees nothing but what was kept, with its weights, and
//! looks again every [`PlanSettings::interval`] of the recording's time. Evenly sampled is the same number of spans in the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use instrumentation::plan::{Budget, PlanSettings};
use map::roots::RootKey;

use super::faults::Class;
use super::{BacktestSettings, Fault, Learning, Recording, TICK, begun};
use crate::planner::Planner;
use crate::read::{Extracted, Received};
use crate::span::TraceId;

/// Seconds without a span in this many are no time of the recording.
const GAP: u64 = 60_000_000_000;
/// A call is slow above the healthy 95th percentile of its kind by this factor, and by so many nanoseconds.
const SLOW_FACTOR: f64 = 1.2;
/// See [`SLOW_FACTOR`].
const SLOW_BY: u64 = 5_000_000;
/// Slow traces that are enough to look into a fault.
pub const ENOUGH_TRACES: f64 = 20.0;

/// What was kept of one fault, in the mean of all seeds.
#[derive(Clone, Debug)]
pub struct Survived {
    /// The fault.
    pub fault: Fault,
    /// Traces with a slow call to the node during the fault.
    pub slow: usize,
    /// Of them those that the plan keeps.
    pub planned: f64,
    /// Of them those that an even share keeps.
    pub even: f64,
    /// In how many of the seeds the plan keeps at least [`ENOUGH_TRACES`], 0 to 1; the same of the even share.
    pub enough: (f64, f64),
}

/// What was kept of a recording.
#[derive(Clone, Debug)]
pub struct Sampled {
    /// By fault, in the order of time. Controls are left out.
    pub faults: Vec<Survived>,
    /// The share of all spans that the plan kept, in the mean.
    pub share: f64,
}

/// Samples the recording both ways, once for each seed.
pub fn sampled(
    recording: &Recording,
    faults: &[Fault],
    settings: &BacktestSettings,
    (plan, share): (&PlanSettings, f64),
    seeds: u64,
) -> Sampled {
    let traces = Traces::new(recording);
    let slow = slow_traces(recording, faults);
    let mut kept = vec![(0.0, 0.0, 0.0, 0.0); faults.len()];
    let mut shares = 0.0;
    for seed in 0..seeds {
        let planned = planned(recording, faults, settings, (plan, share), (&traces, seed));
        let spans: usize = planned.iter().map(|trace| traces.spans[trace]).sum();
        let even_share = spans as f64 / recording.len().max(1) as f64;
        shares += even_share;
        for (sums, slow) in kept.iter_mut().zip(&slow) {
            let by_plan = slow.iter().filter(|trace| planned.contains(*trace)).count() as f64;
            // Another seed, so that neither is lucky in the same traces.
            let evenly = slow.iter().filter(|trace| drawn(trace, seed ^ EVEN) < even_share);
            let evenly = evenly.count() as f64;
            sums.0 += by_plan;
            sums.1 += evenly;
            sums.2 += f64::from(u8::from(by_plan >= ENOUGH_TRACES));
            sums.3 += f64::from(u8::from(evenly >= ENOUGH_TRACES));
        }
    }
    let n = seeds.max(1) as f64;
    let survived = |((fault, slow), sums): ((&Fault, &BTreeSet<TraceId>), &(f64, f64, f64, f64))| Survived {
        fault: fault.clone(),
        slow: slow.len(),
        planned: sums.0 / n,
        even: sums.1 / n,
        enough: (sums.2 / n, sums.3 / n),
    };
    let all = faults.iter().zip(&slow).zip(&kept);
    Sampled {
        faults: all
            .filter(|((fault, _), _)| fault.class() != Class::Control)
            .map(survived)
            .collect(),
        share: shares / n,
    }
}

/// Turns a seed into that of the other way.
const EVEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Where the traces of a recording begin.
struct Traces {
    roots: HashMap<TraceId, RootKey>,
    spans: HashMap<TraceId, usize>,
    /// Spans a second while there are any.
    rate: f64,
}

impl Traces {
    fn new(recording: &Recording) -> Self {
        let mut first: HashMap<TraceId, &Received> = HashMap::new();
        let mut spans: HashMap<TraceId, usize> = HashMap::new();
        let mut active = 0;
        let mut before = recording.extent().0;
        for received in recording.spans() {
            *spans.entry(received.trace).or_default() += 1;
            let earliest = first.entry(received.trace).or_insert(received);
            let begins = |received: &Received| (received.span.parent_id != 0, received.span.start);
            if begins(received) < begins(earliest) {
                *earliest = received;
            }
            active += (received.span.end - before).min(GAP);
            before = received.span.end;
        }
        let root = |(trace, received): (TraceId, &Received)| {
            let operation = &received.span.operation;
            let node = operation
                .service
                .map_or("unknown".into(), |service| service.id.clone());
            let key = RootKey {
                node,
                operation: operation.get().name.to_string(),
            };
            (trace, key)
        };
        Self {
            roots: first.into_iter().map(root).collect(),
            spans,
            rate: recording.len() as f64 / (active as f64 / 1e9).max(1.0),
        }
    }
}

/// The traces that a planner keeps.
fn planned(
    recording: &Recording,
    faults: &[Fault],
    settings: &BacktestSettings,
    (plan, share): (&PlanSettings, f64),
    (traces, seed): (&Traces, u64),
) -> BTreeSet<TraceId> {
    let mut engine = begun(recording, faults, Learning::Offline, settings);
    let plan = PlanSettings {
        budget: Budget {
            spans_per_second: Some(traces.rate * share),
            ..Budget::default()
        },
        ..plan.clone()
    };
    let every = u64::try_from(plan.interval.get().as_nanos()).unwrap_or(u64::MAX);
    let mut planner = Planner::new(plan);
    let (first, _) = recording.extent();
    planner.look(&engine.glance(first), None);
    let mut shares: BTreeMap<RootKey, f64> = BTreeMap::new();
    let mut decided: HashMap<TraceId, Option<f32>> = HashMap::new();
    let _ = engine.take(recording.introduction(), first);
    let (mut now, mut due) = (first - first % TICK, first + every);
    let mut rest = recording.spans();
    while let Some(next) = rest.first() {
        // Gaps are stepped over: no plan changes in them.
        now = (now + TICK).max(next.span.end - next.span.end % TICK);
        let (ended, later) = rest.split_at(rest.partition_point(|received| received.span.end <= now));
        rest = later;
        let mut kept = Vec::new();
        for received in ended {
            let weight = *decided.entry(received.trace).or_insert_with(|| {
                let of_root = traces
                    .roots
                    .get(&received.trace)
                    .and_then(|root| shares.get(root));
                let share = of_root.copied().unwrap_or(share);
                (drawn(&received.trace, seed) < share).then(|| (1.0 / share) as f32)
            });
            if let Some(weight) = weight {
                let mut received = received.clone();
                received.span.weight = weight;
                kept.push(received);
            }
        }
        let extracted = Extracted {
            spans: kept,
            ..Extracted::default()
        };
        let taken = engine.take(extracted, now);
        debug_assert!(taken.is_ok(), "a table without a bound is never full");
        engine.tick(now);
        if now >= due {
            due = now + every;
            if let Some(plan) = planner.look(&engine.glance(now), None) {
                let share = |root: &instrumentation::plan::PlannedRoot| {
                    let key = RootKey {
                        node: root.node.clone(),
                        operation: root.operation.clone().unwrap_or_default(),
                    };
                    (key, root.share)
                };
                shares = plan.roots.iter().map(share).collect();
            }
        }
    }
    let kept = decided.into_iter().filter(|(_, weight)| weight.is_some());
    kept.map(|(trace, _)| trace).collect()
}

/// A number from 0 to 1 that a trace and a seed always have (FNV-1a, then the finaliser of `SplitMix64`).
fn drawn(trace: &TraceId, seed: u64) -> f64 {
    let bytes = trace.iter().copied().chain(seed.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

/// By fault, the traces in which a call to its node was slow while it lasted.
fn slow_traces(recording: &Recording, faults: &[Fault]) -> Vec<BTreeSet<TraceId>> {
    let by_id: HashMap<(TraceId, u64), &Received> = recording
        .spans()
        .iter()
        .map(|received| ((received.trace, received.span.id), received))
        .collect();
    let labelled: Vec<_> = faults.iter().map(Fault::window).collect();
    let mut calls: Vec<Call> = Vec::new();
    for received in recording.spans() {
        let Some(service) = received.span.operation.service else {
            continue;
        };
        let parent = by_id.get(&(received.trace, received.span.parent_id));
        let caller = parent.filter(|parent| parent.span.operation.service != Some(service));
        let Some(caller) = caller.filter(|_| faults.iter().any(|fault| fault.is_at(service.id.as_str())))
        else {
            continue;
        };
        calls.push(Call {
            trace: received.trace,
            callee: service.id.as_str().to_owned(),
            operation: received.span.operation.get().name.to_string(),
            start: caller.span.start,
            took: caller.span.end - caller.span.start,
        });
    }
    let mut healthy: HashMap<(&str, &str), Vec<u64>> = HashMap::new();
    for call in &calls {
        if !labelled.iter().any(|window| window.contains(&call.start)) {
            healthy
                .entry((&call.callee, &call.operation))
                .or_default()
                .push(call.took);
        }
    }
    let usual: HashMap<(&str, &str), u64> = healthy
        .into_iter()
        .map(|(key, mut took)| {
            took.sort_unstable();
            let high = took[(took.len() - 1) * 95 / 100];
            (key, ((high as f64 * SLOW_FACTOR) as u64).max(high + SLOW_BY))
        })
        .collect();
    let of_fault = |fault: &Fault| {
        let window = fault.at..fault.window().end;
        let slow = calls.iter().filter(|call| {
            let most = usual.get(&(call.callee.as_str(), call.operation.as_str()));
            fault.is_at(&call.callee)
                && window.contains(&call.start)
                && most.is_some_and(|most| call.took > *most)
        });
        slow.map(|call| call.trace).collect()
    };
    faults.iter().map(of_fault).collect()
}

/// A call to a node that is at fault at some time.
struct Call {
    trace: TraceId,
    callee: String,
    operation: String,
    start: u64,
    took: u64,
}

/// As a table for people.
pub fn sampled_text(sampled: &Sampled) -> String {
    use std::fmt::Write as _;

    let mut text = format!(
        "{:.2} % of all spans kept\nfault | slow traces | kept by the plan | kept evenly | 20 kept: plan, evenly\n",
        100.0 * sampled.share
    );
    for of in &sampled.faults {
        let _ = writeln!(
            text,
            "{} {} {} | {} | {:.1} | {:.1} | {:.0} %, {:.0} %",
            humantime::format_rfc3339_seconds(
                std::time::UNIX_EPOCH + std::time::Duration::from_nanos(of.fault.at)
            ),
            of.fault.service,
            of.fault.kind,
            of.slow,
            of.planned,
            of.even,
            100.0 * of.enough.0,
            100.0 * of.enough.1
        );
    }
    let could: Vec<&Survived> = sampled
        .faults
        .iter()
        .filter(|of| of.slow as f64 >= ENOUGH_TRACES)
        .collect();
    let mean =
        |of: fn(&Survived) -> f64| could.iter().map(|one| of(one)).sum::<f64>() / could.len().max(1) as f64;
    let _ = writeln!(
        text,
        "of {} faults with 20 slow traces or more, the plan keeps 20 in {:.0} %, an even share in {:.0} %",
        could.len(),
        100.0 * mean(|of| of.enough.0),
        100.0 * mean(|of| of.enough.1)
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_even_and_another_seed_draws_otherwise() {
        let trace = |n: u64| {
            let mut id = [7; 16];
            id[8..].copy_from_slice(&n.to_be_bytes());
            id
        };
        let below = (0..10_000).filter(|n| drawn(&trace(*n), 1) < 0.1).count();
        assert!((900..1_100).contains(&below), "{below}");
        let both = (0..10_000).filter(|n| drawn(&trace(*n), 1) < 0.1 && drawn(&trace(*n), 2) < 0.1);
        assert!((50..160).contains(&both.count()));
    }
}
