//! `grpc-trace-bin`: `OpenCensus`' binary context in gRPC metadata.
//!
//! In: base64 as HTTP carries it, padded or not, or the bytes themselves. Out: ids and the sampled bit, and the same
//! written back as base64 without padding.
//! Left out on purpose: fields beyond the three that were ever defined; reading ends at the first unknown one.
//! Source: `OpenCensus`, "Binary Encoding"; gRPC over HTTP/2, "Binary-Header".

use crate::context::{Decision, SpanContext, Traits};
use crate::format::Format;
use crate::found::{FormatError, Found};
use crate::ids::{SpanId, TraceId};
use crate::keys::GRPC_TRACE_BIN as KEY;
use crate::text::{from_base64, to_base64, trim_ows};

/// Version, then a number before each field: trace id, span id, flags.
const LEN: usize = 1 + (1 + 16) + (1 + 8) + (1 + 1);
const MAX_LEN: usize = 128;
const FORM: &str = "base64 of 0, 0 {16 bytes}, 1 {8 bytes}, 2 {1 byte}";

/// Reads the value. Of several that a hop joined with commas the first counts.
pub(crate) fn parse(value: &[u8]) -> Result<Found, FormatError> {
    if value.len() > MAX_LEN {
        return Err(FormatError::TooLong {
            key: KEY,
            len: value.len(),
            max: MAX_LEN,
        });
    }
    let form = FormatError::Form { key: KEY, form: FORM };
    // No base64 begins with a zero byte, and every context of version 0 does.
    let bytes = if value.first() == Some(&0) {
        value.to_vec()
    } else {
        let first = value.split(|byte| *byte == b',').next().unwrap_or_default();
        from_base64(trim_ows(first)).ok_or(form)?
    };
    let fields = bytes.strip_prefix(&[0]).ok_or(form)?;
    let (trace, fields) = field::<16>(fields, 0).ok_or(form)?;
    let (span, fields) = field::<8>(fields, 1).ok_or(form)?;
    let flags = field::<1>(fields, 2).map_or(0, |([flags], _)| flags);
    let context = SpanContext::carried(
        Format::GrpcTraceBin,
        TraceId::from_bytes(trace).ok_or(FormatError::TraceId {
            key: KEY,
            form: "16 bytes",
        })?,
        SpanId::from_bytes(span).ok_or(FormatError::SpanId {
            key: KEY,
            form: "8 bytes",
        })?,
        Traits::default(),
    );
    let decision = if flags & 1 == 1 {
        Decision::Record
    } else {
        Decision::Drop
    };
    Ok(Found::context(context, Some(decision)))
}

/// The value for `context`, as text.
pub(crate) fn write(context: &SpanContext) -> String {
    let mut bytes = Vec::with_capacity(LEN);
    bytes.extend([0, 0]);
    bytes.extend(context.trace_id.as_bytes());
    bytes.push(1);
    bytes.extend(context.span_id.as_bytes());
    bytes.extend([2, u8::from(context.flags.is_sampled())]);
    to_base64(&bytes)
}

fn field<const N: usize>(bytes: &[u8], number: u8) -> Option<([u8; N], &[u8])> {
    let (value, rest) = bytes.strip_prefix(&[number])?.split_first_chunk::<N>()?;
    Some((*value, rest))
}
