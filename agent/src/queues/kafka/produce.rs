//! Produce: context goes into the records of a request, and its response says what became of them.
//!
//! In: whole frames. Out: the request with headers added to records that bear no context, and a span of each batch's records that
//! bear the same, which is all of them where they bear nothing.
//! Source: `ProduceRequest.json` and `ProduceResponse.json` of Apache Kafka, versions 0 to 12.
//! Left out on purpose: version 13, which names topics by ids.

use std::ops::Range;

use bytes::BytesMut;
use otlp::encode::Attributes;

use super::alike::Records;
use super::batch::{Batch, Broken, First};
use super::compression::Codec;
use super::errors;
use super::place;
use super::versions::{PRODUCE, is_flexible};
use super::wire::{Edit, Reader, put_size, put_uvarint};
use super::{Bounds, Scratch, addresses};
use crate::queues::splice::{Carried, Courier, End, Sending, Skip, Token};

/// The messages of a request that is not answered yet, by partition.
pub(super) type Open = Vec<OpenPartition>;

pub(super) struct OpenPartition {
    topic: String,
    partition: i32,
    tokens: Vec<Token>,
}

/// How many tokens there are.
pub(super) fn number(open: &Open) -> usize {
    open.iter().map(|partition| partition.tokens.len()).sum()
}

/// Nothing is known of how these messages ended.
pub(super) fn settle_all(open: Open, courier: &mut dyn Courier) {
    for token in open.into_iter().flat_map(|partition| partition.tokens) {
        courier.settle(token, End::default());
    }
}

/// What a request asks for, read but for the records.
struct Asked<'a> {
    /// Whether the broker answers.
    answered: bool,
    partitions: Vec<Partition<'a>>,
}

/// The records for one partition.
struct Partition<'a> {
    topic: &'a str,
    number: i32,
    /// Where the length of the records stands in the frame.
    length: Range<usize>,
    records: &'a [u8],
}

/// Appends the request `frame` to `out`, with context in its records. `None` where no answer will come.
pub(super) fn request(
    frame: &[u8],
    version: i16,
    work: &mut Work<'_>,
    courier: &mut dyn Courier,
    out: &mut BytesMut,
) -> Option<Open> {
    let flexible = is_flexible(PRODUCE, version);
    let Some(asked) = read(frame, version, flexible) else {
        courier.skipped(Skip::UnknownFrame);
        out.extend_from_slice(frame);
        return Some(Open::new());
    };
    let (start, mut copied, mut open) = (out.len(), 0, Open::new());
    for partition in &asked.partitions {
        let tokens = work.partition(partition, courier);
        if !work.scratch.batch.is_empty() {
            out.extend_from_slice(frame.get(copied..partition.length.start).unwrap_or_default());
            put_length(work.scratch.batch.len(), flexible, out);
            out.extend_from_slice(&work.scratch.batch);
            copied = partition.length.end + partition.records.len();
        }
        if !tokens.is_empty() {
            let topic = partition.topic.to_owned();
            open.push(OpenPartition {
                topic,
                partition: partition.number,
                tokens,
            });
        }
    }
    out.extend_from_slice(frame.get(copied..).unwrap_or_default());
    if copied > 0 {
        put_size(out, start);
    }
    if asked.answered {
        return Some(open);
    }
    settle_all(open, courier);
    None
}

fn put_length(length: usize, flexible: bool, out: &mut BytesMut) {
    if flexible {
        let mut field = Vec::with_capacity(5);
        put_uvarint(&mut field, length as u32 + 1);
        out.extend_from_slice(&field);
    } else {
        out.extend_from_slice(&(length as u32).to_be_bytes());
    }
}

fn read(frame: &[u8], version: i16, flexible: bool) -> Option<Asked<'_>> {
    let mut reader = Reader::new(frame, flexible);
    reader.take(12)?;
    // The client's name is in the old form in every version.
    let client = reader.i16()?;
    reader.take(usize::try_from(client).unwrap_or_default())?;
    reader.tags()?;
    if version >= 3 {
        reader.string()?;
    }
    let answered = reader.i16()? != 0;
    reader.i32()?;
    let mut partitions = Vec::new();
    for _ in 0..reader.length()? {
        let topic = std::str::from_utf8(reader.string()?).ok()?;
        for _ in 0..reader.length()? {
            let number = reader.i32()?;
            let start = reader.at();
            let records = reader.length()?;
            let length = start..reader.at();
            let records = reader.take(records)?;
            reader.tags()?;
            partitions.push(Partition {
                topic,
                number,
                length,
                records,
            });
        }
        reader.tags()?;
    }
    Some(Asked { answered, partitions })
}

/// What the records of a request are worked on with.
pub(super) struct Work<'a> {
    pub(super) bounds: Bounds,
    pub(super) scratch: &'a mut Scratch,
    pub(super) client: &'a str,
}

