//! gRPC messages as plain bytes, and where OTLP's requests go.
//!
//! In and out: the bytes of one message, neither decoded nor copied by us. tonic does framing and compression.
//! Left out on purpose: protobuf; the view reads the bytes where they lie.

use bytes::{Buf, BufMut, Bytes};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// The gRPC method of OTLP traces, and its path over HTTP.
pub(crate) const EXPORT_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
pub(crate) const TRACES_PATH: &str = "/v1/traces";
/// The same for metrics.
pub(crate) const METRICS_EXPORT_PATH: &str =
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
pub(crate) const METRICS_PATH: &str = "/v1/metrics";
/// The same for logs.
pub(crate) const LOGS_EXPORT_PATH: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
pub(crate) const LOGS_PATH: &str = "/v1/logs";

/// The metadata key and HTTP header that names a batch: `<agent instance>/<sequence>`, the same on every retry.
pub const BATCH_ID: &str = "tracemap-batch-id";

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(source.copy_to_bytes(source.remaining())))
    }
}
