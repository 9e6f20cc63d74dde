//! Redis Streams: spans of what is added to streams and read from them, in RESP 2 and 3.
//!
//! In: the commands and answers of one connection. Out: the same, with fields added to `XADD` where the settings allow it for
//! the stream; word of entries, by the ids that the server gives them.
//! Left out on purpose: every other command, which passes without being held; what scripts do within the server; pub/sub,
//! `MONITOR`, replication and answers left out by `CLIENT REPLY`, from which on a connection passes unseen.
//!
//! One entry that was read for a group is worked on until it is acknowledged or the connection reads again; several at once
//! are told as received, for nobody sees when each is worked on.
//!
//! Source: the Redis serialization protocol specification; the server's `networking.c` and `t_stream.c` for what it takes.

mod additions;
mod answers;
mod command;
mod commands;
mod entries;
mod expected;
mod resp;

use bytes::{Buf as _, BytesMut};

use self::commands::Scan;
use self::expected::Answers;
use self::resp::Walk;
use super::splice::{Courier, End, NotUnderstood, Splice, Token};

/// Commands and answers beyond this are not held to be read.
const MAX_HELD: usize = 1024 * 1024;
/// The first byte of a TLS record that opens a connection (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// One connection.
#[derive(Debug, Default)]
pub(crate) struct Redis {
    /// Whether the client said anything; before it may begin TLS.
    begun: bool,
    /// What passes of a command without being held.
    passing: Rest,
    /// What is held of one.
    scan: Option<Scan>,
    answers: Answers,
    /// What passes of an answer without being held.
    answer: Rest,
    /// How far into the answer that is held.
    held: Option<(Walk, usize)>,
    /// The entry that is worked on.
    open: Option<Open>,
}

/// What is left of something that passes as it comes.
#[derive(Debug)]
struct Rest(Walk);

impl Default for Rest {
    fn default() -> Self {
        Self(Walk::over(0))
    }
}

impl Rest {
    /// # Errors
    /// As [`Walk::step`].
    fn pass(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Result<(), NotUnderstood> {
        let len = self.0.step(input)?;
        out.extend_from_slice(input.get(..len).unwrap_or_default());
        input.advance(len);
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.0.is_done()
    }
}

/// An entry that is worked on.
#[derive(Debug)]
struct Open {
    token: Token,
    stream: Box<[u8]>,
    group: Box<str>,
    id: Box<[u8]>,
}

impl Redis {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn end_open(&mut self, courier: &mut dyn Courier) {
        if let Some(open) = self.open.take() {
            courier.settle(open.token, End::default());
        }
    }
}

impl Splice for Redis {
    fn client_said(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> Result<(), NotUnderstood> {
        loop {
            self.passing.pass(input, out)?;
            if input.is_empty() || !self.passing.is_done() {
                return Ok(());
            }
            match self.command(input, out, courier)? {
                0 => return Ok(()),
                taken => input.advance(taken),
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
            self.answer.pass(input, out)?;
            if input.is_empty() || !self.answer.is_done() {
                return Ok(());
            }
            match self.reply(input, courier)? {
                None => return Ok(()),
                Some(taken) => {
                    out.extend_from_slice(input.get(..taken).unwrap_or_default());
                    input.advance(taken);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
