//! Frames as clients and brokers write them, built field by field.

use bytes::BytesMut;

use super::Kafka;
use super::compression::Codec;
use super::wire::{put_uvarint, put_varint};
use crate::queues::splice::Splice as _;
use crate::queues::splice::testing::Notes;

/// The largest batch that a broker takes where it is not told otherwise: its `message.max.bytes`.
pub(super) const MESSAGE_MAX_BYTES: usize = 1_048_588;

/// A frame in the making, in the old or the flexible form.
#[derive(Clone, Default)]
pub(super) struct Frame {
    pub(super) bytes: Vec<u8>,
    flexible: bool,
}

impl Frame {
    pub(super) fn new(flexible: bool) -> Self {
        Self {
            bytes: Vec::new(),
            flexible,
        }
    }

    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub(super) fn i16(self, value: i16) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(super) fn i32(self, value: i32) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(super) fn i64(self, value: i64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(super) fn array(mut self, number: usize) -> Self {
        if self.flexible {
            put_uvarint(&mut self.bytes, number as u32 + 1);
            return self;
        }
        self.i32(number as i32)
    }

    pub(super) fn string(self, text: &str) -> Self {
        let length = text.len();
        let sized = if self.flexible {
            self.array(length)
        } else {
            self.i16(length as i16)
        };
        sized.raw(text.as_bytes())
    }

    pub(super) fn null_string(self) -> Self {
        if self.flexible {
            self.raw(&[0])
        } else {
            self.i16(-1)
        }
    }

    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        self.array(bytes.len()).raw(bytes)
    }

    /// No tagged fields, where there may be any.
    pub(super) fn tags(self) -> Self {
        if self.flexible { self.raw(&[0]) } else { self }
    }

    /// With its size in front.
    pub(super) fn sized(self) -> Vec<u8> {
        [&(self.bytes.len() as u32).to_be_bytes(), self.bytes.as_slice()].concat()
    }
}

/// A request's header.
pub(super) fn asking(key: i16, version: i16, correlation: i32, flexible: bool) -> Frame {
    let header = Frame::new(false)
        .i16(key)
        .i16(version)
        .i32(correlation)
        .string("shop");
    Frame { flexible, ..header }.tags()
}

/// A response's header.
pub(super) fn answering(correlation: i32, flexible: bool) -> Frame {
    Frame::new(flexible).i32(correlation).tags()
}

pub(super) type Header<'a> = (&'a str, Option<&'a [u8]>);

/// A record of its own length.
pub(super) fn record(
    delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header<'_>],
) -> Vec<u8> {
    fn nullable(body: &mut Vec<u8>, bytes: Option<&[u8]>) {
        put_varint(body, bytes.map_or(-1, |bytes| bytes.len() as i32));
        body.extend_from_slice(bytes.unwrap_or_default());
    }
    let mut body = vec![0];
    put_varint(&mut body, 300 * delta);
    put_varint(&mut body, delta);
    nullable(&mut body, key);
    nullable(&mut body, value);
    put_varint(&mut body, headers.len() as i32);
    for (key, value) in headers {
        nullable(&mut body, Some(key.as_bytes()));
        nullable(&mut body, *value);
    }
    let mut out = Vec::new();
    put_varint(&mut out, body.len() as i32);
    [out, body].concat()
}

/// What a batch is beside its records.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub(super) codec: Option<Codec>,
    pub(super) transactional: bool,
    pub(super) control: bool,
    pub(super) producer: i64,
    pub(super) base: i64,
}

pub(super) const PLAIN: Form = Form {
    codec: None,
    transactional: false,
    control: false,
    producer: 77,
    base: 0,
};

pub(super) fn batch(form: Form, records: &[Vec<u8>]) -> Vec<u8> {
    let number = match form.codec {
        None => 0,
        Some(Codec::Gzip) => 1,
        Some(Codec::Snappy | Codec::SnappyStream) => 2,
        Some(Codec::Lz4) => 3,
        Some(Codec::Zstd) => 4,
    };
    let plain = records.concat();
    let records_bytes = form.codec.map_or(plain.clone(), |codec| {
        let mut out = Vec::new();
        codec.compress(&plain, &mut out).expect("any bytes");
        out
    });
    let attributes = number | i16::from(form.transactional) << 4 | i16::from(form.control) << 5;
    let checked = Frame::new(false)
        .i16(attributes)
        .i32(records.len() as i32 - 1)
        .i64(1_700_000_000_000)
        .i64(1_700_000_000_900)
        .i64(form.producer)
        .i16(3)
        .i32(41)
        .i32(records.len() as i32)
        .raw(&records_bytes)
        .bytes;
    Frame::new(false)
        .i64(form.base)
        .i32(checked.len() as i32 + 9)
        .i32(5)
        .raw(&[2])
        .raw(&crc32c::crc32c(&checked).to_be_bytes())
        .raw(&checked)
        .bytes
}

