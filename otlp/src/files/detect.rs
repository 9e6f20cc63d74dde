//! What a file is, by its bytes.
//!
//! In: the first bytes, then the first JSON document. Out: encoding, then [`Format`].
//! Left out on purpose: file names, which lie.

use std::fmt;
use std::io;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::input::{Stream, peek};
use crate::json::{JsonError, decode};

/// The formats of recorded traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// OTLP JSON: one or more documents that are not one to a line; Tempo's answers too.
    OtlpJson,
    /// OTLP JSON, one `ExportTraceServiceRequest` or `TracesData` a line.
    OtlpJsonLines,
    /// One `ExportTraceServiceRequest` or `TracesData` as protobuf.
    OtlpProtobuf,
    /// Answers of Jaeger's query API, `{"data": [trace, …]}`, or bare traces; one document, or one a line.
    JaegerJson,
    /// Zipkin v2 spans: an array, an array of arrays (one a trace), or one of these or one span a line.
    ZipkinJson,
}

impl Format {
    /// Every format, in the order in which errors list them.
    pub const ALL: [Self; 5] = [
        Self::OtlpJson,
        Self::OtlpJsonLines,
        Self::OtlpProtobuf,
        Self::JaegerJson,
        Self::ZipkinJson,
    ];
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtlpJson => "OTLP JSON",
            Self::OtlpJsonLines => "OTLP JSON lines",
            Self::OtlpProtobuf => "OTLP protobuf",
            Self::JaegerJson => "Jaeger JSON",
            Self::ZipkinJson => "Zipkin v2 JSON",
        })
    }
}

/// What the first bytes say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Nothing,
    Json,
    Protobuf,
    Other,
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The encoding, the first bytes, and the stream from its start, less a byte order mark.
pub(super) fn encoding(reader: Stream) -> io::Result<(Encoding, Vec<u8>, Stream)> {
    let (mark, reader) = peek(reader, BYTE_ORDER_MARK.len() as u64)?;
    let reader = if mark == BYTE_ORDER_MARK {
        skip(reader, mark.len())?
    } else {
        reader
    };
    let (start, reader) = peek(reader, 4096)?;
    Ok((guess(&start), start, reader))
}

/// A protobuf request starts with the byte 0x0a, which in text is a line end. But every resource, scope and
/// span brings bytes that no JSON text holds: 0x12 is the tag of the spans themselves.
fn guess(start: &[u8]) -> Encoding {
    let control = |byte: &u8| *byte < b' ' && !byte.is_ascii_whitespace();
    let text = start.trim_ascii_start();
    match (start.first(), text.first()) {
        (Some(0x0a), _) if start.iter().any(control) => Encoding::Protobuf,
        (None, _) | (_, None) => Encoding::Nothing,
        (_, Some(b'{' | b'[')) => Encoding::Json,
        _ => Encoding::Other,
    }
}

fn skip(mut reader: Stream, count: usize) -> io::Result<Stream> {
    let mut skipped = vec![0; count];
    reader.read_exact(&mut skipped)?;
    Ok(reader)
}

/// The format of a JSON document by its keys, the first that tells; `None` where none does.
///
/// A text that breaks off only after such a key has a format; its reader says what is wrong with it.
pub(super) fn json_format(text: &[u8]) -> Result<Option<Format>, JsonError> {
    let mut found = None;
    let read = Probe {
        found: &mut found,
        depth: 0,
    }
    .deserialize(&mut serde_json::Deserializer::from_slice(text));
    match (found, read) {
        (Some(format), _) => Ok(Some(format)),
        (None, Ok(())) => Ok(None),
        (None, Err(_)) => decode::<IgnoredAny>(text).map(|_| None),
    }
}

fn told_by(key: &str) -> Option<Format> {
    match key {
        "resourceSpans" | "batches" | "trace" | "resourceMetrics" | "resourceLogs" => Some(Format::OtlpJson),
        "data" | "traceID" | "processes" => Some(Format::JaegerJson),
        "traceId" => Some(Format::ZipkinJson),
        _ => None,
    }
}

/// Looks at the keys of an object, or of the first object in arrays: of lists only Zipkin's are traces.
struct Probe<'a> {
    found: &'a mut Option<Format>,
    depth: u8,
}

impl<'de> DeserializeSeed<'de> for Probe<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Probe<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut keys = 0;
        while let Some(key) = map.next_key::<String>()? {
            keys += 1;
            if let Some(format) =
                told_by(&key).filter(|&format| self.depth == 0 || format == Format::ZipkinJson)
            {
                *self.found = Some(format);
                return Err(A::Error::custom("told"));
            }
            map.next_value::<IgnoredAny>()?;
        }
        // `{}` is a valid OTLP request, of no spans.
        *self.found = (keys == 0 && self.depth == 0).then_some(Format::OtlpJson);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if self.depth == 2 {
            return Err(A::Error::custom("deeper than any format"));
        }
        let first = list.next_element_seed(Probe {
            found: self.found,
            depth: self.depth + 1,
        })?;
        // `[]` and `[[]]` are valid Zipkin lists, of no spans.
        if first.is_none() {
            *self.found = Some(Format::ZipkinJson);
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, format: Option<Format>) {
        assert_eq!(json_format(text.as_bytes()), Ok(format), "{text}");
    }

    #[test]
    fn a_format_is_told_by_the_first_key_that_tells() {
        check(r#"{"resourceSpans": []}"#, Some(Format::OtlpJson));
        check(r#"{"x": {"traceId": 1}, "batches": []}"#, Some(Format::OtlpJson));
        check(r#"{"total": 0, "data": []}"#, Some(Format::JaegerJson));
        check(r#"{"spans": [], "traceID": "1"}"#, Some(Format::JaegerJson));
        check(r#"[{"id": "1", "traceId": "1"}]"#, Some(Format::ZipkinJson));
        check(r#"[[{"traceId": "1"}]]"#, Some(Format::ZipkinJson));
        check("{}", Some(Format::OtlpJson));
        check("[[]]", Some(Format::ZipkinJson));
    }

    #[test]
    fn json_of_another_kind_has_no_format() {
        check(r#"[{"parent": "a", "child": "b", "callCount": 1}]"#, None);
        check(r#"{"a": 1}"#, None);
        check("[1, 2]", None);
        check(r#"[{"data": []}]"#, None);
    }

    #[test]
    fn a_document_that_breaks_off_after_its_first_key_has_a_format() {
        check(r#"{"resourceSpans": [{"#, Some(Format::OtlpJson));
        assert!(json_format(br#"{"x": [{"#).is_err());
    }

    #[test]
    fn protobuf_is_told_from_json_that_starts_with_a_line_end() {
        assert_eq!(guess(b"\n{\n\t\"resourceSpans\": []}"), Encoding::Json);
        assert_eq!(
            guess(b"\n\x7b\n\x20\n\x1e\n\x0cservice.name\x12\x0e"),
            Encoding::Protobuf
        );
        assert_eq!(guess(b" \r\n\t"), Encoding::Nothing);
        assert_eq!(guess(b"TraceID,SpanID"), Encoding::Other);
        assert_eq!(guess(b"\x00\x01"), Encoding::Other);
    }
}
