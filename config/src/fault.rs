//! Serde's errors, put into the operator's words.
//!
//! In: what serde or a type's own `Deserialize` says. Out: [`Fault`], which takes its key and line from the innermost node it
//! passes on its way up. Left out on purpose: Rust's type names, which no operator knows.

use std::fmt;

use serde::de::{Error, Expected, Unexpected};

use crate::check::wrong_type;
use crate::path::{Path, Step};
use crate::problem::{nearest_hint, quoted};
use crate::tree::{Node, Origin, Value};

/// An error on its way up.
#[derive(Debug)]
pub(crate) struct Fault {
    said: Said,
    place: Option<Box<Place>>,
}

/// An error that knows where it belongs.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) at: Origin,
    pub(crate) steps: Vec<Step>,
    pub(crate) path: String,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

#[derive(Debug)]
enum Said {
    /// What it must be, and what it is where serde says so.
    Expected(String, Option<String>),
    Missing(&'static str),
    UnknownKey(String, &'static [&'static str]),
    UnknownChoice(String, &'static [&'static str]),
    Own(String),
}

impl Fault {
    pub(crate) fn expected(what: &str) -> Self {
        Said::Expected(what.to_owned(), None).into()
    }

    /// Gives the fault its place, unless a node further in has done so.
    pub(crate) fn placed(mut self, node: &Node, path: &Path<'_>) -> Self {
        if self.place.is_none() {
            let (message, hint) = self.said.explain(node, path);
            let place = Place {
                at: node.at.clone(),
                steps: path.steps(),
                path: path.to_string(),
                message,
                hint,
            };
            self.place = Some(Box::new(place));
        }
        self
    }

    /// The place; the root of the file for a fault that no node has placed.
    pub(crate) fn into_place(self) -> Place {
        let said = self.said.to_string();
        let unplaced = || Place {
            at: Origin::Absent,
            steps: Vec::new(),
            path: String::new(),
            message: said,
            hint: None,
        };
        self.place.map_or_else(unplaced, |place| *place)
    }
}

impl Said {
    fn explain(&self, node: &Node, path: &Path<'_>) -> (String, Option<String>) {
        let named = path.named();
        match self {
            // Serde buffers some enums; their faults then come from a value further in, whose key is lost.
            Self::Expected(what, Some(found)) if !matches!(node.value, Value::Scalar(_)) => (
                format!("{named} holds {}, where it must be {what}", quoted(found)),
                None,
            ),
            Self::Expected(what, _) => wrong_type(node, what, path),
            Self::Missing(key) => (format!("key `{key}` is missing{}", path.within()), None),
            Self::UnknownKey(key, known) => {
                let message = format!("unknown key {}{}", quoted(key), path.within());
                (message, nearest_hint(key, known.iter().copied()))
            }
            Self::UnknownChoice(choice, known) => {
                let list = known
                    .iter()
                    .map(|name| format!("`{name}`"))
                    .collect::<Vec<_>>()
                    .join(", ");
                let message = format!("{named} is {}, but must be one of {list}", quoted(choice));
                (
                    message,
                    nearest_hint(choice, known.iter().copied()).filter(|hint| hint.starts_with("did")),
                )
            }
            Self::Own(text) => explain_own(text, node, &named),
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expected(what, _) => write!(f, "must be {what}"),
            Self::Missing(key) => write!(f, "key `{key}` is missing"),
            Self::UnknownKey(name, known) | Self::UnknownChoice(name, known) => {
                write!(f, "unknown {}, known are {}", quoted(name), known.join(", "))
            }
            Self::Own(text) => f.write_str(text),
        }
    }
}

impl From<Said> for Fault {
    fn from(said: Said) -> Self {
        Self { said, place: None }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.said.fmt(f)
    }
}

impl std::error::Error for Fault {}

impl Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let text = message.to_string();
        Said::Own(text.split_whitespace().collect::<Vec<_>>().join(" ")).into()
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Said::Expected(in_words(&expected.to_string()), value_of(found)).into()
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Said::Expected(in_words(&expected.to_string()), value_of(found)).into()
    }

    fn missing_field(field: &'static str) -> Self {
        Said::Missing(field).into()
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Said::UnknownKey(field.to_owned(), known).into()
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Said::UnknownChoice(variant.to_owned(), known).into()
    }
}

/// A type's own words, with the value as written unless they repeat it.
fn explain_own(text: &str, node: &Node, named: &str) -> (String, Option<String>) {
    let hint = match text {
        "invalid socket address syntax" => Some("write address and port such as `127.0.0.1:4317`"),
        "invalid IP address syntax" => Some("write an address such as `127.0.0.1` or `::1`"),
        _ => None,
    };
    let message = match &node.value {
        Value::Scalar(scalar) if !text.contains(&quoted(&scalar.written)) => {
            format!("{named} is {}: {text}", node.describe())
        }
        _ => format!("{named}: {text}"),
    };
    (message, hint.map(str::to_owned))
}

fn value_of(found: Unexpected<'_>) -> Option<String> {
    match found {
        Unexpected::Bool(value) => Some(value.to_string()),
        Unexpected::Unsigned(value) => Some(value.to_string()),
        Unexpected::Signed(value) => Some(value.to_string()),
        Unexpected::Float(value) => Some(value.to_string()),
        Unexpected::Str(value) => Some(value.to_owned()),
        _ => None,
    }
}

/// What serde's standard types call themselves, as an operator would.
fn in_words(expected: &str) -> String {
    let range = |low: String, high: String| format!("a whole number from {low} to {high}");
    match expected {
        "u8" => range(u8::MIN.to_string(), u8::MAX.to_string()),
        "u16" => range(u16::MIN.to_string(), u16::MAX.to_string()),
        "u32" => range(u32::MIN.to_string(), u32::MAX.to_string()),
        "i8" => range(i8::MIN.to_string(), i8::MAX.to_string()),
        "i16" => range(i16::MIN.to_string(), i16::MAX.to_string()),
        "i32" => range(i32::MIN.to_string(), i32::MAX.to_string()),
        "u64" | "u128" | "usize" => "a whole number from 0 up".to_owned(),
        "i64" | "i128" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        "a string" => "text".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a mapping".to_owned(),
        "a nonzero u8" => range("1".to_owned(), u8::MAX.to_string()),
        "a nonzero u16" => range("1".to_owned(), u16::MAX.to_string()),
        "a nonzero u32" => range("1".to_owned(), u32::MAX.to_string()),
        "a nonzero u64" | "a nonzero usize" => "a whole number from 1 up".to_owned(),
        other if other.starts_with("struct ") => "a mapping".to_owned(),
        other => other.to_owned(),
    }
}
