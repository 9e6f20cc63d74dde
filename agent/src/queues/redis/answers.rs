//! Answers of Redis.
//!
//! In: what the server said, from the beginning of an answer, and what it is to be read for. Out: word of entries that were
//! added, read and claimed. Nothing is changed.

use super::super::destination::template;
use super::super::splice::{Carried, Courier, End, How, NotUnderstood, Received, Receiving, Skip};
use super::entries::{Entry, claimed, streams};
use super::expected::{Expected, Group};
use super::resp::{Cursor, Walk, line, number};
use super::{MAX_HELD, Open, Redis, Rest};

/// The transaction was not done: a watched key changed, or a command of it was refused.
const ABORTED: &str = "aborted";
/// `XADD` with `NOMKSTREAM`, and there was none.
const NO_STREAM: &str = "no_stream";

impl Redis {
    /// How much of `input` may pass, 0 where it passes on its own from here; `None` where it must be longer to be judged.
    pub(super) fn reply(
        &mut self,
        input: &[u8],
        courier: &mut dyn Courier,
    ) -> Result<Option<usize>, NotUnderstood> {
        let kind = input.first().copied().unwrap_or_default();
        if kind == b'>' && self.held.is_none() {
            // It answers nothing.
            self.answer = Rest(Walk::over(1));
            return Ok(Some(0));
        }
        match self.answers.next() {
            None if kind == b'-' => {
                // Such as that there are too many clients.
                self.answer = Rest(Walk::over(1));
                Ok(Some(0))
            }
            None => Err(NotUnderstood::Unknown),
            Some(Expected::Others(_)) => {
                self.answers.take();
                self.answer = Rest(Walk::over(1));
                Ok(Some(0))
            }
            Some(Expected::Multi) => self.multi_reply(input),
            Some(Expected::Exec(_)) => self.exec_reply(input, courier),
            Some(_) => self.held_reply(input, courier),
        }
    }

    fn multi_reply(&mut self, input: &[u8]) -> Result<Option<usize>, NotUnderstood> {
        let len = line(input)?;
        let Some(whole) = input.get(..len).filter(|_| len > 0) else {
            return Ok(None);
        };
        if whole != b"+OK\r\n" {
            // What follows was not queued.
            return Err(NotUnderstood::Unknown);
        }
        self.answers.take();
        Ok(Some(len))
    }

    fn exec_reply(
        &mut self,
        input: &[u8],
        courier: &mut dyn Courier,
    ) -> Result<Option<usize>, NotUnderstood> {
        let is_array = input.first() == Some(&b'*');
        let head = if is_array { number(input)? } else { Some((-1, 0)) };
        let Some((count, head)) = head else {
            return Ok(None);
        };
        if let Some(Expected::Exec(queued)) = self.answers.take() {
            if u64::try_from(count) == Ok(queued.count) {
                self.answers.enter(queued);
                return Ok(Some(head));
            }
            self.answers.forget(&queued);
            queued.fail(ABORTED, courier);
        }
        self.answer = Rest(Walk::over(1));
        Ok(Some(0))
    }

    fn held_reply(
        &mut self,
        input: &[u8],
        courier: &mut dyn Courier,
    ) -> Result<Option<usize>, NotUnderstood> {
        let (mut walk, at) = self.held.take().unwrap_or((Walk::over(1), 0));
        let at = at + walk.step(input.get(at..).unwrap_or_default())?;
        if at as u64 + walk.body() > MAX_HELD as u64 {
            courier.skipped(Skip::NotHeld);
            if let Some(Expected::Add { token, .. }) = self.answers.take() {
                courier.settle(token, End::default());
            }
            self.answer = Rest(walk);
            return Ok(Some(at));
        }
        if walk.is_done() {
            if let Some(expected) = self.answers.take() {
                self.read_reply(expected, input.get(..at).unwrap_or_default(), courier);
            }
            return Ok(Some(at));
        }
        self.held = Some((walk, at));
        Ok(None)
    }

    fn read_reply(&mut self, expected: Expected, reply: &[u8], courier: &mut dyn Courier) {
        match expected {
            Expected::Add { token, stream } => {
                let place = Cursor::new(reply).string().map(|id| place(&stream, id));
                let error = match error(reply) {
                    None if place.is_none() => Some(NO_STREAM),
                    error => error,
                };
                let place = place.as_deref();
                courier.settle(token, End { error, place });
            }
            Expected::Read(group) => {
                let streams = streams(reply).unwrap_or_default();
                let all = streams.iter().map(|(_, entries)| entries.len()).sum();
                let operation = if group.is_some() { "xreadgroup" } else { "xread" };
                for (stream, entries) in &streams {
                    self.receive(stream, entries, operation, all, group.as_ref(), courier);
                }
            }
            Expected::Claim {
                stream,
                group,
                automatic,
            } => {
                let entries = claimed(reply, automatic).unwrap_or_default();
                let operation = if automatic { "xautoclaim" } else { "xclaim" };
                self.receive(&stream, &entries, operation, entries.len(), Some(&group), courier);
            }
            Expected::Others(_) | Expected::Multi | Expected::Exec(_) => {}
        }
    }

    /// The consumer got `entries` of `stream`, and `all` together.
    fn receive(
        &mut self,
        stream: &[u8],
        entries: &[Entry<'_>],
        operation: &'static str,
        all: usize,
        group: Option<&Group>,
        courier: &mut dyn Courier,
    ) {
        let Some(first) = entries.first() else { return };
        let works = group.filter(|group| all == 1 && group.acknowledges);
        let joins = courier.joins();
        let places: Vec<_> = entries
            .iter()
            .map(|entry| joins.then(|| place(stream, entry.id)))
            .collect();
        let messages: Vec<_> = entries
            .iter()
            .zip(&places)
            .map(|(entry, place)| Received {
                carried: Carried::Raw(&entry.fields),
                place: place.as_deref(),
                messages: 1,
            })
            .collect();
        let token = courier.receives(&Receiving {
            destination: &template(stream, b':'),
            operation,
            how: works.map_or(How::Receives, |_| How::Processes),
            size: Some(first.fields.size()),
            messages: &messages,
            more: &|attributes| {
                if let Some(group) = group {
                    attributes.push("messaging.consumer.group.name", &*group.name);
                }
            },
        });
        let Some(token) = token else { return };
        match works {
            Some(group) => {
                self.end_open(courier);
                self.open = Some(Open {
                    token,
                    stream: stream.into(),
                    group: group.name.clone(),
                    id: first.id.into(),
                });
            }
            None => courier.settle(token, End::default()),
        }
    }
}

fn place(stream: &[u8], id: &[u8]) -> String {
    let (stream, id) = (String::from_utf8_lossy(stream), String::from_utf8_lossy(id));
    [&*stream, &*id].join("@")
}

/// What an error begins with, which is its name; `None` where `reply` is none.
fn error(reply: &[u8]) -> Option<&str> {
    let text = match reply.first()? {
        b'-' => reply.get(1..)?,
        b'!' => reply.splitn(2, |byte| *byte == b'\n').nth(1)?,
        _ => return None,
    };
    let word = text.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    let is_name = |word: &&[u8]| (1..=32).contains(&word.len()) && word.iter().all(u8::is_ascii_uppercase);
    let word = Some(word)
        .filter(is_name)
        .and_then(|word| std::str::from_utf8(word).ok());
    Some(word.unwrap_or("ERR"))
}
