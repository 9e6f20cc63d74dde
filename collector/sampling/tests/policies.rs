//! Each policy by what the processor's documentation says of it, as a table: policies, a trace, what becomes of it.
//!
//! In: YAML as an operator writes it. Out: decisions. Left out on purpose: how the facts come about.

mod support;

use config::ConfigErrors;
use otlp::view::{StatusCode, Value};
use sampling::{PolicyIndex, Predicates, Sampler, SamplingSettings, SpanBits};
use support::{SECOND, Trace, load, sampler};

/// Judges one trace by one policy, written without its name.
fn check(policy: &str, trace: impl Fn(&mut Trace), expected: &str) {
    let yaml = format!("policies: [{{name: p, {policy}}}]");
    let (mut sampler, predicates) = sampler(&yaml);
    let mut facts = Trace::new(&predicates);
    trace(&mut facts);
    let decision = sampler.decide(&facts.facts(), 100 * SECOND);
    assert_eq!(support::said(&sampler, decision), expected, "{policy}");
}

#[test]
fn always_sample_keeps_everything_and_no_policy_that_wants_a_trace_keeps_nothing() {
    check("type: always_sample", |_| {}, "kept by p");
    check("type: errors", |_| {}, "unwanted");
    check("type: errors", |t| t.errors = true, "kept by p");
    check("type: slow", |_| {}, "unwanted");
    check("type: slow", |t| t.slow = true, "kept by p");
}

#[test]
fn latency_is_from_the_first_start_to_the_last_end_in_whole_milliseconds() {
    let ms = |n: u64| move |t: &mut Trace| t.duration_nanos = n * 1_000_000;
    let least = "type: latency, latency: {threshold_ms: 5000}";
    check(least, ms(4999), "unwanted");
    check(least, ms(5000), "kept by p");
    let between = "type: latency, latency: {threshold_ms: 5000, upper_threshold_ms: 10000}";
    check(between, ms(5000), "unwanted");
    check(between, ms(5001), "kept by p");
    check(between, ms(10_000), "kept by p");
    check(between, ms(10_001), "unwanted");
}

#[test]
fn a_numeric_attribute_lies_in_a_range_with_both_ends() {
    let int = |n: i64| move |t: &mut Trace| t.note("key1", Value::Int(n));
    let range = "type: numeric_attribute, numeric_attribute: {key: key1, min_value: 50, max_value: 100}";
    check(range, int(49), "unwanted");
    check(range, int(50), "kept by p");
    check(range, int(100), "kept by p");
    check(range, int(101), "unwanted");
    check(range, |t| t.note("key1", Value::Double(99.5)), "kept by p");
    check(range, |t| t.note("key1", Value::Str("60")), "unwanted");
    check(range, |t| t.note("key2", Value::Int(60)), "unwanted");
    let least = "type: numeric_attribute, numeric_attribute: {key: key1, min_value: 50}";
    check(least, int(i64::MAX), "kept by p");
    let most = "type: numeric_attribute, numeric_attribute: {key: key1, max_value: 50}";
    check(most, int(i64::MIN), "kept by p");
    let not = "type: numeric_attribute, numeric_attribute: {key: key1, min_value: 50, max_value: 100, invert_match: true}";
    check(not, int(60), "unwanted");
    check(not, int(10), "kept by p");
    check(not, |_| {}, "kept by p");
}

#[test]
fn a_string_attribute_is_one_of_the_values_or_matches_one_of_the_patterns() {
    let text = |value: &'static str| move |t: &mut Trace| t.note("key2", Value::Str(value));
    let exact = "type: string_attribute, string_attribute: {key: key2, values: [value1, value2]}";
    check(exact, text("value1"), "kept by p");
    check(exact, text("value"), "unwanted");
    check(exact, text("value12"), "unwanted");
    check(exact, |t| t.note("key2", Value::Int(1)), "unwanted");
    let pattern = "type: string_attribute, string_attribute: {key: key2, values: ['^/v[0-9]/', health], enabled_regex_matching: true, cache_max_size: 10}";
    check(pattern, text("/v1/name"), "kept by p");
    check(pattern, text("a/health/b"), "kept by p");
    check(pattern, text("/vx/name"), "unwanted");
    let not = "type: string_attribute, string_attribute: {key: key2, values: [value1], invert_match: true}";
    check(not, text("value1"), "unwanted");
    check(not, text("other"), "kept by p");
    check(not, |_| {}, "kept by p");
}

