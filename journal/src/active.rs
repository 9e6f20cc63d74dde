//! The segment that is written: appending a batch, and what to do when the disk says no.
//!
//! In: records. Out: how many of them are on disk as durably as was asked, and what stopped the rest.
//! Left out on purpose: a second sync of a file whose sync failed. The kernel may have dropped the pages and would
//! report success; such a segment is no longer trusted, and the writer begins a new one.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Instant;

use tracing::warn;

use crate::error::AppendError;
use crate::format::{RECORD_HEADER, RecordHeader, SEGMENT_HEADER, SegmentHeader, segment_name};
use crate::queue::Pending;
use crate::record::Position;
use crate::segment::Segment;
use crate::settings::Durability;
use crate::stats::Counters;
use crate::storage::{File, Storage, write_full};

pub(crate) struct Active {
    pub(crate) segment: Arc<Segment>,
    salt: u32,
    length: u64,
    unsynced: bool,
    trusted: bool,
}

/// What became of a batch: the first `whole` records are on disk, `failure` stopped the next one.
pub(crate) struct Outcome {
    pub(crate) whole: usize,
    pub(crate) failure: Option<AppendError>,
}

impl Active {
    /// Creates a segment's file; name and header are durable when this returns.
    pub(crate) fn begin(storage: &dyn Storage, header: SegmentHeader) -> io::Result<Self> {
        let name = segment_name(header.number);
        let file = storage.create(&name)?;
        if let Err(error) = write_header(&*file, &header).and_then(|()| storage.sync_dir()) {
            // Without records the file means nothing to a reader, so it does no harm where it cannot be removed.
            let _ = storage.remove(&name);
            return Err(error);
        }
        let segment = Arc::new(Segment::new(header.number, file, Some(header), SEGMENT_HEADER));
        Ok(Self {
            segment,
            salt: header.salt,
            length: SEGMENT_HEADER,
            unsynced: false,
            trusted: true,
        })
    }

    /// Where the next record goes, in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Where a record that ends or begins at `offset` does so.
    pub(crate) fn position(&self, offset: u64) -> Position {
        Position {
            segment: self.segment.number,
            offset: offset as u32,
        }
    }

    /// Whether more may be appended.
    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Writes the batch, numbered from `sequence`, and makes it durable. What did not get there is cut off again.
    pub(crate) fn append(
        &mut self,
        batch: &[Pending],
        sequence: u64,
        durability: Durability,
        counters: &Counters,
    ) -> Outcome {
        let (written, failure) = self.write(batch, sequence);
        let ends = batch.iter().scan(0, |end, pending| {
            *end += pending.size();
            (*end <= written).then_some(*end)
        });
        let (whole, bytes) = ends.fold((0, 0), |(count, _), end| (count + 1, end));
        self.unsynced |= whole > 0;
        if durability == Durability::Sync
            && let Err(error) = self.sync(counters)
        {
            return Outcome {
                whole: 0,
                failure: Some(error),
            };
        }
        self.length += bytes;
        self.segment.commit(self.length);
        if failure.is_some() {
            self.cut();
        }
        Outcome { whole, failure }
    }

    /// Makes everything written so far durable. After a failure the segment is not trusted any more.
    pub(crate) fn sync(&mut self, counters: &Counters) -> Result<(), AppendError> {
        if !self.unsynced {
            return Ok(());
        }
        let begin = Instant::now();
        if let Err(error) = self.segment.file.sync() {
            self.cut();
            self.trusted = false;
            return Err(AppendError::from_sync(error));
        }
        self.unsynced = false;
        counters.synced(begin.elapsed());
        Ok(())
    }

    fn write(&self, batch: &[Pending], sequence: u64) -> (u64, Option<AppendError>) {
        let headers: Vec<_> = (sequence..)
            .zip(batch)
            .map(|(n, pending)| self.header(pending, n))
            .collect();
        let mut parts = Vec::with_capacity(3 * batch.len());
        for (header, pending) in headers.iter().zip(batch) {
            parts.extend([&header[..], &pending.record.payload, &pending.record.key].map(IoSlice::new));
        }
        parts.retain(|part| !part.is_empty());
        let (written, result) = write_full(&*self.segment.file, &mut parts);
        (written, result.err().map(AppendError::from_write))
    }

    fn header(&self, pending: &Pending, sequence: u64) -> [u8; RECORD_HEADER] {
        let header = RecordHeader {
            body_crc: pending.body_crc,
            payload_len: pending.record.payload.len() as u32,
            sequence,
            time: pending.record.time,
            key_len: pending.record.key.len() as u8,
        };
        header.encode(self.salt)
    }

    /// Cuts off what lies behind the last committed record.
    fn cut(&mut self) {
        if let Err(error) = self.segment.file.truncate(self.length) {
            warn!(segment = self.segment.number, %error, "half-written journal record could not be cut off");
            self.segment
                .occupy(self.segment.file.length().unwrap_or(self.length));
            self.trusted = false;
        }
    }
}

fn write_header(file: &dyn File, header: &SegmentHeader) -> io::Result<()> {
    write_full(file, &mut [IoSlice::new(&header.encode())]).1?;
    file.sync()
}
