//! What holds for any traces: rare edges, rates, restarts.
//!
//! In: random traces at random times. Out: the promises. Left out on purpose: single policies, which have their tables.

mod support;

use std::collections::HashMap;

use otlp::view::Value;
use proptest::prelude::*;
use sampling::{Decision, EdgeRef, Predicates, Sampler, SamplerState, SpanBits};
use support::{SECOND, Trace, load, sampler};

/// Edges with their failures, spans, bytes, and the pause before in milliseconds.
type Arrival = (Vec<(u64, bool)>, u32, u64, u64);

fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let edges = prop::collection::vec((0..6u64, any::<bool>()), 0..4);
    prop::collection::vec((edges, 1..40u32, 1..4000u64, 0..2000u64), 1..200)
}

fn judge(sampler: &mut Sampler, arrival: &Arrival, now: u64) -> bool {
    let none = Predicates::default();
    let mut trace = Trace::new(&none);
    let edges: Vec<_> = arrival
        .0
        .iter()
        .map(|&(edge, failed)| (EdgeRef(edge), failed))
        .collect();
    trace.edges = &edges;
    (trace.spans, trace.bytes) = (arrival.1, arrival.2);
    trace.errors = arrival.2.is_multiple_of(5);
    trace.id[8..].copy_from_slice(&(arrival.2.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes());
    matches!(sampler.decide(&trace.facts(), now), Decision::Keep { .. })
}

fn times(arrivals: &[Arrival]) -> Vec<u64> {
    let start = 1_800_000_000 * SECOND;
    let pauses = arrivals.iter().map(|arrival| arrival.3 * 1_000_000);
    pauses
        .scan(start, |now, pause| {
            *now += pause;
            Some(*now)
        })
        .collect()
}

/// The most that a token bucket of this rate and burst lets pass in any stretch of time.
fn exceeds(kept: &[(u64, u64)], rate: f64, burst: f64) -> Option<(u64, u64)> {
    for (i, &(from, _)) in kept.iter().enumerate() {
        let mut sum = 0;
        for &(to, amount) in kept.iter().skip(i) {
            sum += amount;
            if sum as f64 > burst + rate * (to - from) as f64 / SECOND as f64 + 1e-3 {
                return Some((from, to));
            }
        }
    }
    None
}

proptest! {
    #[test]
    fn each_edge_and_status_gets_its_traces_in_each_window(arrivals in arrivals()) {
        let (mut sampler, _) = sampler(
            "policies: [{name: e, type: errors}, {name: r, type: rare_edges, rare_edges: {min_traces: 3, per: 10s}}]",
        );
        let (mut seen, mut kept) = (HashMap::new(), HashMap::new());
        for (arrival, now) in arrivals.iter().zip(times(&arrivals)) {
            let keeps = judge(&mut sampler, arrival, now);
            let mut edges = arrival.0.clone();
            edges.sort_unstable();
            edges.dedup();
            for edge in edges {
                *seen.entry((now / (10 * SECOND), edge)).or_insert(0u32) += 1;
                *kept.entry((now / (10 * SECOND), edge)).or_insert(0u32) += u32::from(keeps);
            }
        }
        for (key, seen) in seen {
            prop_assert!(kept[&key] >= seen.min(3), "{key:?}: {} of {seen}", kept[&key]);
        }
    }

    #[test]
    fn no_rate_is_ever_exceeded(arrivals in arrivals()) {
        let cases = [
            ("policies: [{name: p, type: rate_limiting, rate_limiting: {spans_per_second: 20}}]", 20.0, 40.0, false),
            ("policies: [{name: p, type: rate_limiting, rate_limiting: {spans_per_second: 20, burst_capacity: 60}}]", 20.0, 60.0, false),
            ("policies: [{name: p, type: bytes_limiting, bytes_limiting: {bytes_per_second: 3000}}]", 3000.0, 6000.0, true),
            ("{max_spans_per_second: 25, policies: [{name: r, type: rare_edges}, {name: p, type: always_sample}]}", 25.0, 50.0, false),
        ];
        for (yaml, rate, burst, bytes) in cases {
            let (mut sampler, _) = sampler(yaml);
            let mut kept = Vec::new();
            for (arrival, now) in arrivals.iter().zip(times(&arrivals)) {
                if judge(&mut sampler, arrival, now) {
                    kept.push((now, if bytes { arrival.2 } else { arrival.1.into() }));
                }
            }
            prop_assert_eq!(exceeds(&kept, rate, burst), None, "{}", yaml);
        }
    }

    #[test]
    fn a_composite_keeps_no_more_in_any_second_than_its_total(arrivals in arrivals()) {
        // Shares of more than the whole, which the check refuses: the total holds all the same.
        let settings = config::load(
            "t.yaml",
            "policies: [{name: c, type: composite, composite: {max_total_spans_per_second: 30, policy_order: [a, b],
             composite_sub_policy: [{name: a, type: errors}, {name: b, type: always_sample}],
             rate_allocation: [{policy: a, percent: 90}, {policy: b, percent: 60}]}}]",
            [],
        );
        let mut sampler = Sampler::new(&settings.unwrap());
        let mut kept: HashMap<u64, u32> = HashMap::new();
        for (arrival, now) in arrivals.iter().zip(times(&arrivals)) {
            if judge(&mut sampler, arrival, now) {
                *kept.entry(now / SECOND).or_default() += arrival.1;
            }
        }
        prop_assert!(kept.values().all(|spans| *spans <= 30), "{kept:?}");
    }

    #[test]
    fn a_restart_changes_no_decision(arrivals in arrivals(), at in 0..200usize) {
        let yaml = "{max_spans_per_second: 60, policies: [
            {name: e, type: errors}, {name: r, type: rare_edges, rare_edges: {min_traces: 2, per: 20s}},
            {name: c, type: composite, composite: {max_total_spans_per_second: 30, policy_order: [a], composite_sub_policy: [{name: a, type: probabilistic, probabilistic: {sampling_percentage: 50}}]}},
            {name: l, type: rate_limiting, rate_limiting: {spans_per_second: 7}}]}";
        let settings = load(yaml);
        let (mut going, mut restarted) = (Sampler::new(&settings), Sampler::new(&settings));
        for (i, (arrival, now)) in arrivals.iter().zip(times(&arrivals)).enumerate() {
            if i == at {
                let text = serde_json::to_string(&restarted.save()).unwrap();
                let state: SamplerState = serde_json::from_str(&text).unwrap();
                restarted = Sampler::new(&settings);
                prop_assert!(restarted.restore(state));
            }
            prop_assert_eq!(judge(&mut going, arrival, now), judge(&mut restarted, arrival, now));
        }
        let other = load("policies: [{name: e, type: errors}]");
        prop_assert!(!Sampler::new(&other).restore(going.save()), "the state of other settings");
    }

    #[test]
    fn the_order_of_spans_plays_no_part(mut attributes in prop::collection::vec((0..4usize, 0..5i64), 0..30), seed in any::<u64>()) {
        let (_, predicates) = sampler(
            "policies: [{name: a, type: numeric_attribute, numeric_attribute: {key: k0, min_value: 3}},
             {name: b, type: numeric_attribute, numeric_attribute: {key: k1, max_value: 2, invert_match: true}},
             {name: c, type: string_attribute, string_attribute: {key: k2, values: ['3']}}]",
        );
        let bits = |attributes: &[(usize, i64)]| {
            let mut bits = SpanBits::default();
            for (key, value) in attributes {
                let (key, text) = (format!("k{key}"), value.to_string());
                predicates.note(&mut bits, &key, Value::Int(*value));
                predicates.note(&mut bits, &key, Value::Str(&text));
            }
            bits
        };
        let before = bits(&attributes);
        attributes.sort_by_key(|(key, value)| seed.wrapping_mul(*key as u64 * 7 + *value as u64 + 1));
        prop_assert_eq!(bits(&attributes), before);
        let (one, other) = attributes.split_at(attributes.len() / 2);
        prop_assert_eq!(bits(other) | bits(one), before, "resource and span apart");
    }
}

