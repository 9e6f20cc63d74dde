//! The segment file, byte by byte.
//!
//! In: names, numbers and bytes. Out: the same in the layout of version 1, and back.
//! Left out on purpose: files. Reading and writing them stand beside this.
//!
//! ```text
//! header     magic, version and how many numbers before its own it stands for, shard, sequence, time of sealing,
//!            checksum
//! blocks     each zstd: count, then id and end of each trace, then their TracesData, newest trace first
//! sections   directory of blocks; table of ids; rows of its positions; starts; durations; errors; slices; dictionary
//! footer     counts and extremes, place and checksum of each section, checksum, magic
//! ```
//! Numbers are little endian, checksums CRC-32C. A row is a trace; rows are ordered by start, the newest first, and
//! those of one start by id.

use std::fmt;
use std::str::FromStr;

/// The version of the layout.
pub(crate) const VERSION: u16 = 1;
const MAGIC: u64 = u64::from_le_bytes(*b"tmtraces");
/// Bytes of a block before compression, at the most.
pub(crate) const MAX_BLOCK: u64 = 2 * crate::settings::MAX_TRACE_BYTES as u64;

/// A segment's name: which version, which shard, and the how-manieth.
///
/// A segment that was merged from others stands for all their numbers and takes their place: those that are younger
/// than its last part are younger than it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentName {
    /// Which shard's traces it holds.
    pub shard: u32,
    /// Segments are numbered as they are sealed; a number is never used twice in a directory's life. Of a merged
    /// segment, the number of its last part.
    pub sequence: u64,
    /// Number of the first part of a merged segment, otherwise `sequence`.
    pub first: u64,
    /// Version of the file format.
    pub version: u16,
}

impl SegmentName {
    /// Whether all that the other stands for is in this one, and more.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.first <= other.first && other.sequence <= self.sequence && !self.is_as_wide(other)
    }

    /// Whether some number is in both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.sequence && other.first <= self.sequence
    }

    /// How many numbers before its last it stands for.
    pub(crate) fn width(&self) -> u64 {
        self.sequence.saturating_sub(self.first)
    }

    fn is_as_wide(&self, other: &Self) -> bool {
        self.width() == other.width()
    }
}

/// A text that is no segment's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no segment name: they are as `traces-v1-s0-00000000000000000009.seg`, or with the first number of those \
     that were merged, `traces-v1-s0-00000000000000000009-00000000000000000001.seg`"
)]
pub struct SegmentNameError(String);

impl fmt::Display for SegmentName {
    /// The file's name; names of one shard sort by age.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            shard,
            sequence,
            first,
            version,
        } = self;
        write!(f, "traces-v{version}-s{shard}-{sequence:020}")?;
        if first != sequence {
            write!(f, "-{first:020}")?;
        }
        f.write_str(".seg")
    }
}

impl FromStr for SegmentName {
    type Err = SegmentNameError;

    fn from_str(text: &str) -> Result<Self, SegmentNameError> {
        let parse = || {
            let rest = text.strip_prefix("traces-v")?.strip_suffix(".seg")?;
            let (version, rest) = rest.split_once("-s")?;
            let (shard, numbers) = rest.split_once('-')?;
            let (sequence, first) = numbers.split_once('-').unwrap_or((numbers, numbers));
            Some(Self {
                shard: shard.parse().ok()?,
                sequence: sequence.parse().ok()?,
                first: first.parse().ok()?,
                version: version.parse().ok()?,
            })
        };
        // Other spellings of the same numbers are files that somebody else made.
        parse()
            .filter(|name| name.first <= name.sequence && name.to_string() == text)
            .ok_or_else(|| SegmentNameError(text.to_owned()))
    }
}

/// Words, little endian.
fn encode_words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn decode_words<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let (words, []) = bytes.as_chunks::<8>() else {
        return None;
    };
    let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
    words.try_into().ok()
}

/// Bytes of the header.
pub(crate) const HEADER: usize = 6 * 8;

/// The header of a segment sealed at `sealed_unix_nano`.
pub(crate) fn header(name: SegmentName, sealed_unix_nano: u64) -> Vec<u8> {
    let mut out = encode_words(&[
        MAGIC,
        u64::from(name.version) | name.width() << 16,
        name.shard.into(),
        name.sequence,
        sealed_unix_nano,
    ]);
    let checksum = crc32c::crc32c(&out);
    out.extend(u64::from(checksum).to_le_bytes());
    out
}

