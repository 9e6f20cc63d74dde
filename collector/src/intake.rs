//! What stands behind the OTLP servers: spans to the engine, and counts of requests.
//!
//! In: requests that the servers have read and validated. Out: the answer to the sender, and series about requests.
//! Left out on purpose: transports. `otlp::intake` speaks them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use journal::{MAX_KEY, NewRecord};
use map::catalogue as names;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use otlp::intake::{
    Accepted, AcceptedMetrics, BatchMeta, IntakeObserver, MetricsSink, Observed, Outcome, Refusal, Signal,
    TraceSink, Transport, Verdict,
};
use otlp::view::SpanCount;
use prost::Message as _;
use tokio::sync::oneshot;

use crate::edge_counts::{self, METRIC};
use crate::keeper::packed;
use crate::ledger::BaselineChange;
use crate::read::{Extracted, Reader};
use crate::rim::Shared;
use crate::scrape::Scrape;

thread_local! {
    /// Each worker remembers names for itself, so that no request waits for another's bytes to be read; and those of each
    /// tenant apart, by its index, since what one said another has not.
    static READERS: RefCell<Vec<Reader>> = RefCell::default();
}

/// Hands requests to the journal, where there is one, and to the shards.
#[derive(Clone)]
pub(crate) struct Sink(pub(crate) Arc<Shared>);

/// When a sender shall come back that found no room.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl TraceSink for Sink {
    async fn export(&self, body: Bytes, batch: BatchMeta) -> Result<Accepted, Refusal> {
        self.export_unchecked(body, batch).await.answer
    }

    /// Checks and reads in one pass; nothing is read of what cannot be taken, so that an overload costs least where
    /// there is least to spare.
    async fn export_unchecked(&self, body: Bytes, batch: BatchMeta) -> Verdict {
        if !self.has_room(body.len()) {
            return Verdict {
                answer: Err(busy()),
                ..Verdict::default()
            };
        }
        let Shared {
            predicates,
            names,
            tenant,
            ..
        } = &*self.0;
        let read = READERS.with_borrow_mut(|readers| {
            if readers.len() <= *tenant {
                readers.resize_with(*tenant + 1, Reader::default);
            }
            let reader = &mut readers[*tenant];
            if !reader.notes(predicates) {
                *reader = Reader::within(Arc::clone(predicates), Arc::clone(names));
            }
            reader.read(&body)
        });
        match read {
            Ok(extracted) => Verdict {
                spans: SpanCount((extracted.spans.len() + extracted.rejected.len()) as u64),
                answer: self.take(body, extracted, batch.batch_id).await,
            },
            Err(malformed) => Verdict {
                answer: Err(Refusal::Malformed(malformed)),
                ..Verdict::default()
            },
        }
    }
}

impl MetricsSink for Sink {
    async fn export_metrics(
        &self,
        request: ExportMetricsServiceRequest,
        batch: BatchMeta,
    ) -> Result<AcceptedMetrics, Refusal> {
        let counted = edge_counts::read(&request, &self.0.names);
        let rejected = counted.rejected;
        let message = if rejected > 0 {
            format!(
                "{rejected} data points: only `{METRIC}` with `tracemap.client` and `tracemap.server` is taken"
            )
        } else {
            String::new()
        };
        let body = request.encode_to_vec().into();
        self.commit(Kind::Counts, body, batch.batch_id, move |shared, id, time, _| {
            shared.count(counted.edges, id, time);
        })
        .await?;
        Ok(AcceptedMetrics {
            rejected_data_points: rejected,
            message,
        })
    }
}

/// Spans on their way to the shards. Where they are turned away, what they say of the system still goes there: a reader
/// says it only once.
struct Underway {
    shared: Arc<Shared>,
    extracted: Option<Extracted>,
}

impl Underway {
    fn arrive(mut self) -> Extracted {
        self.extracted.take().unwrap_or_default()
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if let Some(extracted) = self.extracted.take() {
            self.shared.routes.know(extracted);
        }
    }
}

impl Sink {
    /// Whether shards and journal would take a request of so many bytes.
    fn has_room(&self, bytes: usize) -> bool {
        let journal = self.0.journal.as_ref();
        self.0.routes.has_room().is_ok() && journal.is_none_or(|journal| journal.has_room(bytes).is_ok())
    }

