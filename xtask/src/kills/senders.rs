//! Senders that never give up.
//!
//! In: numbered traces and an address. Out: every request acknowledged, however often its collector dies meanwhile.
//! Left out on purpose: a limit on retries. A trace that is given up would be one less to compare.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Uri;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message as _;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

use super::load::{Half, Load, TRACES};
use super::random::Random;
use super::{Failure, verdict};

const SENDERS: usize = 8;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);
/// An answer that takes longer counts as none.
const PATIENCE: Duration = Duration::from_secs(5);
/// The collector tells an agent's batches apart by this.
const BATCH_ID: &str = "tracemap-batch-id";
/// One pair of requests in so many has batch ids; the others are recognised by their spans' ids.
const WITH_ID: u64 = 3;
/// One acknowledged request in so many is sent again.
const REPEATED: u64 = 12;
/// How many requests back a repeat may reach.
const REMEMBERED: usize = 16;

/// What was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SendCounts {
    /// Requests that were acknowledged, repeats not included.
    pub(crate) requests: u64,
    pub(crate) acknowledged_spans: u64,
    /// Requests that were sent again because nothing had acknowledged them.
    pub(crate) retried: u64,
    /// Requests that were sent again although they had been acknowledged.
    pub(crate) repeated: u64,
}

/// Where a sender sends to, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Door {
    Grpc(SocketAddr),
    #[allow(
        dead_code,
        reason = "a collector's HTTP door is the same as its other behind the first step"
    )]
    Http(SocketAddr),
}

/// Running senders.
pub(crate) struct Senders {
    shared: Arc<Shared>,
    tasks: JoinSet<Result<SendCounts, Failure>>,
}

struct Shared {
    load: Load,
    next: AtomicU64,
    stop: AtomicBool,
    began: Instant,
}

impl Senders {
    /// Starts them, at the doors in turn; nobody needs to listen yet.
    pub(crate) fn start(load: &Load, doors: &[Door], seed: u64) -> Self {
        let here = Handle::current();
        let doors = doors.iter().cycle().take(SENDERS);
        Self::start_on(load, doors.map(|door| (*door, here.clone())), seed)
    }

    /// Starts one at each door, on a runtime of its own.
    pub(crate) fn start_on(load: &Load, doors: impl IntoIterator<Item = (Door, Handle)>, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            load: *load,
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            began: Instant::now(),
        });
        let mut tasks = JoinSet::new();
        for (number, (door, runtime)) in doors.into_iter().enumerate() {
            let shared = Arc::clone(&shared);
            let random = Random::new(seed ^ (number as u64 + 1));
            let send = async move {
                let sender = Sender {
                    shared,
                    // Connections are made where this runs.
                    way: Way::to(door)?,
                    random,
                    acknowledged: VecDeque::new(),
                    counts: SendCounts::default(),
                };
                sender.run().await
            };
            tasks.spawn_on(send, &runtime);
        }
        Self { shared, tasks }
    }

    /// Lets each finish what it has begun; how many traces there are, and what was sent of them.
    pub(crate) async fn finish(mut self) -> Result<(u64, SendCounts), Failure> {
        self.shared.stop.store(true, Relaxed);
        let mut sum = SendCounts::default();
        while let Some(counts) = self.tasks.join_next().await {
            let counts = counts??;
            sum.requests += counts.requests;
            sum.acknowledged_spans += counts.acknowledged_spans;
            sum.retried += counts.retried;
            sum.repeated += counts.repeated;
        }
        Ok((self.shared.next.load(Relaxed) * TRACES, sum))
    }
}

struct Sender {
    shared: Arc<Shared>,
    way: Way,
    random: Random,
    acknowledged: VecDeque<(u64, Half)>,
    counts: SendCounts,
}

impl Sender {
    async fn run(mut self) -> Result<SendCounts, Failure> {
        while !self.shared.stop.load(Relaxed) {
            let pair = self.shared.next.fetch_add(1, Relaxed);
            let due = Duration::from_nanos(self.shared.load.due(pair));
            tokio::time::sleep_until(self.shared.began + due).await;
            let halves = [Half::Callers, Half::Callees];
            let first = self.random.below(2) as usize;
            for half in [halves[first], halves[1 - first]] {
                self.send(pair, half).await?;
                self.remember(pair, half);
                if self.random.below(REPEATED) == 0 {
                    self.repeat().await?;
                }
            }
        }
        Ok(self.counts)
    }