#[test]
fn inverted_means_that_no_span_has_the_value_however_many_have_another() {
    let not = "type: string_attribute, string_attribute: {key: key2, values: [value1], invert_match: true}";
    let spans = |t: &mut Trace| {
        t.note("key2", Value::Str("other"));
        t.note("key2", Value::Str("value1"));
    };
    check(not, spans, "unwanted");
}

#[test]
fn a_boolean_attribute_has_the_value() {
    let flag = |value: bool| move |t: &mut Trace| t.note("key4", Value::Bool(value));
    let is = "type: boolean_attribute, boolean_attribute: {key: key4, value: true}";
    check(is, flag(true), "kept by p");
    check(is, flag(false), "unwanted");
    let not = "type: boolean_attribute, boolean_attribute: {key: key4, value: true, invert_match: true}";
    check(not, flag(true), "unwanted");
    check(not, flag(false), "kept by p");
}

#[test]
fn a_status_code_is_that_of_any_span() {
    let statuses = |t: &mut Trace| {
        t.bits.note_status(StatusCode::Unset);
        t.bits.note_status(StatusCode::Error);
    };
    check(
        "type: status_code, status_code: {status_codes: [ERROR]}",
        statuses,
        "kept by p",
    );
    check(
        "type: status_code, status_code: {status_codes: [OK, UNSET]}",
        statuses,
        "kept by p",
    );
    check(
        "type: status_code, status_code: {status_codes: [OK]}",
        statuses,
        "unwanted",
    );
}

#[test]
fn a_trace_state_has_a_member_with_one_of_the_values() {
    let state = |text: &'static str| move |t: &mut Trace| t.note_trace_state(text);
    let member = "type: trace_state, trace_state: {key: key3, values: [value1, value2]}";
    check(member, state("ot=th:8, key3=value2"), "kept by p");
    check(member, state("key3=value3"), "unwanted");
    check(member, state("other=value1"), "unwanted");
    check(member, |t| t.note("key3", Value::Str("value1")), "unwanted");
    check(member, state(",,=,key3"), "unwanted");
}

#[test]
fn a_span_count_has_both_ends() {
    let spans = |n: u32| move |t: &mut Trace| t.spans = n;
    let range = "type: span_count, span_count: {min_spans: 2, max_spans: 20}";
    check(range, spans(1), "unwanted");
    check(range, spans(2), "kept by p");
    check(range, spans(20), "kept by p");
    check(range, spans(21), "unwanted");
    check(
        "type: span_count, span_count: {min_spans: 2}",
        spans(u32::MAX),
        "kept by p",
    );
}

#[test]
fn a_probability_is_judged_by_the_56_random_bits() {
    let random = |bits: u64| move |t: &mut Trace| t.id[8..].copy_from_slice(&bits.to_be_bytes());
    let quarter = "type: probabilistic, probabilistic: {sampling_percentage: 25}";
    check(quarter, random(0x00c0_0000_0000_0000), "kept by p");
    check(quarter, random(0xffbf_ffff_ffff_ffff), "unwanted");
    check(quarter, |t| t.randomness = Some(0xff_ffff_ffff_ffff), "kept by p");
    check(
        "type: probabilistic, probabilistic: {sampling_percentage: 100}",
        random(0),
        "kept by p",
    );
    check(
        "type: probabilistic, probabilistic: {sampling_percentage: 0}",
        random(u64::MAX),
        "unwanted",
    );
}

#[test]
fn a_salt_makes_another_choice_of_the_same_size() {
    let kept = |salt: &str| -> Vec<bool> {
        let (mut sampler, predicates) = sampler(&format!(
            "policies: [{{name: p, type: probabilistic, probabilistic: {{sampling_percentage: 30, hash_salt: '{salt}'}}}}]"
        ));
        let mut seed = 1u64;
        let traces = (0..10_000).map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let mut trace = Trace::new(&predicates);
            trace.id[..8].copy_from_slice(&seed.to_be_bytes());
            trace.id[8..].copy_from_slice(&(seed ^ seed << 21 ^ seed >> 13).to_be_bytes());
            matches!(sampler.decide(&trace.facts(), 1), sampling::Decision::Keep { .. })
        });
        traces.collect()
    };
    let (none, blue, red) = (kept(""), kept("blue"), kept("red"));
    for choice in [&none, &blue, &red] {
        let share = choice.iter().filter(|kept| **kept).count();
        assert!((2800..3200).contains(&share), "{share}");
    }
    let both = |a: &[bool], b: &[bool]| a.iter().zip(b).filter(|(a, b)| **a && **b).count();
    for (a, b) in [(&none, &blue), (&blue, &red)] {
        assert!(
            (750..1050).contains(&both(a, b)),
            "{}: nine in a hundred if independent",
            both(a, b)
        );
    }
}

