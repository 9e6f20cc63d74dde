//! NATS, core and `JetStream`: headers added to what is published, and spans of what is published and delivered.
//!
//! In: control lines, header blocks and payloads of one connection. Out: the same, `PUB` turned into `HPUB` or a header
//! block grown where context is added; word of messages, requests and acknowledgements.
//! Left out on purpose: subjects that begin with `$` or `_INBOX`. They are the protocol of `JetStream`, key-value and object
//! stores, services and replies, not messages to anyone.
//!
//! A message published with a reply to this connection ends with its answer (`JetStream` says there where it stored it),
//! every other with its last byte. Those that stand in one read, one after the other, and that nobody answers share a span where
//! they bear the same. A delivery ends with its acknowledgement or its reply, and at once where none is due.
//!
//! Source: the NATS client protocol; the server's `parser.go` for what it takes; ADR-4 for headers.

mod deliveries;
mod headers;
mod info;
mod jetstream;
mod line;
mod publications;
mod stroke;
mod subscriptions;
mod waiting;

use std::collections::HashMap;

use bytes::{Buf as _, BytesMut};
use serde::Deserialize;

use self::headers::Headers;
use self::info::Info;
use self::jetstream::Policy;
use self::line::{Line, MAX_BROKER_LINE, MAX_LINE, Message, Verb};
use self::stroke::Stroke;
use self::subscriptions::Subscriptions;
use self::waiting::Waiting;
use super::splice::{Courier, End, NotUnderstood, Splice, Token};

/// Header blocks beyond this pass unread.
const MAX_HEADERS: usize = 64 * 1024;
/// Answers beyond this pass unread.
const MAX_ANSWER: usize = 16 * 1024;
/// More than clients have under way by default when they publish to `JetStream` without waiting (4,000).
const MAX_REQUESTS: usize = 8_192;
/// More than a consumer may leave without acknowledgement by default (1,000).
const MAX_DELIVERIES: usize = 2_048;
/// Consumers that do not acknowledge each message.
const MAX_POLICIES: usize = 1_024;
/// The first byte of a TLS record that opens a connection (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// One connection.
#[derive(Debug)]
pub(crate) struct Nats {
    broker: Info,
    client: Connect,
    /// Whether the client said anything; before it may begin TLS.
    begun: bool,
    from_client: Body,
    from_broker: Body,
    published: Stroke,
    delivered: Stroke,
    subscriptions: Subscriptions,
    /// Published messages by their reply subject. None where only the answer is to be known as such.
    requests: Waiting<Option<Token>>,
    /// Deliveries by the subject that ends them.
    deliveries: Waiting<Delivered>,
    policies: HashMap<String, Policy>,
}

/// A delivery that is not ended.
#[derive(Debug)]
struct Delivered {
    token: Token,
    /// The subscription, where a reply ends it.
    subscription: Option<u64>,
}

/// What we need of a client's `CONNECT`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Connect {
    headers: bool,
}

/// The rest of a message, which passes as it comes.
#[derive(Debug, Default)]
struct Body {
    left: usize,
    /// What ends with it.
    ends: Option<Token>,
}

impl Body {
    fn pass(&mut self, input: &mut BytesMut, out: &mut BytesMut, courier: &mut dyn Courier) {
        let now = self.left.min(input.len());
        out.extend_from_slice(input.get(..now).unwrap_or_default());
        input.advance(now);
        self.left -= now;
        if self.left == 0
            && let Some(token) = self.ends.take()
        {
            courier.settle(token, End::default());
        }
    }
}

impl Nats {
    pub(crate) fn new() -> Self {
        Self {
            broker: Info::default(),
            client: Connect::default(),
            begun: false,
            from_client: Body::default(),
            from_broker: Body::default(),
            published: Stroke::default(),
            delivered: Stroke::default(),
            subscriptions: Subscriptions::default(),
            requests: Waiting::new(MAX_REQUESTS),
            deliveries: Waiting::new(MAX_DELIVERIES),
            policies: HashMap::new(),
        }
    }

