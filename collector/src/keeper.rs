//! What lies on disk behind the pipeline: kept traces go into the store, cuts become snapshots.
//!
//! In: traces that shall be kept, as places in the journal, and cuts. Out: fragments in the trace store, the snapshot,
//! and a journal that begins where the snapshot still needs it.
//! Left out on purpose: which traces are kept (`tail`). Everything here is on one thread and may wait for the disk.

use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use journal::{Journal, Position};
use store::{Fragment, PutError, TraceStore};
use tracing::{error, warn};

use crate::fragment;
use crate::merger::{Merger, Named};
use crate::pipeline::{Cut, Downstream};
use crate::snapshot::{self, Header};
use crate::tail::Kept;

/// Ids of this many latest batches are remembered over a restart.
const BATCHES: usize = 10_000;
/// Bytes of records that are held because the next traces have spans in them too.
const CACHE_BYTES: usize = 32 << 20;

/// A position of the journal as the shards carry it.
pub(crate) fn packed(position: Position) -> u64 {
    position.segment << 32 | u64::from(position.offset)
}

/// A position as the journal knows it.
pub(crate) fn unpacked(position: u64) -> Position {
    Position {
        segment: position >> 32,
        offset: position as u32,
    }
}

/// What the keeper works on.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) dir: PathBuf,
    pub(crate) journal: Option<Arc<Journal>>,
    pub(crate) store: Option<Arc<TraceStore>>,
    pub(crate) batches: Arc<Batches>,
    pub(crate) counts: Arc<KeeperCounts>,
}

/// What it did, since the process began.
#[derive(Debug, Default)]
pub(crate) struct KeeperCounts {
    /// Spans put into the store.
    pub(crate) stored: AtomicU64,
    /// Spans that should have been and were not to be found in the journal, or that the store refused.
    pub(crate) lost: AtomicU64,
    /// Snapshots written.
    pub(crate) snapshots: AtomicU64,
    /// Snapshots that could not be written.
    pub(crate) failed_snapshots: AtomicU64,
}

/// The ids of the latest batches of agents, by which a repeated one is recognised (DESIGN §2).
#[derive(Debug, Default)]
pub(crate) struct Batches(Mutex<Latest>);

#[derive(Debug, Default)]
struct Latest {
    held: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
    /// What was held at cuts whose snapshots are not written yet.
    cuts: VecDeque<(u64, Vec<Arc<str>>)>,
}

impl Batches {
    /// Notes a batch; false where it came before.
    pub(crate) fn is_new(&self, id: &str) -> bool {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.held.contains(id) {
            return false;
        }
        let id: Arc<str> = id.into();
        latest.order.push_back(Arc::clone(&id));
        latest.held.insert(id);
        if latest.order.len() > BATCHES
            && let Some(oldest) = latest.order.pop_front()
        {
            latest.held.remove(&oldest);
        }
        true
    }

    /// Remembers what is held now for the snapshot that is cut at `position`: what comes later is not in it.
    pub(crate) fn cut(&self, position: u64) {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = latest.order.iter().cloned().collect();
        latest.cuts.push_back((position, held));
    }

    /// What was held at a cut; nothing where none was made there.
    fn at_cut(&self, position: u64) -> Vec<String> {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((cut, held)) = latest.cuts.pop_front() {
            if cut == position {
                return held.iter().map(ToString::to_string).collect();
            }
        }
        Vec::new()
    }
}

enum Work {
    Keep(Kept),
    Cut(Cut),
}

/// The way to the keeper; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct KeeperInbox(Sender<Work>);

impl Downstream for KeeperInbox {
    fn keep(&mut self, trace: Kept) {
        drop(self.0.send(Work::Keep(trace)));
    }

    fn cut(&mut self, cut: Cut) {
        drop(self.0.send(Work::Cut(cut)));
    }
}

/// Starts the keeper.
pub(crate) fn start(disk: Disk) -> std::io::Result<(KeeperInbox, JoinHandle<()>)> {
    let (sender, inbox) = channel();
    let merger = disk.store.clone().map(Merger::start).transpose()?;
    let keeper = Keeper {
        disk,
        merger,
        records: Records::default(),
    };
    let thread = std::thread::Builder::new()
        .name("keeper".to_owned())
        .spawn(move || keeper.run(&inbox))?;
    Ok((KeeperInbox(sender), thread))
}

/// How often a store that has no room at the moment is asked again, and how long it is waited for in between.
const PATIENCE: (u32, Duration) = (500, Duration::from_millis(10));

