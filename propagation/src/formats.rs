//! Each trace format on a carrier: which keys it reads, which it replaces.
//!
//! In: a carrier. Out: what one format says, or a carrier that holds one context in that format.
//! Left out on purpose: precedence between formats, which [`Extracted`](crate::Extracted) knows.

use crate::b3::{self, Found};
use crate::carrier::{Extract, Inject, Refused, combined, values};
use crate::config::Format;
use crate::context::{B3Traits, Decision, SpanContext};
use crate::keys;
use crate::skipped::Skipped;
use crate::traceparent::{parse_traceparent, write_traceparent};
use crate::tracestate::TraceState;

const B3_MULTI_KEYS: [&str; 5] = [
    keys::B3_TRACE_ID,
    keys::B3_SPAN_ID,
    keys::B3_PARENT_SPAN_ID,
    keys::B3_SAMPLED,
    keys::B3_FLAGS,
];

/// What `format` says; what it says wrongly goes to `skipped`.
pub(crate) fn read(format: Format, carrier: &(impl Extract + ?Sized), skipped: &mut Vec<Skipped>) -> Found {
    match format {
        Format::TraceContext => read_trace_context(carrier, skipped),
        Format::B3 => read_b3(carrier, skipped),
        Format::B3Multi => read_b3_multi(carrier, skipped),
    }
}

/// Replaces the carrier's context in `format`. Old values go first: a refusal leaves none rather than a mixed
/// one.
pub(crate) fn write(
    format: Format,
    carrier: &mut (impl Inject + ?Sized),
    context: &SpanContext,
) -> Result<(), Refused> {
    match format {
        Format::TraceContext => write_trace_context(carrier, context),
        Format::B3 => carrier.set(keys::B3, &b3::write_single(context)),
        Format::B3Multi => write_b3_multi(carrier, context),
    }
}

fn read_trace_context(carrier: &(impl Extract + ?Sized), skipped: &mut Vec<Skipped>) -> Found {
    let state = combined(carrier, keys::TRACESTATE);
    let found = values(carrier, keys::TRACEPARENT);
    let parent = match (found.first, found.count) {
        (None, _) => None,
        (Some(value), 1) => Some(parse_traceparent(value).map_err(Skipped::TraceparentMalformed)),
        (Some(_), count) => Some(Err(Skipped::TraceparentDuplicated { count })),
    };
    let (trace_id, span_id, flags) = match parent {
        Some(Ok(fields)) => fields,
        refused => {
            skipped.extend(refused.and_then(Result::err));
            if !state.is_empty() {
                skipped.push(Skipped::TracestateOrphaned);
            }
            return Found {
                context: None,
                decision: None,
            };
        }
    };
    let trace_state = TraceState::parse(&state).unwrap_or_else(|error| {
        skipped.push(Skipped::TracestateMalformed(error));
        TraceState::default()
    });
    if trace_state.has_duplicate_keys() {
        skipped.push(Skipped::TracestateKeyDuplicated);
    }
    let decision = if flags.is_sampled() {
        Decision::Record
    } else {
        Decision::Drop
    };
    let context = SpanContext {
        trace_id,
        span_id,
        flags,
        trace_state,
        b3: B3Traits::default(),
    };
    Found {
        context: Some(context),
        decision: Some(decision),
    }
}

fn read_b3(carrier: &(impl Extract + ?Sized), skipped: &mut Vec<Skipped>) -> Found {
    let nothing = Found {
        context: None,
        decision: None,
    };
    let Some(value) = first_b3(carrier, keys::B3, skipped) else {
        return nothing;
    };
    b3::parse_single(value).unwrap_or_else(|error| {
        skipped.push(Skipped::B3Malformed {
            format: Format::B3,
            error,
        });
        nothing
    })
}

fn read_b3_multi(carrier: &(impl Extract + ?Sized), skipped: &mut Vec<Skipped>) -> Found {
    let [trace, span, sampled, flags] = [
        keys::B3_TRACE_ID,
        keys::B3_SPAN_ID,
        keys::B3_SAMPLED,
        keys::B3_FLAGS,
    ]
    .map(|key| first_b3(carrier, key, skipped));
    let mut malformed = |error| {
        skipped.push(Skipped::B3Malformed {
            format: Format::B3Multi,
            error,
        });
    };
    // A bad sampling state loses a hint; bad ids lose the trace. So the one does not spoil the other.
    let decision = b3::multi_decision(sampled, flags).unwrap_or_else(|error| {
        malformed(error);
        None
    });
    let context = b3::parse_multi(trace, span, decision).unwrap_or_else(|error| {
        malformed(error);
        None
    });
    Found { context, decision }
}

fn first_b3<'a>(
    carrier: &'a (impl Extract + ?Sized),
    key: &'static str,
    skipped: &mut Vec<Skipped>,
) -> Option<&'a [u8]> {
    let found = values(carrier, key);
    if found.count > 1 {
        skipped.push(Skipped::B3Duplicated {
            key,
            count: found.count,
        });
    }
    found.first
}

fn write_trace_context(carrier: &mut (impl Inject + ?Sized), context: &SpanContext) -> Result<(), Refused> {
    carrier.remove(keys::TRACEPARENT);
    carrier.remove(keys::TRACESTATE);
    carrier.set(keys::TRACEPARENT, &write_traceparent(context))?;
    if context.trace_state.is_empty() {
        return Ok(());
    }
    carrier.set(keys::TRACESTATE, context.trace_state.as_str())
}

fn write_b3_multi(carrier: &mut (impl Inject + ?Sized), context: &SpanContext) -> Result<(), Refused> {
    for key in B3_MULTI_KEYS {
        carrier.remove(key);
    }
    carrier.set(keys::B3_TRACE_ID, &b3::trace_id_text(context))?;
    carrier.set(keys::B3_SPAN_ID, &context.span_id.to_string())?;
    match b3::decision(context) {
        Some(Decision::Debug) => carrier.set(keys::B3_FLAGS, "1"),
        Some(decision) => carrier.set(keys::B3_SAMPLED, if decision.is_recorded() { "1" } else { "0" }),
        None => Ok(()),
    }
}
