//! B3, in one header and in several.
//!
//! In: header values. Out: ids and the sampling state, either of which may be missing, and the same written
//! back.
//! Left out on purpose: the parent's span id. Whoever receives us makes a child of our span, never of its
//! parent, and we never share a span id between caller and callee.
//!
//! Source: the B3 propagation README.

use crate::context::{Decision, SpanContext, TraceIdWidth, Traits};
use crate::format::Format;
use crate::found::Found;
use crate::ids::{SpanId, TraceId};
use crate::text::{from_lower_hex, push_lower_hex, trim_ows};

/// Why B3 headers were not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum B3Error {
    /// `b3` has another shape than a lone sampling state or 2 to 4 fields.
    #[error(
        "`b3` is neither `0`, `1` or `d` nor `{{trace id}}-{{span id}}[-{{sampling}}[-{{parent span id}}]]`"
    )]
    Shape,
    /// The trace id is not 16 or 32 lower-case hex digits, or all zero.
    #[error("B3 trace id is not 16 or 32 lower-case hex digits other than all zero")]
    TraceId,
    /// The span id is not 16 lower-case hex digits, or all zero.
    #[error("B3 span id is not 16 lower-case hex digits other than all zero")]
    SpanId,
    /// The parent span id is not 16 lower-case hex digits.
    #[error("B3 parent span id is not 16 lower-case hex digits")]
    ParentSpanId,
    /// The sampling state is none of `0`, `1`, `d` (one header) or `0`, `1`, `false`, `true` (several).
    #[error("B3 sampling state is none of `0`, `1` and `d`, or `true` and `false` in `x-b3-sampled`")]
    Sampling,
    /// `x-b3-traceid` without `x-b3-spanid`, or the other way round.
    #[error("`x-b3-traceid` and `x-b3-spanid` must come together, but one is missing")]
    HalfIds,
}

/// Reads the value of the single header `b3`.
pub(crate) fn parse_single(value: &[u8]) -> Result<Found, B3Error> {
    let fields: Vec<&[u8]> = trim_ows(value).splitn(5, |byte| *byte == b'-').collect();
    let (trace, span, sampling) = match *fields.as_slice() {
        [state] => {
            let decision = single_state(state).ok_or(B3Error::Shape)?;
            return Ok(Found {
                decision: Some(decision),
                ..Found::default()
            });
        }
        [trace, span] => (trace, span, None),
        [trace, span, sampling] => (trace, span, Some(sampling)),
        [trace, span, sampling, parent] => {
            from_lower_hex::<8>(parent).ok_or(B3Error::ParentSpanId)?;
            (trace, span, Some(sampling))
        }
        _ => return Err(B3Error::Shape),
    };
    let decision = sampling
        .map(|state| single_state(state).ok_or(B3Error::Sampling))
        .transpose()?;
    Ok(Found::context(context(Format::B3, trace, span)?, decision))
}

/// Reads `x-b3-traceid` and `x-b3-spanid`.
pub(crate) fn parse_multi(trace: Option<&[u8]>, span: Option<&[u8]>) -> Result<Option<SpanContext>, B3Error> {
    match (trace, span) {
        (None, None) => Ok(None),
        (Some(trace), Some(span)) => context(Format::B3Multi, trim_ows(trace), trim_ows(span)).map(Some),
        _ => Err(B3Error::HalfIds),
    }
}

/// Reads `x-b3-sampled` and `x-b3-flags`; flags `1` is debug and beats the other.
pub(crate) fn multi_decision(
    sampled: Option<&[u8]>,
    flags: Option<&[u8]>,
) -> Result<Option<Decision>, B3Error> {
    if flags.map(trim_ows) == Some(b"1") {
        return Ok(Some(Decision::Debug));
    }
    match sampled.map(trim_ows) {
        None => Ok(None),
        Some(b"1") => Ok(Some(Decision::Record)),
        Some(b"0") => Ok(Some(Decision::Drop)),
        Some(word) if word.eq_ignore_ascii_case(b"true") => Ok(Some(Decision::Record)),
        Some(word) if word.eq_ignore_ascii_case(b"false") => Ok(Some(Decision::Drop)),
        Some(_) => Err(B3Error::Sampling),
    }
}

/// The value of the single header `b3`.
pub(crate) fn write_single(context: &SpanContext) -> String {
    let mut value = context.trace_id_text();
    value.push('-');
    push_lower_hex(&mut value, context.span_id.as_bytes());
    match context.decision() {
        Some(Decision::Debug) => value.push_str("-d"),
        Some(Decision::Record) => value.push_str("-1"),
        Some(Decision::Drop) => value.push_str("-0"),
        None => {}
    }
    value
}

fn single_state(state: &[u8]) -> Option<Decision> {
    match state {
        b"0" => Some(Decision::Drop),
        b"1" => Some(Decision::Record),
        b"d" => Some(Decision::Debug),
        _ => None,
    }
}

fn context(format: Format, trace: &[u8], span: &[u8]) -> Result<SpanContext, B3Error> {
    let (bytes, width) = match from_lower_hex::<8>(trace) {
        Some(short) => (
            u128::from(u64::from_be_bytes(short)).to_be_bytes(),
            TraceIdWidth::Bits64,
        ),
        None => (
            from_lower_hex::<16>(trace).ok_or(B3Error::TraceId)?,
            TraceIdWidth::Bits128,
        ),
    };
    let trace_id = TraceId::from_bytes(bytes).ok_or(B3Error::TraceId)?;
    let span_id = from_lower_hex(span)
        .and_then(SpanId::from_bytes)
        .ok_or(B3Error::SpanId)?;
    let traits = Traits {
        width,
        ..Traits::default()
    };
    Ok(SpanContext::carried(format, trace_id, span_id, traits))
}
