//! Kafka: requests of a client and a broker's responses.
//!
//! In: both directions of a connection. Out: the same frames; in Produce requests records have context in their headers, and
//! in what names brokers their addresses lead through the agent. A batch has its span, or several where its messages are of
//! several traces.
//! Source: the Kafka protocol guide; KIP-98 (record batches), KIP-482 (flexible versions), KIP-511 (`ApiVersions`).
//! Left out on purpose: share groups (KIP-932), versions that name topics by ids (clients are told that the broker does not
//! speak them), consumer groups' names (a group is joined on another connection than messages are fetched on), and SASL tokens
//! without frames of their own (KIP-43): such a connection passes unseen.

mod addresses;
mod alike;
mod batch;
mod compression;
mod errors;
mod fetch;
mod place;
mod produce;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod versions;
mod wire;

use std::collections::VecDeque;

use bytes::BytesMut;
use otlp::encode::Attributes;

use self::produce::{Open, Work};
use self::wire::{Reader, pass, put_edited};
use super::splice::{Courier, NotUnderstood, Skip, Splice};

/// The largest frame that is held to be read.
const HELD: usize = 16 << 20;
/// The largest batch without its compression.
const PLAIN: usize = 32 << 20;
/// Requests that wait for their responses; a broker answers one at a time and reads no further meanwhile.
const WAITING: usize = 16 * 1024;
/// Messages that wait for their responses.
const OPEN: usize = 64 * 1024;
/// Numbers of requests end long before.
const LAST_KEY: i16 = 1000;
/// The longest header that ends with a client's name.
const NAME: usize = 14 + i16::MAX as usize;
/// What scratch memory keeps from one frame to the next.
const SCRATCH: usize = 256 * 1024;

/// How large things may be, in bytes, and how many.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// A batch with context in it.
    message: usize,
    /// A frame that is read.
    held: usize,
    /// A batch's records without compression.
    plain: usize,
    /// Requests that wait.
    waiting: usize,
    /// Messages that wait.
    open: usize,
}

/// Memory that one batch after the other is worked on in.
#[derive(Default)]
struct Scratch {
    /// Records without compression.
    plain: Vec<u8>,
    /// Records with context.
    grown: Vec<u8>,
    /// A batch with context.
    batch: Vec<u8>,
}

impl Scratch {
    fn clear(&mut self) {
        for bytes in [&mut self.plain, &mut self.grown, &mut self.batch] {
            bytes.clear();
            bytes.shrink_to(SCRATCH);
        }
    }
}

/// A request whose response has not come.
struct Asked {
    correlation: i32,
    key: i16,
    version: i16,
    /// Its messages.
    open: Open,
}

/// What is going on in the direction from the broker.
enum Answering {
    /// A frame begins.
    Between,
    /// So many bytes of a frame pass.
    Passing(usize),
    /// A frame is waited for that answers this.
    Waiting(usize, Asked),
}

/// One connection of a Kafka client.
pub(crate) struct Kafka {
    bounds: Bounds,
    /// Bytes of the client's frame that pass before the next begins.
    passing: usize,
    answering: Answering,
    waiting: VecDeque<Asked>,
    /// Messages in `waiting`.
    open: usize,
    /// The client's name, as it was said last.
    client: String,
    scratch: Scratch,
}

impl Kafka {
    /// A connection that begins. `message` is the largest batch in bytes that the broker takes (`message.max.bytes`); one
    /// that context would make larger goes on without.
    pub(crate) fn new(message: usize) -> Self {
        Self {
            bounds: Bounds {
                message,
                held: HELD,
                plain: PLAIN,
                waiting: WAITING,
                open: OPEN,
            },
            passing: 0,
            answering: Answering::Between,
            waiting: VecDeque::new(),
            open: 0,
            client: String::new(),
            scratch: Scratch::default(),
        }
    }

