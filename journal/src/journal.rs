//! The handle that callers keep.
//!
//! In: a storage, settings, records. Out: completions, readers, counters.
//! Left out on purpose: waiting for room, see [`AppendError::is_temporary`].

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use bytes::Bytes;

use crate::error::{AppendError, OpenError, ReadError};
use crate::format::{MAX_PAYLOAD, RECORD_HEADER};
use crate::queue::{Pending, Queue};
use crate::reader::{Reader, read_one};
use crate::record::{Appended, MAX_KEY, NewRecord, Position, Record};
use crate::recovery::{self, Recovered};
use crate::segment::Segments;
use crate::settings::Settings;
use crate::stats::{Counters, Stats};
use crate::storage::{Directory, Storage, read_full};
use crate::writer::Writer;

/// What the handle, the writer and the readers share.
pub(crate) struct Shared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) settings: Settings,
    pub(crate) segments: Segments,
    pub(crate) queue: Queue,
    pub(crate) counters: Counters,
}

/// An open journal. Dropping it is [`Journal::close`].
pub struct Journal {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    /// Opens or begins the journal in a storage, and starts its writer.
    ///
    /// The tail that a crash left half-written is cut off. No segment is begun before the first append.
    ///
    /// # Errors
    /// [`OpenError`]: in use by another process, another format version, another stream, or the disk fails.
    pub fn open(storage: Arc<dyn Storage>, settings: Settings) -> Result<(Self, Recovered), OpenError> {
        settings.check()?;
        let lock = storage.lock().map_err(|source| lock_error(&*storage, source))?;
        let found = recovery::recover(&*storage, &settings)?;
        let queue = Queue::new(settings.queue_bytes);
        let (segments, counters) = (found.segments, Counters::default());
        let shared = Arc::new(Shared {
            storage,
            settings,
            segments,
            queue,
            counters,
        });
        let writer = Writer::new(
            Arc::clone(&shared),
            found.next_segment,
            found.recovered.next_sequence,
        );
        let started = thread::Builder::new().name("journal".to_owned()).spawn(move || {
            writer.run();
            drop(lock);
        });
        let writer = started.map_err(|source| open_error(&*shared.storage, "start", "the writer", source))?;
        Ok((
            Self {
                shared,
                writer: Mutex::new(Some(writer)),
            },
            found.recovered,
        ))
    }

    /// [`Journal::open`] in a directory, which is created where it does not exist.
    ///
    /// # Errors
    /// As [`Journal::open`], and where the directory cannot be created.
    pub fn open_directory(path: &Path, settings: Settings) -> Result<(Self, Recovered), OpenError> {
        let directory = Directory::new(path).map_err(|source| OpenError::Io {
            action: "create",
            place: path.display().to_string(),
            name: ".".to_owned(),
            source,
        })?;
        Self::open(Arc::new(directory), settings)
    }

    /// Hands in a record. `done` runs once, on the writer's thread, when the record is as durable as
    /// [`crate::Durability`] asks or has failed; completions run in the order of the appends, so `done` must be quick
    /// and must not call [`Journal::append_wait`] or [`Journal::sync_now`].
    ///
    /// # Errors
    /// At once, and `done` is dropped without being run: the queue is full, the record too large, the journal closed.
    pub fn append(
        &self,
        record: NewRecord,
        done: impl FnOnce(Result<Appended, AppendError>) + Send + 'static,
    ) -> Result<(), AppendError> {
        let queue = &self.shared.queue;
        let size = (RECORD_HEADER + record.payload.len() + record.key.len()) as u64;
        let pushed = check(&record)
            .and_then(|()| queue.check(size))
            .and_then(|()| queue.push(Pending::new(record, Box::new(done))));
        pushed.inspect_err(|error| self.shared.counters.refused(error, 1))
    }

    /// Whether a record with `bytes` of key and payload would be taken now, so that a caller need not prepare what will
    /// be refused. A refusal counts as one.
    ///
    /// # Errors
    /// What [`Journal::append`] would say at once. The budget of the disk it learns only when it writes.
    pub fn has_room(&self, bytes: usize) -> Result<(), AppendError> {
        let room = self.shared.queue.check((RECORD_HEADER + bytes) as u64);
        room.inspect_err(|error| self.shared.counters.refused(error, 1))
    }

    /// Appends a record and waits until it is durable.
    ///
    /// # Errors
    /// [`AppendError`] where it is not.
    pub fn append_wait(&self, record: NewRecord) -> Result<Appended, AppendError> {
        let (done, appended) = mpsc::sync_channel(1);
        self.append(record, move |result| {
            // Nobody waits any more only where the waiting thread is gone.
            let _ = done.send(result);
        })?;
        appended.recv().unwrap_or(Err(AppendError::Closed))
    }

