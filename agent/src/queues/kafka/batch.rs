//! Record batches of format 2: read where they lie, and written again with more headers.
//!
//! In: the `records` of a Produce request or a Fetch response. Out: each record with its headers; a batch with headers
//! added, everything else as it was. Source: Kafka documentation, "Message Format", and KIP-98.
//! Left out on purpose: message sets of the formats 0 and 1, which have no headers; and values, but for the trace of an event.

use std::ops::Range;

use propagation::Extract;

use super::compression::Codec;
use super::wire::{Reader, length_of, put_varint, varint_len};
use crate::queues::cloud_events::Structured;

/// What comes before a batch's records: offset, length, epoch, format, checksum, attributes, producer, number of records.
const HEADER: usize = 61;
/// Where the length's count begins: offset and length are not in it.
const AFTER_LENGTH: usize = 12;
const LENGTH: Range<usize> = 8..AFTER_LENGTH;
const CHECKSUM: Range<usize> = 17..21;
const ATTRIBUTES: usize = 21;

/// Not a batch, or not what its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

/// What begins a run of batches.
pub(super) enum First<'a> {
    /// A batch, and what follows it.
    Batch(Batch<'a>, &'a [u8]),
    /// A message set of format 0 or 1.
    Old,
    /// Less than a batch, as the last of a Fetch response often is.
    Cut,
    Broken,
}

/// A whole batch.
#[derive(Clone, Copy)]
pub(super) struct Batch<'a> {
    bytes: &'a [u8],
    pub(super) base_offset: i64,
    checksum: u32,
    attributes: i16,
    pub(super) producer: i64,
    count: usize,
}

impl<'a> Batch<'a> {
    /// What begins `bytes`, which are not empty.
    pub(super) fn first(bytes: &'a [u8]) -> First<'a> {
        match bytes.get(16) {
            None => return First::Cut,
            Some(0 | 1) => return First::Old,
            Some(2) => {}
            Some(_) => return First::Broken,
        }
        let Some(whole) = Self::length(bytes) else {
            return First::Broken;
        };
        match bytes.split_at_checked(whole) {
            None => First::Cut,
            Some((batch, rest)) => Self::read(batch).map_or(First::Broken, |batch| First::Batch(batch, rest)),
        }
    }

    fn length(bytes: &[u8]) -> Option<usize> {
        let length = Reader::new(bytes.get(8..)?, false).i32()?;
        usize::try_from(length).ok()?.checked_add(AFTER_LENGTH)
    }

    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes, false);
        let base_offset = reader.i64()?;
        reader.take(CHECKSUM.start - 8)?;
        let checksum = reader.i32()? as u32;
        let attributes = reader.i16()?;
        reader.take(4 + 8 + 8)?;
        let producer = reader.i64()?;
        reader.take(2 + 4)?;
        let count = usize::try_from(reader.i32()?).ok()?;
        Some(Self {
            bytes,
            base_offset,
            checksum,
            attributes,
            producer,
            count,
        })
    }

    /// The records, compressed as the batch says.
    pub(super) fn records(&self) -> &'a [u8] {
        self.bytes.get(HEADER..).unwrap_or_default()
    }

    /// How many records it says to have.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// 0 where it is not compressed.
    fn codec(&self) -> u8 {
        (self.attributes & 7) as u8
    }

    pub(super) fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    /// Whether it holds a marker of the broker's own instead of records.
    pub(super) fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    /// Whether the checksum is right. A batch that is not intact must stay so, for the broker to refuse it.
    pub(super) fn is_intact(&self) -> bool {
        let checked = self.bytes.get(ATTRIBUTES..).unwrap_or_default();
        crc32c::crc32c(checked) == self.checksum
    }

    /// The records in `plain`, which are those of this batch without compression, once all of them are what they say.
    pub(super) fn each<'b>(&self, plain: &'b [u8]) -> Result<Records<'b>, Broken> {
        let mut records = Records { rest: plain };
        for _ in 0..self.count {
            records.read()?.ok_or(Broken)?;
        }
        if !records.rest.is_empty() {
            return Err(Broken);
        }
        Ok(Records { rest: plain })
    }

    /// Appends to `plain` what [`Batch::records`] are without compression; `None`, and nothing, where there is none.
    ///
    /// # Errors
    /// They are over `most` bytes then, or not what they should be.
    pub(super) fn decompressed(&self, most: usize, plain: &mut Vec<u8>) -> Result<Option<Codec>, Broken> {
        if self.codec() == 0 {
            return Ok(None);
        }
        let codec = Codec::of(self.codec(), self.records()).ok_or(Broken)?;
        codec.decompress(self.records(), most, plain)?;
        Ok(Some(codec))
    }

    /// Appends this batch with the records in it that `records` appends.
    pub(super) fn put_with(
        &self,
        out: &mut Vec<u8>,
        records: impl FnOnce(&mut Vec<u8>) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        let start = out.len();
        out.extend_from_slice(self.bytes.get(..HEADER).unwrap_or_default());
        records(out)?;
        let batch = out.get_mut(start..).unwrap_or_default();
        let length = batch.len().saturating_sub(AFTER_LENGTH) as u32;
        put(batch, LENGTH, length);
        let checksum = crc32c::crc32c(batch.get(ATTRIBUTES..).unwrap_or_default());
        put(batch, CHECKSUM, checksum);
        Ok(())
    }
}

