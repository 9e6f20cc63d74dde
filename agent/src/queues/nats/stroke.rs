//! What is published or delivered in one stroke: messages that stand whole in one read, and that nobody answers.
//!
//! In: such messages of one side, one after the other. Out: what is added to each; word of those of one destination that bear
//! the same as of one, when the stroke ends.
//! Left out on purpose: waiting for more of them; and which messages are such, see [`super::publications`] and
//! [`super::deliveries`].
//!
//! Who publishes fast says the same line and the same headers over and over: those are looked at once for a stroke.

use propagation::Extracted;

use super::super::alike::Alike;
use super::super::destination::template;
use super::super::splice::{Courier, End, Sent};
use super::headers::Headers;
use super::line::Message;

/// Destinations of one stroke. Messages for others have spans of their own.
pub(super) const MAX_DESTINATIONS: usize = 64;
/// A connection that rests keeps no more than this, in bytes, for each of a few buffers.
const KEPT: usize = 512;

/// Which destination, and which group of its messages.
type At = (usize, usize);

/// The messages of one stroke so far.
#[derive(Debug, Default)]
pub(super) struct Stroke {
    destinations: Vec<Destination>,
    /// The group of the message that was put among others last.
    last: At,
    before: Before,
}

/// The messages for one of them.
#[derive(Debug)]
struct Destination {
    name: Box<str>,
    /// The subscription, of deliveries.
    sid: Box<[u8]>,
    alike: Alike,
}

/// The message before. Until something else is said, one that looks the same is the same.
#[derive(Debug, Default)]
struct Before {
    /// Its group; absent where a message that looks the same must be looked at all the same.
    at: Option<At>,
    subject: Vec<u8>,
    sid: Vec<u8>,
    block: Vec<u8>,
    /// What is added to its block.
    added: Vec<u8>,
    /// Its line and block as they came; empty where they did not go on with what is added.
    said: Vec<u8>,
    /// The same as they went on.
    written: Vec<u8>,
    /// What follows them, in bytes.
    body: usize,
}

impl Stroke {
    /// Where `input` begins with a message that looks as the one before and is there whole: counts it, and returns its line
    /// and block as they go on, how many bytes of `input` these stand for, and how many follow.
    pub(super) fn again(&mut self, input: &[u8]) -> Option<(&[u8], usize, usize)> {
        let Before {
            at,
            said,
            written,
            body,
            ..
        } = &self.before;
        let at = (*at)?;
        let is_it = !said.is_empty() && input.starts_with(said) && input.len() >= said.len() + body;
        if !is_it {
            return None;
        }
        count(&mut self.destinations, at);
        Some((written, said.len(), *body))
    }

    /// Puts a message among those that are like it. What is to be added to its block is [`Stroke::added`] then. `tell` tells of
    /// it where it is the first of those. `false`, and nothing was told, where there is no room for its destination.
    pub(super) fn join(
        &mut self,
        message: &Message<'_>,
        (headers, block): (&Headers<'_>, &[u8]),
        courier: &mut dyn Courier,
        tell: impl FnOnce(&mut dyn Courier, &str, &Extracted) -> Sent,
    ) -> bool {
        let before = &self.before;
        if let Some(at) = before.at
            && before.subject == message.subject
            && before.sid == message.sid
            && before.block == block
        {
            self.last = at;
            count(&mut self.destinations, at);
            return true;
        }
        self.before.forget();
        let destination = template(message.subject, b'.');
        let is_it = |known: &Destination| *known.name == *destination && *known.sid == *message.sid;
        let number = match self.destinations.iter().position(is_it) {
            Some(number) => number,
            None if self.destinations.len() < MAX_DESTINATIONS => {
                self.destinations.push(Destination {
                    name: (*destination).into(),
                    sid: message.sid.into(),
                    alike: Alike::default(),
                });
                self.destinations.len() - 1
            }
            None => return false,
        };
        let Some(Destination { alike, .. }) = self.destinations.get_mut(number) else {
            return false;
        };
        let extracted = courier.reads(headers);
        let group = alike.join(&extracted, || tell(courier, &destination, &extracted));
        let Some(of) = alike.group(group) else {
            return false;
        };
        headers.lines(&of.add, &mut self.before.added);
        // What is not believed is counted with every message that bears it.
        if of.token.is_some() && extracted.skipped.is_empty() {
            self.before.at = Some((number, group));
            self.before.subject.extend_from_slice(message.subject);
            self.before.sid.extend_from_slice(message.sid);
            self.before.block.extend_from_slice(block);
        }
        self.last = (number, group);
        true
    }

    /// What is to be added to the block of the message that was put among others last.
    pub(super) fn added(&self) -> &[u8] {
        &self.before.added
    }

    /// The subscription of the message before.
    pub(super) fn sid(&self) -> &[u8] {
        &self.before.sid
    }

    /// That message goes on as `written` in place of `said`, and with `body` bytes behind.
    pub(super) fn goes_on(&mut self, said: &[u8], written: &[u8], body: usize) {
        let before = &mut self.before;
        if before.at.is_some() {
            set(&mut before.said, said);
            set(&mut before.written, written);
            before.body = body;
        }
    }

    /// That message goes on as it came, without what is to be added.
    pub(super) fn goes_bare(&mut self) {
        self.before.said.clear();
        let (number, group) = self.last;
        let of = self.destinations.get_mut(number);
        if let Some(group) = of.and_then(|of| of.alike.group(group)) {
            group.bare += 1;
        }
    }

    /// Something was said that may change how messages go on.
    pub(super) fn turns(&mut self) {
        self.before.forget();
    }

    /// There is no more in this read: the spans of its messages end.
    pub(super) fn end(&mut self, courier: &mut dyn Courier) {
        self.before.forget();
        for of in self.destinations.drain(..) {
            for (token, group) in of.alike.end(courier) {
                if group.bare > 0 {
                    courier.not_added(token, group.bare);
                }
                courier.settle(token, End::default());
            }
        }
    }
}

fn count(destinations: &mut [Destination], (number, group): At) {
    if let Some(of) = destinations.get_mut(number) {
        of.alike.again(group);
    }
}

fn set(buffer: &mut Vec<u8>, bytes: &[u8]) {
    buffer.clear();
    buffer.extend_from_slice(bytes);
}

impl Before {
    fn forget(&mut self) {
        self.at = None;
        for buffer in [
            &mut self.subject,
            &mut self.sid,
            &mut self.block,
            &mut self.added,
            &mut self.said,
            &mut self.written,
        ] {
            buffer.clear();
            buffer.shrink_to(KEPT);
        }
    }
}
