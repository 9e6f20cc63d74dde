//! Traces become a segment file.
//!
//! In: traces in the order of their rows. Out: a file that is either complete and durable under its name, or not
//! there: it is written beside, synced, renamed, and the directory synced.
//! Left out on purpose: what to write. The head and the merge decide that.

use super::format::{
    BlockBuilder, BlockEntry, FOOTER, Footer, HEADER, PARTS, Part, Section, SegmentName, encode_directory,
    header,
};
use crate::dictionary::{Dictionary, Facts};
use crate::ids::Ids;
use crate::settings::StoreSettings;
use crate::slices;
use crate::tokens::Token;
use crate::trace::{Extent, Trace};
use bytes::Bytes;
use std::cmp::Reverse;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A trace on its way into a segment.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: [u8; 16],
    /// That of `data`.
    pub(crate) extent: Extent,
    pub(crate) data: Bytes,
}

/// What is appended to the name of a file that is not complete.
pub(crate) const TEMPORARY: &str = ".tmp";

/// Writes `rows` as the segment `name` in `dir`.
///
/// # Errors
/// What the file system says; then there is no such segment.
pub(crate) fn write(
    dir: &Path,
    name: SegmentName,
    sealed_unix_nano: u64,
    mut rows: Vec<Row>,
    settings: &StoreSettings,
) -> io::Result<()> {
    rows.sort_unstable_by_key(|row| (Reverse(row.extent.start), row.id));
    let mut writer = Writer::new(dir, name, sealed_unix_nano, settings)?;
    for row in &rows {
        writer.row(row.id, &row.data)?;
    }
    writer.finish()
}

/// A file, and how far it is written. Unless it is finished, it goes when this does.
#[derive(Debug)]
struct Out {
    file: BufWriter<File>,
    offset: u64,
    temporary: PathBuf,
}

