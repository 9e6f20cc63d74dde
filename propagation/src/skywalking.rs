//! Apache `SkyWalking`'s `sw8`: read, never written.
//!
//! In: the header's eight fields. Out: a [`SkyWalking`] reference, which gives a correlation id, attributes, and the ids of
//! a span link.
//! Left out on purpose: continuing the trace. Its ids are free text of any length, so 16 bytes of ours cannot be sent
//! back as one; and its sampling, which says what that system keeps.
//! Source: `SkyWalking`, "Cross Process Propagation Headers Protocol v3". The ids of the link are those that the
//! OpenTelemetry Collector's `SkyWalking` receiver gives the same span, so that a link finds it there.

use crate::correlation::CorrelationId;
use crate::found::FormatError;
use crate::ids::{SpanId, TraceId};
use crate::keys::SW8 as KEY;
use crate::text::{decimal, from_base64, number_from_hex, trim_ows};

/// The protocol asks senders to stay below 2 kilobytes.
const MAX_LEN: usize = 2048;
const FORM: &str = "{sample}-{trace id}-{segment id}-{span id}-{service}-{instance}-{endpoint}-{address}";

/// The span that a request came from, in `SkyWalking`'s words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkyWalking {
    /// The trace's id, free text.
    pub trace_id: String,
    /// The id of the part of the trace that one process recorded, free text.
    pub segment_id: String,
    /// The span's number within its segment.
    pub span_id: u32,
    /// The caller's service.
    pub service: String,
    /// The caller's endpoint, which is the operation it served.
    pub endpoint: String,
}

impl SkyWalking {
    /// Reads the value.
    pub(crate) fn parse(value: &[u8]) -> Result<Self, FormatError> {
        let value = trim_ows(value);
        if value.len() > MAX_LEN {
            return Err(FormatError::TooLong {
                key: KEY,
                len: value.len(),
                max: MAX_LEN,
            });
        }
        let form = FormatError::Form { key: KEY, form: FORM };
        let fields: Vec<&[u8]> = value.splitn(9, |byte| *byte == b'-').collect();
        let [
            sample,
            trace,
            segment,
            span,
            service,
            _instance,
            endpoint,
            _address,
        ] = *fields.as_slice()
        else {
            return Err(form);
        };
        if ![&b"0"[..], b"1"].contains(&sample) {
            return Err(form);
        }
        let span = std::str::from_utf8(span).ok().and_then(decimal);
        Ok(Self {
            trace_id: text(trace).filter(|id| !id.is_empty()).ok_or(form)?,
            segment_id: text(segment).filter(|id| !id.is_empty()).ok_or(form)?,
            span_id: span.and_then(|span| u32::try_from(span).ok()).ok_or(form)?,
            service: text(service).ok_or(form)?,
            endpoint: text(endpoint).ok_or(form)?,
        })
    }

    /// The trace id as a correlation id, where it can be one. It is the same for all requests of one trace.
    pub fn correlation(&self) -> Option<CorrelationId> {
        CorrelationId::parse(self.trace_id.as_bytes()).ok()
    }

    /// The ids under which the OpenTelemetry Collector's `SkyWalking` receiver stores the caller's span; `None` where it
    /// has no rule for ids of this form.
    pub fn link(&self) -> Option<(TraceId, SpanId)> {
        let trace = match self.trace_id.len() {
            ..=36 => uuid(&self.trace_id)?,
            _ => folded(&self.trace_id, 0)?,
        };
        let segment = folded(&self.segment_id, self.span_id)?;
        let span = (segment >> 64) as u64 ^ segment as u64;
        Some((
            TraceId::from_bytes(trace.to_be_bytes())?,
            SpanId::from_bytes(span.to_be_bytes())?,
        ))
    }
}

fn text(field: &[u8]) -> Option<String> {
    String::from_utf8(from_base64(field)?)
        .ok()
        .filter(|text| !text.chars().any(char::is_control))
}

/// A UUID, with or without its dashes.
fn uuid(text: &str) -> Option<u128> {
    let digits = match text.len() {
        36 => crate::correlation::uuid_digits(text)?,
        _ => text.to_owned(),
    };
    number_from_hex(&digits, 32).filter(|_| digits.len() == 32)
}

/// `{32 hex digits}[.{thread}.{sequence}]`: the digits, with `extra`, thread and sequence folded into their bytes.
fn folded(text: &str, extra: u32) -> Option<u128> {
    let (digits, rest) = text.split_at_checked(32)?;
    let base = number_from_hex(digits, 32)? ^ u128::from(extra.swap_bytes()) << 96;
    if rest.is_empty() {
        return Some(base);
    }
    let (thread, sequence) = rest.strip_prefix('.')?.rsplit_once('.')?;
    let (thread, sequence) = (decimal(thread)? as u32, decimal(sequence)?);
    Some(base ^ u128::from(thread.swap_bytes()) << 64 ^ u128::from(sequence.swap_bytes()))
}
