//! The compressions of record batches: gzip, Snappy, LZ4 and Zstandard, as Kafka's clients write them.
//!
//! In: the records of a batch. Out: the same ones smaller or larger, never more than a bound.
//! Left out on purpose: levels. The client's are not known; the codecs' own defaults are those of the Java client.

use std::io::{Read, Write as _};

use super::batch::Broken;

/// How a batch was compressed, and will be again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Gzip,
    /// One Snappy block and nothing about it, as librdkafka writes.
    Snappy,
    /// Blocks behind a header, as Java's `SnappyOutputStream` writes.
    SnappyStream,
    Lz4,
    Zstd,
}

/// What begins a stream of Snappy blocks: its name, its version, and the oldest version that reads it.
const SNAPPY_STREAM: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
/// Bytes in a block of it, as Java's clients have it.
const SNAPPY_BLOCK: usize = 32 * 1024;
/// A copy takes three bytes and yields at most 64: what claims more is lying.
const SNAPPY_GAIN: usize = 64 / 3 + 1;
/// The largest window that a decoder must offer (RFC 8878, section 3.1.1.1.2); more is memory that a few bytes ask for.
const ZSTD_WINDOW_LOG: u32 = 23;

impl Codec {
    /// By the number in a batch's attributes and what its records begin with; `None` where nobody knows it.
    pub(super) fn of(number: u8, records: &[u8]) -> Option<Self> {
        match number {
            1 => Some(Self::Gzip),
            2 if records.starts_with(SNAPPY_STREAM.get(..8)?) => Some(Self::SnappyStream),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Appends to `out` what `bytes` hold.
    ///
    /// # Errors
    /// They are not such bytes, go on behind their end, or hold more than `most` bytes.
    pub(super) fn decompress(self, bytes: &[u8], most: usize, out: &mut Vec<u8>) -> Result<(), Broken> {
        match self {
            Self::Gzip => {
                let mut decoder = flate2::bufread::GzDecoder::new(bytes);
                read(&mut decoder, most, out)?;
                nothing_more(decoder.get_ref())
            }
            Self::Snappy => snappy_block(bytes, most, out),
            Self::SnappyStream => snappy_stream(bytes, most, out),
            Self::Lz4 => {
                let mut decoder = lz4_flex::frame::FrameDecoder::new(bytes);
                read(&mut decoder, most, out)?;
                nothing_more(decoder.get_ref())
            }
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(|_| Broken)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(|_| Broken)?;
                read(&mut decoder, most, out)
            }
        }
    }

    /// Appends `bytes`, compressed.
    pub(super) fn compress(self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        match self {
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
                encoder
                    .write_all(bytes)
                    .and_then(|()| encoder.finish())
                    .map_err(|_| Broken)?;
            }
            Self::Snappy => put_snappy_block(bytes, out)?,
            Self::SnappyStream => {
                out.extend_from_slice(&SNAPPY_STREAM);
                for block in bytes.chunks(SNAPPY_BLOCK) {
                    let length = out.len();
                    out.extend_from_slice(&[0; 4]);
                    put_snappy_block(block, out)?;
                    let written = (out.len() - length - 4) as u32;
                    let field = out.get_mut(length..length + 4).ok_or(Broken)?;
                    field.copy_from_slice(&written.to_be_bytes());
                }
            }
            Self::Lz4 => {
                // Java's reader takes independent blocks only.
                let form = lz4_flex::frame::FrameInfo::new()
                    .block_mode(lz4_flex::frame::BlockMode::Independent)
                    .block_size(lz4_flex::frame::BlockSize::Max64KB);
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(form, out);
                encoder.write_all(bytes).map_err(|_| Broken)?;
                encoder.finish().map_err(|_| Broken)?;
            }
            Self::Zstd => {
                zstd::stream::copy_encode(bytes, out, zstd::DEFAULT_COMPRESSION_LEVEL).map_err(|_| Broken)?;
            }
        }
        Ok(())
    }
}

fn read(decoder: &mut impl Read, most: usize, out: &mut Vec<u8>) -> Result<(), Broken> {
    let read = decoder
        .take(most as u64 + 1)
        .read_to_end(out)
        .map_err(|_| Broken)?;
    if read > most { Err(Broken) } else { Ok(()) }
}

fn nothing_more(rest: &[u8]) -> Result<(), Broken> {
    if rest.is_empty() { Ok(()) } else { Err(Broken) }
}

fn snappy_block(block: &[u8], most: usize, out: &mut Vec<u8>) -> Result<(), Broken> {
    let length = snap::raw::decompress_len(block).map_err(|_| Broken)?;
    if length > most || length > block.len().saturating_mul(SNAPPY_GAIN) {
        return Err(Broken);
    }
    let start = out.len();
    out.resize(start + length, 0);
    let room = out.get_mut(start..).ok_or(Broken)?;
    let written = snap::raw::Decoder::new()
        .decompress(block, room)
        .map_err(|_| Broken)?;
    if written == length { Ok(()) } else { Err(Broken) }
}

