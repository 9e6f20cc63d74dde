//! How many different values were wanted, whether they were let in or not.
//!
//! In: hashes of values. Out: an estimate of how many are different, in 4 KiB, within about 3 %.
//! Left out on purpose: the values.
//! Source: Flajolet, Fusy, Gandouet, Meunier, "`HyperLogLog`" (2007); with 64-bit hashes its correction for large
//! numbers is not needed.

/// Bits of the hash that choose a register.
const PRECISION: u32 = 12;
const REGISTERS: usize = 1 << PRECISION;

/// A `HyperLogLog` with 4096 registers: standard error 1.6 %.
#[derive(Clone, Debug)]
pub(crate) struct Demand {
    registers: Box<[u8]>,
}

impl Default for Demand {
    fn default() -> Self {
        Self {
            registers: vec![0; REGISTERS].into_boxed_slice(),
        }
    }
}

impl Demand {
    /// Adds a value by its hash, of which all 64 bits must be random.
    pub(crate) fn add(&mut self, hash: u64) {
        let rest = hash << PRECISION | 1 << (PRECISION - 1);
        let rank = rest.leading_zeros() as u8 + 1;
        if let Some(register) = self.registers.get_mut((hash >> (64 - PRECISION)) as usize) {
            *register = rank.max(*register);
        }
    }

    /// How many different hashes were added.
    pub(crate) fn estimate(&self) -> u64 {
        let m = REGISTERS as f64;
        let sum: f64 = self.registers.iter().map(|&rank| (-f64::from(rank)).exp2()).sum();
        let raw = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
        let empty: f64 = self
            .registers
            .iter()
            .map(|&rank| f64::from(u8::from(rank == 0)))
            .sum();
        let estimate = if raw <= 2.5 * m && empty > 0.0 {
            m * (m / empty).ln()
        } else {
            raw
        };
        estimate.round() as u64
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

    use super::*;

    #[test]
    fn the_estimate_is_within_five_percent_from_one_to_a_million() {
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let mut demand = Demand::default();
        assert_eq!(demand.estimate(), 0);
        let mut added: u64 = 0;
        for target in [1, 10, 1_000, 10_000, 100_000, 1_000_000] {
            while added < target {
                demand.add(hasher.hash_one(added));
                demand.add(hasher.hash_one(added / 2));
                added += 1;
            }
            let error = demand.estimate() as f64 / target as f64 - 1.0;
            assert!(error.abs() < 0.05, "{} instead of {target}", demand.estimate());
        }
    }
}
