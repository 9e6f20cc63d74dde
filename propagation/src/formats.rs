//! Each trace format on a carrier: which keys it reads, which it replaces.
//!
//! In: a carrier. Out: what one format says, or a carrier that holds one context in that format.
//! Left out on purpose: precedence between formats, which [`Extracted`](crate::Extracted) knows.

use crate::b3;
use crate::carrier::{Extract, Inject, Refused, combined, values};
use crate::context::{Decision, SpanContext, Traits};
use crate::datadog;
use crate::format::Format;
use crate::found::{FormatError, Found};
use crate::gcp;
use crate::grpc_trace;
use crate::jaeger;
use crate::keys;
use crate::skipped::Skipped;
use crate::skywalking::SkyWalking;
use crate::traceparent::{parse_traceparent, write_traceparent};
use crate::tracestate::TraceState;
use crate::xray;

/// What `format` says; what it says wrongly goes to `skipped`.
pub(crate) fn read(format: Format, carrier: &(impl Extract + ?Sized), skipped: &mut Vec<Skipped>) -> Found {
    match format {
        Format::TraceContext => read_trace_context(carrier, skipped),
        Format::B3 => read_b3(carrier, skipped),
        Format::B3Multi => read_b3_multi(carrier, skipped),
        _ => read_vendor(format, carrier, skipped),
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
        Format::Datadog => write_datadog(carrier, context),
        Format::GrpcTraceBin => carrier.set(keys::GRPC_TRACE_BIN, &grpc_trace::write(context)),
        Format::Jaeger => carrier.set(keys::JAEGER, &jaeger::write(context)),
        Format::XRay => carrier.set(keys::XRAY, &xray::write(context)),
        Format::Gcp => carrier.set(keys::GCP, &gcp::write(context)),
        Format::Sw8 => Ok(()),
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
            return Found::default();
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
        traits: Traits::default(),
        formats: Format::TraceContext.into(),
    };
    Found {
        context: Some(context),
        decision: Some(decision),
        ..Found::default()
    }
}

fn read_b3(carrier: &(impl Extract + ?Sized), skipped: &mut Vec<Skipped>) -> Found {
    let Some(value) = first_b3(carrier, keys::B3, skipped) else {
        return Found::default();
    };
    b3::parse_single(value).unwrap_or_else(|error| {
        skipped.push(Skipped::B3Malformed {
            format: Format::B3,
            error,
        });
        Found::default()
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
    let context = b3::parse_multi(trace, span).unwrap_or_else(|error| {
        malformed(error);
        None
    });
    match context {
        Some(context) => Found::context(context, decision),
        None => Found {
            decision,
            ..Found::default()
        },
    }
}

/// Formats whose specification does not say what several values mean: the first counts, as with B3.
fn read_vendor(format: Format, carrier: &(impl Extract + ?Sized), skipped: &mut Vec<Skipped>) -> Found {
    let mut first = |key: &'static str| {
        let found = values(carrier, key);
        if found.count > 1 {
            skipped.push(Skipped::Duplicated {
                format,
                key,
                count: found.count,
            });
        }
        found.first
    };
    let mut wrong = Vec::new();
    let refuse = &mut |error| wrong.push(error);
    let result = match format {
        Format::Datadog => datadog::parse(
            datadog::Headers {
                trace: first(keys::DATADOG_TRACE_ID),
                parent: first(keys::DATADOG_PARENT_ID),
                priority: first(keys::DATADOG_PRIORITY),
                origin: first(keys::DATADOG_ORIGIN),
                tags: first(keys::DATADOG_TAGS),
            },
            refuse,
        ),
        Format::GrpcTraceBin => one(first(keys::GRPC_TRACE_BIN), grpc_trace::parse),
        Format::Jaeger => one(first(keys::JAEGER), jaeger::parse),
        Format::XRay => one(first(keys::XRAY), |value| xray::parse(value, refuse)),
        Format::Gcp => one(first(keys::GCP), |value| gcp::parse(value, refuse)),
        Format::Sw8 => one(first(keys::SW8), |value| {
            Ok(Found {
                skywalking: Some(SkyWalking::parse(value)?),
                ..Found::default()
            })
        }),
        Format::TraceContext | Format::B3 | Format::B3Multi => Ok(Found::default()),
    };
    let found = result.unwrap_or_else(|error| {
        wrong.push(error);
        Found::default()
    });
    skipped.extend(
        wrong
            .into_iter()
            .map(|error| Skipped::Malformed { format, error }),
    );
    found
}

fn one<'a>(
    value: Option<&'a [u8]>,
    parse: impl FnOnce(&'a [u8]) -> Result<Found, FormatError>,
) -> Result<Found, FormatError> {
    value.map_or_else(|| Ok(Found::default()), parse)
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
    for key in Format::B3Multi.keys() {
        carrier.remove(key);
    }
    carrier.set(keys::B3_TRACE_ID, &context.trace_id_text())?;
    carrier.set(keys::B3_SPAN_ID, &context.span_id.to_string())?;
    match context.decision() {
        Some(Decision::Debug) => carrier.set(keys::B3_FLAGS, "1"),
        Some(decision) => carrier.set(keys::B3_SAMPLED, if decision.is_recorded() { "1" } else { "0" }),
        None => Ok(()),
    }
}

fn write_datadog(carrier: &mut (impl Inject + ?Sized), context: &SpanContext) -> Result<(), Refused> {
    for key in Format::Datadog.keys() {
        carrier.remove(key);
    }
    for (key, value) in datadog::write(context) {
        if !value.is_empty() {
            carrier.set(key, &value)?;
        }
    }
    Ok(())
}
