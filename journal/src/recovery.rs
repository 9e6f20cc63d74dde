//! What an opening finds.
//!
//! In: the files of a storage. Out: the segments, where to go on, and [`Recovered`] for the operator.
//! Left out on purpose: reading whole segments other than the last one: they were synced before it was begun.

use std::io;
use std::sync::Arc;

use tracing::warn;

use crate::cursor::{Cursor, Damage};
use crate::error::OpenError;
use crate::format::{LAST_START, SEGMENT_HEADER, SegmentHeader, SegmentStart, segment_name, segment_number};
use crate::record::Position;
use crate::segment::{Segment, Segments};
use crate::settings::Settings;
use crate::storage::{File, Storage, read_full};

/// What was found when a journal was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Segments found.
    pub segments: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// The sequence number that the next record gets.
    pub next_sequence: u64,
    /// Where the last record ends. A snapshot that lies beyond it covers records that were lost.
    pub end: Position,
    /// Bytes cut off behind the last whole record: a write that power or process did not outlive.
    pub torn_bytes: u64,
    /// Records in the last segment that are damaged although later ones are whole.
    pub damaged_records: u64,
    /// Bytes of damage in the last segment, torn ones not included.
    pub damaged_bytes: u64,
    /// Segments of which no header is readable. Readers skip them, and they count for the budget until truncated.
    pub damaged_segments: u64,
}

/// What a journal goes on from.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) segments: Segments,
    pub(crate) next_segment: u64,
    pub(crate) recovered: Recovered,
}

/// Opens every segment and cuts the torn tail off the last one.
pub(crate) fn recover(storage: &dyn Storage, settings: &Settings) -> Result<Found, OpenError> {
    let scan = Scan { storage, settings };
    let mut found = Found {
        segments: Segments::default(),
        next_segment: 1,
        recovered: Recovered::default(),
    };
    for number in scan.numbers()? {
        if let Some(segment) = scan.open(number)? {
            found.recovered.segments += 1;
            found.recovered.damaged_segments += u64::from(segment.header.is_none());
            found.segments.insert(Arc::new(segment));
        }
        found.next_segment = number.saturating_add(1);
    }
    scan.last(&mut found)?;
    found.recovered.bytes = found.segments.size().0;
    found.recovered.next_sequence = found.recovered.next_sequence.max(settings.first_sequence).max(1);
    let number = found.next_segment.max(found.recovered.next_sequence);
    if number >= LAST_START {
        return Err(OpenError::Exhausted {
            place: storage.place(),
            number,
        });
    }
    Ok(found)
}

struct Scan<'a> {
    storage: &'a dyn Storage,
    settings: &'a Settings,
}

impl Scan<'_> {
    fn numbers(&self) -> Result<Vec<u64>, OpenError> {
        let names = self
            .storage
            .list()
            .map_err(|source| self.error("list", "the files", source))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// `None` for a segment whose beginning did not reach the disk: nothing in it was ever acknowledged.
    fn open(&self, number: u64) -> Result<Option<Segment>, OpenError> {
        let name = segment_name(number);
        let file = self
            .storage
            .open(&name)
            .map_err(|source| self.error("open", &name, source))?;
        let length = file
            .length()
            .map_err(|source| self.error("measure", &name, source))?;
        let header = match read_start(&*file, number).map_err(|source| self.error("read", &name, source))? {
            SegmentStart::Header(header) if header.stream != self.settings.stream => {
                let (found, wanted) = (header.stream, self.settings.stream);
                return Err(OpenError::Stream {
                    place: self.storage.place(),
                    name,
                    found,
                    wanted,
                });
            }
            SegmentStart::OtherVersion(version) => {
                return Err(OpenError::Version {
                    place: self.storage.place(),
                    name,
                    version,
                });
            }
            SegmentStart::Header(header) => Some(header),
            SegmentStart::Damaged if length <= SEGMENT_HEADER => {
                self.storage
                    .remove(&name)
                    .map_err(|source| self.error("remove", &name, source))?;
                return Ok(None);
            }
            SegmentStart::Damaged => {
                warn!(
                    journal = self.storage.place(),
                    name, "journal segment without a readable header skipped"
                );
                None
            }
        };
        // Positions hold 32 bits; no segment that we wrote is longer.
        Ok(Some(Segment::new(
            number,
            file,
            header,
            length.min(u64::from(u32::MAX)),
        )))
    }

    /// Reads the last readable segment to its end: it says where to go on.
    fn last(&self, found: &mut Found) -> Result<(), OpenError> {
        let Some((segment, header)) = last_readable(&found.segments) else {
            return Ok(());
        };
        let name = segment_name(segment.number);
        let mut cursor = Cursor::new(Arc::clone(&segment.file), header, 0);
        let (mut damage, mut before_last) = (Damage::default(), Damage::default());
        let mut end = SEGMENT_HEADER;
        let length = segment.committed();
        while cursor
            .next(length, u64::MAX, &mut damage)
            .map_err(|e| self.error("read", &name, e))?
            .is_some()
        {
            (end, before_last) = (cursor.offset(), damage);
        }
        found.recovered.next_sequence = cursor.expected();
        found.recovered.end = Position {
            segment: segment.number,
            offset: end as u32,
        };
        found.recovered.damaged_records = before_last.records;
        found.recovered.damaged_bytes = before_last.bytes;
        found.recovered.torn_bytes = length.saturating_sub(end);
        if length > end {
            self.cut(&segment, end);
        }
        Ok(())
    }

    /// What cannot be cut off stays: the sequence numbers of later segments tell readers to skip it.
    fn cut(&self, segment: &Segment, end: u64) {
        let torn = segment.committed().saturating_sub(end);
        let journal = self.storage.place();
        warn!(
            journal,
            segment = segment.number,
            bytes = torn,
            "torn tail of the journal cut off"
        );
        segment.commit(end);
        if let Err(error) = segment.file.truncate(end).and_then(|()| segment.file.sync()) {
            warn!(journal, segment = segment.number, %error, "torn tail of the journal could not be cut off");
            segment.occupy(end + torn);
        }
    }

    fn error(&self, action: &'static str, name: &str, source: io::Error) -> OpenError {
        OpenError::Io {
            action,
            place: self.storage.place(),
            name: name.to_owned(),
            source,
        }
    }
}

fn read_start(file: &dyn File, number: u64) -> io::Result<SegmentStart> {
    let mut bytes = [0; SEGMENT_HEADER as usize];
    let length = read_full(file, &mut bytes, 0)?;
    Ok(bytes.get(..length).map_or(SegmentStart::Damaged, |bytes| {
        SegmentHeader::decode(bytes, number)
    }))
}

fn last_readable(segments: &Segments) -> Option<(Arc<Segment>, SegmentHeader)> {
    let mut segment = segments.last()?;
    loop {
        if let Some(header) = segment.header {
            return Some((segment, header));
        }
        segment = segments.before(segment.number)?;
    }
}
