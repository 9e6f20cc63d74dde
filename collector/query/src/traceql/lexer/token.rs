//! `TraceQL`'s tokens and how its operators are written.
//!
//! In: nothing. Out: [`Token`], [`Comparison`] and the table of operators.
//! Left out on purpose: tokens of several forms; the lexer reads those itself.

use store::Scope;

/// What stands at a place of the query.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::traceql) enum Token {
    OpenBrace,
    CloseBrace,
    OpenParen,
    CloseParen,
    OpenBracket,
    CloseBracket,
    Comma,
    And,
    Or,
    Not,
    Pipe,
    Compare(Comparison),
    /// An operator between spansets that asks for kinship, as `>>`.
    Structural(&'static str),
    /// `+`, `-`, `*`, `/`, `%` or `^`.
    Arithmetic(char),
    Str(String),
    Int(i64),
    Float(f64),
    /// Nanoseconds.
    Duration(u64),
    /// A keyword or intrinsic: `true`, `error`, `name`, `span:name`.
    Word(String),
    /// An attribute; without scope for `.key`.
    Attribute(Option<Scope>, String),
    End,
}

/// An operator between a field and a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::traceql) enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Match,
    NotMatch,
}

impl Comparison {
    /// Whether its right side is a regular expression.
    pub(in crate::traceql) fn is_pattern(self) -> bool {
        matches!(self, Self::Match | Self::NotMatch)
    }

    pub(in crate::traceql) fn as_str(self) -> &'static str {
        match self {
            Self::Eq => "=",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::Match => "=~",
            Self::NotMatch => "!~",
        }
    }
}

/// Operators, the longest first where one begins another.
pub(in crate::traceql) const OPERATORS: [(&str, Token); 33] = [
    ("!>>", Token::Structural("!>>")),
    ("!<<", Token::Structural("!<<")),
    ("&>>", Token::Structural("&>>")),
    ("&<<", Token::Structural("&<<")),
    (">>", Token::Structural(">>")),
    ("<<", Token::Structural("<<")),
    ("&>", Token::Structural("&>")),
    ("&<", Token::Structural("&<")),
    ("&~", Token::Structural("&~")),
    ("!>", Token::Structural("!>")),
    ("!<", Token::Structural("!<")),
    ("&&", Token::And),
    ("||", Token::Or),
    ("=~", Token::Compare(Comparison::Match)),
    ("!~", Token::Compare(Comparison::NotMatch)),
    ("!=", Token::Compare(Comparison::Ne)),
    ("<=", Token::Compare(Comparison::Le)),
    (">=", Token::Compare(Comparison::Ge)),
    ("=", Token::Compare(Comparison::Eq)),
    ("<", Token::Compare(Comparison::Lt)),
    (">", Token::Compare(Comparison::Gt)),
    ("~", Token::Structural("~")),
    ("!", Token::Not),
    ("|", Token::Pipe),
    ("{", Token::OpenBrace),
    ("}", Token::CloseBrace),
    ("(", Token::OpenParen),
    (")", Token::CloseParen),
    ("[", Token::OpenBracket),
    ("]", Token::CloseBracket),
    (",", Token::Comma),
    ("+", Token::Arithmetic('+')),
    ("-", Token::Arithmetic('-')),
];
