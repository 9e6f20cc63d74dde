//! The check of messages in the layouts that SDKs write.
//!
//! In: messages that lie within a span. Out: whether they are well-formed. Any other layout goes to the tables of
//! [`super::schema`].
//! Left out on purpose: which fault it is, and reading.

use super::fields::{array, delimited, varint};
use super::schema::{self, Schema};
use super::values::{BOOL, DOUBLE, INT, STRING, usual_pair};
use crate::wire::{MAX_DEPTH, Reader};

/// How many levels more may nest in what lies in a span, and in what lies in its events and links.
pub(super) const IN_SPAN_DEPTH: u32 = MAX_DEPTH - 4;
const IN_EVENT_DEPTH: u32 = MAX_DEPTH - 5;

#[inline]
pub(super) fn check_usual_pair(pair: &[u8], key: &[u8], any: &[u8], depth: u32) -> Option<()> {
    match any {
        [STRING, length @ ..0x80, text @ ..] if usize::from(*length) == text.len() => {
            // One look at both strings and at what stands between them.
            (is_ascii(pair) || is_utf8(key) && is_utf8(text)).then_some(())
        }
        _ => {
            is_utf8(key).then_some(())?;
            check_any(any, depth - 1)
        }
    }
}

#[inline]
fn check_any(any: &[u8], depth: u32) -> Option<()> {
    match any {
        [INT | BOOL, ..0x80] | [INT, 0x80..=0xff, ..0x80] | [DOUBLE, _, _, _, _, _, _, _, _] => Some(()),
        [STRING, tail @ ..] => {
            let mut rest = tail;
            let text = delimited(&mut rest)?;
            if rest.is_empty() {
                is_utf8(text).then_some(())
            } else {
                check(&schema::ANY_VALUE, any, depth)
            }
        }
        _ => check(&schema::ANY_VALUE, any, depth),
    }
}

#[inline]
fn check_pair(pair: &[u8], depth: u32) -> Option<()> {
    match usual_pair(pair) {
        Some((key, any)) => check_usual_pair(pair, key, any, depth),
        None => check(&schema::KEY_VALUE, pair, depth),
    }
}

pub(super) fn check_event(event: &[u8]) -> Option<()> {
    let mut rest = event;
    while let Some((&key, mut tail)) = rest.split_first() {
        match key {
            0x09 => drop(array::<8>(&mut tail)?),
            0x12 => is_utf8(delimited(&mut tail)?).then_some(())?,
            0x1a => check_pair(delimited(&mut tail)?, IN_EVENT_DEPTH)?,
            0x20 => drop(varint(&mut tail)?),
            _ => return check(&schema::EVENT, event, IN_SPAN_DEPTH),
        }
        rest = tail;
    }
    Some(())
}

pub(super) fn check_link(link: &[u8]) -> Option<()> {
    let mut rest = link;
    while let Some((&key, mut tail)) = rest.split_first() {
        match key {
            0x0a | 0x12 => drop(delimited(&mut tail)?),
            0x1a => is_utf8(delimited(&mut tail)?).then_some(())?,
            0x22 => check_pair(delimited(&mut tail)?, IN_EVENT_DEPTH)?,
            0x28 => drop(varint(&mut tail)?),
            0x35 => drop(array::<4>(&mut tail)?),
            _ => return check(&schema::LINK, link, IN_SPAN_DEPTH),
        }
        rest = tail;
    }
    Some(())
}

pub(super) fn check(schema: &'static Schema, message: &[u8], depth: u32) -> Option<()> {
    schema::check_message(schema, Reader::new(message), depth, &mut 0).ok()
}

#[inline]
fn is_utf8(bytes: &[u8]) -> bool {
    is_ascii(bytes) || str::from_utf8(bytes).is_ok()
}

/// As `<[u8]>::is_ascii`, for strings of a few words: the last word may overlap the one before.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    if let Some(last) = bytes.last_chunk::<8>() {
        let (words, _) = bytes.as_chunks::<8>();
        let seen = words.iter().fold(u64::from_ne_bytes(*last), |seen, word| {
            seen | u64::from_ne_bytes(*word)
        });
        return seen & HIGH == 0;
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let seen = u32::from_ne_bytes(*first) | u32::from_ne_bytes(*last);
        return u64::from(seen) & HIGH == 0;
    }
    bytes.iter().all(u8::is_ascii)
}
