//! Fetch: what a consumer gets, read as it passes.
//!
//! In: a whole response. Out: a span of each partition's messages, which come from at most 128 batches or bear at most 128 contexts;
//! beyond that the next one begins.
//! Source: `FetchResponse.json` of Apache Kafka, versions 0 to 12.
//! Left out on purpose: version 13 and later, which name topics by ids; which of the records the consumer passes over
//! because it asked for a later offset; and changes: the response goes on as it came.

use std::collections::HashMap;

use otlp::encode::Attributes;
use propagation::{Extracted, SpanId, TraceId};

use super::batch::{Batch, First, Record};
use super::place;
use super::versions::{FETCH, is_flexible};
use super::wire::Reader;
use super::{Bounds, Scratch};
use crate::queues::splice::{Carried, Courier, End, How, Received, Receiving, Skip};

/// Contexts and batches that one span links to.
const IN_ONE_SPAN: usize = 128;

/// Tells of the messages in `frame`.
pub(super) fn response(
    frame: &[u8],
    version: i16,
    bounds: Bounds,
    scratch: &mut Scratch,
    client: &str,
    courier: &mut dyn Courier,
) {
    let mut each = |topic: &str, partition: Partition<'_>| {
        let mut poll = Poll::new(topic, partition.number, client, courier);
        let read = poll.records(&partition, bounds, scratch);
        poll.flush();
        if let Err(why) = read {
            courier.skipped(why);
        }
    };
    if partitions(frame, version, &mut each).is_none() {
        courier.skipped(Skip::UnknownFrame);
    }
}

/// What a response has of one partition.
struct Partition<'a> {
    number: i32,
    /// The producers whose transactions were aborted, each with the first offset of one.
    aborted: Vec<(i64, i64)>,
    records: &'a [u8],
}

fn partitions(frame: &[u8], version: i16, each: &mut dyn FnMut(&str, Partition<'_>)) -> Option<()> {
    let mut reader = Reader::response(frame, is_flexible(FETCH, version))?;
    if version >= 1 {
        reader.i32()?;
    }
    if version >= 7 {
        reader.take(2 + 4)?;
    }
    for _ in 0..reader.length()? {
        let topic = std::str::from_utf8(reader.string()?).ok()?;
        for _ in 0..reader.length()? {
            let partition = partition(&mut reader, version)?;
            if !partition.records.is_empty() {
                each(topic, partition);
            }
        }
        reader.tags()?;
    }
    Some(())
}

fn partition<'a>(reader: &mut Reader<'a>, version: i16) -> Option<Partition<'a>> {
    let number = reader.i32()?;
    // The error and the high watermark.
    reader.take(2 + 8)?;
    let mut aborted = Vec::new();
    if version >= 4 {
        reader.i64()?;
        if version >= 5 {
            reader.i64()?;
        }
        for _ in 0..reader.length()? {
            aborted.push((reader.i64()?, reader.i64()?));
            reader.tags()?;
        }
        if version >= 11 {
            reader.i32()?;
        }
    }
    let length = reader.length()?;
    let records = reader.take(length)?;
    reader.tags()?;
    Some(Partition {
        number,
        aborted,
        records,
    })
}

/// Messages that wait for their span: of one batch that bear no context, or with the same context.
struct Waiting {
    said: Extracted,
    place: Option<String>,
    messages: usize,
}

/// What tells messages apart that wait: their context, else their batch.
#[derive(PartialEq, Eq, Hash)]
enum Origin {
    Span(TraceId, SpanId),
    Batch(i64),
}

/// One partition's messages on their way into spans.
struct Poll<'a> {
    topic: &'a str,
    number: i32,
    client: &'a str,
    courier: &'a mut dyn Courier,
    waiting: Vec<Waiting>,
    /// Where those of an origin wait.
    known: HashMap<Origin, usize>,
    /// Where headers are put together.
    room: Vec<u8>,
}

impl<'a> Poll<'a> {
    fn new(topic: &'a str, number: i32, client: &'a str, courier: &'a mut dyn Courier) -> Self {
        Self {
            topic,
            number,
            client,
            courier,
            waiting: Vec::new(),
            known: HashMap::new(),
            room: Vec::new(),
        }
    }