/// When the segment with this header was sealed; `None` where it is not the header of `name`.
pub(crate) fn sealed_at(bytes: &[u8], name: SegmentName) -> Option<u64> {
    let [.., sealed, _] = decode_words::<6>(bytes)?;
    (bytes == header(name, sealed)).then_some(sealed)
}

/// Where something stands in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) checksum: u32,
}

/// The sections, by their places in the footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Directory,
    Ids,
    Rows,
    Starts,
    Durations,
    Errors,
    /// Its own checksums stand in the slices.
    Slices,
    Dictionary,
}

/// How many sections there are.
pub(crate) const PARTS: usize = 8;

/// What the whole segment is like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) rows: u32,
    pub(crate) blocks: u32,
    pub(crate) spans: u64,
    /// Bytes of trace data before compression.
    pub(crate) raw_bytes: u64,
    pub(crate) min_start: u64,
    pub(crate) max_start: u64,
    pub(crate) max_duration: u64,
    /// Whether any trace has an error.
    pub(crate) error: bool,
    /// Bits of each block's filter.
    pub(crate) slice_bits: u32,
    /// Bytes of the dictionary before compression.
    pub(crate) dictionary_bytes: u64,
    pub(crate) sections: [Section; PARTS],
}

const FOOTER_WORDS: usize = 10 + 3 * PARTS;
/// Bytes of the footer.
pub(crate) const FOOTER: usize = (FOOTER_WORDS + 2) * 8;

impl Footer {
    pub(crate) fn section(&self, part: Part) -> Section {
        self.sections[part as usize]
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut words = vec![
            self.rows.into(),
            self.blocks.into(),
            self.spans,
            self.raw_bytes,
            self.min_start,
            self.max_start,
            self.max_duration,
            self.error.into(),
            self.slice_bits.into(),
            self.dictionary_bytes,
        ];
        for section in self.sections {
            words.extend([section.offset, section.len, section.checksum.into()]);
        }
        let mut out = encode_words(&words);
        let checksum = crc32c::crc32c(&out);
        out.extend(encode_words(&[checksum.into(), MAGIC]));
        out
    }

    /// `None` where the bytes are not the footer of a file of `file_len` bytes.
    pub(crate) fn decode(bytes: &[u8], file_len: u64) -> Option<Self> {
        let words = decode_words::<{ FOOTER_WORDS + 2 }>(bytes)?;
        let (own, _) = bytes.split_at_checked(FOOTER_WORDS * 8)?;
        let [head @ .., checksum, magic] = words;
        if magic != MAGIC || checksum != u64::from(crc32c::crc32c(own)) {
            return None;
        }
        let [
            rows,
            blocks,
            spans,
            raw_bytes,
            min_start,
            max_start,
            max_duration,
            error,
            slice_bits,
            dictionary_bytes,
            sections @ ..,
        ] = head;
        let (sections, []) = sections.as_chunks::<3>() else {
            return None;
        };
        let mut footer = Self {
            rows: rows.try_into().ok()?,
            blocks: blocks.try_into().ok()?,
            spans,
            raw_bytes,
            min_start,
            max_start,
            max_duration,
            error: error != 0,
            slice_bits: slice_bits.try_into().ok()?,
            dictionary_bytes: Some(dictionary_bytes).filter(|bytes| *bytes <= MAX_BLOCK)?,
            sections: [Section::default(); PARTS],
        };
        for (section, [offset, len, checksum]) in footer.sections.iter_mut().zip(sections) {
            let end = offset.checked_add(*len)?;
            if end > file_len {
                return None;
            }
            *section = Section {
                offset: *offset,
                len: *len,
                checksum: u32::try_from(*checksum).ok()?,
            };
        }
        Some(footer)
    }
}

/// Where a block stands, and which rows are in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockEntry {
    pub(crate) offset: u64,
    pub(crate) len: u32,
    /// Bytes before compression.
    pub(crate) raw_len: u32,
    pub(crate) first_row: u32,
    pub(crate) checksum: u32,
}

const ENTRY: usize = 24;