    async fn take(
        &self,
        body: Bytes,
        extracted: Extracted,
        batch: Option<String>,
    ) -> Result<Accepted, Refusal> {
        let accepted = told(&extracted);
        if extracted.spans.is_empty() && extracted.rejected.is_empty() {
            return Ok(accepted);
        }
        let underway = Underway {
            shared: Arc::clone(&self.0),
            extracted: Some(extracted),
        };
        self.commit(Kind::Spans, body, batch, move |shared, id, time, position| {
            shared.take(underway.arrive(), id, time, position);
        })
        .await?;
        Ok(accepted)
    }

    /// Changes a baseline, as durably as requests are taken.
    pub(crate) async fn change_baseline(&self, change: BaselineChange) -> Result<(), Refusal> {
        let body = serde_json::to_vec(&change).expect("strings serialise").into();
        self.commit(Kind::Baseline, body, None, move |shared, _, _, _| {
            shared.routes.change_baseline(change);
        })
        .await
    }

    /// Hands a request on once it is as durable as it is configured, and returns then.
    ///
    /// `hand_on` is told the batch's id, its time and its position in the journal.
    async fn commit(
        &self,
        kind: Kind,
        body: Bytes,
        batch: Option<String>,
        hand_on: impl FnOnce(&Shared, Option<&str>, u64, u64) + Send + 'static,
    ) -> Result<(), Refusal> {
        let time = self.0.now();
        let Some(journal) = &self.0.journal else {
            hand_on(&self.0, batch.as_deref(), time, 0);
            return Ok(());
        };
        // A longer id is no agent's; its spans are recognised by their own ids.
        let batch = batch.filter(|id| id.len() < MAX_KEY);
        let record = NewRecord {
            time,
            key: kind.key(batch.as_deref()),
            payload: body,
        };
        let (done, durable) = oneshot::channel();
        let shared = Arc::clone(&self.0);
        let handed_in = journal.append(record, move |appended| {
            // Completions come in the order of the records: so does everything behind them, and a replay repeats it.
            let taken = appended.map(|appended| {
                hand_on(&shared, batch.as_deref(), time, packed(appended.position));
            });
            // Whoever asked may have gone away meanwhile.
            drop(done.send(taken));
        });
        let answer = match handed_in {
            Ok(()) => durable.await.ok(),
            Err(error) => Some(Err(error)),
        };
        match answer {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => {
                tracing::debug!(%error, "request not acknowledged");
                Err(busy())
            }
            None => Err(busy()),
        }
    }
}

/// What a record of the journal holds: the first byte of its key, before the batch's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An `ExportTraceServiceRequest`.
    Spans,
    /// An `ExportMetricsServiceRequest` with an agent's counts.
    Counts,
    /// A [`BaselineChange`] as JSON.
    Baseline,
}

impl Kind {
    fn key(self, batch: Option<&str>) -> Bytes {
        let kind: &[u8] = match self {
            Self::Spans => b"t",
            Self::Counts => b"m",
            Self::Baseline => b"b",
        };
        [kind, batch.unwrap_or_default().as_bytes()].concat().into()
    }

    /// The kind and the batch's id of a record; `None` for records that only mark a snapshot.
    pub(crate) fn of(key: &[u8]) -> Option<(Self, &str)> {
        let (kind, batch) = key.split_first()?;
        let kind = match kind {
            b't' => Self::Spans,
            b'm' => Self::Counts,
            b'b' => Self::Baseline,
            _ => return None,
        };
        Some((kind, str::from_utf8(batch).unwrap_or_default()))
    }
}

fn busy() -> Refusal {
    Refusal::Busy {
        retry_after: RETRY_AFTER,
    }
}

/// What the sender is told of spans that are not used.
fn told(extracted: &Extracted) -> Accepted {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for reason in &extracted.rejected {
        *reasons.entry(reason.as_str()).or_default() += 1;
    }
    let message: Vec<String> = reasons
        .iter()
        .map(|(why, count)| format!("{count} spans: {why}"))
        .collect();
    Accepted {
        rejected_spans: reasons.values().sum(),
        message: message.join(", "),
    }
}

