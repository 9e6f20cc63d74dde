//! Which of several formats wins, the correlation id, the carriers, and the configuration.

mod support;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use propagation::{
    ConfigError, CorrelationId, Decision, Extracted, Format, Inject, Propagator, PropagatorConfig, Skipped,
    SpanContext, TraceId,
};
use support::{CountedIds, extract, headers, hop, hop_through, reasons, records, values};

const A: &str = "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb";
const B: &str = "cccccccccccccccccccccccccccccccc";
const SPAN: &str = "1111111111111111";

fn w3c(trace: &str, flags: &str) -> String {
    format!("00-{trace}-{SPAN}-{flags}")
}

fn b3(trace: &str, state: &str) -> String {
    format!("{trace}-2222222222222222{state}")
}

fn kept(extracted: &Extracted) -> Option<(Format, String)> {
    extracted.format.zip(
        extracted
            .context
            .as_ref()
            .map(|context| context.trace_id.to_string()),
    )
}

#[test]
fn the_first_valid_format_wins_and_another_trace_below_it_is_reported() {
    let found = extract(&[("b3", &b3(B, "-1")), ("traceparent", &w3c(A, "00"))]);
    assert_eq!(kept(&found), Some((Format::TraceContext, A.to_owned())));
    assert_eq!(
        found.decision,
        Some(Decision::Drop),
        "another trace's decision is not ours"
    );
    let (kept, other): (TraceId, TraceId) = (A.parse().expect("an id"), B.parse().expect("an id"));
    assert_eq!(
        found.skipped,
        [Skipped::ConflictingTraceId {
            kept,
            other,
            span: Some("2222222222222222".parse().expect("an id")),
            format: Format::B3
        }]
    );
}

#[test]
fn a_broken_format_gives_way_to_the_next() {
    let found = extract(&[
        ("traceparent", "00-broken"),
        ("b3", &b3(B, "-1")),
        ("x-b3-traceid", A),
    ]);
    assert_eq!(kept(&found), Some((Format::B3, B.to_owned())));
    assert_eq!(reasons(&found), ["traceparent_malformed", "b3_malformed"]);
}

#[test]
fn b3_in_one_header_beats_b3_in_several() {
    let found = extract(&[("x-b3-traceid", B), ("x-b3-spanid", SPAN), ("b3", &b3(A, "-1"))]);
    assert_eq!(kept(&found), Some((Format::B3, A.to_owned())));
    assert_eq!(reasons(&found), ["conflicting_trace_id"]);
}

#[test]
fn the_configured_order_is_the_precedence() {
    let config = PropagatorConfig {
        extract: vec![Format::B3, Format::TraceContext],
        ..PropagatorConfig::default()
    };
    let propagator = Propagator::new(config).expect("a sound configuration");
    let found = propagator.extract(&headers(&[("traceparent", &w3c(A, "01")), ("b3", &b3(B, "-1"))]));
    assert_eq!(kept(&found), Some((Format::B3, B.to_owned())));
    let found = propagator.extract(&headers(&[("x-b3-traceid", A), ("x-b3-spanid", SPAN)]));
    assert_eq!(found, Extracted::default(), "what is not listed is not read");
}

#[test]
fn the_same_trace_in_a_lower_format_is_no_conflict_and_its_debug_is_kept() {
    for b3_trace in [A, &A[16..]] {
        let found = extract(&[("traceparent", &w3c(A, "00")), ("b3", &b3(b3_trace, "-d"))]);
        assert_eq!(
            kept(&found),
            Some((Format::TraceContext, A.to_owned())),
            "`{b3_trace}`"
        );
        assert_eq!(found.skipped, []);
        assert_eq!(found.decision, Some(Decision::Debug));
        assert!(found.context.is_some_and(|context| context.flags.is_sampled()));
    }
    let found = extract(&[("traceparent", &w3c(A, "01")), ("b3", &b3(A, "-0"))]);
    assert_eq!(
        found.decision,
        Some(Decision::Record),
        "otherwise the first decision wins"
    );
}

#[test]
fn another_traces_decision_does_not_end_a_deferral() {
    let found = extract(&[
        ("b3", &b3(A, "")),
        ("x-b3-traceid", B),
        ("x-b3-spanid", SPAN),
        ("x-b3-sampled", "1"),
    ]);
    assert_eq!(
        (kept(&found), found.decision),
        (Some((Format::B3, A.to_owned())), None)
    );
}

