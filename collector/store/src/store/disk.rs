//! The store's directory: what stands there at the start, and what has to go.
//!
//! In: a directory, what to keep, the time. Out: segments; files removed.
//! Left out on purpose: files that the store did not write.

use super::{Disk, TraceStore, lock};
use crate::error::EnforceError;
use crate::segment::Segment;
use crate::segment::format::{SegmentName, VERSION};
use crate::segment::write::TEMPORARY;
use crate::stats::{Counters, Removed, add};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The segments of `shard` in `dir`, the oldest first, after the removal of what is not to be kept.
pub(super) fn open(
    dir: &Path,
    shard: u32,
    keep: Option<&[SegmentName]>,
    counters: &Arc<Counters>,
) -> io::Result<(Vec<Arc<Segment>>, Disk)> {
    fs::create_dir_all(dir)?;
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let file_name = entry?.file_name();
        let text = file_name.to_string_lossy();
        let unfinished = text.strip_suffix(TEMPORARY);
        let Ok(name) = unfinished.unwrap_or(&text).parse::<SegmentName>() else {
            continue;
        };
        if name.shard != shard {
            continue;
        }
        if unfinished.is_some() {
            fs::remove_file(dir.join(&file_name))?;
        } else {
            names.push(name);
        }
    }
    names.sort_unstable();
    // Of those that go as well: a number that a snapshot may name must not come again with other traces.
    let next_sequence = names.last().map_or(1, |name| name.sequence.saturating_add(1));
    let (mut segments, mut unusable) = (Vec::new(), Vec::new());
    for name in names {
        if keep.is_some_and(|keep| !keep.contains(&name)) {
            fs::remove_file(dir.join(name.to_string()))?;
            continue;
        }
        let segment = if name.version == VERSION {
            Segment::open(dir, name, Arc::clone(counters))?
        } else {
            None
        };
        match segment {
            Some(segment) => segments.push(Arc::new(segment)),
            None => unusable.push(name),
        }
    }
    File::open(dir)?.sync_all()?;
    Ok((
        segments,
        Disk {
            next_sequence,
            unusable,
        },
    ))
}

impl TraceStore {
    /// Removes the oldest segments: those written longer than `max_age` before `now_unix_nano`, and as many as it
    /// takes to come down to `max_bytes`. What is in memory counts for neither. Returns what went.
    ///
    /// # Errors
    /// [`EnforceError`] at the first file that cannot be removed; its traces are not found any more, and the file
    /// goes or comes back with the next opening.
    pub fn enforce(&self, now_unix_nano: u64) -> Result<Removed, EnforceError> {
        let mut disk = lock(&self.inner.disk);
        let gone = self.take_expired(now_unix_nano);
        let mut removed = Removed::default();
        for segment in &gone {
            remove(&segment.path)?;
            let footer = &segment.footer;
            removed.segments += 1;
            removed.traces += u64::from(footer.rows);
            removed.spans += footer.spans;
            removed.bytes += segment.file_bytes;
            add(&self.inner.counters.removed_segments, 1);
            add(&self.inner.counters.removed_spans, footer.spans);
        }
        if let Some(newest) = gone.last() {
            let older: Vec<_> = disk.unusable.extract_if(.., |name| *name < newest.name).collect();
            for name in older {
                remove(&self.inner.dir.join(name.to_string()))?;
            }
            self.inner.write().unusable = disk.unusable.len() as u64;
        }
        Ok(removed)
    }

    fn take_expired(&self, now_unix_nano: u64) -> Vec<Arc<Segment>> {
        let settings = &self.inner.settings;
        let mut state = self.inner.write();
        let mut bytes: u64 = state.segments.iter().map(|segment| segment.file_bytes).sum();
        let expired = |segment: &Segment| {
            let age = u128::from(now_unix_nano.saturating_sub(segment.sealed_unix_nano));
            settings.max_age.is_some_and(|most| age > most.as_nanos())
        };
        let mut count = 0;
        for segment in state.segments.iter() {
            if !expired(segment) && settings.max_bytes.is_none_or(|most| bytes <= most) {
                break;
            }
            bytes -= segment.file_bytes;
            count += 1;
        }
        if count == 0 {
            return Vec::new();
        }
        let mut gone = Vec::clone(&state.segments);
        state.segments = Arc::new(gone.split_off(count));
        state.generation += 1;
        gone
    }
}

fn remove(path: &Path) -> Result<(), EnforceError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(|source| EnforceError {
            path: path.to_owned(),
            source,
        }),
    }
}
