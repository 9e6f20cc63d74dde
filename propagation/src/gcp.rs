//! Google's `X-Cloud-Trace-Context`.
//!
//! In: a header value `{trace id}/{span id};o={options}`. Out: ids and sampling, and the same written back.
//! Left out on purpose: options other than the lowest bit, which nobody defined.
//! Source: Google Cloud, "Trace context".

use crate::context::{Decision, SpanContext, Traits};
use crate::format::Format;
use crate::found::{FormatError, Found, TraceStart};
use crate::ids::{SpanId, TraceId};
use crate::keys::GCP as KEY;
use crate::text::{decimal, number_from_hex, push_lower_hex, trim_ows};

const MAX_LEN: usize = 128;
const FORM: &str = "{32 hex digits}/{decimal span id};o={0 or 1}";

/// Reads the value. Span id and options may be absent; without a span (or with span `0`) it names the trace alone.
pub(crate) fn parse(value: &[u8], refuse: &mut dyn FnMut(FormatError)) -> Result<Found, FormatError> {
    let value = trim_ows(value);
    if value.len() > MAX_LEN {
        return Err(FormatError::TooLong {
            key: KEY,
            len: value.len(),
            max: MAX_LEN,
        });
    }
    let text = std::str::from_utf8(value).map_err(|_| FormatError::Form { key: KEY, form: FORM })?;
    let (ids, options) = text
        .split_once(';')
        .map_or((text, None), |(ids, options)| (ids, Some(options)));
    let (trace, span) = ids
        .split_once('/')
        .map_or((ids, None), |(trace, span)| (trace, Some(span)));
    let trace_id = number_from_hex(trace, 32)
        .filter(|_| trace.len() == 32)
        .and_then(|id| TraceId::from_bytes(id.to_be_bytes()))
        .ok_or(FormatError::TraceId {
            key: KEY,
            form: "32 hex digits",
        })?;
    let span = match span {
        None | Some("") => 0,
        Some(span) => decimal(span).ok_or(FormatError::SpanId {
            key: KEY,
            form: "a decimal number of 64 bits",
        })?,
    };
    let decision = options.and_then(|options| {
        let decision = parse_options(options);
        if decision.is_none() {
            refuse(FormatError::Sampling {
                key: KEY,
                form: "`o=` and a number",
            });
        }
        decision
    });
    Ok(match SpanId::from_bytes(span.to_be_bytes()) {
        Some(span_id) => Found::context(
            SpanContext::carried(Format::Gcp, trace_id, span_id, Traits::default()),
            decision,
        ),
        None => Found {
            decision,
            start: Some(TraceStart {
                trace_id,
                random: false,
                format: Some(Format::Gcp),
                traits: Traits::default(),
            }),
            ..Found::default()
        },
    })
}

/// The value for `context`.
pub(crate) fn write(context: &SpanContext) -> String {
    let mut value = String::with_capacity(56);
    push_lower_hex(&mut value, context.trace_id.as_bytes());
    value.push('/');
    value.push_str(&u64::from_be_bytes(*context.span_id.as_bytes()).to_string());
    if let Some(decision) = context.decision() {
        value.push_str(if decision.is_recorded() { ";o=1" } else { ";o=0" });
    }
    value
}

fn parse_options(options: &str) -> Option<Decision> {
    let bits = decimal(options.strip_prefix("o=")?)?;
    Some(if bits & 1 == 1 {
        Decision::Record
    } else {
        Decision::Drop
    })
}