/// Puts a fragment, and waits while the store is behind with writing.
fn put(store: &TraceStore, fragment: Fragment) -> Result<(), PutError> {
    let (times, pause) = PATIENCE;
    for _ in 0..times {
        match store.put(fragment.clone()) {
            Err(PutError::Full { .. }) => std::thread::park_timeout(pause),
            done => return done,
        }
    }
    store.put(fragment)
}

struct Keeper {
    disk: Disk,
    merger: Option<Merger>,
    records: Records,
}

impl Keeper {
    fn run(mut self, inbox: &Receiver<Work>) {
        while let Ok(work) = inbox.recv() {
            match work {
                Work::Keep(kept) => self.keep(&kept),
                Work::Cut(cut) => self.cut(&cut),
            }
        }
    }

    fn keep(&mut self, kept: &Kept) {
        let (Some(journal), Some(store)) = (&self.disk.journal, &self.disk.store) else {
            return;
        };
        let found = fragment::gather(&kept.places, |position| self.records.get(position, journal));
        let counts = &self.disk.counts;
        counts.lost.fetch_add(found.missing, Ordering::Relaxed);
        let fragment = Fragment {
            trace_id: kept.trace,
            data: found.data,
        };
        match put(store, fragment) {
            Ok(()) => counts.stored.fetch_add(found.spans, Ordering::Relaxed),
            Err(error) => {
                warn!(%error, spans = found.spans, "trace not stored");
                counts.lost.fetch_add(found.spans, Ordering::Relaxed)
            }
        };
    }

    fn cut(&mut self, cut: &Cut) {
        if let Err(error) = self.snapshot(cut) {
            self.disk.counts.failed_snapshots.fetch_add(1, Ordering::Relaxed);
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            error!(%error, cause, "snapshot not written; the journal keeps what a restart needs until one is");
        }
    }

    fn snapshot(&self, cut: &Cut) -> Result<(), Box<dyn std::error::Error>> {
        let Disk {
            dir, journal, store, ..
        } = &self.disk;
        let mut segments = Vec::new();
        if let Some(store) = store {
            store.seal()?;
            store.enforce(cut.mark.time)?;
            segments = store.segments();
        }
        let header = Header {
            time: cut.mark.time,
            position: cut.mark.position,
            oldest: cut.oldest,
            segments: segments.iter().map(ToString::to_string).collect(),
            batches: self.disk.batches.at_cut(cut.mark.position),
            skews: cut.skews.clone(),
            ..Header::default()
        };
        snapshot::write(dir, header, &cut.ledger)?;
        self.disk.counts.snapshots.fetch_add(1, Ordering::Relaxed);
        if let Some(merger) = &self.merger {
            let time = cut.mark.time;
            merger.tell(Named { time, segments });
        }
        if let Some(journal) = journal {
            journal.truncate_before(unpacked(cut.oldest))?;
        }
        Ok(())
    }
}

/// The records that were read last; the spans of traces that close together lie in the same few.
#[derive(Default)]
struct Records {
    held: VecDeque<(u64, Bytes)>,
    bytes: usize,
}

impl Records {
    fn get(&mut self, position: u64, journal: &Journal) -> Option<Bytes> {
        if let Some((_, record)) = self.held.iter().rev().find(|(at, _)| *at == position) {
            return Some(record.clone());
        }
        let record = journal.read_at(unpacked(position)).ok()?.payload;
        self.bytes += record.len();
        self.held.push_back((position, record.clone()));
        while self.bytes > CACHE_BYTES
            && let Some((_, oldest)) = self.held.pop_front()
        {
            self.bytes -= oldest.len();
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_batch_is_recognised_until_it_is_one_of_the_old() {
        let batches = Batches::default();
        assert!(batches.is_new("agent-1") && !batches.is_new("agent-1"));
        (0..BATCHES).for_each(|n| assert!(batches.is_new(&n.to_string())));
        assert!(batches.is_new("agent-1"), "as many others came since");
    }

    #[test]
    fn a_snapshot_holds_the_batches_of_its_cut_and_none_that_came_later() {
        let batches = Batches::default();
        batches.is_new("before");
        batches.cut(7);
        batches.is_new("after");
        batches.cut(9);
        assert_eq!(batches.at_cut(7), ["before"]);
        assert_eq!(batches.at_cut(9), ["before", "after"]);
    }

    #[test]
    fn a_position_survives_the_shards() {
        let position = Position {
            segment: 4_000_000,
            offset: u32::MAX,
        };
        assert_eq!(unpacked(packed(position)), position);
    }
}
