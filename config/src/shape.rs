//! Reading a JSON Schema as a description of keys.
//!
//! In: the schema that schemars makes of a configuration type. Out: which keys a mapping knows, what they hold, which
//! alternative of an enum a value means. Where the schema leaves that open, the answer is "do not know" and serde judges.
//! Left out on purpose: everything of JSON Schema that schemars does not write.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use crate::tree::{Kind, Node, Value};

/// `$ref` chains and nested alternatives longer than this are cycles.
const MAX_HOPS: usize = 16;

/// A JSON Schema with its definitions.
#[derive(Clone, Copy)]
pub(crate) struct Schema<'a> {
    root: &'a Json,
    here: &'a Json,
}

/// The keys of a mapping, as far as a schema tells.
#[derive(Default)]
pub(crate) struct Keys<'a> {
    pub(crate) known: BTreeMap<&'a str, Schema<'a>>,
    pub(crate) required: BTreeSet<&'a str>,
    /// What keys with free names hold.
    pub(crate) others: Option<Schema<'a>>,
    /// Whether a key that is neither known nor free is an error.
    pub(crate) closed: bool,
}

impl<'a> Schema<'a> {
    pub(crate) fn new(root: &'a Json) -> Self {
        Self { root, here: root }
    }

    fn at(self, here: &'a Json) -> Self {
        Self { here, ..self }
    }

    /// The definition a `$ref` leads to; itself where there is none.
    pub(crate) fn resolved(self) -> Self {
        let mut schema = self;
        for _ in 0..MAX_HOPS {
            let Some(pointer) = schema.here.get("$ref").and_then(Json::as_str) else {
                break;
            };
            let Some(target) = pointer.strip_prefix('#').and_then(|p| self.root.pointer(p)) else {
                break;
            };
            schema = schema.at(target);
        }
        schema
    }

    /// Identity of the definition, to notice types that contain themselves.
    pub(crate) fn id(self) -> *const Json {
        std::ptr::from_ref(self.here)
    }

