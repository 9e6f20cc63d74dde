//! B3: the vectors of its README and the traps around them. Each row: headers in, then what is read or sent
//! on.

mod support;

use propagation::{
    Decision, Extracted, Format, Propagator, PropagatorConfig, Sampling, SpanContext, TraceIdWidth,
};
use support::{extract, headers, hop, reasons, values};

const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
const SHORT: &str = "64fe8b2a57d3eff7";
const SPAN: &str = "05e3ac9a4f6e3b90";

fn ids(extracted: &Extracted) -> Option<(String, String)> {
    extracted
        .context
        .as_ref()
        .map(|context| (context.trace_id.to_string(), context.span_id.to_string()))
}

/// What is sent on in B3 by a caller that decides nothing itself.
fn mirrored(lines: &[(&str, &str)]) -> Vec<(String, String)> {
    let propagator = Propagator::default();
    let extracted = propagator.extract(&headers(lines));
    let context = extracted.context.clone().expect("a context");
    let mut carrier = support::records(lines);
    let correlation = extracted.correlation_or(context.trace_id);
    propagator
        .inject(&mut carrier, &context, &correlation, extracted.format)
        .expect("a list takes all");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("ascii");
    carrier.retain(|(name, _)| name.contains("b3"));
    carrier.sort();
    carrier
        .into_iter()
        .map(|(name, value)| (name, text(value)))
        .collect()
}

#[test]
fn the_single_header_is_read_with_and_without_its_optional_fields() {
    for (value, decision, sampling) in [
        (format!("{TRACE}-{SPAN}"), None, Sampling::Deferred),
        (
            format!("{TRACE}-{SPAN}-1"),
            Some(Decision::Record),
            Sampling::AsFlagged,
        ),
        (
            format!("{TRACE}-{SPAN}-0"),
            Some(Decision::Drop),
            Sampling::AsFlagged,
        ),
        (
            format!("{TRACE}-{SPAN}-d"),
            Some(Decision::Debug),
            Sampling::Debug,
        ),
        (
            format!("{TRACE}-{SPAN}-1-e457b5a2e4d86bd1"),
            Some(Decision::Record),
            Sampling::AsFlagged,
        ),
        (
            format!(" {TRACE}-{SPAN}-1\t"),
            Some(Decision::Record),
            Sampling::AsFlagged,
        ),
    ] {
        let found = extract(&[("b3", &value)]);
        assert_eq!(
            ids(&found),
            Some((TRACE.to_owned(), SPAN.to_owned())),
            "`{value}`"
        );
        assert_eq!(
            (found.format, found.decision),
            (Some(Format::B3), decision),
            "`{value}`"
        );
        let context = found.context.expect("checked above");
        assert_eq!(context.traits.sampling, sampling, "`{value}`");
        assert_eq!(
            context.flags.is_sampled(),
            decision.is_some_and(Decision::is_recorded),
            "`{value}`"
        );
        assert!(!context.flags.is_random(), "B3 never says that an id is random");
    }
}

#[test]
fn a_malformed_single_header_starts_a_new_trace_and_is_counted() {
    for value in [
        "",
        "2",
        "true",
        "-",
        TRACE,
        &format!("{TRACE}-"),
        &format!("{TRACE}-{SPAN}-"),
        &format!("{TRACE}-{SPAN}-2"),
        &format!("{TRACE}-{SPAN}-true"),
        &format!("{TRACE}-{SPAN}-1-"),
        &format!("{TRACE}-{SPAN}-1-{SPAN}-"),
        &format!("{TRACE}-{SPAN}-1-{SPAN}0"),
        &format!("{TRACE}-{SPAN}0-1"),
        &format!("0{SHORT}-{SPAN}-1"),
        &format!("{}-{SPAN}-1", TRACE.to_uppercase()),
        &format!("{}-{SPAN}-1", "0".repeat(32)),
        &format!("{}-{SPAN}-1", "0".repeat(16)),
        &format!("{TRACE}-{}-1", "0".repeat(16)),
    ] {
        let found = extract(&[("b3", value)]);
        assert_eq!((ids(&found), found.decision), (None, None), "`{value}`");
        assert_eq!(reasons(&found), ["b3_malformed"], "`{value}`");
    }
}

#[test]
fn several_headers_are_read_in_any_case_and_with_old_words_for_sampling() {
    for (extra, decision) in [
        (None, None),
        (Some(("X-B3-Sampled", "1")), Some(Decision::Record)),
        (Some(("x-b3-sampled", "0")), Some(Decision::Drop)),
        (Some(("X-B3-SAMPLED", "true")), Some(Decision::Record)),
        (Some(("X-B3-Sampled", "false")), Some(Decision::Drop)),
        (Some(("X-B3-Flags", "1")), Some(Decision::Debug)),
        (Some(("X-B3-Flags", "0")), None),
    ] {
        let mut lines = vec![
            ("X-B3-TraceId", TRACE),
            ("X-B3-SpanId", SPAN),
            ("X-B3-ParentSpanId", "0020000000000001"),
        ];
        lines.extend(extra);
        let found = extract(&lines);
        assert_eq!(
            ids(&found),
            Some((TRACE.to_owned(), SPAN.to_owned())),
            "{extra:?}"
        );
        assert_eq!(
            (found.format, found.decision),
            (Some(Format::B3Multi), decision),
            "{extra:?}"
        );
        assert!(found.skipped.is_empty());
    }
}