    /// Waits until everything appended before is durable, whatever [`crate::Durability`] says.
    ///
    /// # Errors
    /// The disk cannot promise it: records appended since the last success may be lost.
    pub fn sync_now(&self) -> Result<(), AppendError> {
        let (done, synced) = mpsc::sync_channel(1);
        self.shared.queue.push_sync(Box::new(move |result| {
            let _ = done.send(result);
        }))?;
        synced.recv().unwrap_or(Err(AppendError::Closed))
    }

    /// Reads what was completed, beginning with the first record at or after `from`.
    pub fn reader(&self, from: Position) -> Reader {
        Reader::new(Arc::clone(&self.shared), from)
    }

    /// The record that begins at `position`, its checksums verified.
    ///
    /// # Errors
    /// [`ReadError`]: truncated, damaged, or the disk fails.
    pub fn read_at(&self, position: Position) -> Result<Record, ReadError> {
        read_one(&self.shared.segments, position)
    }

    /// `len` bytes from byte `offset` of the payload of the record that begins at `position`: one read, no checksum,
    /// and no look at the record's length. Whoever asks knows from the record that these bytes are in it, and what
    /// they must look like.
    ///
    /// # Errors
    /// [`ReadError`]: truncated, beyond what is durable, or the disk fails.
    pub fn read_range(&self, position: Position, offset: usize, len: usize) -> Result<Bytes, ReadError> {
        let segment = self
            .shared
            .segments
            .get(position.segment)
            .ok_or(ReadError::Gone { position })?;
        let out_of_range = || ReadError::OutOfRange {
            position,
            offset,
            len,
        };
        let start = (u64::from(position.offset) + RECORD_HEADER as u64).saturating_add(offset as u64);
        if start.saturating_add(len as u64) > segment.committed() {
            return Err(out_of_range());
        }
        let mut bytes = vec![0; len];
        match read_full(&*segment.file, &mut bytes, start) {
            Ok(read) if read == len => Ok(bytes.into()),
            Ok(_) => Err(out_of_range()),
            Err(source) => Err(ReadError::Io { position, source }),
        }
    }

    /// Removes whole segments that lie before `position`; returns how many bytes that freed. The last segment stays.
    ///
    /// # Errors
    /// Where a file cannot be removed; those before it are.
    pub fn truncate_before(&self, position: Position) -> io::Result<u64> {
        Ok(self
            .shared
            .segments
            .remove_before(position, &*self.shared.storage)?
            .bytes)
    }

    /// Where the next record will begin at the earliest: a reader from here gives what is appended from now on.
    pub fn end(&self) -> Position {
        self.shared
            .segments
            .last()
            .map_or(Position::START, |segment| Position {
                segment: segment.number,
                offset: segment.committed() as u32,
            })
    }

    /// The counters now.
    pub fn stats(&self) -> Stats {
        let (bytes, segments) = self.shared.segments.size();
        self.shared
            .counters
            .stats(bytes, segments, self.shared.queue.queued_bytes())
    }

    /// Takes nothing more, writes and syncs what waits, completes it, and ends the writer.
    pub fn close(&self) {
        self.shared.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The last handle may be dropped by a completion, on the writer's own thread, which cannot wait for itself.
        if let Some(writer) = writer.filter(|writer| writer.thread().id() != thread::current().id()) {
            // A panic there was printed there, and closed the queue.
            let _ = writer.join();
        }
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("place", &self.shared.storage.place())
            .finish_non_exhaustive()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

fn check(record: &NewRecord) -> Result<(), AppendError> {
    if record.payload.len() > MAX_PAYLOAD {
        return Err(AppendError::PayloadTooLarge {
            bytes: record.payload.len(),
        });
    }
    if record.key.len() > MAX_KEY {
        return Err(AppendError::KeyTooLong {
            bytes: record.key.len(),
        });
    }
    Ok(())
}

fn lock_error(storage: &dyn Storage, source: io::Error) -> OpenError {
    if source.kind() == io::ErrorKind::WouldBlock {
        return OpenError::Locked {
            place: storage.place(),
        };
    }
    open_error(storage, "lock", "the directory", source)
}

fn open_error(storage: &dyn Storage, action: &'static str, name: &str, source: io::Error) -> OpenError {
    OpenError::Io {
        action,
        place: storage.place(),
        name: name.to_owned(),
        source,
    }
}
