//! Traces that are in memory only.
//!
//! In: fragments. Out: the traces, until they become a segment.
//! Left out on purpose: durability. What is here comes again from the journal after a crash.

use crate::dictionary::{Dictionary, Facts};
use crate::segment::write::Row;
use crate::trace::{self, Extent, Trace};
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes up to which a trace's fragments are merged as they come. Beyond, each would copy too much.
const MERGE_BYTES: usize = 64 << 10;
/// What a trace and a fragment cost beside their bytes.
const TRACE_COST: usize = 160;
const FRAGMENT_COST: usize = 64;

/// One trace.
#[derive(Debug, Clone)]
pub(crate) struct HeadTrace {
    /// Mostly one; each without repeats within itself.
    pub(crate) fragments: Vec<Bytes>,
    /// Of all fragments, repeats between them included.
    pub(crate) extent: Extent,
    bytes: usize,
}

impl HeadTrace {
    /// Its extent, where that is certain to be right.
    pub(crate) fn exact_extent(&self) -> Option<Extent> {
        (self.fragments.len() == 1).then_some(self.extent)
    }
}

/// The traces of one future segment.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pub(crate) traces: HashMap<[u8; 16], HeadTrace>,
    /// Those that stand elsewhere too. All that is there stands here as well.
    pub(crate) continued: HashSet<[u8; 16]>,
    /// What all of it costs.
    pub(crate) bytes: usize,
    pub(crate) spans: u64,
    /// Traces that changed since the dictionary was brought up to date.
    changed: Mutex<Vec<[u8; 16]>>,
    dictionary: Arc<Mutex<(Facts, Dictionary)>>,
}

impl Head {
    /// Bytes that the trace has already.
    pub(crate) fn bytes_of(&self, id: [u8; 16]) -> usize {
        self.traces.get(&id).map_or(0, |trace| trace.bytes)
    }

    /// Adds spans of a trace, without repeats within themselves.
    pub(crate) fn add(&mut self, id: [u8; 16], data: Bytes, extent: Extent) {
        self.changed
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .push(id);
        let Some(trace) = self.traces.get_mut(&id) else {
            let bytes = data.len();
            self.bytes += bytes + TRACE_COST + FRAGMENT_COST;
            self.spans += extent.spans;
            let fragments = vec![data];
            self.traces.insert(
                id,
                HeadTrace {
                    fragments,
                    extent,
                    bytes,
                },
            );
            return;
        };
        let (bytes, spans) = (trace.bytes, trace.extent.spans);
        trace.bytes += data.len();
        trace.extent = trace.extent.with(extent);
        trace.fragments.push(data);
        self.bytes += FRAGMENT_COST;
        if trace.bytes <= MERGE_BYTES {
            let (merged, extent) = trace::merge(&trace.fragments);
            trace.bytes = merged.len();
            trace.extent = extent;
            trace.fragments = vec![merged];
        }
        self.bytes = (self.bytes + trace.bytes).saturating_sub(bytes);
        self.spans = (self.spans + trace.extent.spans).saturating_sub(spans);
    }

    /// All traces, each whole and without repeats.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let row = |(id, trace): (&[u8; 16], &HeadTrace)| {
            let (data, extent) = match trace.exact_extent() {
                Some(extent) => (trace::merged(&trace.fragments), extent),
                None => trace::merge(&trace.fragments),
            };
            Row {
                id: *id,
                extent,
                data,
            }
        };
        self.traces.iter().map(row).collect()
    }

    /// What there is in the traces, still to be read. Cheap, for who holds a lock.
    pub(crate) fn names(&self) -> HeadNames {
        let mut changed = std::mem::take(&mut *self.changed.lock().unwrap_or_else(PoisonError::into_inner));
        changed.sort_unstable();
        changed.dedup();
        let traces = changed.iter().filter_map(|id| self.traces.get(id));
        HeadNames {
            dictionary: Arc::clone(&self.dictionary),
            changed: traces.flat_map(|trace| trace.fragments.iter().cloned()).collect(),
        }
    }
}

/// The dictionary of a head, and what it does not know yet.
pub(crate) struct HeadNames {
    dictionary: Arc<Mutex<(Facts, Dictionary)>>,
    changed: Vec<Bytes>,
}

impl HeadNames {
    /// Calls `read` with the dictionary, brought up to date. What another thread is about to add at this moment
    /// may be missing.
    pub(crate) fn read(self, read: impl FnOnce(&Dictionary)) {
        let mut dictionary = self.dictionary.lock().unwrap_or_else(PoisonError::into_inner);
        let (facts, dictionary) = &mut *dictionary;
        for fragment in &self.changed {
            facts.of_trace(&Trace::read(fragment), dictionary);
            // The facts only keep the dictionary from being asked too often; they must not grow with the head.
            if facts.len() > FACTS {
                facts.take();
            }
        }
        read(dictionary);
    }
}

/// Facts that are remembered while the dictionary is brought up to date.
const FACTS: usize = 100_000;
