//! AWS X-Ray's `X-Amzn-Trace-Id`.
//!
//! In: a header value such as `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`. Out: ids and
//! sampling, and the same written back with every other pair (`Self` of a load balancer, `Lineage`) as it came.
//! Left out on purpose: the time in the first 8 digits of `Root`. It is part of the id, and nobody here reads it.
//! Source: AWS X-Ray developer guide, "Tracing header"; Elastic Load Balancing, "Request tracing".

use crate::context::{Decision, SpanContext, Traits};
use crate::format::Format;
use crate::found::{FormatError, Found, TraceStart};
use crate::ids::{SpanId, TraceId};
use crate::keys::XRAY as KEY;
use crate::text::{number_from_hex, push_lower_hex, trim_ows_str};

const MAX_LEN: usize = 1024;
const FORM: &str = "Root=1-{8 hex}-{24 hex};Parent={16 hex};Sampled={0 or 1}";

/// Reads the value. A load balancer sends `Root` alone: that names the trace, and whoever receives it is the root.
pub(crate) fn parse(value: &[u8], refuse: &mut dyn FnMut(FormatError)) -> Result<Found, FormatError> {
    if value.len() > MAX_LEN {
        return Err(FormatError::TooLong {
            key: KEY,
            len: value.len(),
            max: MAX_LEN,
        });
    }
    let form = FormatError::Form { key: KEY, form: FORM };
    let text = std::str::from_utf8(value).map_err(|_| form)?;
    let (mut root, mut parent, mut sampled, mut others) = (None, None, None, String::new());
    for pair in text.split(';').map(trim_ows_str).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or(form)?;
        match trim_ows_str(key) {
            "Root" => root = root.or(Some(trim_ows_str(value))),
            "Parent" => parent = parent.or(Some(trim_ows_str(value))),
            "Sampled" => sampled = sampled.or(Some(trim_ows_str(value))),
            _ if pair.bytes().all(|byte| matches!(byte, b' '..=b'~')) => {
                others.push(';');
                others.push_str(pair);
            }
            _ => return Err(form),
        }
    }
    let trace_id = root.and_then(parse_root).ok_or(FormatError::TraceId {
        key: KEY,
        form: "`Root=1-{8 hex}-{24 hex}`",
    })?;
    let decision = match sampled {
        Some("1") => Some(Decision::Record),
        Some("0") => Some(Decision::Drop),
        // A question is left to the receiver, like silence.
        None | Some("?" | "") => None,
        Some(_) => {
            refuse(FormatError::Sampling {
                key: KEY,
                form: "`0`, `1` or `?`",
            });
            None
        }
    };
    let mut traits = Traits::default();
    if !others.is_empty() {
        traits.vendor_mut().xray = others.split_off(1);
    }
    let Some(parent) = parent else {
        return Ok(Found {
            decision,
            start: Some(TraceStart {
                trace_id,
                random: false,
                format: Some(Format::XRay),
                traits,
            }),
            ..Found::default()
        });
    };
    let span_id = parse_parent(parent).ok_or(FormatError::SpanId {
        key: KEY,
        form: "`Parent={16 hex}`",
    })?;
    Ok(Found::context(
        SpanContext::carried(Format::XRay, trace_id, span_id, traits),
        decision,
    ))
}

/// The value for `context`.
pub(crate) fn write(context: &SpanContext) -> String {
    let (time, random) = context.trace_id.as_bytes().split_at(4);
    let mut value = String::from("Root=1-");
    push_lower_hex(&mut value, time);
    value.push('-');
    push_lower_hex(&mut value, random);
    value.push_str(";Parent=");
    push_lower_hex(&mut value, context.span_id.as_bytes());
    match context.decision() {
        Some(decision) if decision.is_recorded() => value.push_str(";Sampled=1"),
        Some(_) => value.push_str(";Sampled=0"),
        None => {}
    }
    if let Some(vendor) = context.traits.vendor().filter(|vendor| !vendor.xray.is_empty()) {
        value.push(';');
        value.push_str(&vendor.xray);
    }
    value
}

fn parse_root(root: &str) -> Option<TraceId> {
    let (time, random) = root.strip_prefix("1-")?.split_once('-')?;
    if (time.len(), random.len()) != (8, 24) {
        return None;
    }
    let id = number_from_hex(time, 8)? << 96 | number_from_hex(random, 24)?;
    TraceId::from_bytes(id.to_be_bytes())
}

fn parse_parent(parent: &str) -> Option<SpanId> {
    let id = number_from_hex(parent, 16).filter(|_| parent.len() == 16)?;
    SpanId::from_bytes((id as u64).to_be_bytes())
}
