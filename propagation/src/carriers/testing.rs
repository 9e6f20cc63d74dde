//! What all carriers do alike.
//!
//! In: a carrier that bears things of its own. Out: a failure where context does not stay what it was, or its own do not.
//! Left out on purpose: what only one of them can hold.

use crate::{CorrelationId, Extract, Inject, Propagator, SpanContext};

/// All pairs, in the carrier's order.
pub(super) fn pairs(carrier: &(impl Extract + ?Sized)) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    carrier.each(&mut |key, value| pairs.push((key.to_owned(), String::from_utf8_lossy(value).into_owned())));
    pairs
}

/// The values of `key`.
pub(super) fn values(carrier: &(impl Extract + ?Sized), key: &str) -> Vec<String> {
    let mut values = Vec::new();
    carrier.get_all(key, &mut |value| {
        values.push(String::from_utf8_lossy(value).into_owned());
    });
    values
}

/// Context that was injected is extracted again, and a new one takes its place, whatever the case of its keys.
pub(super) fn bears_context(carrier: &mut (impl Extract + Inject)) {
    let own = pairs(carrier);
    let propagator = Propagator::default();
    for byte in [1, 2] {
        let sending = SpanContext::start(&mut (|| [byte; 16], || [byte; 8]), true);
        let correlation = CorrelationId::from_trace_id(sending.trace_id);
        propagator
            .inject(carrier, &sending, &correlation, None)
            .expect("room for it");
        let extracted = propagator.extract(carrier);
        let context = extracted.context.expect("it was injected");
        assert_eq!(
            (context.trace_id, context.span_id),
            (sending.trace_id, sending.span_id)
        );
        assert_eq!(extracted.correlation, Some(correlation));
        assert_eq!(
            values(carrier, "TraceParent").len(),
            1,
            "one takes the place of the other"
        );
        let kept = pairs(carrier).into_iter().filter(|pair| own.contains(pair));
        assert_eq!(kept.collect::<Vec<_>>(), own, "its own stay, in their order");
    }
    for key in ["TRACEPARENT", "tracestate", "x-correlation-id"] {
        carrier.remove(key);
    }
    assert_eq!(pairs(carrier), own);
}
