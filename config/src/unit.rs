//! How values with a unit are read through serde.
//!
//! In: text, or a bare number. Out: the value, or an error that repeats what was written and shows what would be right.
//! Left out on purpose: floating-point numbers; a fraction has a smaller unit.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Error, Unexpected, Visitor};

/// A value that people write as a number with a unit.
pub(crate) trait Unit: FromStr<Err: fmt::Display> {
    /// What a number without a unit means, or why it means nothing.
    fn from_number(number: u64) -> Result<Self, String>;
}

/// Reads a [`Unit`] from text or a number; `expected` completes the sentence "expected …".
pub(crate) struct UnitVisitor<T> {
    expected: &'static str,
    unit: PhantomData<T>,
}

impl<T> UnitVisitor<T> {
    pub(crate) fn new(expected: &'static str) -> Self {
        Self {
            expected,
            unit: PhantomData,
        }
    }
}

impl<T: Unit> Visitor<'_> for UnitVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        T::from_number(number).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        let unsigned =
            u64::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))?;
        self.visit_u64(unsigned)
    }
}
