//! A segment: traces on disk that never change.
//!
//! In: a file, and what is looked for. Out: traces, and the rows that may match a search.
//! Left out on purpose: caches. The operating system has one; in memory stay only the directory of blocks and the
//! table of ids, see [`Segment::memory`]. Files are opened for each use, so that there may be any number of them.

pub(crate) mod format;
pub(crate) mod write;

use crate::dictionary::Dictionary;
use crate::error::ReadError;
use crate::ids::Ids;
use crate::prune;
use crate::slices::{self, Blocks, Shape};
use crate::stats::Counters;
use format::{Block, BlockEntry, FOOTER, Footer, HEADER, Part, Section, SegmentName};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What stays in memory of a segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) name: SegmentName,
    pub(crate) path: PathBuf,
    pub(crate) footer: Footer,
    pub(crate) sealed_unix_nano: u64,
    pub(crate) file_bytes: u64,
    blocks: Vec<BlockEntry>,
    ids: Ids,
    counters: Arc<Counters>,
}

impl Segment {
    /// Opens the segment; `None` where its file is damaged beyond use.
    pub(crate) fn open(dir: &Path, name: SegmentName, counters: Arc<Counters>) -> io::Result<Option<Self>> {
        let path = dir.join(name.to_string());
        let file = File::open(&path)?;
        let file_bytes = file.metadata()?.len();
        let Some((sealed_unix_nano, footer)) = ends(&file, file_bytes, name)? else {
            return Ok(None);
        };
        let read = |part| section(&file, footer.section(part));
        // Rows are read here only to know that they are sound: later they are read one by one.
        let (Some(directory), Some(ids), Some(rows)) =
            (read(Part::Directory)?, read(Part::Ids)?, read(Part::Rows)?)
        else {
            return Ok(None);
        };
        let blocks = format::decode_directory(&directory, footer.blocks, footer.rows);
        let (Some(blocks), Some(ids)) = (blocks, Ids::decode(&ids, footer.rows as usize)) else {
            return Ok(None);
        };
        let sound = rows.len() == footer.rows as usize * 4
            && blocks
                .iter()
                .all(|block| block.offset.saturating_add(block.len.into()) <= file_bytes)
            && shape(&footer).bytes() == footer.section(Part::Slices).len;
        Ok(sound.then_some(Self {
            name,
            path,
            footer,
            sealed_unix_nano,
            file_bytes,
            blocks,
            ids,
            counters,
        }))
    }

