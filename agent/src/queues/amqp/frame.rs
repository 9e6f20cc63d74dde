//! Frames and their fields as they lie on the wire (AMQP 0-9-1 §4.2).
//!
//! In: bytes. Out: borrowed pieces of them, each length checked.
//! Left out on purpose: what methods mean.

use crate::queues::splice::NotUnderstood;

/// What a client of 0-9-1 says first.
pub(super) const PROTOCOL: [u8; 8] = *b"AMQP\0\0\x09\x01";
pub(super) const METHOD: u8 = 1;
pub(super) const HEADER: u8 = 2;
pub(super) const BODY: u8 = 3;
pub(super) const HEARTBEAT: u8 = 8;
/// The octet after every payload.
pub(super) const END: u8 = 0xCE;
/// What a frame has beside its payload, in bytes: the head and the end.
pub(super) const FRAME_OVERHEAD: usize = Head::LEN + 1;

/// The head of a frame.
pub(super) struct Head {
    pub(super) kind: u8,
    pub(super) channel: u16,
    /// Of the payload, in bytes.
    pub(super) size: usize,
}

/// A frame that is there whole.
pub(super) struct Whole<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) payload: &'a [u8],
}

impl Head {
    pub(super) const LEN: usize = 7;

    /// `None` where it is not there whole.
    pub(super) fn read(input: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(input);
        Some(Self {
            kind: reader.octet()?,
            channel: reader.short()?,
            size: usize::try_from(reader.long()?).ok()?,
        })
    }

    /// `None` where it is not there whole.
    pub(super) fn whole<'a>(&self, input: &'a [u8]) -> Result<Option<Whole<'a>>, NotUnderstood> {
        let Some((bytes, _)) = input.split_at_checked(self.size.saturating_add(FRAME_OVERHEAD)) else {
            return Ok(None);
        };
        match bytes.split_last() {
            Some((&END, rest)) => Ok(rest
                .split_at_checked(Self::LEN)
                .map(|(_, payload)| Whole { bytes, payload })),
            _ => Err(NotUnderstood::Malformed),
        }
    }
}

/// Reads fields from the front.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }

    pub(super) fn octet(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn short(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn long(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn long_long(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// At most 255 bytes of text.
    pub(super) fn short_string(&mut self) -> Option<&'a [u8]> {
        let length = self.octet()?;
        self.take(length.into())
    }

    /// A long string, or what else has its length in four octets before it: tables, arrays and byte arrays.
    pub(super) fn long_string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.long()?).ok()?;
        self.take(length)
    }
}

/// A method by its class and number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Method(pub(super) u16, pub(super) u16);

impl Method {
    pub(super) const TUNE_OK: Self = Self(10, 31);
    pub(super) const CONNECTION_CLOSE: Self = Self(10, 50);
    pub(super) const CONNECTION_CLOSE_OK: Self = Self(10, 51);
    pub(super) const CHANNEL_OPEN: Self = Self(20, 10);
    pub(super) const CHANNEL_CLOSE: Self = Self(20, 40);
    pub(super) const CHANNEL_CLOSE_OK: Self = Self(20, 41);
    pub(super) const QUEUE_DECLARE: Self = Self(50, 10);
    pub(super) const QUEUE_DECLARE_OK: Self = Self(50, 11);
    pub(super) const CONSUME: Self = Self(60, 20);
    pub(super) const CONSUME_OK: Self = Self(60, 21);
    pub(super) const CANCEL: Self = Self(60, 30);
    pub(super) const CANCEL_OK: Self = Self(60, 31);
    pub(super) const PUBLISH: Self = Self(60, 40);
    pub(super) const RETURN: Self = Self(60, 50);
    pub(super) const DELIVER: Self = Self(60, 60);
    pub(super) const GET: Self = Self(60, 70);
    pub(super) const GET_OK: Self = Self(60, 71);
    pub(super) const GET_EMPTY: Self = Self(60, 72);
    pub(super) const ACK: Self = Self(60, 80);
    pub(super) const REJECT: Self = Self(60, 90);
    pub(super) const RECOVER_ASYNC: Self = Self(60, 100);
    pub(super) const RECOVER_OK: Self = Self(60, 111);
    pub(super) const NACK: Self = Self(60, 120);
    pub(super) const CONFIRM_SELECT: Self = Self(85, 10);
    pub(super) const TX_SELECT: Self = Self(90, 10);
    pub(super) const TX_COMMIT: Self = Self(90, 20);
    pub(super) const TX_COMMIT_OK: Self = Self(90, 21);
    pub(super) const TX_ROLLBACK: Self = Self(90, 30);
    pub(super) const TX_ROLLBACK_OK: Self = Self(90, 31);

    /// Whether it is of a class of 0-9-1: connection, channel, access, exchange, queue, basic, confirm or tx.
    pub(super) fn class_is_known(self) -> bool {
        matches!(self.0, 10 | 20 | 30 | 40 | 50 | 60 | 85 | 90)
    }
}
