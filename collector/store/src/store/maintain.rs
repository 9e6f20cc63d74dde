//! Small segments become large ones, a little at a time.
//!
//! In: the time, and which segments outlive a crash. Out: fewer segments that hold the same.
//! Left out on purpose: a thread. The caller has one that may wait for the disk.
//!
//! A merged segment takes the place of its parts in the order of age, and its name says for which it stands. It is
//! durable before the first of them goes, and opening drops parts of what is there whole: so a kill at any point
//! neither loses a trace nor shows one twice. Questions that began before go on reading the parts.

use super::{Inner, TraceStore, disk, lock};
use crate::error::MergeError;
use crate::merge::plan::{self, Limits, Part};
use crate::merge::{Fault, Merge};
use crate::segment::Segment;
use crate::segment::format::SegmentName;
use crate::stats::{Maintained, add};
use std::collections::HashSet;
use std::sync::Arc;

/// Bytes of trace data that one call merges.
const STEP: usize = 16 << 20;

/// What is being merged.
#[derive(Debug, Default)]
pub(super) struct Merging {
    current: Option<Merge>,
    /// Segments that a merge found damaged.
    damaged: HashSet<SegmentName>,
}

impl TraceStore {
    /// Goes on merging segments: at most about 16 MiB of trace data, or what it takes to complete a merged segment.
    ///
    /// `kept` names the segments that the newest durable snapshot names, as for [`TraceStore::open`]; segments that
    /// are younger may not outlive a crash and are left alone. Without, every segment on disk counts as named.
    ///
    /// Neither ingest nor questions wait for it. It holds about `merge_bytes` of memory from one call to the next, and
    /// up to a sixteenth of `max_bytes` of disk beyond them, until the parts of a completed segment are removed by the
    /// next call, or the one after the last question that reads them.
    ///
    /// # Errors
    /// [`MergeError`]; the merge is given up then and begins anew with the next call. A damaged segment is no error:
    /// it is counted ([`crate::StoreStats::failed_merges`]) and left alone until the store is opened again.
    pub fn maintain(
        &self,
        now_unix_nano: u64,
        kept: Option<&[SegmentName]>,
    ) -> Result<Maintained, MergeError> {
        let mut merging = lock(&self.inner.merging);
        disk::sweep(&mut lock(&self.inner.disk))?;
        let done = self.inner.merge(&mut merging, now_unix_nano, kept);
        let failed = |counted: Result<Maintained, MergeError>| {
            add(&self.inner.counters.failed_merges, 1);
            counted
        };
        match done {
            Ok(done) => Ok(done),
            Err(Fault::Damaged(name)) => {
                merging.damaged.insert(name);
                failed(Ok(Maintained {
                    merged: None,
                    more: true,
                }))
            }
            Err(Fault::Gone) => failed(Ok(Maintained {
                merged: None,
                more: true,
            })),
            Err(Fault::Read(error)) => failed(Err(error.into())),
            Err(Fault::Unreadable(path)) => failed(Err(MergeError::Unreadable { path })),
            Err(Fault::Write(path, source)) => failed(Err(MergeError::Write { path, source })),
        }
    }
}

impl Inner {
    /// One step. What is being merged is put back only where it succeeds.
    fn merge(
        &self,
        merging: &mut Merging,
        now: u64,
        kept: Option<&[SegmentName]>,
    ) -> Result<Maintained, Fault> {
        let current = match merging.current.take() {
            Some(current) => Some(current),
            None => Merge::begin(&self.dir, &self.planned(merging, now, kept), &self.settings)?,
        };
        let Some(mut current) = current else {
            return Ok(Maintained::default());
        };
        if place_of(current.parts(), &self.read().segments).is_none() {
            return Err(Fault::Gone);
        }
        let mut done = Maintained {
            merged: None,
            more: true,
        };
        if current.step(STEP)? {
            merging.current = Some(current);
        } else {
            done.merged = Some(self.complete(current)?);
        }
        Ok(done)
    }

