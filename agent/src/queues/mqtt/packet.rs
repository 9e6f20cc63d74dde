//! Control packets as far as all of them are alike: the fixed header, the fields behind it, properties.
//!
//! In: bytes of a peer. Out: borrowed pieces of them, or that they are too few or not MQTT.
//! Left out on purpose: what a packet means. Source: MQTT 5.0, sections 1.5 and 2.

use bytes::{BufMut as _, BytesMut};
use propagation::Extract;

use crate::queues::splice::NotUnderstood;

/// What a TLS connection begins with (RFC 8446, section 5.1): a content type that no MQTT packet has.
pub(super) const TLS_HANDSHAKE: u8 = 0x16;

/// The largest value of a Variable Byte Integer, and so of what follows a fixed header.
pub(super) const MAX_REMAINING: usize = 268_435_455;

/// The largest packet that can be written, its fixed header included.
pub(super) const MAX_PACKET: usize = MAX_REMAINING + 5;

/// A user property.
const USER_PROPERTY: u8 = 0x26;

/// Control packets that are looked at, and all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Connect,
    ConnAck,
    Publish,
    PubAck,
    PubRec,
    PubComp,
    Disconnect,
    Other,
}

/// The fixed header of a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fixed {
    pub(super) kind: Kind,
    /// Kind and flags as they came.
    pub(super) first: u8,
    /// Its own length in bytes: 2 to 5.
    header: usize,
    /// How many bytes follow it.
    pub(super) remaining: usize,
}

impl Fixed {
    /// The fixed header that `input` begins with, or `None` where it is not whole.
    ///
    /// # Errors
    /// A kind that there is not, reserved flags, `QoS` 3, or a length of more than four bytes.
    pub(super) fn read(input: &[u8]) -> Result<Option<Self>, NotUnderstood> {
        let Some((&first, rest)) = input.split_first() else {
            return Ok(None);
        };
        let kind = kind(first).ok_or(NotUnderstood::Malformed)?;
        let mut fields = Fields::new(rest);
        Ok(fields.varint()?.map(|remaining| Self {
            kind,
            first,
            header: input.len() - fields.0.len(),
            remaining,
        }))
    }

    /// The whole packet, in bytes.
    pub(super) fn len(&self) -> usize {
        self.header + self.remaining
    }

    /// What follows the header, as much of it as is there.
    pub(super) fn so_far<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        let body = input.get(self.header..).unwrap_or_default();
        body.get(..self.remaining).unwrap_or(body)
    }

    /// What follows the header, at most the first `at_most` bytes of it; `None` where those are not there.
    pub(super) fn body<'a>(&self, input: &'a [u8], at_most: usize) -> Option<&'a [u8]> {
        self.so_far(input).get(..self.remaining.min(at_most))
    }

    /// `QoS` of a PUBLISH: 0, 1 or 2.
    pub(super) fn qos(&self) -> u8 {
        (self.first >> 1) & 3
    }

    /// Whether a PUBLISH may be there for the second time.
    pub(super) fn again(&self) -> bool {
        self.first & 8 != 0
    }

    /// Whether a PUBLISH of the broker was kept by it.
    pub(super) fn retained(&self) -> bool {
        self.first & 1 != 0
    }
}

fn kind(first: u8) -> Option<Kind> {
    let flags = first & 0x0f;
    let (kind, reserved) = match first >> 4 {
        1 => (Kind::Connect, 0),
        2 => (Kind::ConnAck, 0),
        3 => return ((flags >> 1) & 3 != 3).then_some(Kind::Publish),
        4 => (Kind::PubAck, 0),
        5 => (Kind::PubRec, 0),
        7 => (Kind::PubComp, 0),
        14 => (Kind::Disconnect, 0),
        // PUBREL, SUBSCRIBE and UNSUBSCRIBE.
        6 | 8 | 10 => (Kind::Other, 2),
        9 | 11..=13 | 15 => (Kind::Other, 0),
        _ => return None,
    };
    (flags == reserved).then_some(kind)
}

