//! `tracestate` of W3C Trace Context Level 2: an ordered list of vendors' members.
//!
//! In: the values of all `tracestate` headers, in order. Out: one list that is sent on as it came until we
//! change it.
//! Left out on purpose: what the members mean, except that `tm=` is ours.

use std::fmt;

use crate::text::{trim_ows, trim_ows_str};

/// Most members a list may have.
pub const MAX_TRACESTATE_MEMBERS: usize = 32;

/// Key of our own member, the edge hint: caller id, connection class and send time. Stripped for untrusted
/// peers.
pub const EDGE_HINT_KEY: &str = "tm";

const MAX_KEY_LEN: usize = 256;
const MAX_VALUE_LEN: usize = 256;
/// Entries longer than this go first when a list is cut (W3C Trace Context, "tracestate Limits").
const LONG_ENTRY: usize = 128;

/// An ordered list of at most 32 members `key=value`.
///
/// Keys are expected to be unique, yet a list that came with a key twice is kept as it came: others' members
/// should not be deleted, and which of the two is right only their vendor knows. Setting a key removes every
/// older one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TraceState {
    text: String,
}

/// Why a `tracestate`, or a member for it, was refused. On reading, the whole list is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TraceStateError {
    /// More than 32 members.
    #[error("`tracestate` has more than {MAX_TRACESTATE_MEMBERS} members")]
    TooManyMembers,
    /// A key longer than 256 characters.
    #[error("a key of `tracestate` has {len} characters, but at most {MAX_KEY_LEN} are allowed")]
    KeyTooLong {
        /// Its length.
        len: usize,
    },
    /// A key with a character outside `a-z 0-9 _ - * / @`, or that does not begin with `a-z` or `0-9`.
    #[error("a key of `tracestate` is not of `a-z`, `0-9`, `_-*/@` beginning with `a-z` or `0-9`")]
    Key,
    /// A value longer than 256 characters.
    #[error("a value of `tracestate` has {len} characters, but at most {MAX_VALUE_LEN} are allowed")]
    ValueTooLong {
        /// Its length.
        len: usize,
    },
    /// An empty value, one that ends in a space, or one with `,`, `=` or anything but printable ASCII.
    #[error(
        "a value of `tracestate` is empty, ends in a space, or is not printable ASCII without `,` and `=`"
    )]
    Value,
    /// A member without `=`.
    #[error("a member of `tracestate` has no `=`")]
    NoEquals,
}

impl TraceState {
    /// Reads the combined value of all `tracestate` headers, joined by commas in the order they came.
    ///
    /// Spaces and tabs around members are ignored, empty members are legal and dropped; otherwise the text is
    /// kept.
    /// Source: W3C Trace Context Level 2, "tracestate Header Field Values". Its grammar allows `@` anywhere
    /// behind the first character of a key; the 241 and 14 characters of Level 1 for tenant and system are
    /// not asked for.
    ///
    /// # Errors
    /// Any [`TraceStateError`] drops the whole list and leaves `traceparent` valid.
    pub fn parse(combined: &[u8]) -> Result<Self, TraceStateError> {
        let combined = trim_ows(combined);
        let mut members = 0;
        let mut has_empty = false;
        for member in combined.split(|byte| *byte == b',').map(trim_ows) {
            if member.is_empty() {
                has_empty = true;
                continue;
            }
            check_member(member)?;
            members += 1;
            if members > MAX_TRACESTATE_MEMBERS {
                return Err(TraceStateError::TooManyMembers);
            }
        }
        // Every member has passed the grammar, which is ASCII.
        let text = std::str::from_utf8(combined).map_err(|_| TraceStateError::Value)?;
        Ok(if has_empty {
            Self::join(entries(text))
        } else {
            Self {
                text: text.to_owned(),
            }
        })
    }

    /// The list as it is sent.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// How many members there are, 0 to 32.
    pub fn len(&self) -> usize {
        entries(&self.text).count()
    }

    /// Keys and values, the most recent first.
    pub fn members(&self) -> impl Iterator<Item = (&str, &str)> {
        entries(&self.text).filter_map(|entry| entry.split_once('='))
    }

