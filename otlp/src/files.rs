//! Recorded traces in, OTLP requests out.
//!
//! In: a file, standard input or any reader; plain, gzip or zstd; OTLP JSON, OTLP JSON lines, OTLP protobuf,
//! Jaeger JSON or Zipkin v2 JSON. Compression and format are told by the bytes, never by the name. Out:
//! [`Request`]s small enough for any receiver, in the order of the file.
//! Left out on purpose: sorting by time, pacing, sampling, and repairs: ids and parents stay as recorded, and
//! halves that share a span id keep it.
//!
//! Memory: one document at a time. In JSON lines that is one line; a file that is one document is held whole.

mod convert;
mod detect;
mod document;
mod error;
mod group;
mod ids;
mod input;
mod jaeger;
mod split;
mod tags;
mod zipkin;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use bytes::Bytes;

pub use detect::Format;
pub use error::FileError;
pub use input::{Compression, Progress};

use convert::requests;
use detect::Encoding;
use document::{Document, Documents};
use error::Context;
use input::Counter;

/// The largest line, JSON document or protobuf message that is read: 512 MiB after decompression.
pub const MAX_DOCUMENT: usize = 512 << 20;

/// One `ExportTraceServiceRequest` of a recorded file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The request as protobuf. At most 2 MiB, unless a single span is larger: receivers refuse more than 4
    /// MiB by default.
    pub body: Bytes,
    /// Spans in it, at least 1.
    pub spans: u64,
}

/// A recorded file, read as far as the requests it has given.
///
/// After a broken line the next one follows; after any other error the iteration ends. A file that gave no
/// span and no error ends with [`FileError::NoSpans`].
pub struct TraceFile {
    context: Context,
    format: Format,
    counter: Counter,
    source: Source,
    ready: VecDeque<Request>,
    silent: bool,
    ended: bool,
}

enum Source {
    Json {
        first: Option<Document>,
        rest: Documents,
    },
    Protobuf(Option<Vec<u8>>),
}

/// Opens the recorded traces at `path`; `-` is standard input.
///
/// Reads as far as the format shows: the first document and, in JSON lines, whether a second follows.
///
/// # Errors
/// Where the file cannot be read, is empty, ends inside its compression, or starts like none of the formats.
pub fn open(path: &Path) -> Result<TraceFile, FileError> {
    if path.as_os_str() == "-" {
        return TraceFile::from_reader("standard input", io::stdin(), None);
    }
    let name = path.display().to_string();
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) = opened.map_err(|source| FileError::Open {
        name: name.clone(),
        source,
    })?;
    TraceFile::from_reader(&name, file, metadata.is_file().then_some(metadata.len()))
}

impl TraceFile {
    /// Recorded traces from any `reader`: `name` stands in the errors, `total` is the length of what is read,
    /// where known.
    ///
    /// # Errors
    /// As for [`open`].
    pub fn from_reader(
        name: &str,
        reader: impl Read + Send + 'static,
        total: Option<u64>,
    ) -> Result<Self, FileError> {
        let counter = Counter::new(total);
        let opened = input::decompress(Box::new(BufReader::with_capacity(1 << 16, counter.count(reader))));
        let (compression, reader) = opened.map_err(|source| FileError::Read {
            name: name.to_owned(),
            source,
        })?;
        let context = Context {
            name: name.to_owned(),
            compression,
        };
        let (encoding, start, reader) = detect::encoding(reader).map_err(|error| context.io(error))?;
        let (format, source) = match encoding {
            Encoding::Nothing => return Err(context.empty()),
            Encoding::Other => return Err(context.unknown(&start)),
            Encoding::Protobuf => (
                Format::OtlpProtobuf,
                Source::Protobuf(Some(document::whole(reader, &context)?)),
            ),
            Encoding::Json => first_document(&context, &start, Documents::new(reader))?,
        };
        let ready = VecDeque::new();
        Ok(Self {
            context,
            format,
            counter,
            source,
            ready,
            silent: true,
            ended: false,
        })
    }

    /// What the bytes turned out to be.
    pub fn format(&self) -> Format {
        self.format
    }

    /// How the bytes are compressed.
    pub fn compression(&self) -> Compression {
        self.context.compression
    }

    /// How much of the file, as it lies compressed, has been read.
    pub fn progress(&self) -> Progress {
        self.counter.progress()
    }

    fn next_document(&mut self) -> Option<Result<Vec<Request>, FileError>> {
        match &mut self.source {
            Source::Protobuf(message) => message
                .take()
                .map(|message| convert::protobuf(message, &self.context)),
            Source::Json { first, rest } => {
                let document = match first.take() {
                    Some(document) => document,
                    None => match rest.next(&self.context)? {
                        Ok(document) => document,
                        Err(error) => return Some(Err(error)),
                    },
                };
                let read = requests(self.format, &document.text);
                Some(read.map_err(|error| {
                    self.context
                        .broken(self.format, error.below(document.lines_before))
                }))
            }
        }
    }

    fn fail(&mut self, error: FileError) -> FileError {
        let next_line_follows = matches!(error, FileError::Broken { .. })
            && matches!(&self.source, Source::Json { rest, .. } if rest.by_line());
        self.ended = !next_line_follows;
        self.silent = false;
        error
    }
}

impl Iterator for TraceFile {
    type Item = Result<Request, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(request) = self.ready.pop_front() {
                self.silent = false;
                return Some(Ok(request));
            }
            if self.ended {
                return None;
            }
            match self.next_document() {
                Some(Ok(requests)) => self.ready = requests.into(),
                Some(Err(error)) => return Some(Err(self.fail(error))),
                None => {
                    self.ended = true;
                    return self.silent.then(|| Err(self.context.no_spans(self.format)));
                }
            }
        }
    }
}

fn first_document(
    context: &Context,
    start: &[u8],
    mut documents: Documents,
) -> Result<(Format, Source), FileError> {
    let first = documents.next(context).unwrap_or_else(|| Err(context.empty()))?;
    let format = match detect::json_format(&first.text) {
        Ok(Some(Format::OtlpJson)) if documents.by_line() && documents.more(context)? => {
            Format::OtlpJsonLines
        }
        Ok(Some(format)) => format,
        Ok(None) => return Err(context.unknown(start)),
        Err(error) => return Err(context.not_json(error.below(first.lines_before))),
    };
    Ok((
        format,
        Source::Json {
            first: Some(first),
            rest: documents,
        },
    ))
}
