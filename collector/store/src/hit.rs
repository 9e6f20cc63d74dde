//! What a search shows of a trace that matched.
//!
//! In: a trace and which of its spans match. Out: a [`TraceHit`].
//! Left out on purpose: spans beyond those that were asked for; they are counted.

use crate::aliases;
use crate::matcher;
use crate::query::{Condition, Field, Filter, Literal, Scope, Search, ServiceStats, SpanHit, TraceHit};
use crate::trace::{SpanSeen, Trace};
use otlp::StatusCode;
use otlp::view::Value;
use std::collections::BTreeMap;

/// The hit for a trace whose spans match where `matched` says so.
pub(crate) fn of(search: &Search, trace_id: [u8; 16], trace: &Trace<'_>, matched: &[bool]) -> TraceHit {
    let root = trace.root();
    let mut spans: Vec<_> = trace
        .spans
        .iter()
        .zip(matched)
        .filter(|(_, matched)| **matched)
        .collect();
    let matched_total = spans.len() as u64;
    spans.sort_by_key(|(seen, _)| seen.span.start_unix_nano);
    spans.truncate(search.spans_per_trace);
    let mut named = Vec::new();
    attributes_of_filter(&search.filter, &mut named);
    TraceHit {
        trace_id,
        root_service: root.map(|root| root.service.to_owned()).unwrap_or_default(),
        root_name: root.map(|root| root.span.name.to_owned()).unwrap_or_default(),
        start_unix_nano: trace.extent.start,
        duration_nanos: trace.extent.duration(),
        matched: spans.iter().map(|(seen, _)| span(seen, &named)).collect(),
        matched_total,
        services: services(trace),
    }
}

fn services(trace: &Trace<'_>) -> Vec<ServiceStats> {
    let mut services: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for seen in &trace.spans {
        let counts = services.entry(seen.service).or_default();
        counts.0 += 1;
        counts.1 += u64::from(seen.span.status == StatusCode::Error);
    }
    let stats = |(name, (spans, errors)): (&str, _)| ServiceStats {
        name: name.to_owned(),
        spans,
        errors,
    };
    services.into_iter().map(stats).collect()
}

type Named<'f> = (Option<Scope>, &'f str);

fn attributes_of_filter<'f>(filter: &'f Filter, named: &mut Vec<Named<'f>>) {
    match filter {
        Filter::All => {}
        Filter::Spans(condition) => attributes_of(condition, named),
        Filter::And(one, other) | Filter::Or(one, other) => {
            attributes_of_filter(one, named);
            attributes_of_filter(other, named);
        }
    }
}

fn attributes_of<'f>(condition: &'f Condition, named: &mut Vec<Named<'f>>) {
    match condition {
        Condition::True => {}
        Condition::Compare { field, .. } | Condition::Exists(field) => {
            if let Field::Attribute { scope, key } = field {
                named.push((*scope, key));
            }
        }
        Condition::And(of) | Condition::Or(of) => of.iter().for_each(|one| attributes_of(one, named)),
        Condition::Not(other) => attributes_of(other, named),
    }
}

fn span(seen: &SpanSeen<'_>, named: &[Named<'_>]) -> SpanHit {
    let mut attributes: Vec<(String, Literal)> = Vec::new();
    if !seen.service.is_empty() {
        attributes.push(("service.name".to_owned(), Literal::Str(seen.service.to_owned())));
    }
    for (scope, key) in named {
        let names = aliases::of(key);
        let scopes = match scope {
            Some(scope) => std::slice::from_ref(scope),
            None => &[Scope::Span, Scope::Resource],
        };
        for scope in scopes {
            let before = attributes.len();
            matcher::attributes(*scope, seen, &mut |name, value| {
                if matcher::is_one_of(&names, name)
                    && let Some(literal) = literal(value)
                    && !attributes.iter().any(|(shown, _)| shown == name)
                {
                    attributes.push((name.to_owned(), literal));
                }
                false
            });
            // The resource answers for an unscoped name only where the span does not.
            if attributes.len() > before {
                break;
            }
        }
    }
    SpanHit {
        span_id: eight_bytes(seen.span.span_id),
        name: seen.span.name.to_owned(),
        start_unix_nano: seen.span.start_unix_nano,
        duration_nanos: seen.duration(),
        attributes,
    }
}

fn literal(value: Value<'_>) -> Option<Literal> {
    Some(match value {
        Value::Str(text) => Literal::Str(text.to_owned()),
        Value::Int(int) => Literal::Int(int),
        Value::Double(float) => Literal::Float(float),
        Value::Bool(bool) => Literal::Bool(bool),
        Value::Bytes(_) | Value::Other => return None,
    })
}

fn eight_bytes(id: &[u8]) -> [u8; 8] {
    if let Some(first) = id.first_chunk() {
        return *first;
    }
    let mut padded = [0; 8];
    padded
        .iter_mut()
        .rev()
        .zip(id.iter().rev())
        .for_each(|(to, from)| *to = *from);
    padded
}