impl Work<'_> {
    /// Tells of the records of a partition. The batch with context in it is in the scratch then; nothing where the one that
    /// came goes on as it is.
    fn partition(&mut self, partition: &Partition<'_>, courier: &mut dyn Courier) -> Vec<Token> {
        self.scratch.clear();
        if partition.records.is_empty() {
            return Vec::new();
        }
        match Batch::first(partition.records) {
            // A request has one batch for a partition; the broker refuses more.
            First::Batch(batch, []) if batch.is_intact() => {
                let told = if batch.is_control() {
                    Ok(Vec::new())
                } else {
                    self.batch(&batch, partition, courier)
                };
                told.unwrap_or_else(|Broken| {
                    courier.skipped(Skip::Compression);
                    Vec::new()
                })
            }
            First::Old => {
                courier.skipped(Skip::NoHeaders);
                Vec::new()
            }
            First::Batch(..) | First::Cut | First::Broken => {
                courier.skipped(Skip::UnknownFrame);
                Vec::new()
            }
        }
    }

    fn batch(
        &mut self,
        batch: &Batch<'_>,
        partition: &Partition<'_>,
        courier: &mut dyn Courier,
    ) -> Result<Vec<Token>, Broken> {
        let Scratch {
            plain,
            grown,
            batch: whole,
        } = &mut *self.scratch;
        let codec = batch.decompressed(self.bounds.plain, plain)?;
        let records = if codec.is_some() {
            plain.as_slice()
        } else {
            batch.records()
        };
        let (number, client) = (partition.number, self.client);
        let more = |attributes: &mut Attributes| super::more(number, client, attributes);
        let (mut alike, injects) = (Records::default(), courier.injects());
        for record in batch.each(records)? {
            let size = (batch.count() == 1).then_some(record.value.len() as u64);
            let add = alike.next(&record, courier, |courier, extracted| {
                courier.sends(&Sending {
                    destination: partition.topic,
                    operation: "send",
                    carried: Carried::Read(extracted),
                    size,
                    more: &more,
                })
            });
            if injects {
                record.put_with(&add, grown);
            }
        }
        let groups = alike.end(courier);
        let all = groups.iter().map(|(token, _)| *token).collect();
        if !injects || grown.len() == records.len() {
            return Ok(all);
        }
        let fits = put(batch, codec, grown, self.bounds.message, whole);
        if let Err(why) = fits {
            whole.clear();
            courier.skipped(why);
            for (token, group) in groups.iter().filter(|(_, group)| !group.add.is_empty()) {
                courier.not_added(*token, group.messages);
            }
        }
        Ok(all)
    }
}

/// Appends `batch` with the records `grown` in it, compressed as it was.
fn put(
    batch: &Batch<'_>,
    codec: Option<Codec>,
    grown: &[u8],
    most: usize,
    whole: &mut Vec<u8>,
) -> Result<(), Skip> {
    batch
        .put_with(whole, |out| match codec {
            None => {
                out.extend_from_slice(grown);
                Ok(())
            }
            Some(codec) => codec.compress(grown, out),
        })
        .map_err(|Broken| Skip::Compression)?;
    if whole.len() > most {
        Err(Skip::TooLarge)
    } else {
        Ok(())
    }
}

/// Tells how the messages `open` ended by the response `frame`, and what to change in it.
pub(super) fn response(frame: &[u8], version: i16, mut open: Open, courier: &mut dyn Courier) -> Vec<Edit> {
    let edits = answers(frame, version, &mut open, courier);
    settle_all(open, courier);
    edits.unwrap_or_else(|| {
        courier.skipped(Skip::UnknownFrame);
        Vec::new()
    })
}

fn answers(frame: &[u8], version: i16, open: &mut Open, courier: &mut dyn Courier) -> Option<Vec<Edit>> {
    let mut reader = Reader::response(frame, is_flexible(PRODUCE, version))?;
    for _ in 0..reader.length()? {
        let topic = reader.string()?;
        for _ in 0..reader.length()? {
            let (partition, error, base) = answer(&mut reader, version)?;
            let of = |open: &OpenPartition| open.topic.as_bytes() == topic && open.partition == partition;
            if let Some(index) = open.iter().position(of) {
                settle(&open.swap_remove(index), error, base, courier);
            }
        }
        reader.tags()?;
    }
    if version >= 1 {
        reader.i32()?;
    }
    let mut endpoints = None;
    if version >= 10 {
        reader.each_tag(&mut |tag, field| endpoints = (tag == 0).then_some(field).or(endpoints.take()))?;
    }
    endpoints.map_or_else(
        || Some(Vec::new()),
        |field| addresses::endpoints(frame, field, courier),
    )
}

/// One partition's part of a response: its number, its error and the offset of the batch's first record.
fn answer(reader: &mut Reader<'_>, version: i16) -> Option<(i32, i16, i64)> {
    let (partition, error, base) = (reader.i32()?, reader.i16()?, reader.i64()?);
    if version >= 2 {
        reader.i64()?;
    }
    if version >= 5 {
        reader.i64()?;
    }
    if version >= 8 {
        for _ in 0..reader.length()? {
            reader.i32()?;
            reader.string()?;
            reader.tags()?;
        }
        reader.string()?;
    }
    reader.tags()?;
    Some((partition, error, base))
}

fn settle(open: &OpenPartition, error: i16, base: i64, courier: &mut dyn Courier) {
    let error = errors::name(error);
    let placed = error.is_none() && base >= 0 && courier.joins();
    let place = placed.then(|| place::of(&open.topic, open.partition, base));
    let place = place.as_deref();
    for token in &open.tokens {
        courier.settle(*token, End { error, place });
    }
}
