//! Whether a trace is what a search asks for, decided on its spans.
//!
//! In: a filter and a trace. Out: the spans that match, or that the trace does not.
//! Left out on purpose: what could be known without the spans (`prune`).

use crate::aliases;
use crate::query::{Condition, Field, Filter, Literal, Op, Scope};
use crate::trace::{SpanSeen, Trace};
use crate::wire;
use otlp::view::Value;
use std::cmp::Ordering;
use std::fmt::Write;

/// A value in a span, as it is compared.
#[derive(Debug, Clone, Copy)]
enum Seen<'a> {
    Attribute(Value<'a>),
    Duration(u64),
    Status(otlp::StatusCode),
    Kind(otlp::Kind),
}

/// What conditions may ask about beyond the span itself.
#[derive(Clone, Copy)]
struct Context<'t, 'a> {
    trace: &'t Trace<'a>,
    root: Option<&'t SpanSeen<'a>>,
    trace_id: [u8; 16],
}

/// Which spans match, by their places in `trace`; `None` where the trace does not.
pub(crate) fn matched(filter: &Filter, trace_id: [u8; 16], trace: &Trace<'_>) -> Option<Vec<bool>> {
    let context = Context {
        trace,
        root: trace.root(),
        trace_id,
    };
    let mut spans = vec![false; trace.spans.len()];
    context.filter(filter, &mut spans).then_some(spans)
}

impl<'a> Context<'_, 'a> {
    /// Marks the spans that make `filter` true in `spans`, and says whether it is.
    fn filter(&self, filter: &Filter, spans: &mut [bool]) -> bool {
        match filter {
            Filter::All => {
                spans.fill(true);
                !spans.is_empty()
            }
            Filter::Spans(condition) => {
                let mut any = false;
                for (seen, marked) in self.trace.spans.iter().zip(spans) {
                    let holds = self.condition(condition, seen);
                    *marked |= holds;
                    any |= holds;
                }
                any
            }
            Filter::And(one, other) => {
                let mut marks = spans.to_vec();
                let both = self.filter(one, &mut marks) && self.filter(other, &mut marks);
                if both {
                    spans.copy_from_slice(&marks);
                }
                both
            }
            // Not short of the second: both may mark spans.
            Filter::Or(one, other) => self.filter(one, spans) | self.filter(other, spans),
        }
    }

    fn condition(&self, condition: &Condition, seen: &SpanSeen<'a>) -> bool {
        match condition {
            Condition::True => true,
            Condition::And(all) => all.iter().all(|one| self.condition(one, seen)),
            Condition::Or(any) => any.iter().any(|one| self.condition(one, seen)),
            Condition::Not(other) => !self.condition(other, seen),
            Condition::Exists(field) => self.any(field, seen, &mut |_| true),
            Condition::Compare { field, op, value } => {
                self.any(field, seen, &mut |found| compares(found, op, value))
            }
        }
    }

    /// Whether `holds` for a value of the field.
    fn any(&self, field: &Field, seen: &SpanSeen<'a>, holds: &mut dyn FnMut(Seen<'_>) -> bool) -> bool {
        let span = &seen.span;
        let mut text = |text: &str| holds(Seen::Attribute(Value::Str(text)));
        match field {
            Field::Name => text(span.name),
            Field::StatusMessage => said(wire::status_message(span)).is_some_and(text),
            Field::RootName => self.root.is_some_and(|root| text(root.span.name)),
            Field::RootServiceName => self.root.is_some_and(|root| text(root.service)),
            Field::TraceId => text(&hex(&self.trace_id)),
            Field::SpanId => text(&hex(span.span_id)),
            Field::ParentId => !span.parent_span_id.is_empty() && text(&hex(span.parent_span_id)),
            Field::InstrumentationName => said(seen.scope.name).is_some_and(text),
            Field::InstrumentationVersion => said(seen.scope.version).is_some_and(text),
            Field::EventName => wire::events(span).any(|event| text(event.name())),
            Field::Status => holds(Seen::Status(span.status)),
            Field::Kind => holds(Seen::Kind(span.kind)),
            Field::Duration => holds(Seen::Duration(seen.duration())),
            Field::TraceDuration => holds(Seen::Duration(self.trace.extent.duration())),
            Field::Attribute { scope, key } => any_attribute(*scope, key, seen, holds),
        }
    }
}

