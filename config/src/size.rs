//! Sizes as people write them.
//!
//! In: `64MiB`, `512KiB`, `1GB`, plain bytes. Out: [`ByteSize`], in bytes. Left out on purpose: fractions, and a bare `M`,
//! which is 2²⁰ to some programs and 10⁶ to others.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const UNITS: [(&str, u64); 13] = [
    ("tib", 1 << 40),
    ("gib", 1 << 30),
    ("mib", 1 << 20),
    ("kib", 1 << 10),
    ("ti", 1 << 40),
    ("gi", 1 << 30),
    ("mi", 1 << 20),
    ("ki", 1 << 10),
    ("tb", 1_000_000_000_000),
    ("gb", 1_000_000_000),
    ("mb", 1_000_000),
    ("kb", 1_000),
    ("b", 1),
];

/// A number of bytes that a person writes as `64MiB`, `512KiB`, `1GiB`, `500MB` or plainly as bytes.
///
/// `KiB`, `MiB`, `GiB`, `TiB` (also `Ki`, `Mi`, … as in Kubernetes) are powers of 1024; `kB`, `MB`, `GB`, `TB` powers of
/// 1000. Displayed and serialized in the largest power of 1024 that fits exactly, else in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

/// A text that is no size; says what would be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// No whole number, or a unit that is unknown or ambiguous.
    #[error("{value} is no size: write whole units such as `64MiB`, `512KiB`, `1GiB` or plain bytes")]
    Malformed {
        /// The text as written, in backticks.
        value: String,
    },
    /// 2⁶⁴ bytes or more.
    #[error("{value} is more than 16EiB: write a size such as `64MiB`")]
    TooLarge {
        /// The text as written, in backticks.
        value: String,
    },
}

impl ByteSize {
    /// `n` KiB; `n` is at most 2⁵⁴ - 1.
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// `n` MiB; `n` is at most 2⁴⁴ - 1.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// `n` GiB; `n` is at most 2³⁴ - 1.
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The size in bytes as an index of this machine; what does not fit is the largest there is.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = [
            ("TiB", 1 << 40),
            ("GiB", 1 << 30),
            ("MiB", 1 << 20),
            ("KiB", 1_u64 << 10),
        ]
        .into_iter()
        .find(|(_, unit)| self.0 > 0 && self.0.is_multiple_of(*unit))
        .map_or_else(
            || self.0.to_string(),
            |(name, unit)| format!("{}{name}", self.0 / unit),
        );
        f.pad(&text)
    }
}

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let malformed = || SizeError::Malformed {
            value: crate::problem::quoted(text),
        };
        let too_large = || SizeError::TooLarge {
            value: crate::problem::quoted(text),
        };
        let lower = text.trim().to_ascii_lowercase();
        let digits = lower.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = lower.get(digits.len()..).unwrap_or_default().trim();
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(malformed());
        }
        let factor = match unit {
            "" => 1,
            name => {
                UNITS
                    .iter()
                    .find(|(known, _)| *known == name)
                    .ok_or_else(malformed)?
                    .1
            }
        };
        let number: u64 = digits.parse().map_err(|_| too_large())?;
        number.checked_mul(factor).map(Self).ok_or_else(too_large)
    }
}

impl From<u64> for ByteSize {
    fn from(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(crate::unit::UnitVisitor::new(
            "a size such as `64MiB`, `512KiB` or plain bytes",
        ))
    }
}

impl crate::unit::Unit for ByteSize {
    fn from_number(number: u64) -> Result<Self, String> {
        Ok(Self(number))
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "description": "A number of bytes, with a unit (`KiB`, `MiB`, `GiB`, `TiB`, `kB`, `MB`, `GB`, `TB`) or plain.",
            "pattern": "^\\s*[0-9]+\\s*([kKmMgGtT]([iI][bB]?|[bB])|[bB])?\\s*$",
            "minimum": 0,
            "examples": ["64MiB", "512KiB", "1GiB"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = match text.parse::<ByteSize>() {
            Ok(size) => size.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{text:?}");
    }

    #[test]
    fn a_size_is_written_in_the_largest_unit_that_fits_exactly() {
        check("64MiB", "64MiB");
        check("65536 KiB", "64MiB");
        check("1024", "1KiB");
        check("512Mi", "512MiB");
        check("1kB", "1000");
        check("0", "0");
        check("1b", "1");
    }

    #[test]
    fn what_is_no_size_is_answered_with_the_value_and_an_example() {
        let advice = "is no size: write whole units such as `64MiB`, `512KiB`, `1GiB` or plain bytes";
        for text in [
            "", "MiB", "1.5GiB", "-1", "64M", "0x10", "1e9", "12 34", "64 megs", "٣MiB",
        ] {
            check(text, &format!("`{text}` {advice}"));
        }
        check(
            "99999999TiB",
            "`99999999TiB` is more than 16EiB: write a size such as `64MiB`",
        );
        check(
            "99999999999999999999",
            "`99999999999999999999` is more than 16EiB: write a size such as `64MiB`",
        );
    }
}