    /// Bytes that it takes in memory while nothing is read.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>() + self.ids.bytes() + self.blocks.len() * size_of::<BlockEntry>()
    }

    /// Opens the file; `None` where retention removed it meanwhile.
    pub(crate) fn reader(self: &Arc<Self>) -> Result<Option<Reader>, ReadError> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => self.io(file)?,
        };
        Ok(Some(Reader {
            segment: Arc::clone(self),
            file,
            decompressor: self.io(zstd::bulk::Decompressor::new())?,
        }))
    }

    /// The bytes of the trace `id`.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] where the trace may stand in a block that cannot be read.
    pub(crate) fn trace(self: &Arc<Self>, id: [u8; 16]) -> Result<Option<Vec<u8>>, ReadError> {
        let mut candidates = self.ids.candidates(id).peekable();
        if candidates.peek().is_none() {
            return Ok(None);
        }
        let Some(mut reader) = self.reader()? else {
            return Ok(None);
        };
        let mut damaged = false;
        for position in candidates {
            let row = reader.row_at(position)?;
            match reader.block(self.block_of(row))? {
                Some(block) => {
                    if let Some(data) = block.find(id) {
                        return Ok(Some(data.to_vec()));
                    }
                }
                None => damaged = true,
            }
        }
        if damaged {
            return Err(ReadError::Damaged {
                path: self.path.clone(),
            });
        }
        Ok(None)
    }

    /// Whether the segment has the trace and can give it.
    pub(crate) fn has(self: &Arc<Self>, id: [u8; 16]) -> Result<bool, ReadError> {
        match self.trace(id) {
            Ok(found) => Ok(found.is_some()),
            Err(ReadError::Damaged { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What there is in it; empty where that is damaged or gone.
    pub(crate) fn dictionary(&self) -> Dictionary {
        let read = || {
            let file = File::open(&self.path).ok()?;
            let compressed = section(&file, self.footer.section(Part::Dictionary)).ok()??;
            let bytes = zstd::bulk::decompress(&compressed, self.footer.dictionary_bytes as usize).ok()?;
            Dictionary::decode(&bytes)
        };
        read().unwrap_or_else(|| {
            self.counters.damaged();
            Dictionary::default()
        })
    }

    pub(crate) fn block_of(&self, row: u32) -> usize {
        self.blocks
            .partition_point(|block| block.first_row <= row)
            .saturating_sub(1)
    }

    pub(crate) fn first_row(&self, block: usize) -> u32 {
        self.blocks
            .get(block)
            .map_or(self.footer.rows, |block| block.first_row)
    }

    /// Bytes of the filters on disk.
    pub(crate) fn filter_bytes(&self) -> u64 {
        self.footer.section(Part::Slices).len
    }

    fn io<T>(&self, result: io::Result<T>) -> Result<T, ReadError> {
        result.map_err(|source| ReadError::Io {
            path: self.path.clone(),
            source,
        })
    }
}

fn shape(footer: &Footer) -> Shape {
    Shape {
        bits: footer.slice_bits,
        blocks: footer.blocks,
    }
}

/// Header and footer.
fn ends(file: &File, file_bytes: u64, name: SegmentName) -> io::Result<Option<(u64, Footer)>> {
    if file_bytes < write::SMALLEST {
        return Ok(None);
    }
    let (mut header, mut footer) = ([0; HEADER], [0; FOOTER]);
    file.read_exact_at(&mut header, 0)?;
    file.read_exact_at(&mut footer, file_bytes - FOOTER as u64)?;
    let sealed = format::sealed_at(&header, name);
    Ok(sealed.zip(Footer::decode(&footer, file_bytes)))
}

/// A section's bytes; `None` where they are not as they were written.
fn section(file: &File, section: Section) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; section.len as usize];
    match file.read_exact_at(&mut bytes, section.offset) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    Ok((crc32c::crc32c(&bytes) == section.checksum).then_some(bytes))
}

/// A segment whose file is open.
pub(crate) struct Reader {
    segment: Arc<Segment>,
    file: File,
    decompressor: zstd::bulk::Decompressor<'static>,
}

/// What is known of each row.
pub(crate) struct Columns {
    starts: Vec<u8>,
    durations: Vec<u8>,
    errors: Vec<u8>,
}

impl Columns {
    /// Start, duration and whether there was an error.
    pub(crate) fn row(&self, row: u32) -> Option<(u64, u64, bool)> {
        let word = |column: &[u8]| {
            let bytes = column.get(row as usize * 8..)?.first_chunk::<8>()?;
            Some(u64::from_le_bytes(*bytes))
        };
        let error = *self.errors.get(row as usize)? != 0;
        Some((word(&self.starts)?, word(&self.durations)?, error))
    }
}

impl Reader {
    /// The block at `index`; `None`, counted, where it is damaged.
    pub(crate) fn block(&mut self, index: usize) -> Result<Option<Block>, ReadError> {
        Ok(self.both_forms(index)?.map(|(_, block)| block))
    }

    /// As [`Reader::block`], with its bytes as they are in the file.
    pub(crate) fn both_forms(&mut self, index: usize) -> Result<Option<(Vec<u8>, Block)>, ReadError> {
        let Some(entry) = self.segment.blocks.get(index) else {
            return Ok(None);
        };
        let place = Section {
            offset: entry.offset,
            len: entry.len.into(),
            checksum: entry.checksum,
        };
        let block = self
            .segment
            .io(section(&self.file, place))?
            .and_then(|compressed| {
                let raw = self
                    .decompressor
                    .decompress(&compressed, entry.raw_len as usize)
                    .ok()?;
                let rows = self.segment.first_row(index + 1) - entry.first_row;
                let block = Block::decode(raw).filter(|block| block.len() == rows as usize)?;
                Some((compressed, block))
            });
        if block.is_none() {
            self.segment.counters.damaged();
        }
        Ok(block)
    }

    /// What is known of all rows; `None`, counted, where that is damaged.
    pub(crate) fn columns(&self) -> Result<Option<Columns>, ReadError> {
        let read = |part| {
            self.segment
                .io(section(&self.file, self.segment.footer.section(part)))
        };
        let columns = (read(Part::Starts)?, read(Part::Durations)?, read(Part::Errors)?);
        let (Some(starts), Some(durations), Some(errors)) = columns else {
            self.segment.counters.damaged();
            return Ok(None);
        };
        Ok(Some(Columns {
            starts,
            durations,
            errors,
        }))
    }

    /// The blocks that may hold what a search needs.
    pub(crate) fn blocks(&self, needed: &prune::Blocks) -> Result<Blocks, ReadError> {
        let shape = shape(&self.segment.footer);
        Ok(match needed {
            prune::Blocks::Any => Blocks::all(shape.blocks),
            prune::Blocks::Has(token) => {
                let start = self.segment.footer.section(Part::Slices).offset;
                let read = |at: u64, into: &mut [u8]| self.file.read_exact_at(into, start + at);
                let found = slices::blocks_with(shape, *token, read, || self.segment.counters.damaged());
                self.segment.io(found)?
            }
            prune::Blocks::All(of) => {
                let mut all = Blocks::all(shape.blocks);
                for needed in of {
                    all.intersect(self.blocks(needed)?.as_bytes());
                    if all.is_empty() {
                        break;
                    }
                }
                all
            }
            prune::Blocks::One(of) => {
                let mut one = Blocks::none(shape.blocks);
                for needed in of {
                    one.unite(self.blocks(needed)?.as_bytes());
                }
                one
            }
        })
    }

    fn row_at(&self, position: u32) -> Result<u32, ReadError> {
        let mut row = [0; 4];
        let start = self.segment.footer.section(Part::Rows).offset;
        self.segment
            .io(self.file.read_exact_at(&mut row, start + u64::from(position) * 4))?;
        Ok(u32::from_le_bytes(row))
    }
}
