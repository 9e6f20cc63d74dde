//! The store: heads in memory, segments on disk, and a thread that turns the former into the latter.
//!
//! In: fragments of traces, and questions. Out: answers.
//! Left out on purpose: durability of the heads. The caller replays its journal after a restart; the segments that
//! its snapshot names hold what came before.
//!
//! The newest place that has a trace has all of it: a fragment for a trace that stands elsewhere brings along what
//! stands there. So a trace is judged by one place, and no answer depends on where its spans happen to lie.

mod ask;
mod disk;
mod maintain;

use crate::error::{OpenError, PutError, ReadError, SealError};
use crate::head::Head;
use crate::segment::format::{self, SegmentName};
use crate::segment::{Segment, write};
use crate::settings::{MAX_TRACE_BYTES, StoreSettings};
use crate::stats::{Counters, add};
use crate::trace;
use bytes::Bytes;
use maintain::Merging;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

/// Some spans of one trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Whose spans they are. That the spans say the same is not checked.
    pub trace_id: [u8; 16],
    /// `TracesData` (as `ExportTraceServiceRequest`): repeated `ResourceSpans`. The buffer is kept as it is, so it
    /// should not be a small part of a large one.
    pub data: Bytes,
}

/// An embedded store of traces. `Send` and `Sync`; every method may block on the disk.
#[derive(Debug)]
pub struct TraceStore {
    inner: Arc<Inner>,
    sealer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    settings: StoreSettings,
    state: RwLock<State>,
    /// Held while a segment is sealed or removed: one at a time. Not while segments are merged, which takes longer.
    disk: Mutex<Disk>,
    /// Held while segments are merged, and then before `disk`.
    merging: Mutex<Merging>,
    signals: Mutex<Signals>,
    changed: Condvar,
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct State {
    active: Head,
    /// A full head on its way to disk.
    sealing: Option<Arc<Head>>,
    /// The oldest first.
    segments: Arc<Vec<Arc<Segment>>>,
    /// How many segments are there but cannot be used.
    unusable: u64,
    /// Changes whenever traces move from one place to the next.
    generation: u64,
}

#[derive(Debug)]
struct Disk {
    next_sequence: u64,
    /// Segments that are there but cannot be used.
    unusable: Vec<SegmentName>,
    /// Segments that were merged and whose files go when no question reads them any more.
    merged: Vec<Arc<Segment>>,
}

/// What the sealing thread and those who wait for it tell each other.
#[derive(Debug, Default)]
struct Signals {
    wanted: bool,
    stop: bool,
    /// Why the last attempt failed.
    failed: Option<String>,
    /// Attempts so far.
    attempts: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TraceStore {
    /// Opens the store in `dir`, which is made where it is not there.
    ///
    /// With `keep`, segments that it does not name are removed: they hold what a replay will bring again. Those that
    /// were merged from what it names, or are parts of it where it is missing, count as named. Without `keep` all
    /// stay. Parts of a merged segment go, because it has all of them. Files left from a crash are removed; files of others are left alone. A segment that is damaged or
    /// of an unknown version is left alone and counted ([`crate::StoreStats::unusable_segments`]).
    ///
    /// # Errors
    /// [`OpenError`] where the file system refuses or a setting has no meaning.
    pub fn open(
        dir: &Path,
        settings: StoreSettings,
        keep: Option<&[SegmentName]>,
    ) -> Result<Self, OpenError> {
        check(&settings)?;
        let counters = Arc::new(Counters::default());
        let io = |source| OpenError::Io {
            path: dir.to_owned(),
            source,
        };
        let (segments, disk) = disk::open(dir, settings.shard, keep, &counters).map_err(io)?;
        let inner = Arc::new(Inner {
            dir: dir.to_owned(),
            settings,
            state: RwLock::new(State {
                active: Head::default(),
                sealing: None,
                segments: Arc::new(segments),
                unusable: disk.unusable.len() as u64,
                generation: 0,
            }),
            disk: Mutex::new(disk),
            merging: Mutex::default(),
            signals: Mutex::default(),
            changed: Condvar::new(),
            counters,
        });
        let of_thread = Arc::clone(&inner);
        let sealer = std::thread::Builder::new()
            .name("store-seal".to_owned())
            .spawn(move || of_thread.seal_when_wanted())
            .map_err(io)?;
        Ok(Self {
            inner,
            sealer: Some(sealer),
        })
    }

    /// Adds spans to a trace. They are found at once. Spans that the trace has already (same id, kind and service)
    /// are ignored, and so is a fragment without spans.
    ///
    /// Waits only where both heads are full, until a segment is written.
    ///
    /// # Errors
    /// [`PutError`]; the fragment is then not stored.
    pub fn put(&self, fragment: Fragment) -> Result<(), PutError> {
        let Fragment { trace_id, data } = fragment;
        otlp::view::validate(&data).map_err(PutError::Malformed)?;
        let (data, extent) = trace::without_repeats(data);
        if extent.spans == 0 {
            return Ok(());
        }
        self.inner.make_room()?;
        loop {
            let (elsewhere, generation) = self.inner.elsewhere(trace_id)?;
            let mut state = self.inner.write();
            if state.generation != generation {
                continue;
            }
            let before: usize = elsewhere.iter().map(Bytes::len).sum();
            let bytes = state.active.bytes_of(trace_id) + before + data.len();
            let limit = self.inner.settings.max_trace_bytes;
            if bytes > limit {
                add(&self.inner.counters.refused_spans, extent.spans);
                return Err(PutError::TraceTooLarge { bytes, limit });
            }
            if !elsewhere.is_empty() && state.active.continued.insert(trace_id) {
                add(&self.inner.counters.continued, 1);
                let (data, extent) = trace::merge(&elsewhere);
                state.active.add(trace_id, data, extent);
            }
            let spans = state.active.spans;
            state.active.add(trace_id, data, extent);
            add(&self.inner.counters.fragments, 1);
            add(
                &self.inner.counters.spans,
                state.active.spans.saturating_sub(spans),
            );
            return Ok(());
        }
    }

    /// Writes everything that was put so far to disk and returns the newest segment's name; `None` where there was
    /// nothing to write. What is put meanwhile may or may not be in it.
    ///
    /// # Errors
    /// [`SealError`]; nothing is lost then, and the next attempt begins anew.
    pub fn seal(&self) -> Result<Option<SegmentName>, SealError> {
        let mut disk = lock(&self.inner.disk);
        let waiting = self.inner.seal_waiting(&mut disk)?;
        self.inner.write().rotate();
        Ok(self.inner.seal_waiting(&mut disk)?.or(waiting))
    }

    /// The segments on disk, the oldest first: what a snapshot names for [`TraceStore::open`].
    pub fn segments(&self) -> Vec<SegmentName> {
        self.inner
            .read()
            .segments
            .iter()
            .map(|segment| segment.name)
            .collect()
    }
}

impl Drop for TraceStore {
    /// Waits for a segment that is being written. What is only in memory goes.
    fn drop(&mut self) {
        lock(&self.inner.signals).stop = true;
        self.inner.changed.notify_all();
        if let Some(sealer) = self.sealer.take() {
            // A panic there was printed there.
            let _ = sealer.join();
        }
    }
}

impl State {
    /// The active head waits to be sealed, where none does and it is not empty.
    fn rotate(&mut self) {
        if self.sealing.is_none() && !self.active.traces.is_empty() {
            self.sealing = Some(Arc::new(std::mem::take(&mut self.active)));
            self.generation += 1;
        }
    }
}

impl Inner {
    /// What places other than the active head have of a trace, unless the active head has it too, and so all of it.
    fn elsewhere(&self, id: [u8; 16]) -> Result<(Vec<Bytes>, u64), ReadError> {
        let (segments, generation) = {
            let state = self.read();
            if state.active.traces.contains_key(&id) {
                return Ok((Vec::new(), state.generation));
            }
            if let Some(found) = state.sealing.as_ref().and_then(|head| head.traces.get(&id)) {
                return Ok((found.fragments.clone(), state.generation));
            }
            (Arc::clone(&state.segments), state.generation)
        };
        match newest(&segments, id) {
            Ok(found) => Ok((found.into_iter().collect(), generation)),
            // What cannot be read any more must not keep the rest from being stored.
            Err(ReadError::Damaged { .. }) => Ok((Vec::new(), generation)),
            Err(error) => Err(error),
        }
    }

