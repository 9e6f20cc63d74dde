//! What a client publishes.
//!
//! In: a `PUB` or `HPUB` line, and what follows it. Out: the same with context in its header block; word of the message, or
//! of the delivery that it acknowledges or answers.

use std::borrow::Cow;

use bytes::BytesMut;

use super::super::destination::template;
use super::super::splice::{Carried, Courier, End, Sending, Skip, Token};
use super::headers::{Headers, keep_writable};
use super::jetstream::{ACK_PREFIX, ACK_WORD, Ack, Delivery, Policy};
use super::line::{Line, Message};
use super::{Block, Nats, is_protocol};

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
            Block::Read(headers) => self.send(line, message, &headers, out, courier),
        }
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
        let id = headers.get("nats-msg-id");
        let destination: Cow<'_, str> = template(message.subject, b'.');
        let mut sent = courier.sends(&Sending {
            destination: &destination,
            operation: "publish",
            carried: Carried::Raw(headers),
            size: Some(message.payload() as u64),
            more: &|attributes| {
                if let Some(id) = id {
                    attributes.push("messaging.message.id", id);
                }
            },
        });
        keep_writable(&mut sent.add);
        let taken = if sent.add.is_empty() {
            self.pass(line, message, out)
        } else {
            match self.add(message, headers, &sent.add, out) {
                Ok(()) => line.whole.len() + message.headers,
                Err(why) => {
                    courier.skipped(why);
                    if let Some(token) = sent.token {
                        courier.not_added(token);
                    }
                    self.pass(line, message, out)
                }
            }
        };
        if let Some(token) = sent.token {
            self.await_end(message, token, courier);
        }
        taken
    }

    /// Writes line and header block with `add` in it, or says why that cannot be.
    fn add(
        &mut self,
        message: &Message<'_>,
        headers: &Headers<'_>,
        add: &[(String, Vec<u8>)],
        out: &mut BytesMut,
    ) -> Result<(), Skip> {
        if !(self.broker.headers && self.client.headers) {
            return Err(Skip::NoHeaders);
        }
        let len = headers.len_with(add);
        if message.payload() + len > self.broker.max_payload() || !message.write_with_headers(len, out) {
            return Err(Skip::TooLarge);
        }
        headers.write_with(add, out);
        self.from_client.left = message.body();
        Ok(())
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
