//! W3C Baggage: an application's own keys and values that travel with a request.
//!
//! In: the combined value of all `baggage` headers. Out: members in order, decoded on reading, sent on as
//! they came.
//! Left out on purpose: changing members. Baggage belongs to the application; we pass it on.

use std::borrow::Cow;
use std::fmt;

use crate::text::{is_token_byte, trim_ows_str};

/// Most members that are kept. The specification asks that at least so many be propagated.
pub const MAX_BAGGAGE_MEMBERS: usize = 64;

/// Most bytes that are kept, commas included. The specification asks that at least so many be propagated.
pub const MAX_BAGGAGE_BYTES: usize = 8192;

/// Members in the order they came; keys may repeat.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Baggage {
    members: Vec<BaggageMember>,
    /// Bytes of the members with the commas between them.
    len: usize,
}

/// One member: key, value and properties, and the text they came as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaggageMember {
    raw: String,
}

/// A property of a member, `key` or `key=value`. Its meaning is its application's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaggageProperty<'a> {
    /// The property's key.
    pub key: &'a str,
    /// Its value as written, if it has one.
    pub value: Option<&'a str>,
}

/// Why a member was left out, always as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BaggageLoss {
    /// It breaks the grammar.
    #[error(
        "a member of `baggage` is not `key=value` with a token as key and visible ASCII without `\"`, `,`, `;`, `\\`"
    )]
    Malformed,
    /// 64 members came before it.
    #[error("`baggage` has more than {MAX_BAGGAGE_MEMBERS} members")]
    TooManyMembers,
    /// With it, the list would be longer than 8192 bytes.
    #[error("`baggage` has more than {MAX_BAGGAGE_BYTES} bytes")]
    TooLong,
}

impl Baggage {
    /// Reads the combined value of all `baggage` headers; each member left out is told to `lost`.
    ///
    /// A member that would exceed 8192 bytes is left out and shorter ones behind it may still be kept; no
    /// member is ever cut. Empty members are ignored.
    /// Source: W3C Baggage, "Header Content" and "Limits".
    pub fn parse(combined: &[u8], lost: &mut dyn FnMut(BaggageLoss)) -> Self {
        let mut baggage = Self::default();
        for member in combined.split(|byte| *byte == b',').map(crate::text::trim_ows) {
            if !member.is_empty() {
                baggage.add(member, lost);
            }
        }
        baggage
    }

    /// Adds a member of Jaeger's baggage, unless W3C's or an earlier header has its key. Its value is the header's, where
    /// Jaeger's clients write a space as `+`.
    pub(crate) fn add_jaeger(&mut self, key: &str, value: &[u8], lost: &mut dyn FnMut(BaggageLoss)) {
        if self.members.iter().any(|member| member.key() == key) {
            return;
        }
        let mut member = [key.as_bytes(), b"="].concat();
        for byte in crate::text::trim_ows(value) {
            match byte {
                b'+' | b' ' => member.extend(b"%20"),
                byte => member.push(*byte),
            }
        }
        self.add(&member, lost);
    }

    fn add(&mut self, member: &[u8], lost: &mut dyn FnMut(BaggageLoss)) {
        let len = self.len + usize::from(!self.is_empty()) + member.len();
        match BaggageMember::parse(member) {
            None => lost(BaggageLoss::Malformed),
            Some(_) if self.members.len() == MAX_BAGGAGE_MEMBERS => lost(BaggageLoss::TooManyMembers),
            Some(_) if len > MAX_BAGGAGE_BYTES => lost(BaggageLoss::TooLong),
            Some(kept) => {
                self.len = len;
                self.members.push(kept);
            }
        }
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The members in order, 0 to 64 of them.
    pub fn members(&self) -> &[BaggageMember] {
        &self.members
    }

    /// The decoded value of the first member with this key.
    pub fn get(&self, key: &str) -> Option<Cow<'_, str>> {
        self.members
            .iter()
            .find(|member| member.key() == key)
            .map(BaggageMember::value)
    }
}

impl fmt::Display for Baggage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, member) in self.members.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}", member.raw)?;
        }
        Ok(())
    }
}

impl BaggageMember {
    /// The key. Keys are case-sensitive.
    pub fn key(&self) -> &str {
        split_pair(self.head()).0
    }

    /// The value with percent-encoding undone. `%` without two hex digits stays as it is, and bytes that are
    /// not UTF-8 become the replacement character, as OpenTelemetry does it.
    pub fn value(&self) -> Cow<'_, str> {
        percent_decode(self.raw_value())
    }

    /// The value as written.
    pub fn raw_value(&self) -> &str {
        split_pair(self.head()).1.unwrap_or_default()
    }

    /// The properties in order.
    pub fn properties(&self) -> impl Iterator<Item = BaggageProperty<'_>> {
        self.raw.split(';').skip(1).map(|property| {
            let (key, value) = split_pair(property);
            BaggageProperty { key, value }
        })
    }

    /// The member as it is sent: as it came, without whitespace around it.
    pub fn as_str(&self) -> &str {
        &self.raw
    }

    fn head(&self) -> &str {
        self.raw.split(';').next().unwrap_or_default()
    }

    fn parse(raw: &[u8]) -> Option<Self> {
        let raw = std::str::from_utf8(raw).ok()?;
        let (head, properties) = raw
            .split_once(';')
            .map_or((raw, None), |(head, rest)| (head, Some(rest)));
        let (key, value) = split_pair(head);
        let legal = is_token(key)
            && value.is_some_and(is_value)
            && properties.is_none_or(|all| all.split(';').map(split_pair).all(is_property));
        legal.then(|| Self { raw: raw.to_owned() })
    }
}

fn is_property((key, value): (&str, Option<&str>)) -> bool {
    is_token(key) && value.is_none_or(is_value)
}

fn split_pair(text: &str) -> (&str, Option<&str>) {
    match text.split_once('=') {
        None => (trim_ows_str(text), None),
        Some((key, value)) => (trim_ows_str(key), Some(trim_ows_str(value))),
    }
}

fn is_token(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(is_token_byte)
}

fn is_value(value: &str) -> bool {
    value
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte))
}

fn percent_decode(value: &str) -> Cow<'_, str> {
    if !value.contains('%') {
        return Cow::Borrowed(value);
    }
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        let decoded = match rest {
            [b'%', high, low, tail @ ..] => hex_byte(*high, *low).map(|byte| (byte, tail)),
            _ => None,
        };
        let (byte, tail) = decoded.unwrap_or((*first, tail));
        bytes.push(byte);
        rest = tail;
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}
