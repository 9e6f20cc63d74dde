//! Which services, operations, attribute keys and values there are, for those who type a search.
//!
//! In: spans. Out: the distinct ones, bounded.
//! Left out on purpose: all values of keys that have many. The first few of those are examples.

use crate::hash::Hashed;
use crate::query::{Literal, Scope};
use crate::tokens::{self, Token};
use crate::trace::{SpanSeen, Trace};
use crate::wire::{put_varint, varint};
use otlp::Kind;
use otlp::view::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Values that are kept for a key.
const VALUES: usize = 100;
/// Bytes of a string value that is kept; longer ones are no help to who types.
const VALUE_BYTES: usize = 256;
/// Keys that are kept.
const KEYS: usize = 2_000;
/// Pairs of service and operation that are kept.
const OPERATIONS: usize = 10_000;
/// Bytes of a key or name that is kept.
const NAME_BYTES: usize = 1_024;

/// All scopes, by the numbers they have in files.
pub(crate) const SCOPES: [Scope; 5] = [
    Scope::Resource,
    Scope::Span,
    Scope::Event,
    Scope::Link,
    Scope::Instrumentation,
];

/// An attribute's name and a few of its values.
#[derive(Debug, Clone, PartialEq)]
struct Key {
    scope: Scope,
    name: String,
    /// By their tokens, so that each is kept once.
    values: HashMap<Token, Literal, Hashed>,
}

/// What there is in a segment, or in what is not yet one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Dictionary {
    /// By the key's token.
    keys: HashMap<Token, Key, Hashed>,
    /// Operations and their kinds, by service.
    operations: BTreeMap<String, BTreeSet<(String, Kind)>>,
    operation_count: usize,
}

/// Facts about traces, each once in a while: see [`Facts::of_trace`].
#[derive(Debug, Default)]
pub(crate) struct Facts {
    seen: HashSet<Token, Hashed>,
}

impl Facts {
    /// Adds what is new in the trace to `dictionary`. What was seen since the last [`Facts::take`] is not new.
    pub(crate) fn of_trace(&mut self, trace: &Trace<'_>, dictionary: &mut Dictionary) {
        let mut resource = None;
        for seen in &trace.spans {
            let own = seen.resource.raw_parts().next().map(<[u8]>::as_ptr);
            if own.is_none() || own != resource {
                resource = own;
                self.attributes(Scope::Resource, seen, dictionary);
            }
            self.of_span(seen, dictionary);
        }
        if let Some(root) = trace.root() {
            self.seen.insert(tokens::root_name(root.span.name));
            self.seen.insert(tokens::root_service(root.service));
        }
    }

    fn of_span(&mut self, seen: &SpanSeen<'_>, dictionary: &mut Dictionary) {
        let span = &seen.span;
        for scope in [Scope::Span, Scope::Event, Scope::Link, Scope::Instrumentation] {
            self.attributes(scope, seen, dictionary);
        }
        self.seen.insert(tokens::span_name(span.name));
        if !seen.scope.name.is_empty() {
            self.seen.insert(tokens::library_name(seen.scope.name));
        }
        for event in crate::wire::events(span) {
            self.seen.insert(tokens::event_name(event.name()));
        }
        if span.status == otlp::StatusCode::Error {
            self.seen.insert(tokens::service_and_error(seen.service));
        }
        self.seen
            .insert(tokens::service_and_name(seen.service, span.name));
        if self
            .seen
            .insert(tokens::operation(seen.service, span.name, span.kind))
        {
            dictionary.add_operation(seen.service, span.name, span.kind);
        }
    }

    fn attributes(&mut self, scope: Scope, seen: &SpanSeen<'_>, dictionary: &mut Dictionary) {
        crate::matcher::attributes(scope, seen, &mut |name, value| {
            self.attribute(scope, name, value, dictionary);
            false
        });
    }

