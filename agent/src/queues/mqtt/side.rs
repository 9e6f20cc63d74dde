//! What one side of a connection says: the packet that is passing, its messages that are open, its aliases.
//!
//! In: packets. Out: which message a PUBLISH is, and word of those that came to their end.
//! Left out on purpose: which of both sides it is.

use std::collections::HashMap;

use bytes::{Buf as _, BytesMut};

use super::Level;
use super::in_flight::InFlight;
use super::packet::{Fields, Fixed};
use super::publish::{Head, Publish};
use super::{reason, topic};
use crate::queues::splice::{Courier, End, NotUnderstood, Skip, Token};

/// How many aliases are known, which bounds what they take to a few hundred KiB. A message under another passes without a
/// span.
const MAX_ALIASES: u16 = 1024;

/// The state of one side.
#[derive(Default)]
pub(super) struct Side {
    /// So many bytes go on as they come before the next packet begins.
    pub(super) left: usize,
    /// Settled once they have gone.
    last: Option<Token>,
    /// What this side published and the other has not acknowledged.
    in_flight: InFlight,
    /// Destinations by the aliases of their topics.
    aliases: HashMap<u16, String>,
    /// That of the message which [`Side::published`] found.
    pub(super) destination: String,
}

/// What a PUBLISH is to us.
pub(super) enum Said<'a> {
    /// More of it has to be there.
    NotYet,
    /// It passes, and nothing is told.
    Nothing,
    Message(Publish<'a>),
}

impl Side {
    /// Passes what is left of a packet, and says whether it has gone whole.
    pub(super) fn pass(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> bool {
        let now = self.left.min(input.len());
        let (passing, _) = input.split_at(now);
        out.extend_from_slice(passing);
        input.advance(now);
        self.left -= now;
        if self.left > 0 {
            return false;
        }
        if let Some(token) = self.last.take() {
            courier.settle(token, End::default());
        }
        true
    }

    /// Reads the PUBLISH that `input` begins with.
    ///
    /// # Errors
    /// As [`Publish::read`].
    pub(super) fn published<'a>(
        &mut self,
        level: Level,
        fixed: &Fixed,
        input: &'a [u8],
        courier: &mut dyn Courier,
    ) -> Result<Said<'a>, NotUnderstood> {
        let publish = match Publish::read(level, fixed, input)? {
            Head::NotYet => return Ok(Said::NotYet),
            Head::Read(publish) => publish,
            Head::Large => {
                // It may have given one of them to another topic.
                self.aliases.clear();
                courier.skipped(Skip::NotHeld);
                return Ok(Said::Nothing);
            }
        };
        if !self.resolve(&publish) {
            courier.skipped(Skip::NotHeld);
            return Ok(Said::Nothing);
        }
        let open = fixed.again() && publish.id.is_some_and(|id| self.in_flight.has(id));
        let of_the_broker = self.destination.starts_with("$SYS/");
        Ok(if open || of_the_broker {
            Said::Nothing
        } else {
            Said::Message(publish)
        })
    }

    /// Finds the destination by topic or alias, and remembers what the alias stands for.
    fn resolve(&mut self, publish: &Publish<'_>) -> bool {
        if publish.topic.is_empty() {
            let known = publish.alias.and_then(|alias| self.aliases.get(&alias));
            return known.map(|known| self.destination.clone_from(known)).is_some();
        }
        topic::destination(publish.topic, &mut self.destination);
        if let Some(alias @ 1..=MAX_ALIASES) = publish.alias {
            self.aliases
                .entry(alias)
                .or_default()
                .clone_from(&self.destination);
        }
        true
    }

    /// From now on the message of `token` is open: until it is acknowledged, or has gone where it has no `id`.
    pub(super) fn open(&mut self, id: Option<u16>, token: Option<Token>, courier: &mut dyn Courier) {
        let Some(id) = id else {
            self.last = token;
            return;
        };
        let early = self.in_flight.put(id, token);
        for token in early.into_iter().flatten() {
            courier.settle(token, End::default());
        }
    }

    /// The other side acknowledged a message of this one. Without an error it ends where it is `done` with that. Returns
    /// the packet's length, or `None` where more of it has to be there.
    ///
    /// # Errors
    /// The packet is too short.
    pub(super) fn acknowledged(
        &mut self,
        level: Level,
        fixed: &Fixed,
        input: &[u8],
        done: bool,
        courier: &mut dyn Courier,
    ) -> Result<Option<usize>, NotUnderstood> {
        let Some(body) = fixed.body(input, 3) else {
            return Ok(None);
        };
        let mut fields = Fields::new(body);
        let id = fields.u16().ok_or(NotUnderstood::Malformed)?;
        let reason = if level == Level::Five { fields.u8() } else { None };
        let error = reason.and_then(reason::error);
        if (done || error.is_some())
            && let Some(token) = self.in_flight.take(id)
        {
            courier.settle(token, End { error, place: None });
        }
        Ok(Some(fixed.len()))
    }

    /// The other side ends the connection, with an error perhaps. Returns as [`Side::acknowledged`].
    pub(super) fn refused(
        &mut self,
        fixed: &Fixed,
        input: &[u8],
        courier: &mut dyn Courier,
    ) -> Option<usize> {
        let reason = fixed.body(input, 1)?.first();
        let error = reason.and_then(|&reason| reason::error(reason));
        if error.is_some() {
            for token in self.in_flight.drain().chain(self.last.take()) {
                courier.settle(token, End { error, place: None });
            }
        }
        Some(fixed.len())
    }
}
