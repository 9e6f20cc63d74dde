//! The content header of a message: its properties, and the headers table among them (AMQP 0-9-1 §4.2.6.1).
//!
//! In: the payload of a content header frame. Out: what it carries, and the frame anew with entries more in its table.
//! Left out on purpose: what nested tables and arrays hold; they are skipped by their length.

use bytes::{BufMut as _, BytesMut};
use propagation::Extract;

use super::frame::{END, FRAME_OVERHEAD, HEADER, Reader};
use crate::queues::splice::Skip;

const BASIC: u16 = 60;
/// Class, weight and body size, before the property flags.
const FIXED: usize = 12;
const HEADERS: u16 = 1 << 13;
/// Flags of properties that 0-9-1 does not have, and of further flags.
const UNKNOWN: u16 = 0b11;
/// The type of a long string.
const LONG_STRING: u8 = b'S';

/// A content header.
pub(super) struct Content<'a> {
    payload: &'a [u8],
    /// `messaging.message.body.size` in bytes.
    pub(super) body_size: u64,
    pub(super) message_id: Option<&'a str>,
    pub(super) correlation_id: Option<&'a str>,
    flags: u16,
    /// Where the headers table is in the payload, or would be.
    table_at: usize,
    table: Option<&'a [u8]>,
}

impl<'a> Content<'a> {
    /// # Errors
    /// [`Skip::UnknownFrame`] for properties that the version does not have, [`Skip::Compression`] where lengths are wrong.
    pub(super) fn read(payload: &'a [u8]) -> Result<Self, Skip> {
        let content = Self::parse(payload).ok_or(Skip::Compression)?;
        if content.flags & UNKNOWN != 0 {
            return Err(Skip::UnknownFrame);
        }
        if content.entries().last().is_some_and(|entry| entry.is_none()) {
            return Err(Skip::Compression);
        }
        Ok(content)
    }

    fn parse(payload: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(payload);
        let (class, _weight) = (reader.short()?, reader.short()?);
        let body_size = reader.long_long()?;
        let flags = reader.short()?;
        let mut content = Self {
            payload,
            body_size,
            message_id: None,
            correlation_id: None,
            flags: if class == BASIC { flags } else { UNKNOWN },
            table_at: 0,
            table: None,
        };
        if content.flags & UNKNOWN == 0 {
            content.properties(&mut reader)?;
        }
        Some(content)
    }

    /// The properties in the order of their flags, from the highest.
    fn properties(&mut self, reader: &mut Reader<'a>) -> Option<()> {
        for bit in (2..16_u16).rev() {
            if bit == 13 {
                self.table_at = self.payload.len().checked_sub(reader.left())?;
            }
            if self.flags & 1 << bit == 0 {
                continue;
            }
            match bit {
                13 => self.table = Some(reader.long_string()?),
                // delivery-mode and priority
                11 | 12 => drop(reader.octet()?),
                // timestamp
                6 => drop(reader.long_long()?),
                10 => self.correlation_id = std::str::from_utf8(reader.short_string()?).ok(),
                7 => self.message_id = std::str::from_utf8(reader.short_string()?).ok(),
                _ => drop(reader.short_string()?),
            }
        }
        Some(())
    }

