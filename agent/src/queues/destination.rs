//! Names of destinations, made few.
//!
//! In: a subject or a key as an application wrote it, and what separates its parts. Out: the same with `*` in place of each
//! part that is an id, so that spans, nodes and series have few names.
//! Left out on purpose: ids that look like words; nobody can tell them from names.

use std::borrow::Cow;

/// Longer names are cut: nobody reads them, and they are foreign.
const MAX_BYTES: usize = 255;
/// So many hex digits are no word.
const HEX_DIGITS: usize = 16;

/// `name` with `*` for each part between `separator`s that is all digits, a UUID, or 16 hex digits or more.
pub(super) fn template(name: &[u8], separator: u8) -> Cow<'_, str> {
    let name = name.get(..MAX_BYTES).unwrap_or(name);
    if !name.split(|byte| *byte == separator).any(is_id) {
        return String::from_utf8_lossy(name);
    }
    let mut few = Vec::with_capacity(name.len());
    for (at, part) in name.split(|byte| *byte == separator).enumerate() {
        if at > 0 {
            few.push(separator);
        }
        few.extend_from_slice(if is_id(part) { b"*" } else { part });
    }
    Cow::Owned(String::from_utf8_lossy(&few).into_owned())
}

/// Whether a part of a name is an id: all digits, a UUID, or 16 hex digits or more.
pub(super) fn is_id(part: &[u8]) -> bool {
    if !part.first().is_some_and(u8::is_ascii_hexdigit) {
        return false;
    }
    let hex = |part: &[u8]| part.iter().all(u8::is_ascii_hexdigit);
    part.iter().all(u8::is_ascii_digit) || (part.len() >= HEX_DIGITS && hex(part)) || is_uuid(part)
}

/// Hex digits in groups of 8, 4, 4, 4 and 12 (RFC 9562).
fn is_uuid(part: &[u8]) -> bool {
    part.len() == 36
        && part.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_are_ids_become_stars_and_words_stay() {
        for (name, few) in [
            ("orders.created", "orders.created"),
            ("orders.42.paid", "orders.*.paid"),
            ("7", "*"),
            ("t.0af7651916cd43dd8448eb211c80319c", "t.*"),
            ("t.b7ad6b7169203331.x", "t.*.x"),
            ("t.123e4567-e89b-12d3-a456-426614174000", "t.*"),
            (
                "t.123e4567-e89b-12d3-a456_426614174000",
                "t.123e4567-e89b-12d3-a456_426614174000",
            ),
            ("feed.beef.cafe", "feed.beef.cafe"),
            ("deadbeefdeadbee", "deadbeefdeadbee"),
            ("a..b.", "a..b."),
            ("", ""),
        ] {
            assert_eq!(template(name.as_bytes(), b'.'), few);
        }
    }

    #[test]
    fn long_and_broken_names_are_cut_and_made_readable() {
        assert_eq!(template(&[b'x'; 5_000], b'.').len(), MAX_BYTES);
        assert_eq!(template(b"a.\xff", b'.'), "a.\u{fffd}");
    }
}
