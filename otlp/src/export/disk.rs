//! The buffer on disk, where requests come in: each is one record of a journal.
//!
//! In: encoded requests from any thread. Out: a call once each is written, or was not.
//! Left out on purpose: reading, see `spool`; and waiting for room.
//!
//! A record's key holds what came before it, in spans and bytes. So whoever reads knows exactly how many spans lay in what
//! is missing, be it dropped for room or damaged, without having read it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use journal::{AppendError, Journal, NewRecord, OpenError, Position, Reader, Record, Settings};
use tokio::sync::Notify;

use super::cursor::Cursor;
use super::spool::Spool;
use super::stats::Counters;
use super::{DiskSettings, Ids};

const LEAST_SEGMENT: u64 = 4 << 10;
const LARGEST_SEGMENT: u64 = 16 << 20;

/// Spans and bytes of requests, summed up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) spans: u64,
    pub(super) bytes: u64,
}

impl Totals {
    pub(super) fn of(body: &Bytes, spans: u64) -> Self {
        Self {
            spans,
            bytes: body.len() as u64,
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            spans: self.spans.saturating_add(other.spans),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self {
            spans: self.spans.saturating_sub(other.spans),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    pub(super) fn put(self, out: &mut BytesMut) {
        out.put_u64_le(self.spans);
        out.put_u64_le(self.bytes);
    }

    pub(super) fn get(bytes: &mut Bytes) -> Option<Self> {
        Some(Self {
            spans: bytes.try_get_u64_le().ok()?,
            bytes: bytes.try_get_u64_le().ok()?,
        })
    }
}

/// What the key of a record says: everything before it, and itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) before: Totals,
    pub(super) size: Totals,
}

impl Place {
    pub(super) fn of(record: &Record) -> Option<Self> {
        let mut key = record.key.clone();
        let before = Totals::get(&mut key)?;
        let spans = key.try_get_u64_le().ok()?;
        Some(Self {
            before,
            size: Totals::of(&record.payload, spans),
        })
    }

    pub(super) fn after(&self) -> Totals {
        self.before.plus(self.size)
    }

    fn key(&self) -> Bytes {
        let mut key = BytesMut::with_capacity(24);
        self.before.put(&mut key);
        key.put_u64_le(self.size.spans);
        key.freeze()
    }
}

/// The end of the buffer that is written to.
pub(super) struct Disk {
    journal: Journal,
    /// Everything handed to the journal. Held while handing over, so that places are in the journal's order.
    appended: Mutex<Totals>,
    completed: Mutex<Completed>,
    /// Told after each completion.
    pub(super) arrived: Notify,
    pub(super) counters: Arc<Counters>,
}

/// What the journal has answered for.
#[derive(Debug, Default)]
struct Completed {
    up_to: Totals,
    /// Places of records that were not written, for whoever misses them. Few: each is forgotten once read past.
    failed: Vec<Place>,
}

/// Opens or begins a buffer.
///
/// # Errors
/// The directory is another exporter's, not writable, or from a later version.
pub(super) fn open(
    settings: &DiskSettings,
    queue_bytes: usize,
    ids: Ids,
) -> Result<(Arc<Disk>, Spool), OpenError> {
    let journal_settings = Settings {
        segment_bytes: (settings.max_bytes / 16).clamp(LEAST_SEGMENT, LARGEST_SEGMENT),
        max_bytes: settings.max_bytes,
        queue_bytes,
        durability: settings.durability,
        overflow: settings.overflow,
        ..Settings::default()
    };
    let (journal, recovered) = Journal::open_directory(&settings.path.join("spans"), journal_settings)?;
    let (cursor, state) = Cursor::open(&settings.path.join("cursor"), settings.durability)?;
    let known = state.is_some();
    let mut state = state.unwrap_or_default();
    // Whatever lay beyond is gone, and the journal will not write there again.
    state.next = state.next.min(recovered.end);
    if !known && let Some(first) = places(journal.reader(state.next)).next() {
        state.read = first.before;
    }
    let last_segment = Position {
        segment: recovered.end.segment,
        offset: 0,
    };
    let last = places(journal.reader(last_segment.max(state.next))).last();
    let last = last.or_else(|| places(journal.reader(state.next)).last());
    let appended = last.map_or(state.read, |last| last.after());
    let disk = Arc::new(Disk {
        journal,
        appended: Mutex::new(appended),
        completed: Mutex::new(Completed {
            up_to: appended,
            failed: Vec::new(),
        }),
        arrived: Notify::new(),
        counters: Arc::default(),
    });
    let left = state
        .open
        .iter()
        .fold(appended.minus(state.read), |sum, batch| sum.plus(batch.size));
    disk.counters.buffered(left.bytes as usize, left.spans);
    if left.spans > 0 {
        tracing::info!(
            spans = left.spans,
            bytes = left.bytes,
            "spans of an earlier run are in the buffer on disk"
        );
    }
    let spool = Spool::new(disk.clone(), cursor, state, ids);
    Ok((disk, spool))
}

fn places(reader: Reader) -> impl Iterator<Item = Place> {
    reader
        .filter_map(Result::ok)
        .filter_map(|record| Place::of(&record))
}

impl Disk {
    /// Hands over a request; `done` runs once it is written or was not, on the journal's thread.
    ///
    /// # Errors
    /// At once, and `done` is not run: too many bytes wait to be written, or the buffer was closed.
    pub(super) fn append(
        self: &Arc<Self>,
        body: Bytes,
        spans: u64,
        done: impl FnOnce(Result<(), AppendError>) + Send + 'static,
    ) -> Result<(), AppendError> {
        let mut appended = lock(&self.appended);
        let place = Place {
            before: *appended,
            size: Totals::of(&body, spans),
        };
        let record = NewRecord {
            time: now(),
            key: place.key(),
            payload: body,
        };
        let disk = Arc::clone(self);
        self.journal.append(record, move |result| {
            disk.complete(place, result.is_ok());
            done(result.map(drop));
        })?;
        *appended = place.after();
        Ok(())
    }

    fn complete(&self, place: Place, written: bool) {
        if written {
            self.counters
                .buffered(place.size.bytes as usize, place.size.spans);
        }
        let mut completed = lock(&self.completed);
        if !written {
            completed.failed.push(place);
        }
        completed.up_to = place.after();
        drop(completed);
        self.arrived.notify_one();
    }

    /// Everything up to here can be read, or was not written.
    pub(super) fn completed(&self) -> Totals {
        lock(&self.completed).up_to
    }

    /// Whether the journal has answered for everything that it was handed.
    pub(super) fn is_written(&self) -> bool {
        *lock(&self.appended) == self.completed()
    }

    /// What lies between `from` and `to` and was written; forgets what was not.
    pub(super) fn written_between(&self, from: Totals, to: Totals) -> Totals {
        let mut completed = lock(&self.completed);
        let mut written = to.minus(from);
        completed.failed.retain(|place| {
            let within = (from.bytes..to.bytes).contains(&place.before.bytes);
            if within {
                written = written.minus(place.size);
            }
            place.before.bytes >= to.bytes
        });
        written
    }

    pub(super) fn reader(&self, from: Position) -> Reader {
        self.journal.reader(from)
    }

    /// Bytes on disk.
    pub(super) fn occupied(&self) -> u64 {
        self.journal.stats().bytes
    }

    /// Records that were dropped for room so far.
    pub(super) fn dropped_records(&self) -> u64 {
        self.journal.stats().dropped_records
    }

    /// Gives back what lies before `position`.
    pub(super) fn truncate_before(&self, position: Position) {
        if let Err(error) = self.journal.truncate_before(position) {
            tracing::warn!(%error, "delivered segments of the export buffer cannot be removed");
        }
    }

    /// Writes what waits, and lets go of the directory.
    pub(super) fn close(&self) {
        self.journal.close();
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk")
            .field("journal", &self.journal)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
