//! The located tree: what a configuration says, and where it says it.
//!
//! In: scalars as they were written, lists and mappings. Out: [`Node`]s that know their line or their variable, and keep each
//! scalar's text, so that `1.20` can still become text. Left out on purpose: comments and styles; nothing is written back.

use std::sync::Arc;

use crate::path::Step;
use crate::problem::Problem;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Origin {
    /// Nowhere: a mapping that came into being because something was put in it.
    Absent,
    /// In the file, both from 1.
    File { line: usize, column: usize },
    /// In the environment variable of this name.
    Variable(Arc<str>),
}

/// One value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) at: Origin,
    pub(crate) pruned: Option<Pruned>,
}

/// A node whose problem is reported already. All but the incomplete ones are treated as if they were not there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pruned {
    /// Nobody would have read it.
    Unread,
    /// Something else may now look wrong only because it is gone.
    Missed,
    /// A required key is not there, but the others are worth reading.
    Incomplete,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A scalar by the YAML 1.2 core schema, and as it was written (for quoted ones, what the quotes hold).
#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    pub(crate) kind: Kind,
    pub(crate) written: String,
}

/// The type that the text of a scalar stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text,
}

/// One key of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) at: Origin,
    pub(crate) value: Node,
}

impl Node {
    pub(crate) fn new(value: Value, at: Origin) -> Self {
        Self {
            value,
            at,
            pruned: None,
        }
    }

    pub(crate) fn empty_map() -> Self {
        Self::new(Value::Map(Vec::new()), Origin::Absent)
    }

    /// A scalar whose text came without quotes, such as an environment variable's.
    pub(crate) fn plain(written: String, at: Origin) -> Self {
        let kind = infer(&written);
        Self::new(Value::Scalar(Scalar { kind, written }), at)
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(Scalar { kind: Kind::Null, .. }))
    }

    /// Whether readers pass over the node.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.pruned, Some(Pruned::Missed | Pruned::Unread))
    }

    /// The node these steps lead to, or the nearest one above it that exists.
    pub(crate) fn nearest_mut(&mut self, steps: &[Step]) -> &mut Self {
        let Some((step, rest)) = steps.split_first() else {
            return self;
        };
        let found = match (&self.value, step) {
            (Value::Map(entries), Step::Key(key)) => entries.iter().position(|e| e.key == *key),
            (Value::List(items), Step::Index(index)) => (*index < items.len()).then_some(*index),
            _ => None,
        };
        let Some(at) = found else { return self };
        match &mut self.value {
            Value::Map(entries) => entries[at].value.nearest_mut(rest),
            Value::List(items) => items[at].nearest_mut(rest),
            Value::Scalar(_) => unreachable!("a scalar has nothing below it"),
        }
    }

    /// What the node is, for "but this is …".
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
            Value::Scalar(Scalar { kind: Kind::Null, .. }) => "empty".to_owned(),
            Value::Scalar(scalar) => crate::problem::quoted(&scalar.written),
        }
    }

    /// Whether this node or one below it was taken out for a reason that may make others look wrong.
    pub(crate) fn misses_something(&self) -> bool {
        matches!(self.pruned, Some(Pruned::Missed | Pruned::Incomplete))
            || match &self.value {
                Value::Scalar(_) => false,
                Value::List(items) => items.iter().any(Node::misses_something),
                Value::Map(entries) => entries.iter().any(|e| e.value.misses_something()),
            }
    }
}

impl Origin {
    /// A problem at this place; `source` names the file.
    pub(crate) fn problem(
        &self,
        source: &str,
        path: String,
        message: String,
        hint: Option<String>,
    ) -> Problem {
        let (source, line, column) = match self {
            Self::Absent => (source, None, None),
            Self::File { line, column } => (source, Some(*line), Some(*column)),
            Self::Variable(name) => (name.as_ref(), None, None),
        };
        Problem {
            source: source.to_owned(),
            path,
            line,
            column,
            message,
            hint,
        }
    }
}

/// The type of a scalar without quotes, by the YAML 1.2 core schema.
///
/// Stricter than that in two ways, both for safety: `.inf` and `.nan` are text, for no setting wants them, and so is `0755`,
/// which is 493 to some programs and 755 to others.
pub(crate) fn infer(text: &str) -> Kind {
    match text.trim() {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "true" | "True" | "TRUE" => Kind::Bool(true),
        "false" | "False" | "FALSE" => Kind::Bool(false),
        number => infer_number(number).unwrap_or(Kind::Text),
    }
}

fn infer_number(text: &str) -> Option<Kind> {
    let radix = |digits: &str, radix| u64::from_str_radix(digits, radix).ok().map(Kind::Unsigned);
    // `from_str_radix` would take a sign after the prefix.
    match text.split_at_checked(2) {
        Some(("0x", digits)) if !digits.starts_with('+') => return radix(digits, 16),
        Some(("0o", digits)) if !digits.starts_with('+') => return radix(digits, 8),
        _ => {}
    }
    let unsigned = text.trim_start_matches(['+', '-']);
    let whole = unsigned.bytes().all(|b| b.is_ascii_digit());
    let ambiguous = whole && unsigned.len() > 1 && unsigned.starts_with('0');
    // Rust also reads `inf` and `nan` as numbers.
    let starts_well = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if ambiguous || !starts_well {
        return None;
    }
    let integer = text
        .parse()
        .map(Kind::Unsigned)
        .or_else(|_| text.parse().map(Kind::Signed));
    integer
        .ok()
        .or_else(|| text.parse().ok().filter(|f: &f64| f.is_finite()).map(Kind::Float))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_have_the_types_of_yaml_1_2() {
        assert_eq!(infer("18446744073709551615"), Kind::Unsigned(u64::MAX));
        assert_eq!(infer("-5"), Kind::Signed(-5));
        assert_eq!(infer("0x1F"), Kind::Unsigned(31));
        assert_eq!(infer("0o17"), Kind::Unsigned(15));
        assert_eq!(infer("1.20"), Kind::Float(1.2));
        assert_eq!(infer("1e3"), Kind::Float(1000.0));
        assert_eq!(infer("~"), Kind::Null);
        for text in [
            "no", "on", "0755", "1_000", "inf", ".nan", "1e999", "0x", "0x+1", "1.2.3", "-", "+", ".", "é",
        ] {
            assert_eq!(infer(text), Kind::Text, "{text}");
        }
    }
}
