//! Everything between finished spans and the collector, under one configuration and then the next.
//!
//! In: what the sections `export` and `edges` say. Out: exporters, the task that reports edge counts, and the [`Outlet`] that
//! finished spans leave by.
//! Left out on purpose: carrying batches over. A buffer on disk goes to the next exporter whole; what waits in memory is
//! tried where it was meant to go, for [`PATIENCE`] and not longer than the agent runs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use otlp::export::rewrite::Rules;
use otlp::export::{ExportSignal, Exporter};
use tokio::sync::RwLock;
use tokio::task::{JoinHandle, JoinSet};
use tracing::error;

use crate::config::AgentConfig;
use crate::edges::EdgeCounts;
use crate::edges::report::report;
use crate::export_counts::{Cargo, ExportCounts};
use crate::run::{AgentError, Ending};
use crate::start;
use crate::telemetry::Metrics;

/// How long a collector that is configured no more is tried for what waits in memory for it.
const PATIENCE: Duration = Duration::from_mins(10);

/// The way that finished spans leave by; held for reading while a batch does.
pub(crate) type Outlet = Arc<RwLock<Way>>;

/// Where spans go, and what may leave.
#[derive(Debug, Clone, Default)]
pub(crate) struct Way {
    pub(crate) exporter: Option<Exporter>,
    pub(crate) rules: Arc<Rules>,
}

/// Adds what an exporter counted since the last time to the metrics.
type Publish = Arc<dyn Fn(&Metrics) + Send + Sync>;

/// The counts of all exporters that still have something to do; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Vec<Publish>>>);

impl Ledger {
    /// Brings `metrics` up to date.
    pub(crate) fn publish(&self, metrics: &Metrics) {
        for publish in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            publish(metrics);
        }
    }

    fn add(&self, publish: &Publish) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(publish.clone());
    }

    /// For an exporter that has ended: its counts do not change any more.
    fn end(&self, ended: &Publish, metrics: &Metrics) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|publish| !Arc::ptr_eq(publish, ended));
        ended(metrics);
    }
}

/// What exporters need to know of the agent they belong to.
pub(crate) struct Surroundings<'a> {
    pub(crate) outlet: &'a Outlet,
    pub(crate) counts: &'a Arc<EdgeCounts>,
    pub(crate) metrics: &'a Arc<Metrics>,
    pub(crate) ledger: &'a Ledger,
    pub(crate) ending: &'a Ending,
    /// Where exporters end that are configured no more.
    pub(crate) retiring: &'a mut JoinSet<()>,
}

/// The exporters of one configuration.
#[derive(Default)]
pub(crate) struct Export {
    config: Option<Box<AgentConfig>>,
    spans: Option<Counted>,
    reports: Option<Counted>,
    /// For metrics and logs of SDKs.
    passed: Vec<Counted>,
    reporter: Option<JoinHandle<()>>,
}

/// An exporter and its counts.
struct Counted {
    exporter: Exporter,
    cargo: Cargo,
    publish: Publish,
}

impl Counted {
    fn new(exporter: Exporter, cargo: Cargo, ledger: &Ledger) -> Self {
        let counts = ExportCounts::new(exporter.clone(), cargo);
        let publish: Publish = Arc::new(move |metrics| counts.publish(metrics));
        ledger.add(&publish);
        Self {
            exporter,
            cargo,
            publish,
        }
    }
}

impl Export {
    /// Goes on as `config` says, and lets `rules` decide what may leave; whether any exporter is another now.
    ///
    /// # Errors
    /// The new exporters refuse their settings; then the ones before go on.
    pub(crate) async fn renew(
        &mut self,
        config: &AgentConfig,
        rules: Arc<Rules>,
        mut around: Surroundings<'_>,
    ) -> Result<bool, AgentError> {
        // Spans wait in their queue meanwhile.
        let mut way = around.outlet.write().await;
        if self.config.as_ref().is_some_and(|before| same(before, config)) {
            way.rules = rules;
            return Ok(false);
        }
        let mut before = std::mem::take(self);
        before.let_go_of_disk(&around).await;
        let (next, result) = match Self::open(config, &around) {
            Ok(next) => (next, Ok(true)),
            Err(error) => {
                let reopened = before.config.as_ref().map(|config| Self::open(config, &around));
                (reopened.and_then(Result::ok).unwrap_or_default(), Err(error))
            }
        };
        before.retire(&mut around);
        *self = next;
        way.exporter = self.exporter().cloned();
        if result.is_ok() {
            way.rules = rules;
        }
        result
    }

    /// The one for spans.
    pub(crate) fn exporter(&self) -> Option<&Exporter> {
        self.spans.as_ref().map(|spans| &spans.exporter)
    }

