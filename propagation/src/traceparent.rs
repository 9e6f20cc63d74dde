//! `traceparent` of W3C Trace Context Level 2.
//!
//! In: one header value. Out: trace id, parent id and flags, or the reason why the trace must be restarted.
//! Left out on purpose: how many `traceparent` headers there were; the [`Propagator`](crate::Propagator)
//! counts them.

use crate::context::{SpanContext, TraceFlags};
use crate::ids::{SpanId, TraceId};
use crate::text::{from_lower_hex, push_lower_hex, trim_ows};

/// Length of a version 00 value; later versions begin with the same fields.
const LEN: usize = 55;

/// Why a `traceparent` was not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TraceparentError {
    /// Fewer than 55 characters.
    #[error("`traceparent` has {len} characters, but at least {LEN} are needed")]
    TooShort {
        /// Its length without surrounding whitespace.
        len: usize,
    },
    /// Version 00 with something behind its flags, or a later version with something other than `-` there.
    #[error("`traceparent` goes on after its flags: version 00 ends there, later versions go on with `-`")]
    TrailingData,
    /// The first field is not two lower-case hex digits.
    #[error("version of `traceparent` is not 2 lower-case hex digits and `-`")]
    Version,
    /// Version `ff` is forbidden.
    #[error("version of `traceparent` is `ff`, which the specification forbids")]
    VersionForbidden,
    /// The second field is not 32 lower-case hex digits, or all zero.
    #[error("trace id of `traceparent` is not 32 lower-case hex digits other than all zero")]
    TraceId,
    /// The third field is not 16 lower-case hex digits, or all zero.
    #[error("parent id of `traceparent` is not 16 lower-case hex digits other than all zero")]
    ParentId,
    /// The fourth field is not two lower-case hex digits.
    #[error("flags of `traceparent` are not 2 lower-case hex digits")]
    Flags,
}

/// Reads one `traceparent` value; surrounding spaces and tabs are ignored.
///
/// Versions above 00 are read by the fields they share with 00, and unknown flags are dropped.
/// Source: W3C Trace Context Level 2, "traceparent Header Field Values" and "Versioning of traceparent".
///
/// # Errors
/// Any [`TraceparentError`] means: start a new trace.
pub fn parse_traceparent(value: &[u8]) -> Result<(TraceId, SpanId, TraceFlags), TraceparentError> {
    let value = trim_ows(value);
    let (head, tail) = value
        .split_at_checked(LEN)
        .ok_or(TraceparentError::TooShort { len: value.len() })?;
    let mut fields = head.split(|byte| *byte == b'-');
    let mut next = || fields.next().unwrap_or_default();

    let [version] = from_lower_hex(next()).ok_or(TraceparentError::Version)?;
    let trace_id = from_lower_hex(next()).and_then(TraceId::from_bytes);
    let span_id = from_lower_hex(next()).and_then(SpanId::from_bytes);
    let flags = from_lower_hex(next());
    match (version, tail) {
        (0xff, _) => return Err(TraceparentError::VersionForbidden),
        (_, []) | (1.., [b'-', ..]) => {}
        _ => return Err(TraceparentError::TrailingData),
    }
    let trace_id = trace_id.ok_or(TraceparentError::TraceId)?;
    let span_id = span_id.ok_or(TraceparentError::ParentId)?;
    let [flags] = flags.ok_or(TraceparentError::Flags)?;
    Ok((trace_id, span_id, TraceFlags::from_bits(flags)))
}

/// The context as a `traceparent` of version 00: 55 characters.
pub fn write_traceparent(context: &SpanContext) -> String {
    let mut value = String::with_capacity(LEN);
    value.push_str("00-");
    push_lower_hex(&mut value, context.trace_id.as_bytes());
    value.push('-');
    push_lower_hex(&mut value, context.span_id.as_bytes());
    value.push('-');
    push_lower_hex(&mut value, &[context.flags.bits()]);
    value
}
