//! The primitive types of Kafka's protocol, read from borrowed bytes, and bytes that are put in the place of others.
//!
//! In: a frame. Out: its fields, and where each lies. Source: Kafka protocol guide, "Protocol Primitive Types", KIP-482.
//! Left out on purpose: what the fields mean.

use std::ops::Range;

use bytes::{Buf as _, BufMut as _, BytesMut};

/// Reads fields from the front. Every function is `None` where the bytes end too early or are not such a field.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether lengths are varints and structures end with tagged fields (KIP-482).
    flexible: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], flexible: bool) -> Self {
        Self {
            bytes,
            at: 0,
            flexible,
        }
    }

    /// The body of a response, size and header of which come first in `frame`.
    pub(super) fn response(frame: &'a [u8], flexible: bool) -> Option<Self> {
        let mut reader = Self::new(frame, flexible);
        reader.take(8)?;
        reader.tags()?;
        Some(reader)
    }

    /// How much was read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn is_flexible(&self) -> bool {
        self.flexible
    }

    /// What was not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn array_of<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn i8(&mut self) -> Option<i8> {
        self.array_of().map(i8::from_be_bytes)
    }

    pub(super) fn i16(&mut self) -> Option<i16> {
        self.array_of().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.array_of().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.array_of().map(i64::from_be_bytes)
    }

    /// An unsigned varint of at most 64 bits.
    fn varint64(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array_of()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// `UNSIGNED_VARINT`.
    pub(super) fn uvarint(&mut self) -> Option<u32> {
        self.varint64()?.try_into().ok()
    }

    /// `VARINT`, in zigzag.
    pub(super) fn varint(&mut self) -> Option<i32> {
        let raw = self.uvarint()?;
        Some((raw >> 1) as i32 ^ -((raw & 1) as i32))
    }

    /// `VARLONG`, in zigzag.
    pub(super) fn varlong(&mut self) -> Option<i64> {
        let raw = self.varint64()?;
        Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// The number of bytes or of elements that follow, as `BYTES` and `ARRAY` and their compact forms have it; 0 for null.
    pub(super) fn length(&mut self) -> Option<usize> {
        if self.flexible {
            return Some(self.uvarint()?.saturating_sub(1) as usize);
        }
        length_of(self.i32()?)
    }

    /// `NULLABLE_STRING` or its compact form; empty where it is null.
    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let length = if self.flexible {
            self.length()?
        } else {
            length_of(i32::from(self.i16()?))?
        };
        self.take(length)
    }

    /// Passes over tagged fields, where there are any.
    pub(super) fn tags(&mut self) -> Option<()> {
        if self.flexible {
            self.each_tag(&mut |_, _| {})?;
        }
        Some(())
    }

    /// Hands out every tagged field: its number, and its value as a part of the bytes that are read.
    pub(super) fn each_tag(&mut self, found: &mut dyn FnMut(u32, Range<usize>)) -> Option<()> {
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            let length = self.uvarint()? as usize;
            let at = self.at;
            self.take(length)?;
            found(tag, at..self.at);
        }
        Some(())
    }
}

/// Null is -1 and nothing else below 0 is a length.
pub(super) fn length_of(length: i32) -> Option<usize> {
    if length == -1 {
        Some(0)
    } else {
        usize::try_from(length).ok()
    }
}

/// Appends an `UNSIGNED_VARINT`.
pub(super) fn put_uvarint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a `VARINT`.
pub(super) fn put_varint(out: &mut Vec<u8>, value: i32) {
    put_uvarint(out, (value as u32) << 1 ^ (value >> 31) as u32);
}

/// How many bytes [`put_varint`] appends for a length.
pub(super) fn varint_len(value: usize) -> usize {
    let bits = usize::BITS - (value << 1 | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Bytes in the place of others.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Edit {
    /// What is replaced, as a part of the frame.
    pub(super) at: Range<usize>,
    pub(super) with: Vec<u8>,
}

impl Edit {
    /// How much longer it makes the frame.
    pub(super) fn growth(&self) -> i64 {
        self.with.len() as i64 - self.at.len() as i64
    }
}

/// Appends `frame`, its size included, with `edits` made, which are in order and do not overlap.
pub(super) fn put_edited(frame: &[u8], edits: &[Edit], out: &mut BytesMut) {
    let start = out.len();
    let mut copied = 0;
    for edit in edits {
        out.extend_from_slice(frame.get(copied..edit.at.start).unwrap_or_default());
        out.extend_from_slice(&edit.with);
        copied = edit.at.end;
    }
    out.extend_from_slice(frame.get(copied..).unwrap_or_default());
    if !edits.is_empty() {
        put_size(out, start);
    }
}

/// Writes the size of the frame that begins at `start` and ends `out` into its first four bytes.
pub(super) fn put_size(out: &mut BytesMut, start: usize) {
    let size = out.len().saturating_sub(start + 4);
    if let Some(mut field) = out.get_mut(start..start + 4) {
        field.put_u32(size as u32);
    }
}

/// Moves the first `length` bytes.
pub(super) fn pass(input: &mut BytesMut, length: usize, out: &mut BytesMut) {
    let length = length.min(input.len());
    out.extend_from_slice(input.get(..length).unwrap_or_default());
    input.advance(length);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_varint_is_read_as_it_was_written_and_its_length_is_known(value: i32) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            prop_assert_eq!(Reader::new(&bytes, false).varint(), Some(value));
            if let Ok(length) = usize::try_from(value) {
                prop_assert_eq!(varint_len(length), bytes.len());
            }
        }
    }

    #[test]
    fn a_varint_over_its_bits_is_none() {
        assert_eq!(
            Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f], true).uvarint(),
            Some(u32::MAX)
        );
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x1f], true).uvarint(), None);
        let mut long = [0xff; 10];
        long[9] = 1;
        assert_eq!(Reader::new(&long, true).varlong(), Some(i64::MIN));
        long[9] = 2;
        assert_eq!(Reader::new(&long, true).varlong(), None);
        assert_eq!(Reader::new(&[0xff; 11], true).varlong(), None);
    }

    #[test]
    fn a_length_is_null_at_minus_one_and_none_below() {
        let classic = |bytes: &[u8]| Reader::new(bytes, false).length();
        assert_eq!(classic(&[0xff; 4]), Some(0));
        assert_eq!(classic(&[0xff, 0xff, 0xff, 0xfe]), None);
        assert_eq!(classic(&[0, 0, 0, 2]), Some(2));
        assert_eq!(Reader::new(&[0], true).length(), Some(0));
        assert_eq!(Reader::new(&[3], true).length(), Some(2));
    }
}