    /// The `type`s this schema names itself; empty where it names none.
    fn types(self) -> Vec<&'a str> {
        match self.here.get("type") {
            Some(Json::String(name)) => vec![name],
            Some(Json::Array(names)) => names.iter().filter_map(Json::as_str).collect(),
            _ => match self.constants().first() {
                Some(Json::String(_)) => vec!["string"],
                _ => Vec::new(),
            },
        }
    }

    /// The values a `const` or `enum` allows.
    fn constants(self) -> Vec<&'a Json> {
        match (self.here.get("const"), self.here.get("enum")) {
            (Some(value), _) => vec![value],
            (None, Some(Json::Array(values))) => values.iter().collect(),
            _ => Vec::new(),
        }
    }

    /// The alternatives of `anyOf` or `oneOf`, resolved.
    fn alternatives(self) -> Option<Vec<Self>> {
        let list = self
            .here
            .get("anyOf")
            .or_else(|| self.here.get("oneOf"))?
            .as_array()?;
        Some(list.iter().map(|schema| self.at(schema).resolved()).collect())
    }

    fn parts(self) -> Vec<Self> {
        let parts = self.here.get("allOf").and_then(Json::as_array);
        parts
            .into_iter()
            .flatten()
            .map(|schema| self.at(schema).resolved())
            .collect()
    }

    /// Every type a value may have, through all alternatives; `None` where anything goes.
    pub(crate) fn all_types(self) -> Option<BTreeSet<&'a str>> {
        self.collect_types(0)
    }

    fn collect_types(self, depth: usize) -> Option<BTreeSet<&'a str>> {
        if depth > MAX_HOPS {
            return None;
        }
        let schema = self.resolved();
        let own = schema.types();
        if !own.is_empty() {
            return Some(own.into_iter().collect());
        }
        if let Some(alternatives) = schema.alternatives() {
            let all: Option<Vec<_>> = alternatives
                .into_iter()
                .map(|a| a.collect_types(depth + 1))
                .collect();
            return Some(all?.into_iter().flatten().collect());
        }
        schema
            .parts()
            .into_iter()
            .find_map(|part| part.collect_types(depth + 1))
    }

    /// What the value should be, for "but must be …".
    pub(crate) fn expectation(self) -> String {
        let schema = self.resolved();
        let example = schema
            .here
            .get("examples")
            .and_then(|list| list.get(0))
            .and_then(Json::as_str);
        let types = schema.all_types().unwrap_or_default();
        let words: Vec<String> = types
            .iter()
            .filter(|name| **name != "null")
            .map(|name| match *name {
                "integer" => self.whole_number(),
                "number" => "a number".to_owned(),
                "boolean" => "`true` or `false`".to_owned(),
                "array" => "a list".to_owned(),
                "object" => "a mapping".to_owned(),
                "string" => example.map_or_else(|| "text".to_owned(), |e| format!("text such as `{e}`")),
                other => other.to_owned(),
            })
            .collect();
        words.join(" or ")
    }

    fn whole_number(self) -> String {
        let schema = self.resolved();
        let bound = |key| {
            schema
                .here
                .get(key)
                .and_then(Json::as_number)
                .map(ToString::to_string)
        };
        match (bound("minimum"), bound("maximum")) {
            (Some(low), Some(high)) => format!("a whole number from {low} to {high}"),
            (Some(low), None) => format!("a whole number from {low} up"),
            _ => "a whole number".to_owned(),
        }
    }

    /// Whether a number lies outside the bounds that the schema states.
    pub(crate) fn out_of_range(self, kind: Kind) -> bool {
        let number = match kind {
            Kind::Unsigned(n) => n as f64,
            Kind::Signed(n) => n as f64,
            _ => return false,
        };
        let bound = |key| self.resolved().here.get(key).and_then(Json::as_f64);
        bound("minimum").is_some_and(|low| number < low) || bound("maximum").is_some_and(|high| number > high)
    }

    /// The schema of a list's items.
    pub(crate) fn items(self) -> Option<Self> {
        let schema = self.resolved();
        schema
            .here
            .get("items")
            .filter(|items| items.is_object())
            .map(|items| schema.at(items))
    }

    /// The alternative that `node` means, `self` where there are none, `None` where more than one or none would do.
    pub(crate) fn chosen(self, node: &Node) -> Option<Self> {
        let mut schema = self.resolved();
        for _ in 0..MAX_HOPS {
            let Some(mut left) = schema.alternatives() else {
                return Some(schema);
            };
            // A flattened enum: its keys stand beside ours, and which are whose only serde knows.
            if schema.here.get("properties").is_some() {
                return None;
            }
            left.retain(|a| a.all_types().is_none_or(|types| fits(node, &types)));
            left.retain(|a| a.constants_agree(node));
            if left.len() > 1 {
                left.retain(|a| a.has_required(node));
            }
            match left[..] {
                [only] => schema = only,
                _ => return None,
            }
        }
        None
    }

    /// Whether the mapping holds what the schema's `const` properties (an enum's tag) say.
    fn constants_agree(self, node: &Node) -> bool {
        let (Value::Map(entries), Some(properties)) = (&node.value, self.properties()) else {
            return true;
        };
        properties.iter().all(|(name, schema)| {
            let constants = self.at(schema).constants();
            let written = entries
                .iter()
                .find(|e| e.key == *name)
                .and_then(|e| match &e.value.value {
                    Value::Scalar(scalar) => Some(scalar.written.as_str()),
                    _ => None,
                });
            constants.is_empty() || written.is_none_or(|w| constants.iter().any(|c| c.as_str() == Some(w)))
        })
    }

    fn has_required(self, node: &Node) -> bool {
        let Value::Map(entries) = &node.value else {
            return true;
        };
        self.required().all(|name| entries.iter().any(|e| e.key == name))
    }

    fn properties(self) -> Option<&'a serde_json::Map<String, Json>> {
        self.here.get("properties")?.as_object()
    }

    fn required(self) -> impl Iterator<Item = &'a str> {
        self.here
            .get("required")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
    }

    /// The keys a mapping of this schema has; with `everything`, those of all alternatives together.
    pub(crate) fn keys(self, everything: bool) -> Keys<'a> {
        let mut keys = Keys {
            closed: true,
            ..Keys::default()
        };
        let described = self.collect_keys(&mut keys, everything, 0);
        keys.closed &= described;
        keys
    }

    /// Adds this schema's keys; says whether it described any.
    fn collect_keys(self, keys: &mut Keys<'a>, everything: bool, depth: usize) -> bool {
        let schema = self.resolved();
        if depth > MAX_HOPS {
            return false;
        }
        let mut described = false;
        if let Some(properties) = schema.properties() {
            described = true;
            keys.known.extend(
                properties
                    .iter()
                    .map(|(name, value)| (name.as_str(), schema.at(value))),
            );
            keys.required.extend(schema.required());
        }
        match schema.here.get("additionalProperties") {
            Some(Json::Bool(false)) => described = true,
            Some(Json::Object(_)) => {
                keys.others = schema.here.get("additionalProperties").map(|o| schema.at(o));
            }
            Some(_) => keys.closed = false,
            None => {}
        }
        keys.closed &= schema.here.get("patternProperties").is_none() && keys.others.is_none();
        for part in schema.parts() {
            described |= part.collect_keys(keys, everything, depth + 1);
        }
        match schema.alternatives() {
            Some(alternatives) if everything => {
                for alternative in alternatives {
                    described |= alternative.collect_keys(keys, everything, depth + 1);
                }
            }
            Some(_) => keys.closed = false,
            None => {}
        }
        described
    }
}

/// Whether a value of one of these JSON types could be read from the node.
///
/// Text takes every scalar as it is written; an empty value stands for an empty list or mapping.
pub(crate) fn fits(node: &Node, types: &BTreeSet<&str>) -> bool {
    let has = |name: &str| types.contains(name);
    match &node.value {
        Value::List(_) => has("array"),
        Value::Map(_) => has("object"),
        Value::Scalar(scalar) => match scalar.kind {
            Kind::Null => has("null") || has("array") || has("object"),
            Kind::Bool(_) => has("boolean") || has("string"),
            Kind::Unsigned(_) | Kind::Signed(_) => has("integer") || has("number") || has("string"),
            Kind::Float(_) => has("number") || has("string"),
            Kind::Text => has("string"),
        },
    }
}
