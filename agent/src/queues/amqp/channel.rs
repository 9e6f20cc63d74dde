//! One channel: which messages are on their way on it, and which wait to be acknowledged.
//!
//! In: methods, content headers and body frames of both sides. Out: word of messages, by way of a courier.
//! Left out on purpose: bytes. Nothing here writes any.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use otlp::encode::Attributes;

use super::content::Content;
use super::frame::{Method, Reader};
use super::ledger::{Entry, Ledger, Told, failed};
use super::message::{Message, Stage};
use super::names;
use super::sources::{Asked, Consumers, Source};
use crate::queues::splice::{Carried, End, How, Received, Receiving, Sending, Sent, Token};

/// How many commits may be under way before two of them are taken for one.
const MOST_COMMITS: usize = 1_024;

/// A channel of a connection.
#[derive(Default)]
pub(super) struct Channel {
    /// What the client publishes.
    up: Message,
    /// Of a message that the broker must return where nobody takes it.
    route: Option<u64>,
    settles: Settles,
    /// How many messages were published since confirms were asked for, or ever.
    published: u64,
    unconfirmed: Ledger,
    /// Where the transactions end of which the commit or rollback was not answered.
    commits: VecDeque<u64>,

    /// What the broker delivers.
    down: Message,
    delivery: Delivery,
    unacknowledged: Ledger,
    consumers: Consumers,
    gets: Asked,
    /// The queue that was declared last, which an empty queue name stands for.
    declared: Vec<u8>,

    closing: Option<u16>,
}

/// When a published message is the broker's.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Settles {
    /// Nobody says; once it is sent.
    #[default]
    Sent,
    Confirmed,
    Committed,
}

#[derive(Default)]
struct Delivery {
    tag: u64,
    operation: &'static str,
    acknowledged: bool,
}

impl Channel {
    fn way(&mut self, from_client: bool) -> &mut Message {
        if from_client { &mut self.up } else { &mut self.down }
    }

    /// What comes next of a message cannot be read.
    pub(super) fn lost(&mut self, from_client: bool) {
        self.way(from_client).stage = Stage::Idle;
    }

    pub(super) fn awaits_header(&self, from_client: bool) -> bool {
        let message = if from_client { &self.up } else { &self.down };
        self.closing.is_none() && matches!(message.stage, Stage::Header)
    }

    pub(super) fn body(&mut self, from_client: bool, length: usize, told: &mut Told<'_>) {
        self.way(from_client).body(length, told);
    }

    /// The header of a published message came.
    pub(super) fn sends(&mut self, content: &Content<'_>, told: &mut Told<'_>) -> Sent {
        let up = &self.up;
        told.courier.sends(&Sending {
            destination: &up.destination,
            operation: "publish",
            carried: Carried::Raw(content),
            size: Some(content.body_size),
            more: &|out| up.describe(content, out),
        })
    }

    /// The header of a published message went on.
    pub(super) fn sent(&mut self, token: Option<Token>, content: &Content<'_>, told: &mut Told<'_>) {
        let mut at_end = token;
        if let Some(token) = token.filter(|_| self.settles != Settles::Sent) {
            at_end = None;
            let entry = Entry {
                number: self.published,
                token,
                route: self.route,
            };
            self.unconfirmed.add(entry, told);
        }
        self.up.stage = Stage::Body {
            left: content.body_size,
            token: at_end,
        };
        // A message without a body has no body frames.
        self.up.body(0, told);
    }

    /// The header of a delivered message came.
    pub(super) fn receives(&mut self, content: &Content<'_>, told: &mut Told<'_>) {
        let (down, delivery) = (&self.down, &self.delivery);
        let more = |out: &mut Attributes| {
            down.describe(content, out);
            out.push("messaging.rabbitmq.message.delivery_tag", delivery.tag as i64);
        };
        // Who acknowledges nothing may work on a message for as long as it likes, and nobody sees.
        let how = if delivery.acknowledged {
            How::Processes
        } else {
            How::Receives
        };
        let token = told.courier.receives(&Receiving {
            destination: &down.destination,
            operation: delivery.operation,
            how,
            size: Some(content.body_size),
            messages: &[Received {
                carried: Carried::Raw(content),
                place: None,
                messages: 1,
            }],
            more: &more,
        });
        let mut at_end = token;
        if let Some(token) = token.filter(|_| delivery.acknowledged) {
            at_end = None;
            let entry = Entry {
                number: delivery.tag,
                token,
                route: None,
            };
            self.unacknowledged.add(entry, told);
        }
        self.down.stage = Stage::Body {
            left: content.body_size,
            token: at_end,
        };
        self.down.body(0, told);
    }

