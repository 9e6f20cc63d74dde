//! Datadog's `x-datadog-…` headers.
//!
//! In: trace id and parent id as decimal numbers of 64 bits, the sampling priority, the origin, and tags of which
//! `_dd.p.tid` is the upper half of the trace id. Out: one context of 128 bits, and the same written back.
//! Left out on purpose: what the other tags and the origin mean; they are sent on as they came.
//! Source: Datadog's tracing library for Go, `textmap.go`, and its documentation on trace context propagation.

use crate::context::{DatadogTraits, Decision, SpanContext, TraceIdWidth, Traits};
use crate::format::Format;
use crate::found::{FormatError, Found, TraceStart};
use crate::ids::{SpanId, TraceId};
use crate::keys;
use crate::text::{decimal, from_lower_hex, push_lower_hex, trim_ows_str};

/// The tag with the upper half of the trace id.
const UPPER_HALF: &str = "_dd.p.tid";
/// Longest list of tags that is read: the longest that Datadog's own libraries send.
const MAX_TAGS: usize = 512;
const MAX_ORIGIN: usize = 128;
/// A person wants the trace: beats automatic decisions, as debug does elsewhere.
const USER_KEEP: i8 = 2;

/// The five values as they came.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Headers<'a> {
    pub(crate) trace: Option<&'a [u8]>,
    pub(crate) parent: Option<&'a [u8]>,
    pub(crate) priority: Option<&'a [u8]>,
    pub(crate) origin: Option<&'a [u8]>,
    pub(crate) tags: Option<&'a [u8]>,
}

/// Reads the headers. A parent of 0, as synthetic tests send it, names the trace alone.
pub(crate) fn parse(headers: Headers<'_>, refuse: &mut dyn FnMut(FormatError)) -> Result<Found, FormatError> {
    let Some(trace) = headers.trace else {
        return Ok(Found::default());
    };
    let low = id(trace).filter(|id| *id != 0).ok_or(FormatError::TraceId {
        key: keys::DATADOG_TRACE_ID,
        form: "a decimal number of 64 bits",
    })?;
    let span = headers.parent.map_or(Some(0), id).ok_or(FormatError::SpanId {
        key: keys::DATADOG_PARENT_ID,
        form: "a decimal number of 64 bits",
    })?;
    let priority = headers
        .priority
        .and_then(|value| checked(parse_priority(value), refuse));
    let (high, tags) = headers
        .tags
        .and_then(|value| checked(parse_tags(value), refuse))
        .unwrap_or_default();
    let origin = headers
        .origin
        .and_then(|value| checked(parse_origin(value), refuse));
    let datadog = DatadogTraits {
        priority,
        origin: origin.unwrap_or_default(),
        tags,
    };
    let mut traits = Traits {
        width: if high == 0 {
            TraceIdWidth::Bits64
        } else {
            TraceIdWidth::Bits128
        },
        ..Traits::default()
    };
    if datadog != DatadogTraits::default() {
        traits.vendor_mut().datadog = datadog;
    }
    let decision = priority.map(|priority| {
        if priority > 0 {
            Decision::Record
        } else {
            Decision::Drop
        }
    });
    let whole = u128::from(high) << 64 | u128::from(low);
    let trace_id = TraceId::from_bytes(whole.to_be_bytes()).ok_or(FormatError::TraceId {
        key: keys::DATADOG_TRACE_ID,
        form: "a decimal number of 64 bits",
    })?;
    Ok(match SpanId::from_bytes(span.to_be_bytes()) {
        Some(span_id) => Found::context(
            SpanContext::carried(Format::Datadog, trace_id, span_id, traits),
            decision,
        ),
        None => Found {
            decision,
            start: Some(TraceStart {
                trace_id,
                random: false,
                format: Some(Format::Datadog),
                traits,
            }),
            ..Found::default()
        },
    })
}

