//! The boundary of trust: what is taken off a request that comes from outside, or goes there.
//!
//! In: a carrier. Out: the same without context, or without what names our services.
//! Left out on purpose: who is trusted. The caller knows the peer.

use crate::carrier::{Extract, Inject, combined};
use crate::format::Format;
use crate::keys;
use crate::text::trim_ows;
use crate::tracestate::{EDGE_HINT_KEY, TraceState};

/// Removes trace context in every format, whether it is read or not: a service behind us may read one that we do not.
/// The correlation id stays.
pub fn remove_context(carrier: &mut (impl Inject + ?Sized)) {
    for key in Format::ALL.iter().flat_map(|format| format.keys()) {
        carrier.remove(key);
    }
}

/// Removes what a peer outside need not know: baggage in every form, and our edge hint in `tracestate`. Whether
/// anything was there.
///
/// Trace ids stay: they say nothing of themselves, and a peer's support asks for them.
pub fn conceal<C: Extract + Inject + ?Sized>(carrier: &mut C) -> bool {
    let mut baggage = Vec::new();
    let mut hinted = false;
    carrier.each(&mut |key, value| {
        if is_baggage(key) {
            baggage.push(key.to_owned());
        }
        hinted |= key.eq_ignore_ascii_case(keys::TRACESTATE) && has_hint(value);
    });
    for key in &baggage {
        carrier.remove(key);
    }
    if hinted {
        let state = without_hint(&combined(carrier, keys::TRACESTATE));
        carrier.remove(keys::TRACESTATE);
        // What held more can hold this.
        let _ = state.map(|state| carrier.set(keys::TRACESTATE, &state));
    }
    hinted || !baggage.is_empty()
}

fn is_baggage(key: &str) -> bool {
    let prefix = keys::JAEGER_BAGGAGE_PREFIX;
    key.eq_ignore_ascii_case(keys::BAGGAGE)
        || key.eq_ignore_ascii_case(keys::SW8_CORRELATION)
        || key
            .get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn has_hint(value: &[u8]) -> bool {
    let is_hint = |member: &[u8]| {
        trim_ows(member)
            .strip_prefix(EDGE_HINT_KEY.as_bytes())
            .is_some_and(|rest| rest.starts_with(b"="))
    };
    value.split(|byte| *byte == b',').any(is_hint)
}

/// The list without our member; `None` where nothing is left, or it is no list at all and may hold anything.
fn without_hint(combined: &[u8]) -> Option<String> {
    let mut state = TraceState::parse(combined).ok()?;
    state.remove(EDGE_HINT_KEY);
    (!state.is_empty()).then(|| state.to_string())
}
