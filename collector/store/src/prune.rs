//! What can be said of a search without reading spans.
//!
//! In: a filter. Out: for blocks, tokens that one with a match must have; for traces, bounds that one with a match
//! keeps. Both leave out only what cannot match.
//! Left out on purpose: the answer. `matcher` decides on the spans.

use crate::aliases;
use crate::query::{Condition, Field, Filter, Literal, Op, Pattern, Scope, Search};
use crate::tokens::{self, Token};
use otlp::StatusCode;

/// What a block with a matching trace must have. A whole trace stands in one block.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Blocks {
    Any,
    Has(Token),
    All(Vec<Blocks>),
    /// Nothing has, where it is empty.
    One(Vec<Blocks>),
}

/// What is known of a matching trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// It has a span with status error.
    pub(crate) error: bool,
    /// The least duration of the whole trace, in nanoseconds.
    pub(crate) min_duration: u64,
    /// The greatest.
    pub(crate) max_duration: u64,
}

impl Bounds {
    const NONE: Self = Self {
        error: false,
        min_duration: 0,
        max_duration: u64::MAX,
    };

    /// Whether a trace keeps them.
    pub(crate) fn admit(self, duration: u64, error: bool) -> bool {
        (error || !self.error) && self.min_duration <= duration && duration <= self.max_duration
    }

    fn and(self, other: Self) -> Self {
        Self {
            error: self.error || other.error,
            min_duration: self.min_duration.max(other.min_duration),
            max_duration: self.max_duration.min(other.max_duration),
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            error: self.error && other.error,
            min_duration: self.min_duration.min(other.min_duration),
            max_duration: self.max_duration.max(other.max_duration),
        }
    }
}

/// What the blocks of a search must have.
pub(crate) fn blocks(filter: &Filter) -> Blocks {
    match filter {
        Filter::All => Blocks::Any,
        Filter::Spans(condition) => blocks_of(condition),
        Filter::And(one, other) => all(vec![blocks(one), blocks(other)]),
        Filter::Or(one, other) => one_of(vec![blocks(one), blocks(other)]),
    }
}

/// What the traces of a search keep.
pub(crate) fn bounds(search: &Search) -> Bounds {
    let asked = Bounds {
        error: false,
        min_duration: search.min_duration.unwrap_or(0),
        max_duration: search.max_duration.unwrap_or(u64::MAX),
    };
    asked.and(bounds_of_filter(&search.filter))
}

fn bounds_of_filter(filter: &Filter) -> Bounds {
    match filter {
        Filter::All => Bounds::NONE,
        Filter::Spans(condition) => bounds_of(condition),
        Filter::And(one, other) => bounds_of_filter(one).and(bounds_of_filter(other)),
        Filter::Or(one, other) => bounds_of_filter(one).or(bounds_of_filter(other)),
    }
}

fn bounds_of(condition: &Condition) -> Bounds {
    match condition {
        Condition::And(of) => of.iter().map(bounds_of).fold(Bounds::NONE, Bounds::and),
        Condition::Or(of) => of
            .iter()
            .map(bounds_of)
            .reduce(Bounds::or)
            .unwrap_or(Bounds::NONE),
        Condition::Compare { field, op, value } => bounds_of_compare(field, op, value),
        Condition::True | Condition::Exists(_) | Condition::Not(_) => Bounds::NONE,
    }
}

fn bounds_of_compare(field: &Field, op: &Op, value: &Literal) -> Bounds {
    let mut bounds = Bounds::NONE;
    match (field, value) {
        (Field::Status, Literal::Status(StatusCode::Error)) => bounds.error = *op == Op::Eq,
        // A trace lasts at least as long as each of its spans.
        (Field::Duration | Field::TraceDuration, Literal::Duration(nanos)) => {
            if matches!(op, Op::Eq | Op::Ge | Op::Gt) {
                bounds.min_duration = *nanos;
            }
            if *field == Field::TraceDuration && matches!(op, Op::Eq | Op::Le | Op::Lt) {
                bounds.max_duration = *nanos;
            }
        }
        _ => {}
    }
    bounds
}

fn all(of: Vec<Blocks>) -> Blocks {
    let mut needed: Vec<_> = of.into_iter().filter(|one| *one != Blocks::Any).collect();
    match needed.len() {
        0 => Blocks::Any,
        1 => needed.swap_remove(0),
        _ => Blocks::All(needed),
    }
}

fn one_of(of: Vec<Blocks>) -> Blocks {
    if of.contains(&Blocks::Any) {
        Blocks::Any
    } else {
        Blocks::One(of)
    }
}

fn blocks_of(condition: &Condition) -> Blocks {
    match condition {
        Condition::True | Condition::Not(_) => Blocks::Any,
        Condition::Or(of) => one_of(of.iter().map(blocks_of).collect()),
        Condition::And(of) => all(of.iter().map(blocks_of).chain(pairs(of)).collect()),
        Condition::Exists(field) => present(field),
        Condition::Compare { field, op, value } => match op {
            Op::Eq => equal(field, value),
            Op::Match(pattern) => match alternatives(pattern) {
                Some(texts) => one_of(
                    texts
                        .into_iter()
                        .map(|text| equal(field, &Literal::Str(text)))
                        .collect(),
                ),
                None => present(field),
            },
            Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge | Op::NotMatch(_) => present(field),
        },
    }
}

