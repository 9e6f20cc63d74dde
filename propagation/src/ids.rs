//! Trace and span ids, and where new ones come from.
//!
//! In: bytes or hex. Out: [`TraceId`] and [`SpanId`], which are never all zero.
//! Left out on purpose: a random generator. The caller brings an [`IdSource`], so a test can bring counted
//! ids.

use std::fmt;
use std::str::FromStr;

use crate::text::{from_lower_hex, push_lower_hex};

/// 16 bytes, not all zero (W3C Trace Context, `trace-id`). [`TraceId::from_bytes`] and `FromStr` are the only
/// ways in.
///
/// Shown and read as 32 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId([u8; 16]);

/// 8 bytes, not all zero (W3C Trace Context, `parent-id`). [`SpanId::from_bytes`] and `FromStr` are the only
/// ways in.
///
/// Shown and read as 16 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId([u8; 8]);

/// Where new ids come from: a random generator in production, counters in a test.
///
/// New traces claim the `random` flag, so the right-most 7 bytes of a trace id must be uniformly random
/// (W3C Trace Context Level 2, "random-trace-id flag"). A pair of closures is an `IdSource` too.
pub trait IdSource {
    /// 16 fresh bytes for a trace id.
    fn trace_id(&mut self) -> [u8; 16];
    /// 8 fresh bytes for a span id.
    fn span_id(&mut self) -> [u8; 8];
}

impl<T: FnMut() -> [u8; 16], S: FnMut() -> [u8; 8]> IdSource for (T, S) {
    fn trace_id(&mut self) -> [u8; 16] {
        self.0()
    }

    fn span_id(&mut self) -> [u8; 8] {
        self.1()
    }
}

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Wrong length, upper case, or not hex at all.
    #[error("id `{value}` is not {digits} lower-case hex digits")]
    NotLowerHex {
        /// The text as written.
        value: String,
        /// How many digits it should have: 32 for a trace id, 16 for a span id.
        digits: usize,
    },
    /// The specification reserves zero for "no id".
    #[error("id `{value}` is all zero, which means no id")]
    AllZero {
        /// The text as written.
        value: String,
    },
}

macro_rules! id {
    ($name:ident, $bytes:literal, $fresh:ident) => {
        impl $name {
            /// The id with these bytes; `None` if all are zero.
            pub fn from_bytes(bytes: [u8; $bytes]) -> Option<Self> {
                (bytes != [0; $bytes]).then_some(Self(bytes))
            }

            /// A new id. All zero bytes from the source become an id that ends in 1: unlikely from a sound
            /// generator, and asking a broken one again might never end.
            pub fn generate(ids: &mut impl IdSource) -> Self {
                let mut bytes = ids.$fresh();
                if bytes == [0; $bytes] {
                    bytes[$bytes - 1] = 1;
                }
                Self(bytes)
            }

            /// The id's bytes, most significant first.
            pub fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut hex = String::with_capacity(2 * $bytes);
                push_lower_hex(&mut hex, &self.0);
                f.pad(&hex)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(value: &str) -> Result<Self, IdError> {
                let bytes = from_lower_hex(value.as_bytes()).ok_or_else(|| IdError::NotLowerHex {
                    value: value.to_owned(),
                    digits: 2 * $bytes,
                })?;
                Self::from_bytes(bytes).ok_or_else(|| IdError::AllZero {
                    value: value.to_owned(),
                })
            }
        }
    };
}

id!(TraceId, 16, trace_id);
id!(SpanId, 8, span_id);

impl TraceId {
    /// The right-most 8 bytes: all that a tracer with 64-bit trace ids sees of it.
    pub(crate) fn low_half(self) -> u64 {
        u128::from_be_bytes(self.0) as u64
    }

    /// The left-most 8 bytes.
    pub(crate) fn high_half(self) -> u64 {
        (u128::from_be_bytes(self.0) >> 64) as u64
    }

    /// Whether the id fits into 64 bits.
    pub(crate) fn is_short(self) -> bool {
        u128::from_be_bytes(self.0) <= u128::from(u64::MAX)
    }
}
