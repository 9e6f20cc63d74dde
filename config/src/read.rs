//! Reading a type from the located tree, through serde.
//!
//! In: a tree that has been held against the schema, and the type. Out: the value, and every problem that only the type itself
//! could see (a bad duration, an address that is none), each with its key and line.
//! Left out on purpose: borrowing from the text; a configuration is read once.
//!
//! Serde stops at the first error. So the value with the error is taken out of the tree and the type is read again, until it
//! reads or nothing is left to take out.

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::de::{Deserializer, VariantAccess};
use serde::forward_to_deserialize_any;

use crate::fault::{Fault, Place};
use crate::path::{Path, Step};
use crate::problem::Problem;
use crate::tree::{Entry, Kind, Node, Pruned, Scalar, Value};

/// More wrong values than this nobody corrects in one go; each costs one reading of the whole.
const MAX_ROUNDS: usize = 200;

/// The value if it could be read at all (with defaults in place of what was wrong), and the problems on the way.
pub(crate) fn read<T: DeserializeOwned>(source: &str, root: &mut Node) -> (Option<T>, Vec<Problem>) {
    let mut problems = Vec::new();
    for _ in 0..MAX_ROUNDS {
        let place = match read_once::<T>(root) {
            Ok(value) => return (Some(value), problems),
            Err(place) => place,
        };
        let is_root = place.steps.is_empty();
        let node = root.nearest_mut(&place.steps);
        if !node.misses_something() {
            problems.push(place.problem(source));
        }
        if is_root || node.is_gone() {
            break;
        }
        node.pruned = Some(Pruned::Missed);
    }
    (None, problems)
}

fn read_once<T: DeserializeOwned>(root: &Node) -> Result<T, Place> {
    let path = Path::ROOT;
    T::deserialize(Reader {
        node: root,
        path: &path,
    })
    .map_err(|fault| fault.placed(root, &path).into_place())
}

/// One node as serde sees it.
#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    path: &'a Path<'a>,
}

impl<'a> Reader<'a> {
    fn scalar(self) -> Option<&'a Scalar> {
        match &self.node.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    fn text(self) -> Option<&'a str> {
        self.scalar()
            .filter(|scalar| scalar.kind != Kind::Null)
            .map(|scalar| scalar.written.as_str())
    }

    fn map(self, entries: &'a [Entry]) -> Entries<'a> {
        Entries {
            left: entries.iter(),
            value: None,
            path: self.path,
        }
    }

    fn list(self, items: &'a [Node]) -> Items<'a> {
        Items {
            left: items.iter().enumerate(),
            path: self.path,
        }
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::List(items) => visitor.visit_seq(self.list(items)),
            Value::Map(entries) => visitor.visit_map(self.map(entries)),
            Value::Scalar(scalar) => match scalar.kind {
                Kind::Null => visitor.visit_unit(),
                Kind::Bool(value) => visitor.visit_bool(value),
                Kind::Unsigned(value) => visitor.visit_u64(value),
                Kind::Signed(value) => visitor.visit_i64(value),
                Kind::Float(value) => visitor.visit_f64(value),
                Kind::Text => visitor.visit_str(&scalar.written),
            },
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.text() {
            Some(text) => visitor.visit_str(text),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.node.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.node.is_null() {
            visitor.visit_seq(self.list(&[]))
        } else {
            self.deserialize_any(visitor)
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.node.is_null() {
            visitor.visit_map(self.map(&[]))
        } else {
            self.deserialize_any(visitor)
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        // A type that reads itself from a list of fields would take `[a, b]` for a mapping.
        if let Value::List(_) = &self.node.value {
            return Err(Fault::expected("a mapping"));
        }
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match (&self.node.value, self.text()) {
            (_, Some(name)) => visitor.visit_enum(Variant {
                name,
                content: None,
                path: self.path,
            }),
            (Value::Map(entries), None) => match entries.as_slice() {
                [Entry { key, value, .. }] if !value.is_gone() => visitor.visit_enum(Variant {
                    name: key,
                    content: Some(value),
                    path: self.path,
                }),
                _ => Err(Fault::expected("a mapping with one key")),
            },
            _ => Err(Fault::expected("the name of a choice")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 bytes byte_buf unit unit_struct tuple tuple_struct
    }
}

struct Items<'a> {
    left: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
    path: &'a Path<'a>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let Some((index, node)) = self.left.by_ref().find(|(_, node)| !node.is_gone()) else {
            return Ok(None);
        };
        let path = self.path.index(index);
        seed.deserialize(Reader { node, path: &path })
            .map(Some)
            .map_err(|fault| fault.placed(node, &path))
    }
}

struct Entries<'a> {
    left: std::slice::Iter<'a, Entry>,
    value: Option<&'a Entry>,
    path: &'a Path<'a>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        self.value = self.left.by_ref().find(|entry| !entry.value.is_gone());
        let Some(entry) = self.value else { return Ok(None) };
        let key = Node::plain(entry.key.clone(), entry.at.clone());
        let path = self.path.key(&entry.key);
        seed.deserialize(Reader {
            node: &key,
            path: &path,
        })
        .map(Some)
        .map_err(|fault| fault.placed(&key, &path))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let Some(entry) = self.value.take() else {
            return Err(Fault::expected("a value after its key"));
        };
        let path = self.path.key(&entry.key);
        let reader = Reader {
            node: &entry.value,
            path: &path,
        };
        seed.deserialize(reader)
            .map_err(|fault| fault.placed(&entry.value, &path))
    }
}

struct Variant<'a> {
    name: &'a str,
    content: Option<&'a Node>,
    path: &'a Path<'a>,
}

impl<'a> Variant<'a> {
    fn read<'de, R>(self, read: impl FnOnce(Reader<'_>) -> Result<R, Fault>) -> Result<R, Fault>
    where
        'a: 'de,
    {
        let Some(node) = self.content else {
            return Err(Fault::expected("a mapping with the choice as its key"));
        };
        let path = self.path.key(self.name);
        read(Reader { node, path: &path }).map_err(|fault| fault.placed(node, &path))
    }
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Fault> {
        let name: StrDeserializer<'_, Fault> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        if self.content.is_none_or(Node::is_null) {
            Ok(())
        } else {
            Err(Fault::expected("only the name"))
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        self.read(|reader| seed.deserialize(reader))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.read(|reader| reader.deserialize_seq(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.read(|reader| reader.deserialize_struct("", fields, visitor))
    }
}

impl Place {
    fn problem(self, source: &str) -> Problem {
        self.at.problem(source, self.path, self.message, self.hint)
    }
}

/// Where a node stands that a caller's finding names by its written path.
pub(crate) fn steps_of(root: &Node, written: &str) -> Vec<Step> {
    fn descend(node: &Node, path: &Path<'_>, written: &str) -> Vec<Step> {
        let below =
            |child: &Node, path: Path<'_>| leads_to(&path, written).then(|| descend(child, &path, written));
        let found = match &node.value {
            Value::Scalar(_) => None,
            Value::List(items) => items
                .iter()
                .enumerate()
                .find_map(|(i, item)| below(item, path.index(i))),
            Value::Map(entries) => entries.iter().find_map(|e| below(&e.value, path.key(&e.key))),
        };
        found.unwrap_or_else(|| path.steps())
    }
    descend(root, &Path::ROOT, written)
}

/// Whether `written` is this path or one below it.
fn leads_to(path: &Path<'_>, written: &str) -> bool {
    written
        .strip_prefix(&path.to_string())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}
