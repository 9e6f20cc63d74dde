//! Tempo's `TraceByIDResponse` in protobuf.
//!
//! In: `TracesData` in protobuf. Out: the same bytes as its field `trace`, with empty `metrics`.
//! Left out on purpose: `status` and `message`; a trace that is found is found whole.
//!
//! Source: tempo `pkg/tempopb/tempo.proto`. `Trace` and `TracesData` are the same on the wire.

use bytes::{Bytes, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint};

const TRACE: u32 = 1;
const METRICS: u32 = 2;

pub(crate) fn trace_by_id_response(data: &Bytes) -> Bytes {
    let mut out = BytesMut::with_capacity(data.len() + 16);
    encode_key(TRACE, WireType::LengthDelimited, &mut out);
    encode_varint(data.len() as u64, &mut out);
    out.extend_from_slice(data);
    encode_key(METRICS, WireType::LengthDelimited, &mut out);
    encode_varint(0, &mut out);
    out.freeze()
}
