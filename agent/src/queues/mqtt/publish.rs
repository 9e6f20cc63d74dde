//! A PUBLISH up to its payload, and the same with more user properties.
//!
//! In: the packet's bytes as far as they came. Out: topic, packet identifier and properties; or the bytes of a head that has
//! more of these.
//! Left out on purpose: the payload. Source: MQTT 5.0, section 3.3.

use bytes::{BufMut as _, BytesMut};

use super::Level;
use super::packet::{self, Fields, Fixed, MAX_REMAINING, Properties, Property, put_varint, varint_len};
use crate::queues::splice::NotUnderstood;

/// More properties than this are not read, in bytes. A topic has at most 64 KiB.
pub(super) const MAX_PROPERTIES: usize = 256 * 1024;

/// The longest correlation data that is told, in bytes.
const MAX_CONVERSATION: usize = 128;

/// What there is of a PUBLISH.
pub(super) enum Head<'a> {
    NotYet,
    /// Its properties are more than [`MAX_PROPERTIES`].
    Large,
    Read(Publish<'a>),
}

/// A PUBLISH without its payload.
pub(super) struct Publish<'a> {
    first: u8,
    /// Empty where an alias stands for it.
    pub(super) topic: &'a str,
    pub(super) alias: Option<u16>,
    /// Absent at `QoS` 0.
    pub(super) id: Option<u16>,
    pub(super) properties: Properties<'a>,
    /// In bytes.
    pub(super) payload: usize,
    correlation_data: &'a [u8],
    /// Topic and packet identifier.
    before_properties: &'a [u8],
    /// How many bytes of the packet lie before its payload.
    len: usize,
}

impl<'a> Publish<'a> {
    /// Reads the packet that `input` begins with, of which `fixed` is the fixed header.
    ///
    /// # Errors
    /// A field or the properties reach over the end of the packet, the topic is not text, or a property is none.
    pub(super) fn read(level: Level, fixed: &Fixed, input: &'a [u8]) -> Result<Head<'a>, NotUnderstood> {
        let body = fixed.so_far(input);
        let too_short = if body.len() < fixed.remaining {
            Ok(Head::NotYet)
        } else {
            Err(NotUnderstood::Malformed)
        };
        let mut fields = Fields::new(body);
        let Some(topic) = fields.binary() else {
            return too_short;
        };
        let mut id = None;
        if fixed.qos() > 0 {
            let Some(number) = fields.u16() else {
                return too_short;
            };
            id = Some(number);
        }
        let before_properties = before(body, &fields);
        let mut properties = Properties::default();
        if level == Level::Five {
            let Some(len) = fields.varint()? else {
                return too_short;
            };
            if before(body, &fields).len() + len > fixed.remaining {
                return Err(NotUnderstood::Malformed);
            }
            if len > MAX_PROPERTIES {
                return Ok(Head::Large);
            }
            let Some(bytes) = fields.take(len) else {
                return too_short;
            };
            properties = Properties::new(bytes);
        }
        let head = before(body, &fields).len();
        let mut publish = Self {
            first: fixed.first,
            topic: std::str::from_utf8(topic).map_err(|_| NotUnderstood::Malformed)?,
            alias: None,
            id,
            properties,
            payload: fixed.remaining - head,
            correlation_data: &[],
            before_properties,
            len: fixed.len() - fixed.remaining + head,
        };
        publish.look_through()?;
        Ok(Head::Read(publish))
    }

    fn look_through(&mut self) -> Result<(), NotUnderstood> {
        for property in self.properties.clone() {
            match property.ok_or(NotUnderstood::Malformed)? {
                Property::TopicAlias(alias) => self.alias = Some(alias),
                Property::CorrelationData(data) => self.correlation_data = data,
                _ => {}
            }
        }
        Ok(())
    }

    /// What joins a request with its answer, where it is text.
    pub(super) fn conversation(&self) -> Option<&'a str> {
        let data = self.correlation_data;
        let visible = (1..=MAX_CONVERSATION).contains(&data.len()) && data.iter().all(u8::is_ascii_graphic);
        visible.then(|| std::str::from_utf8(data).ok()).flatten()
    }

    /// Writes the packet up to its payload, with `add` behind its properties; how many bytes that takes the place of.
    /// `None` where nothing was written: the packet would be larger than `limit` or than MQTT allows, or something of
    /// `add` is not text.
    pub(super) fn splice(
        &self,
        add: &[(String, Vec<u8>)],
        limit: usize,
        out: &mut BytesMut,
    ) -> Option<usize> {
        let lens = add
            .iter()
            .map(|(key, value)| packet::user_property_len(key, value));
        let properties = self.properties.bytes().len() + lens.sum::<Option<usize>>()?;
        let head = self.before_properties.len() + varint_len(properties) + properties;
        let remaining = head + self.payload;
        if remaining > MAX_REMAINING || 1 + varint_len(remaining) + remaining > limit {
            return None;
        }
        out.reserve(1 + varint_len(remaining) + head);
        out.put_u8(self.first);
        put_varint(remaining, out);
        out.extend_from_slice(self.before_properties);
        put_varint(properties, out);
        out.extend_from_slice(self.properties.bytes());
        for (key, value) in add {
            packet::put_user_property(key, value, out);
        }
        Some(self.len)
    }
}

/// What `fields` has read of `body`.
fn before<'a>(body: &'a [u8], fields: &Fields<'_>) -> &'a [u8] {
    body.get(..body.len() - fields.left()).unwrap_or_default()
}
