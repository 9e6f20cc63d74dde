//! What both transports share: whose a request is, the way from its bytes to a sink, and the counting.
//!
//! In: heads, and request bytes, decompressed. Out: the answer, in the words of gRPC, and one event to an observer: that of
//! the tenant, or the listener's own where it did not come so far that it was known whose it is.
//! Left out on purpose: reading requests from the network and writing answers to it.

use super::answer::{self, Answered};
use super::sink::{AnyMetricsSink, AnyPassSink, MetricsTaker, Sinks};
use super::{
    BatchMeta, Behind, IntakeObserver, Limits, Observed, Outcome, Refusal, Signal, TraceSink, Transport,
    Verdict,
};
use crate::access::{Access, Client, Denied};
use crate::view;
use bytes::Bytes;
use http::request::Parts;
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

/// How long a sender is asked to wait where the intake itself is full.
const RETRY_WHEN_FULL: Duration = Duration::from_secs(1);

/// How much is read of a request that is not heard, and for how long.
const READ_AWAY: usize = 64 << 10;
const READ_AWAY_TIME: Duration = Duration::from_secs(1);

/// A listener: who may come in, and to whom.
pub(super) struct Doors<S> {
    pub(super) limits: Limits,
    access: Access,
    /// Is told of requests that are nobody's.
    observer: Arc<dyn IntakeObserver>,
    /// By the index of the tenant.
    each: Arc<[Door<S>]>,
}

impl<S> Clone for Doors<S> {
    fn clone(&self) -> Self {
        Self {
            limits: self.limits,
            access: self.access.clone(),
            observer: self.observer.clone(),
            each: self.each.clone(),
        }
    }
}

/// Sinks and observer of one tenant at one listener.
#[derive(Clone)]
pub(super) struct Door<S> {
    sinks: Sinks<S>,
    observer: Arc<dyn IntakeObserver>,
    room: Arc<Semaphore>,
}

/// Why a request gets no further, and what the sender is told.
#[derive(Debug)]
pub(super) struct Turned {
    pub(super) outcome: Outcome,
    pub(super) status: Status,
}

impl<S: TraceSink> Doors<S> {
    pub(super) fn new(
        behind: Vec<Behind<S>>,
        limits: Limits,
        observer: Arc<dyn IntakeObserver>,
        access: Access,
    ) -> Self {
        let door = |behind: Behind<S>| Door {
            sinks: behind.sinks,
            observer: behind.observer,
            room: Arc::new(Semaphore::new(behind.max_requests.min(Semaphore::MAX_PERMITS))),
        };
        Self {
            limits,
            access,
            observer,
            each: behind.into_iter().map(door).collect(),
        }
    }

    /// Whether anybody takes this signal; one tenant's sinks take what all do.
    pub(super) fn serves(&self, signal: Signal) -> bool {
        let one = self.each.first();
        one.is_some_and(|door| match signal {
            Signal::Traces => true,
            Signal::Metrics => door.sinks.metrics.is_some(),
            Signal::Logs => door.sinks.logs.is_some(),
        })
    }

    /// Whose request it is, by its head.
    pub(super) fn admit(&self, head: &Parts, peer: Option<SocketAddr>) -> Result<(Client, &Door<S>), Turned> {
        let admitted = self.access.admit(head, peer.map(|peer| peer.ip()));
        let client = admitted.map_err(Turned::denied)?;
        let door = self.each.get(client.tenant());
        // A listener is made with a door for each tenant.
        let door = door.ok_or_else(|| Turned::denied(Denied::NoTenant))?;
        Ok((client, door))
    }

    /// Charges a client with what it sent.
    pub(super) fn spent(&self, client: &Client, bytes: usize) {
        self.access.spent(client, bytes);
    }

    /// Counts a request that was turned away before it was known whose it is.
    pub(super) fn turned_away(&self, signal: Signal, transport: Transport, outcome: Outcome) {
        self.observer.request(&turned_away(signal, transport, outcome));
    }
}

impl<S: TraceSink> Door<S> {
    /// A place for one request, held until it is answered.
    pub(super) fn enter(&self) -> Result<OwnedSemaphorePermit, Turned> {
        let refused = |_| {
            Turned::refused(&Refusal::Busy {
                retry_after: RETRY_WHEN_FULL,
            })
        };
        self.room.clone().try_acquire_owned().map_err(refused)
    }