#[test]
fn and_wants_what_all_want_and_not_what_its_policy_does_not() {
    let and = "type: and, and: {and_sub_policy: [
        {name: a, type: numeric_attribute, numeric_attribute: {key: key1, min_value: 50, max_value: 100}},
        {name: b, type: not, not: {not_sub_policy: {name: c, type: string_attribute, string_attribute: {key: key2, values: [v]}}}}]}";
    check(and, |t| t.note("key1", Value::Int(60)), "kept by p");
    check(and, |_| {}, "unwanted");
    let both = |t: &mut Trace| {
        t.note("key1", Value::Int(60));
        t.note("key2", Value::Str("v"));
    };
    check(and, both, "unwanted");
}

#[test]
fn drop_refuses_whoever_else_wants_the_trace() {
    let yaml = "policies: [{name: all, type: always_sample}, {name: no, type: drop, drop: {drop_sub_policy: [
        {name: path, type: string_attribute, string_attribute: {key: url.path, values: [/health], enabled_regex_matching: true}}]}}]";
    let (mut sampler, predicates) = sampler(yaml);
    let mut trace = Trace::new(&predicates);
    let said = |sampler: &mut Sampler, trace: &Trace<'_>| {
        let decision = sampler.decide(&trace.facts(), 1);
        support::said(sampler, decision)
    };
    assert_eq!(said(&mut sampler, &trace), "kept by all");
    trace.note("url.path", Value::Str("/health/live"));
    trace.linked_kept = true;
    assert_eq!(said(&mut sampler, &trace), "dropped by no");
}

#[test]
fn a_trace_that_is_linked_to_a_kept_one_is_kept_unless_switched_off() {
    check("type: errors", |t| t.linked_kept = true, "kept by linked");
    let (mut sampler, predicates) = sampler("{keep_linked: false, policies: [{name: p, type: errors}]}");
    let mut trace = Trace::new(&predicates);
    trace.linked_kept = true;
    let decision = sampler.decide(&trace.facts(), 1);
    assert_eq!(support::said(&sampler, decision), "unwanted");
    assert_eq!(sampler.policy_name(PolicyIndex::LINKED), "linked");
    assert!(sampler.policy_names().eq(["p", "linked"]));
}

#[test]
fn a_trace_larger_than_the_burst_never_passes_a_rate() {
    let rate = "type: rate_limiting, rate_limiting: {spans_per_second: 35}";
    check(rate, |t| t.spans = 70, "kept by p");
    check(rate, |t| t.spans = 71, "unwanted");
    let bytes = "type: bytes_limiting, bytes_limiting: {bytes_per_second: 1000, burst_capacity: 5000}";
    check(bytes, |t| t.bytes = 5000, "kept by p");
    check(bytes, |t| t.bytes = 5001, "unwanted");
}

#[test]
fn a_composite_shares_its_rate_in_order() {
    let yaml = "policies: [{name: c, type: composite, composite: {
        max_total_spans_per_second: 1000, policy_order: [first, second, rest],
        composite_sub_policy: [
            {name: second, type: errors}, {name: first, type: slow}, {name: rest, type: always_sample}],
        rate_allocation: [{policy: first, percent: 50}, {policy: second, percent: 25}]}}]";
    let (mut sampler, predicates) = sampler(yaml);
    let mut kept = |slow: bool, errors: bool, second: u64| {
        let mut kept = 0;
        for _ in 0..200 {
            let mut trace = Trace::new(&predicates);
            (trace.slow, trace.errors, trace.spans) = (slow, errors, 10);
            let decision = sampler.decide(&trace.facts(), second * SECOND);
            kept += u32::from(matches!(decision, sampling::Decision::Keep { .. })) * 10;
        }
        kept
    };
    assert_eq!(kept(true, true, 1), 500, "the first that wants it decides");
    assert_eq!(kept(false, true, 1), 250);
    assert_eq!(
        kept(false, false, 1),
        250,
        "what is left goes to the policy that is not named"
    );
    assert_eq!(kept(true, false, 2), 500, "a new second");
}

