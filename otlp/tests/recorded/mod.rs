//! Reads fixtures into rows that a test compares by eye.
#![allow(dead_code, reason = "each test file uses its part")]

use std::error::Error;
use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use otlp::files::{FileError, Format, Request, TraceFile, open};
use prost::Message as _;

/// A span with what stands above it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) resource: Vec<KeyValue>,
    pub(crate) scope: Option<InstrumentationScope>,
    pub(crate) span: Span,
}

impl Row {
    pub(crate) fn service(&self) -> Option<&str> {
        text(&self.resource, "service.name")
    }

    pub(crate) fn id(&self) -> String {
        hex(&self.span.span_id)
    }

    pub(crate) fn parent(&self) -> String {
        hex(&self.span.parent_span_id)
    }

    pub(crate) fn attribute(&self, key: &str) -> Option<Value> {
        value(&self.span.attributes, key)
    }
}

pub(crate) fn value(attributes: &[KeyValue], key: &str) -> Option<Value> {
    attributes
        .iter()
        .find(|attribute| attribute.key == key)?
        .value
        .clone()?
        .value
}

pub(crate) fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    match attributes
        .iter()
        .find(|attribute| attribute.key == key)?
        .value
        .as_ref()?
        .value
        .as_ref()?
    {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "compared with what may be absent")]
pub(crate) fn string(text: &str) -> Option<Value> {
    Some(Value::StringValue(text.to_owned()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// A fixture's bytes, decompressed.
pub(crate) fn fixture_text(name: &str) -> Vec<u8> {
    let bytes = std::fs::read(fixture(name)).expect("a fixture");
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return bytes;
    }
    let mut text = Vec::new();
    MultiGzDecoder::new(bytes.as_slice())
        .read_to_end(&mut text)
        .expect("sound gzip");
    text
}

pub(crate) fn rows_of(requests: impl IntoIterator<Item = Request>) -> Vec<Row> {
    let mut rows = Vec::new();
    for request in requests {
        let before = rows.len();
        let body = ExportTraceServiceRequest::decode(request.body).expect("a request");
        for resource in body.resource_spans {
            let attributes = resource
                .resource
                .map(|resource| resource.attributes)
                .unwrap_or_default();
            for scope in resource.scope_spans {
                rows.extend(scope.spans.into_iter().map(|span| Row {
                    resource: attributes.clone(),
                    scope: scope.scope.clone(),
                    span,
                }));
            }
        }
        assert_eq!(
            request.spans as usize,
            rows.len() - before,
            "the count of a request is its spans"
        );
    }
    rows
}

pub(crate) fn rows(name: &str) -> (Format, Vec<Row>) {
    let file = open(&fixture(name)).expect(name);
    (file.format(), rows_of(file.map(|request| request.expect(name))))
}

pub(crate) fn read(bytes: impl Into<Vec<u8>>) -> Result<TraceFile, FileError> {
    let bytes = bytes.into();
    let total = bytes.len() as u64;
    TraceFile::from_reader("test", Cursor::new(bytes), Some(total))
}

/// Everything that `bytes` give: rows, and the chain of each error in one line.
pub(crate) fn outcome(bytes: impl Into<Vec<u8>>) -> (Vec<Row>, Vec<String>) {
    match read(bytes) {
        Err(error) => (Vec::new(), vec![chain(&error)]),
        Ok(file) => {
            let (good, bad): (Vec<_>, Vec<_>) = file.partition(Result::is_ok);
            let errors = bad
                .into_iter()
                .filter_map(Result::err)
                .map(|error| chain(&error))
                .collect();
            (rows_of(good.into_iter().flatten()), errors)
        }
    }
}

pub(crate) fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        line = format!("{line}: {error}");
        next = error.source();
    }
    line
}
