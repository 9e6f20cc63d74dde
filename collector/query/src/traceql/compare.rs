//! `TraceQL`'s comparisons: which operator fits which field and value.
//!
//! In: two operands and an operator. Out: the store's condition.
//! Left out on purpose: the comparison of two fields or of two values.

use std::error::Error as _;

use store::{Condition, Field, Literal, Op, Pattern};

use super::lexer::Comparison;
use super::parser::Operand;
use super::{Fault, fault};

/// `operand` as a condition of its own: a truth value, or an attribute that must be true.
pub(super) fn condition(at: usize, operand: Operand) -> Result<Condition, Fault> {
    match operand {
        Operand::Condition(condition) => Ok(condition),
        Operand::Literal(Literal::Bool(true)) => Ok(Condition::True),
        Operand::Literal(Literal::Bool(false)) => Ok(Condition::Not(Box::new(Condition::True))),
        Operand::Field(field @ Field::Attribute { .. }) => Ok(Condition::Compare {
            field,
            op: Op::Eq,
            value: Literal::Bool(true),
        }),
        Operand::Field(_) => fault(
            at,
            "the field must be compared with a value, as in `duration>200ms`",
        ),
        Operand::Literal(_) | Operand::List(_) | Operand::Nil | Operand::NestedSetParent => fault(
            at,
            "a value alone is no condition: write a field and an operator before it",
        ),
    }
}

/// The condition `left comparison right`.
pub(super) fn compared(
    (left_at, left): (usize, Operand),
    comparison: Comparison,
    (right_at, right): (usize, Operand),
) -> Result<Condition, Fault> {
    match (left, right) {
        (Operand::Field(field), Operand::Nil) | (Operand::Nil, Operand::Field(field)) => match comparison {
            Comparison::Ne => Ok(Condition::Exists(field)),
            Comparison::Eq => Ok(Condition::Not(Box::new(Condition::Exists(field)))),
            _ => fault(left_at, "`nil` can only be compared with `=` and `!=`"),
        },
        (Operand::NestedSetParent, Operand::Literal(Literal::Int(0))) if comparison == Comparison::Lt => {
            Ok(Condition::Not(Box::new(Condition::Exists(Field::ParentId))))
        }
        (Operand::NestedSetParent, _) => fault(
            left_at,
            "`nestedSetParent` is only supported as `nestedSetParent<0`",
        ),
        (Operand::Field(field), Operand::Literal(value)) => one(field, comparison, (right_at, value)),
        (Operand::Literal(value), Operand::Field(field)) => {
            one(field, mirrored(comparison), (left_at, value))
        }
        (Operand::Field(field), Operand::List(values)) => any_or_all(&field, comparison, (right_at, values)),
        (Operand::Field(_), Operand::Field(_)) => fault(
            right_at,
            "two fields cannot be compared, a value must stand here (strings in quotes)",
        ),
        (Operand::Condition(_), _) | (_, Operand::Condition(_)) => fault(
            left_at,
            "a condition cannot be compared: write `!(…)` to negate it",
        ),
        _ => fault(left_at, "a field must be on one side of the comparison"),
    }
}

/// What the operator is when its sides change places.
fn mirrored(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Lt => Comparison::Gt,
        Comparison::Le => Comparison::Ge,
        Comparison::Gt => Comparison::Lt,
        Comparison::Ge => Comparison::Le,
        same => same,
    }
}

/// `=` and `=~` ask for any member of a list, `!=` and `!~` for none.
fn any_or_all(
    field: &Field,
    comparison: Comparison,
    (at, values): (usize, Vec<Literal>),
) -> Result<Condition, Fault> {
    let members = values
        .into_iter()
        .map(|value| one(field.clone(), comparison, (at, value)));
    let members = members.collect::<Result<Vec<_>, _>>()?;
    match comparison {
        Comparison::Eq | Comparison::Match => Ok(Condition::Or(members)),
        Comparison::Ne | Comparison::NotMatch => Ok(Condition::And(members)),
        _ => fault(at, "a list can only be compared with `=`, `!=`, `=~` and `!~`"),
    }
}

