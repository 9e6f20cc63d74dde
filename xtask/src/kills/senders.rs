//! Senders that never give up.
//!
//! In: numbered traces and an address. Out: every request acknowledged, however often its collector dies meanwhile.
//! Left out on purpose: a limit on retries. A trace that is given up would be one less to compare.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
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
    /// Starts them; nobody needs to listen yet.
    pub(crate) fn start(load: &Load, to: SocketAddr, seed: u64) -> Result<Self, Failure> {
        let shared = Arc::new(Shared {
            load: *load,
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            began: Instant::now(),
        });
        let mut tasks = JoinSet::new();
        for number in 0..SENDERS {
            let channel = Endpoint::from_shared(format!("http://{to}"))?
                .timeout(PATIENCE)
                .connect_lazy();
            let sender = Sender {
                shared: Arc::clone(&shared),
                client: TraceServiceClient::new(channel),
                random: Random::new(seed ^ (number as u64 + 1)),
                acknowledged: VecDeque::new(),
                counts: SendCounts::default(),
            };
            tasks.spawn(sender.run());
        }
        Ok(Self { shared, tasks })
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
    client: TraceServiceClient<Channel>,
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
        let mut request = Request::new(body);
        if pair.is_multiple_of(WITH_ID) {
            let id = format!("kills-{pair}-{half:?}");
            request.metadata_mut().insert(BATCH_ID, id.parse()?);
        }
        match self.client.export(request).await {
            Ok(answer) => match answer.into_inner().partial_success {
                Some(partial) if partial.rejected_spans > 0 => {
                    Err(format!("good spans were rejected: {}", partial.error_message).into())
                }
                _ => Ok(true),
            },
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
}
