//! The hash that segment files are written with.
//!
//! In: a seed and bytes. Out: 64 well mixed bits, the same on every machine and in every version, because files
//! hold what depends on them.
//! Left out on purpose: resistance to chosen collisions. One costs a block that is read in vain, never a wrong answer.

use std::hash::{BuildHasher, Hasher};

const A: u64 = 0xa076_1d64_78bd_642f;
const B: u64 = 0xe703_7ed1_a0b4_28db;
const C: u64 = 0x8ebc_6af0_9c88_c6e3;

/// The hash of `bytes` under `seed`.
#[inline]
pub(crate) fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut state = seed ^ A;
    let mut rest = bytes;
    while let Some((chunk, tail)) = rest.split_first_chunk::<16>() {
        let [low, high] = halves(*chunk);
        state = fold(low ^ B, high ^ state);
        rest = tail;
    }
    let [low, high] = tail(rest);
    fold(fold(low ^ B, high ^ state), bytes.len() as u64 ^ C)
}

/// The hash of one number under `seed`.
#[inline]
pub(crate) fn hash_u64(seed: u64, number: u64) -> u64 {
    fold(fold(number ^ B, seed ^ A), C)
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

fn halves(chunk: [u8; 16]) -> [u64; 2] {
    let number = u128::from_le_bytes(chunk);
    [number as u64, (number >> 64) as u64]
}

/// Fewer than 16 bytes, as two numbers; the length is mixed in elsewhere.
#[inline]
fn tail(bytes: &[u8]) -> [u64; 2] {
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        [u64::from_le_bytes(*first), u64::from_le_bytes(*last)]
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        [
            u32::from_le_bytes(*first).into(),
            u32::from_le_bytes(*last).into(),
        ]
    } else {
        let number = bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte));
        [number, 0]
    }
}

/// For maps whose keys are hashes already.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash(self.0, bytes);
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

impl BuildHasher for Hashed {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_hash_is_the_one_that_files_on_disk_were_written_with() {
        let hashes = [hash(0, b""), hash(7, b"http.request.method"), hash_u64(7, 200)];
        assert_eq!(
            hashes,
            [
                11_912_144_113_143_032_851,
                17_701_445_775_430_189_380,
                15_049_014_522_645_786_289
            ]
        );
    }

    #[test]
    fn strings_of_any_length_that_differ_in_one_bit_have_different_hashes() {
        for len in 1..40 {
            let mut seen = HashSet::from([hash(1, &vec![0; len])]);
            for bit in 0..len * 8 {
                let mut bytes = vec![0; len];
                bytes[bit / 8] |= 1 << (bit % 8);
                assert!(seen.insert(hash(1, &bytes)), "length {len}, bit {bit}");
            }
        }
    }
}
