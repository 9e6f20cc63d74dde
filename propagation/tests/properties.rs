//! What holds for any input: nothing panics, what is injected is extracted again, no list outgrows its limit.

mod support;

use propagation::{
    Baggage, CorrelationId, DatadogTraits, Format, MAX_BAGGAGE_BYTES, MAX_BAGGAGE_MEMBERS,
    MAX_TRACESTATE_MEMBERS, Propagator, PropagatorConfig, Sampling, SpanContext, SpanId, TraceFlags, TraceId,
    TraceIdWidth, TraceState, Traits, conceal, remove_context,
};
use proptest::prelude::*;
use support::{CountedIds, values};

const KEYS: [&str; 23] = [
    "grpc-trace-bin",
    "x-datadog-trace-id",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "x-datadog-origin",
    "x-datadog-tags",
    "uber-trace-id",
    "uberctx-user",
    "Uberctx-Tier",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
    "sw8",
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
        "[0-9a-fA-F]{1,33}(:|%3A)[0-9a-f]{1,17}:0:[0-9a-f]{1,3}".prop_map(String::into_bytes),
        "(Self=1;)?Root=1-[0-9a-f]{8}-[0-9a-f]{24}(;Parent=[0-9a-f]{16})?(;Sampled=[01?x])?(;=)?"
            .prop_map(String::into_bytes),
        "[0-9a-f]{32}(/[0-9]{0,21})?(;o=[0-9x])?|-?[0-9]{1,21}".prop_map(String::into_bytes),
        "_dd.p.tid=[0-9a-f]{15,17}(,[a-z.]{1,9}=[ -~]{0,9}){0,3}".prop_map(String::into_bytes),
        "AA[0-9A-Za-z+/]{36,40}={0,2}".prop_map(String::into_bytes),
        "[01]-([0-9A-Za-z+/]{4}){1,12}-([0-9A-Za-z+/]{4}){1,12}-[0-9]{1,10}(-([0-9A-Za-z+/]{4}){0,4}){3,5}"
            .prop_map(String::into_bytes),
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
        SpanContext { trace_id, span_id, flags: TraceFlags::from_bits(bits), trace_state, traits: Traits::default(), formats: Format::TraceContext.into() }
    }
}

prop_compose! {
    fn b3_context()((trace_id, span_id) in ids(), short in any::<bool>(), state in 0..4_usize) -> SpanContext {
        let width = if short { TraceIdWidth::Bits64 } else { TraceIdWidth::Bits128 };
        let low = TraceId::from_bytes([[0; 8], *span_id.as_bytes()].concat().try_into().expect("8 and 8"));
        let (sampled, sampling) = [
            (false, Sampling::Deferred),
            (false, Sampling::AsFlagged),
            (true, Sampling::AsFlagged),
            (true, Sampling::Debug),
        ][state];
        SpanContext {
            trace_id: low.filter(|_| short).unwrap_or(trace_id),
            span_id,
            flags: TraceFlags::NONE.with_sampled(sampled),
            trace_state: TraceState::default(),
            traits: Traits { width, sampling, vendor: None },
            formats: Format::B3.into(),
        }
    }
}

prop_compose! {
    /// Ids and a sampling state, and nothing that only one format has.
    fn plain_context()((trace_id, span_id) in ids(), state in 0..3_usize) -> SpanContext {
        let (sampled, sampling) =
            [(false, Sampling::Deferred), (false, Sampling::AsFlagged), (true, Sampling::AsFlagged)][state];
        SpanContext {
            trace_id,
            span_id,
            flags: TraceFlags::NONE.with_sampled(sampled),
            trace_state: TraceState::default(),
            traits: Traits { sampling, ..Traits::default() },
            formats: Format::B3.into(),
        }
    }
}