    /// Hands a full head to the sealing thread, and waits while that has another.
    fn make_room(&self) -> Result<(), PutError> {
        let is_full = |state: &State| state.active.bytes >= self.settings.head_bytes;
        if !is_full(&self.read()) {
            return Ok(());
        }
        let mut signals = lock(&self.signals);
        let attempts = signals.attempts;
        let mut waited = false;
        loop {
            let mut state = self.write();
            if !is_full(&state) {
                return Ok(());
            }
            signals.wanted = true;
            self.changed.notify_all();
            if state.sealing.is_none() {
                state.rotate();
                return Ok(());
            }
            drop(state);
            if let Some(reason) = signals.failed.clone().filter(|_| signals.attempts > attempts) {
                return Err(PutError::Full { reason });
            }
            if !waited {
                add(&self.counters.waits, 1);
                waited = true;
            }
            signals = self.changed.wait(signals).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn seal_when_wanted(&self) {
        loop {
            let mut signals = lock(&self.signals);
            while !signals.wanted && !signals.stop {
                signals = self.changed.wait(signals).unwrap_or_else(PoisonError::into_inner);
            }
            if signals.stop {
                return;
            }
            signals.wanted = false;
            drop(signals);
            let sealed = self.seal_waiting(&mut lock(&self.disk));
            let mut signals = lock(&self.signals);
            signals.failed = sealed.err().map(|error| with_causes(&error));
            signals.attempts += 1;
            self.changed.notify_all();
        }
    }

    /// Writes the head that waits, if any.
    fn seal_waiting(&self, disk: &mut Disk) -> Result<Option<SegmentName>, SealError> {
        let Some(head) = self.read().sealing.clone() else {
            return Ok(None);
        };
        let sealed = self.write_segment(&head, disk);
        add(
            if sealed.is_ok() {
                &self.counters.seals
            } else {
                &self.counters.failed_seals
            },
            1,
        );
        let segment = sealed?;
        let name = segment.name;
        {
            let mut state = self.write();
            let mut segments = Vec::clone(&state.segments);
            segments.push(Arc::new(segment));
            state.segments = Arc::new(segments);
            state.sealing = None;
            state.generation += 1;
        }
        // Those who wait for room look at the state, so they must not look between its change and this.
        drop(lock(&self.signals));
        self.changed.notify_all();
        Ok(Some(name))
    }

    fn write_segment(&self, head: &Head, disk: &mut Disk) -> Result<Segment, SealError> {
        let name = SegmentName {
            shard: self.settings.shard,
            sequence: disk.next_sequence,
            first: disk.next_sequence,
            version: format::VERSION,
        };
        let path = self.dir.join(name.to_string());
        let write_error = |source| SealError::Write {
            path: path.clone(),
            source,
        };
        write::write(&self.dir, name, now(), head.rows(), &self.settings).map_err(write_error)?;
        // Not before: a failed attempt leaves no file.
        disk.next_sequence += 1;
        let opened = Segment::open(&self.dir, name, Arc::clone(&self.counters)).map_err(write_error)?;
        opened.ok_or_else(|| SealError::Unreadable { path: path.clone() })
    }
}

/// All of a trace that the newest segment with it has; an older one's part where the newest is damaged.
fn newest(segments: &[Arc<Segment>], id: [u8; 16]) -> Result<Option<Bytes>, ReadError> {
    let mut damaged = None;
    for segment in segments.iter().rev() {
        match segment.trace(id) {
            Ok(Some(data)) => return Ok(Some(data.into())),
            Ok(None) => {}
            Err(error @ ReadError::Damaged { .. }) => damaged = Some(error),
            Err(error) => return Err(error),
        }
    }
    damaged.map_or(Ok(None), Err)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn check(settings: &StoreSettings) -> Result<(), OpenError> {
    let size = |name, value: usize, most: usize, range| {
        let setting = OpenError::Setting {
            name,
            value: value as i128,
            range,
        };
        if (1..=most).contains(&value) {
            Ok(())
        } else {
            Err(setting)
        }
    };
    size("head_bytes", settings.head_bytes, 1 << 40, "from 1 B to 1 TiB")?;
    size(
        "block_bytes",
        settings.block_bytes,
        MAX_TRACE_BYTES,
        "from 1 B to 64 MiB",
    )?;
    size(
        "max_trace_bytes",
        settings.max_trace_bytes,
        MAX_TRACE_BYTES,
        "from 1 B to 64 MiB",
    )?;
    if !(-7..=19).contains(&settings.compression) {
        return Err(OpenError::Setting {
            name: "compression",
            value: settings.compression.into(),
            range: "from -7 to 19",
        });
    }
    Ok(())
}
