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
use map::catalogue as names;
use otlp::intake::{Accepted, BatchMeta, IntakeObserver, Observed, Outcome, Refusal, TraceSink, Transport};

use crate::exposition::Exposition;
use crate::rim::Shared;
use crate::span::{Interner, extract_valid};

thread_local! {
    /// Each worker keeps its own copies of names, so that no request waits for another's bytes to be read.
    static NAMES: RefCell<Interner> = RefCell::default();
}

/// Hands requests to the engine.
#[derive(Clone)]
pub(crate) struct Sink(pub(crate) Arc<Shared>);

/// When a sender shall come back that found the trace table full.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl TraceSink for Sink {
    async fn export(&self, body: Bytes, _batch: BatchMeta) -> Result<Accepted, Refusal> {
        let extracted = NAMES.with_borrow_mut(|names| extract_valid(&body, names));
        let mut reasons = BTreeMap::new();
        extracted
            .rejected
            .iter()
            .for_each(|reason| *reasons.entry(reason.as_str()).or_insert(0u64) += 1);
        let now = self.0.now();
        self.0
            .engine()
            .take(extracted, now)
            .map_err(|_full| Refusal::Busy {
                retry_after: RETRY_AFTER,
            })?;
        let message: Vec<String> = reasons
            .iter()
            .map(|(why, count)| format!("{count} spans: {why}"))
            .collect();
        Ok(Accepted {
            rejected_spans: reasons.values().sum(),
            message: message.join(", "),
        })
    }
}

/// Counts requests by transport and outcome.
#[derive(Debug, Default)]
pub(crate) struct ObservedCounts {
    requests: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    bytes: AtomicU64,
}

/// Tells the counts of every request that was answered.
pub(crate) struct Observer(pub(crate) Arc<Shared>);

impl IntakeObserver for Observer {
    fn request(&self, request: &Observed) {
        let counts = &self.0.observed;
        let key = (request.transport.as_str(), request.outcome.as_str());
        *counts
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(key)
            .or_default() += 1;
        counts.bytes.fetch_add(request.bytes, Ordering::Relaxed);
    }
}

impl ObservedCounts {
    /// Writes the counts as series.
    pub(crate) fn write(&self, out: &mut Exposition) {
        out.family(names::COLLECTOR_REQUESTS);
        let counts = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        for transport in [Transport::Grpc, Transport::HttpProtobuf, Transport::HttpJson] {
            for outcome in Outcome::ALL {
                let (transport, outcome) = (transport.as_str(), outcome.as_str());
                let count = counts.get(&(transport, outcome)).copied().unwrap_or(0);
                let labels = [("transport", transport), ("outcome", outcome)];
                out.sample(names::COLLECTOR_REQUESTS, &labels, count as f64);
            }
        }
        out.family(names::COLLECTOR_BYTES);
        out.sample(
            names::COLLECTOR_BYTES,
            &[],
            self.bytes.load(Ordering::Relaxed) as f64,
        );
    }
}