    fn entries(&self) -> Entries<'a> {
        Entries {
            reader: Reader::new(self.table.unwrap_or_default()),
        }
    }

    fn has(&self, key: &str) -> bool {
        let same = |entry: Entry<'_>| entry.key.eq_ignore_ascii_case(key.as_bytes());
        self.entries().flatten().any(same)
    }

    /// What is before the flags, between them and the table, and after it.
    fn around_table(&self) -> Option<(&'a [u8], &'a [u8], &'a [u8])> {
        let mut reader = Reader::new(self.payload);
        let fixed = reader.take(FIXED)?;
        let _flags = reader.short()?;
        let before = reader.take(self.table_at.checked_sub(FIXED + 2)?)?;
        if self.table.is_some() {
            reader.long_string()?;
        }
        Some((fixed, before, reader.take(reader.left())?))
    }

    /// Appends the frame with `add` at the end of its headers table. All else is as it was.
    ///
    /// # Errors
    /// Nothing was written: [`Skip::TooLarge`] where the payload would be over `most` bytes, [`Skip::NoHeaders`] where one of
    /// the keys is there with a value that is no text.
    pub(super) fn write_with(
        &self,
        channel: u16,
        add: &[(String, Vec<u8>)],
        most: usize,
        out: &mut BytesMut,
    ) -> Result<(), Skip> {
        if add.iter().any(|(key, _)| self.has(key)) {
            return Err(Skip::NoHeaders);
        }
        if add.iter().any(|(key, _)| key.len() > usize::from(u8::MAX)) {
            return Err(Skip::TooLarge);
        }
        // A key has its length in one octet, a value its type and its length in five.
        let more = add
            .iter()
            .map(|(key, value)| key.len() + value.len() + 6)
            .sum::<usize>();
        let table = self.table.unwrap_or_default();
        let opened = if self.table.is_some() { 0 } else { 4 };
        let size = self.payload.len() + opened + more;
        if size > most {
            return Err(Skip::TooLarge);
        }
        let (fixed, before, after) = self.around_table().ok_or(Skip::Compression)?;
        out.reserve(size + FRAME_OVERHEAD);
        out.put_u8(HEADER);
        out.put_u16(channel);
        out.put_u32(size as u32);
        out.put_slice(fixed);
        out.put_u16(self.flags | HEADERS);
        out.put_slice(before);
        out.put_u32((table.len() + more) as u32);
        out.put_slice(table);
        for (key, value) in add {
            out.put_u8(key.len() as u8);
            out.put_slice(key.as_bytes());
            out.put_u8(LONG_STRING);
            out.put_u32(value.len() as u32);
            out.put_slice(value);
        }
        out.put_slice(after);
        out.put_u8(END);
        Ok(())
    }
}

/// Texts of the headers table, and byte arrays, which some clients make of them.
impl Extract for Content<'_> {
    fn get_all<'a>(&'a self, key: &str, found: &mut dyn FnMut(&'a [u8])) {
        for entry in self.entries().flatten() {
            if let Some(text) = entry.text
                && entry.key.eq_ignore_ascii_case(key.as_bytes())
            {
                found(text);
            }
        }
    }

    fn each<'a>(&'a self, found: &mut dyn FnMut(&'a str, &'a [u8])) {
        for entry in self.entries().flatten() {
            if let (Some(text), Ok(key)) = (entry.text, std::str::from_utf8(entry.key)) {
                found(key, text);
            }
        }
    }
}

/// The entries of a table. The last is `None` where what comes is none.
struct Entries<'a> {
    reader: Reader<'a>,
}

struct Entry<'a> {
    key: &'a [u8],
    text: Option<&'a [u8]>,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Option<Entry<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let entry = read_entry(&mut self.reader);
        if entry.is_none() {
            self.reader = Reader::new(&[]);
        }
        Some(entry)
    }
}

/// Field types as `RabbitMQ` and Qpid have them, which differ from the specification's (`RabbitMQ`'s errata, §3).
fn read_entry<'a>(reader: &mut Reader<'a>) -> Option<Entry<'a>> {
    let key = reader.short_string()?;
    let mut text = None;
    match reader.octet()? {
        LONG_STRING | b'x' => text = Some(reader.long_string()?),
        b'A' | b'F' => drop(reader.long_string()?),
        b'V' => {}
        b't' | b'b' | b'B' => drop(reader.take(1)?),
        b's' | b'u' => drop(reader.take(2)?),
        b'I' | b'i' | b'f' => drop(reader.take(4)?),
        b'D' => drop(reader.take(5)?),
        b'l' | b'L' | b'd' | b'T' => drop(reader.take(8)?),
        _ => return None,
    }
    Some(Entry { key, text })
}