fn snappy_stream(bytes: &[u8], most: usize, out: &mut Vec<u8>) -> Result<(), Broken> {
    let (start, mut rest) = (out.len(), bytes.get(SNAPPY_STREAM.len()..).ok_or(Broken)?);
    while !rest.is_empty() {
        let (length, blocks) = rest.split_first_chunk().ok_or(Broken)?;
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| Broken)?;
        let (block, others) = blocks.split_at_checked(length).ok_or(Broken)?;
        snappy_block(block, most.saturating_sub(out.len() - start), out)?;
        rest = others;
    }
    Ok(())
}

fn put_snappy_block(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
    let start = out.len();
    out.resize(start + snap::raw::max_compress_len(bytes.len()), 0);
    let room = out.get_mut(start..).ok_or(Broken)?;
    let written = snap::raw::Encoder::new()
        .compress(bytes, room)
        .map_err(|_| Broken)?;
    out.truncate(start + written);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [(u8, Codec); 5] = [
        (1, Codec::Gzip),
        (2, Codec::Snappy),
        (2, Codec::SnappyStream),
        (3, Codec::Lz4),
        (4, Codec::Zstd),
    ];

    fn compressed(codec: Codec, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        codec.compress(bytes, &mut out).expect("any bytes");
        out
    }

    fn plain(codec: Codec, bytes: &[u8], most: usize) -> Result<Vec<u8>, Broken> {
        let mut out = Vec::new();
        codec.decompress(bytes, most, &mut out).map(|()| out)
    }

    #[test]
    fn every_codec_gives_back_what_it_took_and_is_known_by_it() {
        let bytes: Vec<u8> = (0..100_000_u32)
            .flat_map(|word| (word / 7).to_be_bytes())
            .collect();
        for (number, codec) in ALL {
            let small = compressed(codec, &bytes);
            assert_eq!(Codec::of(number, &small), Some(codec));
            assert!(small.len() < bytes.len(), "{codec:?}");
            assert_eq!(
                plain(codec, &small, bytes.len()).as_deref(),
                Ok(bytes.as_slice()),
                "{codec:?}"
            );
        }
        assert_eq!(Codec::of(5, &[]), None);
    }

    #[test]
    fn a_bomb_ends_at_the_bound() {
        let bytes = vec![0; 4 << 20];
        for (_, codec) in ALL {
            let small = compressed(codec, &bytes);
            assert_eq!(plain(codec, &small, bytes.len() - 1), Err(Broken), "{codec:?}");
            let mut out = Vec::new();
            let _ = codec.decompress(&small, 1000, &mut out);
            assert!(out.capacity() < 256 << 10, "{codec:?}: {}", out.capacity());
        }
    }

    #[test]
    fn a_snappy_block_that_claims_more_than_it_can_hold_is_refused_before_memory_is_asked_for() {
        let mut claim = Vec::new();
        super::super::wire::put_uvarint(&mut claim, 30 << 20);
        claim.extend_from_slice(&[0; 16]);
        let mut out = Vec::new();
        assert_eq!(Codec::Snappy.decompress(&claim, 32 << 20, &mut out), Err(Broken));
        assert_eq!(out.capacity(), 0);
    }

    #[test]
    fn a_window_of_a_hundred_megabytes_is_refused() {
        // Magic; a window descriptor of 2^27; an empty last block.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x01, 0x00, 0x00];
        assert_eq!(plain(Codec::Zstd, &frame, 100), Err(Broken));
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3, 0x01, 0x00, 0x00];
        assert_eq!(plain(Codec::Zstd, &frame, 100), Ok(Vec::new()));
    }

    #[test]
    fn what_follows_the_end_is_no_part_of_it() {
        for codec in [Codec::Gzip, Codec::Lz4, Codec::Zstd, Codec::SnappyStream] {
            let mut bytes = compressed(codec, b"all there is");
            bytes.extend_from_slice(&[1, 2, 3]);
            assert_eq!(plain(codec, &bytes, 100), Err(Broken), "{codec:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_pass_the_bound(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for (number, codec) in ALL {
                if let Ok(out) = plain(codec, &bytes, 1000) {
                    prop_assert!(out.len() <= 1000);
                }
                // And those that begin well.
                let mut begun = compressed(codec, b"the beginning of something longer than that");
                begun.truncate(begun.len() / 2);
                begun.extend_from_slice(&bytes);
                let _ = plain(codec, &begun, 1000);
                let _ = Codec::of(number, &bytes);
            }
        }
    }
}