    /// The value of `key`; the left-most where the key is there more than once.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.members()
            .find_map(|(name, value)| (name == key).then_some(value))
    }

    /// Puts `key` at the left with `value` and removes what it had before.
    ///
    /// Returns how many members of others fell off the right end to keep the list at 32: 0 or 1.
    ///
    /// # Errors
    /// Key or value break the grammar; the list is then unchanged.
    pub fn set(&mut self, key: &str, value: &str) -> Result<usize, TraceStateError> {
        check_key(key.as_bytes())?;
        check_value(value.as_bytes())?;
        let own = format!("{key}={value}");
        let others = || entries(&self.text).filter(|entry| entry_key(entry) != key);
        let lost = others().count().saturating_sub(MAX_TRACESTATE_MEMBERS - 1);
        let kept = others().take(MAX_TRACESTATE_MEMBERS - 1);
        *self = Self::join(std::iter::once(own.as_str()).chain(kept));
        Ok(lost)
    }

    /// Removes `key`; whether it was there. Meant for our own key: others' members should stay.
    pub fn remove(&mut self, key: &str) -> bool {
        let found = self.get(key).is_some();
        if found {
            *self = Self::join(entries(&self.text).filter(|entry| entry_key(entry) != key));
        }
        found
    }

    /// Cuts the list to at most `max_len` characters by whole members: first those longer than 128, then from
    /// the end.
    ///
    /// Returns how many were removed. The specification asks that at least 512 characters be propagated.
    pub fn truncate(&mut self, max_len: usize) -> usize {
        if self.text.len() <= max_len {
            return 0;
        }
        let mut kept: Vec<&str> = entries(&self.text).collect();
        let before = kept.len();
        while joined_len(&kept) > max_len {
            match kept.iter().rposition(|entry| entry.len() > LONG_ENTRY) {
                Some(long) => drop(kept.remove(long)),
                None => drop(kept.pop()),
            }
        }
        let removed = before - kept.len();
        *self = Self::join(kept.into_iter());
        removed
    }

    /// Whether some key is there more than once, which the specification forbids senders.
    pub fn has_duplicate_keys(&self) -> bool {
        let keys: Vec<&str> = self.members().map(|(key, _)| key).collect();
        keys.iter()
            .enumerate()
            .any(|(index, key)| keys.iter().take(index).any(|earlier| earlier == key))
    }

    fn join<'a>(entries: impl Iterator<Item = &'a str>) -> Self {
        Self {
            text: entries.collect::<Vec<_>>().join(","),
        }
    }
}

impl fmt::Display for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(trim_ows_str)
        .filter(|entry| !entry.is_empty())
}

fn entry_key(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(key, _)| key)
}

fn joined_len(entries: &[&str]) -> usize {
    entries.iter().map(|entry| entry.len()).sum::<usize>() + entries.len().saturating_sub(1)
}

fn check_member(member: &[u8]) -> Result<(), TraceStateError> {
    let equals = member
        .iter()
        .position(|byte| *byte == b'=')
        .ok_or(TraceStateError::NoEquals)?;
    let (key, value) = member.split_at_checked(equals).ok_or(TraceStateError::NoEquals)?;
    check_key(key)?;
    check_value(value.strip_prefix(b"=").unwrap_or(value))
}

fn check_key(key: &[u8]) -> Result<(), TraceStateError> {
    let is_start = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if key.len() > MAX_KEY_LEN {
        return Err(TraceStateError::KeyTooLong { len: key.len() });
    }
    let legal =
        key.first().is_some_and(is_start) && key.iter().all(|byte| is_start(byte) || b"_-*/@".contains(byte));
    legal.then_some(()).ok_or(TraceStateError::Key)
}

fn check_value(value: &[u8]) -> Result<(), TraceStateError> {
    if value.len() > MAX_VALUE_LEN {
        return Err(TraceStateError::ValueTooLong { len: value.len() });
    }
    let legal = value.last().is_some_and(|last| *last != b' ')
        && value
            .iter()
            .all(|byte| matches!(byte, b' '..=b'~') && !b",=".contains(byte));
    legal.then_some(()).ok_or(TraceStateError::Value)
}
