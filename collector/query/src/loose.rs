//! Searches by tags that are all strings, although the attributes have types.
//!
//! In: a key and a text. Out: a condition that holds where the attribute is that text, or the number or truth value
//! that the text writes.
//! Left out on purpose: patterns; both APIs ask for equality here.

use otlp::StatusCode;
use store::{Condition, Field, Literal, Op, Scope};

use crate::traceql::kind_named;

/// Where Jaeger looks for a tag: the span's, its process's and its logs' (Jaeger's names).
const JAEGER_SCOPES: [Option<Scope>; 3] = [Some(Scope::Span), Some(Scope::Resource), Some(Scope::Event)];

/// One tag of Jaeger's search. What [`crate::render::jaeger`] writes as tags is asked for by the same names.
pub(crate) fn jaeger_tag(key: &str, text: &str) -> Condition {
    let attribute = attribute(&JAEGER_SCOPES, key, text);
    let own = match (key, text) {
        ("error", "true") => equal(Field::Status, Literal::Status(StatusCode::Error)),
        ("error", "false") => not(equal(Field::Status, Literal::Status(StatusCode::Error))),
        ("span.kind", kind) => match kind_named(kind) {
            Some(kind) => equal(Field::Kind, Literal::Kind(kind)),
            None => return attribute,
        },
        ("otel.status_code", code) => match status_named(code) {
            Some(status) => equal(Field::Status, Literal::Status(status)),
            None => return attribute,
        },
        ("otel.status_description", text) => string(Field::StatusMessage, text),
        ("otel.scope.name" | "otel.library.name", text) => string(Field::InstrumentationName, text),
        ("otel.scope.version" | "otel.library.version", text) => string(Field::InstrumentationVersion, text),
        ("event", text) => string(Field::EventName, text),
        _ => return attribute,
    };
    if key == "error" && text == "false" {
        return own;
    }
    Condition::Or(vec![own, attribute])
}

/// One tag of Tempo's search before `TraceQL`.
pub(crate) fn tempo_tag(key: &str, text: &str) -> Condition {
    match (key, text) {
        ("name", text) => string(Field::Name, text),
        ("root.name", text) => string(Field::RootName, text),
        ("root.service.name", text) => string(Field::RootServiceName, text),
        ("error", "true") => equal(Field::Status, Literal::Status(StatusCode::Error)),
        ("status.code", code) => match status_named(code) {
            Some(status) => equal(Field::Status, Literal::Status(status)),
            None => attribute(&[None], key, text),
        },
        ("span.kind" | "kind", kind) => match kind_named(kind) {
            Some(kind) => equal(Field::Kind, Literal::Kind(kind)),
            None => attribute(&[None], key, text),
        },
        _ => attribute(&[None], key, text),
    }
}

/// The condition `field = text`.
pub(crate) fn string(field: Field, text: &str) -> Condition {
    equal(field, Literal::Str(text.to_owned()))
}

fn attribute(scopes: &[Option<Scope>], key: &str, text: &str) -> Condition {
    let values = literals(text);
    let each = scopes.iter().flat_map(|scope| {
        values.iter().map(|value| {
            let key = key.to_owned();
            equal(Field::Attribute { scope: *scope, key }, value.clone())
        })
    });
    let mut each: Vec<_> = each.collect();
    match each.pop() {
        Some(only) if each.is_empty() => only,
        Some(last) => {
            each.push(last);
            Condition::Or(each)
        }
        None => Condition::Or(each),
    }
}

/// What `text` can stand for.
fn literals(text: &str) -> Vec<Literal> {
    let mut literals = vec![Literal::Str(text.to_owned())];
    if let Ok(int) = text.parse::<i64>() {
        literals.push(Literal::Int(int));
    } else if let Some(float) = text.parse::<f64>().ok().filter(|float| float.is_finite()) {
        literals.push(Literal::Float(float));
    } else if let Ok(bool) = text.parse::<bool>() {
        literals.push(Literal::Bool(bool));
    }
    literals
}

fn status_named(code: &str) -> Option<StatusCode> {
    let all = [StatusCode::Unset, StatusCode::Ok, StatusCode::Error];
    all.into_iter()
        .find(|status| status.as_str().eq_ignore_ascii_case(code))
}

fn equal(field: Field, value: Literal) -> Condition {
    Condition::Compare {
        field,
        op: Op::Eq,
        value,
    }
}

fn not(condition: Condition) -> Condition {
    Condition::Not(Box::new(condition))
}
