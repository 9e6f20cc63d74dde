//! The segments that exist, with their files open.
//!
//! In: what the writer creates and commits. Out: for readers, how far each segment may be read; for the budget, what
//! they occupy.
//! Left out on purpose: what is in them.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use crate::format::{SegmentHeader, segment_name};
use crate::record::Position;
use crate::storage::{File, Storage};

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) file: Arc<dyn File>,
    /// `None` where both copies are damaged: its records cannot be told from garbage any more.
    pub(crate) header: Option<SegmentHeader>,
    /// Readers may read up to here.
    committed: AtomicU64,
    /// What it occupies; more than `committed` where a failed write could not be cut off.
    bytes: AtomicU64,
}

impl Segment {
    pub(crate) fn new(number: u64, file: Arc<dyn File>, header: Option<SegmentHeader>, length: u64) -> Self {
        Self {
            number,
            file,
            header,
            committed: length.into(),
            bytes: length.into(),
        }
    }

    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Readers may read up to `length`, and the file ends there.
    pub(crate) fn commit(&self, length: u64) {
        self.bytes.store(length, Ordering::Relaxed);
        self.committed.store(length, Ordering::Release);
    }

    /// The file ends at `length`; what lies beyond the committed part is not for readers.
    pub(crate) fn occupy(&self, length: u64) {
        self.bytes.store(length, Ordering::Relaxed);
    }
}

/// What went when segments were removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Segments {
    by_number: RwLock<BTreeMap<u64, Arc<Segment>>>,
    /// Held by whoever removes, so that nobody else has to wait for the disk to give back what may be gigabytes.
    removing: Mutex<()>,
}

impl Segments {
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<u64, Arc<Segment>>> {
        self.by_number.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn insert(&self, segment: Arc<Segment>) {
        self.by_number
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(segment.number, segment);
    }

    pub(crate) fn get(&self, number: u64) -> Option<Arc<Segment>> {
        self.read().get(&number).cloned()
    }

    /// The first segment with this number or a greater one.
    pub(crate) fn at_or_after(&self, number: u64) -> Option<Arc<Segment>> {
        self.read()
            .range(number..)
            .next()
            .map(|(_, segment)| Arc::clone(segment))
    }

    pub(crate) fn last(&self) -> Option<Arc<Segment>> {
        self.read()
            .last_key_value()
            .map(|(_, segment)| Arc::clone(segment))
    }

    /// The last segment with a smaller number.
    pub(crate) fn before(&self, number: u64) -> Option<Arc<Segment>> {
        self.read()
            .range(..number)
            .next_back()
            .map(|(_, segment)| Arc::clone(segment))
    }

    /// First sequence number of the segments after this one.
    pub(crate) fn first_sequence_after(&self, number: u64) -> Option<u64> {
        let segments = self.read();
        segments
            .range(number.saturating_add(1)..)
            .find_map(|(_, s)| Some(s.header?.first_sequence))
    }

    /// Bytes on disk and how many segments.
    pub(crate) fn size(&self) -> (u64, u64) {
        let segments = self.read();
        (segments.values().map(|s| s.bytes()).sum(), segments.len() as u64)
    }

    /// Removes whole segments that lie before `position`; never the last one, whose number and sequence the next
    /// opening goes on from.
    pub(crate) fn remove_before(&self, position: Position, storage: &dyn Storage) -> io::Result<Removed> {
        let mut removed = Removed::default();
        while let Some(gone) = self.remove_oldest(position.segment, storage)? {
            removed.records += gone.records;
            removed.bytes += gone.bytes;
        }
        if removed.bytes > 0 {
            storage.sync_dir()?;
        }
        Ok(removed)
    }

    /// Removes the oldest segment if its number is below `bound` and it is not the last one.
    pub(crate) fn remove_oldest(&self, bound: u64, storage: &dyn Storage) -> io::Result<Option<Removed>> {
        let _removing = self.removing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((segment, next)) = self.oldest_two().filter(|(oldest, _)| oldest.number < bound) else {
            return Ok(None);
        };
        storage.remove(&segment_name(segment.number))?;
        let sequences = segment
            .header
            .zip(next.header)
            .map(|(a, b)| (a.first_sequence, b.first_sequence));
        let removed = Removed {
            records: sequences.map_or(0, |(first, next)| next.saturating_sub(first)),
            bytes: segment.bytes(),
        };
        self.by_number
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&segment.number);
        // The file is closed, and its blocks given back, only here: `segment` is the last to hold it but for readers.
        Ok(Some(removed))
    }

    fn oldest_two(&self) -> Option<(Arc<Segment>, Arc<Segment>)> {
        let segments = self.read();
        let mut oldest = segments.values();
        Some((Arc::clone(oldest.next()?), Arc::clone(oldest.next()?)))
    }
}