    fn records(
        &mut self,
        partition: &Partition<'_>,
        bounds: Bounds,
        scratch: &mut Scratch,
    ) -> Result<(), Skip> {
        let (mut rest, mut aborted) = (partition.records, partition.aborted.clone());
        while !rest.is_empty() {
            match Batch::first(rest) {
                First::Batch(batch, others) => {
                    rest = others;
                    if batch.is_control() {
                        ended(&batch, &mut aborted);
                    } else if !is_aborted(&batch, &aborted) {
                        self.batch(&batch, bounds, scratch);
                    }
                }
                First::Cut => return Ok(()),
                First::Old => return Err(Skip::NoHeaders),
                First::Broken => return Err(Skip::UnknownFrame),
            }
        }
        Ok(())
    }

    fn batch(&mut self, batch: &Batch<'_>, bounds: Bounds, scratch: &mut Scratch) {
        scratch.clear();
        let read = batch
            .decompressed(bounds.plain, &mut scratch.plain)
            .and_then(|codec| {
                let records = if codec.is_some() {
                    scratch.plain.as_slice()
                } else {
                    batch.records()
                };
                batch.each(records)
            });
        let Ok(records) = read else {
            return self.courier.skipped(Skip::Compression);
        };
        // The headers of the record before, and where it waits; absent where one with the same may bear something else.
        let mut before: Option<(&[u8], usize)> = None;
        for record in records {
            let headers = record.headers.bytes;
            let known = before.filter(|(same, _)| *same == headers);
            let at = known.map_or_else(
                || {
                    let (at, says_all) = self.wait(batch, &record);
                    before = says_all.then_some((headers, at));
                    at
                },
                |(_, at)| at,
            );
            if let Some(waiting) = self.waiting.get_mut(at) {
                waiting.messages += 1;
            }
        }
    }

    /// Where a record waits, and whether all of the batch with the same headers wait there.
    fn wait(&mut self, batch: &Batch<'_>, record: &Record<'_>) -> (usize, bool) {
        let said = self.courier.reads(&record.carried(&mut self.room));
        // What is not believed is counted with every message that bears it.
        let says_all = said.skipped.is_empty() && record.bears_in_headers();
        let context = said.context.as_ref();
        let origin = context.map_or(Origin::Batch(batch.base_offset), |it| {
            Origin::Span(it.trace_id, it.span_id)
        });
        if let Some(at) = self.known.get(&origin) {
            return (*at, says_all);
        }
        if self.waiting.len() >= IN_ONE_SPAN {
            self.flush();
        }
        let named = context.is_none() && self.courier.joins();
        let at = self.waiting.len();
        self.waiting.push(Waiting {
            said,
            place: named.then(|| place::of(self.topic, self.number, batch.base_offset)),
            messages: 0,
        });
        self.known.insert(origin, at);
        (at, says_all)
    }

    /// Tells of those that wait.
    fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let messages = self.waiting.iter().map(|waiting| Received {
            carried: Carried::Read(&waiting.said),
            place: waiting.place.as_deref(),
            messages: waiting.messages,
        });
        let messages: Vec<Received<'_>> = messages.collect();
        let (number, client) = (self.number, self.client);
        let token = self.courier.receives(&Receiving {
            destination: self.topic,
            operation: "poll",
            how: How::Receives,
            size: None,
            messages: &messages,
            more: &|attributes: &mut Attributes| super::more(number, client, attributes),
        });
        if let Some(token) = token {
            self.courier.settle(token, End::default());
        }
        self.waiting.clear();
        self.known.clear();
    }
}

/// Whether the consumer throws the batch away: its transaction was aborted, and it asked for committed records.
fn is_aborted(batch: &Batch<'_>, aborted: &[(i64, i64)]) -> bool {
    let is = |(producer, first): &(i64, i64)| *producer == batch.producer && *first <= batch.base_offset;
    batch.is_transactional() && aborted.iter().any(is)
}

/// A marker ends the oldest transaction of its producer, be it that it aborts or commits: a producer has one at a time.
fn ended(marker: &Batch<'_>, aborted: &mut Vec<(i64, i64)>) {
    let of = |(producer, first): &(i64, i64)| *producer == marker.producer && *first <= marker.base_offset;
    if let Some(index) = aborted.iter().position(of) {
        aborted.remove(index);
    }
}
