//! Entries of streams as Redis answers with them.
//!
//! In: an answer that is there whole. Out: its streams, and their entries with id and fields.
//! Left out on purpose: entries that were deleted since; they have an id and no fields.

use propagation::Extract;

use super::resp::Cursor;

/// One entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) id: &'a [u8],
    pub(super) fields: Fields<'a>,
}

/// Names and values by turns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    values: &'a [u8],
    count: u64,
}

/// The streams of an answer to `XREAD` or `XREADGROUP` with their entries; `None` where it is none.
pub(super) fn streams(answer: &[u8]) -> Option<Vec<(&[u8], Vec<Entry<'_>>)>> {
    let mut cursor = Cursor::new(answer);
    let is_map = answer.first() == Some(&b'%');
    let count = cursor.enter()?;
    let mut streams = Vec::new();
    for _ in 0..if is_map { count / 2 } else { count } {
        if !is_map && cursor.enter()? != 2 {
            return None;
        }
        let key = cursor.string()?;
        streams.push((key, entries(&mut cursor)?));
    }
    Some(streams)
}

/// The entries of an answer to `XCLAIM`, or to `XAUTOCLAIM`, where they come second.
pub(super) fn claimed(answer: &[u8], second: bool) -> Option<Vec<Entry<'_>>> {
    let mut cursor = Cursor::new(answer);
    if second {
        cursor.enter()?;
        cursor.skip(1)?;
    }
    entries(&mut cursor)
}

fn entries<'a>(cursor: &mut Cursor<'a>) -> Option<Vec<Entry<'a>>> {
    let mut entries = Vec::new();
    for _ in 0..cursor.enter()? {
        // Of one that was deleted nothing may be left.
        let Some(parts) = cursor.enter() else {
            cursor.skip(1)?;
            continue;
        };
        let id = cursor.string()?;
        let fields = Fields::read(cursor)?;
        cursor.skip(parts.checked_sub(2)?)?;
        if fields.count > 0 {
            entries.push(Entry { id, fields });
        }
    }
    Some(entries)
}

impl<'a> Fields<'a> {
    /// None at all where the entry was deleted.
    fn read(cursor: &mut Cursor<'a>) -> Option<Self> {
        let before = *cursor;
        let count = cursor.enter().unwrap_or_default();
        if count == 0 {
            *cursor = before;
            return cursor.skip(1).map(|values| Self { values, count });
        }
        let values = cursor.skip(count)?;
        Some(Self { values, count })
    }

    fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut cursor = Cursor::new(self.values);
        let pairs = 0..self.count / 2;
        pairs.map_while(move |_| Some((cursor.string()?, cursor.string()?)))
    }

    /// Bytes of names and values.
    pub(super) fn size(&self) -> u64 {
        self.iter()
            .map(|(name, value)| (name.len() + value.len()) as u64)
            .sum()
    }
}

impl Extract for Fields<'_> {
    fn get_all<'a>(&'a self, key: &str, found: &mut dyn FnMut(&'a [u8])) {
        let of_key = |name: &[u8]| name.eq_ignore_ascii_case(key.as_bytes());
        for (_, value) in self.iter().filter(|(name, _)| of_key(name)) {
            found(value);
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
