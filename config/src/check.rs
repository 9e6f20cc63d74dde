//! Holding the tree against the schema.
//!
//! In: the located tree with every override in place, and the schema. Out: all unknown keys, missing keys and wrong types at
//! once; what was reported is taken out of the tree, so that serde does not stumble over it again.
//! Left out on purpose: values. Whether `5x` is a duration its own type decides.

use std::collections::BTreeSet;

use crate::path::Path;
use crate::problem::{Problem, did_you_mean, nearest, nearest_hint, quoted};
use crate::shape::{Keys, Schema, fits};
use crate::tree::{Entry, Kind, Node, Pruned, Value};

/// One walk over a tree.
pub(crate) struct Check<'a> {
    source: &'a str,
    pub(crate) problems: Vec<Problem>,
}

impl<'a> Check<'a> {
    pub(crate) fn new(source: &'a str) -> Self {
        Self {
            source,
            problems: Vec::new(),
        }
    }

    /// Reports what is wrong at and below `node`.
    pub(crate) fn node(&mut self, node: &mut Node, schema: Schema<'_>, path: &Path<'_>) {
        if let Some(types) = schema.all_types()
            && !fits(node, &types)
        {
            self.wrong_type(node, schema, path);
            return;
        }
        let Some(schema) = schema.chosen(node) else { return };
        match &mut node.value {
            Value::Map(entries) => {
                let keys = schema.keys(false);
                let expected = self.entries(entries, &keys, path);
                self.missing(node, &keys, &expected, path);
            }
            Value::List(items) => {
                let Some(schema) = schema.items() else { return };
                for (index, item) in items.iter_mut().enumerate() {
                    self.node(item, schema, &path.index(index));
                }
            }
            Value::Scalar(scalar) => {
                if schema.out_of_range(scalar.kind) {
                    self.wrong_type(node, schema, path);
                    return;
                }
                let is_mapping = schema
                    .all_types()
                    .is_some_and(|t| t.contains("object") && !t.contains("null"));
                if scalar.kind == Kind::Null && is_mapping {
                    self.missing(node, &schema.keys(false), &[], path);
                }
            }
        }
    }

    /// Checks each entry; gives the known keys that mistyped ones most likely meant.
    fn entries(&mut self, entries: &mut [Entry], keys: &Keys<'_>, path: &Path<'_>) -> Vec<String> {
        let mut meant = Vec::new();
        let present: BTreeSet<String> = entries.iter().map(|e| e.key.clone()).collect();
        let free = || keys.known.keys().copied().filter(|key| !present.contains(*key));
        for entry in entries {
            let here = path.key(&entry.key);
            if let Some(schema) = keys.known.get(entry.key.as_str()).copied().or(keys.others) {
                self.node(&mut entry.value, schema, &here);
            } else if keys.closed {
                let near = nearest(&entry.key, free());
                entry.value.pruned = Some(if near.is_some() {
                    Pruned::Missed
                } else {
                    Pruned::Unread
                });
                let hint = match near {
                    Some(near) => Some(did_you_mean(near)),
                    None => nearest_hint(&entry.key, keys.known.keys().copied()),
                };
                meant.extend(near.map(str::to_owned));
                let message = format!("unknown key {}{}", quoted(&entry.key), path.within());
                self.problems
                    .push(entry.at.problem(self.source, here.to_string(), message, hint));
            }
        }
        meant
    }

    /// Reports required keys that are absent, unless a mistyped key was most likely `meant` for them.
    fn missing(&mut self, node: &mut Node, keys: &Keys<'_>, meant: &[String], path: &Path<'_>) {
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            _ => &[],
        };
        let absent: Vec<&str> = keys
            .required
            .iter()
            .copied()
            .filter(|key| !entries.iter().any(|e| e.key == *key))
            .collect();
        for key in &absent {
            if !meant.iter().any(|m| m == key) {
                let message = format!("key `{key}` is missing{}", path.within());
                let example = keys
                    .known
                    .get(key)
                    .map(|schema| format!("it must be {}", schema.expectation()));
                self.problems.push(
                    node.at
                        .problem(self.source, path.key(key).to_string(), message, example),
                );
            }
        }
        if !absent.is_empty() {
            node.pruned = Some(Pruned::Incomplete);
        }
    }

    fn wrong_type(&mut self, node: &mut Node, schema: Schema<'_>, path: &Path<'_>) {
        let expected = schema.expectation();
        let (message, hint) = wrong_type(node, &expected, path);
        self.problems
            .push(node.at.problem(self.source, path.to_string(), message, hint));
        node.pruned = Some(Pruned::Missed);
    }
}

/// What to say of a value that is not what it should be.
pub(crate) fn wrong_type(node: &Node, expected: &str, path: &Path<'_>) -> (String, Option<String>) {
    let message = format!("{} is {}, but must be {expected}", path.named(), node.describe());
    let hint = match &node.value {
        Value::Scalar(scalar) if scalar.kind == Kind::Text => text_hint(&scalar.written, expected),
        Value::Scalar(scalar) if scalar.kind == Kind::Null => {
            Some("give it a value, or leave the key out for its default".to_owned())
        }
        _ => None,
    };
    (message, hint)
}

fn text_hint(written: &str, expected: &str) -> Option<String> {
    let boolean = expected.contains("`true` or `false`");
    match written.to_ascii_lowercase().as_str() {
        "yes" | "on" | "y" if boolean => Some("write `true`".to_owned()),
        "no" | "off" | "n" if boolean => Some("write `false`".to_owned()),
        "true" | "false" if boolean => Some("remove the quotes".to_owned()),
        number if expected.contains("number") && number.parse::<f64>().is_ok() => {
            Some("remove the quotes".to_owned())
        }
        _ => None,
    }
}