    fn attribute(&mut self, scope: Scope, name: &str, value: Value<'_>, dictionary: &mut Dictionary) {
        let key = tokens::key(scope, name);
        if self.seen.insert(key) {
            dictionary.add_key(key, scope, name);
        }
        if let Some(token) = tokens::value(key, value)
            && self.seen.insert(token)
        {
            dictionary.add_value(key, token, value);
        }
    }

    /// How many tokens were seen since the last call of [`Facts::take`].
    pub(crate) fn len(&self) -> usize {
        self.seen.len()
    }

    /// The tokens seen since the last call; all is new again.
    pub(crate) fn take(&mut self) -> Vec<Token> {
        self.seen.drain().collect()
    }
}

impl Dictionary {
    fn add_key(&mut self, key: Token, scope: Scope, name: &str) {
        if self.keys.len() < KEYS && name.len() <= NAME_BYTES {
            self.keys.entry(key).or_insert_with(|| Key {
                scope,
                name: name.to_owned(),
                values: HashMap::default(),
            });
        }
    }

    fn add_value(&mut self, key: Token, token: Token, value: Value<'_>) {
        let Some(key) = self.keys.get_mut(&key).filter(|key| key.values.len() < VALUES) else {
            return;
        };
        let literal = match value {
            Value::Str(text) if text.len() <= VALUE_BYTES => Literal::Str(text.to_owned()),
            Value::Int(int) => Literal::Int(int),
            Value::Double(float) => Literal::Float(float),
            Value::Bool(bool) => Literal::Bool(bool),
            Value::Str(_) | Value::Bytes(_) | Value::Other => return,
        };
        key.values.insert(token, literal);
    }

    fn add_operation(&mut self, service: &str, operation: &str, kind: Kind) {
        if self.operation_count >= OPERATIONS || service.len().max(operation.len()) > NAME_BYTES {
            return;
        }
        let added = if let Some(operations) = self.operations.get_mut(service) {
            operations.insert((operation.to_owned(), kind))
        } else {
            let first = BTreeSet::from([(operation.to_owned(), kind)]);
            self.operations.insert(service.to_owned(), first);
            true
        };
        self.operation_count += usize::from(added);
    }

    /// Every service that said its name.
    pub(crate) fn services(&self) -> impl Iterator<Item = &str> {
        self.operations
            .keys()
            .map(String::as_str)
            .filter(|name| !name.is_empty())
    }

    /// The operations of a service.
    pub(crate) fn operations(&self, service: &str) -> impl Iterator<Item = &(String, Kind)> {
        self.operations.get(service).into_iter().flatten()
    }

    /// The operations of all services.
    pub(crate) fn all_operations(&self) -> impl Iterator<Item = &(String, Kind)> {
        self.operations.values().flatten()
    }

