//! OTLP/JSON from anywhere: no text makes the reader panic, and what it takes is protobuf that everybody takes.
//!
//! In: text. Out: a panic where the reader panics, or where the protobuf that it wrote is not valid.
//! Left out on purpose: what the values are; the tests of `otlp::json` have that.

#![no_main]

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use otlp::json::trace_request_to_protobuf;
use otlp::view::validate;
use prost::Message as _;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    match trace_request_to_protobuf(text) {
        Ok(body) => {
            validate(&body).expect("the view takes what the reader wrote");
            ExportTraceServiceRequest::decode(body).expect("prost takes what the reader wrote");
        }
        Err(error) => drop(error.to_string()),
    }
});
