//! What a broker delivers.
//!
//! In: a `MSG` or `HMSG` line, and what follows it. Out: word of the message, or of the request that it answers. Nothing is
//! changed.

use bytes::BytesMut;
use propagation::Extracted;

use super::super::destination::template;
use super::super::splice::{Carried, Courier, End, How, Received, Receiving, Sent, Skip, Token};
use super::headers::Headers;
use super::jetstream::{Answer, Delivery, Policy, policy};
use super::line::{Line, Message};
use super::publications::MESSAGE_ID;
use super::{Block, Delivered, MAX_ANSWER, MAX_POLICIES, Nats, is_protocol};

/// Nobody is subscribed (HTTP's 503, as the broker says).
const NO_RESPONDERS: &str = "no_responders";

impl Nats {
    /// How much of `input` is judged and may pass; `None` where there must be more of it.
    pub(super) fn deliver(
        &mut self,
        line: Line<'_>,
        message: &Message<'_>,
        input: &[u8],
        courier: &mut dyn Courier,
    ) -> Option<usize> {
        let headers = match Block::read(line, message, input) {
            Block::More => return None,
            Block::TooLong => {
                courier.skipped(Skip::NotHeld);
                return Some(line.whole.len());
            }
            Block::Broken => {
                courier.skipped(Skip::UnknownFrame);
                return Some(line.whole.len());
            }
            Block::Read(headers) => headers,
        };
        let begin = line.whole.len() + message.headers;
        let is_answer = is_protocol(message.subject) || self.requests.contains(message.subject);
        if !is_answer {
            if headers.status().is_none() && !self.receive_together(line, message, &headers, input, courier) {
                self.receive(message, &headers, courier);
            }
            return Some(begin);
        }
        if message.payload() > MAX_ANSWER {
            self.end_request(message.subject, None, courier);
            return Some(begin);
        }
        let payload = input.get(begin..begin + message.payload())?;
        self.answer(message.subject, &headers, payload, courier);
        Some(begin + payload.len())
    }

    fn answer(&mut self, subject: &[u8], headers: &Headers<'_>, payload: &[u8], courier: &mut dyn Courier) {
        if let Some((consumer, policy)) = policy(payload) {
            match policy {
                Some(policy) if self.policies.len() < MAX_POLICIES => {
                    self.policies.insert(consumer, policy);
                }
                Some(_) => {}
                None => {
                    self.policies.remove(&consumer);
                }
            }
        }
        let Some(Some(token)) = self.requests.remove(subject) else {
            return;
        };
        let (error, place) = match headers.status() {
            Some("503") => (Some(NO_RESPONDERS.to_owned()), None),
            Some(status) => (Some(status.to_owned()), None),
            None => match Answer::read(payload) {
                Answer::Stored(place) => (None, place),
                Answer::Refused(code) => (Some(code), None),
                Answer::Other => (headers.get("nats-service-error-code").map(str::to_owned), None),
            },
        };
        let (error, place) = (error.as_deref(), place.as_deref());
        courier.settle(token, End { error, place });
    }

    fn end_request(&mut self, subject: &[u8], error: Option<&str>, courier: &mut dyn Courier) {
        if let Some(Some(token)) = self.requests.remove(subject) {
            courier.settle(token, End { error, place: None });
        }
    }