#[test]
fn the_practical_example_of_the_documentation_does_what_it_says() {
    let yaml = "policies:
  - {name: others, type: and, and: {and_sub_policy: [
      {name: s, type: string_attribute, string_attribute: {key: service.name, values: [service-1, service-2], invert_match: true}},
      {name: all, type: always_sample}]}}
  - {name: probe, type: and, and: {and_sub_policy: [
      {name: s, type: string_attribute, string_attribute: {key: service.name, values: [service-1, service-2]}},
      {name: r, type: string_attribute, string_attribute: {key: http.route, values: [/live, /ready], enabled_regex_matching: true}},
      {name: p, type: probabilistic, probabilistic: {sampling_percentage: 0.1}}]}}
  - {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}
  - {name: force, type: boolean_attribute, boolean_attribute: {key: app.force_sample, value: true}}
  - {name: never, type: drop, drop: {drop_sub_policy: [
      {name: d, type: boolean_attribute, boolean_attribute: {key: app.do_not_sample, value: true}}]}}";
    let (mut sampler, predicates) = sampler(yaml);
    let mut said = |notes: &[(&str, Value<'static>)], status: StatusCode| {
        let mut trace = Trace::new(&predicates);
        trace.id = [0; 16];
        for (key, value) in notes {
            trace.note(key, *value);
        }
        trace.bits.note_status(status);
        let decision = sampler.decide(&trace.facts(), 1);
        support::said(&sampler, decision)
    };
    let ours = ("service.name", Value::Str("service-1"));
    let live = ("http.route", Value::Str("/live"));
    assert_eq!(
        said(&[("service.name", Value::Str("else"))], StatusCode::Unset),
        "kept by others"
    );
    assert_eq!(said(&[ours, live], StatusCode::Unset), "unwanted");
    assert_eq!(said(&[ours, live], StatusCode::Error), "kept by errors");
    assert_eq!(
        said(&[ours, ("app.force_sample", Value::Bool(true))], StatusCode::Ok),
        "kept by force"
    );
    assert_eq!(
        said(
            &[ours, ("app.do_not_sample", Value::Bool(true))],
            StatusCode::Error
        ),
        "dropped by never"
    );
}

#[test]
fn an_attribute_that_no_policy_names_meets_nothing() {
    let settings = load(
        "policies: [{name: p, type: string_attribute, string_attribute: {key: http.route, values: [/a]}}]",
    );
    let predicates = Predicates::compile(&settings.policies);
    let mut bits = SpanBits::default();
    for key in ["", "http.rout", "http_route", "xttp.route", "é", "http.route.x"] {
        predicates.note(&mut bits, key, Value::Str("/a"));
    }
    assert_eq!(bits, SpanBits(0));
    predicates.note(&mut bits, "http.route", Value::Str("/a"));
    assert_eq!(bits, SpanBits(1));
    assert!(Predicates::compile(&SamplingSettings::default().policies).is_empty());
}

#[test]
fn the_default_keeps_errors_slow_traces_an_example_of_each_edge_and_a_tenth() {
    let settings = SamplingSettings::default();
    assert_eq!(settings.check("sampling"), []);
    assert_eq!(SamplingSettings::keep_all().check("sampling"), []);
    let mut sampler = Sampler::new(&settings);
    let predicates = Predicates::default();
    let edges = [(sampling::EdgeRef(1), false)];
    let mut kept = Vec::new();
    for i in 0..1000u64 {
        let mut trace = Trace::new(&predicates);
        trace.id[9..16].copy_from_slice(&(i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes()[..7]);
        trace.edges = &edges;
        let decision = sampler.decide(&trace.facts(), SECOND);
        kept.push(support::said(&sampler, decision));
    }
    let of = |what: &str| kept.iter().filter(|said| *said == what).count();
    assert_eq!(of("kept by rare_edges"), 5);
    assert!(
        (80..120).contains(&of("kept by probabilistic")),
        "{}",
        of("kept by probabilistic")
    );
}

fn problems(yaml: &str) -> Vec<String> {
    let result: Result<SamplingSettings, ConfigErrors> =
        config::Loader::new("t.yaml")
            .load_checked(yaml, [], |settings: &SamplingSettings| settings.check("sampling"));
    match result {
        Ok(_) => Vec::new(),
        Err(errors) => errors
            .problems
            .iter()
            .map(|p| format!("{}: {}", p.path, p.message))
            .collect(),
    }
}

#[test]
fn every_problem_of_the_policies_is_reported_at_once_with_its_key() {
    let found = problems(
        "policies:
  - {name: a, type: latency}
  - {name: a, type: always_sample, latency: {threshold_ms: 1}}
  - {name: b, type: probabilistic, probabilistic: {sampling_percentage: 120}}
  - {name: c, type: string_attribute, string_attribute: {key: '', values: ['('], enabled_regex_matching: true}}
  - {name: d, type: ottl_condition, ottl_condition: {span: ['true']}}
  - {name: e, type: and, and: {and_sub_policy: [{name: f, type: drop, drop: {drop_sub_policy: []}}]}}
  - {name: g, type: composite, composite: {max_total_spans_per_second: 0, policy_order: [x], composite_sub_policy: [{name: y, type: errors}], rate_allocation: [{policy: z, percent: 101}]}}
  - {name: h, type: latency, latency: {threshold_ms: 5, upper_threshold_ms: 5}}
  - {name: i, type: numeric_attribute, numeric_attribute: {key: k}}
  - {name: j, type: rate_limiting, rate_limiting: {spans_per_second: 0}}
  - {name: k, type: span_count, span_count: {min_spans: 3, max_spans: 2}}
  - {name: l, type: rare_edges, rare_edges: {min_traces: 0}}
  - {name: m, type: status_code, status_code: {status_codes: []}}",
    );
    let keys: Vec<&str> = found
        .iter()
        .filter_map(|problem| problem.split(": ").next())
        .collect();
    let expected = [
        "policies[0].latency",
        "policies[1].name",
        "policies[1].latency",
        "policies[2].probabilistic.sampling_percentage",
        "policies[3].string_attribute.key",
        "policies[3].string_attribute.values[0]",
        "policies[4].type",
        "policies[5].and.and_sub_policy[0].type",
        "policies[5].and.and_sub_policy[0].drop.drop_sub_policy",
        "policies[6].composite.max_total_spans_per_second",
        "policies[6].composite.policy_order",
        "policies[6].composite.rate_allocation[0].policy",
        "policies[6].composite.rate_allocation",
        "policies[7].latency.upper_threshold_ms",
        "policies[8].numeric_attribute.min_value",
        "policies[9].rate_limiting.spans_per_second",
        "policies[10].span_count.max_spans",
        "policies[11].rare_edges",
        "policies[12].status_code.status_codes",
    ];
    for key in expected {
        assert!(
            keys.contains(&format!("sampling.{key}").as_str()),
            "{key} is not in {found:#?}"
        );
    }
    assert_eq!(keys.len(), expected.len(), "{found:#?}");
    assert!(found.iter().all(|problem| !problem.ends_with('.')), "{found:#?}");
}

#[test]
fn unknown_types_and_keys_are_refused() {
    let found = problems("policies: [{name: a, type: latencyy, latency: {threshold_ms: 1}}]");
    assert!(found[0].contains("latencyy"), "{found:?}");
    let found = problems("policies: [{name: a, type: latency, latency: {threshold: 1}}]");
    assert!(
        found.iter().any(|problem| problem.contains("`threshold`")),
        "{found:?}"
    );
    assert_eq!(problems("policies: []").len(), 1);
}

#[test]
fn more_conditions_than_there_are_bits_are_refused_and_equal_ones_count_once() {
    let policy = |i: usize, key: usize| {
        format!("{{name: p{i}, type: string_attribute, string_attribute: {{key: k{key}, values: [v]}}}}")
    };
    let many = |n: usize, keys: usize| {
        let list: Vec<String> = (0..n).map(|i| policy(i, i % keys)).collect();
        format!("policies: [{}]", list.join(", "))
    };
    assert!(problems(&many(61, 61)).is_empty());
    assert_eq!(problems(&many(62, 62)).len(), 1);
    assert!(problems(&many(200, 10)).is_empty());
}
