//! What holds for any input: nothing panics, what is injected is extracted again, no list outgrows its limit.

mod support;

use propagation::{
    B3Sampling, B3Traits, Baggage, CorrelationId, Format, MAX_BAGGAGE_BYTES, MAX_BAGGAGE_MEMBERS,
    MAX_TRACESTATE_MEMBERS, Propagator, PropagatorConfig, SpanContext, SpanId, TraceFlags, TraceId,
    TraceIdWidth, TraceState,
};
use proptest::prelude::*;
use support::{CountedIds, values};

const KEYS: [&str; 11] = [
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "baggage",
    "x-correlation-id",
    "X-Request-ID",
];

/// Any bytes, and texts that are nearly right, so that the readers are entered and not only turned away.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let near = "[ \t]?(00|0a|ff|cc)-([0-9a-f]{32}|0{32})-([0-9a-f]{16}|0{16})(-(0[0-9a-f]|[01d]))?(-[0-9a-f]{0,17})?";
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..80),
        near.prop_map(String::into_bytes),
        "([0-9a-f]{16}){1,2}(-[0-9a-f]{16})?(-[01d2])?".prop_map(String::into_bytes),
        "[01d]|true|false|[0-9a-f]{16}|[0-9a-f]{32}".prop_map(String::into_bytes),
        "([ \t]?[a-z@]{0,3}=?[ -~]{0,3}[,;%]?){0,60}".prop_map(String::into_bytes),
    ]
}

fn carrier() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let key = proptest::sample::select(&KEYS[..]).prop_map(str::to_owned);
    proptest::collection::vec((key, value()), 0..12)
}

fn trace_state() -> impl Strategy<Value = TraceState> {
    let member = "[a-z0-9][a-z0-9_*/@-]{0,8}= {0,2}[!-+\\--<>-~]{1,8}";
    proptest::collection::vec(member, 0..=MAX_TRACESTATE_MEMBERS)
        .prop_map(|members| TraceState::parse(members.join(",").as_bytes()).expect("made by the grammar"))
}

prop_compose! {
    fn ids()(trace in any::<[u8; 16]>(), span in any::<[u8; 8]>()) -> (TraceId, SpanId) {
        let mut ids = (|| trace, || span);
        (TraceId::generate(&mut ids), SpanId::generate(&mut ids))
    }
}

prop_compose! {
    fn w3c_context()((trace_id, span_id) in ids(), bits in 0..4_u8, trace_state in trace_state()) -> SpanContext {
        SpanContext { trace_id, span_id, flags: TraceFlags::from_bits(bits), trace_state, b3: B3Traits::default() }
    }
}

prop_compose! {
    fn b3_context()((trace_id, span_id) in ids(), short in any::<bool>(), state in 0..4_usize) -> SpanContext {
        let width = if short { TraceIdWidth::Bits64 } else { TraceIdWidth::Bits128 };
        let low = TraceId::from_bytes([[0; 8], *span_id.as_bytes()].concat().try_into().expect("8 and 8"));
        let (sampled, sampling) = [
            (false, B3Sampling::Deferred),
            (false, B3Sampling::AsFlagged),
            (true, B3Sampling::AsFlagged),
            (true, B3Sampling::Debug),
        ][state];
        SpanContext {
            trace_id: low.filter(|_| short).unwrap_or(trace_id),
            span_id,
            flags: TraceFlags::NONE.with_sampled(sampled),
            trace_state: TraceState::default(),
            b3: B3Traits { width, sampling },
        }
    }
}

/// Injects `context` in `format` into a carrier that holds anything at all, and reads it back.
fn round_trip(
    format: Format,
    context: &SpanContext,
    mut carrier: Vec<(String, Vec<u8>)>,
) -> Result<(), TestCaseError> {
    let config = PropagatorConfig {
        extract: vec![format],
        inject: vec![format],
        ..PropagatorConfig::default()
    };
    let propagator = Propagator::new(config).expect("a sound configuration");
    let correlation = CorrelationId::from_trace_id(context.trace_id);
    propagator
        .inject(&mut carrier, context, &correlation, None)
        .expect("a list takes all");
    let found = propagator.extract(&carrier);
    prop_assert_eq!(found.context.as_ref(), Some(context));
    prop_assert_eq!(found.correlation, Some(correlation));
    Ok(())
}

proptest! {
    #[test]
    fn no_carrier_panics_or_yields_more_than_the_limits(carrier in carrier()) {
        let propagator = Propagator::default();
        let found = propagator.extract(&carrier);
        let mut context = found.continue_or_start(&mut CountedIds::default(), true);
        context.trace_state.set("tm", "x").expect("a legal member");
        let mut out = carrier.clone();
        let correlation = found.correlation_or(context.trace_id);
        propagator.inject(&mut out, &context, &correlation, found.format).expect("a list takes all");

        prop_assert!(context.trace_state.len() <= MAX_TRACESTATE_MEMBERS);
        prop_assert!(values(&out, "tracestate").concat().split(',').count() <= MAX_TRACESTATE_MEMBERS);
        let again = propagator.extract(&out);
        prop_assert_eq!(again.context.map(|sent| (sent.trace_id, sent.span_id)), Some((context.trace_id, context.span_id)));
        prop_assert_eq!(again.correlation, Some(correlation));
    }

    #[test]
    fn w3c_context_comes_back_as_it_was(context in w3c_context(), carrier in carrier()) {
        round_trip(Format::TraceContext, &context, carrier)?;
    }

    #[test]
    fn b3_context_comes_back_as_it_was(context in b3_context(), carrier in carrier()) {
        round_trip(Format::B3, &context, carrier.clone())?;
        round_trip(Format::B3Multi, &context, carrier)?;
    }

    #[test]
    fn a_tracestate_within_its_limits_is_read_and_kept_whole(state in trace_state(), max_len in 0..600_usize) {
        let again = TraceState::parse(state.as_str().as_bytes());
        prop_assert_eq!(again.as_ref(), Ok(&state));
        let mut cut = state.clone();
        let removed = cut.truncate(max_len);
        prop_assert!(cut.as_str().len() <= max_len);
        prop_assert_eq!(cut.len() + removed, state.len());
        prop_assert!(cut.members().all(|member| state.members().any(|whole| whole == member)));
    }

    #[test]
    fn baggage_stays_within_its_limits_and_is_read_back_the_same(value in value()) {
        let baggage = Baggage::parse(&value, &mut |_| {});
        let text = baggage.to_string();
        prop_assert!(text.len() <= MAX_BAGGAGE_BYTES && baggage.members().len() <= MAX_BAGGAGE_MEMBERS);
        let mut lost = 0;
        prop_assert_eq!(Baggage::parse(text.as_bytes(), &mut |_| lost += 1), baggage);
        prop_assert_eq!(lost, 0);
    }
}