    /// As [`Nats::receive`], with what is delivered in the same stroke, where nobody settles it and nothing but its payload
    /// tells it from others. `false`, and nothing was told, where it is another sort of message.
    fn receive_together(
        &mut self,
        line: Line<'_>,
        message: &Message<'_>,
        headers: &Headers<'_>,
        input: &[u8],
        courier: &mut dyn Courier,
    ) -> bool {
        let begin = line.whole.len();
        let (said, is_whole) = (
            input.get(..begin + message.headers),
            input.len() >= begin + message.total + 2,
        );
        let shared = message.reply.is_none() && is_whole && headers.get(MESSAGE_ID).is_none();
        let Some(said) = said.filter(|_| shared && !self.subscriptions.is_limited(message.sid)) else {
            return false;
        };
        let subscriptions = &self.subscriptions;
        let tell = |courier: &mut dyn Courier, destination: &str, extracted: &Extracted| {
            let group = subscriptions.group(message.sid);
            let token = courier.receives(&Receiving {
                destination,
                operation: "deliver",
                how: How::Processes,
                size: Some(message.payload() as u64),
                messages: &[Received {
                    carried: Carried::Read(extracted),
                    place: None,
                    messages: 1,
                }],
                more: &|attributes| {
                    if !group.is_empty() {
                        attributes.push("messaging.consumer.group.name", group);
                    }
                },
            });
            Sent {
                token,
                add: Vec::new(),
            }
        };
        let block = said.get(begin..).unwrap_or_default();
        let joined = self.delivered.join(message, (headers, block), courier, tell);
        if joined {
            self.delivered.goes_on(said, said, message.body());
            self.subscriptions.delivers(message.sid);
        }
        joined
    }

    /// Passes line and block where `input` begins with a message that looks as the one before; how many bytes.
    pub(super) fn deliver_again(&mut self, input: &[u8], out: &mut BytesMut) -> Option<usize> {
        let (said, taken, body) = self.delivered.again(input)?;
        out.extend_from_slice(said);
        self.from_broker.left = body;
        self.subscriptions.delivers(self.delivered.sid());
        Some(taken)
    }

    fn receive(&mut self, message: &Message<'_>, headers: &Headers<'_>, courier: &mut dyn Courier) {
        let delivery = message.reply.and_then(Delivery::read);
        let place = delivery.filter(|_| courier.joins()).map(|of| of.place());
        let destination = template(message.subject, b'.');
        let id = headers.get(MESSAGE_ID);
        let subscription = self.subscriptions.delivers(message.sid);
        let number = subscription.as_ref().map(|of| of.number);
        let group = match (delivery, &subscription) {
            (Some(delivery), _) => delivery.consumer,
            (None, Some(subscription)) => &subscription.group,
            (None, None) => "",
        };
        let extracted = courier.reads(headers);
        let received = [Received {
            carried: Carried::Read(&extracted),
            place: place.as_deref(),
            messages: 1,
        }];
        let token = courier.receives(&Receiving {
            destination: &destination,
            operation: "deliver",
            how: How::Processes,
            size: Some(message.payload() as u64),
            messages: &received,
            more: &|attributes| {
                if !group.is_empty() {
                    attributes.push("messaging.consumer.group.name", group);
                }
                if let Some(id) = id {
                    attributes.push("messaging.message.id", id);
                }
            },
        });
        if let Some(token) = token {
            self.await_settlement(message, delivery, number, token, courier);
        }
        self.subscriptions.after_delivery(message.sid);
    }

    fn await_settlement(
        &mut self,
        message: &Message<'_>,
        delivery: Option<Delivery<'_>>,
        subscription: Option<u64>,
        token: Token,
        courier: &mut dyn Courier,
    ) {
        let Some(reply) = message.reply.filter(|_| !self.needs_no_ack(delivery)) else {
            courier.settle(token, End::default());
            return;
        };
        if delivery.is_none()
            && let Some(before) = self.subscriptions.may_answer(message.sid, reply)
        {
            self.end_delivery(&before, courier);
        }
        let subscription = subscription.filter(|_| delivery.is_none());
        let open = Delivered { token, subscription };
        if let Some(oldest) = self.deliveries.insert(reply, open) {
            courier.settle(oldest.token, End::default());
        }
    }

    fn needs_no_ack(&self, delivery: Option<Delivery<'_>>) -> bool {
        let policy = |of: Delivery<'_>| self.policies.get(&of.consumer_key());
        !self.policies.is_empty() && delivery.and_then(policy) == Some(&Policy::Nothing)
    }
}
