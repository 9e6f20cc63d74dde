//! The OTLP trace receivers: gRPC and HTTP in front of one sink.
//!
//! In: `TraceService/Export` calls and `POST /v1/traces`, protobuf or JSON, plain, gzip or zstd. Out: well-formed
//! request bytes to a [`TraceSink`], its verdict to the sender in the words of the transport, and one event for
//! each request to an [`IntakeObserver`].
//! Left out on purpose: TLS and authentication (a mesh or a proxy in front has them), metrics and logs signals,
//! and any look at the spans beyond well-formedness: what to do with a bad id is the sink's to say.
//! Source: OTLP specification 1.x, "OTLP/gRPC" and "OTLP/HTTP".

mod answer;
mod grpc;
mod http;
mod inflate;

use crate::view::{self, Malformed};
use bytes::Bytes;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

pub use crate::codec::BATCH_ID;
pub use grpc::serve_grpc;
pub use http::serve_http;

/// What takes the spans: the collector's log, or the agent's relay.
pub trait TraceSink: Clone + Send + Sync + 'static {
    /// Takes one request. `body` is a well-formed `ExportTraceServiceRequest` with at least one span, accepted by
    /// [`view::validate`]: [`view::for_each_span_unchecked`] reads it without a second check.
    ///
    /// An `Ok` is the acknowledgement: the sender forgets the spans.
    ///
    /// # Errors
    /// A [`Refusal`], which the sender sees as its transport says it.
    fn export(&self, body: Bytes, batch: BatchMeta)
    -> impl Future<Output = Result<Accepted, Refusal>> + Send;
}

/// What is known of a request beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchMeta {
    /// The value of [`BATCH_ID`], where the sender gave one: the same on every retry of a batch.
    pub batch_id: Option<String>,
    /// The other end of the connection.
    pub peer: Option<SocketAddr>,
    /// How the request came.
    pub transport: Transport,
}

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP with protobuf.
    HttpProtobuf,
    /// OTLP/HTTP with JSON.
    HttpJson,
}

impl Transport {
    /// Its name as a label: `grpc`, `http_protobuf` or `http_json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Grpc => "grpc",
            Transport::HttpProtobuf => "http_protobuf",
            Transport::HttpJson => "http_json",
        }
    }
}

/// A request that was taken, with what was wrong with parts of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Spans that were not taken and must not be sent again.
    pub rejected_spans: u64,
    /// Why, for the sender's log; alone it is a warning. Empty where all is well.
    pub message: String,
}

/// A request that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Not able to take it now: UNAVAILABLE with `RetryInfo`, or 503 with `Retry-After`.
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// A budget is used up for now: `RESOURCE_EXHAUSTED` with `RetryInfo`, or 429 with `Retry-After`.
    Exhausted {
        /// When to try again.
        retry_after: Duration,
    },
    /// Never acceptable, with the reason: `INVALID_ARGUMENT`, or 400. The sender drops it.
    Invalid(String),
}

/// How much a sender may ask of the intake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest request in bytes, after decompression. Default 64 MiB, as the specification recommends.
    pub max_request_bytes: usize,
    /// Requests in work at a time on one listener; more are told to come back. Default 256. The intake holds at
    /// most this many requests of at most twice [`Limits::max_request_bytes`], and mostly far less.
    pub max_requests: usize,
    /// How long a sender may take over the bytes of one request. Default 30 s.
    pub read_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_request_bytes: 64 << 20,
            max_requests: 256,
            read_timeout: Duration::from_secs(30),
        }
    }
}

/// Is told of every request that was answered; the owner counts. Called on the request's task: must not block.
pub trait IntakeObserver: Send + Sync + 'static {
    /// One request, answered.
    fn request(&self, request: &Observed);
}

impl IntakeObserver for () {
    fn request(&self, _: &Observed) {}
}

/// A request that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// How it came.
    pub transport: Transport,
    /// How it was answered.
    pub outcome: Outcome,
    /// Its bytes after decompression, as protobuf; 0 where it was refused before that was known.
    pub bytes: u64,
    /// Its spans; 0 where it was refused before they were counted.
    pub spans: u64,
    /// Those of its spans that the sink rejected within an accepted request.
    pub rejected_spans: u64,
}

/// How a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Taken, perhaps without some of its spans.
    Accepted,
    /// The sink said [`Refusal::Busy`], or [`Limits::max_requests`] were in work.
    Busy,
    /// The sink said [`Refusal::Exhausted`].
    Exhausted,
    /// The sink said [`Refusal::Invalid`].
    Invalid,
    /// Not decompressible, not JSON or not an `ExportTraceServiceRequest`.
    Malformed,
    /// Over [`Limits::max_request_bytes`].
    TooLarge,
    /// A method, path, content type or compression that is not served.
    Unsupported,
    /// Over [`Limits::read_timeout`], or the connection broke while the request was read.
    Interrupted,
}

