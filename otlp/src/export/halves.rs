//! A request in two, for a collector that finds it too large.
//!
//! In: a well-formed request of any signal: they have the same layout down to spans, metrics and log records. Out: two requests
//! with the same content, each about half, or nothing where there is one span (metric, log record) left.
//! Left out on purpose: data points of one metric, which stay together.
//!
//! The same bytes always part in the same place, so that a batch that is sent again after a crash has the same parts.

use bytes::Bytes;

use super::rewrite::fields;
use crate::put;
use crate::wire::{MAX_DEPTH, Payload, Reader};

/// `resource_spans`, `scope_spans` and `spans`, each in the one before; likewise in metrics and logs.
const WAY: [u32; 3] = [1, 2, 2];

/// The two halves of `body`, each with its share of `count`.
pub(super) fn halves(body: &Bytes, count: u64) -> Option<[(Bytes, u64); 2]> {
    let [first, second] = parted(Reader::new(body), &WAY)?;
    let items = |part: &[u8]| items(Reader::new(part), &WAY) as u64;
    let (in_first, in_second) = (items(&first), items(&second));
    let share = u128::from(count) * u128::from(in_first) / u128::from((in_first + in_second).max(1));
    let share = u64::try_from(share).unwrap_or(count).min(count);
    Some([(first.into(), share), (second.into(), count - share)])
}

fn items(message: Reader<'_>, way: &[u32]) -> usize {
    let Some((&number, way)) = way.split_first() else {
        return 1;
    };
    children(message, number).map(|child| items(child, way)).sum()
}

fn children(message: Reader<'_>, number: u32) -> impl Iterator<Item = Reader<'_>> {
    fields(message).filter_map(move |field| match field.payload {
        Payload::Bytes(inner) if field.number == number => Some(inner),
        _ => None,
    })
}

fn parted(message: Reader<'_>, way: &[u32]) -> Option<[Vec<u8>; 2]> {
    let (&number, deeper) = way.split_first()?;
    let is_child = |number_found: u32, payload: &Payload<'_>| {
        number_found == number && matches!(payload, Payload::Bytes(_))
    };
    let mut whole = Vec::new();
    let mut common = Vec::new();
    for field in fields(message) {
        if is_child(field.number, &field.payload) {
            whole.push(field.raw);
        } else {
            common.extend_from_slice(field.raw);
        }
    }
    if whole.len() > 1 {
        let (first, second) = whole.split_at(middle(&whole));
        return Some([first, second].map(|part| [&common[..], &part.concat()].concat()));
    }
    let inner = children(message, number).next()?;
    let parts = parted(inner, deeper)?;
    Some(parts.map(|part| {
        let mut out = common.clone();
        put::message(&mut out, number, |out| out.extend_from_slice(&part));
        out
    }))
}

/// Where the larger part of the bytes begins to be behind; at least one is on either side.
fn middle(parts: &[&[u8]]) -> usize {
    let all: usize = parts.iter().map(|part| part.len()).sum();
    let mut before = 0;
    let at = parts.iter().position(|part| {
        before += part.len();
        2 * before >= all
    });
    at.map_or(1, |at| at + 1).clamp(1, parts.len() - 1)
}

// A group nests as deep as it wants to; what is deeper than this was refused before.
const _: () = assert!(MAX_DEPTH > WAY.len() as u32);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{Attributes, SpanRecord, request};
    use crate::view::validate;
    use crate::{Kind, StatusCode};
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message as _;

    fn span(name: &str) -> SpanRecord {
        SpanRecord {
            trace_id: [1; 16],
            span_id: [2; 8],
            parent_span_id: None,
            trace_state: String::new(),
            name: name.to_owned(),
            kind: Kind::Server,
            start_unix_nano: 1,
            end_unix_nano: 2,
            flags: 1,
            status: StatusCode::Unset,
            status_message: String::new(),
            attributes: Attributes::default(),
            links: Vec::new(),
        }
    }

    fn body(service: &str, names: &[&str]) -> Bytes {
        let resource = [("service.name".to_owned(), service.to_owned().into())];
        request(
            &resource,
            ("scope", "1"),
            &names.iter().map(|name| span(name)).collect::<Vec<_>>(),
        )
    }

    fn seen(body: &[u8]) -> Vec<String> {
        let request = ExportTraceServiceRequest::decode(body).expect("well-formed");
        let mut seen = Vec::new();
        for resource_spans in request.resource_spans {
            let resource = format!("{:?}", resource_spans.resource);
            for scope_spans in resource_spans.scope_spans {
                let scope = format!("{:?}", scope_spans.scope);
                let names = scope_spans.spans.into_iter().map(|span| span.name);
                seen.extend(names.map(|name| format!("{resource} {scope} {name}")));
            }
        }
        seen
    }

    #[test]
    fn halving_again_and_again_ends_at_single_spans_and_loses_none() {
        let whole = [
            body("cart", &["a", "b", "c"]),
            body("shop", &["d"]),
            body("cart", &["e", "f"]),
        ]
        .concat();
        let (mut left, mut single) = (vec![(Bytes::from(whole.clone()), 6)], Vec::new());
        while let Some((part, count)) = left.pop() {
            assert_eq!(validate(&part).map(|spans| spans.0), Ok(count), "{part:?}");
            match halves(&part, count) {
                Some([first, second]) => left.extend([second, first]),
                None => single.push(part),
            }
        }
        assert_eq!(
            single.iter().flat_map(|part| seen(part)).collect::<Vec<_>>(),
            seen(&whole)
        );
        assert_eq!(single.len(), 6);
    }

    #[test]
    fn what_is_counted_otherwise_is_shared_out_and_stays_the_same_in_sum() {
        let [(_, first), (_, second)] = halves(&body("cart", &["a", "b", "c"]), 100).expect("three spans");
        assert_eq!((first, second), (66, 34));
        assert_eq!(halves(&body("cart", &["a"]), 1), None);
        assert_eq!(halves(&Bytes::new(), 0), None);
    }
}
