//! Bytes in: counted as they lie in the file, then decompressed.
//!
//! In: any reader. Out: its decompressed bytes, how it was compressed, and how far it was read.

use std::fmt;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;

pub(super) type Stream = Box<dyn Read + Send>;

/// How a recorded file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    Plain,
    /// gzip (RFC 1952), of one member or several.
    Gzip,
    /// Zstandard (RFC 8878), of one frame or several.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// How far a recorded file has been read, in bytes as it lies compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read so far. Reading runs a little ahead of the requests given.
    pub read: u64,
    /// Length of the file; `None` for a pipe.
    pub total: Option<u64>,
}

pub(super) struct Counter {
    read: Arc<AtomicU64>,
    total: Option<u64>,
}

impl Counter {
    pub(super) fn new(total: Option<u64>) -> Self {
        Self {
            read: Arc::default(),
            total,
        }
    }

    pub(super) fn count<R: Read>(&self, reader: R) -> impl Read + use<R> {
        Counted {
            reader,
            read: Arc::clone(&self.read),
        }
    }

    pub(super) fn progress(&self) -> Progress {
        Progress {
            read: self.read.load(Ordering::Relaxed),
            total: self.total,
        }
    }
}

struct Counted<R> {
    reader: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Tells the compression by the first bytes and takes it off.
pub(super) fn decompress(reader: Stream) -> io::Result<(Compression, Stream)> {
    let (start, reader) = peek(reader, 4)?;
    Ok(match start.as_slice() {
        [0x1f, 0x8b, ..] => (Compression::Gzip, Box::new(MultiGzDecoder::new(reader))),
        // A frame, or a skippable frame before it.
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => (
            Compression::Zstd,
            Box::new(zstd::stream::read::Decoder::new(reader)?),
        ),
        _ => (Compression::Plain, reader),
    })
}

/// The first `count` bytes, fewer where the stream is shorter, and the stream from its start.
pub(super) fn peek(mut reader: Stream, count: u64) -> io::Result<(Vec<u8>, Stream)> {
    let mut start = Vec::new();
    reader.by_ref().take(count).read_to_end(&mut start)?;
    let stream = Cursor::new(start.clone()).chain(reader);
    Ok((start, Box::new(stream)))
}

pub(super) fn buffered(reader: Stream) -> impl BufRead + Send {
    BufReader::with_capacity(1 << 16, reader)
}