fn put(batch: &mut [u8], at: Range<usize>, value: u32) {
    if let Some(field) = batch.get_mut(at) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}

/// The records of a batch, one after the other.
pub(super) struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    fn read(&mut self) -> Result<Option<Record<'a>>, Broken> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut reader = Reader::new(self.rest, false);
        let body = reader
            .varint()
            .and_then(|length| reader.take(usize::try_from(length).ok()?));
        let body = body.ok_or(Broken)?;
        let (raw, rest) = self.rest.split_at_checked(reader.at()).ok_or(Broken)?;
        self.rest = rest;
        Record::read(raw, body).ok_or(Broken).map(Some)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        self.read().ok().flatten()
    }
}

/// One record.
pub(super) struct Record<'a> {
    /// All of it, with its length.
    raw: &'a [u8],
    /// What comes before the number of its headers, without the length.
    pub(super) head: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) headers: Headers<'a>,
}

impl<'a> Record<'a> {
    fn read(raw: &'a [u8], body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body, false);
        reader.i8()?;
        reader.varlong()?;
        // Its offset less the batch's.
        reader.varint()?;
        bytes(&mut reader)?;
        let value = bytes(&mut reader)?;
        let head = body.get(..reader.at())?;
        let count = usize::try_from(reader.varint()?).ok()?;
        let headers = Headers {
            count,
            bytes: reader.rest(),
        };
        for _ in 0..count {
            header(&mut reader)?;
        }
        reader.rest().is_empty().then_some(Self {
            raw,
            head,
            value,
            headers,
        })
    }

    /// Its headers, and with them what tells the trace of an event of `CloudEvents` in JSON; those are written to `room`.
    pub(super) fn carried<'b>(&self, room: &'b mut Vec<u8>) -> Headers<'b>
    where
        'a: 'b,
    {
        let content_type = self.headers.iter().find(|(name, _)| is_content_type(name));
        let Some(event) = content_type.and_then(|(_, kind)| Structured::read(kind, self.value)) else {
            return self.headers;
        };
        room.clear();
        room.extend_from_slice(self.headers.bytes);
        let mut count = self.headers.count;
        for (key, value) in event.metadata() {
            put_header(room, key, value.as_bytes());
            count += 1;
        }
        Headers { count, bytes: room }
    }

    /// Whether its headers alone tell what it bears; where not, its value may.
    pub(super) fn bears_in_headers(&self) -> bool {
        !self.headers.iter().any(|(name, _)| is_content_type(name))
    }

    /// Appends it with `add` behind its headers.
    pub(super) fn put_with(&self, add: &Headers<'_>, out: &mut Vec<u8>) {
        if add.count == 0 {
            out.extend_from_slice(self.raw);
            return;
        }
        let count = self.headers.count + add.count;
        let length = self.head.len() + varint_len(count) + self.headers.bytes.len() + add.bytes.len();
        put_varint(out, length as i32);
        out.extend_from_slice(self.head);
        put_varint(out, count as i32);
        out.extend_from_slice(self.headers.bytes);
        out.extend_from_slice(add.bytes);
    }
}

fn is_content_type(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"content-type")
}

pub(super) fn put_header(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    for piece in [key.as_bytes(), value] {
        put_varint(out, piece.len() as i32);
        out.extend_from_slice(piece);
    }
}

/// Bytes behind a `VARINT` of their length; none for null.
fn bytes<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = length_of(reader.varint()?)?;
    reader.take(length)
}

fn header<'a>(reader: &mut Reader<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let key = usize::try_from(reader.varint()?).ok()?;
    Some((reader.take(key)?, bytes(reader)?))
}

/// The headers of a record, where they lie. Keys may repeat; a null value is an empty one.
#[derive(Clone, Copy, Default)]
pub(super) struct Headers<'a> {
    pub(super) count: usize,
    pub(super) bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut reader = Reader::new(self.bytes, false);
        (0..self.count).map_while(move |_| header(&mut reader))
    }

    /// Whether there is one of this name.
    pub(super) fn has(&self, key: &str) -> bool {
        self.iter()
            .any(|(name, _)| name.eq_ignore_ascii_case(key.as_bytes()))
    }
}

impl Extract for Headers<'_> {
    fn get_all<'a>(&'a self, key: &str, found: &mut dyn FnMut(&'a [u8])) {
        for (name, value) in self.iter() {
            if name.eq_ignore_ascii_case(key.as_bytes()) {
                found(value);
            }
        }
    }

    fn each<'a>(&'a self, found: &mut dyn FnMut(&'a str, &'a [u8])) {
        for (name, value) in self.iter() {
            if let Ok(name) = std::str::from_utf8(name) {
                found(name, value);
            }
        }
    }
}
