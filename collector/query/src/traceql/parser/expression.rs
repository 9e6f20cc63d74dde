//! What stands within braces.
//!
//! In: the parser's tokens. Out: the condition on a span that they say.
//! Left out on purpose: which operator fits which value, see [`compare`].

use store::{Condition, Field, Literal};

use super::{Join, Parser, deeper};
use crate::traceql::fields::{Meaning, meaning};
use crate::traceql::lexer::Token;
use crate::traceql::{Fault, compare, fault};

/// A part of a condition, before it is known what surrounds it.
pub(in crate::traceql) enum Operand {
    Field(Field),
    Literal(Literal),
    List(Vec<Literal>),
    Nil,
    /// Negative on root spans, which is all that is asked of it.
    NestedSetParent,
    Condition(Condition),
}

impl Parser {
    pub(super) fn condition(&mut self, depth: usize) -> Result<Condition, Fault> {
        let (at, _) = self.peek();
        let operand = self.expression(depth)?;
        compare::condition(at, operand)
    }

    /// Comparisons joined by `&&` and `||`, which bind equally, from the left.
    fn expression(&mut self, depth: usize) -> Result<Operand, Fault> {
        let (at, _) = self.peek();
        let first = self.comparison(depth)?;
        let Some(mut join) = self.join() else {
            return Ok(first);
        };
        let mut members = vec![compare::condition(at, first)?];
        loop {
            let (at, _) = self.peek();
            let operand = self.comparison(depth)?;
            members.push(compare::condition(at, operand)?);
            match self.join() {
                None => return Ok(Operand::Condition(joined(join, members))),
                Some(next) if next == join => {}
                Some(next) => {
                    members = vec![joined(join, members)];
                    join = next;
                }
            }
        }
    }

    fn comparison(&mut self, depth: usize) -> Result<Operand, Fault> {
        let (at, _) = self.peek();
        self.count(at)?;
        let left = self.operand(depth)?;
        let (operator_at, token) = self.peek();
        let comparison = match token {
            Token::Compare(comparison) => *comparison,
            Token::Arithmetic(sign) => {
                return fault(operator_at, format!("arithmetic (`{sign}`) is not supported"));
            }
            Token::Structural(name) => {
                return fault(
                    operator_at,
                    format!("`{name}` compares nothing: write `=`, `!=`, `<`, `>`, `=~` …"),
                );
            }
            _ => return Ok(left),
        };
        self.next();
        let (right_at, _) = self.peek();
        let right = self.operand(depth)?;
        if let Token::Arithmetic(sign) = *self.peek().1 {
            return fault(self.peek().0, format!("arithmetic (`{sign}`) is not supported"));
        }
        compare::compared((at, left), comparison, (right_at, right)).map(Operand::Condition)
    }

    fn operand(&mut self, depth: usize) -> Result<Operand, Fault> {
        let (at, token) = self.peek();
        match token {
            Token::Not => {
                self.next();
                let depth = deeper(at, depth)?;
                let (inner_at, _) = self.peek();
                let inner = self.operand(depth)?;
                if let Token::Compare(_) = self.peek().1 {
                    return fault(
                        at,
                        "`!` would negate the field alone: write `!(…)` around the comparison",
                    );
                }
                let inner = compare::condition(inner_at, inner)?;
                Ok(Operand::Condition(Condition::Not(Box::new(inner))))
            }
            Token::OpenParen => {
                self.next();
                let depth = deeper(at, depth)?;
                let inner = self.expression(depth)?;
                self.expect(&Token::CloseParen, "`)`")?;
                Ok(inner)
            }
            Token::OpenBracket => {
                self.next();
                self.list().map(Operand::List)
            }
            Token::Attribute(..) => match self.next() {
                (_, Token::Attribute(scope, key)) => Ok(Operand::Field(Field::Attribute { scope, key })),
                (at, _) => fault(at, "a field must stand here"),
            },
            Token::Word(word) => {
                let word = word.clone();
                self.next();
                word_operand(at, &word)
            }
            _ => self.literal().map(Operand::Literal),
        }
    }

    /// The rest of `["a", "b"]`.
    fn list(&mut self) -> Result<Vec<Literal>, Fault> {
        let mut members = Vec::new();
        loop {
            let (at, _) = self.peek();
            self.count(at)?;
            members.push(self.literal()?);
            if self.take(&Token::CloseBracket) {
                return Ok(members);
            }
            self.expect(&Token::Comma, "`,` or `]`")?;
        }
    }

    pub(super) fn literal(&mut self) -> Result<Literal, Fault> {
        let negative = self.take(&Token::Arithmetic('-'));
        let (at, token) = self.next();
        match (token, negative) {
            (Token::Str(text), false) => Ok(Literal::Str(text)),
            (Token::Int(int), false) => Ok(Literal::Int(int)),
            (Token::Int(int), true) => Ok(Literal::Int(int.saturating_neg())),
            (Token::Float(float), false) => Ok(Literal::Float(float)),
            (Token::Float(float), true) => Ok(Literal::Float(-float)),
            (Token::Duration(nanos), false) => Ok(Literal::Duration(nanos)),
            (Token::Word(word), false) => match meaning(&word) {
                Meaning::Literal(literal) => Ok(literal),
                _ => fault(
                    at,
                    format!("`{word}` is no value: write `\"{word}\"` for a string"),
                ),
            },
            (Token::End, _) => fault(at, "the query ends where a value must stand"),
            _ => fault(
                at,
                "a value must stand here, such as `\"cart\"`, `200`, `1.5s`, `error` or `server`",
            ),
        }
    }
}

pub(super) fn word_operand(at: usize, word: &str) -> Result<Operand, Fault> {
    match meaning(word) {
        Meaning::Field(field) => Ok(Operand::Field(field)),
        Meaning::Literal(literal) => Ok(Operand::Literal(literal)),
        Meaning::Nil => Ok(Operand::Nil),
        Meaning::NestedSetParent => Ok(Operand::NestedSetParent),
        Meaning::Unsupported => fault(at, format!("the intrinsic `{word}` is not supported")),
        Meaning::Unknown => fault(
            at,
            format!(
                "`{word}` is neither a field nor a value: write `.{word}` for an attribute, `\"{word}\"` for a string"
            ),
        ),
    }
}

fn joined(join: Join, members: Vec<Condition>) -> Condition {
    match join {
        Join::And => Condition::And(members),
        Join::Or => Condition::Or(members),
    }
}
