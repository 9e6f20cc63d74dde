//! Generated files in step with the map.
//!
//! In: the map, as often as asked for. Out: the current artefacts in memory for the page, and on disk where a
//! directory is configured; at most once per interval, and only where something changed.
//! Left out on purpose: what the files say.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use map::Map;
use map::catalogue as names;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::generate::{Artefacts, Gone, SyncReport, artefacts, keep_gone, sync, too_large};
use crate::rim::report_sync_error;
use crate::scrape::Scrape;
use crate::settings::GenerateSettings;

/// What was generated last.
#[derive(Debug, Default)]
pub(crate) struct Published {
    /// The files.
    pub(crate) files: Artefacts,
    report: SyncReport,
}

impl Published {
    pub(crate) fn write_metrics(&self, out: &mut Scrape<'_>) {
        out.family(names::COLLECTOR_FILES);
        let SyncReport {
            written,
            unchanged,
            foreign,
            ..
        } = &self.report;
        let states = [
            ("written", written.len()),
            ("unchanged", *unchanged),
            ("foreign", foreign.len()),
        ];
        for (state, count) in states {
            out.sample(&[("state", state)], count as f64);
        }
    }
}

/// Generates, and remembers when it did.
#[derive(Debug)]
pub(crate) struct Publisher {
    settings: GenerateSettings,
    last: Option<Instant>,
    reported_foreign: Vec<String>,
    reported_too_large: Vec<String>,
    sender: watch::Sender<Arc<Published>>,
}

impl Publisher {
    pub(crate) fn new(settings: GenerateSettings) -> (Self, watch::Receiver<Arc<Published>>) {
        let (sender, receiver) = watch::channel(Arc::default());
        (
            Self {
                settings,
                last: None,
                reported_foreign: Vec::new(),
                reported_too_large: Vec::new(),
                sender,
            },
            receiver,
        )
    }

    /// True where the interval since the last time is over.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.last
            .is_none_or(|last| now.duration_since(last) >= self.settings.min_interval.get())
    }

    /// Makes the next look due.
    pub(crate) fn force(&mut self) {
        self.last = None;
    }

    /// Generates from `map`. An empty map generates nothing, and is looked at again at once.
    pub(crate) fn publish(&mut self, map: &Map, now: Instant) {
        if map.edges.is_empty() {
            return;
        }
        self.last = Some(now);
        let mut files = artefacts(map, &self.settings);
        let report = match &self.settings.out {
            None => SyncReport {
                unchanged: files.len(),
                ..SyncReport::default()
            },
            Some(dir) => match keep_gone(dir, &mut files, &self.settings, Gone::Mark, SystemTime::now())
                .and_then(|()| sync(dir, &files, true))
            {
                Ok(report) => report,
                Err(error) => {
                    report_sync_error(&error);
                    SyncReport::default()
                }
            },
        };
        self.report(&report);
        self.report_too_large(&files);
        self.sender.send_replace(Arc::new(Published { files, report }));
    }

    fn report_too_large(&mut self, files: &Artefacts) {
        let found: Vec<String> = too_large(files, &self.settings)
            .into_iter()
            .map(|large| large.to_string())
            .collect();
        if found != self.reported_too_large {
            for problem in &found {
                warn!(problem, "a dashboard is not among the Kubernetes objects");
            }
            self.reported_too_large = found;
        }
    }

    fn report(&mut self, report: &SyncReport) {
        let written = report
            .written
            .iter()
            .filter(|name| *name != crate::generate::STATS_PATH)
            .count();
        if written + report.removed.len() > 0 {
            info!(
                written,
                removed = report.removed.len(),
                "generated files follow the map"
            );
        }
        if report.foreign != self.reported_foreign {
            for file in &report.foreign {
                warn!(file, "not written by tracemap or edited since: left alone");
            }
            self.reported_foreign.clone_from(&report.foreign);
        }
    }
}