fn one(field: Field, comparison: Comparison, (at, value): (usize, Literal)) -> Result<Condition, Fault> {
    let value = fitting(&field, comparison, (at, value))?;
    let op = operator(comparison, (at, &value))?;
    Ok(Condition::Compare { field, op, value })
}

/// `value` as the field has it, or why it never could be equal.
fn fitting(field: &Field, comparison: Comparison, (at, value): (usize, Literal)) -> Result<Literal, Fault> {
    let ordered = !matches!(
        comparison,
        Comparison::Eq | Comparison::Ne | Comparison::Match | Comparison::NotMatch
    );
    if ordered && matches!(value, Literal::Bool(_) | Literal::Status(_) | Literal::Kind(_)) {
        let sign = comparison.as_str();
        return fault(
            at,
            format!("`{sign}` needs a number, a duration or a string: write `=` or `!=`"),
        );
    }
    match (field, value) {
        (Field::Duration | Field::TraceDuration, Literal::Int(nanos)) => {
            Ok(Literal::Duration(u64::try_from(nanos).unwrap_or(0)))
        }
        (Field::Duration | Field::TraceDuration, Literal::Float(nanos)) => {
            Ok(Literal::Duration(nanos as u64))
        }
        (Field::Attribute { .. }, Literal::Duration(nanos)) => {
            Ok(Literal::Int(i64::try_from(nanos).unwrap_or(i64::MAX)))
        }
        (Field::Attribute { .. }, Literal::Status(_) | Literal::Kind(_)) => fault(
            at,
            "an attribute cannot be compared with a status or a kind: write the value in quotes",
        ),
        (Field::Status, value @ Literal::Status(_))
        | (Field::Kind, value @ Literal::Kind(_))
        | (Field::Duration | Field::TraceDuration, value @ Literal::Duration(_))
        | (Field::Attribute { .. }, value) => Ok(value),
        (Field::Status, _) => fault(at, "`status` must be compared with `error`, `ok` or `unset`"),
        (Field::Kind, _) => fault(
            at,
            "`kind` must be compared with `server`, `client`, `producer`, `consumer`, `internal` or `unspecified`",
        ),
        (Field::Duration | Field::TraceDuration, _) => {
            fault(at, "a duration must stand here, such as `200ms`")
        }
        (Field::TraceId | Field::SpanId | Field::ParentId, Literal::Str(id)) if !comparison.is_pattern() => {
            Ok(Literal::Str(padded(field, &id)))
        }
        (_, value @ Literal::Str(_)) => Ok(value),
        (_, _) => fault(at, "a string in quotes must stand here"),
    }
}

/// An id as the store writes it, although people leave out the zeros at its front.
fn padded(field: &Field, id: &str) -> String {
    let digits = if *field == Field::TraceId { 32 } else { 16 };
    format!("{:0>digits$}", id.to_ascii_lowercase())
}

fn operator(comparison: Comparison, (at, value): (usize, &Literal)) -> Result<Op, Fault> {
    Ok(match comparison {
        Comparison::Eq => Op::Eq,
        Comparison::Ne => Op::Ne,
        Comparison::Lt => Op::Lt,
        Comparison::Le => Op::Le,
        Comparison::Gt => Op::Gt,
        Comparison::Ge => Op::Ge,
        Comparison::Match => Op::Match(pattern(at, value)?),
        Comparison::NotMatch => Op::NotMatch(pattern(at, value)?),
    })
}

/// The regular expression, which must match a whole value, as in Tempo.
fn pattern(at: usize, value: &Literal) -> Result<Pattern, Fault> {
    let Literal::Str(text) = value else {
        return fault(at, "a regular expression in quotes must stand here");
    };
    Pattern::new(text).or_else(|error| {
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        let reason = cause.lines().last().unwrap_or_default();
        fault(at, format!("{error}: {}", reason.trim_start_matches("error: ")))
    })
}
