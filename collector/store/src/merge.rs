//! Several segments become one.
//!
//! In: segments that are neighbours in age, the oldest first. Out: one that holds what they hold, in steps of little
//! work. A trace that stands in several is taken from the newest, which has all of it.
//! Left out on purpose: damaged segments. A merge that meets one is given up, so that its file can be restored.

pub(crate) mod plan;

use crate::error::ReadError;
use crate::segment::format::{Block, SegmentName};
use crate::segment::write::Writer;
use crate::segment::{Columns, Reader, Segment};
use crate::settings::StoreSettings;
use std::cmp::Reverse;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a merge does not go on.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Bytes of this segment are not as they were written.
    Damaged(SegmentName),
    /// Some of the segments went meanwhile.
    Gone,
    /// The merged segment does not read as it was written.
    Unreadable(PathBuf),
    Read(ReadError),
    Write(PathBuf, io::Error),
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

/// A merge under way. Dropped, it leaves no file.
pub(crate) struct Merge {
    name: SegmentName,
    path: PathBuf,
    parts: Vec<Arc<Segment>>,
    cursors: Vec<Cursor>,
    writer: Writer,
    block_bytes: usize,
}

impl fmt::Debug for Merge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Merge")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Merge {
    /// Begins to merge `parts`; `None` where there are none.
    ///
    /// # Errors
    /// [`Fault`]; nothing was changed then. So with every step.
    pub(crate) fn begin(
        dir: &Path,
        parts: &[Arc<Segment>],
        settings: &StoreSettings,
    ) -> Result<Option<Self>, Fault> {
        let (Some(oldest), Some(newest)) = (parts.first(), parts.last()) else {
            return Ok(None);
        };
        let name = SegmentName {
            first: oldest.name.first,
            ..newest.name
        };
        let path = dir.join(name.to_string());
        let cursors: Result<Vec<_>, Fault> = parts.iter().map(Cursor::open).collect();
        let writer = Writer::new(dir, name, newest.sealed_unix_nano, settings);
        Ok(Some(Self {
            name,
            parts: parts.to_vec(),
            cursors: cursors?,
            writer: writer.map_err(|source| Fault::Write(path.clone(), source))?,
            path,
            block_bytes: settings.block_bytes,
        }))
    }

    /// What the merged segment is called.
    pub(crate) fn name(&self) -> SegmentName {
        self.name
    }

    pub(crate) fn parts(&self) -> &[Arc<Segment>] {
        &self.parts
    }

    /// Goes on for about `bytes` of trace data; false where all is done but to finish.
    pub(crate) fn step(&mut self, bytes: usize) -> Result<bool, Fault> {
        let mut left = bytes;
        while left > 0 {
            let Some(number) = self.next() else {
                return self.all_read().map(|()| false);
            };
            left = left.saturating_sub(self.take(number)?);
        }
        written(&self.path, self.writer.sync())?;
        Ok(true)
    }

    /// Completes the merged segment. It is durable then.
    pub(crate) fn finish(self) -> Result<(), Fault> {
        written(&self.path, self.writer.finish())
    }

    /// That no part ended before its last trace.
    fn all_read(&self) -> Result<(), Fault> {
        match self
            .cursors
            .iter()
            .find(|cursor| cursor.row != cursor.segment.footer.rows)
        {
            Some(cursor) => Err(Fault::Damaged(cursor.segment.name)),
            None => Ok(()),
        }
    }

    /// The cursor whose trace is the next in the order of rows.
    fn next(&self) -> Option<usize> {
        let waiting = self.cursors.iter().enumerate();
        let waiting = waiting.filter_map(|(number, cursor)| Some((cursor.key()?, number)));
        waiting.min().map(|(_, number)| number)
    }

    /// Takes the next trace of a cursor, or a whole block where that may stay as it is. Returns the bytes taken.
    fn take(&mut self, number: usize) -> Result<usize, Fault> {
        if self.may_stay(number)? {
            let Some(cursor) = self.cursors.get_mut(number) else {
                return Ok(0);
            };
            written(&self.path, self.writer.block(&cursor.block, &cursor.compressed))?;
            let bytes = cursor.block.raw_len();
            cursor.skip_block()?;
            return Ok(bytes);
        }
        let Some((id, data)) = self.cursors.get(number).and_then(Cursor::trace) else {
            return Ok(0);
        };
        let bytes = data.len();
        if !self.is_superseded(id, number)? {
            written(&self.path, self.writer.row(id, data))?;
        }
        if let Some(cursor) = self.cursors.get_mut(number) {
            cursor.advance()?;
        }
        // An empty trace is work too.
        Ok(bytes.max(1))
    }

    /// Whether the block at a cursor is large, untouched, without traces that do not count, and before all others.
    fn may_stay(&self, number: usize) -> Result<bool, Fault> {
        let Some(cursor) = self.cursors.get(number) else {
            return Ok(false);
        };
        if cursor.row != cursor.first_row || cursor.block.raw_len() < self.block_bytes / 2 {
            return Ok(false);
        }
        let Some(last) = cursor.last_key() else {
            return Ok(false);
        };
        let others = self
            .cursors
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != number);
        if others.filter_map(|(_, other)| other.key()).any(|key| key <= last) {
            return Ok(false);
        }
        for (id, _) in (0..cursor.block.len()).filter_map(|index| cursor.block.trace(index)) {
            if self.is_superseded(id, number)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a newer part has the trace.
    fn is_superseded(&self, id: [u8; 16], number: usize) -> Result<bool, ReadError> {
        for newer in self.parts.iter().skip(number + 1) {
            if newer.has(id)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn written(path: &Path, result: io::Result<()>) -> Result<(), Fault> {
    result.map_err(|source| Fault::Write(path.to_owned(), source))
}

/// The order of rows.
type Key = (Reverse<u64>, [u8; 16]);

/// How far a part is read.
struct Cursor {
    segment: Arc<Segment>,
    reader: Reader,
    columns: Columns,
    number: usize,
    block: Block,
    compressed: Vec<u8>,
    /// The first row of the block.
    first_row: u32,
    row: u32,
}

impl Cursor {
    fn open(segment: &Arc<Segment>) -> Result<Self, Fault> {
        let damaged = || Fault::Damaged(segment.name);
        let mut reader = segment.reader()?.ok_or_else(damaged)?;
        let columns = reader.columns()?.ok_or_else(damaged)?;
        let (compressed, block) = reader.both_forms(0)?.ok_or_else(damaged)?;
        Ok(Self {
            segment: Arc::clone(segment),
            reader,
            columns,
            number: 0,
            block,
            compressed,
            first_row: 0,
            row: 0,
        })
    }

    /// The trace it is at; `None` at the end.
    fn trace(&self) -> Option<([u8; 16], &[u8])> {
        self.block.trace((self.row - self.first_row) as usize)
    }

    fn key(&self) -> Option<Key> {
        self.key_at(self.row)
    }

    fn key_at(&self, row: u32) -> Option<Key> {
        let (id, _) = self.block.trace((row - self.first_row) as usize)?;
        Some((Reverse(self.columns.row(row)?.0), id))
    }

    /// Of the last trace of the block.
    fn last_key(&self) -> Option<Key> {
        self.key_at(self.segment.first_row(self.number + 1).checked_sub(1)?)
    }

    fn advance(&mut self) -> Result<(), Fault> {
        self.row += 1;
        if self.row < self.segment.first_row(self.number + 1) {
            return Ok(());
        }
        self.skip_block()
    }

    fn skip_block(&mut self) -> Result<(), Fault> {
        self.number += 1;
        self.first_row = self.segment.first_row(self.number);
        self.row = self.first_row;
        if self.number >= self.segment.footer.blocks as usize {
            (self.block, self.compressed) = (Block::default(), Vec::new());
            return Ok(());
        }
        let read = self.reader.both_forms(self.number)?;
        (self.compressed, self.block) = read.ok_or(Fault::Damaged(self.segment.name))?;
        Ok(())
    }
}