    /// `None` where the method is broken or of no class that is known.
    pub(super) fn client_said(
        &mut self,
        method: Method,
        mut args: Reader<'_>,
        told: &mut Told<'_>,
    ) -> Option<()> {
        match method {
            Method::PUBLISH => self.publish(args, told)?,
            Method::ACK | Method::NACK | Method::REJECT => self.acknowledges(method, args, told)?,
            Method::CONSUME => self.consume(args, told)?,
            Method::GET => {
                args.short()?;
                let source = self.source(args.short_string()?, args.octet()? & 1 != 0);
                self.gets.push(source, told);
            }
            Method::CANCEL => {
                let tag = args.short_string()?;
                if args.octet()? & 1 != 0 {
                    self.consumers.cancelled(tag, told);
                }
            }
            Method::QUEUE_DECLARE => {
                args.short()?;
                self.declared = args.short_string()?.to_vec();
            }
            Method::RECOVER_ASYNC => self.unacknowledged.settle_all(failed("requeued"), told),
            Method::CONFIRM_SELECT if self.settles != Settles::Confirmed => {
                self.settles = Settles::Confirmed;
                self.published = 0;
            }
            Method::TX_SELECT => self.settles = Settles::Committed,
            Method::TX_COMMIT | Method::TX_ROLLBACK => {
                if self.commits.len() >= MOST_COMMITS {
                    self.commits.pop_back();
                }
                self.commits.push_back(self.published);
            }
            Method::CHANNEL_CLOSE => self.closing = Some(args.short()?),
            _ => return method.class_is_known().then_some(()),
        }
        Some(())
    }

    /// As [`Channel::client_said`].
    pub(super) fn broker_said(
        &mut self,
        method: Method,
        mut args: Reader<'_>,
        told: &mut Told<'_>,
    ) -> Option<()> {
        match method {
            Method::DELIVER => self.deliver(args, told)?,
            Method::GET_OK => self.got(args, told)?,
            Method::GET_EMPTY => drop(self.gets.answered(told)),
            Method::ACK | Method::NACK => self.confirms(method, args, told)?,
            Method::RETURN => self.returned(args, told)?,
            Method::CONSUME_OK => self.consumers.agreed(args.short_string()?, told),
            Method::CANCEL | Method::CANCEL_OK => self.consumers.cancelled(args.short_string()?, told),
            Method::QUEUE_DECLARE_OK => self.declared = args.short_string()?.to_vec(),
            Method::RECOVER_OK => self.unacknowledged.settle_all(failed("requeued"), told),
            Method::TX_COMMIT_OK => self.committed(End::default(), told),
            Method::TX_ROLLBACK_OK => self.committed(failed("rolled back"), told),
            Method::CHANNEL_CLOSE => {
                let code = args.short()?;
                self.closed(Some(code), told);
                self.closing = Some(code);
            }
            _ => return method.class_is_known().then_some(()),
        }
        Some(())
    }

    /// Nothing more comes of what is open. `code` is the broker's, else it is the one by which the client closes.
    pub(super) fn closed(&mut self, code: Option<u16>, told: &mut Told<'_>) {
        let code = code.or(self.closing).unwrap_or(names::REPLY_SUCCESS);
        let error = names::reply(code);
        self.up.break_off(error, told);
        self.down.break_off(error, told);
        self.unconfirmed.settle_all(failed(error), told);
        self.unacknowledged.settle_all(failed(error), told);
        self.consumers.clear(told);
        self.gets.clear(told);
    }

    fn publish(&mut self, mut args: Reader<'_>, told: &mut Told<'_>) -> Option<()> {
        args.short()?;
        let (exchange, routing_key) = (args.short_string()?, args.short_string()?);
        let returned = args.octet()? & 0b11 != 0;
        self.published += 1;
        self.route = returned.then(|| route(exchange, routing_key));
        self.up.begin(exchange, routing_key, &[], told);
        Some(())
    }

