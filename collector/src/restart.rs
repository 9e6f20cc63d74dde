//! How a collector goes on from where it was.
//!
//! In: `data_dir` as an earlier run left it, however that ended. Out: the pipeline with map, counters and open traces as
//! they were: the snapshot, and what the journal holds behind it.
//! Left out on purpose: what a record's spans mean. Replaying goes the way of requests.
//!
//! A snapshot is a cut at one position of the journal. What came before it is counted in it; but traces that were still
//! open, or kept for late spans, are not in it. So the replay begins earlier, at the oldest record that one of them
//! needs, and up to the cut it is *muted*: tables fill, traces close as they did, nothing is counted. From the cut on
//! everything counts.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use journal::{Journal, OpenError, Overflow, Position, Record};
use map::Services;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message as _;
use sampling::Predicates;
use store::{StoreSettings, TraceStore};
use tracing::{info, warn};

use crate::edge_counts;
use crate::intake::Kind;
use crate::keeper::{self, Batches, Disk, KeeperCounts, packed, unpacked};
use crate::ledger::{Ledger, RestoreError};
use crate::names::Share;
use crate::pipeline::{Pipeline, Routes};
use crate::read::Reader;
use crate::settings::{CollectorSettings, Durability};
use crate::skew::{InForce, Skews};
use crate::snapshot::{self, Header, SnapshotError};
use crate::tail::Tail;

/// Bytes of spans that may wait for the shards during a replay.
const AHEAD: usize = 16 << 20;

/// How much time passes in a muted replay before shards wait for each other, nanoseconds.
const SETTLE_EVERY: u64 = 100_000_000;

