//! The thread that writes: group commit, rotation and budget.
//!
//! In: requests from the queue. Out: records in segments, and their completions in order.
//! Left out on purpose: what a single segment does with a failing disk, see `active`.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tracing::{error, info, warn};

use crate::active::{Active, Outcome};
use crate::error::AppendError;
use crate::format::{SEGMENT_HEADER, SegmentHeader};
use crate::journal::Shared;
use crate::queue::{Pending, Queue, Request};
use crate::record::Appended;
use crate::settings::Overflow;

/// A group larger than this makes the first of it wait too long for the last.
const GROUP_BYTES: u64 = 8 << 20;

pub(crate) struct Writer {
    shared: Arc<Shared>,
    active: Option<Active>,
    next_segment: u64,
    next_sequence: u64,
    /// Whether the last attempt failed, so that a full disk is logged once and not for each group.
    failing: bool,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, next_segment: u64, next_sequence: u64) -> Self {
        Self {
            shared,
            active: None,
            next_segment,
            next_sequence,
            failing: false,
        }
    }

    /// Runs until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let _abandon = Abandon(&shared.queue);
        while let Some(group) = shared.queue.take(GROUP_BYTES) {
            self.commit(group);
        }
        // A failure is logged and there is nobody left to tell.
        let _ = self.sync();
    }

    fn commit(&mut self, group: Vec<Request>) {
        let mut records = VecDeque::with_capacity(group.len());
        for request in group {
            match request {
                Request::Append(pending) => records.push_back(pending),
                Request::Sync(done) => {
                    self.append_all(&mut records);
                    done(self.sync());
                }
            }
        }
        self.append_all(&mut records);
    }

    fn append_all(&mut self, records: &mut VecDeque<Pending>) {
        while let Some(first) = records.front() {
            match self.prepare(first.size()) {
                Ok(active) => self.append_batch(active, records),
                Err(error) => {
                    // Budget: a smaller record may still fit. A segment that cannot be begun serves none of them.
                    let count = if matches!(error, AppendError::BudgetFull { .. }) {
                        1
                    } else {
                        records.len()
                    };
                    self.refuse(records.drain(..count).collect(), &error);
                }
            }
        }
    }

    /// The segment that a record of `size` bytes goes into, with room for it on disk.
    fn prepare(&mut self, size: u64) -> Result<Active, AppendError> {
        let settings = &self.shared.settings;
        let continues = self
            .active
            .as_ref()
            .is_some_and(|active| settings.fits(active.length(), size));
        self.make_room(if continues { size } else { SEGMENT_HEADER + size })?;
        if !continues {
            // The records there were completed; that they are not synced is logged and does not concern this one.
            let _ = self.sync();
            self.active = None;
        }
        self.active.take().map_or_else(|| self.begin_segment(), Ok)
    }

    fn make_room(&self, size: u64) -> Result<(), AppendError> {
        let max_bytes = self.shared.settings.max_bytes;
        loop {
            let (bytes, _) = self.shared.segments.size();
            if bytes + size <= max_bytes {
                return Ok(());
            }
            let dropped = self.shared.settings.overflow == Overflow::DropOldest && self.drop_oldest();
            if !dropped {
                return Err(AppendError::BudgetFull { bytes, max_bytes });
            }
        }
    }

    fn drop_oldest(&self) -> bool {
        let journal = self.shared.storage.place();
        match self
            .shared
            .segments
            .remove_oldest(u64::MAX, &*self.shared.storage)
        {
            Ok(Some(removed)) => {
                self.shared
                    .counters
                    .dropped_records
                    .fetch_add(removed.records, Relaxed);
                self.shared
                    .counters
                    .dropped_bytes
                    .fetch_add(removed.bytes, Relaxed);
                let (records, bytes) = (removed.records, removed.bytes);
                error!(journal, records, bytes, "oldest journal segment dropped");
                true
            }
            Ok(None) => false,
            Err(error) => {
                warn!(journal, %error, "oldest journal segment could not be removed");
                false
            }
        }
    }

    fn begin_segment(&mut self) -> Result<Active, AppendError> {
        let header = SegmentHeader {
            stream: self.shared.settings.stream,
            number: self.next_segment,
            first_sequence: self.next_sequence,
            salt: RandomState::new().hash_one(self.next_segment) as u32,
        };
        // A number is used once even where creating fails: the file may be there all the same.
        self.next_segment += 1;
        let active = Active::begin(&*self.shared.storage, header).map_err(AppendError::from_write)?;
        self.shared.segments.insert(Arc::clone(&active.segment));
        Ok(active)
    }

    /// Appends as many records as this segment and the budget have room for; the first one has it.
    fn append_batch(&mut self, mut active: Active, records: &mut VecDeque<Pending>) {
        let count = self.count_fitting(&active, records);
        let batch: Vec<Pending> = records.drain(..count).collect();
        let start = active.length();
        let durability = self.shared.settings.durability;
        let outcome = active.append(&batch, self.next_sequence, durability, &self.shared.counters);
        self.complete(&active, start, batch, outcome);
        self.active = Some(active).filter(Active::is_trusted);
    }

    fn count_fitting(&self, active: &Active, records: &VecDeque<Pending>) -> usize {
        let mut room = self
            .shared
            .settings
            .max_bytes
            .saturating_sub(self.shared.segments.size().0);
        let mut length = active.length();
        let fitting = records.iter().take_while(|pending| {
            let size = pending.size();
            let fits = self.shared.settings.fits(length, size) && size <= room;
            room = room.saturating_sub(size);
            length += size;
            fits
        });
        fitting.count()
    }

    /// Completes the records of one batch in their order.
    fn complete(&mut self, active: &Active, start: u64, mut batch: Vec<Pending>, outcome: Outcome) {
        let refused = batch.split_off(outcome.whole);
        let bytes = batch.iter().map(Pending::size).sum();
        self.shared.queue.release(bytes);
        self.shared
            .counters
            .appended_records
            .fetch_add(batch.len() as u64, Relaxed);
        self.shared.counters.appended_bytes.fetch_add(bytes, Relaxed);
        let mut offset = start;
        for pending in batch {
            let position = active.position(offset);
            offset += pending.size();
            let sequence = self.next_sequence;
            self.next_sequence += 1;
            (pending.done)(Ok(Appended {
                position,
                end: active.position(offset),
                sequence,
            }));
        }
        match outcome.failure {
            Some(error) => self.refuse(refused, &error),
            None => self.note_success(),
        }
    }

    fn refuse(&mut self, records: Vec<Pending>, error: &AppendError) {
        self.note_failure(error);
        self.shared.counters.refused(error, records.len() as u64);
        self.shared.queue.release(records.iter().map(Pending::size).sum());
        for pending in records {
            (pending.done)(Err(error.clone()));
        }
    }

    /// Makes durable what was only written. A segment that cannot be synced is left behind.
    fn sync(&mut self) -> Result<(), AppendError> {
        let Some(active) = &mut self.active else {
            return Ok(());
        };
        let synced = active.sync(&self.shared.counters);
        if let Err(error) = &synced {
            self.active = None;
            self.note_failure(error);
        }
        synced
    }

    fn note_failure(&mut self, error: &AppendError) {
        if !std::mem::replace(&mut self.failing, true) {
            let error: &dyn std::error::Error = error;
            error!(
                journal = self.shared.storage.place(),
                error, "journal refuses records"
            );
        }
    }

    fn note_success(&mut self) {
        if std::mem::take(&mut self.failing) {
            info!(
                journal = self.shared.storage.place(),
                "journal takes records again"
            );
        }
    }
}

/// Whatever ends the writer, no append waits for it afterwards.
struct Abandon<'a>(&'a Queue);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
