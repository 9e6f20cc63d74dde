//! The power-cut proof: a journal under load on a disk that loses power again and again.
//!
//! In: a seed and a number of cuts. Out: a [`Report`]; what was acknowledged and is gone must be 0.
//! Left out on purpose: [`crate::Durability::Write`], which promises nothing against a cut.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use bytes::Bytes;

use super::{Rng, SimDisk};
use crate::{Journal, NewRecord, OpenError, Position, Record, Settings};

const APPENDERS: usize = 3;
/// Ends the load where faults leave the budget spent before the cut comes.
const BURSTS: u64 = 400;

/// What many cuts did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Power cuts.
    pub cuts: u64,
    /// Those that came while the journal was being opened.
    pub cuts_while_opening: u64,
    /// Records handed in.
    pub offered: u64,
    /// Records whose append completed with `Ok`.
    pub acknowledged: u64,
    /// Records found that were never acknowledged, which is allowed: their sender will repeat them.
    pub unacknowledged_found: u64,
    /// Half-written bytes that were cut off.
    pub torn_bytes: u64,
    /// Damaged records that were skipped; none of them was acknowledged unless `lost` says so.
    pub damaged_records: u64,
    /// Acknowledged records that are gone. Must be 0.
    pub lost: u64,
    /// Segments of which no header is readable. Must be 0.
    pub unreadable_segments: u64,
    /// Records that nobody handed in. Must be 0.
    pub invented: u64,
    /// Records found twice. Must be 0.
    pub duplicated: u64,
    /// Records, or completions, out of order. Must be 0.
    pub out_of_order: u64,
}

impl Report {
    /// Whether every promise was kept.
    pub fn holds(&self) -> bool {
        self.lost + self.unreadable_segments + self.invented + self.duplicated + self.out_of_order == 0
    }
}

/// Cuts the power `cuts` times while several threads append, and verifies the journal after each.
///
/// # Errors
/// Where the journal cannot be opened although the disk works, which is a failure of the proof as well.
pub fn power_cuts(seed: u64, cuts: u64) -> Result<Report, OpenError> {
    let mut proof = Proof {
        disk: SimDisk::new(seed),
        rng: Rng::new(!seed),
        next_id: Arc::new(AtomicU64::new(0)),
        durable: BTreeMap::new(),
        report: Report::default(),
    };
    for _ in 0..cuts {
        proof.run_until_cut();
        proof.disk.cut();
        proof.report.cuts += 1;
        proof.verify()?;
    }
    proof.report.offered = proof.next_id.load(Ordering::Relaxed);
    Ok(proof.report)
}

struct Proof {
    disk: SimDisk,
    rng: Rng,
    next_id: Arc<AtomicU64>,
    /// Sequence number and id of every record that must be there.
    durable: BTreeMap<u64, u64>,
    report: Report,
}

impl Proof {
    fn settings() -> Settings {
        Settings {
            segment_bytes: 8 << 10,
            max_bytes: 4 << 20,
            ..Settings::default()
        }
    }