    /// Remembers a request for its response.
    fn asks(&mut self, asked: Asked, courier: &mut dyn Courier) {
        self.open += produce::number(&asked.open);
        self.waiting.push_back(asked);
        // The oldest lose their end rather than memory its bound.
        let waiting = self.waiting.len();
        if waiting > self.bounds.waiting
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.forget(oldest.open, courier);
        }
        for index in 0..waiting.min(self.waiting.len()) {
            if self.open <= self.bounds.open {
                break;
            }
            if let Some(asked) = self.waiting.get_mut(index) {
                let open = std::mem::take(&mut asked.open);
                self.forget(open, courier);
            }
        }
    }

    fn forget(&mut self, open: Open, courier: &mut dyn Courier) {
        self.open = self.open.saturating_sub(produce::number(&open));
        produce::settle_all(open, courier);
    }

    /// What is answered. Responses come in the order of their requests; a request that is passed over has none.
    fn answered(&mut self, correlation: i32, courier: &mut dyn Courier) -> Option<Asked> {
        let of = |asked: &Asked| asked.correlation == correlation;
        let index = self.waiting.iter().position(of)?;
        for _ in 0..index {
            let passed_over = self.waiting.pop_front()?;
            self.forget(passed_over.open, courier);
        }
        let asked = self.waiting.pop_front()?;
        self.open = self.open.saturating_sub(produce::number(&asked.open));
        Some(asked)
    }

    /// Takes the request that begins `input`, or as much of it as there is. `false` where more is needed for that.
    fn request(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> Result<bool, NotUnderstood> {
        let Some(request) = Request::begins(input)? else {
            return Ok(false);
        };
        let Request {
            length, key, version, ..
        } = request;
        if (key, version) == (versions::SASL_HANDSHAKE, 0) {
            return Err(NotUnderstood::Unknown);
        }
        if matches!(key, versions::PRODUCE | versions::FETCH) && !self.hears_client(input, length) {
            return Ok(false);
        }
        if key == versions::PRODUCE && versions::is_read(key, version) {
            if length <= self.bounds.held {
                return Ok(self.produce(input, &request, out, courier));
            }
            courier.skipped(Skip::NotHeld);
        } else if versions::is_unread(key, version) {
            courier.skipped(Skip::UnknownFrame);
        }
        self.asks(request.asked(Open::new()), courier);
        self.passing = length;
        Ok(true)
    }

    fn produce(
        &mut self,
        input: &mut BytesMut,
        request: &Request,
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> bool {
        if input.len() < request.length {
            return false;
        }
        let frame = input.split_to(request.length);
        let mut work = Work {
            bounds: self.bounds,
            scratch: &mut self.scratch,
            client: &self.client,
        };
        if let Some(open) = produce::request(&frame, request.version, &mut work, courier, out) {
            self.asks(request.asked(open), courier);
        }
        true
    }

    /// Reads the client's name from the header of a request of `length`; `false` where more is needed for that.
    fn hears_client(&mut self, input: &[u8], length: usize) -> bool {
        let whole = input.len() >= length;
        let mut reader = Reader::new(input.get(..length).unwrap_or(input), false);
        match reader.take(12).and_then(|_| reader.string()) {
            // What cannot be a name is not waited for.
            None => whole || input.len() > NAME,
            Some(name) => {
                if name != self.client.as_bytes() {
                    self.client = String::from_utf8_lossy(name).into_owned();
                }
                true
            }
        }
    }

    /// Begins to take the response that begins `input`. `false` where more is needed for that.
    fn response(&mut self, input: &[u8], courier: &mut dyn Courier) -> Result<bool, NotUnderstood> {
        let mut reader = Reader::new(input, false);
        let Some(size) = reader.i32() else {
            return Ok(false);
        };
        let length = frame_length(size, 4)?;
        let Some(correlation) = reader.i32() else {
            return Ok(false);
        };
        self.answering = match self.answered(correlation, courier) {
            Some(asked)
                if asked.key == versions::API_VERSIONS || versions::is_read(asked.key, asked.version) =>
            {
                if length <= self.bounds.held {
                    Answering::Waiting(length, asked)
                } else {
                    courier.skipped(Skip::NotHeld);
                    produce::settle_all(asked.open, courier);
                    Answering::Passing(length)
                }
            }
            _ => Answering::Passing(length),
        };
        Ok(true)
    }

    /// A response that is whole.
    fn answer(&mut self, mut frame: BytesMut, asked: Asked, out: &mut BytesMut, courier: &mut dyn Courier) {
        let Asked {
            key, version, open, ..
        } = asked;
        let edits = match key {
            versions::API_VERSIONS => versions::lower(&mut frame, version).map(|()| Vec::new()),
            versions::PRODUCE => Some(produce::response(&frame, version, open, courier)),
            versions::FETCH => {
                fetch::response(
                    &frame,
                    version,
                    self.bounds,
                    &mut self.scratch,
                    &self.client,
                    courier,
                );
                Some(Vec::new())
            }
            _ => addresses::edits(&frame, key, version, courier),
        };
        let edits = edits.unwrap_or_else(|| {
            courier.skipped(Skip::UnknownFrame);
            Vec::new()
        });
        put_edited(&frame, &edits, out);
    }
}

impl Splice for Kafka {
    fn client_said(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> Result<(), NotUnderstood> {
        loop {
            let now = self.passing.min(input.len());
            pass(input, now, out);
            self.passing -= now;
            if self.passing > 0 || !self.request(input, out, courier)? {
                return Ok(());
            }
        }
    }

    fn broker_said(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> Result<(), NotUnderstood> {
        loop {
            match std::mem::replace(&mut self.answering, Answering::Between) {
                Answering::Between => {
                    if !self.response(input, courier)? {
                        return Ok(());
                    }
                }
                Answering::Passing(left) => {
                    let now = left.min(input.len());
                    pass(input, now, out);
                    if now < left {
                        self.answering = Answering::Passing(left - now);
                        return Ok(());
                    }
                }
                Answering::Waiting(length, asked) if input.len() < length => {
                    self.answering = Answering::Waiting(length, asked);
                    return Ok(());
                }
                Answering::Waiting(length, asked) => {
                    let frame = input.split_to(length);
                    self.answer(frame, asked, out, courier);
                }
            }
        }
    }
}

/// What every request begins with.
struct Request {
    /// Bytes of the frame, its size included.
    length: usize,
    key: i16,
    version: i16,
    correlation: i32,
}

impl Request {
    fn asked(&self, open: Open) -> Asked {
        Asked {
            correlation: self.correlation,
            key: self.key,
            version: self.version,
            open,
        }
    }

    fn begins(input: &[u8]) -> Result<Option<Self>, NotUnderstood> {
        // A TLS handshake; as a size it would be over 350 MB.
        if input.starts_with(&[0x16, 3]) {
            return Err(NotUnderstood::Encrypted);
        }
        let mut reader = Reader::new(input, false);
        let Some(size) = reader.i32() else {
            return Ok(None);
        };
        let length = frame_length(size, 8)?;
        let (Some(key), Some(version), Some(correlation)) = (reader.i16(), reader.i16(), reader.i32()) else {
            return Ok(None);
        };
        if !(0..=LAST_KEY).contains(&key) || version < 0 {
            return Err(NotUnderstood::Malformed);
        }
        Ok(Some(Self {
            length,
            key,
            version,
            correlation,
        }))
    }
}

/// The length of a frame of `size`, which has at least `least` bytes.
fn frame_length(size: i32, least: usize) -> Result<usize, NotUnderstood> {
    usize::try_from(size)
        .ok()
        .filter(|size| *size >= least)
        .map(|size| size + 4)
        .ok_or(NotUnderstood::Malformed)
}

/// What the conventions ask for of Kafka's messages, sent or received.
fn more(partition: i32, client: &str, attributes: &mut Attributes) {
    attributes.push_display("messaging.destination.partition.id", partition);
    if !client.is_empty() {
        attributes.push("messaging.client.id", client);
    }
}
