//! What a span can be found by without being read: hashes of its name and of its attributes.
//!
//! In: spans, or what a search asks for. Out: tokens; the same fact gives the same token on both sides.
//! Left out on purpose: lists, bytes, and everything that compares otherwise than for equality, except that a key
//! is present at all.

use crate::hash::{hash, hash_u64};
use crate::query::{Literal, Scope};
use otlp::view::Value;

/// The hash of a fact about a span or a trace.
pub(crate) type Token = u64;

/// Seeds. Files depend on them.
const SPAN_NAME: u64 = 0x10;
const SERVICE_AND_NAME: u64 = 0x11;
const SERVICE_AND_ERROR: u64 = 0x12;
const EVENT_NAME: u64 = 0x13;
const LIBRARY_NAME: u64 = 0x14;
const ROOT_NAME: u64 = 0x15;
const ROOT_SERVICE: u64 = 0x16;
const OPERATION: u64 = 0x17;
const STR: u64 = 0x20;
const INT: u64 = 0x21;
const FLOAT: u64 = 0x22;
const BOOL: u64 = 0x23;

/// A span has this name.
pub(crate) fn span_name(name: &str) -> Token {
    hash(SPAN_NAME, name.as_bytes())
}

/// A span of this service has this name.
pub(crate) fn service_and_name(service: &str, name: &str) -> Token {
    hash(hash(SERVICE_AND_NAME, service.as_bytes()), name.as_bytes())
}

/// A span of this service has this name and kind.
pub(crate) fn operation(service: &str, name: &str, kind: otlp::Kind) -> Token {
    hash_u64(service_and_name(service, name) ^ OPERATION, kind.number() as u64)
}

/// A span of this service failed.
pub(crate) fn service_and_error(service: &str) -> Token {
    hash(SERVICE_AND_ERROR, service.as_bytes())
}

/// A span has an event of this name.
pub(crate) fn event_name(name: &str) -> Token {
    hash(EVENT_NAME, name.as_bytes())
}

/// A span was recorded by this library.
pub(crate) fn library_name(name: &str) -> Token {
    hash(LIBRARY_NAME, name.as_bytes())
}

/// The trace's root span has this name.
pub(crate) fn root_name(name: &str) -> Token {
    hash(ROOT_NAME, name.as_bytes())
}

/// The trace's root span is of this service.
pub(crate) fn root_service(service: &str) -> Token {
    hash(ROOT_SERVICE, service.as_bytes())
}

/// A span, or what belongs to it, has an attribute with this key.
pub(crate) fn key(scope: Scope, key: &str) -> Token {
    let seed = match scope {
        Scope::Resource => 1,
        Scope::Span => 2,
        Scope::Event => 3,
        Scope::Link => 4,
        Scope::Instrumentation => 5,
    };
    hash(seed, key.as_bytes())
}

/// The attribute with the key token `key` has this value; `None` where only the key is a token.
pub(crate) fn value(key: Token, value: Value<'_>) -> Option<Token> {
    match value {
        Value::Str(text) => Some(string(key, text)),
        Value::Int(int) => Some(int_token(key, int)),
        Value::Double(float) => Some(float_token(key, float)),
        Value::Bool(bool) => Some(hash_u64(key ^ BOOL, bool.into())),
        Value::Bytes(_) | Value::Other => None,
    }
}

/// The attribute with the key token `key` is this string.
pub(crate) fn string(key: Token, text: &str) -> Token {
    hash(key ^ STR, text.as_bytes())
}

fn int_token(key: Token, int: i64) -> Token {
    hash_u64(key ^ INT, int.cast_unsigned())
}

/// 0 and -0 are equal and have one token.
fn float_token(key: Token, float: f64) -> Token {
    hash_u64(key ^ FLOAT, (float + 0.0).to_bits())
}

/// Beyond it several whole numbers are the same floating point number.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Every token that an attribute equal to `literal` can have; `None` where they cannot be listed.
pub(crate) fn equal_to(key: Token, literal: &Literal) -> Option<Vec<Token>> {
    Some(match literal {
        Literal::Str(text) => vec![string(key, text)],
        Literal::Bool(bool) => vec![hash_u64(key ^ BOOL, (*bool).into())],
        Literal::Int(int) => vec![int_token(key, *int), float_token(key, *int as f64)],
        Literal::Float(float) if float.abs() >= EXACT => return None,
        Literal::Float(float) if float.fract() == 0.0 => {
            vec![float_token(key, *float), int_token(key, *float as i64)]
        }
        Literal::Float(float) => vec![float_token(key, *float)],
        Literal::Duration(_) | Literal::Status(_) | Literal::Kind(_) => Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_by_every_spelling_that_is_equal_to_it() {
        let key = key(Scope::Span, "n");
        let pairs = [
            (Value::Int(200), Literal::Float(200.0)),
            (Value::Double(200.0), Literal::Int(200)),
            (Value::Double(-0.0), Literal::Int(0)),
            (Value::Double(0.0), Literal::Float(-0.0)),
            (Value::Double(0.5), Literal::Float(0.5)),
        ];
        for (seen, asked) in pairs {
            let token = value(key, seen).expect("numbers have tokens");
            let asked = equal_to(key, &asked).expect("few numbers are equal to it");
            assert!(asked.contains(&token), "{seen:?}");
        }
    }

    #[test]
    fn a_float_that_many_whole_numbers_are_equal_to_cannot_be_listed() {
        assert_eq!(equal_to(1, &Literal::Float(1e300)), None);
    }

    #[test]
    fn values_of_different_types_or_keys_have_different_tokens() {
        let (a, b) = (key(Scope::Span, "a"), key(Scope::Resource, "a"));
        let mut all: Vec<_> = [
            Value::Int(1),
            Value::Bool(true),
            Value::Double(1.0),
            Value::Str("1"),
        ]
        .into_iter()
        .flat_map(|seen| [value(a, seen), value(b, seen)])
        .collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 8);
    }
}