    /// Every key.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (Scope, &str)> {
        self.keys.values().map(|key| (key.scope, key.name.as_str()))
    }

    /// The values that are kept of a key.
    pub(crate) fn values(&self, scope: Scope, name: &str) -> impl Iterator<Item = &Literal> {
        let key = self.keys.get(&tokens::key(scope, name));
        key.into_iter().flat_map(|key| key.values.values())
    }

    /// The bytes of it, in an order that does not depend on how it came about.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.operations.len() as u64);
        for (service, operations) in &self.operations {
            put_text(&mut out, service);
            put_varint(&mut out, operations.len() as u64);
            for (operation, kind) in operations {
                put_text(&mut out, operation);
                out.push(kind.number() as u8);
            }
        }
        let mut keys: Vec<&Key> = self.keys.values().collect();
        keys.sort_unstable_by_key(|key| (key.scope, &key.name));
        put_varint(&mut out, keys.len() as u64);
        for key in keys {
            out.push(
                SCOPES
                    .iter()
                    .position(|scope| *scope == key.scope)
                    .unwrap_or_default() as u8,
            );
            put_text(&mut out, &key.name);
            let mut values: Vec<_> = key.values.iter().collect();
            values.sort_unstable_by_key(|(token, _)| **token);
            put_varint(&mut out, values.len() as u64);
            for (_, value) in values {
                put_value(&mut out, value);
            }
        }
        out
    }

    /// `None` where the bytes are not those of a dictionary.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let rest = &mut bytes;
        let mut read = Self::default();
        for _ in 0..varint(rest)? {
            let service = text(rest)?;
            for _ in 0..varint(rest)? {
                let operation = text(rest)?;
                read.add_operation(service, operation, Kind::from_number(byte(rest)?.into()));
            }
        }
        for _ in 0..varint(rest)? {
            let scope = *SCOPES.get(usize::from(byte(rest)?))?;
            let name = text(rest)?;
            let key = tokens::key(scope, name);
            read.add_key(key, scope, name);
            for _ in 0..varint(rest)? {
                let value = value(rest)?;
                if let Some(token) = tokens::value(key, value) {
                    read.add_value(key, token, value);
                }
            }
        }
        rest.is_empty().then_some(read)
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Literal) {
    match value {
        Literal::Str(text) => {
            out.push(0);
            put_text(out, text);
        }
        Literal::Int(int) => {
            out.push(1);
            out.extend(int.to_le_bytes());
        }
        Literal::Float(float) => {
            out.push(2);
            out.extend(float.to_le_bytes());
        }
        Literal::Bool(bool) => out.extend([3, u8::from(*bool)]),
        // Attributes have no other values.
        Literal::Duration(_) | Literal::Status(_) | Literal::Kind(_) => out.push(4),
    }
}

fn value<'a>(rest: &mut &'a [u8]) -> Option<Value<'a>> {
    Some(match byte(rest)? {
        0 => Value::Str(text(rest)?),
        1 => Value::Int(i64::from_le_bytes(array(rest)?)),
        2 => Value::Double(f64::from_le_bytes(array(rest)?)),
        3 => Value::Bool(byte(rest)? != 0),
        4 => Value::Other,
        _ => return None,
    })
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    array::<1>(rest).map(|[byte]| byte)
}

fn array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (array, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*array)
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let len = usize::try_from(varint(rest)?).ok()?;
    let (text, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dictionary(values: i64) -> Dictionary {
        let mut made = Dictionary::default();
        let key = tokens::key(Scope::Span, "n");
        made.add_key(key, Scope::Span, "n");
        for value in
            (0..values)
                .map(Value::Int)
                .chain([Value::Double(0.5), Value::Bool(true), Value::Str("x")])
        {
            made.add_value(key, tokens::value(key, value).expect("has a token"), value);
        }
        made.add_operation("cart", "GET /", Kind::Server);
        made.add_operation("cart", "GET /", Kind::Client);
        made.add_operation("", "tick", Kind::Internal);
        made
    }

    #[test]
    fn a_dictionary_reads_back_as_it_was_written() {
        let made = dictionary(5);
        assert_eq!(Dictionary::decode(&made.encode()), Some(made));
    }

    #[test]
    fn a_key_with_many_values_keeps_the_first_of_them() {
        let made = dictionary(1_000_000);
        let kept: Vec<_> = made.values(Scope::Span, "n").collect();
        assert_eq!(kept.len(), VALUES);
        assert!(kept.contains(&&Literal::Int(0)));
    }

    #[test]
    fn a_service_without_a_name_is_not_listed() {
        assert_eq!(dictionary(0).services().collect::<Vec<_>>(), ["cart"]);
    }

    proptest! {
        #[test]
        fn changed_bytes_are_refused_or_read_without_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
            let mut bytes = dictionary(3).encode();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(cut.index(bytes.len()) + 1);
            let _ = Dictionary::decode(&bytes);
        }

        #[test]
        fn noise_is_refused_or_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Dictionary::decode(&bytes);
        }
    }
}