    /// The segments that are to be merged next.
    fn planned(&self, merging: &Merging, now: u64, kept: Option<&[SegmentName]>) -> Vec<Arc<Segment>> {
        let newest = kept.map(|kept| kept.iter().map(|name| name.sequence).max().unwrap_or(0));
        let unusable = lock(&self.disk).unusable.clone();
        let segments = Arc::clone(&self.read().segments);
        let part = |segment: &Arc<Segment>| Part {
            sealed: segment.sealed_unix_nano,
            raw_bytes: segment.footer.raw_bytes,
            file_bytes: segment.file_bytes,
            memory: memory(segment),
            settled: newest.is_none_or(|newest| segment.name.sequence <= newest),
            damaged: merging.damaged.contains(&segment.name),
        };
        let usable = segments.iter().map(|segment| (segment.name, Some(segment)));
        // Nothing is merged across those, or they would be taken for parts.
        let unusable = unusable.into_iter().map(|name| (name, None));
        let mut all: Vec<(SegmentName, Option<&Arc<Segment>>)> = usable.chain(unusable).collect();
        all.sort_unstable_by_key(|(name, _)| *name);
        let damaged = Part {
            settled: true,
            damaged: true,
            ..Part::default()
        };
        let parts: Vec<Part> = all
            .iter()
            .map(|(_, segment)| segment.map_or(damaged, part))
            .collect();
        let limits = Limits {
            max_age: self.settings.max_age,
            max_bytes: self.settings.max_bytes,
            memory: self.settings.merge_bytes as u64,
        };
        let run = plan::next(&parts, now, &limits).unwrap_or_default();
        let run = all.get(run).unwrap_or_default();
        run.iter().filter_map(|(_, segment)| segment.cloned()).collect()
    }

    /// The merged segment takes the place of its parts.
    fn complete(&self, merge: Merge) -> Result<SegmentName, Fault> {
        let (name, parts) = (merge.name(), merge.parts().to_vec());
        let path = self.dir.join(name.to_string());
        merge.finish()?;
        let opened = Segment::open(&self.dir, name, Arc::clone(&self.counters));
        let installed = match opened {
            Ok(Some(segment)) => self.install(segment, &parts),
            Ok(None) => Err(Fault::Unreadable(path.clone())),
            Err(source) => Err(Fault::Write(path.clone(), source)),
        };
        if installed.is_err() {
            // Its parts are all still there, or retention took them.
            let _ = disk::remove(&path);
        }
        installed.map(|()| name)
    }

    fn install(&self, segment: Segment, parts: &[Arc<Segment>]) -> Result<(), Fault> {
        let (name, bytes) = (segment.name, segment.file_bytes);
        let mut disk = lock(&self.disk);
        {
            let mut state = self.write();
            let place = place_of(parts, &state.segments).ok_or(Fault::Gone)?;
            let mut segments = Vec::clone(&state.segments);
            segments.splice(place..place + parts.len(), [Arc::new(segment)]);
            state.segments = Arc::new(segments);
            state.generation += 1;
            // One of this name may have been damaged.
            disk.unusable.retain(|unusable| *unusable != name);
            state.unusable = disk.unusable.len() as u64;
        }
        disk.merged.extend_from_slice(parts);
        add(&self.counters.merges, 1);
        add(&self.counters.merged_segments, parts.len() as u64);
        add(&self.counters.merged_bytes, bytes);
        Ok(())
    }
}

/// Where `parts` stand among the segments; `None` where they do not stand there side by side.
fn place_of(parts: &[Arc<Segment>], segments: &[Arc<Segment>]) -> Option<usize> {
    let first = parts.first()?;
    let place = segments.iter().position(|segment| Arc::ptr_eq(segment, first))?;
    let there = segments.get(place..place + parts.len())?;
    let same = there
        .iter()
        .zip(parts)
        .all(|(one, other)| Arc::ptr_eq(one, other));
    same.then_some(place)
}

