//! Single JSON values: numbers that may be text, ids, enums, bytes.
//!
//! In: one JSON string or number. Out: the value, or what would have been right. Arrays, objects and booleans
//! are never one.

use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use opentelemetry_proto::tonic::logs::v1::SeverityNumber;
use opentelemetry_proto::tonic::metrics::v1::AggregationTemporality;
use opentelemetry_proto::tonic::trace::v1::{span::SpanKind, status::StatusCode};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// Foreign text in an error message is cut to this many characters.
const SHOWN: usize = 64;

/// A value that JSON writes as a number or as text.
pub(crate) trait Scalar: Sized {
    /// What would be right, after "is not ".
    const EXPECTED: &'static str;

    fn from_text(text: &str) -> Option<Self>;

    fn from_integer(_value: i128) -> Option<Self> {
        None
    }

    /// Floats are read where they are whole: some writers put every number as `1.5e9`.
    fn from_float(value: f64) -> Option<Self> {
        (value.fract() == 0.0 && value.abs() < 1e20)
            .then(|| Self::from_integer(value as i128))
            .flatten()
    }
}

/// Reads a [`Scalar`] from a JSON number or string.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lenient<T>(pub(crate) T);

impl<'de, T: Scalar> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor(PhantomData)).map(Self)
    }
}

struct ScalarVisitor<T>(PhantomData<T>);

impl<T: Scalar> Visitor<'_> for ScalarVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).ok_or_else(|| wrong::<T, E>(text.chars().take(SHOWN).collect::<String>()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
        T::from_integer(value.into()).ok_or_else(|| wrong::<T, E>(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        T::from_integer(value.into()).ok_or_else(|| wrong::<T, E>(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<T, E> {
        T::from_float(value).ok_or_else(|| wrong::<T, E>(value))
    }
}

fn wrong<T: Scalar, E: Error>(value: impl fmt::Display) -> E {
    E::custom(format_args!("`{value}` is not {}", T::EXPECTED))
}

macro_rules! integers {
    ($($type:ty: $expected:literal),* $(,)?) => {$(
        impl Scalar for $type {
            const EXPECTED: &'static str = $expected;

            fn from_text(text: &str) -> Option<Self> {
                text.parse().ok()
            }

            fn from_integer(value: i128) -> Option<Self> {
                Self::try_from(value).ok()
            }
        }
    )*};
}

integers! {
    u32: "an unsigned 32-bit integer",
    u64: "an unsigned 64-bit integer",
    i32: "a signed 32-bit integer",
    i64: "a signed 64-bit integer",
}

impl Scalar for f64 {
    const EXPECTED: &'static str = "a number";

    /// Protobuf's JSON spells what JSON numbers cannot as `NaN`, `Infinity` and `-Infinity`; Rust reads all
    /// three.
    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn from_integer(value: i128) -> Option<Self> {
        Some(value as Self)
    }

    fn from_float(value: f64) -> Option<Self> {
        Some(value)
    }
}

/// An enum by number or, as Tempo writes it, by name. Numbers that are not known yet pass.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kind(pub(super) i32);

impl Scalar for Kind {
    const EXPECTED: &'static str = "a span kind: write 0 to 5, or a name such as SPAN_KIND_SERVER";

    fn from_text(text: &str) -> Option<Self> {
        text.parse()
            .ok()
            .or_else(|| SpanKind::from_str_name(text).map(i32::from))
            .map(Self)
    }

    fn from_integer(value: i128) -> Option<Self> {
        i32::try_from(value).ok().map(Self)
    }
}

/// A status code by number or by name.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Code(pub(super) i32);

impl Scalar for Code {
    const EXPECTED: &'static str = "a status code: write 0, 1 or 2, or a name such as STATUS_CODE_ERROR";

    fn from_text(text: &str) -> Option<Self> {
        text.parse()
            .ok()
            .or_else(|| StatusCode::from_str_name(text).map(i32::from))
            .map(Self)
    }

    fn from_integer(value: i128) -> Option<Self> {
        i32::try_from(value).ok().map(Self)
    }
}

/// A severity by number or by name.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Severity(pub(super) i32);

impl Scalar for Severity {
    const EXPECTED: &'static str = "a severity: write 1 to 24, or a name such as SEVERITY_NUMBER_INFO";

    fn from_text(text: &str) -> Option<Self> {
        text.parse()
            .ok()
            .or_else(|| SeverityNumber::from_str_name(text).map(i32::from))
            .map(Self)
    }

    fn from_integer(value: i128) -> Option<Self> {
        i32::try_from(value).ok().map(Self)
    }
}

/// A temporality by number or by name.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Temporality(pub(super) i32);

impl Scalar for Temporality {
    const EXPECTED: &'static str =
        "a temporality: write 1 or 2, or a name such as AGGREGATION_TEMPORALITY_DELTA";

    fn from_text(text: &str) -> Option<Self> {
        text.parse()
            .ok()
            .or_else(|| AggregationTemporality::from_str_name(text).map(i32::from))
            .map(Self)
    }

    fn from_integer(value: i128) -> Option<Self> {
        i32::try_from(value).ok().map(Self)
    }
}

/// A trace id: hexadecimal of any even length, or base64 of 16 bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct TraceId(pub(super) Vec<u8>);

impl Scalar for TraceId {
    const EXPECTED: &'static str = "a trace id: write 32 hexadecimal digits";

    fn from_text(text: &str) -> Option<Self> {
        id(text, 16).map(Self)
    }
}

/// A span id: hexadecimal of any even length, or base64 of 8 bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct SpanId(pub(super) Vec<u8>);

impl Scalar for SpanId {
    const EXPECTED: &'static str = "a span id: write 16 hexadecimal digits";

    fn from_text(text: &str) -> Option<Self> {
        id(text, 8).map(Self)
    }
}

/// Base64 of 8 or 16 bytes always ends in `=`, so no text is both.
fn id(text: &str, length: usize) -> Option<Vec<u8>> {
    hex_bytes(text)
        .or_else(|| base64_bytes(text).filter(|bytes| bytes.len() == length && text.ends_with('=')))
}

/// Bytes in base64.
#[derive(Debug, Clone, Default)]
pub(super) struct Base64(pub(super) Vec<u8>);

impl Scalar for Base64 {
    const EXPECTED: &'static str = "base64";

    fn from_text(text: &str) -> Option<Self> {
        base64_bytes(text).map(Self)
    }
}

/// The bytes of hexadecimal text of any case; `None` where it has an odd length or another character.
pub(crate) fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    if !odd.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?))
        .collect()
}

/// The bytes of base64 text in either alphabet, padded or not, as protobuf's JSON mapping asks.
pub(crate) fn base64_bytes(text: &str) -> Option<Vec<u8>> {
    const CONFIG: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}
