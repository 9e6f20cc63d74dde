//! From the counts of an exporter to the agent's series.
//!
//! In: what an exporter counted since it was asked last. Out: the same as series, under the names of what it carries.
//! Left out on purpose: keeping the exporters, see `reload/export.rs`.

use std::sync::{Mutex, PoisonError};

use map::catalogue as names;
use otlp::export::{DropReason, ExportStats, Exporter};
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::telemetry::{Metrics, ReportOutcome, SpanOutcome};

/// What an exporter carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cargo {
    /// Spans, the agent's own and those of SDKs.
    Spans,
    /// Reports of edge counts.
    EdgeReports,
    /// Data points of SDKs.
    Metrics,
    /// Log records of SDKs.
    Logs,
}

impl Cargo {
    /// Its name in logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::EdgeReports => "reports of edge counts",
            Self::Metrics => "data points",
            Self::Logs => "log records",
        }
    }
}

/// Carries an exporter's counts over to the metrics.
pub(crate) struct ExportCounts {
    exporter: Exporter,
    cargo: Cargo,
    last: Mutex<ExportStats>,
}

impl ExportCounts {
    pub(crate) fn new(exporter: Exporter, cargo: Cargo) -> Self {
        Self {
            exporter,
            cargo,
            last: Mutex::default(),
        }
    }

    /// Adds to `metrics` what happened since the last call.
    pub(crate) fn publish(&self, metrics: &Metrics) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.exporter.stats();
        let sent = now.sent_spans.saturating_sub(last.sent_spans);
        let dropped =
            DropReason::ALL.map(|reason| (reason, now.dropped(reason).saturating_sub(last.dropped(reason))));
        let dropped = dropped.into_iter().filter(|(_, count)| *count > 0);
        match self.cargo {
            Cargo::Spans => {
                metrics.spans(SpanOutcome::Sent, sent);
                dropped.for_each(|(reason, spans)| metrics.dropped_because(reason.as_str(), spans));
                metrics.set_buffered(now.buffered_bytes);
                metrics.export.on_disk.set(self.exporter.is_on_disk().into());
                let fallback = now.fallback_spans.saturating_sub(last.fallback_spans);
                metrics.export.fallback.inc_by(fallback);
            }
            Cargo::EdgeReports => {
                metrics.edge_reports(ReportOutcome::Sent, sent);
                let dropped = dropped.map(|(_, reports)| reports).sum();
                metrics.edge_reports(ReportOutcome::Dropped, dropped);
            }
            Cargo::Metrics => metrics.export.passed("metrics", sent, dropped),
            Cargo::Logs => metrics.export.passed("logs", sent, dropped),
        }
        *last = now;
    }
}

/// Series about exporters beyond those of spans.
#[derive(Debug)]
pub(crate) struct ExportSeries {
    fallback: IntCounter,
    on_disk: IntGauge,
    passed: IntCounterVec,
    passed_dropped: IntCounterVec,
}

impl ExportSeries {
    /// # Errors
    /// The library refuses a name, or has it twice.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let help = |name| names::find(name).map_or("", |series| series.help);
        let labelled = |name, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help(name)), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let fallback = IntCounter::new(names::AGENT_FALLBACK_SPANS, help(names::AGENT_FALLBACK_SPANS))?;
        registry.register(Box::new(fallback.clone()))?;
        let on_disk = IntGauge::new(names::AGENT_BUFFER_ON_DISK, help(names::AGENT_BUFFER_ON_DISK))?;
        registry.register(Box::new(on_disk.clone()))?;
        Ok(Self {
            fallback,
            on_disk,
            passed: labelled(names::AGENT_PASSED, &["signal", "outcome"])?,
            passed_dropped: labelled(names::AGENT_PASSED_DROPPED, &["signal", "reason"])?,
        })
    }

    fn passed(&self, signal: &str, sent: u64, dropped: impl Iterator<Item = (DropReason, u64)>) {
        self.passed.with_label_values(&[signal, "sent"]).inc_by(sent);
        let mut lost = 0;
        for (reason, items) in dropped {
            let labels = [signal, reason.as_str()];
            self.passed_dropped.with_label_values(&labels).inc_by(items);
            lost += items;
        }
        self.passed.with_label_values(&[signal, "dropped"]).inc_by(lost);
    }
}