#[test]
fn a_128_bit_trace_id_is_not_cut_for_a_peer_that_saw_only_half_of_it() {
    let config = PropagatorConfig {
        inject: vec![Format::TraceContext, Format::B3],
        ..PropagatorConfig::default()
    };
    let propagator = Propagator::new(config).expect("a sound configuration");
    let out = hop_through(
        &propagator,
        &[("traceparent", &w3c(A, "01")), ("b3", &b3(&A[16..], "-1"))],
    );
    assert!(values(&out, "b3").concat().starts_with(&format!("{A}-ee")));
}

#[test]
fn ids_and_decision_may_come_from_different_formats() {
    let found = extract(&[
        ("b3", "0"),
        ("x-b3-traceid", A),
        ("x-b3-spanid", SPAN),
        ("x-b3-sampled", "1"),
    ]);
    assert_eq!(kept(&found), Some((Format::B3Multi, A.to_owned())));
    assert_eq!(found.decision, Some(Decision::Drop));
    assert!(found.context.is_some_and(|context| !context.flags.is_sampled()));
}

#[test]
fn the_format_that_came_is_mirrored_unless_switched_off() {
    let came = b3(A, "-1");
    for mirror in [true, false] {
        let config = PropagatorConfig {
            mirror,
            ..PropagatorConfig::default()
        };
        let propagator = Propagator::new(config).expect("a sound configuration");
        let out = hop_through(&propagator, &[("b3", &came)]);
        assert_eq!(
            values(&out, "b3") != [came.as_str()],
            mirror,
            "left alone where it is not mirrored"
        );
        assert!(
            values(&out, "traceparent")
                .concat()
                .starts_with(&format!("00-{A}-ee"))
        );
    }
}

#[test]
fn a_child_is_in_its_parents_trace_and_there_is_none_without_a_parent() {
    let span = "3333333333333333".parse().expect("an id");
    let found = extract(&[("traceparent", &w3c(A, "03")), ("tracestate", "foo=1")]);
    let child = found.child(span).expect("a context came");
    let parent = found.context.expect("a context came");
    assert_eq!(
        child,
        SpanContext {
            span_id: span,
            ..parent
        }
    );
    assert_eq!(extract(&[]).child(span), None);
}

#[test]
fn a_valid_correlation_id_is_kept_and_written_under_the_first_key() {
    let longest = "x".repeat(128);
    for (lines, id, expected_reasons) in [
        (vec![("X-Correlation-Id", "abc")], Some("abc"), vec![]),
        (
            vec![("x-request-id", "req"), ("x-correlation-id", "cor")],
            Some("cor"),
            vec![],
        ),
        (vec![("x-request-id", " req ")], Some("req"), vec![]),
        (
            vec![("x-request-id", longest.as_str())],
            Some(longest.as_str()),
            vec![],
        ),
        (
            vec![("x-correlation-id", "a"), ("x-correlation-id", "b")],
            Some("a"),
            vec!["correlation_id_duplicated"],
        ),
        (
            vec![("x-correlation-id", "a b"), ("x-request-id", "r")],
            Some("r"),
            vec!["correlation_id_malformed"],
        ),
        (
            vec![("x-correlation-id", "")],
            None,
            vec!["correlation_id_malformed"],
        ),
        (
            vec![("x-correlation-id", "\u{e9}")],
            None,
            vec!["correlation_id_malformed"],
        ),
    ] {
        let found = extract(&lines);
        assert_eq!(
            found.correlation.as_ref().map(CorrelationId::as_str),
            id,
            "{lines:?}"
        );
        assert_eq!(reasons(&found), expected_reasons, "{lines:?}");
        let sent = values(&hop(&lines), "x-correlation-id");
        assert_eq!(
            sent,
            [id.unwrap_or("ee000000-0000-0000-0000-000000000001")],
            "{lines:?}"
        );
    }
    let too_long = "x".repeat(129);
    let found = extract(&[("x-request-id", &too_long)]);
    assert_eq!(
        (found.correlation.as_ref(), reasons(&found)),
        (None, vec!["correlation_id_too_long"])
    );
}

#[test]
fn a_request_without_correlation_id_gets_its_trace_id_as_a_uuid() {
    let trace: TraceId = "0af7651916cd43dd8448eb211c80319c".parse().expect("an id");
    let id = Extracted::default().correlation_or(trace);
    assert_eq!(id.as_str(), "0af76519-16cd-43dd-8448-eb211c80319c");
}