/// The headers for `context`: key and value; an empty value is not sent.
pub(crate) fn write(context: &SpanContext) -> [(&'static str, String); 5] {
    let known = context.traits.vendor().map(|vendor| &vendor.datadog);
    let kept = known.and_then(|datadog| datadog.priority);
    let priority = context.decision().map(|decision| match (decision, kept) {
        (Decision::Record, Some(kept)) if kept > 0 => kept,
        (Decision::Drop, Some(kept)) if kept <= 0 => kept,
        (Decision::Debug, _) => USER_KEEP,
        (Decision::Record, _) => 1,
        (Decision::Drop, _) => 0,
    });
    let mut tags = String::new();
    let high = context.trace_id.high_half();
    if high != 0 {
        tags.push_str(UPPER_HALF);
        tags.push('=');
        push_lower_hex(&mut tags, &high.to_be_bytes());
    }
    if let Some(others) = known.map(|datadog| &datadog.tags).filter(|tags| !tags.is_empty()) {
        if !tags.is_empty() {
            tags.push(',');
        }
        tags.push_str(others);
    }
    [
        (keys::DATADOG_TRACE_ID, context.trace_id.low_half().to_string()),
        (
            keys::DATADOG_PARENT_ID,
            u64::from_be_bytes(*context.span_id.as_bytes()).to_string(),
        ),
        (
            keys::DATADOG_PRIORITY,
            priority.map(|priority| priority.to_string()).unwrap_or_default(),
        ),
        (
            keys::DATADOG_ORIGIN,
            known.map(|datadog| datadog.origin.clone()).unwrap_or_default(),
        ),
        (keys::DATADOG_TAGS, tags),
    ]
}

fn checked<T>(result: Result<T, FormatError>, refuse: &mut dyn FnMut(FormatError)) -> Option<T> {
    result.map_err(refuse).ok()
}

fn id(value: &[u8]) -> Option<u64> {
    decimal(trim_ows_str(std::str::from_utf8(value).ok()?))
}

fn parse_priority(value: &[u8]) -> Result<i8, FormatError> {
    let wrong = FormatError::Sampling {
        key: keys::DATADOG_PRIORITY,
        form: "`-1`, `0`, `1` or `2`",
    };
    match std::str::from_utf8(value).map(trim_ows_str) {
        Ok("-1") => Ok(-1),
        Ok("0") => Ok(0),
        Ok("1") => Ok(1),
        Ok("2") => Ok(USER_KEEP),
        _ => Err(wrong),
    }
}

fn parse_origin(value: &[u8]) -> Result<String, FormatError> {
    let origin = std::str::from_utf8(value).map(trim_ows_str);
    let legal = |origin: &&str| origin.len() <= MAX_ORIGIN && is_printable(origin);
    origin
        .ok()
        .filter(legal)
        .map(str::to_owned)
        .ok_or(FormatError::Form {
            key: keys::DATADOG_ORIGIN,
            form: "up to 128 printable ASCII characters",
        })
}

/// The upper half of the trace id, 0 where there is none, and all other tags as they came.
fn parse_tags(value: &[u8]) -> Result<(u64, String), FormatError> {
    let key = keys::DATADOG_TAGS;
    if value.len() > MAX_TAGS {
        return Err(FormatError::TooLong {
            key,
            len: value.len(),
            max: MAX_TAGS,
        });
    }
    let form = FormatError::Form {
        key,
        form: "{key}={value},… with `_dd.p.tid` of 16 lower-case hex digits",
    };
    let text = std::str::from_utf8(value).ok().filter(|text| is_printable(text));
    let (mut high, mut others) = (0, String::new());
    let tags = text.ok_or(form)?.split(',').map(trim_ows_str);
    for tag in tags.filter(|tag| !tag.is_empty()) {
        match tag.split_once('=') {
            Some((UPPER_HALF, digits)) => {
                high = u64::from_be_bytes(from_lower_hex(digits.as_bytes()).ok_or(form)?);
            }
            Some(_) => {
                if !others.is_empty() {
                    others.push(',');
                }
                others.push_str(tag);
            }
            None => return Err(form),
        }
    }
    Ok((high, others))
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}
