//! The fields of checked messages.
//!
//! In: messages that [`super::schema::check`] accepted. Out: fields, and the occurrences of one field.
//! Left out on purpose: faults. On unchecked bytes a message ends where it cannot be read on.

use crate::wire::{MAX_DEPTH, Payload, Reader};

/// UTF-8 was checked before; on unchecked bytes a broken string reads as empty.
#[inline]
pub(super) fn text(bytes: Reader<'_>) -> &str {
    str::from_utf8(bytes.bytes()).unwrap_or_default()
}

/// The fields of a checked message; groups are skipped.
pub(super) struct Fields<'a>(pub(super) Reader<'a>);

impl<'a> Iterator for Fields<'a> {
    type Item = (u32, Payload<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (number, payload) = self.0.field().ok()??;
            if !matches!(payload, Payload::Group) {
                return Some((number, payload));
            }
            self.0.skip_group(number, MAX_DEPTH).ok()?;
        }
    }
}

/// The occurrences of one field that holds messages.
#[derive(Debug, Clone, Default)]
pub(super) struct Messages<'a> {
    rest: Reader<'a>,
    field: u32,
}

impl<'a> Messages<'a> {
    pub(super) fn new(message: Reader<'a>, field: u32) -> Self {
        Self { rest: message, field }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Reader<'a>;

    #[inline]
    fn next(&mut self) -> Option<Reader<'a>> {
        let mut fields = Fields(self.rest);
        let found = fields.by_ref().find_map(|(number, payload)| match payload {
            Payload::Bytes(bytes) if number == self.field => Some(bytes),
            _ => None,
        });
        self.rest = fields.0;
        found
    }
}

/// Takes a length and so many bytes off `rest`; `None` where they are not there.
#[inline]
pub(super) fn delimited<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, tail) = match **rest {
        [length @ ..0x80, ref tail @ ..] => (usize::from(length), tail),
        [low @ 0x80..=0xff, high @ ..0x80, ref tail @ ..] => {
            (usize::from(low & 0x7f) | usize::from(high) << 7, tail)
        }
        _ => return long_delimited(rest),
    };
    let (inside, after) = tail.split_at_checked(length)?;
    *rest = after;
    Some(inside)
}

#[cold]
fn long_delimited<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let mut reader = Reader::new(rest);
    let inside = reader.delimited().ok()?;
    *rest = reader.bytes();
    Some(inside.bytes())
}

/// Takes a varint off `rest`.
#[inline]
pub(super) fn varint(rest: &mut &[u8]) -> Option<u64> {
    if let [value @ ..0x80, tail @ ..] = *rest {
        *rest = tail;
        return Some(u64::from(*value));
    }
    let mut reader = Reader::new(rest);
    let value = reader.varint().ok()?;
    *rest = reader.bytes();
    Some(value)
}

/// Takes `N` bytes off `rest`.
#[inline]
pub(super) fn array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (array, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*array)
}
