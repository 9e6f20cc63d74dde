//! Which blocks of a segment may hold a token: one Bloom filter for each block, stored by bit and not by block.
//!
//! In: the distinct tokens of each block. Out: for a token, the blocks that may have it. With the filters turned on
//! their side, that takes a few short reads for all blocks together, however many there are.
//! Left out on purpose: certainty. A block in about 1,500 is named in vain; none is ever left out.
//! Source: bit-sliced signatures (Goodwin et al., `BitFunnel`, SIGIR 2017), without their ranks.

use crate::hash::hash_u64;
use crate::tokens::Token;
use std::io;

/// Bits of a filter for each token of an average block.
const BITS_PER_TOKEN: u64 = 16;
/// Bits that a token sets.
const PROBES: u32 = 8;
/// Bits of a filter at the least and at the most.
const BITS: std::ops::RangeInclusive<u64> = 64..=1 << 24;
const CHECKSUM: usize = 4;

/// The shape of a segment's filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Bits of each block's filter.
    pub(crate) bits: u32,
    /// Filters.
    pub(crate) blocks: u32,
}

impl Shape {
    /// Bytes of one slice: its bit of every filter, and a checksum.
    fn stride(self) -> usize {
        (self.blocks as usize).div_ceil(8) + CHECKSUM
    }

    /// Bytes of all slices.
    pub(crate) fn bytes(self) -> u64 {
        self.stride() as u64 * u64::from(self.bits)
    }

    fn probes(self, token: Token) -> impl Iterator<Item = u32> {
        (0..PROBES).map(move |probe| {
            let mixed = hash_u64(u64::from(probe), token);
            (((mixed >> 32) * u64::from(self.bits)) >> 32) as u32
        })
    }
}

/// The slices of these blocks, one after the other.
pub(crate) fn build(blocks: &[Vec<Token>]) -> (Shape, Vec<u8>) {
    let tokens: u64 = blocks.iter().map(|block| block.len() as u64).sum();
    let average = tokens.div_ceil(blocks.len().max(1) as u64);
    let shape = Shape {
        bits: (average * BITS_PER_TOKEN).clamp(*BITS.start(), *BITS.end()) as u32,
        blocks: blocks.len() as u32,
    };
    let stride = shape.stride();
    let mut out = vec![0; shape.bytes() as usize];
    for (block, tokens) in blocks.iter().enumerate() {
        for probe in tokens.iter().flat_map(|token| shape.probes(*token)) {
            if let Some(byte) = out.get_mut(probe as usize * stride + block / 8) {
                *byte |= 1 << (block % 8);
            }
        }
    }
    for slice in out.chunks_exact_mut(stride) {
        if let Some((bits, checksum)) = slice.split_last_chunk_mut::<CHECKSUM>() {
            *checksum = crc32c::crc32c(bits).to_le_bytes();
        }
    }
    (shape, out)
}

/// A set of blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blocks(Vec<u8>);

impl Blocks {
    pub(crate) fn all(count: u32) -> Self {
        Self(vec![0xff; (count as usize).div_ceil(8)])
    }

    pub(crate) fn none(count: u32) -> Self {
        Self(vec![0; (count as usize).div_ceil(8)])
    }

    pub(crate) fn contains(&self, block: u32) -> bool {
        let byte = self.0.get(block as usize / 8).copied().unwrap_or_default();
        byte & 1 << (block % 8) != 0
    }

    pub(crate) fn intersect(&mut self, other: &[u8]) {
        self.0
            .iter_mut()
            .zip(other)
            .for_each(|(own, other)| *own &= other);
    }

    pub(crate) fn unite(&mut self, other: &[u8]) {
        self.0
            .iter_mut()
            .zip(other)
            .for_each(|(own, other)| *own |= other);
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }
}

/// The blocks that may hold `token`. `read` fills a buffer from an offset within the slices; a slice whose checksum
/// is wrong excludes nothing and is reported to `damaged`.
///
/// # Errors
/// Those of `read`.
pub(crate) fn blocks_with(
    shape: Shape,
    token: Token,
    mut read: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
    mut damaged: impl FnMut(),
) -> io::Result<Blocks> {
    let mut found = Blocks::all(shape.blocks);
    let mut slice = vec![0; shape.stride()];
    for probe in shape.probes(token) {
        read(u64::from(probe) * slice.len() as u64, &mut slice)?;
        match slice.split_last_chunk::<CHECKSUM>() {
            Some((bits, checksum)) if crc32c::crc32c(bits).to_le_bytes() == *checksum => {
                found.intersect(bits);
            }
            _ => damaged(),
        }
        if found.is_empty() {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks_of(built: &(Shape, Vec<u8>), token: Token) -> (Vec<u32>, u32) {
        let mut damaged = 0;
        let read = |at: u64, into: &mut [u8]| {
            into.copy_from_slice(&built.1[at as usize..][..into.len()]);
            Ok(())
        };
        let found = blocks_with(built.0, token, read, || damaged += 1).expect("memory can be read");
        (
            (0..built.0.blocks)
                .filter(|block| found.contains(*block))
                .collect(),
            damaged,
        )
    }

    fn tokens(block: u64, count: u64) -> Vec<Token> {
        (0..count).map(|token| hash_u64(block, token)).collect()
    }

    #[test]
    fn a_token_is_found_in_every_block_that_has_it() {
        let built = build(&[vec![1, 2], vec![2, 3], vec![], vec![2]]);
        let (found, _) = blocks_of(&built, 2);
        assert!([0, 1, 3].iter().all(|block| found.contains(block)), "{found:?}");
    }

    #[test]
    fn a_token_that_no_block_has_is_found_in_few() {
        let built = build(&(0..100).map(|block| tokens(block, 1_000)).collect::<Vec<_>>());
        let vain: usize = (0..1_000)
            .map(|token| blocks_of(&built, hash_u64(1_000, token)).0.len())
            .sum();
        assert!(vain < 150, "{vain} of 100,000");
    }

    #[test]
    fn a_damaged_slice_excludes_no_block_and_is_reported() {
        let mut built = build(&[vec![1], vec![2]]);
        built.1.fill(0x5a);
        assert_eq!(blocks_of(&built, 1), (vec![0, 1], PROBES));
    }

    #[test]
    fn a_segment_without_blocks_has_no_tokens() {
        assert_eq!(blocks_of(&build(&[]), 1), (vec![], 0));
    }
}
