//! Control lines of NATS.
//!
//! In: what client or broker said, from the beginning of a line. Out: its verb and words, and where the sizes stand in it.
//! Left out on purpose: verbs of routes, gateways and leaf nodes, which have ports of their own.
//!
//! Source: the NATS client protocol; verbs in any case, words apart by spaces and tabs, as the server reads them.

use std::io::Write as _;

use bytes::{BufMut as _, BytesMut};
use memchr::memchr;

use super::super::splice::NotUnderstood;

/// What the server takes from a client (`max_control_line` as it comes), newline included.
pub(super) const MAX_LINE: usize = 4_096;
/// Brokers tell of their whole cluster in one line.
pub(super) const MAX_BROKER_LINE: usize = 64 * 1024;
/// As many digits as the server reads.
const MAX_DIGITS: usize = 9;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Publish,
    PublishWithHeaders,
    Message,
    MessageWithHeaders,
    Subscribe,
    Unsubscribe,
    Connect,
    Info,
    /// `PING`, `PONG`, `+OK`, `-ERR`.
    Other,
}

/// Each with whether words must follow.
const VERBS: [(&[u8], Verb, bool); 12] = [
    (b"PUB", Verb::Publish, true),
    (b"HPUB", Verb::PublishWithHeaders, true),
    (b"MSG", Verb::Message, true),
    (b"HMSG", Verb::MessageWithHeaders, true),
    (b"PING", Verb::Other, false),
    (b"PONG", Verb::Other, false),
    (b"SUB", Verb::Subscribe, true),
    (b"UNSUB", Verb::Unsubscribe, true),
    (b"+OK", Verb::Other, false),
    (b"-ERR", Verb::Other, false),
    (b"CONNECT", Verb::Connect, true),
    (b"INFO", Verb::Info, true),
];

/// One control line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) verb: Verb,
    /// With its newline.
    pub(super) whole: &'a [u8],
    /// Where what follows the verb begins in `whole`.
    words_at: usize,
}

impl<'a> Line<'a> {
    /// The line that begins `input`; `None` where more is needed to tell.
    ///
    /// # Errors
    /// It is none, or longer than `limit`.
    pub(super) fn read(input: &'a [u8], limit: usize) -> Result<Option<Self>, NotUnderstood> {
        let Some((verb, words_at)) = verb(input)? else {
            return Ok(None);
        };
        let within = input.get(..limit).unwrap_or(input);
        match memchr(b'\n', within).and_then(|end| input.get(..=end)) {
            Some(whole) => Ok(Some(Self {
                verb,
                whole,
                words_at,
            })),
            None if input.len() >= limit => Err(NotUnderstood::Malformed),
            None => Ok(None),
        }
    }

    /// Everything behind the verb.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.whole.get(self.words_at..).unwrap_or_default()
    }

    /// Its words after the verb, as `N` allows; `None` where there are more.
    pub(super) fn words<const N: usize>(&self) -> Option<Words<'a, N>> {
        let mut words = Words {
            line: self.whole,
            bounds: [(0, 0); N],
            count: 0,
        };
        let mut begin = None;
        for (at, byte) in self.whole.iter().enumerate().skip(self.words_at) {
            match (begin, matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
                (None, false) => begin = Some(at),
                (Some(start), true) => {
                    *words.bounds.get_mut(words.count)? = (start, at);
                    words.count += 1;
                    begin = None;
                }
                _ => {}
            }
        }
        Some(words)
    }
}

/// The verb that begins `input` and its length; `None` where `input` ends within one.
fn verb(input: &[u8]) -> Result<Option<(Verb, usize)>, NotUnderstood> {
    for (name, verb, has_words) in VERBS {
        let (said, meant) = (input.iter(), name.iter());
        if said
            .zip(meant)
            .any(|(said, meant)| !said.eq_ignore_ascii_case(meant))
        {
            continue;
        }
        return match input.get(name.len()) {
            None => Ok(None),
            Some(b' ' | b'\t') => Ok(Some((verb, name.len()))),
            Some(_) if !has_words => Ok(Some((verb, name.len()))),
            Some(_) => Err(NotUnderstood::Malformed),
        };
    }
    Err(NotUnderstood::Malformed)
}

/// The words of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words<'a, const N: usize> {
    line: &'a [u8],
    bounds: [(usize, usize); N],
    pub(super) count: usize,
}

impl<'a, const N: usize> Words<'a, N> {
    /// Empty where there is none.
    pub(super) fn get(&self, number: usize) -> &'a [u8] {
        let (start, end) = self.bounds.get(number).copied().unwrap_or_default();
        self.line.get(start..end).unwrap_or_default()
    }

    fn bounds(&self, number: usize) -> (usize, usize) {
        self.bounds.get(number).copied().unwrap_or_default()
    }
}

/// What a line says of the message that follows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) subject: &'a [u8],
    /// Of deliveries.
    pub(super) sid: &'a [u8],
    pub(super) reply: Option<&'a [u8]>,
    /// Bytes of the header block, 0 where there is none.
    pub(super) headers: usize,
    /// Bytes of header block and payload.
    pub(super) total: usize,
    line: Line<'a>,
    /// Where the sizes stand in the line.
    sizes: (usize, usize),
}

impl<'a> Message<'a> {
    /// `None` where the server would not take the line.
    pub(super) fn read(line: Line<'a>) -> Option<Self> {
        let words = line.words::<5>()?;
        let has_headers = matches!(line.verb, Verb::PublishWithHeaders | Verb::MessageWithHeaders);
        let has_sid = matches!(line.verb, Verb::Message | Verb::MessageWithHeaders);
        let sizes = 1 + usize::from(has_headers);
        let names = 1 + usize::from(has_sid);
        let reply = match words.count.checked_sub(sizes + names)? {
            0 => None,
            1 => Some(words.get(names)),
            _ => return None,
        };
        let last = words.count - 1;
        let (first_size, _) = words.bounds(words.count - sizes);
        let (_, end) = words.bounds(last);
        let total = size(words.get(last))?;
        let headers = if has_headers {
            size(words.get(last - 1))?
        } else {
            0
        };
        (headers <= total).then_some(Self {
            subject: words.get(0),
            sid: if has_sid { words.get(1) } else { b"" },
            reply,
            headers,
            total,
            line,
            sizes: (first_size, end),
        })
    }

    pub(super) fn payload(&self) -> usize {
        self.total - self.headers
    }

    /// What is left of the message and its line end once the header block is gone.
    pub(super) fn body(&self) -> usize {
        self.payload() + 2
    }

    /// The same line for a message with a header block of `headers` bytes. `false`, and nothing is written, where no
    /// server would read a line of that length.
    pub(super) fn write_with_headers(&self, headers: usize, out: &mut BytesMut) -> bool {
        let (start, end) = self.sizes;
        let (Some(before), Some(after)) = (self.line.whole.get(..start), self.line.whole.get(end..)) else {
            return false;
        };
        let from = out.len();
        if self.line.verb == Verb::Publish {
            out.put_u8(b'H');
        }
        out.extend_from_slice(before);
        // Writing into memory does not fail.
        let _ = write!(out.writer(), "{headers} {}", self.payload() + headers);
        out.extend_from_slice(after);
        let fits = out.len() - from <= MAX_LINE;
        if !fits {
            out.truncate(from);
        }
        fits
    }
}

/// A size as the server reads it.
fn size(word: &[u8]) -> Option<usize> {
    if word.is_empty() || word.len() > MAX_DIGITS {
        return None;
    }
    word.iter().try_fold(0, |size: usize, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        Some(size * 10 + digit as usize)
    })
}