    async fn send(&mut self, pair: u64, half: Half) -> Result<(), Failure> {
        let body = self.shared.load.request(pair, half);
        let spans = verdict::spans(&body.resource_spans).count();
        while !self.is_taken(pair, half, body.clone()).await? {
            self.counts.retried += 1;
            tokio::time::sleep(PAUSE).await;
        }
        self.counts.requests += 1;
        self.counts.acknowledged_spans += spans as u64;
        Ok(())
    }

    fn remember(&mut self, pair: u64, half: Half) {
        self.acknowledged.push_back((pair, half));
        if self.acknowledged.len() > REMEMBERED {
            self.acknowledged.pop_front();
        }
    }

    /// Sends one of the latest again; whether that is acknowledged matters to nobody.
    async fn repeat(&mut self) -> Result<(), Failure> {
        let at = self.random.below(self.acknowledged.len() as u64) as usize;
        if let Some((pair, half)) = self.acknowledged.get(at).copied() {
            let body = self.shared.load.request(pair, half);
            self.is_taken(pair, half, body).await?;
            self.counts.repeated += 1;
        }
        Ok(())
    }

    /// False where a sender shall try again; an error where it should give up, which the collector must never ask for.
    async fn is_taken(
        &mut self,
        pair: u64,
        half: Half,
        body: ExportTraceServiceRequest,
    ) -> Result<bool, Failure> {
        let id = pair
            .is_multiple_of(WITH_ID)
            .then(|| format!("kills-{pair}-{half:?}"));
        match &mut self.way {
            Way::Grpc(client) => by_grpc(client, body, id).await,
            Way::Http(client, uri) => by_http(client, uri.clone(), &body, id).await,
        }
    }
}

enum Way {
    Grpc(TraceServiceClient<Channel>),
    Http(Box<HttpClient>, Uri),
}

type HttpClient = Client<HttpConnector, Full<Bytes>>;

impl Way {
    fn to(door: Door) -> Result<Self, Failure> {
        Ok(match door {
            Door::Grpc(to) => {
                let endpoint = Endpoint::from_shared(format!("http://{to}"))?.timeout(PATIENCE);
                Self::Grpc(TraceServiceClient::new(endpoint.connect_lazy()))
            }
            Door::Http(to) => {
                let client = Client::builder(TokioExecutor::new()).build_http();
                Self::Http(Box::new(client), format!("http://{to}/v1/traces").parse()?)
            }
        })
    }
}

async fn by_grpc(
    client: &mut TraceServiceClient<Channel>,
    body: ExportTraceServiceRequest,
    id: Option<String>,
) -> Result<bool, Failure> {
    let mut request = Request::new(body);
    if let Some(id) = id {
        request.metadata_mut().insert(BATCH_ID, id.parse()?);
    }
    match client.export(request).await {
        Ok(answer) => all_taken(&answer.into_inner()),
        // A connection that breaks is told as one of these.
        Err(status) => match status.code() {
            Code::Unavailable
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Unknown
            | Code::Internal => Ok(false),
            _ => Err(format!("a good request was refused for good: {status}").into()),
        },
    }
}

async fn by_http(
    client: &HttpClient,
    uri: Uri,
    body: &ExportTraceServiceRequest,
    id: Option<String>,
) -> Result<bool, Failure> {
    let mut request = hyper::Request::post(uri).header("content-type", "application/x-protobuf");
    if let Some(id) = id {
        request = request.header(BATCH_ID, id);
    }
    let request = request.body(Full::from(body.encode_to_vec()))?;
    let answered = async {
        let answer = client.request(request).await?;
        let code = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok::<_, Failure>((code, body))
    };
    // A connection that breaks is no answer.
    let Ok(Ok((code, body))) = tokio::time::timeout(PATIENCE, answered).await else {
        return Ok(false);
    };
    match code.as_u16() {
        200 => all_taken(&ExportTraceServiceResponse::decode(body)?),
        429 | 502..=504 => Ok(false),
        _ => Err(format!("a good request was refused for good: {code}").into()),
    }
}

fn all_taken(answer: &ExportTraceServiceResponse) -> Result<bool, Failure> {
    match &answer.partial_success {
        Some(partial) if partial.rejected_spans > 0 => {
            Err(format!("good spans were rejected: {}", partial.error_message).into())
        }
        _ => Ok(true),
    }
}