/// What an earlier run left cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RestartError {
    /// The directory cannot be made.
    #[error("cannot create the directory")]
    Directory(#[source] std::io::Error),
    /// The snapshot cannot be used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The ledger in it cannot be used.
    #[error(
        "the snapshot holds a map that this version cannot read: move it away to begin with an empty one"
    )]
    Ledger(#[from] RestoreError),
    /// The journal cannot be opened.
    #[error("cannot open the journal")]
    Journal(#[from] OpenError),
    /// The trace store cannot be opened.
    #[error("cannot open the trace store")]
    Store(#[from] store::OpenError),
}

/// What was found.
pub(crate) struct Restarted {
    ledger: Ledger,
    header: Option<Header>,
    disk: Option<Disk>,
    batches: Arc<Batches>,
    counts: Arc<KeeperCounts>,
}

/// Running threads, and what is left to do before spans are taken.
pub(crate) struct Started {
    pub(crate) pipeline: Pipeline,
    pub(crate) keeper: Option<JoinHandle<()>>,
    pub(crate) disk: Option<Disk>,
    pub(crate) replay: Option<Replay>,
    pub(crate) batches: Arc<Batches>,
    pub(crate) counts: Arc<KeeperCounts>,
    /// What tail sampling wants to know of every span.
    pub(crate) predicates: Arc<Predicates>,
    /// The latest time that the earlier run is known to have used.
    pub(crate) time: u64,
}

/// Reads what an earlier run left in `data_dir`; without one everything is new.
pub(crate) fn take_up(settings: &CollectorSettings, services: Services) -> Result<Restarted, RestartError> {
    let batches: Arc<Batches> = Arc::default();
    let counts = Arc::default();
    let Some(dir) = &settings.data_dir else {
        return Ok(Restarted {
            ledger: Ledger::new(settings.ledger(services)),
            header: None,
            disk: None,
            batches,
            counts,
        });
    };
    std::fs::create_dir_all(dir).map_err(RestartError::Directory)?;
    if dir.join("state.json").exists() {
        warn!("`state.json` is of an earlier version and is not read");
    }
    // The journal first: its lock tells two collectors on one directory apart before either reads anything.
    let journal = open_journal(dir, settings)?;
    let (ledger, header) = match snapshot::read(dir)? {
        Some(found) => (
            Ledger::restore(settings.ledger(services), &found.ledger)?,
            Some(found.header),
        ),
        None => (Ledger::new(settings.ledger(services)), None),
    };
    if let Some(header) = &header {
        header.batches.iter().for_each(|id| {
            batches.is_new(id);
        });
    }
    let store = open_store(dir, settings, journal.is_some(), header.as_ref())?;
    let disk = Disk {
        dir: dir.clone(),
        journal,
        store,
        batches: Arc::clone(&batches),
        counts: Arc::clone(&counts),
    };
    Ok(Restarted {
        ledger,
        header,
        disk: Some(disk),
        batches,
        counts,
    })
}

fn open_journal(dir: &Path, settings: &CollectorSettings) -> Result<Option<Arc<Journal>>, RestartError> {
    let durability = match settings.journal.durability {
        Durability::Sync => journal::Durability::Sync,
        Durability::Write => journal::Durability::Write,
        Durability::Off => return Ok(None),
    };
    let settings = journal::Settings {
        max_bytes: settings.journal.max_size.0,
        durability,
        overflow: Overflow::Refuse,
        ..journal::Settings::default()
    };
    let (journal, recovered) = Journal::open_directory(&dir.join("journal"), settings)?;
    if recovered.damaged_records + recovered.damaged_segments > 0 {
        warn!(
            records = recovered.damaged_records,
            segments = recovered.damaged_segments,
            "damage in the journal was skipped"
        );
    }
    Ok(Some(Arc::new(journal)))
}

fn open_store(
    dir: &Path,
    settings: &CollectorSettings,
    has_journal: bool,
    header: Option<&Header>,
) -> Result<Option<Arc<TraceStore>>, RestartError> {
    if !settings.store.enabled || !has_journal {
        return Ok(None);
    }
    // Segments that the snapshot does not name hold traces that the replay will keep again.
    let held = header.map_or(&[][..], |header| &header.segments);
    let held: Vec<_> = held.iter().filter_map(|name| name.parse().ok()).collect();
    let store_settings = StoreSettings {
        max_age: Some(settings.store.max_age.get()),
        max_bytes: Some(settings.store.max_size.0),
        ..StoreSettings::default()
    };
    let store = TraceStore::open(&dir.join("traces"), store_settings, Some(&held))?;
    Ok(Some(Arc::new(store)))
}

impl Restarted {
    /// Starts the threads; muted where there is something to replay.
    pub(crate) fn start(self, settings: &CollectorSettings, names: &Arc<Share>) -> std::io::Result<Started> {
        let Self {
            ledger,
            header,
            disk,
            batches,
            counts,
        } = self;
        let predicates = Arc::new(Predicates::compile(&settings.sampling.policies));
        let has_store = disk.as_ref().is_some_and(|disk| disk.store.is_some());
        let tail = has_store.then(|| Tail::new(&settings.sampling));
        let replay = disk.as_ref().and_then(|disk| {
            let journal = disk.journal.clone()?;
            let (from, cut, cut_time) = header.as_ref().map_or((Position::START, 0, 0), |header| {
                (unpacked(header.oldest), header.position, header.time)
            });
            let predicates = Arc::clone(&predicates);
            let waits = header.as_ref().map(|header| header.skews.in_force());
            Some(Replay {
                waits: waits.unwrap_or_default(),
                journal,
                from,
                cut,
                cut_time,
                predicates,
                names: Arc::clone(names),
            })
        });
        let table = settings.table(has_store);
        let mut skews = Skews::new(table.wait, table.max_open);
        if let Some(header) = &header {
            skews.restore(&header.skews);
        }
        let muted = replay.as_ref().is_some_and(|replay| replay.cut > 0);
        let (downstream, keeper) = match &disk {
            Some(disk) => {
                let (inbox, thread) = keeper::start(disk.clone())?;
                (Some(inbox), Some(thread))
            }
            None => (None, None),
        };
        let pipeline = Pipeline::start(settings.shards(), table, ledger, skews, tail, downstream, muted)?;
        Ok(Started {
            pipeline,
            keeper,
            disk,
            replay,
            batches,
            counts,
            predicates,
            time: header.map_or(0, |header| header.time),
        })
    }
}

/// Reads the journal back into the pipeline.
#[derive(Debug)]
pub(crate) struct Replay {
    journal: Arc<Journal>,
    from: Position,
    /// The snapshot's own position; what lies before is counted in it. 0 without a snapshot.
    cut: u64,
    /// When it was made: what was due by then is counted in it too.
    cut_time: u64,
    /// How long halves were waited for, and from where on.
    waits: Vec<InForce>,
    predicates: Arc<Predicates>,
    names: Arc<Share>,
}

impl Replay {
    /// Hands every record to the shards; returns when they have taken all of it.
    pub(crate) fn run(self, routes: &Routes, batches: &Batches) {
        let Self {
            journal,
            from,
            cut,
            cut_time,
            waits,
            predicates,
            names,
        } = self;
        let mut waits = waits.into_iter().peekable();
        let mut records = journal.reader(from);
        let mut settled = 0u64;
        let (mut reader, mut muted, mut time, mut replayed) =
            (Reader::within(predicates, Arc::clone(&names)), cut > 0, 0, 0u64);
        loop {
            let record = match records.next() {
                None => break,
                Some(Ok(record)) => record,
                Some(Err(error)) => {
                    warn!(%error, "the journal cannot be read here; going on with its next segment");
                    continue;
                }
            };
            let position = packed(record.position);
            time = record.time.max(time);
            if muted && position >= cut {
                routes.settle();
                routes.unmute(cut_time);
                muted = false;
            }
            // What shards tell each other must not lag behind the time that they live in, or links would be found later
            // than they were.
            if muted && time >= settled.saturating_add(SETTLE_EVERY) {
                routes.settle();
                settled = time;
            }
            while let Some(then) = waits.next_if(|then| then.position <= position) {
                change_waits(routes, &then);
            }
            replayed += u64::from(!muted);
            let mut hand = Hand {
                routes,
                batches,
                reader: &mut reader,
                names: &names,
                muted,
            };
            hand.over(&record, time, position);
            routes.drain_to(AHEAD);
        }
        routes.settle();
        waits.for_each(|then| change_waits(routes, &then));
        if muted {
            routes.unmute(cut_time);
        }
        let lost = records.report();
        if lost.damaged_records > 0 {
            warn!(
                records = lost.damaged_records,
                bytes = lost.damaged_bytes,
                "damaged records were skipped"
            );
        }
        if replayed > 0 {
            info!(requests = replayed, "went on from the journal");
        }
    }
}

/// Traces that were due by then closed by the waits before.
fn change_waits(routes: &Routes, then: &InForce) {
    routes.advance(then.time);
    routes.set_waits(&then.waits);
}

/// What a record is handed over with.
struct Hand<'a> {
    routes: &'a Routes,
    batches: &'a Batches,
    reader: &'a mut Reader,
    names: &'a Share,
    muted: bool,
}

impl Hand<'_> {
    fn over(&mut self, record: &Record, time: u64, position: u64) {
        let Some((kind, batch)) = Kind::of(&record.key) else {
            return;
        };
        // Before the cut every batch is in the snapshot's own list, so there the list says nothing.
        let repeated = !self.muted && !batch.is_empty() && !self.batches.is_new(batch);
        match kind {
            Kind::Spans => self.spans(&record.payload, time, position, repeated),
            Kind::Counts | Kind::Baseline if self.muted || repeated => {}
            Kind::Baseline => {
                if let Ok(change) = serde_json::from_slice(&record.payload) {
                    // What was due by then was counted before it.
                    self.routes.advance(time);
                    self.routes.settle();
                    self.routes.change_baseline(change);
                }
            }
            Kind::Counts => {
                if let Ok(request) = ExportMetricsServiceRequest::decode(&record.payload[..]) {
                    self.routes
                        .count(edge_counts::read(&request, self.names).edges, time);
                }
            }
        }
    }

    fn spans(&mut self, body: &[u8], time: u64, position: u64, repeated: bool) {
        // What is in the journal was valid when it was taken.
        let Ok(extracted) = self.reader.read(body) else {
            return;
        };
        if repeated {
            self.routes.repeat(&extracted);
            self.routes.know(extracted);
        } else {
            self.routes.take(extracted, time, position);
        }
    }
}
