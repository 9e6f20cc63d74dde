//! Sends the load: OTLP/gRPC, one connection.
//!
//! In: a collector's address. Out: every span acknowledged, or a failure; where asked for, how long each request took.
//! Left out on purpose: losing anything. One that asks for a pause gets it, and the request again.
//!
//! CPU per span is measured at a fixed number of requests in flight: the contestant gets work as fast as it acknowledges
//! it. Latency is measured on a schedule: each request is due at an instant, and its latency runs from there.

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
use crate::load::{BATCH, Fleet, HALVES, Load};

const EXPORT: PathAndQuery =
    PathAndQuery::from_static("/opentelemetry.proto.collector.trace.v1.TraceService/Export");
/// Requests that wait for their answer at a time.
const IN_FLIGHT: usize = 8;
/// What a contestant gets that says `UNAVAILABLE` or `RESOURCE_EXHAUSTED`.
const PAUSE: Duration = Duration::from_millis(250);
/// From the connection to the first due time.
const LEAD: Duration = Duration::from_millis(20);

/// One turn's worth of sending.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) spans: u64,
    /// Requests that were sent again because they were not taken.
    pub(crate) retries: u64,
    pub(crate) took: Duration,
}

/// Every request of a schedule, in nanoseconds from when it was due, sorted.
#[derive(Debug, Default)]
pub(crate) struct Timed {
    /// To its acknowledgement.
    pub(crate) acknowledged: Vec<u64>,
    /// To its sending: what the sender itself adds.
    pub(crate) lateness: Vec<u64>,
    pub(crate) spans: u64,
    pub(crate) retries: u64,
}

/// A client and the load, whose traces never come twice.
pub(crate) struct Sender {
    runtime: tokio::runtime::Runtime,
    load: Arc<Load>,
    next: Arc<AtomicU64>,
}

impl Sender {
    pub(crate) fn new(fleet: Fleet) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Self {
            runtime,
            load: Arc::new(Load::new(fleet)?),
            next: Arc::default(),
        })
    }

    pub(crate) fn bytes_per_span(&self) -> f64 {
        self.load.bytes_per_span()
    }

    /// Sends at least `spans` spans, as whole traces, and returns when all are acknowledged.
    pub(crate) fn send(&self, to: SocketAddr, spans: u64) -> Result<Sent, Failure> {
        self.send_by(to, spans, Load::request)
    }

    /// Sends at least `spans` spans of traces whose other half never comes, ten of each.
    pub(crate) fn send_unpaired(&self, to: SocketAddr, spans: u64) -> Result<Sent, Failure> {
        self.send_by(to, spans, Load::unpaired)
    }

    fn send_by(&self, to: SocketAddr, spans: u64, body: Body) -> Result<Sent, Failure> {
        let requests = spans.div_ceil(BATCH * HALVES) * HALVES;
        let end = self.next.load(Relaxed) + requests;
        let started = Instant::now();
        let retries = self.runtime.block_on(async {
            let channel = connect(to).await?;
            let mut workers = JoinSet::new();
            for _ in 0..IN_FLIGHT {
                workers.spawn(work(
                    channel.clone(),
                    self.load.clone(),
                    body,
                    self.next.clone(),
                    end,
                ));
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

    /// Sends whole traces at a rate, whatever the answers do.
    pub(crate) fn send_on_time(
        &self,
        to: SocketAddr,
        spans_per_second: f64,
        length: Duration,
    ) -> Result<Timed, Failure> {
        let interval = Duration::from_secs_f64(BATCH as f64 / spans_per_second);
        let pairs = (length.as_secs_f64() / interval.as_secs_f64() / HALVES as f64).ceil() as u64;
        let first = self.next.fetch_add(pairs * HALVES, Relaxed);
        self.runtime.block_on(async {
            let channel = connect(to).await?;
            let mut requests = JoinSet::new();
            let start = tokio::time::Instant::now() + LEAD;
            for number in 0..pairs * HALVES {
                let due = start + interval.mul_f64(number as f64);
                tokio::time::sleep_until(due).await;
                let (channel, body) = (channel.clone(), self.load.request(first + number));
                requests.spawn(async move {
                    let lateness = due.elapsed();
                    let retries = deliver(&mut Grpc::new(channel), body).await?;
                    Ok::<_, Failure>((due.elapsed(), lateness, retries))
                });
            }
            let mut timed = Timed {
                spans: pairs * HALVES * BATCH,
                ..Timed::default()
            };
            while let Some(request) = requests.join_next().await {
                let (acknowledged, lateness, retries) = request??;
                timed.acknowledged.push(acknowledged.as_nanos() as u64);
                timed.lateness.push(lateness.as_nanos() as u64);
                timed.retries += retries;
            }
            timed.acknowledged.sort_unstable();
            timed.lateness.sort_unstable();
            Ok(timed)
        })
    }

    /// Sends these requests, one after the other.
    pub(crate) fn send_these(
        &self,
        to: SocketAddr,
        bodies: impl IntoIterator<Item = Bytes>,
    ) -> Result<(), Failure> {
        self.runtime.block_on(async {
            let mut client = Grpc::new(connect(to).await?);
            for body in bodies {
                deliver(&mut client, body).await?;
            }
            Ok(())
        })
    }
}

type Body = fn(&Load, u64) -> Bytes;

async fn connect(to: SocketAddr) -> Result<Channel, Failure> {
    let endpoint = Endpoint::from_shared(format!("http://{to}"))?.initial_connection_window_size(16 << 20);
    Ok(endpoint.connect().await?)
}

async fn work(
    channel: Channel,
    load: Arc<Load>,
    body: Body,
    next: Arc<AtomicU64>,
    end: u64,
) -> Result<u64, Failure> {
    let mut client = Grpc::new(channel);
    let mut retries = 0;
    loop {
        let number = next.fetch_add(1, Relaxed);
        if number >= end {
            return Ok(retries);
        }
        retries += deliver(&mut client, body(&load, number)).await?;
    }
}

/// Sends until it is acknowledged; how often it was sent again.
async fn deliver(client: &mut Grpc<Channel>, body: Bytes) -> Result<u64, Failure> {
    let mut retries = 0;
    while !is_taken(client, body.clone()).await? {
        retries += 1;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(retries)
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
