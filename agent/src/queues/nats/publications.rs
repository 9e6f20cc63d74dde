//! What a client publishes.
//!
//! In: a `PUB` or `HPUB` line, and what follows it. Out: the same with context in its header block; word of the message, or
//! of the delivery that it acknowledges or answers.

use std::borrow::Cow;

use bytes::BytesMut;
use propagation::Extracted;

use super::super::destination::template;
use super::super::splice::{Carried, Courier, End, Sending, Skip, Token};
use super::headers::Headers;
use super::jetstream::{ACK_PREFIX, ACK_WORD, Ack, Delivery, Policy};
use super::line::{Line, Message};
use super::{Block, Nats, is_protocol};

/// Makes a message one of its own.
pub(super) const MESSAGE_ID: &str = "nats-msg-id";
/// The broker closes the connection over it.
const TOO_LARGE: &str = "maximum_payload_violation";

impl Nats {
    /// Passes line and header block; 0 where there must be more of the message. Its payload passes as a body.
    pub(super) fn publish(
        &mut self,
        line: Line<'_>,
        message: &Message<'_>,
        input: &[u8],
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> usize {
        if message.subject.starts_with(ACK_PREFIX) {
            return self.acknowledge(line, message, input, out, courier);
        }
        if let Some(open) = self.deliveries.remove(message.subject) {
            courier.settle(open.token, End::default());
            if let Some(number) = open.subscription {
                self.subscriptions.answers(number);
            }
            return self.pass(line, message, out);
        }
        if is_protocol(message.subject) {
            self.expect_answer(message, None, courier);
            return self.pass(line, message, out);
        }
        match Block::read(line, message, input) {
            Block::More => 0,
            Block::TooLong => {
                courier.skipped(Skip::NotHeld);
                self.pass(line, message, out)
            }
            Block::Broken => {
                courier.skipped(Skip::UnknownFrame);
                self.pass(line, message, out)
            }
            Block::Read(headers) => {
                let together = self
                    .is_shared(line, message, &headers, input)
                    .then(|| self.send_together(line, message, &headers, input, out, courier));
                together
                    .flatten()
                    .unwrap_or_else(|| self.send(line, message, &headers, out, courier))
            }
        }
    }

    /// Whether the span of a message may be that of others: it stands in this read whole, nobody answers it, nothing but its
    /// payload tells it from others, and the broker will take it.
    fn is_shared(&self, line: Line<'_>, message: &Message<'_>, headers: &Headers<'_>, input: &[u8]) -> bool {
        let max = self.broker.max_payload();
        message.reply.is_none()
            && input.len() >= line.whole.len() + message.total + 2
            && !(max > 0 && message.total > max)
            && headers.get(MESSAGE_ID).is_none()
    }

    /// As [`Nats::send`], with what is published in the same stroke. `None` where there is no room.
    fn send_together(
        &mut self,
        line: Line<'_>,
        message: &Message<'_>,
        headers: &Headers<'_>,
        input: &[u8],
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> Option<usize> {
        let said = input.get(..line.whole.len() + message.headers)?;
        let block = said.get(line.whole.len()..)?;
        let tell = |courier: &mut dyn Courier, destination: &str, extracted: &Extracted| {
            courier.sends(&Sending {
                destination,
                operation: "publish",
                carried: Carried::Read(extracted),
                size: Some(message.payload() as u64),
                more: &|_| {},
            })
        };
        if !self.published.join(message, (headers, block), courier, tell) {
            return None;
        }
        let from = out.len();
        match self.write(message, headers, self.published.added(), out) {
            Ok(true) => {
                let written = out.get(from..).unwrap_or_default();
                self.published.goes_on(said, written, message.body());
            }
            Ok(false) => {
                out.extend_from_slice(said);
                self.published.goes_on(said, said, message.body());
            }
            Err(why) => {
                courier.skipped(why);
                self.published.goes_bare();
                out.extend_from_slice(said);
            }
        }
        self.from_client.left = message.body();
        Some(said.len())
    }

    /// Passes the line as it came, and leaves the rest to pass.
    fn pass(&mut self, line: Line<'_>, message: &Message<'_>, out: &mut BytesMut) -> usize {
        out.extend_from_slice(line.whole);
        self.from_client.left = message.total + 2;
        line.whole.len()
    }

    fn send(
        &mut self,
        line: Line<'_>,
        message: &Message<'_>,
        headers: &Headers<'_>,
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> usize {
        let id = headers.get(MESSAGE_ID);
        let destination: Cow<'_, str> = template(message.subject, b'.');
        let extracted = courier.reads(headers);
        let sent = courier.sends(&Sending {
            destination: &destination,
            operation: "publish",
            carried: Carried::Read(&extracted),
            size: Some(message.payload() as u64),
            more: &|attributes| {
                if let Some(id) = id {
                    attributes.push("messaging.message.id", id);
                }
            },
        });
        let mut added = Vec::new();
        headers.lines(&sent.add, &mut added);
        let taken = match self.write(message, headers, &added, out) {
            Ok(true) => {
                self.from_client.left = message.body();
                line.whole.len() + message.headers
            }
            Ok(false) => self.pass(line, message, out),
            Err(why) => {
                courier.skipped(why);
                if let Some(token) = sent.token {
                    courier.not_added(token, 1);
                }
                self.pass(line, message, out)
            }
        };
        if let Some(token) = sent.token {
            self.await_end(message, token, courier);
        }
        taken
    }

    /// Writes line and header block with the lines `added` in it, or says why that cannot be; `false`, and nothing is written,
    /// where there are none.
    fn write(
        &self,
        message: &Message<'_>,
        headers: &Headers<'_>,
        added: &[u8],
        out: &mut BytesMut,
    ) -> Result<bool, Skip> {
        if added.is_empty() {
            return Ok(false);
        }
        if !(self.broker.headers && self.client.headers) {
            return Err(Skip::NoHeaders);
        }
        let len = headers.len_with(added.len());
        if message.payload() + len > self.broker.max_payload() || !message.write_with_headers(len, out) {
            return Err(Skip::TooLarge);
        }
        headers.write_with(added, out);
        Ok(true)
    }

    fn await_end(&mut self, message: &Message<'_>, token: Token, courier: &mut dyn Courier) {
        if self.broker.max_payload() > 0 && message.total > self.broker.max_payload() {
            let error = Some(TOO_LARGE);
            courier.settle(token, End { error, place: None });
        } else if message
            .reply
            .is_some_and(|reply| self.subscriptions.is_inbox(reply))
        {
            self.expect_answer(message, Some(token), courier);
        } else {
            self.from_client.ends = Some(token);
        }
    }

    /// What is delivered to the reply subject of `message` answers it.
    fn expect_answer(&mut self, message: &Message<'_>, token: Option<Token>, courier: &mut dyn Courier) {
        let Some(reply) = message.reply else { return };
        // What comes to an inbox is known to be no message.
        if token.is_none() && (is_protocol(reply) || !self.subscriptions.is_inbox(reply)) {
            return;
        }
        if let Some(Some(oldest)) = self.requests.insert(reply, token) {
            courier.settle(oldest, End::default());
        }
    }

    fn acknowledge(
        &mut self,
        line: Line<'_>,
        message: &Message<'_>,
        input: &[u8],
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> usize {
        let begin = line.whole.len() + message.headers;
        let len = message.payload();
        // A header block longer than what is held tells nothing, and nobody sends one.
        let word = if message.headers > super::MAX_HEADERS {
            b""
        } else {
            match input.get(begin..begin + len.min(ACK_WORD)) {
                Some(word) => word,
                None => return 0,
            }
        };
        let error = match Ack::read(word, len) {
            Ack::Done => None,
            Ack::Failed(why) => Some(why),
            Ack::Working => return self.pass(line, message, out),
        };
        let end = End { error, place: None };
        if let Some(open) = self.deliveries.remove(message.subject) {
            courier.settle(open.token, end);
        }
        self.acknowledge_up_to(message.subject, courier);
        self.pass(line, message, out)
    }

    fn acknowledge_up_to(&mut self, subject: &[u8], courier: &mut dyn Courier) {
        if self.policies.is_empty() {
            return;
        }
        let Some(last) = Delivery::read(subject) else {
            return;
        };
        if self.policies.get(&last.consumer_key()) != Some(&Policy::UpTo) {
            return;
        }
        let before = |key: &[u8]| {
            Delivery::read(key).is_some_and(|one| {
                (one.stream, one.consumer) == (last.stream, last.consumer) && one.number <= last.number
            })
        };
        self.deliveries
            .remove_all(before, |open| courier.settle(open.token, End::default()));
    }
}