    /// Passes what the client begins `input` with; 0 where it must be longer to be judged.
    fn client_line(
        &mut self,
        input: &[u8],
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> Result<usize, NotUnderstood> {
        if !self.begun && input.first() == Some(&TLS_HANDSHAKE) {
            return Err(NotUnderstood::Encrypted);
        }
        if let Some((written, taken, body)) = self.published.again(input) {
            out.extend_from_slice(written);
            self.from_client.left = body;
            return Ok(taken);
        }
        let Some(line) = Line::read(input, MAX_LINE)? else {
            return Ok(0);
        };
        self.begun = true;
        match line.verb {
            Verb::Publish | Verb::PublishWithHeaders => {
                let message = Message::read(line).ok_or(NotUnderstood::Malformed)?;
                return Ok(self.publish(line, &message, input, out, courier));
            }
            Verb::Connect => {
                self.published.turns();
                self.client = serde_json::from_slice(line.rest()).map_err(|_| NotUnderstood::Malformed)?;
            }
            Verb::Subscribe => self.subscriptions.add(line),
            Verb::Unsubscribe => {
                if let Some(open) = self.subscriptions.end(line) {
                    self.end_delivery(&open, courier);
                }
            }
            Verb::Message | Verb::MessageWithHeaders => return Err(NotUnderstood::Malformed),
            Verb::Info | Verb::Other => {}
        }
        out.extend_from_slice(line.whole);
        Ok(line.whole.len())
    }

    /// As [`Nats::client_line`], of the broker.
    fn broker_line(
        &mut self,
        input: &[u8],
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> Result<usize, NotUnderstood> {
        if let Some(taken) = self.deliver_again(input, out) {
            return Ok(taken);
        }
        let Some(line) = Line::read(input, MAX_BROKER_LINE)? else {
            return Ok(0);
        };
        match line.verb {
            Verb::Message | Verb::MessageWithHeaders => {
                let message = Message::read(line).ok_or(NotUnderstood::Malformed)?;
                let Some(whole) = self.deliver(line, &message, input, courier) else {
                    return Ok(0);
                };
                self.from_broker.left = message.total + 2 - (whole - line.whole.len());
                out.extend_from_slice(input.get(..whole).unwrap_or_default());
                return Ok(whole);
            }
            Verb::Info => {
                self.broker = serde_json::from_slice(line.rest()).map_err(|_| NotUnderstood::Malformed)?;
                info::write(line.whole, out, courier);
                return Ok(line.whole.len());
            }
            Verb::Other => {}
            _ => return Err(NotUnderstood::Malformed),
        }
        out.extend_from_slice(line.whole);
        Ok(line.whole.len())
    }

    fn client_lines(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> Result<(), NotUnderstood> {
        loop {
            self.from_client.pass(input, out, courier);
            if input.is_empty() {
                return Ok(());
            }
            match self.client_line(input, out, courier)? {
                0 => return Ok(()),
                taken => input.advance(taken),
            }
        }
    }

    fn broker_lines(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> Result<(), NotUnderstood> {
        loop {
            self.from_broker.pass(input, out, courier);
            if input.is_empty() {
                return Ok(());
            }
            match self.broker_line(input, out, courier)? {
                0 => return Ok(()),
                taken => input.advance(taken),
            }
        }
    }

    fn end_delivery(&mut self, subject: &[u8], courier: &mut dyn Courier) {
        if let Some(open) = self.deliveries.remove(subject) {
            courier.settle(open.token, End::default());
        }
    }
}

impl Splice for Nats {
    fn client_said(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> Result<(), NotUnderstood> {
        let said = self.client_lines(input, out, courier);
        self.published.end(courier);
        said
    }

    fn broker_said(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> Result<(), NotUnderstood> {
        let said = self.broker_lines(input, out, courier);
        self.delivered.end(courier);
        said
    }
}

/// Whether messages to `subject` are the protocol's own.
fn is_protocol(subject: &[u8]) -> bool {
    subject.starts_with(b"$") || subject.starts_with(b"_INBOX")
}

/// The header block behind `line`, once it is there.
enum Block<'a> {
    More,
    /// Longer than what is held.
    TooLong,
    Broken,
    Read(Headers<'a>),
}

impl<'a> Block<'a> {
    fn read(line: Line<'_>, message: &Message<'_>, input: &'a [u8]) -> Self {
        if message.headers == 0 {
            return Self::Read(Headers::default());
        }
        if message.headers > MAX_HEADERS {
            return Self::TooLong;
        }
        let begin = line.whole.len();
        match input.get(begin..begin + message.headers) {
            None => Self::More,
            Some(block) => Headers::read(block).map_or(Self::Broken, Self::Read),
        }
    }
}

#[cfg(test)]
mod tests;