/// Counts requests by signal, transport and outcome.
#[derive(Debug, Default)]
pub(crate) struct ObservedCounts {
    requests: Mutex<BTreeMap<[&'static str; 3], u64>>,
    bytes: AtomicU64,
    /// Those of traces.
    span_bytes: AtomicU64,
}

/// Tells the counts of every request that was answered.
pub(crate) struct Observer(pub(crate) Arc<Shared>);

impl IntakeObserver for Observer {
    fn request(&self, request: &Observed) {
        self.0.observed.request(request);
    }
}

impl IntakeObserver for ObservedCounts {
    fn request(&self, request: &Observed) {
        let key = [
            request.signal.as_str(),
            request.transport.as_str(),
            request.outcome.as_str(),
        ];
        *self.lock().entry(key).or_default() += 1;
        self.bytes.fetch_add(request.bytes, Ordering::Relaxed);
        if request.signal.as_str() == Signal::Traces.as_str() {
            self.span_bytes.fetch_add(request.bytes, Ordering::Relaxed);
        }
    }
}

impl ObservedCounts {
    /// What a span takes, uncompressed, of so many that this process took; `None` before there are enough to tell.
    pub(crate) fn bytes_of(&self, spans: u64) -> Option<f64> {
        let bytes = self.span_bytes.load(Ordering::Relaxed);
        (spans >= 1_000 && bytes > 0).then(|| bytes as f64 / spans as f64)
    }

    /// Writes the counts as series, with those of requests that were nobody's.
    pub(crate) fn write(&self, nobodys: &Self, out: &mut Scrape<'_>) {
        out.family(names::COLLECTOR_REQUESTS);
        let (own, nobodys_requests) = (self.lock().clone(), nobodys.lock().clone());
        let count = |key: &[&'static str; 3]| {
            let counts = [&own, &nobodys_requests].map(|counts| counts.get(key).copied().unwrap_or(0));
            counts.iter().sum::<u64>()
        };
        for signal in Signal::ALL.map(Signal::as_str) {
            for transport in [Transport::Grpc, Transport::HttpProtobuf, Transport::HttpJson] {
                for outcome in Outcome::ALL {
                    let (transport, outcome) = (transport.as_str(), outcome.as_str());
                    let labels = [("signal", signal), ("transport", transport), ("outcome", outcome)];
                    out.sample(&labels, count(&[signal, transport, outcome]) as f64);
                }
            }
        }
        let bytes = [self, nobodys].map(|counts| counts.bytes.load(Ordering::Relaxed));
        out.single(names::COLLECTOR_BYTES, bytes.iter().sum::<u64>() as f64);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<[&'static str; 3], u64>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use map::{NodeId, Services};

    use super::*;
    use crate::names::Node;
    use crate::read::Claim;
    use crate::rim::Collector;
    use crate::settings::{CollectorSettings, GenerateSettings, OtlpSettings, WebSettings};

    #[tokio::test]
    async fn what_a_refused_request_says_of_addresses_is_kept() {
        let settings = CollectorSettings {
            otlp: OtlpSettings {
                grpc: "127.0.0.1:0".to_owned(),
                http: "127.0.0.1:0".to_owned(),
                ..OtlpSettings::default()
            },
            web: WebSettings {
                listen: "127.0.0.1:0".to_owned(),
                ..WebSettings::default()
            },
            ..CollectorSettings::default()
        };
        let collector = Collector::bind(&settings, &GenerateSettings::default(), Services::new())
            .await
            .expect("loopback has free ports");
        let shared = Arc::clone(&collector.tenants[0].shared);
        let claim = Claim {
            address: "payment.shop:8080".into(),
            service: Node::service(NodeId::from("payment")),
        };
        let extracted = Extracted {
            claims: vec![claim],
            ..Extracted::default()
        };
        drop(Underway {
            shared: Arc::clone(&shared),
            extracted: Some(extracted),
        });
        let saved = shared.routes.ask(|ledger| ledger.save()).await;
        let saved = String::from_utf8(saved.expect("the ledger runs")).expect("it is JSON");
        assert!(saved.contains("payment.shop:8080"), "{saved}");
    }
}