/// Bytes that a segment takes while it is merged: the tokens of its blocks, of which its filters have a quarter of the
/// bytes, the filters, and what is known of each row.
fn memory(segment: &Segment) -> u64 {
    6 * segment.filter_bytes() + 96 * u64::from(segment.footer.rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fragment, StoreSettings};
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, TracesData};
    use prost::Message;
    use std::path::Path;
    use std::time::Duration;

    fn fragment(trace: u8) -> Fragment {
        let trace_id = [trace; 16];
        let span = Span {
            trace_id: trace_id.to_vec(),
            span_id: vec![trace; 8],
            start_time_unix_nano: u64::from(trace),
            ..Span::default()
        };
        let scope_spans = vec![ScopeSpans {
            spans: vec![span],
            ..ScopeSpans::default()
        }];
        let data = TracesData {
            resource_spans: vec![ResourceSpans {
                scope_spans,
                ..ResourceSpans::default()
            }],
        };
        Fragment {
            trace_id,
            data: data.encode_to_vec().into(),
        }
    }

    /// A store with traces 1 to 3, each in a segment of its own.
    fn store(dir: &Path) -> TraceStore {
        let settings = StoreSettings {
            max_age: Some(Duration::from_hours(24 * 365)),
            ..StoreSettings::default()
        };
        let store = TraceStore::open(dir, settings, None).expect("the store opens");
        for trace in 1..=3 {
            store.put(fragment(trace)).expect("stored");
            store.seal().expect("sealed");
        }
        store
    }

    fn files(dir: &Path) -> usize {
        std::fs::read_dir(dir).expect("listed").count()
    }

    #[test]
    fn parts_stay_as_long_as_a_question_reads_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = store(dir.path());
        let view = Arc::clone(&store.inner.read().segments);
        let merged = store.maintain(u64::MAX, None).expect("maintained").merged;
        assert!(merged.is_some());
        let maintain = || store.maintain(u64::MAX, None).expect("maintained");
        assert_eq!((maintain(), files(dir.path())), (Maintained::default(), 4));
        for trace in 1..=3 {
            let found = super::super::newest(&view, [trace; 16]).expect("read");
            assert!(found.is_some(), "trace {trace}");
        }
        drop(view);
        assert_eq!((maintain(), files(dir.path())), (Maintained::default(), 1));
    }

    #[test]
    fn where_retention_takes_a_part_meanwhile_the_merge_is_given_up() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = store(dir.path());
        let inner = &store.inner;
        let parts = Vec::clone(&inner.read().segments);
        let begun = Merge::begin(&inner.dir, &parts, &inner.settings).expect("begun");
        lock(&inner.merging).current = begun;
        assert_eq!(files(dir.path()), 4, "the merged segment is being written");
        let year = 365 * 86_400 * 1_000_000_000;
        let removed = store
            .enforce(parts[0].sealed_unix_nano + year + 1)
            .expect("enforced");
        assert_eq!(removed.segments, 1);
        let done = store.maintain(0, None).expect("maintained");
        assert_eq!((done.merged, done.more, files(dir.path())), (None, true, 2));
        assert_eq!(store.trace([1; 16]).expect("read"), None);
        assert!(store.trace([2; 16]).expect("read").is_some());
    }

    #[test]
    fn a_merge_in_the_smallest_steps_ends_as_one_in_a_large_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = store(dir.path());
        let inner = &store.inner;
        let parts = Vec::clone(&inner.read().segments);
        let mut bytes = Vec::new();
        for step in [1, usize::MAX] {
            let merge = Merge::begin(&inner.dir, &parts, &inner.settings).expect("begun");
            let mut merge = merge.expect("there are parts");
            let path = inner.dir.join(merge.name().to_string());
            let mut steps = 0;
            while merge.step(step).expect("merged") {
                steps += 1;
            }
            assert_eq!(steps, if step == 1 { 3 } else { 0 });
            merge.finish().expect("finished");
            bytes.push(std::fs::read(path).expect("read"));
        }
        assert_eq!(bytes[0], bytes[1]);
    }
}