fn in_format(format: Format, context: SpanContext) -> SpanContext {
    SpanContext {
        formats: format.into(),
        ..context
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
        round_trip(Format::B3Multi, &SpanContext { formats: Format::B3Multi.into(), ..context }, carrier)?;
    }

    #[test]
    fn jaeger_context_comes_back_as_it_was(context in b3_context(), firehose: bool, carrier in carrier()) {
        let mut context = context;
        if context.traits.sampling == Sampling::Deferred {
            context.traits.sampling = Sampling::AsFlagged;
        }
        if firehose {
            context.traits.vendor_mut().jaeger_firehose = true;
        }
        round_trip(Format::Jaeger, &in_format(Format::Jaeger, context), carrier)?;
    }

    #[test]
    fn xray_context_comes_back_as_it_was(context in plain_context(), others in "(Self=1-[0-9a-f]{8}-[0-9a-f]{24}(;Lineage=[0-9a-f:]{1,9})?)?", carrier in carrier()) {
        let mut context = context;
        if !others.is_empty() {
            context.traits.vendor_mut().xray = others;
        }
        round_trip(Format::XRay, &in_format(Format::XRay, context), carrier)?;
    }

    #[test]
    fn gcp_context_comes_back_as_it_was(context in plain_context(), carrier in carrier()) {
        round_trip(Format::Gcp, &in_format(Format::Gcp, context), carrier)?;
    }

    #[test]
    fn a_grpc_trace_bin_comes_back_as_it_was(context in plain_context(), carrier in carrier()) {
        let mut context = context;
        context.traits.sampling = Sampling::AsFlagged;
        round_trip(Format::GrpcTraceBin, &in_format(Format::GrpcTraceBin, context), carrier)?;
    }

    #[test]
    fn datadog_context_comes_back_as_it_was(
        context in plain_context(), short: bool, priority in proptest::option::of(-1..=2_i8),
        origin in "([!-~]([ -~]{0,20}[!-~])?)?", tags in "(_dd[.]p[.]dm=[!-+.-~]{1,9}(,_dd[.]p[.]usr=[!-+.-~]{1,9})?)?", carrier in carrier(),
    ) {
        let mut context = context;
        let low = (u128::from_be_bytes(*context.trace_id.as_bytes()) as u64).max(1);
        let high = u64::from_be_bytes(*context.span_id.as_bytes());
        let (width, whole) = if short {
            (TraceIdWidth::Bits64, u128::from(low))
        } else {
            (TraceIdWidth::Bits128, u128::from(high) << 64 | u128::from(low))
        };
        context.trace_id = TraceId::from_bytes(whole.to_be_bytes()).expect("not zero");
        context.traits.width = width;
        context.traits.sampling = if priority.is_some() { Sampling::AsFlagged } else { Sampling::Deferred };
        context.flags = TraceFlags::NONE.with_sampled(priority.is_some_and(|priority| priority > 0));
        let datadog = DatadogTraits { priority, origin, tags };
        if datadog != DatadogTraits::default() {
            context.traits.vendor_mut().datadog = datadog;
        }
        round_trip(Format::Datadog, &in_format(Format::Datadog, context), carrier)?;
    }

    #[test]
    fn what_was_removed_is_not_found_and_the_correlation_id_stays(carrier in carrier()) {
        let propagator = Propagator::default();
        let before = propagator.extract(&carrier);
        let mut out = carrier.clone();
        remove_context(&mut out);
        conceal(&mut out);
        let after = propagator.extract(&out);
        prop_assert_eq!((after.context, after.start, after.formats.is_empty()), (None, None, true));
        prop_assert!(after.baggage.is_empty());
        if before.skywalking.is_none() {
            prop_assert_eq!(after.correlation, before.correlation);
        }
    }

    #[test]
    fn no_request_id_panics_and_what_becomes_a_trace_id_is_random_but_for_six_bits(value in value(), bytes: [u8; 16], nibble in "[49ab]") {
        let config = PropagatorConfig { trace_id_keys: vec!["x-request-id".to_owned()], ..PropagatorConfig::default() };
        let propagator = Propagator::new(config).expect("a sound configuration");
        propagator.extract(&vec![("x-request-id".to_owned(), value)]);
        let mut bytes = bytes;
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let trace_id = TraceId::from_bytes(bytes).expect("not zero");
        let mut uuid = CorrelationId::from_trace_id(trace_id).to_string();
        uuid.replace_range(14..15, &nibble);
        let found = propagator.extract(&vec![("x-request-id".to_owned(), uuid.into_bytes())]);
        let context = found.continue_or_start(&mut CountedIds::default(), true);
        prop_assert_eq!((context.trace_id, context.flags.is_random()), (trace_id, true));
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
