//! Fetch: what a consumer gets, read as it passes.
//!
//! In: a whole response. Out: a span of each partition's messages, at most 128 of them in one.
//! Source: `FetchResponse.json` of Apache Kafka, versions 0 to 12.
//! Left out on purpose: version 13 and later, which name topics by ids; which of the records the consumer passes over
//! because it asked for a later offset; and changes: the response goes on as it came.

use otlp::encode::Attributes;

use super::batch::{Batch, Broken, First, Headers, Record};
use super::place::Place;
use super::versions::{FETCH, is_flexible};
use super::wire::Reader;
use super::{Bounds, Scratch};
use crate::queues::splice::{Courier, End, How, Received, Receiving, Skip};

/// Messages in one span.
const IN_ONE_SPAN: usize = 128;
/// Bytes of headers that wait for their span.
const WAITING_BYTES: usize = 256 * 1024;

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

/// A message that waits for its span: where its headers end among those that wait, and how many they are.
struct Waiting {
    end: usize,
    headers: usize,
    offset: i64,
}

/// One partition's messages on their way into spans.
struct Poll<'a> {
    topic: &'a str,
    number: i32,
    client: &'a str,
    courier: &'a mut dyn Courier,
    waiting: Vec<Waiting>,
    /// The headers of those that wait, one after the other.
    headers: Vec<u8>,
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
            headers: Vec::new(),
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
        match read {
            Ok(records) => records.for_each(|record| self.take(batch, &record)),
            Err(Broken) => self.courier.skipped(Skip::Compression),
        }
    }

    fn take(&mut self, batch: &Batch<'_>, record: &Record<'_>) {
        let carried = record.carried(&mut self.room);
        self.headers.extend_from_slice(carried.bytes);
        self.waiting.push(Waiting {
            end: self.headers.len(),
            headers: carried.count,
            offset: batch.base_offset.saturating_add(i64::from(record.offset_delta)),
        });
        if self.waiting.len() >= IN_ONE_SPAN || self.headers.len() >= WAITING_BYTES {
            self.flush();
        }
    }

    /// Tells of those that wait.
    fn flush(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let mut places = Place::new(self.topic, self.number);
        let joins = self.courier.joins();
        let mut start = 0;
        let carried = self.waiting.iter().map(|waiting| {
            let bytes = self.headers.get(start..waiting.end).unwrap_or_default();
            start = waiting.end;
            let headers = Headers {
                count: waiting.headers,
                bytes,
            };
            (headers, joins.then(|| places.at(waiting.offset).to_owned()))
        });
        let carried: Vec<(Headers<'_>, Option<String>)> = carried.collect();
        let messages = carried.iter().map(|(headers, place)| Received {
            carried: headers,
            place: place.as_deref(),
        });
        let messages: Vec<Received<'_>> = messages.collect();
        let (number, client) = (self.number, self.client);
        let token = self.courier.receives(&Receiving {
            destination: self.topic,
            operation: "poll",
            how: How::Receives,
            messages: &messages,
            more: &|attributes: &mut Attributes| super::more(number, client, attributes),
        });
        if let Some(token) = token {
            self.courier.settle(token, End::default());
        }
        self.waiting.clear();
        self.headers.clear();
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