    fn run_until_cut(&mut self) {
        self.inject_faults();
        let operations = if self.rng.one_in(8) {
            self.rng.below(20)
        } else {
            self.rng.below(200)
        };
        self.disk.die_after(1 + operations);
        let Ok((journal, recovered)) = Journal::open(self.disk.storage(), Self::settings()) else {
            self.report.cuts_while_opening += 1;
            return;
        };
        self.report.torn_bytes += recovered.torn_bytes;
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..APPENDERS {
                let rng = Rng::new(self.rng.next());
                let (disk, journal, acknowledged) = (&self.disk, &journal, Arc::clone(&acknowledged));
                let next_id = Arc::clone(&self.next_id);
                scope.spawn(move || append_until_cut(disk, journal, rng, &next_id, &acknowledged));
            }
        });
        drop(journal);
        let acknowledged = acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        self.report.acknowledged += acknowledged.len() as u64;
        self.report.out_of_order += acknowledged.windows(2).filter(|pair| pair[0] >= pair[1]).count() as u64;
        self.durable.extend(acknowledged.iter().copied());
    }

    fn inject_faults(&mut self) {
        if self.rng.one_in(4) {
            self.disk.fail_syncs(1);
        }
        if self.rng.one_in(4) {
            self.disk.fail_writes(1);
        }
        if self.rng.one_in(4) {
            self.disk.fail_truncations(1);
        }
        self.disk.set_short_writes(self.rng.one_in(2));
    }

    fn verify(&mut self) -> Result<(), OpenError> {
        let (journal, recovered) = Journal::open(self.disk.storage(), Self::settings())?;
        self.report.unreadable_segments += recovered.damaged_segments;
        self.report.torn_bytes += recovered.torn_bytes;
        let mut reader = journal.reader(Position::START);
        let records: Vec<Record> = reader.by_ref().filter_map(Result::ok).collect();
        self.report.damaged_records += reader.report().damaged_records;
        self.compare(&records);
        // What a cut has spared is on the disk, so it must be there from now on.
        self.durable = records
            .iter()
            .filter_map(|record| Some((record.sequence, id_of(record)?)))
            .collect();
        let oldest_kept = records.len() as u64 / 2 + self.rng.below(records.len() as u64);
        if let Some(record) = records.get(oldest_kept as usize) {
            self.truncate(&journal, record.position);
        }
        Ok(())
    }

    fn compare(&mut self, records: &[Record]) {
        let next_id = self.next_id.load(Ordering::Relaxed);
        let mut ids = BTreeSet::new();
        let mut found = BTreeMap::new();
        for record in records {
            match id_of(record).filter(|id| *id < next_id && record.payload == payload(*id)) {
                None => self.report.invented += 1,
                Some(id) if !ids.insert(id) => self.report.duplicated += 1,
                Some(id) => drop(found.insert(record.sequence, id)),
            }
        }
        let disordered =
            |pair: &&[Record]| pair[0].sequence >= pair[1].sequence || pair[0].position >= pair[1].position;
        self.report.out_of_order += records.windows(2).filter(disordered).count() as u64;
        let lost = self
            .durable
            .iter()
            .filter(|(sequence, id)| found.get(sequence) != Some(id))
            .count();
        self.report.lost += lost as u64;
        let spared = found
            .keys()
            .filter(|sequence| !self.durable.contains_key(sequence))
            .count();
        self.report.unacknowledged_found += spared as u64;
    }

    /// Removes what lies before `position`; a cut may bring it back, which is no promise either way.
    fn truncate(&mut self, journal: &Journal, position: Position) {
        if journal.truncate_before(position).is_ok() {
            let first = journal
                .reader(Position::START)
                .find_map(Result::ok)
                .map_or(0, |record| record.sequence);
            self.durable.retain(|sequence, _| *sequence >= first);
        }
    }
}

/// Appends bursts of records, a few at once, until the power is gone. Failures before that are the injected ones.
fn append_until_cut(
    disk: &SimDisk,
    journal: &Journal,
    mut rng: Rng,
    next_id: &AtomicU64,
    acknowledged: &Arc<Mutex<Vec<(u64, u64)>>>,
) {
    for _ in 0..BURSTS {
        let (done, completed) = mpsc::channel();
        for _ in 0..=rng.below(8) {
            let id = next_id.fetch_add(1, Ordering::Relaxed);
            let (acknowledged, done) = (Arc::clone(acknowledged), done.clone());
            let completion = move |result: Result<crate::Appended, _>| {
                if let Ok(appended) = &result {
                    let mut acknowledged = acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
                    acknowledged.push((appended.sequence, id));
                }
                // The receiver is gone only where another record of the burst failed.
                let _ = done.send(result.is_ok());
            };
            if journal.append(record(id), completion).is_err() {
                return;
            }
        }
        drop(done);
        if completed.iter().any(|ok| !ok) && disk.is_dead() {
            return;
        }
    }
}

fn record(id: u64) -> NewRecord {
    NewRecord {
        time: id,
        key: Bytes::copy_from_slice(&id.to_le_bytes()),
        payload: payload(id),
    }
}

fn id_of(record: &Record) -> Option<u64> {
    Some(u64::from_le_bytes(*record.key.first_chunk()?))
}

/// Mostly small, some empty, a few larger than a segment.
fn payload(id: u64) -> Bytes {
    let mut rng = Rng::new(id);
    let bound = if rng.one_in(32) { 12 << 10 } else { 2000 };
    let len = rng.below(bound) as usize;
    rng.bytes(len).into()
}
