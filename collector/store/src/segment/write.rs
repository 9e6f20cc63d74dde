//! Traces become a segment file.
//!
//! In: traces in the order of their rows. Out: a file that is either complete and durable under its name, or not
//! there: it is written beside, synced, renamed, and the directory synced.
//! Left out on purpose: what to write. The head decides that.

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
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

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
    rows.sort_unstable_by_key(|row| (std::cmp::Reverse(row.extent.start), row.id));
    let temporary = dir.join(format!("{name}{TEMPORARY}"));
    let written = write_all(&temporary, &header(name, sealed_unix_nano), &rows, settings)
        .and_then(|()| fs::rename(&temporary, dir.join(name.to_string())))
        .and_then(|()| File::open(dir)?.sync_all());
    if written.is_err() {
        // Opening removes it as well; this frees the disk that is perhaps full now.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_all(path: &Path, header: &[u8], rows: &[Row], settings: &StoreSettings) -> io::Result<()> {
    let mut writer = Writer::new(File::create(path)?, settings)?;
    writer.out.put(header)?;
    for row in rows {
        writer.row(row)?;
    }
    writer.finish(rows)?.sync_all()
}

/// A file, and how far it is written.
struct Out {
    file: BufWriter<File>,
    offset: u64,
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
}

struct Writer {
    out: Out,
    compressor: zstd::bulk::Compressor<'static>,
    block_bytes: usize,
    builder: BlockBuilder,
    /// Rows in finished blocks.
    rows: u32,
    rows_in_block: u32,
    directory: Vec<BlockEntry>,
    tokens: Vec<Vec<Token>>,
    facts: Facts,
    dictionary: Dictionary,
}

impl Writer {
    fn new(file: File, settings: &StoreSettings) -> io::Result<Self> {
        Ok(Self {
            out: Out {
                file: BufWriter::with_capacity(1 << 18, file),
                offset: 0,
            },
            compressor: zstd::bulk::Compressor::new(settings.compression)?,
            block_bytes: settings.block_bytes,
            builder: BlockBuilder::default(),
            rows: 0,
            rows_in_block: 0,
            directory: Vec::new(),
            tokens: Vec::new(),
            facts: Facts::default(),
            dictionary: Dictionary::default(),
        })
    }

    fn row(&mut self, row: &Row) -> io::Result<()> {
        if !self.builder.is_empty() && self.builder.data_len() + row.data.len() > self.block_bytes {
            self.finish_block()?;
        }
        self.facts.of_trace(&Trace::read(&row.data), &mut self.dictionary);
        self.builder.push(row.id, &row.data);
        self.rows_in_block += 1;
        Ok(())
    }

    fn finish_block(&mut self) -> io::Result<()> {
        if self.builder.is_empty() {
            return Ok(());
        }
        let raw = self.builder.finish();
        let compressed = self.compressor.compress(&raw)?;
        let section = self.out.put(&compressed)?;
        let too_large = |_| io::Error::new(io::ErrorKind::FileTooLarge, "a block is larger than 4 GiB");
        self.directory.push(BlockEntry {
            offset: section.offset,
            len: u32::try_from(compressed.len()).map_err(too_large)?,
            raw_len: u32::try_from(raw.len()).map_err(too_large)?,
            first_row: self.rows,
            checksum: section.checksum,
        });
        self.tokens.push(self.facts.take());
        self.rows += std::mem::take(&mut self.rows_in_block);
        Ok(())
    }

    fn finish(mut self, rows: &[Row]) -> io::Result<File> {
        self.finish_block()?;
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        let (ids, positions) = Ids::build(&ids);
        let (shape, slices) = slices::build(&self.tokens);
        let dictionary = self.dictionary.encode();
        let words = |of: fn(&Row) -> u64| {
            rows.iter()
                .flat_map(|row| of(row).to_le_bytes())
                .collect::<Vec<_>>()
        };
        let mut sections = [Section::default(); PARTS];
        let parts = [
            (Part::Directory, encode_directory(&self.directory)),
            (Part::Ids, ids.encode()),
            (
                Part::Rows,
                positions.iter().flat_map(|row| row.to_le_bytes()).collect(),
            ),
            (Part::Starts, words(|row| row.extent.start)),
            (Part::Durations, words(|row| row.extent.duration())),
            (
                Part::Errors,
                rows.iter().map(|row| u8::from(row.extent.error)).collect(),
            ),
            (Part::Slices, slices),
            (Part::Dictionary, self.compressor.compress(&dictionary)?),
        ];
        for (part, bytes) in parts {
            sections[part as usize] = self.out.put(&bytes)?;
        }
        let footer = Footer {
            rows: self.rows,
            blocks: shape.blocks,
            spans: rows.iter().map(|row| row.extent.spans).sum(),
            raw_bytes: rows.iter().map(|row| row.data.len() as u64).sum(),
            min_start: rows.last().map_or(0, |row| row.extent.start),
            max_start: rows.first().map_or(0, |row| row.extent.start),
            max_duration: rows.iter().map(|row| row.extent.duration()).max().unwrap_or(0),
            error: rows.iter().any(|row| row.extent.error),
            slice_bits: shape.bits,
            dictionary_bytes: dictionary.len() as u64,
            sections,
        };
        self.out.put(&footer.encode())?;
        self.out.file.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

/// Bytes that every segment has.
pub(crate) const SMALLEST: u64 = (HEADER + FOOTER) as u64;
