//! Ids and times as Jaeger and Zipkin write them.
//!
//! In: JSON numbers and strings. Out: ids of OTLP's length, times in nanoseconds.

use crate::json::{Scalar, hex_bytes};

/// An id of `N` bytes, written as 1 to 2 × `N` hexadecimal digits: 64-bit trace ids and dropped leading zeros
/// are filled up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PaddedId<const N: usize>([u8; N]);

impl<const N: usize> PaddedId<N> {
    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|&byte| byte == 0)
    }

    pub(super) fn into_vec(self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl<const N: usize> Scalar for PaddedId<N> {
    const EXPECTED: &'static str = if N == 8 {
        "a span id: write up to 16 hexadecimal digits"
    } else {
        "a trace id: write up to 32 hexadecimal digits"
    };

    fn from_text(text: &str) -> Option<Self> {
        let filled = format!("{text:0>width$}", width = 2 * N);
        let bytes = hex_bytes(&filled)?.try_into().ok()?;
        (!text.is_empty()).then_some(Self(bytes))
    }
}

/// A time or a duration in microseconds, not negative; fractions are dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Micros(u64);

impl Micros {
    pub(super) fn nanos(self) -> u64 {
        self.0.saturating_mul(1000)
    }

    /// The nanoseconds at which something ends that starts now and takes `duration`; no duration, however
    /// wild, overflows.
    pub(super) fn nanos_after(self, duration: Self) -> u64 {
        self.nanos().saturating_add(duration.nanos())
    }
}

impl Scalar for Micros {
    const EXPECTED: &'static str = "a number of microseconds";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }

    fn from_integer(value: i128) -> Option<Self> {
        value.try_into().ok().map(Self)
    }

    fn from_float(value: f64) -> Option<Self> {
        (value >= 0.0 && value < u64::MAX as f64).then_some(Self(value as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_id_is_filled_up_on_the_left() {
        let id = PaddedId::<16>::from_text("978883983d506fa5").expect("an id");
        assert_eq!(id.0, 0x9788_8398_3d50_6fa5_u128.to_be_bytes());
        assert_eq!(
            PaddedId::<8>::from_text("1Af"),
            Some(PaddedId(0x1af_u64.to_be_bytes()))
        );
    }

    #[test]
    fn what_is_no_id_is_none() {
        for text in ["", "xyz", "00112233445566778", "é", "+1"] {
            assert_eq!(PaddedId::<8>::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn the_wildest_duration_ends_at_the_end_of_time() {
        assert_eq!(Micros(1).nanos_after(Micros(2)), 3000);
        assert_eq!(Micros(u64::MAX).nanos_after(Micros(u64::MAX)), u64::MAX);
        assert_eq!(Micros::from_float(1.5), Some(Micros(1)));
        assert_eq!(Micros::from_float(f64::NAN), None);
        assert_eq!(Micros::from_integer(-1), None);
    }
}