impl Out {
    fn put(&mut self, bytes: &[u8]) -> io::Result<Section> {
        self.file.write_all(bytes)?;
        let section = Section {
            offset: self.offset,
            len: bytes.len() as u64,
            checksum: crc32c::crc32c(bytes),
        };
        self.offset += section.len;
        Ok(section)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        // Opening removes it as well; this frees the disk that is perhaps full now.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// What is known of each row.
#[derive(Debug, Default)]
struct Rows {
    ids: Vec<[u8; 16]>,
    starts: Vec<u64>,
    durations: Vec<u64>,
    errors: Vec<u8>,
    spans: u64,
    raw_bytes: u64,
}

impl Rows {
    fn push(&mut self, id: [u8; 16], extent: Extent, bytes: usize) {
        self.ids.push(id);
        self.starts.push(extent.start);
        self.durations.push(extent.duration());
        self.errors.push(extent.error.into());
        self.spans += extent.spans;
        self.raw_bytes += bytes as u64;
    }
}

/// A segment on its way to disk. It takes the traces in the order of their rows.
pub(crate) struct Writer {
    out: Out,
    dir: PathBuf,
    name: SegmentName,
    compressor: zstd::bulk::Compressor<'static>,
    block_bytes: usize,
    builder: BlockBuilder,
    rows: Rows,
    /// Rows in finished blocks.
    finished: u32,
    directory: Vec<BlockEntry>,
    tokens: Vec<Vec<Token>>,
    facts: Facts,
    dictionary: Dictionary,
}

impl Writer {
    /// Begins the segment `name` in `dir`.
    ///
    /// # Errors
    /// What the file system says. Of this as of the rest of it: then there is no such segment.
    pub(crate) fn new(
        dir: &Path,
        name: SegmentName,
        sealed_unix_nano: u64,
        settings: &StoreSettings,
    ) -> io::Result<Self> {
        let temporary = dir.join(format!("{name}{TEMPORARY}"));
        let file = BufWriter::with_capacity(1 << 18, File::create(&temporary)?);
        let mut out = Out {
            file,
            offset: 0,
            temporary,
        };
        out.put(&header(name, sealed_unix_nano))?;
        Ok(Self {
            out,
            dir: dir.to_owned(),
            name,
            compressor: zstd::bulk::Compressor::new(settings.compression)?,
            block_bytes: settings.block_bytes,
            builder: BlockBuilder::default(),
            rows: Rows::default(),
            finished: 0,
            directory: Vec::new(),
            tokens: Vec::new(),
            facts: Facts::default(),
            dictionary: Dictionary::default(),
        })
    }

    /// Adds a trace.
    pub(crate) fn row(&mut self, id: [u8; 16], data: &[u8]) -> io::Result<()> {
        if !self.builder.is_empty() && self.builder.data_len() + data.len() > self.block_bytes {
            self.finish_block()?;
        }
        self.note(id, data);
        self.builder.push(id, data);
        Ok(())
    }

    /// Adds the traces of a whole block that is compressed already; a block of its own again.
    pub(crate) fn block(&mut self, block: &super::Block, compressed: &[u8]) -> io::Result<()> {
        self.finish_block()?;
        for (id, data) in (0..block.len()).filter_map(|index| block.trace(index)) {
            self.note(id, data);
        }
        self.put_block(compressed, block.raw_len())
    }

    fn note(&mut self, id: [u8; 16], data: &[u8]) {
        let trace = Trace::read(data);
        self.facts.of_trace(&trace, &mut self.dictionary);
        self.rows.push(id, trace.extent, data.len());
    }

    fn finish_block(&mut self) -> io::Result<()> {
        if self.builder.is_empty() {
            return Ok(());
        }
        let raw = self.builder.finish();
        let compressed = self.compressor.compress(&raw)?;
        self.put_block(&compressed, raw.len())
    }

    fn put_block(&mut self, compressed: &[u8], raw_len: usize) -> io::Result<()> {
        let section = self.out.put(compressed)?;
        let too_large = |_| io::Error::new(io::ErrorKind::FileTooLarge, "a block is larger than 4 GiB");
        self.directory.push(BlockEntry {
            offset: section.offset,
            len: u32::try_from(compressed.len()).map_err(too_large)?,
            raw_len: u32::try_from(raw_len).map_err(too_large)?,
            first_row: self.finished,
            checksum: section.checksum,
        });
        self.tokens.push(self.facts.take());
        self.finished = u32::try_from(self.rows.ids.len()).map_err(too_large)?;
        Ok(())
    }

    /// What was added so far reaches the disk, so that [`Writer::finish`] has less to wait for.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.out.sync()
    }

    /// Completes the segment.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.finish_block()?;
        let (ids, positions) = Ids::build(&self.rows.ids);
        let (shape, slices) = slices::build(&self.tokens);
        let dictionary = self.dictionary.encode();
        let Rows {
            starts, durations, ..
        } = &self.rows;
        let mut footer = Footer {
            rows: self.finished,
            blocks: shape.blocks,
            spans: self.rows.spans,
            raw_bytes: self.rows.raw_bytes,
            min_start: starts.last().copied().unwrap_or(0),
            max_start: starts.first().copied().unwrap_or(0),
            max_duration: durations.iter().copied().max().unwrap_or(0),
            error: self.rows.errors.contains(&1),
            slice_bits: shape.bits,
            dictionary_bytes: dictionary.len() as u64,
            sections: [Section::default(); PARTS],
        };
        let words = |words: &[u64]| -> Vec<u8> { words.iter().flat_map(|word| word.to_le_bytes()).collect() };
        let parts: [(Part, Vec<u8>); PARTS] = [
            (Part::Directory, encode_directory(&self.directory)),
            (Part::Ids, ids.encode()),
            (
                Part::Rows,
                positions.iter().flat_map(|row| row.to_le_bytes()).collect(),
            ),
            (Part::Starts, words(starts)),
            (Part::Durations, words(durations)),
            (Part::Errors, std::mem::take(&mut self.rows.errors)),
            (Part::Slices, slices),
            (Part::Dictionary, self.compressor.compress(&dictionary)?),
        ];
        for (part, bytes) in parts {
            footer.sections[part as usize] = self.out.put(&bytes)?;
        }
        self.out.put(&footer.encode())?;
        self.out.sync()?;
        fs::rename(&self.out.temporary, self.dir.join(self.name.to_string()))?;
        File::open(&self.dir)?.sync_all()
    }
}

/// Bytes that every segment has.
pub(crate) const SMALLEST: u64 = (HEADER + FOOTER) as u64;