#[test]
fn near_the_limit_the_policies_that_stand_lower_make_way_first() {
    let (mut sampler, none) = sampler(
        "{max_spans_per_second: 100, policies: [{name: e, type: errors}, {name: all, type: always_sample}]}",
    );
    let mut kept = |errors: bool| {
        let mut trace = Trace::new(&none);
        (trace.errors, trace.spans) = (errors, 10);
        let decision = sampler.decide(&trace.facts(), SECOND);
        support::said(&sampler, decision)
    };
    let usual = (0..20).filter(|_| kept(false) == "kept by all").count();
    assert_eq!(usual, 15, "three quarters of the burst of 200");
    assert_eq!(kept(false), "rate_limit by all");
    assert_eq!((0..6).filter(|_| kept(true) == "kept by e").count(), 5);
}

#[test]
fn a_saved_state_that_fits_no_longer_is_refused() {
    let settings = load("policies: [{name: l, type: rate_limiting, rate_limiting: {spans_per_second: 7}}]");
    let good = serde_json::to_value(Sampler::new(&settings).save()).unwrap();
    for (path, value) in [
        ("/memory/buckets", serde_json::json!([])),
        ("/memory/buckets/0/rate", 1e18.into()),
        ("/memory/buckets/0/tokens", 1e18.into()),
        ("/fingerprint", 1.into()),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(path).unwrap() = value;
        let state: SamplerState = serde_json::from_value(bad).unwrap();
        assert!(!Sampler::new(&settings).restore(state), "{path}");
    }
    assert!(Sampler::new(&settings).restore(serde_json::from_value(good).unwrap()));
}