    /// The broker answers what was published.
    fn confirms(&mut self, method: Method, mut args: Reader<'_>, told: &mut Told<'_>) -> Option<()> {
        let (number, bits) = (args.long_long()?, args.octet()?);
        let end = if method == Method::ACK {
            End::default()
        } else {
            failed("nack")
        };
        self.unconfirmed.settle(all(number), bits & 1 != 0, end, told);
        Some(())
    }

    fn returned(&mut self, mut args: Reader<'_>, told: &mut Told<'_>) -> Option<()> {
        let (code, _text) = (args.short()?, args.short_string()?);
        let route = route(args.short_string()?, args.short_string()?);
        self.unconfirmed
            .settle_returned(route, failed(names::reply(code)), told);
        // Its content follows and is nobody's message.
        self.down.break_off("unfinished", told);
        Some(())
    }

    fn committed(&mut self, end: End<'_>, told: &mut Told<'_>) {
        let last = self.commits.pop_front().unwrap_or(self.published);
        self.unconfirmed.settle(last, true, end, told);
    }

    /// The client answers what was delivered.
    fn acknowledges(&mut self, method: Method, mut args: Reader<'_>, told: &mut Told<'_>) -> Option<()> {
        let (tag, bits) = (args.long_long()?, args.octet()?);
        let (multiple, requeue) = match method {
            Method::REJECT => (false, bits & 1 != 0),
            _ => (bits & 1 != 0, bits & 2 != 0),
        };
        let end = match method {
            Method::ACK => End::default(),
            _ if requeue => failed("requeued"),
            _ => failed("rejected"),
        };
        self.unacknowledged.settle(all(tag), multiple, end, told);
        Some(())
    }

    fn source(&self, queue: &[u8], no_ack: bool) -> Source {
        let queue = if queue.is_empty() {
            self.declared.as_slice()
        } else {
            queue
        };
        Source {
            queue: queue.into(),
            acknowledged: !no_ack,
        }
    }

    fn consume(&mut self, mut args: Reader<'_>, told: &mut Told<'_>) -> Option<()> {
        args.short()?;
        let (queue, tag) = (args.short_string()?, args.short_string()?);
        let bits = args.octet()?;
        let (no_ack, no_wait) = (bits & 2 != 0, bits & 8 != 0);
        let source = self.source(queue, no_ack);
        if !tag.is_empty() {
            self.consumers.remember(tag, source, told);
        } else if !no_wait {
            self.consumers.asked(source, told);
        }
        Some(())
    }

    fn deliver(&mut self, mut args: Reader<'_>, told: &mut Told<'_>) -> Option<()> {
        let consumer = args.short_string()?;
        let (tag, _redelivered) = (args.long_long()?, args.octet()?);
        let (exchange, routing_key) = (args.short_string()?, args.short_string()?);
        let source = self.consumers.get(consumer);
        self.delivery = Delivery {
            tag,
            operation: "deliver",
            acknowledged: source.is_some_and(|source| source.acknowledged),
        };
        let queue = source.map_or(&[][..], |source| &source.queue);
        self.down.begin(exchange, routing_key, queue, told);
        Some(())
    }

    fn got(&mut self, mut args: Reader<'_>, told: &mut Told<'_>) -> Option<()> {
        let (tag, _redelivered) = (args.long_long()?, args.octet()?);
        let (exchange, routing_key) = (args.short_string()?, args.short_string()?);
        let source = self.gets.answered(told);
        self.delivery = Delivery {
            tag,
            operation: "get",
            acknowledged: source.as_ref().is_some_and(|source| source.acknowledged),
        };
        let queue = source.as_ref().map_or(&[][..], |source| &source.queue);
        self.down.begin(exchange, routing_key, queue, told);
        Some(())
    }
}

/// Number 0 stands for all there are.
fn all(number: u64) -> u64 {
    if number == 0 { u64::MAX } else { number }
}

fn route(exchange: &[u8], routing_key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (exchange, routing_key).hash(&mut hasher);
    hasher.finish()
}
