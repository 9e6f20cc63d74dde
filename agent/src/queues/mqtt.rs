//! MQTT 5, 3.1.1 and 3.1 between a client and its broker.
//!
//! In: control packets of both sides. Out: the same packets; in MQTT 5 what the client publishes bears context as user
//! properties, behind those that it has.
//! Left out on purpose: payloads, which pass as they come; brokers that a broker refers to (`Server Reference`); MQTT in
//! WebSocket frames; the will of a client, which the broker publishes on its own; and what a broker tells of itself below
//! `$SYS/`.
//!
//! A packet is read as far as its properties, and those up to [`publish::MAX_PROPERTIES`]. Source: OASIS MQTT Version 5.0 and
//! MQTT Version 3.1.1.

mod in_flight;
mod packet;
mod publish;
mod reason;
mod side;
#[cfg(test)]
mod tests;
mod topic;

use bytes::{Buf as _, BytesMut};
use otlp::encode::Attributes;

use self::packet::{Fields, Fixed, Kind, MAX_PACKET, Properties, Property};
use self::publish::Publish;
use self::side::{Said, Side};
use super::splice::{
    Carried, Courier, How, NotUnderstood, Received, Receiving, Sending, Skip, Splice, Token,
};

/// How much of CONNECT and CONNACK is waited for and read, in bytes.
const MAX_HANDSHAKE: usize = 128 * 1024;

/// The longest client identifier that is told, in bytes.
const MAX_CLIENT_ID: usize = 256;

/// One connection of a client.
#[derive(Default)]
pub(crate) struct Mqtt {
    level: Option<Level>,
    client_id: String,
    /// The largest packet that the broker takes, in bytes. Absent before its CONNACK: nothing is added to what a client
    /// sends ahead of that.
    limit: Option<usize>,
    /// Whether it was said that messages of this connection bear no properties.
    said_no_headers: bool,
    client: Side,
    broker: Side,
}

/// What the client asked for in CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// 3.1, whose packets are read as those of 3.1.1.
    ThreeOne,
    ThreeOneOne,
    Five,
}

impl Level {
    fn version(self) -> &'static str {
        match self {
            Self::ThreeOne => "3.1",
            Self::ThreeOneOne => "3.1.1",
            Self::Five => "5.0",
        }
    }
}

impl Mqtt {
    /// A connection that has not begun.
    pub(crate) fn new() -> Self {
        Self::default()
    }
}