/// Reads fields from the front of bytes. Each is `None` where there are too few.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// How many bytes there are still.
    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Bytes or a string behind their length.
    pub(super) fn binary(&mut self) -> Option<&'a [u8]> {
        let before = self.0;
        let len = self.u16()?;
        let taken = self.take(usize::from(len));
        if taken.is_none() {
            self.0 = before;
        }
        taken
    }

    /// A Variable Byte Integer.
    ///
    /// # Errors
    /// It has more than four bytes.
    pub(super) fn varint(&mut self) -> Result<Option<usize>, NotUnderstood> {
        let mut value = 0;
        for (place, &byte) in self.0.iter().take(4).enumerate() {
            value |= usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                self.0 = self.0.get(place + 1..).unwrap_or_default();
                return Ok(Some(value));
            }
        }
        if self.0.len() < 4 {
            Ok(None)
        } else {
            Err(NotUnderstood::Malformed)
        }
    }

    /// Properties behind their length.
    pub(super) fn properties(&mut self) -> Option<&'a [u8]> {
        let len = self.varint().ok()??;
        self.take(len)
    }
}

/// How many bytes `value` has as a Variable Byte Integer; at most [`MAX_REMAINING`].
pub(super) fn varint_len(value: usize) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => 4,
    }
}

/// Writes `value` as a Variable Byte Integer; at most [`MAX_REMAINING`].
pub(super) fn put_varint(mut value: usize, out: &mut BytesMut) {
    while value > 0x7f {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// The length of a user property, or `None` where MQTT cannot bear it: both must be text without NUL, up to 65,535 bytes.
pub(super) fn user_property_len(key: &str, value: &[u8]) -> Option<usize> {
    let fits = |bytes: &[u8]| u16::try_from(bytes.len()).is_ok() && memchr::memchr(0, bytes).is_none();
    let bears = fits(key.as_bytes()) && fits(value) && std::str::from_utf8(value).is_ok();
    bears.then_some(5 + key.len() + value.len())
}

/// Writes a user property that [`user_property_len`] has measured.
pub(super) fn put_user_property(key: &str, value: &[u8], out: &mut BytesMut) {
    out.put_u8(USER_PROPERTY);
    for bytes in [key.as_bytes(), value] {
        out.put_u16(bytes.len() as u16);
        out.extend_from_slice(bytes);
    }
}

/// A property that is looked at, and all others.
pub(super) enum Property<'a> {
    User(&'a [u8], &'a [u8]),
    CorrelationData(&'a [u8]),
    AssignedClientIdentifier(&'a [u8]),
    TopicAlias(u16),
    MaximumPacketSize(u32),
    Other,
}

/// The properties of a packet, one by one; `None` for one that there is not or that is cut, which is the last.
#[derive(Clone, Default)]
pub(super) struct Properties<'a>(&'a [u8]);

impl<'a> Properties<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// As they came.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Iterator for Properties<'a> {
    type Item = Option<Property<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let mut fields = Fields(std::mem::take(&mut self.0));
        let property = property(&mut fields);
        if property.is_some() {
            self.0 = fields.0;
        }
        Some(property)
    }
}

/// Section 2.2.2.2 says what each consists of.
fn property<'a>(fields: &mut Fields<'a>) -> Option<Property<'a>> {
    let other = |_| Property::Other;
    match fields.u8()? {
        USER_PROPERTY => Some(Property::User(fields.binary()?, fields.binary()?)),
        0x09 => fields.binary().map(Property::CorrelationData),
        0x12 => fields.binary().map(Property::AssignedClientIdentifier),
        0x23 => fields.u16().map(Property::TopicAlias),
        0x27 => fields
            .array()
            .map(u32::from_be_bytes)
            .map(Property::MaximumPacketSize),
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2a => fields.u8().map(|_| Property::Other),
        0x13 | 0x21 | 0x22 => fields.u16().map(|_| Property::Other),
        0x02 | 0x11 | 0x18 => fields.take(4).map(other),
        0x0b => fields.varint().ok()?.map(|_| Property::Other),
        0x03 | 0x08 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => fields.binary().map(other),
        _ => None,
    }
}

/// The user properties, in their order.
impl Extract for Properties<'_> {
    fn get_all<'a>(&'a self, key: &str, found: &mut dyn FnMut(&'a [u8])) {
        for property in self.clone().flatten() {
            if let Property::User(name, value) = property
                && name.eq_ignore_ascii_case(key.as_bytes())
            {
                found(value);
            }
        }
    }

    fn each<'a>(&'a self, found: &mut dyn FnMut(&'a str, &'a [u8])) {
        for property in self.clone().flatten() {
            if let Property::User(name, value) = property
                && let Ok(name) = std::str::from_utf8(name)
            {
                found(name, value);
            }
        }
    }
}
