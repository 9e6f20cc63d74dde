//! Jaeger's `uber-trace-id`.
//!
//! In: a header value `{trace id}:{span id}:{parent span id}:{flags}`. Out: ids, sampling and the firehose flag, and the
//! same written back with parent `0`.
//! Left out on purpose: the parent span id, which Jaeger itself gave up; baggage in `uberctx-…`, see `baggage.rs`.
//! Source: Jaeger documentation, "Client Libraries", propagation format.

use std::borrow::Cow;

use crate::context::{Decision, SpanContext, TraceIdWidth, Traits};
use crate::format::Format;
use crate::found::{FormatError, Found};
use crate::keys::JAEGER as KEY;
use crate::text::{number_from_hex, push_lower_hex, trim_ows};

/// Four fields at their widest with escaped colons have 61 bytes.
const MAX_LEN: usize = 128;
const FORM: &str = "{trace id}:{span id}:{parent span id}:{flags}";
const SAMPLED: u8 = 0x01;
const DEBUG: u8 = 0x02;
const FIREHOSE: u8 = 0x08;

/// Reads the value. Ids may lack leading zeros, digits may be in upper case, and `:` may be written as `%3A`, for
/// Jaeger's own clients did all of this.
pub(crate) fn parse(value: &[u8]) -> Result<Found, FormatError> {
    let value = trim_ows(value);
    if value.len() > MAX_LEN {
        return Err(FormatError::TooLong {
            key: KEY,
            len: value.len(),
            max: MAX_LEN,
        });
    }
    let form = FormatError::Form { key: KEY, form: FORM };
    let text = unescaped(std::str::from_utf8(value).map_err(|_| form)?);
    let fields: Vec<&str> = text.splitn(5, ':').collect();
    let [trace, span, _parent, flags] = *fields.as_slice() else {
        return Err(form);
    };
    let trace_id = number_from_hex(trace, 32).and_then(|id| crate::TraceId::from_bytes(id.to_be_bytes()));
    let span_id =
        number_from_hex(span, 16).and_then(|id| crate::SpanId::from_bytes((id as u64).to_be_bytes()));
    let flags = number_from_hex(flags, 2).ok_or(FormatError::Sampling {
        key: KEY,
        form: "1 or 2 hex digits",
    })? as u8;
    let mut traits = Traits {
        width: if trace.len() > 16 {
            TraceIdWidth::Bits128
        } else {
            TraceIdWidth::Bits64
        },
        ..Traits::default()
    };
    if flags & FIREHOSE != 0 {
        traits.vendor_mut().jaeger_firehose = true;
    }
    let context = SpanContext::carried(
        Format::Jaeger,
        trace_id.ok_or(FormatError::TraceId {
            key: KEY,
            form: "1 to 32 hex digits",
        })?,
        span_id.ok_or(FormatError::SpanId {
            key: KEY,
            form: "1 to 16 hex digits",
        })?,
        traits,
    );
    Ok(Found::context(context, Some(decision(flags))))
}

/// The value for `context`.
pub(crate) fn write(context: &SpanContext) -> String {
    let mut value = context.trace_id_text();
    value.push(':');
    push_lower_hex(&mut value, context.span_id.as_bytes());
    let sampling = match context.decision() {
        Some(Decision::Debug) => DEBUG | SAMPLED,
        Some(Decision::Record) => SAMPLED,
        Some(Decision::Drop) | None => 0,
    };
    let firehose = context
        .traits
        .vendor()
        .is_some_and(|vendor| vendor.jaeger_firehose);
    let flags = sampling | if firehose { FIREHOSE } else { 0 };
    value.push_str(":0:");
    // At most `b`: three bits of four.
    value.extend(char::from_digit(u32::from(flags), 16));
    value
}

fn decision(flags: u8) -> Decision {
    match flags {
        _ if flags & DEBUG != 0 => Decision::Debug,
        _ if flags & SAMPLED != 0 => Decision::Record,
        _ => Decision::Drop,
    }
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if text.contains('%') {
        Cow::Owned(text.replace("%3A", ":").replace("%3a", ":"))
    } else {
        Cow::Borrowed(text)
    }
}