impl Splice for Mqtt {
    fn client_said(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> Result<(), NotUnderstood> {
        if self.level.is_none() && input.first() == Some(&packet::TLS_HANDSHAKE) {
            return Err(NotUnderstood::Encrypted);
        }
        while self.client.pass(input, out, courier) {
            let Some(fixed) = Fixed::read(input)? else { break };
            let left = match (self.level, fixed.kind) {
                (None, Kind::Connect) => self.connect(&fixed, input)?,
                (None, _) => return Err(NotUnderstood::Malformed),
                (Some(level), Kind::Publish) => self.sent(level, &fixed, input, out, courier)?,
                (Some(level), Kind::PubAck | Kind::PubRec) => {
                    self.broker.acknowledged(level, &fixed, input, true, courier)?
                }
                (Some(_), _) => Some(fixed.len()),
            };
            let Some(left) = left else { break };
            self.client.left = left;
        }
        Ok(())
    }

    fn broker_said(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> Result<(), NotUnderstood> {
        while self.broker.pass(input, out, courier) {
            let Some(fixed) = Fixed::read(input)? else { break };
            let level = self.level.ok_or(NotUnderstood::Malformed)?;
            let left = match fixed.kind {
                Kind::ConnAck => self.connected(level, &fixed, input, courier)?,
                Kind::Publish => self.delivered(level, &fixed, input, courier)?,
                Kind::PubAck | Kind::PubComp => {
                    self.client.acknowledged(level, &fixed, input, true, courier)?
                }
                // Taken, but the two have not yet agreed on that.
                Kind::PubRec => self.client.acknowledged(level, &fixed, input, false, courier)?,
                Kind::Disconnect => self.client.refused(&fixed, input, courier),
                _ => Some(fixed.len()),
            };
            let Some(left) = left else { break };
            self.broker.left = left;
        }
        Ok(())
    }
}

/// Each returns how much of `input` goes on as it is, or `None` where more of the packet has to be there.
impl Mqtt {
    fn connect(&mut self, fixed: &Fixed, input: &[u8]) -> Result<Option<usize>, NotUnderstood> {
        let Some(body) = fixed.body(input, MAX_HANDSHAKE) else {
            return Ok(None);
        };
        let mut fields = Fields::new(body);
        let name = fields.binary().ok_or(NotUnderstood::Malformed)?;
        // The highest bit is how bridges of Mosquitto say what they are.
        let level = match (name, fields.u8().map(|level| level & 0x7f)) {
            (b"MQTT", Some(5)) => Level::Five,
            (b"MQTT", Some(4)) => Level::ThreeOneOne,
            (b"MQIsdp", Some(3)) => Level::ThreeOne,
            (b"MQTT", Some(_)) => return Err(NotUnderstood::Unknown),
            _ => return Err(NotUnderstood::Malformed),
        };
        self.level = Some(level);
        // Flags and the time between signs of life.
        let _ = fields.take(3);
        if level == Level::Five {
            let _ = fields.properties();
        }
        self.name_client(fields.binary());
        Ok(Some(fixed.len()))
    }

    fn name_client(&mut self, id: Option<&[u8]>) {
        let id = id.and_then(|id| std::str::from_utf8(id).ok());
        if let Some(id) = id.filter(|id| !id.is_empty() && id.len() <= MAX_CLIENT_ID) {
            id.clone_into(&mut self.client_id);
        }
    }

    /// The broker's CONNACK.
    fn connected(
        &mut self,
        level: Level,
        fixed: &Fixed,
        input: &[u8],
        courier: &mut dyn Courier,
    ) -> Result<Option<usize>, NotUnderstood> {
        if level != Level::Five {
            return Ok(Some(fixed.len()));
        }
        let Some(body) = fixed.body(input, MAX_HANDSHAKE) else {
            return Ok(None);
        };
        if body.len() < fixed.remaining {
            courier.skipped(Skip::NotHeld);
            return Ok(Some(fixed.len()));
        }
        let mut fields = Fields::new(body);
        let [_, reason] = fields.array().ok_or(NotUnderstood::Malformed)?;
        // A broker that does not know MQTT 5 refuses as it would an older client, without properties.
        if reason != 0 {
            return Ok(Some(fixed.len()));
        }
        let mut limit = MAX_PACKET;
        for property in Properties::new(fields.properties().ok_or(NotUnderstood::Malformed)?) {
            match property.ok_or(NotUnderstood::Malformed)? {
                Property::MaximumPacketSize(bytes) => limit = bytes as usize,
                Property::AssignedClientIdentifier(id) => self.name_client(Some(id)),
                _ => {}
            }
        }
        self.limit = Some(limit);
        Ok(Some(fixed.len()))
    }

    /// A message of the client.
    fn sent(
        &mut self,
        level: Level,
        fixed: &Fixed,
        input: &mut BytesMut,
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> Result<Option<usize>, NotUnderstood> {
        let publish = match self.client.published(level, fixed, input, courier)? {
            Said::NotYet => return Ok(None),
            Said::Nothing => return Ok(Some(fixed.len())),
            Said::Message(publish) => publish,
        };
        let sent = courier.sends(&Sending {
            destination: &self.client.destination,
            operation: "publish",
            carried: Carried::Raw(&publish.properties),
            size: Some(publish.payload as u64),
            more: &|attributes| describe(attributes, level, &self.client_id, &publish),
        });
        let (id, mut gone) = (publish.id, 0);
        if !sent.add.is_empty() {
            match self.limit.and_then(|limit| publish.splice(&sent.add, limit, out)) {
                Some(spliced) => gone = spliced,
                None => self.not_added(level, sent.token, courier),
            }
        }
        input.advance(gone);
        self.client.open(id, sent.token, courier);
        Ok(Some(fixed.len() - gone))
    }

    fn not_added(&mut self, level: Level, token: Option<Token>, courier: &mut dyn Courier) {
        if level == Level::Five {
            courier.skipped(Skip::TooLarge);
        } else if !self.said_no_headers {
            self.said_no_headers = true;
            courier.skipped(Skip::NoHeaders);
        }
        if let Some(token) = token {
            courier.not_added(token, 1);
        }
    }

    /// A message of the broker.
    fn delivered(
        &mut self,
        level: Level,
        fixed: &Fixed,
        input: &[u8],
        courier: &mut dyn Courier,
    ) -> Result<Option<usize>, NotUnderstood> {
        let publish = match self.broker.published(level, fixed, input, courier)? {
            Said::NotYet => return Ok(None),
            Said::Nothing => return Ok(Some(fixed.len())),
            Said::Message(publish) => publish,
        };
        // What was retained is the answer to a subscription, and may be of last year: linked, nobody's child.
        let how = if fixed.retained() {
            How::Receives
        } else {
            How::Processes
        };
        let token = courier.receives(&Receiving {
            destination: &self.broker.destination,
            operation: "deliver",
            how,
            size: Some(publish.payload as u64),
            messages: &[Received {
                carried: Carried::Raw(&publish.properties),
                place: None,
                messages: 1,
            }],
            more: &|attributes| describe(attributes, level, &self.client_id, &publish),
        });
        self.broker.open(publish.id, token, courier);
        Ok(Some(fixed.len()))
    }
}

fn describe(attributes: &mut Attributes, level: Level, client_id: &str, publish: &Publish<'_>) {
    attributes.push("network.protocol.name", "mqtt");
    attributes.push("network.protocol.version", level.version());
    if !client_id.is_empty() {
        attributes.push("messaging.client.id", client_id);
    }
    if let Some(conversation) = publish.conversation() {
        attributes.push("messaging.message.conversation_id", conversation);
    }
}