    /// Hands `body` to the sink of its signal and counts what came of it.
    pub(super) async fn take(
        &self,
        signal: Signal,
        body: Bytes,
        batch: BatchMeta,
    ) -> Result<Answered, Status> {
        let mut observed = Observed {
            signal,
            transport: batch.transport,
            outcome: Outcome::Accepted,
            bytes: body.len() as u64,
            spans: 0,
            rejected_spans: 0,
        };
        let answer = match signal {
            Signal::Traces => {
                let Verdict { spans, answer } = self.sinks.traces.export_unchecked(body, batch).await;
                observed.spans = spans.0;
                answer
                    .map(Answered::from)
                    .map_err(|refusal| Turned::refused(&refusal))
            }
            Signal::Metrics => match &self.sinks.metrics {
                Some(MetricsTaker::Decoded(sink)) => take_metrics(&**sink, body, batch).await,
                Some(MetricsTaker::AsTheyAre(sink)) => pass(signal, &**sink, body, batch).await,
                None => Err(Turned::not_served(signal)),
            },
            Signal::Logs => match &self.sinks.logs {
                Some(sink) => pass(signal, &**sink, body, batch).await,
                None => Err(Turned::not_served(signal)),
            },
        };
        match &answer {
            Ok(answered) => observed.rejected_spans = answered.rejected,
            Err(turned) => observed.outcome = turned.outcome,
        }
        self.observer.request(&observed);
        answer.map_err(|turned| turned.status)
    }

    /// Counts a request that never reached [`Door::take`].
    pub(super) fn turned_away(&self, signal: Signal, transport: Transport, outcome: Outcome) {
        self.observer.request(&turned_away(signal, transport, outcome));
    }
}

fn turned_away(signal: Signal, transport: Transport, outcome: Outcome) -> Observed {
    Observed {
        signal,
        transport,
        outcome,
        bytes: 0,
        spans: 0,
        rejected_spans: 0,
    }
}

async fn take_metrics(sink: &dyn AnyMetricsSink, body: Bytes, batch: BatchMeta) -> Result<Answered, Turned> {
    let request = ExportMetricsServiceRequest::decode(body).map_err(|error| {
        Turned::malformed(&format!(
            "the body is not an `ExportMetricsServiceRequest`: {error}"
        ))
    })?;
    if request.resource_metrics.is_empty() {
        return Ok(Answered::full(Signal::Metrics));
    }
    let answer = sink.take(request, batch).await;
    answer
        .map(Answered::from)
        .map_err(|refusal| Turned::refused(&refusal))
}

/// Checks a request and hands it on as it is.
async fn pass(
    signal: Signal,
    sink: &dyn AnyPassSink,
    body: Bytes,
    batch: BatchMeta,
) -> Result<Answered, Turned> {
    let checked = match signal {
        Signal::Traces => view::validate(&body).map(|spans| spans.0),
        Signal::Metrics => view::validate_metrics(&body),
        Signal::Logs => view::validate_logs(&body),
    };
    let items = checked.map_err(|malformed| Turned {
        outcome: Outcome::Malformed,
        status: answer::malformed_request(signal, &malformed),
    })?;
    if body.is_empty() {
        return Ok(Answered::full(signal));
    }
    let answer = sink.take(body, items, batch).await;
    answer
        .map(|passed| Answered::passed(signal, passed))
        .map_err(|refusal| Turned::refused(&refusal))
}

/// Reads what somebody sends who is not heard, as far as that is short: an answer that overtakes its request reaches some
/// clients as a broken stream, and not as what it says.
pub(super) async fn read_away<B>(body: B)
where
    B: Body + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let reading = Limited::new(body, READ_AWAY).collect();
    let _ = tokio::time::timeout(READ_AWAY_TIME, reading).await;
}

impl Turned {
    fn denied(denied: Denied) -> Self {
        Self {
            outcome: Outcome::Denied,
            status: answer::denied(denied),
        }
    }

    fn not_served(signal: Signal) -> Self {
        let text = format!("{} are not served here, traces are", signal.as_str());
        Self {
            outcome: Outcome::Unsupported,
            status: Status::unimplemented(text),
        }
    }

    fn refused(refusal: &Refusal) -> Self {
        Self {
            outcome: match refusal {
                Refusal::Busy { .. } => Outcome::Busy,
                Refusal::Exhausted { .. } => Outcome::Exhausted,
                Refusal::Invalid(_) => Outcome::Invalid,
                Refusal::Malformed(_) => Outcome::Malformed,
            },
            status: answer::refusal(refusal),
        }
    }

    pub(super) fn malformed(reason: &str) -> Self {
        Self::malformed_at("", reason, reason)
    }

    /// With the field that is at fault.
    pub(super) fn malformed_at(field: &str, description: &str, text: &str) -> Self {
        Self {
            outcome: Outcome::Malformed,
            status: answer::bad_request(field, description, text),
        }
    }

    pub(super) fn too_large(limit: usize) -> Self {
        let text = format!(
            "the request is longer than {limit} bytes after decompression: send smaller batches, \
             `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` sets them in most SDKs"
        );
        Self {
            outcome: Outcome::TooLarge,
            status: Status::resource_exhausted(text),
        }
    }

    pub(super) fn too_slow(limit: Duration) -> Self {
        let text = format!("the request did not arrive within {} s", limit.as_secs_f64());
        Self {
            outcome: Outcome::Interrupted,
            status: Status::unavailable(text),
        }
    }

    pub(super) fn broken(reason: &dyn std::fmt::Display) -> Self {
        let text = format!("the request broke off: {reason}");
        Self {
            outcome: Outcome::Interrupted,
            status: Status::unavailable(text),
        }
    }
}
