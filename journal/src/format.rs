//! How segments and records look on disk; the layout stands in the crate's documentation.
//!
//! In: fields, or bytes of unknown origin. Out: bytes, or fields whose checksum fits.
//! Left out on purpose: files.

use crate::record::NewRecord;

/// Longest payload of a record: the 64 MiB that an OTLP body may have, and room for what a caller puts around it.
pub const MAX_PAYLOAD: usize = (64 << 20) + (4 << 20);
/// The version that this program writes and reads.
pub(crate) const FORMAT_VERSION: u8 = 1;
/// Bytes before the first record of a segment.
pub(crate) const SEGMENT_HEADER: u64 = 2 * HEADER_COPY as u64;
/// Bytes of a record before its payload.
pub(crate) const RECORD_HEADER: usize = 36;
/// Begins each record. No byte of it occurs in UTF-8 text.
pub(crate) const MARKER: [u8; 4] = [0xF5, 0xC1, 0xFE, 0xC0];

const MAGIC: [u8; 8] = *b"tmjrnl\r\n";
const HEADER_COPY: usize = 64;
const SUFFIX: &str = ".log";

/// An opening goes on from numbers below this; from here to the end of [`NUMBERS`] nobody counts.
pub(crate) const LAST_START: u64 = 1 << 62;

/// Name of a segment's file.
pub(crate) fn segment_name(number: u64) -> String {
    format!("{number:020}{SUFFIX}")
}

/// Numbers of segments and records lie in here, so that counting on from them never overflows.
const NUMBERS: std::ops::Range<u64> = 1..1 << 63;

/// The number in a segment's file name; `None` for every other file.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let is_number = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    is_number
        .then(|| digits.parse().ok())
        .flatten()
        .filter(|number| NUMBERS.contains(number))
}

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) stream: u32,
    pub(crate) number: u64,
    pub(crate) first_sequence: u64,
    pub(crate) salt: u32,
}

/// What the first bytes of a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentStart {
    Header(SegmentHeader),
    OtherVersion(u8),
    Damaged,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER as usize] {
        let mut copy = Vec::with_capacity(HEADER_COPY);
        copy.extend(MAGIC);
        copy.extend([FORMAT_VERSION, 0, 0, 0]);
        copy.extend(self.stream.to_le_bytes());
        copy.extend(self.number.to_le_bytes());
        copy.extend(self.first_sequence.to_le_bytes());
        copy.extend(self.salt.to_le_bytes());
        copy.resize(HEADER_COPY - 4, 0);
        copy.extend(crc32c::crc32c(&copy).to_le_bytes());
        let mut both = [0; SEGMENT_HEADER as usize];
        both[..HEADER_COPY].copy_from_slice(&copy);
        both[HEADER_COPY..].copy_from_slice(&copy);
        both
    }

    /// Reads the first copy that is whole and belongs to segment `number`: a block of another segment may stand in
    /// its place.
    pub(crate) fn decode(bytes: &[u8], number: u64) -> SegmentStart {
        bytes
            .chunks_exact(HEADER_COPY)
            .take(2)
            .filter_map(decode_copy)
            .find(|start| !matches!(start, SegmentStart::Header(header) if header.number != number))
            .unwrap_or(SegmentStart::Damaged)
    }
}

fn decode_copy(copy: &[u8]) -> Option<SegmentStart> {
    let (covered, crc) = copy.split_last_chunk::<4>()?;
    let mut fields = Fields(covered.strip_prefix(&MAGIC)?);
    if crc32c::crc32c(covered) != u32::from_le_bytes(*crc) {
        return None;
    }
    let [version, ..] = fields.take::<4>()?;
    if version != FORMAT_VERSION {
        return Some(SegmentStart::OtherVersion(version));
    }
    let header = SegmentHeader {
        stream: fields.u32()?,
        number: fields.u64()?,
        first_sequence: fields.u64()?,
        salt: fields.u32()?,
    };
    NUMBERS
        .contains(&header.first_sequence)
        .then_some(SegmentStart::Header(header))
}

/// What stands before a record's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) body_crc: u32,
    pub(crate) payload_len: u32,
    pub(crate) sequence: u64,
    pub(crate) time: u64,
    pub(crate) key_len: u8,
}

impl RecordHeader {
    pub(crate) fn encode(&self, salt: u32) -> [u8; RECORD_HEADER] {
        let mut covered = [0; RECORD_HEADER - 8];
        covered[0..4].copy_from_slice(&self.body_crc.to_le_bytes());
        covered[4..8].copy_from_slice(&self.payload_len.to_le_bytes());
        covered[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        covered[16..24].copy_from_slice(&self.time.to_le_bytes());
        covered[24] = self.key_len;
        let mut header = [0; RECORD_HEADER];
        header[0..4].copy_from_slice(&MARKER);
        header[4..8].copy_from_slice(&crc32c::crc32c_append(salt, &covered).to_le_bytes());
        header[8..].copy_from_slice(&covered);
        header
    }

    /// `None` unless the bytes begin with a header of a segment with this salt.
    pub(crate) fn decode(bytes: &[u8], salt: u32) -> Option<Self> {
        let (crc, rest) = bytes.strip_prefix(&MARKER)?.split_first_chunk::<4>()?;
        let covered = rest.get(..RECORD_HEADER - 8)?;
        if crc32c::crc32c_append(salt, covered) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut fields = Fields(covered);
        let header = Self {
            body_crc: fields.u32()?,
            payload_len: fields.u32()?,
            sequence: fields.u64()?,
            time: fields.u64()?,
            key_len: fields.take::<1>()?[0],
        };
        (header.payload_len as usize <= MAX_PAYLOAD).then_some(header)
    }

    /// Bytes of payload and key.
    pub(crate) fn body_len(&self) -> usize {
        self.payload_len as usize + usize::from(self.key_len)
    }

    /// Bytes of the whole record.
    pub(crate) fn record_len(&self) -> u64 {
        (RECORD_HEADER + self.body_len()) as u64
    }

    /// Whether these bytes are the record's body.
    pub(crate) fn fits_body(&self, body: &[u8]) -> bool {
        body.len() == self.body_len() && crc32c::crc32c(body) == self.body_crc
    }
}

/// Checksum of a record's body.
pub(crate) fn body_crc(record: &NewRecord) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&record.payload), &record.key)
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}