pub(crate) fn encode_directory(entries: &[BlockEntry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len() * ENTRY);
    for entry in entries {
        out.extend(entry.offset.to_le_bytes());
        let numbers = [entry.len, entry.raw_len, entry.first_row, entry.checksum];
        out.extend(numbers.into_iter().flat_map(u32::to_le_bytes));
    }
    out
}

/// `None` where the bytes are not a directory of `blocks` blocks and `rows` rows.
pub(crate) fn decode_directory(bytes: &[u8], blocks: u32, rows: u32) -> Option<Vec<BlockEntry>> {
    let (entries, []) = bytes.as_chunks::<ENTRY>() else {
        return None;
    };
    let number = |entry: &[u8; ENTRY], at: usize| {
        let bytes = entry.get(at..at + 4).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
    };
    let entries: Vec<_> = entries
        .iter()
        .map(|entry| BlockEntry {
            offset: u64::from(number(entry, 4)) << 32 | u64::from(number(entry, 0)),
            len: number(entry, 8),
            raw_len: number(entry, 12),
            first_row: number(entry, 16),
            checksum: number(entry, 20),
        })
        .collect();
    let sound = entries.len() == blocks as usize
        && entries.first().is_none_or(|first| first.first_row == 0)
        && entries.is_sorted_by(|a, b| a.first_row < b.first_row)
        && entries
            .iter()
            .all(|entry| entry.first_row < rows && u64::from(entry.raw_len) <= MAX_BLOCK);
    sound.then_some(entries)
}

const TRACE_ENTRY: usize = 20;

/// A block as it is before compression.
#[derive(Debug, Default)]
pub(crate) struct BlockBuilder {
    entries: Vec<u8>,
    data: Vec<u8>,
    count: u32,
}

impl BlockBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of trace data so far.
    pub(crate) fn data_len(&self) -> usize {
        self.data.len()
    }

    pub(crate) fn push(&mut self, id: [u8; 16], data: &[u8]) {
        self.data.extend_from_slice(data);
        self.entries.extend(id);
        self.entries.extend((self.data.len() as u32).to_le_bytes());
        self.count += 1;
    }

    /// The block's bytes; the builder is empty again.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 + self.entries.len() + self.data.len());
        out.extend(self.count.to_le_bytes());
        out.append(&mut self.entries);
        out.append(&mut self.data);
        self.count = 0;
        out
    }
}

/// A block, decompressed.
#[derive(Debug, Default)]
pub(crate) struct Block {
    raw: Vec<u8>,
    count: usize,
}

impl Block {
    /// `None` where the bytes are no block.
    pub(crate) fn decode(raw: Vec<u8>) -> Option<Self> {
        let count = u32::from_le_bytes(*raw.first_chunk()?) as usize;
        let within = count.checked_mul(TRACE_ENTRY)?.checked_add(4)? <= raw.len();
        within.then_some(Self { raw, count })
    }

