//! AMQP 0-9-1: context in the headers table of messages, and word of what is published, delivered and acknowledged.
//!
//! In: the frames of client and broker. Out: the same frames, the content header of a published message with what is to be
//! added to its `headers`; and the life of each message, from `basic.publish` to its confirm, from delivery to the ack.
//! Left out on purpose: bodies, which pass as they come; AMQP 1.0, which passes unseen; and everything that a broker
//! judges (permissions, unexpected frames, sizes): what it would refuse reaches it as it was.
//!
//! Sources: the AMQP 0-9-1 specification §2.3 and §4.2, and `RabbitMQ`'s errata and extensions (field types, confirms, nack).

mod channel;
mod content;
mod frame;
mod ledger;
mod message;
mod names;
mod sources;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::{Buf as _, BytesMut};

use self::channel::Channel;
use self::content::Content;
use self::frame::{BODY, FRAME_OVERHEAD, HEADER, HEARTBEAT, Head, METHOD, Method, PROTOCOL, Reader};
use self::ledger::{Counts, Told};
use super::splice::{Courier, NotUnderstood, Sent, Skip, Splice};

/// How much of a frame is held to be read, and how large a frame may be before client and broker agreed on that. `RabbitMQ`'s
/// own bound is 128 KiB by default.
const MOST_HELD: usize = 1 << 20;

/// AMQP 0-9-1 on one connection.
pub(crate) struct Amqp {
    /// Whether the client has said which protocol it speaks.
    started: bool,
    /// What is passing of a frame that is not held, in either direction.
    client: Option<Streamed>,
    broker: Option<Streamed>,
    /// The largest frame as agreed by `connection.tune-ok`, in bytes with its head and end.
    frame_max: usize,
    channels: BTreeMap<u16, Channel>,
    counts: Counts,
    /// The reply code with which the client closes the connection.
    closing: Option<u16>,
}

/// A frame that passes as it comes.
struct Streamed {
    left: usize,
    size: usize,
    channel: u16,
    body: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    Client,
    Broker,
}