impl Outcome {
    /// Every outcome, in the order of this list.
    pub const ALL: [Outcome; 8] = [
        Outcome::Accepted,
        Outcome::Busy,
        Outcome::Exhausted,
        Outcome::Invalid,
        Outcome::Malformed,
        Outcome::TooLarge,
        Outcome::Unsupported,
        Outcome::Interrupted,
    ];

    /// Its name as a label: `too_large`.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Accepted => "accepted",
            Outcome::Busy => "busy",
            Outcome::Exhausted => "exhausted",
            Outcome::Invalid => "invalid",
            Outcome::Malformed => "malformed",
            Outcome::TooLarge => "too_large",
            Outcome::Unsupported => "unsupported",
            Outcome::Interrupted => "interrupted",
        }
    }
}

/// How long a sender is asked to wait where the intake itself is full.
const RETRY_WHEN_FULL: Duration = Duration::from_secs(1);

/// What both transports share: the way from bytes to the sink, and the counting.
#[derive(Clone)]
struct Door<S> {
    sink: S,
    limits: Limits,
    observer: Arc<dyn IntakeObserver>,
    room: Arc<Semaphore>,
}

/// Why a request gets no further, and what the sender is told.
#[derive(Debug)]
struct Turned {
    outcome: Outcome,
    status: Status,
}

impl<S: TraceSink> Door<S> {
    fn new(sink: S, limits: Limits, observer: Arc<dyn IntakeObserver>) -> Self {
        let room = Arc::new(Semaphore::new(limits.max_requests.min(Semaphore::MAX_PERMITS)));
        Self {
            sink,
            limits,
            observer,
            room,
        }
    }

    /// A place for one request, held until it is answered.
    fn enter(&self) -> Result<OwnedSemaphorePermit, Turned> {
        let refused = |_| Turned {
            outcome: Outcome::Busy,
            status: answer::refusal(&Refusal::Busy {
                retry_after: RETRY_WHEN_FULL,
            }),
        };
        self.room.clone().try_acquire_owned().map_err(refused)
    }

    /// Checks `body`, hands it to the sink and counts what came of it.
    async fn take(&self, body: Bytes, batch: BatchMeta) -> Result<Accepted, Status> {
        let (transport, bytes) = (batch.transport, body.len() as u64);
        let mut observed = Observed {
            transport,
            outcome: Outcome::Accepted,
            bytes,
            spans: 0,
            rejected_spans: 0,
        };
        let answer = match view::validate(&body) {
            Ok(count) => {
                observed.spans = count.0;
                self.hand_over(body, batch, count.0).await
            }
            Err(malformed) => Err(Turned::malformed(malformed)),
        };
        match &answer {
            Ok(accepted) => observed.rejected_spans = accepted.rejected_spans,
            Err(turned) => observed.outcome = turned.outcome,
        }
        self.observer.request(&observed);
        answer.map_err(|turned| turned.status)
    }

    async fn hand_over(&self, body: Bytes, batch: BatchMeta, spans: u64) -> Result<Accepted, Turned> {
        if spans == 0 {
            return Ok(Accepted::default());
        }
        self.sink.export(body, batch).await.map_err(|refusal| Turned {
            outcome: match refusal {
                Refusal::Busy { .. } => Outcome::Busy,
                Refusal::Exhausted { .. } => Outcome::Exhausted,
                Refusal::Invalid(_) => Outcome::Invalid,
            },
            status: answer::refusal(&refusal),
        })
    }

    /// Counts a request that never reached [`Door::take`].
    fn turned_away(&self, transport: Transport, outcome: Outcome) {
        self.observer.request(&Observed {
            transport,
            outcome,
            bytes: 0,
            spans: 0,
            rejected_spans: 0,
        });
    }
}

impl Turned {
    fn malformed(reason: Malformed) -> Self {
        let text = format!("the body is not an `ExportTraceServiceRequest`: {reason}");
        Self {
            outcome: Outcome::Malformed,
            status: Status::invalid_argument(text),
        }
    }

    fn too_large(limit: usize) -> Self {
        let text = format!(
            "the request is longer than {limit} bytes after decompression: send smaller batches, \
             `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` sets them in most SDKs"
        );
        Self {
            outcome: Outcome::TooLarge,
            status: Status::resource_exhausted(text),
        }
    }

    fn too_slow(limit: Duration) -> Self {
        let text = format!("the request did not arrive within {} s", limit.as_secs_f64());
        Self {
            outcome: Outcome::Interrupted,
            status: Status::unavailable(text),
        }
    }

    fn broken(reason: &dyn std::fmt::Display) -> Self {
        let text = format!("the request broke off: {reason}");
        Self {
            outcome: Outcome::Interrupted,
            status: Status::unavailable(text),
        }
    }
}
