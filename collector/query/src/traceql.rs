//! The part of `TraceQL` that finds traces: from text to the store's filter.
//!
//! In: a query such as `{resource.service.name="cart" && duration>200ms} || {status=error}`. Out: a [`Filter`], or
//! one message that names the place and what would be right there.
//! Left out on purpose: pipelines, aggregates, metrics, structural operators, arithmetic and the comparison of two
//! fields. Each is one clear error, so that nobody takes a wrong answer for a right one.
//!
//! Source: Tempo's grammar (`pkg/traceql/expr.y`, `lexer.go`). As there, `&&` and `||` bind equally, from the left.

mod compare;
mod fields;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;
mod virtual_node;

use std::fmt;

use store::{Field, Filter};

pub(crate) use fields::{INTRINSICS, kind_named};
pub use virtual_node::{or_node_condition, virtual_node};

/// The longest query that is read, in bytes.
pub const MAX_QUERY_BYTES: usize = 64 * 1024;
/// How deep parentheses and negations may nest.
pub const MAX_DEPTH: usize = 64;
/// How many comparisons and spansets one query may hold; both the parser's and the store's work follow them.
pub const MAX_TERMS: usize = 1_000;

/// Why a query was not understood, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceQlError {
    /// Line of the query, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong there, and what would be right.
    pub message: String,
}

impl fmt::Display for TraceQlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            message,
        } = self;
        write!(
            f,
            "the TraceQL query is wrong at line {line} column {column}: {message}"
        )
    }
}

impl std::error::Error for TraceQlError {}

/// A fault at a byte of the query; [`parse`] turns the byte into line and column.
#[derive(Debug)]
struct Fault {
    at: usize,
    message: String,
}

fn fault<T>(at: usize, message: impl Into<String>) -> Result<T, Fault> {
    Err(Fault {
        at,
        message: message.into(),
    })
}

/// The filter that `text` asks for. An empty text asks for everything, as `{}` does.
///
/// # Errors
/// [`TraceQlError`] for what is no `TraceQL`, for what is not supported, and for more than [`MAX_QUERY_BYTES`],
/// [`MAX_DEPTH`] or [`MAX_TERMS`]. No text panics.
pub fn parse(text: &str) -> Result<Filter, TraceQlError> {
    if text.trim().is_empty() {
        return Ok(Filter::All);
    }
    lexer::tokens(text)
        .and_then(parser::query)
        .map_err(|fault| located(text, fault))
}

/// The field that `text` names: `resource.service.name`, `.http.route`, `status`, `span:name`.
///
/// # Errors
/// [`TraceQlError`] where `text` is anything else than one field.
pub fn parse_field(text: &str) -> Result<Field, TraceQlError> {
    lexer::tokens(text)
        .and_then(parser::field)
        .map_err(|fault| located(text, fault))
}

fn located(text: &str, fault: Fault) -> TraceQlError {
    let before = text.get(..fault.at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(line_start..).map_or(0, |rest| rest.chars().count()) + 1;
    TraceQlError {
        line: before.matches('\n').count() + 1,
        column,
        message: fault.message,
    }
}