impl Splice for Amqp {
    fn client_said(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> Result<(), NotUnderstood> {
        if !self.started {
            let Some(header) = protocol_header(input)? else {
                return Ok(());
            };
            pass(input, out, header);
            self.started = true;
        }
        self.frames(Peer::Client, input, out, courier)
    }

    fn broker_said(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> Result<(), NotUnderstood> {
        self.frames(Peer::Broker, input, out, courier)
    }
}

/// The length of the client's protocol header, once it is there whole (AMQP 0-9-1 §4.2.2).
fn protocol_header(input: &[u8]) -> Result<Option<usize>, NotUnderstood> {
    /// The first octet of a TLS handshake record.
    const HANDSHAKE: u8 = 22;
    let differs = input
        .iter()
        .zip(PROTOCOL)
        .position(|(came, wanted)| *came != wanted);
    match (differs, input.first()) {
        (None, _) => Ok((input.len() >= PROTOCOL.len()).then_some(PROTOCOL.len())),
        (Some(0), Some(&HANDSHAKE)) => Err(NotUnderstood::Encrypted),
        (Some(..4), _) => Err(NotUnderstood::Malformed),
        (Some(_), _) => Err(NotUnderstood::Unknown),
    }
}

impl Amqp {
    /// A connection that begins.
    pub(crate) fn new() -> Self {
        Self {
            client: None,
            broker: None,
            started: false,
            frame_max: MOST_HELD,
            channels: BTreeMap::new(),
            counts: Counts::default(),
            closing: None,
        }
    }

    fn streamed(&mut self, peer: Peer) -> &mut Option<Streamed> {
        match peer {
            Peer::Client => &mut self.client,
            Peer::Broker => &mut self.broker,
        }
    }

    fn frames(
        &mut self,
        peer: Peer,
        input: &mut BytesMut,
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> Result<(), NotUnderstood> {
        loop {
            if self.streamed(peer).is_some() && !self.stream(peer, input, out, courier)? {
                return Ok(());
            }
            // A broker that wants another version says so by a protocol header.
            if peer == Peer::Broker && input.first() == PROTOCOL.first() {
                return Err(NotUnderstood::Unknown);
            }
            let Some(head) = Head::read(input) else {
                return Ok(());
            };
            if head.size.saturating_add(FRAME_OVERHEAD) > self.frame_max {
                return Err(NotUnderstood::Malformed);
            }
            let held = head.size <= MOST_HELD && matches!(head.kind, METHOD | HEADER);
            if !held {
                self.begin_stream(peer, &head, courier);
                pass(input, out, Head::LEN);
            } else if let Some(frame) = head.whole(input)? {
                self.held(peer, &head, &frame, out, courier);
                input.advance(head.size.saturating_add(FRAME_OVERHEAD));
            } else {
                return Ok(());
            }
        }
    }

    fn begin_stream(&mut self, peer: Peer, head: &Head, courier: &mut dyn Courier) {
        let body = head.kind == BODY;
        match head.kind {
            BODY | HEARTBEAT => {}
            METHOD | HEADER => {
                courier.skipped(Skip::NotHeld);
                if let Some(channel) = self.channels.get_mut(&head.channel) {
                    channel.lost(peer == Peer::Client);
                }
            }
            _ => courier.skipped(Skip::UnknownFrame),
        }
        *self.streamed(peer) = Some(Streamed {
            left: head.size,
            size: head.size,
            channel: head.channel,
            body,
        });
    }

    /// Passes what is there of a frame; whether it was passed whole.
    fn stream(
        &mut self,
        peer: Peer,
        input: &mut BytesMut,
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> Result<bool, NotUnderstood> {
        let Some(streamed) = self.streamed(peer) else {
            return Ok(true);
        };
        let here = streamed.left.min(input.len());
        pass(input, out, here);
        streamed.left -= here;
        let (channel, size, body) = (streamed.channel, streamed.size, streamed.body);
        match input.first() {
            None => return Ok(false),
            Some(&frame::END) => pass(input, out, 1),
            Some(_) => return Err(NotUnderstood::Malformed),
        }
        *self.streamed(peer) = None;
        if let Some(channel) = self.channels.get_mut(&channel).filter(|_| body) {
            let told = &mut Told::new(courier, &mut self.counts);
            channel.body(peer == Peer::Client, size, told);
        }
        Ok(true)
    }

    /// A frame that is there whole; what goes on instead is appended to `out`.
    fn held(
        &mut self,
        peer: Peer,
        head: &Head,
        frame: &frame::Whole<'_>,
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) {
        if head.kind == METHOD {
            out.extend_from_slice(frame.bytes);
            if self.method(peer, head.channel, frame.payload, courier).is_none() {
                courier.skipped(Skip::UnknownFrame);
            }
            return;
        }
        let most = self.frame_max.min(MOST_HELD).saturating_sub(FRAME_OVERHEAD);
        let waits = |channel: &&mut Channel| channel.awaits_header(peer == Peer::Client);
        let Some(channel) = self.channels.get_mut(&head.channel).filter(waits) else {
            out.extend_from_slice(frame.bytes);
            return;
        };
        let content = match Content::read(frame.payload) {
            Ok(content) => content,
            Err(why) => {
                courier.skipped(why);
                channel.lost(peer == Peer::Client);
                out.extend_from_slice(frame.bytes);
                return;
            }
        };
        let told = &mut Told::new(courier, &mut self.counts);
        if peer == Peer::Broker {
            out.extend_from_slice(frame.bytes);
            channel.receives(&content, told);
            return;
        }
        let Sent { token, add } = channel.sends(&content, told);
        if add.is_empty() {
            out.extend_from_slice(frame.bytes);
        } else if let Err(why) = content.write_with(head.channel, &add, most, out) {
            out.extend_from_slice(frame.bytes);
            told.courier.skipped(why);
            if let Some(token) = token {
                told.courier.not_added(token, 1);
            }
        }
        channel.sent(token, &content, told);
    }

    /// `None` where it is no method that a broker of 0-9-1 knows, or is broken.
    fn method(&mut self, peer: Peer, number: u16, payload: &[u8], courier: &mut dyn Courier) -> Option<()> {
        let mut args = Reader::new(payload);
        let method = Method(args.short()?, args.short()?);
        match (peer, method) {
            (Peer::Client, Method::TUNE_OK) => {
                args.short()?;
                let most = args.long()? as usize;
                self.frame_max = if most == 0 { usize::MAX } else { most };
            }
            (Peer::Client, Method::CONNECTION_CLOSE) => self.closing = Some(args.short()?),
            (Peer::Broker, Method::CONNECTION_CLOSE) => {
                let code = args.short()?;
                self.close_all(code, courier);
            }
            (Peer::Broker, Method::CONNECTION_CLOSE_OK) => {
                let code = self.closing.unwrap_or(names::REPLY_SUCCESS);
                self.close_all(code, courier);
            }
            (Peer::Client, Method::CHANNEL_OPEN) => {
                self.channels.entry(number).or_default();
            }
            (_, Method::CHANNEL_CLOSE_OK) => {
                let told = &mut Told::new(courier, &mut self.counts);
                if let Some(mut channel) = self.channels.remove(&number) {
                    channel.closed(None, told);
                }
            }
            _ => return self.on_channel(peer, number, method, args, courier),
        }
        Some(())
    }

    fn on_channel(
        &mut self,
        peer: Peer,
        number: u16,
        method: Method,
        args: Reader<'_>,
        courier: &mut dyn Courier,
    ) -> Option<()> {
        let Some(channel) = self.channels.get_mut(&number) else {
            return method.class_is_known().then_some(());
        };
        let told = &mut Told::new(courier, &mut self.counts);
        match peer {
            Peer::Client => channel.client_said(method, args, told),
            Peer::Broker => channel.broker_said(method, args, told),
        }
    }

    fn close_all(&mut self, code: u16, courier: &mut dyn Courier) {
        let told = &mut Told::new(courier, &mut self.counts);
        for (_, mut channel) in std::mem::take(&mut self.channels) {
            channel.closed(Some(code), told);
        }
    }
}

fn pass(input: &mut BytesMut, out: &mut BytesMut, length: usize) {
    if let Some((passed, _)) = input.split_at_checked(length) {
        out.extend_from_slice(passed);
        input.advance(length);
    }
}
