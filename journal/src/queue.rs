//! What waits for the writer.
//!
//! In: records and sync requests from many threads. Out: groups of them, in the order in which they came.
//! Left out on purpose: waiting for room. A full queue says so at once; its caller knows what to tell the sender.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::AppendError;
use crate::format::{RECORD_HEADER, body_crc};
use crate::record::{Appended, NewRecord};

/// Runs on the writer's thread.
pub(crate) type Completion = Box<dyn FnOnce(Result<Appended, AppendError>) + Send>;
/// Runs on the writer's thread.
pub(crate) type SyncCompletion = Box<dyn FnOnce(Result<(), AppendError>) + Send>;

/// A record that waits.
pub(crate) struct Pending {
    pub(crate) record: NewRecord,
    pub(crate) body_crc: u32,
    pub(crate) done: Completion,
}

impl Pending {
    /// The checksum is computed here, by the thread that appends, and not by the writer.
    pub(crate) fn new(record: NewRecord, done: Completion) -> Self {
        Self {
            body_crc: body_crc(&record),
            record,
            done,
        }
    }

    /// Bytes of the whole record on disk.
    pub(crate) fn size(&self) -> u64 {
        (RECORD_HEADER + self.record.payload.len() + self.record.key.len()) as u64
    }
}

/// What the writer is asked to do.
pub(crate) enum Request {
    Append(Pending),
    Sync(SyncCompletion),
}

#[derive(Default)]
struct Waiting {
    requests: VecDeque<Request>,
    /// Bytes of records that wait or are being written.
    bytes: usize,
    closed: bool,
}

pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    limit: usize,
}

impl Queue {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            limit,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a record of `size` bytes would be refused now. Spares the checksum of one that would.
    pub(crate) fn check(&self, size: u64) -> Result<(), AppendError> {
        self.admit(&self.lock(), size)
    }

    pub(crate) fn push(&self, pending: Pending) -> Result<(), AppendError> {
        let mut waiting = self.lock();
        self.admit(&waiting, pending.size())?;
        waiting.bytes += pending.size() as usize;
        waiting.requests.push_back(Request::Append(pending));
        drop(waiting);
        self.arrived.notify_one();
        Ok(())
    }

    pub(crate) fn push_sync(&self, done: SyncCompletion) -> Result<(), AppendError> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(AppendError::Closed);
        }
        waiting.requests.push_back(Request::Sync(done));
        drop(waiting);
        self.arrived.notify_one();
        Ok(())
    }

    fn admit(&self, waiting: &Waiting, size: u64) -> Result<(), AppendError> {
        if waiting.closed {
            return Err(AppendError::Closed);
        }
        if waiting.bytes > 0 && waiting.bytes + size as usize > self.limit {
            return Err(AppendError::QueueFull {
                queued: waiting.bytes,
            });
        }
        Ok(())
    }

    /// The next group: what waits, up to about `bytes`. Waits for the first; `None` once closed and empty.
    pub(crate) fn take(&self, bytes: u64) -> Option<Vec<Request>> {
        let waiting = self.lock();
        let mut waiting = self
            .arrived
            .wait_while(waiting, |waiting| waiting.requests.is_empty() && !waiting.closed)
            .unwrap_or_else(PoisonError::into_inner);
        let mut taken = 0;
        let count = waiting.requests.iter().take_while(|request| {
            let fits = taken < bytes;
            taken += if let Request::Append(pending) = request {
                pending.size()
            } else {
                0
            };
            fits
        });
        let count = count.count();
        (count > 0).then(|| waiting.requests.drain(..count).collect())
    }

    /// These bytes wait no longer.
    pub(crate) fn release(&self, bytes: u64) {
        let mut waiting = self.lock();
        waiting.bytes = waiting.bytes.saturating_sub(bytes as usize);
    }

    pub(crate) fn queued_bytes(&self) -> u64 {
        self.lock().bytes as u64
    }

    /// Takes nothing more. What waits is still written.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Takes nothing more and forgets what waits; for a writer that is no more.
    pub(crate) fn abandon(&self) {
        let abandoned = {
            let mut waiting = self.lock();
            waiting.closed = true;
            waiting.bytes = 0;
            std::mem::take(&mut waiting.requests)
        };
        drop(abandoned);
    }
}
