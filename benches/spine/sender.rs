//! Sends the load: OTLP/gRPC, one connection, a fixed number of requests in flight.
//!
//! In: a collector's address. Out: every span acknowledged, or a failure.
//! Left out on purpose: a rate. CPU per span is wanted, so the contestant gets work as fast as it acknowledges it; one
//! that asks for a pause gets it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use tokio::task::JoinSet;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::Failure;
use crate::load::{BATCH, HALVES, Load};

const EXPORT: PathAndQuery =
    PathAndQuery::from_static("/opentelemetry.proto.collector.trace.v1.TraceService/Export");
/// Requests that wait for their answer at a time.
const IN_FLIGHT: usize = 8;
/// What a contestant gets that says `UNAVAILABLE` or `RESOURCE_EXHAUSTED`.
const PAUSE: Duration = Duration::from_millis(250);

/// One turn's worth of sending.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) spans: u64,
    /// Requests that were sent again because they were not taken.
    pub(crate) retries: u64,
    pub(crate) took: Duration,
}

/// A client and the load, whose traces never come twice.
pub(crate) struct Sender {
    runtime: tokio::runtime::Runtime,
    load: Arc<Load>,
    next: Arc<AtomicU64>,
}

impl Sender {
    pub(crate) fn new() -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Self {
            runtime,
            load: Arc::new(Load::new()?),
            next: Arc::default(),
        })
    }

    pub(crate) fn bytes_per_span(&self) -> f64 {
        self.load.bytes_per_span()
    }

    /// Sends at least `spans` spans, as whole traces, and returns when all are acknowledged.
    pub(crate) fn send(&self, to: SocketAddr, spans: u64) -> Result<Sent, Failure> {
        let requests = spans.div_ceil(BATCH * HALVES) * HALVES;
        let end = self.next.load(Relaxed) + requests;
        let started = Instant::now();
        let retries = self.runtime.block_on(async {
            let channel = Endpoint::from_shared(format!("http://{to}"))?
                .initial_connection_window_size(16 << 20)
                .connect()
                .await?;
            let mut workers = JoinSet::new();
            for _ in 0..IN_FLIGHT {
                workers.spawn(work(channel.clone(), self.load.clone(), self.next.clone(), end));
            }
            let mut retries = 0;
            while let Some(worker) = workers.join_next().await {
                retries += worker??;
            }
            Ok::<_, Failure>(retries)
        })?;
        // Each worker takes one number too many before it sees the end.
        self.next.store(end, Relaxed);
        Ok(Sent {
            spans: requests * BATCH,
            retries,
            took: started.elapsed(),
        })
    }
}

async fn work(channel: Channel, load: Arc<Load>, next: Arc<AtomicU64>, end: u64) -> Result<u64, Failure> {
    let mut client = Grpc::new(channel);
    let mut retries = 0;
    loop {
        let number = next.fetch_add(1, Relaxed);
        if number >= end {
            return Ok(retries);
        }
        let body = load.request(number);
        while !is_taken(&mut client, body.clone()).await? {
            retries += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// False where the contestant asked to come again later.
async fn is_taken(client: &mut Grpc<Channel>, body: Bytes) -> Result<bool, Failure> {
    client.ready().await?;
    match client.unary(Request::new(body), EXPORT, Raw).await {
        Ok(answer) => {
            let partial = ExportTraceServiceResponse::decode(answer.into_inner())?.partial_success;
            match partial.filter(|partial| partial.rejected_spans > 0) {
                None => Ok(true),
                Some(partial) => {
                    let (count, why) = (partial.rejected_spans, partial.error_message);
                    Err(format!("{count} spans were rejected: {why}").into())
                }
            }
        }
        Err(status) if matches!(status.code(), Code::Unavailable | Code::ResourceExhausted) => Ok(false),
        Err(status) => Err(status.into()),
    }
}

/// Messages that are bytes already.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
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

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(source.copy_to_bytes(source.remaining())))
    }
}