    /// The one for metrics or logs of SDKs, where they are taken.
    pub(crate) fn passed(&self, cargo: Cargo) -> Option<&Exporter> {
        let mut passed = self.passed.iter();
        let counted = passed.find(|counted| counted.cargo == cargo);
        counted.map(|counted| &counted.exporter)
    }

    fn open(config: &AgentConfig, around: &Surroundings<'_>) -> Result<Self, AgentError> {
        let tls = start::export_tls(&config.export, around.metrics)?;
        let spans = start::exporter(&config.export, tls.as_ref())?;
        let export = &config.export;
        let pass = |endpoint, signal| start::pass_exporter(export, tls.as_ref(), endpoint, signal);
        let metrics = pass(export.metrics_endpoint.as_ref(), ExportSignal::Metrics)?;
        let logs = pass(export.logs_endpoint.as_ref(), ExportSignal::Logs)?;
        let reports = start::edge_exporter(config, tls.as_ref())?;
        let reporter = reports.clone().map(|exporter| {
            let (counts, served) = (around.counts.clone(), around.ending.served.clone());
            let (interval, drain) = (config.edges.interval.0, config.export.drain.0);
            tokio::spawn(report(counts, exporter, interval, served, drain))
        });
        let counted = |exporter, cargo| Counted::new(exporter, cargo, around.ledger);
        Ok(Self {
            config: Some(Box::new(config.clone())),
            spans: spans.map(|exporter| counted(exporter, Cargo::Spans)),
            reports: reports.map(|exporter| counted(exporter, Cargo::EdgeReports)),
            passed: (metrics
                .map(|exporter| counted(exporter, Cargo::Metrics))
                .into_iter())
            .chain(logs.map(|exporter| counted(exporter, Cargo::Logs)))
            .collect(),
            reporter,
        })
    }

    /// Makes directories free for the next exporters. What lies there is theirs then.
    async fn let_go_of_disk(&mut self, around: &Surroundings<'_>) {
        self.stop_reporting().await;
        for counted in [&mut self.spans, &mut self.reports] {
            if let Some(on_disk) = counted.take_if(|counted| counted.exporter.is_on_disk()) {
                // What is not delivered stays on disk.
                let _ = on_disk.exporter.shutdown(Duration::ZERO).await;
                around.ledger.end(&on_disk.publish, around.metrics);
            }
            if let Some(waiting) = counted {
                waiting.exporter.let_go_of_disk().await;
            }
        }
    }

    /// Counts that were not handed over yet are the next reporter's.
    async fn stop_reporting(&mut self) {
        if let Some(reporter) = self.reporter.take() {
            reporter.abort();
            // It may be handing over just now.
            let _ = reporter.await;
        }
    }

    /// Lets the exporters deliver what they have; the caller does not wait for it.
    fn retire(self, around: &mut Surroundings<'_>) {
        let drain = self.config.map_or(Duration::ZERO, |config| config.export.drain.0);
        for counted in [self.spans, self.reports]
            .into_iter()
            .flatten()
            .chain(self.passed)
        {
            let (ledger, metrics) = (around.ledger.clone(), around.metrics.clone());
            let mut served = around.ending.served.clone();
            around.retiring.spawn(async move {
                tokio::select! {
                    _ = counted.exporter.flush(PATIENCE) => {}
                    _ = served.wait_for(|served| *served) => {}
                }
                if let Err(lost) = counted.exporter.shutdown(drain).await {
                    let spans = lost.spans;
                    error!(
                        spans,
                        "spans lost: the collector configured before did not take them"
                    );
                }
                ledger.end(&counted.publish, &metrics);
            });
        }
    }

    /// Hands over what is left, all at once, for at most `drain`.
    pub(crate) async fn stop(&mut self, drain: Duration) {
        let mut ending = JoinSet::new();
        for Counted { exporter, cargo, .. } in self.spans.take().into_iter().chain(self.passed.drain(..)) {
            ending.spawn(async move {
                if let Err(lost) = exporter.shutdown(drain).await {
                    let (what, count) = (cargo.as_str(), lost.spans);
                    error!(
                        what,
                        count, "lost: the collector did not take them before the agent stopped"
                    );
                }
            });
        }
        if let Some(reporter) = self.reporter.take() {
            // It hands over the last counts for as long as the exporters have.
            let _ = reporter.await;
        }
        while ending.join_next().await.is_some() {}
    }
}

/// Whether exporters of one configuration do for the other.
fn same(one: &AgentConfig, other: &AgentConfig) -> bool {
    let of = |config: &AgentConfig| {
        let mut export = config.export.clone();
        // These are the rules', and the agent's own.
        (export.redact, export.max_attribute_length, export.max_attributes) = (Vec::new(), None, None);
        export.drain = crate::config::ExportConfig::default().drain;
        (export, config.edges.counts, config.edges.interval)
    };
    of(one) == of(other)
}
