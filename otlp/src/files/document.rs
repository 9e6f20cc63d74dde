//! A stream of JSON documents, one at a time.
//!
//! In: text. Out: each document with the lines before it. Where the first line holds a whole document the
//! stream is read line by line, and a broken line costs only itself; otherwise by counting brackets, so that
//! indented documents may follow each other.
//! Left out on purpose: whether a document is JSON at all, which its reader says better.

use std::io::{self, BufRead, Read};

use super::MAX_DOCUMENT;
use super::error::{Context, FileError};
use super::input::{Stream, buffered};

/// A JSON text, and the number of lines that stand before its first.
pub(super) struct Document {
    pub(super) text: Vec<u8>,
    pub(super) lines_before: usize,
}

pub(super) struct Documents {
    reader: Box<dyn BufRead + Send>,
    lines: usize,
    /// Known once the first line was read.
    by_line: Option<bool>,
}

impl Documents {
    pub(super) fn new(reader: Stream) -> Self {
        Self {
            reader: Box::new(buffered(reader)),
            lines: 0,
            by_line: None,
        }
    }

    /// Whether each line is a document.
    pub(super) fn by_line(&self) -> bool {
        self.by_line == Some(true)
    }

    /// Whether anything but blank lines follows.
    pub(super) fn more(&mut self, context: &Context) -> Result<bool, FileError> {
        self.skip_blank().map_err(|error| context.io(error))
    }

    pub(super) fn next(&mut self, context: &Context) -> Option<Result<Document, FileError>> {
        match self.more(context) {
            Ok(true) => Some(self.read(context)),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }

    fn read(&mut self, context: &Context) -> Result<Document, FileError> {
        let lines_before = self.lines;
        let mut text = Vec::new();
        let mut brackets = Brackets::default();
        loop {
            let limit = (MAX_DOCUMENT - text.len()) as u64 + 1;
            let from = text.len();
            let count = (&mut self.reader)
                .take(limit)
                .read_until(b'\n', &mut text)
                .map_err(|e| context.io(e))?;
            if text.len() > MAX_DOCUMENT {
                return Err(context.too_long(lines_before + 1));
            }
            self.lines += usize::from(text.last() == Some(&b'\n') && count > 0);
            let closed = self.by_line() || brackets.closed_by(text.get(from..).unwrap_or_default());
            self.by_line.get_or_insert(closed);
            if closed || count == 0 {
                return Ok(Document { text, lines_before });
            }
        }
    }

    fn skip_blank(&mut self) -> io::Result<bool> {
        loop {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                return Ok(false);
            }
            let blank = buffer.len() - buffer.trim_ascii_start().len();
            let found = blank < buffer.len();
            self.lines += buffer.iter().take(blank).filter(|&&byte| byte == b'\n').count();
            self.reader.consume(blank);
            if found {
                return Ok(true);
            }
        }
    }
}

/// Everything up to the end.
pub(super) fn whole(reader: Stream, context: &Context) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    reader
        .take(MAX_DOCUMENT as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| context.io(error))?;
    if bytes.len() > MAX_DOCUMENT {
        Err(context.too_long(1))
    } else {
        Ok(bytes)
    }
}

/// Counts brackets outside of strings.
#[derive(Default)]
struct Brackets {
    open: usize,
    in_string: bool,
    escaped: bool,
}

impl Brackets {
    /// Whether no bracket is open after `line`.
    fn closed_by(&mut self, line: &[u8]) -> bool {
        for &byte in line {
            match (self.in_string, byte) {
                (true, _) if self.escaped => self.escaped = false,
                (true, b'\\') => self.escaped = true,
                (_, b'"') => self.in_string = !self.in_string,
                (false, b'{' | b'[') => self.open += 1,
                (false, b'}' | b']') => self.open = self.open.saturating_sub(1),
                _ => {}
            }
        }
        self.open == 0 && !self.in_string
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::input::Compression;
    use super::*;

    #[track_caller]
    fn check(text: &'static str, documents: &[(usize, &str)]) {
        let context = Context {
            name: "test".into(),
            compression: Compression::Plain,
        };
        let mut stream = Documents::new(Box::new(Cursor::new(text)));
        for &(lines_before, text) in documents {
            let document = stream.next(&context).expect("a document").expect("readable");
            assert_eq!(
                (document.lines_before, document.text.trim_ascii()),
                (lines_before, text.as_bytes())
            );
        }
        assert!(stream.next(&context).is_none());
    }

    #[test]
    fn each_line_is_a_document_where_the_first_line_is_one() {
        check(
            "{\"a\": \"}\\\"{\"}\n\n[1]\n{broken\n{}",
            &[(0, "{\"a\": \"}\\\"{\"}"), (2, "[1]"), (3, "{broken"), (4, "{}")],
        );
    }

    #[test]
    fn indented_documents_may_follow_each_other() {
        check(
            "\n{\n \"a\": 1\n}\n[\n2\n]\n",
            &[(1, "{\n \"a\": 1\n}"), (4, "[\n2\n]")],
        );
    }

    #[test]
    fn a_document_that_never_closes_ends_with_the_stream() {
        check("[\n{\n", &[(0, "[\n{")]);
    }
}
