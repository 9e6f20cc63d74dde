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
use std::cmp::Reverse;
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
    // Of those that go as well: a number that a snapshot may name must not come again with other traces.
    let newest = names.iter().map(|name| name.sequence).max().unwrap_or(0);
    let next_sequence = newest.saturating_add(1);
    // What was merged comes before its parts, which stay only where it cannot be used.
    names.sort_unstable_by_key(|name| (Reverse(name.width()), *name));
    let (mut segments, mut unusable) = (Vec::<Arc<Segment>>::new(), Vec::new());
    for name in names {
        let mut merged = segments.iter().take_while(|segment| segment.name.width() > 0);
        let is_part = merged.any(|segment| segment.name.covers(&name));
        if is_part || keep.is_some_and(|keep| !keep.iter().any(|kept| kept.overlaps(&name))) {
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
    segments.sort_unstable_by_key(|segment| segment.name);
    File::open(dir)?.sync_all()?;
    Ok((
        segments,
        Disk {
            next_sequence,
            unusable,
            merged: Vec::new(),
        },
    ))
}

impl TraceStore {
    /// Removes the oldest segments: those written longer than `max_age` before `now_unix_nano`, and as many as it
    /// takes to come down to `max_bytes`. What is in memory counts for neither. Returns what went.
    ///
    /// A merged segment counts as written when its last part was. So no trace goes before `max_age`, and each goes at
    /// most a sixteenth of it later; and what is left is more than fifteen sixteenths of `max_bytes` if segments that
    /// were not merged are smaller than that sixteenth.
    ///
    /// # Errors
    /// [`EnforceError`] at the first file that cannot be removed; its traces are not found any more, and the file
    /// goes or comes back with the next opening.
    pub fn enforce(&self, now_unix_nano: u64) -> Result<Removed, EnforceError> {
        let mut disk = lock(&self.inner.disk);
        sweep(&mut disk)?;
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

/// Removes the files of merged segments that no question reads any more.
///
/// # Errors
/// [`EnforceError`] at the first that cannot be removed; it and the rest are tried again the next time.
pub(super) fn sweep(disk: &mut Disk) -> Result<(), EnforceError> {
    let mut error = None;
    disk.merged.retain(|segment| {
        if error.is_some() || Arc::strong_count(segment) > 1 {
            return true;
        }
        error = remove(&segment.path).err();
        error.is_some()
    });
    error.map_or(Ok(()), Err)
}

pub(super) fn remove(path: &Path) -> Result<(), EnforceError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(|source| EnforceError {
            path: path.to_owned(),
            source,
        }),
    }
}
