//! OTLP/JSON to OTLP/protobuf, so that everything behind the intake reads one encoding.
//!
//! In: the text of an `ExportTraceServiceRequest` or `TracesData`, or a request of metrics or logs. Out: the same request as protobuf bytes.
//! Read beyond the specification, because others write it so: enum names for integers, base64 ids, `batches`
//! for `resourceSpans`, a `trace` object around the request (all Tempo), `instrumentationLibrarySpans`
//! (senders before OTLP 0.19), numbers in quotes.
//! Left out on purpose: judging the spans. An id of the wrong length passes as it is, so that whoever reads
//! the spans rejects that span alone, as with protobuf; and writing JSON.
//!
//! Source: OTLP specification 1.x, "JSON Protobuf Encoding".

mod logs;
mod message;
mod metrics;
mod scalar;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use serde::Deserialize;

pub(crate) use scalar::{Lenient, Scalar, base64_bytes, hex_bytes};

/// Why a JSON text could not be read: where it went wrong, and what would have been right there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}line {line} column {column}: {reason}", at(.path))]
pub struct JsonError {
    path: String,
    line: usize,
    column: usize,
    reason: String,
}

impl JsonError {
    /// The path of the value, such as `resourceSpans[0].scopeSpans[0].spans[3].traceId`; empty when it is the
    /// whole text.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The line, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column in bytes, from 1; 0 where the text ends at the start of a line.
    pub fn column(&self) -> usize {
        self.column
    }

    /// The same error for a text that begins after `lines` other lines of its file.
    pub(crate) fn below(self, lines: usize) -> Self {
        Self {
            line: self.line + lines,
            ..self
        }
    }

    fn new(path: String, error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let reason = text
            .strip_suffix(&format!(" at line {line} column {column}"))
            .unwrap_or(&text)
            .to_owned();
        let path = if path == "." { String::new() } else { path };
        Self {
            path,
            line,
            column,
            reason,
        }
    }
}

fn at(path: &str) -> String {
    if path.is_empty() {
        String::new()
    } else {
        format!("`{path}` at ")
    }
}

/// The OTLP/JSON request `body` as protobuf bytes of an `ExportTraceServiceRequest`.
///
/// Unknown fields are ignored and `null` is absence; `{}` is a valid, empty request. Attribute values nest as
/// deep as 128 levels of JSON, which is less than protobuf readers allow, so that what is accepted here can
/// be read behind it.
///
/// # Errors
/// Where the text is no JSON, or a known field holds what it cannot: the first such place.
pub fn trace_request_to_protobuf(body: &[u8]) -> Result<Bytes, JsonError> {
    Ok(read_request(body)?.encode_to_vec().into())
}

/// The OTLP/JSON request `body` as protobuf bytes of an `ExportMetricsServiceRequest`.
///
/// # Errors
/// As [`trace_request_to_protobuf`].
pub fn metrics_request_to_protobuf(body: &[u8]) -> Result<Bytes, JsonError> {
    let request: ExportMetricsServiceRequest = decode::<metrics::Request>(body)?.into();
    Ok(request.encode_to_vec().into())
}

/// The OTLP/JSON request `body` as protobuf bytes of an `ExportLogsServiceRequest`.
///
/// # Errors
/// As [`trace_request_to_protobuf`].
pub fn logs_request_to_protobuf(body: &[u8]) -> Result<Bytes, JsonError> {
    let request: ExportLogsServiceRequest = decode::<logs::Request>(body)?.into();
    Ok(request.encode_to_vec().into())
}

/// The OTLP/JSON request `body` as an owned message.
pub(crate) fn read_request(body: &[u8]) -> Result<ExportTraceServiceRequest, JsonError> {
    decode::<message::Root>(body).map(Into::into)
}

/// Reads a `T`; only a failure pays for knowing its path.
pub(crate) fn decode<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, JsonError> {
    serde_json::from_slice(text).or_else(|_| decode_with_path(text))
}

fn decode_with_path<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, JsonError> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| JsonError::new(error.path().to_string(), error.inner()))?;
    reader
        .end()
        .map_err(|error| JsonError::new(String::new(), &error))?;
    Ok(value)
}
