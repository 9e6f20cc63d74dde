//! One document to requests, by format.
//!
//! In: a JSON document or a protobuf message. Out: requests of bounded size; documents without spans give
//! none.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message as _;

use super::detect::Format;
use super::error::{Context, FileError};
use super::split::{MAX_REQUEST, split};
use super::{Request, jaeger, zipkin};
use crate::json::{self, JsonError};

/// The requests of one JSON document: one for each trace where the format keeps traces apart, else one for
/// all.
pub(super) fn requests(format: Format, text: &[u8]) -> Result<Vec<Request>, JsonError> {
    match format {
        Format::JaegerJson => jaeger::requests(text),
        Format::ZipkinJson => zipkin::requests(text),
        Format::OtlpJson | Format::OtlpJsonLines | Format::OtlpProtobuf => {
            json::read_request(text).map(|request| split(request.resource_spans))
        }
    }
}

/// The requests of one protobuf message. One that is small enough goes out byte for byte, unknown fields and
/// all.
pub(super) fn protobuf(message: Vec<u8>, context: &Context) -> Result<Vec<Request>, FileError> {
    let request =
        ExportTraceServiceRequest::decode(message.as_slice()).map_err(|error| context.protobuf(error))?;
    let spans = count(&request.resource_spans);
    if message.len() > MAX_REQUEST || spans == 0 {
        return Ok(split(request.resource_spans));
    }
    Ok(vec![Request {
        body: message.into(),
        spans,
    }])
}

/// Spans below `resources`.
pub(super) fn count(resources: &[ResourceSpans]) -> u64 {
    resources
        .iter()
        .flat_map(|resource| &resource.scope_spans)
        .map(|scope| scope.spans.len() as u64)
        .sum()
}
