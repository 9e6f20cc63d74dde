//! Which traces a segment has, and where, in about 18 bits each.
//!
//! In: trace ids in the order of their rows. Out: for an id, the positions that may be its; others, seldom.
//! Left out on purpose: certainty. One id in about 4,000 that a segment does not have is looked for in vain.

use crate::hash::hash;

/// Traces that share a bucket, on average.
const BUCKET: u64 = 16;
const ID_SEED: u64 = 0x1d;

/// Sixteen bits of each id, in buckets by other bits of it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Ids {
    /// Where each bucket begins in `fingerprints`, and at last where all end.
    starts: Vec<u32>,
    fingerprints: Vec<u16>,
}

impl Ids {
    /// The table, and for each of its positions the row of the trace there.
    pub(crate) fn build(ids: &[[u8; 16]]) -> (Self, Vec<u32>) {
        let buckets = (ids.len() as u64 / BUCKET).max(1);
        let mut entries: Vec<(u32, u16, u32)> = ids
            .iter()
            .zip(0..)
            .map(|(id, row)| {
                let hash = hash(ID_SEED, id);
                (bucket(hash, buckets), hash as u16, row)
            })
            .collect();
        entries.sort_unstable();
        let mut starts = vec![0; buckets as usize + 1];
        for (bucket, ..) in &entries {
            if let Some(next) = starts.get_mut(*bucket as usize + 1) {
                *next += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let fingerprints = entries.iter().map(|entry| entry.1).collect();
        (
            Self { starts, fingerprints },
            entries.iter().map(|entry| entry.2).collect(),
        )
    }

    /// The positions that may be those of `id`.
    pub(crate) fn candidates(&self, id: [u8; 16]) -> impl Iterator<Item = u32> + '_ {
        let hash = hash(ID_SEED, &id);
        let bucket = bucket(hash, (self.starts.len() as u64).saturating_sub(1)) as usize;
        let at = |bucket: usize| self.starts.get(bucket).copied().unwrap_or_default();
        let start = at(bucket);
        let within = self
            .fingerprints
            .get(start as usize..at(bucket + 1) as usize)
            .unwrap_or_default();
        (start..)
            .zip(within)
            .filter_map(move |(position, found)| (*found == hash as u16).then_some(position))
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.starts.len() * 4 + self.fingerprints.len() * 2
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 + self.bytes());
        out.extend((self.starts.len() as u32).to_le_bytes());
        out.extend(self.starts.iter().flat_map(|start| start.to_le_bytes()));
        out.extend(self.fingerprints.iter().flat_map(|bits| bits.to_le_bytes()));
        out
    }

    /// `None` where the bytes are not such a table of `rows` traces.
    pub(crate) fn decode(bytes: &[u8], rows: usize) -> Option<Self> {
        let (count, rest) = bytes.split_first_chunk::<4>()?;
        let (starts, fingerprints) =
            rest.split_at_checked((u32::from_le_bytes(*count) as usize).checked_mul(4)?)?;
        let (starts, _) = starts.as_chunks::<4>();
        let (fingerprints, []) = fingerprints.as_chunks::<2>() else {
            return None;
        };
        let starts: Vec<u32> = starts.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        let sound = starts.is_sorted() && starts.len() > 1 && *starts.last()? as usize == fingerprints.len();
        (sound && fingerprints.len() == rows).then(|| Self {
            starts,
            fingerprints: fingerprints
                .iter()
                .map(|bytes| u16::from_le_bytes(*bytes))
                .collect(),
        })
    }
}

fn bucket(hash: u64, buckets: u64) -> u32 {
    (((hash >> 32) * buckets) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(count: u32) -> Vec<[u8; 16]> {
        (0..count)
            .map(|number| u128::from(number).to_be_bytes())
            .collect()
    }

    #[test]
    fn every_id_is_found_at_a_position_whose_row_is_its_own() {
        for count in [0, 1, 15, 16, 17, 5_000] {
            let ids = ids(count);
            let (table, rows) = Ids::build(&ids);
            for (row, id) in ids.iter().enumerate() {
                let found = table
                    .candidates(*id)
                    .any(|position| rows[position as usize] as usize == row);
                assert!(found, "row {row} of {count}");
            }
        }
    }

    #[test]
    fn few_ids_are_looked_for_in_vain() {
        let (table, _) = Ids::build(&ids(20_000));
        let vain = (1_000_000_u128..1_100_000).filter(|id| table.candidates(id.to_be_bytes()).count() > 0);
        let vain = vain.count();
        assert!(vain < 60, "{vain} of 100,000");
    }

    #[test]
    fn a_table_reads_back_as_it_was_written() {
        let (table, _) = Ids::build(&ids(100));
        assert_eq!(Ids::decode(&table.encode(), 100), Some(table));
    }

    proptest! {
        #[test]
        fn noise_is_refused_or_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), rows in 0..20_usize) {
            if let Some(table) = Ids::decode(&bytes, rows) {
                prop_assert!(table.candidates([7; 16]).all(|position| (position as usize) < rows));
            }
        }
    }
}
