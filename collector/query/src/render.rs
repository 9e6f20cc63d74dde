//! Traces as the APIs write them.
//!
//! In: `TracesData` in protobuf, as the store keeps it. Out: OTLP/JSON ([`otlp_json`]), Jaeger's JSON ([`jaeger`]) or
//! Tempo's protobuf envelope, never longer than a bound.
//! Left out on purpose: speed. A person waits for these answers, so spans are decoded whole.

pub(crate) mod envelope;
pub(crate) mod jaeger;
pub(crate) mod otlp_json;

use std::fmt::Write as _;
use std::io;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message as _;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::api::Failure;

/// The spans of a stored trace, or [`Failure::TooLarge`] where their bytes alone are more than `limit`.
pub(crate) fn decoded(data: &Bytes, limit: usize) -> Result<TracesData, Failure> {
    if data.len() > limit {
        return Err(Failure::TooLarge { limit });
    }
    TracesData::decode(data.clone())
        .map_err(|error| Failure::Backend(format!("a stored trace is damaged: {error}").into()))
}

/// `value` as JSON, or [`Failure::TooLarge`] beyond `limit` bytes.
pub(crate) fn json(value: &impl Serialize, limit: usize) -> Result<Vec<u8>, Failure> {
    let mut out = Bounded {
        written: Vec::new(),
        limit,
    };
    match serde_json::to_writer(&mut out, value) {
        Ok(()) => Ok(out.written),
        Err(error) if error.is_io() => Err(Failure::TooLarge { limit }),
        Err(error) => Err(Failure::Backend(error.into())),
    }
}

/// The answer with this JSON.
pub(crate) fn response(json: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], Body::from(json)).into_response()
}

/// `value` as JSON to be put into other JSON.
pub(crate) fn raw(value: &impl Serialize, limit: usize) -> Result<Box<RawValue>, Failure> {
    let text = String::from_utf8(json(value, limit)?);
    let text = text.map_err(|error| Failure::Backend(error.into()))?;
    RawValue::from_string(text).map_err(|error| Failure::Backend(error.into()))
}

/// A buffer that refuses to outgrow its limit.
struct Bounded {
    written: Vec<u8>,
    limit: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written.len() + bytes.len() > self.limit {
            return Err(io::Error::other("the answer is too large"));
        }
        self.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `bytes` in lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// `bytes` in base64, as protobuf's JSON has them.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The numbers that JSON has no digits for, as protobuf's JSON names them.
pub(crate) fn not_finite(number: f64) -> Option<&'static str> {
    if number.is_nan() {
        Some("NaN")
    } else if number == f64::INFINITY {
        Some("Infinity")
    } else if number == f64::NEG_INFINITY {
        Some("-Infinity")
    } else {
        None
    }
}