fn said(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn any_attribute(
    scope: Option<Scope>,
    key: &str,
    seen: &SpanSeen<'_>,
    holds: &mut dyn FnMut(Seen<'_>) -> bool,
) -> bool {
    // Once for all attributes of the span: the table of names is longer than they are.
    let names = aliases::of(key);
    let scope = scope.unwrap_or_else(|| {
        let on_span = attributes(Scope::Span, seen, &mut |name, _| is_one_of(&names, name));
        if on_span { Scope::Span } else { Scope::Resource }
    });
    attributes(scope, seen, &mut |name, value| {
        is_one_of(&names, name) && holds(Seen::Attribute(value))
    })
}

/// Whether `name` is one of the names that answer for a key.
pub(crate) fn is_one_of<'k>(names: &(impl Iterator<Item = &'k str> + Clone), name: &str) -> bool {
    names.clone().any(|one| one == name)
}

/// Whether `holds` for an attribute in this scope.
pub(crate) fn attributes<'a>(
    scope: Scope,
    seen: &SpanSeen<'a>,
    holds: &mut dyn FnMut(&'a str, Value<'a>) -> bool,
) -> bool {
    let mut pair = |(name, value): (&'a str, Value<'a>)| holds(name, value);
    match scope {
        Scope::Resource => seen.resource.attributes().any(&mut pair),
        Scope::Span => seen.span.attributes().any(&mut pair),
        Scope::Event => wire::events(&seen.span).any(|event| event.attributes().any(&mut pair)),
        Scope::Link => seen.span.links().any(|link| link.attributes().any(&mut pair)),
        Scope::Instrumentation => wire::scope_attributes(&seen.scope).any(&mut pair),
    }
}

fn compares(seen: Seen<'_>, op: &Op, literal: &Literal) -> bool {
    match (op, seen) {
        (Op::Match(pattern), Seen::Attribute(Value::Str(text))) => pattern.is_match(text),
        (Op::NotMatch(pattern), Seen::Attribute(Value::Str(text))) => !pattern.is_match(text),
        (Op::Match(_) | Op::NotMatch(_), _) => false,
        (Op::Eq, _) => order(seen, literal) == Some(Ordering::Equal),
        (Op::Ne, _) => order(seen, literal) != Some(Ordering::Equal),
        (Op::Lt, _) => order(seen, literal).is_some_and(Ordering::is_lt),
        (Op::Le, _) => order(seen, literal).is_some_and(Ordering::is_le),
        (Op::Gt, _) => order(seen, literal).is_some_and(Ordering::is_gt),
        (Op::Ge, _) => order(seen, literal).is_some_and(Ordering::is_ge),
    }
}

/// `None` where the types do not compare.
fn order(seen: Seen<'_>, literal: &Literal) -> Option<Ordering> {
    match (seen, literal) {
        (Seen::Attribute(value), _) => order_of_attribute(value, literal),
        (Seen::Duration(nanos), Literal::Duration(other)) => Some(nanos.cmp(other)),
        (Seen::Duration(nanos), Literal::Int(other)) => Some(i128::from(nanos).cmp(&i128::from(*other))),
        (Seen::Duration(nanos), Literal::Float(other)) => (nanos as f64).partial_cmp(other),
        (Seen::Status(status), Literal::Status(other)) => Some(status.cmp(other)),
        (Seen::Kind(kind), Literal::Kind(other)) => Some(kind.cmp(other)),
        _ => None,
    }
}

fn order_of_attribute(value: Value<'_>, literal: &Literal) -> Option<Ordering> {
    match (value, literal) {
        (Value::Str(text), Literal::Str(other)) => Some(text.cmp(other.as_str())),
        (Value::Bool(bool), Literal::Bool(other)) => Some(bool.cmp(other)),
        (Value::Int(int), Literal::Int(other)) => Some(int.cmp(other)),
        (Value::Int(int), Literal::Float(other)) => (int as f64).partial_cmp(other),
        (Value::Double(float), Literal::Float(other)) => float.partial_cmp(other),
        (Value::Double(float), Literal::Int(other)) => float.partial_cmp(&(*other as f64)),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