    pub(crate) fn raw_len(&self) -> usize {
        self.raw.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The id and the bytes of the trace at `index`.
    pub(crate) fn trace(&self, index: usize) -> Option<([u8; 16], &[u8])> {
        let (id, end) = self.entry(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => self.entry(before)?.1,
            None => 0,
        };
        let data = self.raw.get(4 + self.count * TRACE_ENTRY..)?;
        Some((id, data.get(start..end)?))
    }

    /// The place of a trace in the block.
    pub(crate) fn find(&self, id: [u8; 16]) -> Option<&[u8]> {
        let index = (0..self.count).find(|index| self.entry(*index).is_some_and(|entry| entry.0 == id))?;
        Some(self.trace(index)?.1)
    }

    fn entry(&self, index: usize) -> Option<([u8; 16], usize)> {
        if index >= self.count {
            return None;
        }
        let entry = self
            .raw
            .get(4 + index * TRACE_ENTRY..)?
            .first_chunk::<TRACE_ENTRY>()?;
        let (id, end) = entry.split_first_chunk::<16>()?;
        Some((*id, u32::from_le_bytes(*end.first_chunk()?) as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAME: SegmentName = SegmentName {
        shard: 3,
        sequence: 42,
        first: 42,
        version: VERSION,
    };
    const MERGED: SegmentName = SegmentName { first: 40, ..NAME };

    #[test]
    fn a_name_reads_back_as_it_was_written_and_other_files_have_none() {
        assert_eq!(NAME.to_string(), "traces-v1-s3-00000000000000000042.seg");
        assert_eq!(NAME.to_string().parse(), Ok(NAME));
        let merged = "traces-v1-s3-00000000000000000042-00000000000000000040.seg";
        assert_eq!(MERGED.to_string(), merged);
        assert_eq!(MERGED.to_string().parse(), Ok(MERGED));
        for other in [
            "traces-v1-s3-42.seg",
            "traces-v1-s3-00000000000000000042-00000000000000000042.seg",
            "traces-v1-s3-00000000000000000042-00000000000000000043.seg",
            "traces-v1-s+3-00000000000000000042.seg",
            "notes.txt",
            "",
        ] {
            let message = other.parse::<SegmentName>().expect_err(other).to_string();
            assert!(
                message.starts_with(&format!("`{other}` is no segment name")),
                "{message}"
            );
        }
    }

    #[test]
    fn a_header_is_that_of_one_segment_only() {
        let bytes = header(NAME, 7);
        assert_eq!(bytes.len(), HEADER);
        assert_eq!(sealed_at(&bytes, NAME), Some(7));
        assert_eq!(sealed_at(&bytes, SegmentName { sequence: 43, ..NAME }), None);
        assert_eq!(sealed_at(&bytes, MERGED), None);
    }

    #[test]
    fn a_merged_segment_covers_its_parts_and_neither_itself_nor_others() {
        let one = |number| SegmentName {
            sequence: number,
            first: number,
            ..NAME
        };
        assert!(MERGED.covers(&one(40)) && MERGED.covers(&one(42)) && !MERGED.covers(&MERGED));
        assert!(!MERGED.covers(&one(39)) && !MERGED.covers(&one(43)) && !one(42).covers(&MERGED));
        assert!(one(42).overlaps(&MERGED) && MERGED.overlaps(&one(40)) && !MERGED.overlaps(&one(43)));
    }

    fn footer() -> Footer {
        let mut footer = Footer {
            rows: 5,
            blocks: 2,
            max_start: 9,
            error: true,
            ..Footer::default()
        };
        footer.sections[Part::Ids as usize] = Section {
            offset: 10,
            len: 90,
            checksum: 7,
        };
        footer
    }

    #[test]
    fn a_footer_reads_back_as_it_was_written() {
        let bytes = footer().encode();
        assert_eq!(bytes.len(), FOOTER);
        assert_eq!(Footer::decode(&bytes, 100), Some(footer()));
    }

    #[test]
    fn a_footer_whose_sections_reach_past_the_file_is_refused() {
        assert_eq!(Footer::decode(&footer().encode(), 99), None);
    }

    #[test]
    fn a_block_gives_each_trace_back() {
        let mut builder = BlockBuilder::default();
        builder.push([1; 16], b"one");
        builder.push([2; 16], b"");
        builder.push([3; 16], b"three");
        let block = Block::decode(builder.finish()).expect("a block");
        assert!(builder.is_empty());
        assert_eq!(block.trace(0), Some(([1; 16], &b"one"[..])));
        assert_eq!(block.trace(1), Some(([2; 16], &b""[..])));
        assert_eq!(block.find([3; 16]), Some(&b"three"[..]));
        assert_eq!((block.trace(3), block.find([4; 16])), (None, None));
    }

    proptest! {
        #[test]
        fn every_flipped_bit_of_a_footer_or_header_is_noticed(bit in 0..(FOOTER * 8)) {
            let mut bytes = footer().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Footer::decode(&bytes, 100), None);
            let mut bytes = header(NAME, 7);
            let bit = bit % (HEADER * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(sealed_at(&bytes, NAME), None);
        }

        #[test]
        fn noise_is_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), small in 0..9_u8) {
            let _ = Footer::decode(&bytes, 100);
            let _ = decode_directory(&bytes, 3, 9);
            let mut raw = bytes;
            // Small counts, so that some noise is a block.
            if let [first, second, third, fourth, ..] = &mut raw[..] {
                (*first, *second, *third, *fourth) = (small, 0, 0, 0);
            }
            if let Some(block) = Block::decode(raw) {
                for index in 0..10 {
                    let _ = block.trace(index);
                }
                let _ = block.find([0; 16]);
            }
        }
    }
}