#[test]
fn a_request_id_beside_the_correlation_id_is_left_alone() {
    let out = hop(&[("x-request-id", "req")]);
    assert_eq!(values(&out, "x-request-id"), ["req"]);
    assert_eq!(values(&out, "x-correlation-id"), ["req"]);
}

#[test]
fn a_list_of_records_keeps_its_order_and_loses_only_what_is_replaced() {
    let mut carrier = records(&[
        ("a", "1"),
        ("X-Correlation-ID", "old"),
        ("b", "2"),
        ("x-correlation-id", "older"),
    ]);
    carrier.set("x-correlation-id", "new").expect("a list takes all");
    assert_eq!(
        carrier,
        records(&[("a", "1"), ("x-correlation-id", "new"), ("b", "2")])
    );
    Inject::remove(&mut carrier, "A");
    assert_eq!(carrier, records(&[("x-correlation-id", "new"), ("b", "2")]));
}

#[test]
fn a_full_header_map_refuses_and_does_not_panic() {
    let mut full = HeaderMap::new();
    let mut n = 0_u32;
    while full
        .try_insert(
            HeaderName::from_bytes(format!("h{n}").as_bytes()).expect("a name"),
            HeaderValue::from_static("v"),
        )
        .is_ok()
    {
        n += 1;
    }
    let context = SpanContext::start(&mut CountedIds::default(), true);
    let correlation = CorrelationId::from_trace_id(context.trace_id);
    let refused = Propagator::default().inject(&mut full, &context, &correlation, None);
    assert_eq!(refused.expect_err("the map is full").key, "traceparent");
}

#[test]
fn baggage_is_read_passed_by_and_restored_on_request() {
    let found = extract(&[("baggage", "user=alice;p"), ("baggage", "b@d,node=DF%2028")]);
    assert_eq!(found.baggage.get("node").as_deref(), Some("DF 28"));
    assert_eq!(reasons(&found), ["baggage_member_malformed"]);
    let mut carrier = records(&[("Baggage", "old=1")]);
    Propagator::default()
        .inject_baggage(&mut carrier, &found.baggage)
        .expect("a list takes all");
    assert_eq!(carrier, records(&[("baggage", "user=alice;p,node=DF%2028")]));
}

#[test]
fn a_configuration_is_refused_with_all_its_problems() {
    let config = PropagatorConfig {
        extract: vec![Format::B3, Format::B3],
        inject: vec![Format::TraceContext, Format::Sw8],
        mirror: true,
        correlation_keys: ["X-Id", "x-id", "not a name", "B3"].map(str::to_owned).to_vec(),
        trace_id_keys: vec!["Uberctx-User".to_owned()],
    };
    let key = |key: &str| key.to_owned();
    assert_eq!(
        Propagator::new(config).expect_err("six problems"),
        [
            ConfigError::FormatRepeated {
                format: Format::B3,
                list: "extract"
            },
            ConfigError::FormatOnlyRead { format: Format::Sw8 },
            ConfigError::KeyRepeated { key: key("x-id") },
            ConfigError::KeyNotAHeaderName {
                key: key("not a name")
            },
            ConfigError::KeyTaken { key: key("b3") },
            ConfigError::KeyTaken {
                key: key("uberctx-user")
            },
        ]
    );
}

#[test]
fn formats_are_named_as_in_otel_propagators() {
    for format in Format::ALL {
        assert_eq!(format.to_string().parse(), Ok(format));
    }
    let error = "ottrace"
        .parse::<Format>()
        .expect_err("not read here")
        .to_string();
    assert!(
        error.starts_with("format `ottrace` is unknown: write `tracecontext`, `grpc-trace-bin`, `b3`"),
        "{error}"
    );
}

#[test]
fn an_id_is_lower_case_hex_and_never_zero() {
    for text in [
        "",
        "0",
        "00000000000000000000000000000000",
        "AAAAAAAAAAAAAAAABBBBBBBBBBBBBBBB",
        &A[1..],
    ] {
        assert!(text.parse::<TraceId>().is_err(), "`{text}`");
    }
    assert_eq!(A.parse::<TraceId>().map(|id| id.to_string()).as_deref(), Ok(A));
    let mut broken = (|| [0; 16], || [0; 8]);
    let context = SpanContext::start(&mut broken, true);
    assert_eq!(
        context.span_id.to_string(),
        "0000000000000001",
        "a broken source yields an id all the same"
    );
}