#[test]
fn debug_beats_a_deny_beside_it() {
    let found = extract(&[("x-b3-sampled", "0"), ("x-b3-flags", "1")]);
    assert_eq!(found.decision, Some(Decision::Debug));
}

#[test]
fn half_ids_are_no_ids_and_a_bad_sampling_state_spoils_none() {
    for lines in [[("x-b3-traceid", TRACE)], [("x-b3-spanid", SPAN)]] {
        let found = extract(&lines);
        assert_eq!((ids(&found), reasons(&found)), (None, vec!["b3_malformed"]));
    }
    let found = extract(&[
        ("x-b3-traceid", TRACE),
        ("x-b3-spanid", SPAN),
        ("x-b3-sampled", "maybe"),
    ]);
    assert!(ids(&found).is_some() && found.decision.is_none());
    assert_eq!(reasons(&found), ["b3_malformed"]);
}

#[test]
fn of_a_repeated_header_the_first_value_wins_and_it_is_counted() {
    let other = "463ac35c9f6413ad48485a3953bb6124";
    let found = extract(&[
        ("x-b3-traceid", TRACE),
        ("x-b3-traceid", other),
        ("x-b3-spanid", SPAN),
    ]);
    assert_eq!(ids(&found), Some((TRACE.to_owned(), SPAN.to_owned())));
    assert_eq!(reasons(&found), ["b3_duplicated"]);
}

#[test]
fn a_decision_without_ids_decides_about_the_new_trace() {
    for (lines, decision, sent) in [
        (("b3", "0"), Decision::Drop, "-0"),
        (("b3", "1"), Decision::Record, "-1"),
        (("b3", "d"), Decision::Debug, "-d"),
    ] {
        let found = extract(&[lines]);
        assert_eq!((found.context.as_ref(), found.decision), (None, Some(decision)));
        assert_eq!(found.format, Some(Format::B3), "the answer goes out in B3 too");
        let out = hop(&[lines]);
        assert!(values(&out, "b3").concat().ends_with(sent), "{lines:?}");
        let flags = if decision.is_recorded() { "-03" } else { "-02" };
        assert!(values(&out, "traceparent").concat().ends_with(flags), "{lines:?}");
    }
    let found = extract(&[("X-B3-Sampled", "0")]);
    assert_eq!((found.context, found.decision), (None, Some(Decision::Drop)));
}

#[test]
fn a_64_bit_trace_id_is_padded_and_goes_back_in_64_bits() {
    let value = format!("{SHORT}-{SPAN}-1");
    let found = extract(&[("b3", &value)]);
    assert_eq!(
        ids(&found),
        Some((format!("0000000000000000{SHORT}"), SPAN.to_owned()))
    );
    assert_eq!(
        found.context.map(|context| context.traits.width),
        Some(TraceIdWidth::Bits64)
    );
    assert_eq!(mirrored(&[("b3", &value)]), [("b3".to_owned(), value)]);
    let padded = format!("0000000000000000{SHORT}-{SPAN}-1");
    assert_eq!(
        mirrored(&[("b3", &padded)]),
        [("b3".to_owned(), padded)],
        "128 bits stay 128 bits"
    );
}

#[test]
fn a_mirrored_header_says_what_came_except_the_parent() {
    for state in ["", "-0", "-1", "-d"] {
        let value = format!("{TRACE}-{SPAN}{state}");
        assert_eq!(mirrored(&[("b3", &value)]), [("b3".to_owned(), value)]);
    }
    for (came, sent) in [
        (None, None),
        (Some(("X-B3-Sampled", "true")), Some(("x-b3-sampled", "1"))),
        (Some(("X-B3-Sampled", "0")), Some(("x-b3-sampled", "0"))),
        (Some(("X-B3-Flags", "1")), Some(("x-b3-flags", "1"))),
    ] {
        let mut lines = vec![
            ("X-B3-TraceId", TRACE),
            ("X-B3-SpanId", SPAN),
            ("X-B3-ParentSpanId", SPAN),
        ];
        lines.extend(came);
        let mut expected = vec![("x-b3-spanid", SPAN), ("x-b3-traceid", TRACE)];
        expected.extend(sent);
        expected.sort_unstable();
        let expected: Vec<_> = expected
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        assert_eq!(mirrored(&lines), expected);
    }
}

#[test]
fn our_own_decision_ends_a_deferral() {
    let value = format!("{TRACE}-{SPAN}");
    for (sampled, state) in [(true, "-1"), (false, "-0")] {
        let mut context: SpanContext = extract(&[("b3", &value)]).context.expect("a context");
        context.set_sampled(sampled);
        let only_b3 = PropagatorConfig {
            inject: vec![Format::B3],
            ..PropagatorConfig::default()
        };
        let mut carrier = support::records(&[]);
        let correlation = propagation::CorrelationId::from_trace_id(context.trace_id);
        let propagator = Propagator::new(only_b3).expect("a sound configuration");
        propagator
            .inject(&mut carrier, &context, &correlation, None)
            .expect("a list takes all");
        assert_eq!(values(&carrier, "b3"), [format!("{value}{state}")]);
    }
}