/// Tokens for two facts about one span, where the conditions name both: rarer than either alone.
fn pairs(of: &[Condition]) -> Vec<Blocks> {
    let equal_to = |wanted: fn(&Field) -> bool| {
        of.iter().find_map(move |condition| match condition {
            Condition::Compare {
                field,
                op: Op::Eq,
                value,
            } if wanted(field) => Some(value),
            _ => None,
        })
    };
    let Some(Literal::Str(service)) = equal_to(is_service) else {
        return Vec::new();
    };
    let mut pairs = Vec::new();
    if let Some(Literal::Str(name)) = equal_to(|field| *field == Field::Name) {
        pairs.push(Blocks::Has(tokens::service_and_name(service, name)));
    }
    if let Some(Literal::Status(StatusCode::Error)) = equal_to(|field| *field == Field::Status) {
        pairs.push(Blocks::Has(tokens::service_and_error(service)));
    }
    pairs
}

fn is_service(field: &Field) -> bool {
    matches!(field, Field::Attribute { scope: Some(Scope::Resource), key } if key == "service.name")
}

fn equal(field: &Field, value: &Literal) -> Blocks {
    let token = match (field, value) {
        (Field::Attribute { scope, key }, _) => {
            return attribute(*scope, key, |key| tokens::equal_to(key, value));
        }
        (Field::Name, Literal::Str(text)) => tokens::span_name(text),
        (Field::RootName, Literal::Str(text)) => tokens::root_name(text),
        (Field::RootServiceName, Literal::Str(text)) => tokens::root_service(text),
        (Field::EventName, Literal::Str(text)) => tokens::event_name(text),
        (Field::InstrumentationName, Literal::Str(text)) => tokens::library_name(text),
        _ => return Blocks::Any,
    };
    Blocks::Has(token)
}

fn present(field: &Field) -> Blocks {
    let Field::Attribute { scope, key } = field else {
        return Blocks::Any;
    };
    Blocks::One(keys(*scope, key).map(Blocks::Has).collect())
}

/// The key tokens of an attribute, under each of its names and wherever it may stand.
fn keys(scope: Option<Scope>, key: &str) -> impl Iterator<Item = Token> {
    let scopes = scope.map_or_else(|| vec![Scope::Span, Scope::Resource], |scope| vec![scope]);
    scopes
        .into_iter()
        .flat_map(move |scope| aliases::of(key).map(move |name| tokens::key(scope, name)))
}

/// One of the tokens that `of` makes from the key tokens of an attribute.
fn attribute(scope: Option<Scope>, key: &str, of: impl Fn(Token) -> Option<Vec<Token>>) -> Blocks {
    // With the key beside each value: most keys that could answer are in no block, and each token that is looked
    // for finds some blocks in vain.
    let found: Option<Vec<Blocks>> = keys(scope, key)
        .map(|key| Some(with_key(key, of(key)?)))
        .collect();
    found.map_or(Blocks::Any, Blocks::One)
}

fn with_key(key: Token, values: Vec<Token>) -> Blocks {
    Blocks::All(vec![
        Blocks::Has(key),
        Blocks::One(values.into_iter().map(Blocks::Has).collect()),
    ])
}

/// Alternatives that are worth a look-up each.
const ALTERNATIVES: usize = 32;

/// The strings that a pattern such as `cart|check\.out` matches; `None` for patterns that are no such list.
fn alternatives(pattern: &Pattern) -> Option<Vec<String>> {
    let mut texts = vec![String::new()];
    let mut chars = pattern.as_str().chars();
    while let Some(char) = chars.next() {
        let literal = match char {
            '|' => {
                texts.push(String::new());
                continue;
            }
            '\\' => chars.next().filter(char::is_ascii_punctuation)?,
            '.' | '+' | '*' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$' | '#' => return None,
            literal => literal,
        };
        texts.last_mut()?.push(literal);
    }
    (texts.len() <= ALTERNATIVES).then_some(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).expect("a regular expression")
    }

    #[test]
    fn a_list_of_names_is_looked_up_name_by_name() {
        let texts = |text: &str| alternatives(&pattern(text));
        assert_eq!(
            texts("cart|GET /a\\.b"),
            Some(vec!["cart".to_owned(), "GET /a.b".to_owned()])
        );
        assert_eq!(texts("cart.*"), None);
        assert_eq!(texts("(?i)cart"), None);
        assert_eq!(texts("\\d"), None);
        assert_eq!(texts(""), Some(vec![String::new()]));
    }

    #[test]
    fn an_unscoped_attribute_may_stand_on_the_span_or_the_resource_under_either_name() {
        let field = Field::Attribute {
            scope: None,
            key: "http.method".to_owned(),
        };
        let Blocks::One(of) = present(&field) else {
            panic!("one of several tokens");
        };
        assert_eq!(of.len(), 4);
    }

    #[test]
    fn the_bounds_of_alternatives_are_those_that_both_keep() {
        let over = |nanos| Condition::Compare {
            field: Field::Duration,
            op: Op::Gt,
            value: Literal::Duration(nanos),
        };
        let error = Condition::Compare {
            field: Field::Status,
            op: Op::Eq,
            value: Literal::Status(StatusCode::Error),
        };
        let both = bounds_of(&Condition::And(vec![over(5), error.clone()]));
        assert!(both.admit(5, true) && !both.admit(4, true) && !both.admit(5, false));
        let either = bounds_of(&Condition::Or(vec![over(5), error]));
        assert_eq!(either, Bounds::NONE);
        assert_eq!(bounds_of(&Condition::Not(Box::new(over(5)))), Bounds::NONE);
    }
}