/// A Produce request of one topic, a batch for each partition from 0.
pub(super) fn produce(version: i16, correlation: i32, acks: i16, batches: &[&[u8]]) -> Vec<u8> {
    let mut frame = asking(super::versions::PRODUCE, version, correlation, version >= 9);
    if version >= 3 {
        frame = frame.null_string();
    }
    frame = frame
        .i16(acks)
        .i32(30_000)
        .array(1)
        .string("orders")
        .array(batches.len());
    for (partition, batch) in batches.iter().enumerate() {
        frame = frame.i32(partition as i32).bytes(batch).tags();
    }
    frame.tags().tags().sized()
}

/// Its response: error and base offset of each partition.
pub(super) fn produced(version: i16, correlation: i32, partitions: &[(i16, i64)]) -> Vec<u8> {
    let mut frame = answering(correlation, version >= 9)
        .array(1)
        .string("orders")
        .array(partitions.len());
    for (partition, (error, base)) in partitions.iter().enumerate() {
        frame = frame.i32(partition as i32).i16(*error).i64(*base);
        if version >= 2 {
            frame = frame.i64(-1);
        }
        if version >= 5 {
            frame = frame.i64(0);
        }
        if version >= 8 {
            frame = frame.array(1).i32(0).null_string().tags().null_string();
        }
        frame = frame.tags();
    }
    frame = frame.tags();
    if version >= 1 {
        frame = frame.i32(0);
    }
    frame.tags().sized()
}

/// Records of a partition, and producers whose transactions were aborted in it, each with an offset.
pub(super) type Fetched<'a> = (&'a [u8], &'a [(i64, i64)]);

/// A Fetch response of one topic: each partition's records and, from version 4 on, what was aborted in it.
pub(super) fn fetched(version: i16, correlation: i32, partitions: &[Fetched<'_>]) -> Vec<u8> {
    let mut frame = answering(correlation, version >= 12);
    if version >= 1 {
        frame = frame.i32(0);
    }
    if version >= 7 {
        frame = frame.i16(0).i32(9);
    }
    frame = frame.array(1).string("orders").array(partitions.len());
    for (partition, (records, aborted)) in partitions.iter().enumerate() {
        frame = frame.i32(partition as i32).i16(0).i64(1000);
        if version >= 4 {
            frame = frame.i64(1000);
            if version >= 5 {
                frame = frame.i64(0);
            }
            frame = frame.array(aborted.len());
            for (producer, first) in *aborted {
                frame = frame.i64(*producer).i64(*first).tags();
            }
            if version >= 11 {
                frame = frame.i32(-1);
            }
        }
        frame = frame.bytes(records).tags();
    }
    frame.tags().tags().sized()
}

/// A request that nobody reads further than its header.
pub(super) fn ask(key: i16, version: i16, correlation: i32) -> Vec<u8> {
    asking(key, version, correlation, false)
        .raw(b"whatever it asks for")
        .sized()
}

/// A connection and what it was told; what goes on is what comes back.
pub(super) struct Talk {
    pub(super) kafka: Kafka,
    pub(super) notes: Notes,
}

impl Talk {
    pub(super) fn new(notes: Notes) -> Self {
        Self {
            kafka: Kafka::new(MESSAGE_MAX_BYTES),
            notes,
        }
    }

    pub(super) fn client(&mut self, bytes: &[u8]) -> Vec<u8> {
        let (mut input, mut out) = (BytesMut::from(bytes), BytesMut::new());
        let said = self.kafka.client_said(&mut input, &mut out, &mut self.notes);
        assert_eq!((said, input.len()), (Ok(()), 0));
        out.to_vec()
    }

    pub(super) fn broker(&mut self, bytes: &[u8]) -> Vec<u8> {
        let (mut input, mut out) = (BytesMut::from(bytes), BytesMut::new());
        let said = self.kafka.broker_said(&mut input, &mut out, &mut self.notes);
        assert_eq!((said, input.len()), (Ok(()), 0));
        out.to_vec()
    }

    /// What was told since this was asked last.
    pub(super) fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes.lines)
    }
}
