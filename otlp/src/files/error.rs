//! Why a recorded file cannot be read, each in one line that names the file.
//!
//! In: what the readers found. Out: [`FileError`]; causes are in `source`, printed by the outermost caller.

use std::io;

use super::detect::Format;
use super::input::Compression;
use crate::json::JsonError;

/// Why a recorded file, or a line of it, cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file is not there, or not ours to read.
    #[error("cannot open `{name}`")]
    Open {
        /// The file.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// Reading failed half-way.
    #[error("cannot read `{name}`")]
    Read {
        /// The file.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The compressed stream stops before its end.
    #[error("`{name}` ends inside its {compression} stream: it was cut short, record or copy it again")]
    CutShort {
        /// The file.
        name: String,
        /// Its compression.
        compression: Compression,
    },
    /// The compressed stream is damaged.
    #[error("`{name}` is no sound {compression} stream: it was damaged, record or copy it again")]
    Damaged {
        /// The file.
        name: String,
        /// Its compression.
        compression: Compression,
        /// What the decoder said.
        source: io::Error,
    },
    /// There is nothing but blanks in the file.
    #[error("`{name}` is empty, but recorded traces were expected")]
    Empty {
        /// The file.
        name: String,
    },
    /// Every document was read, and none held a span.
    #[error("`{name}` holds no spans (read as {format})")]
    NoSpans {
        /// The file.
        name: String,
        /// What it was read as.
        format: Format,
    },
    /// No format starts like this.
    #[error(
        "`{name}` starts with `{start}`, which is none of the formats understood: {}, each plain, gzip or zstd",
        formats()
    )]
    UnknownFormat {
        /// The file.
        name: String,
        /// Its first bytes: blanks as one space, what does not print as `\xNN`.
        start: String,
    },
    /// A line of JSON lines, or a place in a JSON document, cannot be read.
    #[error("cannot read line {line} of `{name}` as {what}")]
    Broken {
        /// The file.
        name: String,
        /// The line, from 1.
        line: usize,
        /// What it should be: a format's name or `JSON`.
        what: String,
        /// What is wrong with it; its line is the file's.
        source: JsonError,
    },
    /// The bytes start like protobuf and are none.
    #[error("cannot read `{name}` as OTLP protobuf")]
    BrokenProtobuf {
        /// The file.
        name: String,
        /// What is wrong with it.
        source: prost::DecodeError,
    },
    /// A document is longer than [`super::MAX_DOCUMENT`].
    #[error(
        "line {line} of `{name}` starts a document of more than {} MiB: write one request a line",
        super::MAX_DOCUMENT >> 20
    )]
    TooLong {
        /// The file.
        name: String,
        /// The line where the document starts, from 1.
        line: usize,
    },
}

fn formats() -> String {
    Format::ALL.map(|format| format.to_string()).join(", ")
}

/// What every error of a file says.
pub(super) struct Context {
    pub(super) name: String,
    pub(super) compression: Compression,
}

/// First bytes that an error shows.
const SHOWN: usize = 32;

impl Context {
    /// An error of reading: the system's where it has a number, else the decoder's.
    pub(super) fn io(&self, source: io::Error) -> FileError {
        let (name, compression) = (self.name.clone(), self.compression);
        if compression == Compression::Plain || source.raw_os_error().is_some() {
            FileError::Read { name, source }
        } else if source.kind() == io::ErrorKind::UnexpectedEof {
            FileError::CutShort { name, compression }
        } else {
            FileError::Damaged {
                name,
                compression,
                source,
            }
        }
    }

    pub(super) fn empty(&self) -> FileError {
        FileError::Empty {
            name: self.name.clone(),
        }
    }

    pub(super) fn no_spans(&self, format: Format) -> FileError {
        FileError::NoSpans {
            name: self.name.clone(),
            format,
        }
    }

    pub(super) fn unknown(&self, start: &[u8]) -> FileError {
        FileError::UnknownFormat {
            name: self.name.clone(),
            start: shown(start),
        }
    }

    pub(super) fn broken(&self, format: Format, source: JsonError) -> FileError {
        FileError::Broken {
            name: self.name.clone(),
            line: source.line(),
            what: format.to_string(),
            source,
        }
    }

    pub(super) fn not_json(&self, source: JsonError) -> FileError {
        FileError::Broken {
            name: self.name.clone(),
            line: source.line(),
            what: "JSON".to_owned(),
            source,
        }
    }

    pub(super) fn protobuf(&self, source: prost::DecodeError) -> FileError {
        FileError::BrokenProtobuf {
            name: self.name.clone(),
            source,
        }
    }

    pub(super) fn too_long(&self, line: usize) -> FileError {
        FileError::TooLong {
            name: self.name.clone(),
            line,
        }
    }
}

fn shown(start: &[u8]) -> String {
    let start = start.trim_ascii_start();
    let start = start.get(..SHOWN).unwrap_or(start);
    let words = start
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let printed = |&byte: &u8| match byte {
        b'!'..=b'~' => char::from(byte).to_string(),
        _ => byte.escape_ascii().to_string(),
    };
    words
        .map(|word| word.iter().map(printed).collect::<String>())
        .collect::<Vec<_>>()
        .join(" ")
}
