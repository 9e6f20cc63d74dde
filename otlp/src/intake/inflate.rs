//! Decompression of HTTP bodies, bounded.
//!
//! In: compressed bytes from anywhere and a limit. Out: what they hold, or why not.
//! Left out on purpose: deflate and brotli, which no OTLP sender uses by default; streaming, as the bytes must
//! be whole before anything reads them.

use bytes::Bytes;
use std::io::Read;

/// How an HTTP body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Identity,
    Gzip,
    Zstd,
}

impl Compression {
    /// The one that a `Content-Encoding` names; `None` where it is not served.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Why bytes were not decompressed.
#[derive(Debug)]
pub(super) enum InflateError {
    TooLarge,
    Broken(std::io::Error),
}

/// A zstd frame may ask for a window before it says anything else: 2^26 bytes at most.
const ZSTD_WINDOW_LOG_MAX: u32 = 26;

/// What `compressed` holds; no more than `limit` bytes are ever kept.
pub(super) fn inflate(
    compression: Compression,
    compressed: Bytes,
    limit: usize,
) -> Result<Bytes, InflateError> {
    match compression {
        Compression::Identity => Ok(compressed),
        Compression::Gzip => read_bounded(flate2::bufread::MultiGzDecoder::new(&compressed[..]), limit),
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(&compressed[..]).map_err(InflateError::Broken)?;
            decoder
                .window_log_max(ZSTD_WINDOW_LOG_MAX)
                .map_err(InflateError::Broken)?;
            read_bounded(decoder, limit)
        }
    }
}

fn read_bounded(decoder: impl Read, limit: usize) -> Result<Bytes, InflateError> {
    let mut out = Vec::new();
    let one_more = limit as u64 + 1;
    decoder
        .take(one_more)
        .read_to_end(&mut out)
        .map_err(InflateError::Broken)?;
    if out.len() > limit {
        Err(InflateError::TooLarge)
    } else {
        Ok(out.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write as _;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).expect("a vector takes all");
        encoder.finish().expect("a vector takes all")
    }

    #[test]
    fn a_body_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
        let compressed = Bytes::from(gzip(&[7; 1000]));
        assert!(
            matches!(inflate(Compression::Gzip, compressed.clone(), 1000), Ok(body) if body.len() == 1000)
        );
        assert!(matches!(
            inflate(Compression::Gzip, compressed, 999),
            Err(InflateError::TooLarge)
        ));
    }

    #[test]
    fn gzip_members_one_after_the_other_are_one_body() {
        let joined = Bytes::from([gzip(b"one "), gzip(b"two")].concat());
        assert!(matches!(inflate(Compression::Gzip, joined, 100), Ok(body) if body[..] == *b"one two"));
    }

    #[test]
    fn a_body_that_is_cut_off_is_broken() {
        for (compression, whole) in [
            (Compression::Gzip, gzip(&[1; 100])),
            (
                Compression::Zstd,
                zstd::encode_all(&[1; 100][..], 1).expect("a vector takes all"),
            ),
        ] {
            let cut = Bytes::copy_from_slice(&whole[..whole.len() - 3]);
            assert!(
                matches!(inflate(compression, cut, 1000), Err(InflateError::Broken(_))),
                "{compression:?}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_decompression_panic_or_exceed_its_limit(
            mut noise in prop::collection::vec(any::<u8>(), 0..300),
            form in 0..3,
        ) {
            let compression = if form == 0 { Compression::Gzip } else { Compression::Zstd };
            if form == 2 {
                noise.splice(0..0, *b"\x28\xb5\x2f\xfd");
            }
            if let Ok(body) = inflate(compression, noise.into(), 64) {
                prop_assert!(body.len() <= 64);
            }
        }
    }
}
