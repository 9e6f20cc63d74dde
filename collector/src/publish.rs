//! Generated files in step with the map.
//!
//! In: the map, as often as asked for. Out: the current artefacts in memory for the page, and on disk where a
//! directory is configured; at most once per interval, and only where something changed.
//! Left out on purpose: what the files say.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use instrumentation::plan::{PLAN_PATH, Plan};
use map::Map;
use map::catalogue as names;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::generate::{Artefacts, Gone, MANIFEST, SyncReport, artefacts, keep_gone, sync, too_large};
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
    began: bool,
    reported_foreign: Vec<String>,
    reported_too_large: Vec<String>,
    /// The plan that was written last: its revision and its text.
    plan: Option<(String, String)>,
    sender: watch::Sender<Arc<Published>>,
}

impl Publisher {
    pub(crate) fn new(settings: GenerateSettings) -> (Self, watch::Receiver<Arc<Published>>) {
        let (sender, receiver) = watch::channel(Arc::default());
        (
            Self {
                settings,
                last: None,
                began: false,
                reported_foreign: Vec::new(),
                reported_too_large: Vec::new(),
                plan: None,
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

    /// Generates from `map`. An empty map is looked at again at once. It generates nothing where there is something from
    /// before; into a new directory it does, once, because whoever reads that needs rules, receivers and data sources before
    /// the first span.
    ///
    /// A plan in force stands in place of that of the map by itself; its file changes when it decides otherwise.
    pub(crate) fn publish(&mut self, map: &Map, plan: Option<&Plan>, now: Instant) {
        let began = std::mem::replace(&mut self.began, true);
        if !map.edges.is_empty() {
            self.last = Some(now);
        } else if began || !self.is_new_directory() {
            return;
        }
        let mut files = artefacts(map, &self.settings);
        if let Some(plan) = plan {
            if self
                .plan
                .as_ref()
                .is_none_or(|(revision, _)| *revision != plan.revision)
            {
                self.plan = Some((plan.revision.clone(), plan.to_yaml()));
            }
            files.extend(
                self.plan
                    .as_ref()
                    .map(|(_, text)| (PLAN_PATH.to_owned(), text.clone())),
            );
        }
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

    fn is_new_directory(&self) -> bool {
        let out = self.settings.out.as_ref();
        out.is_some_and(|out| !out.join(MANIFEST).exists())
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

#[cfg(test)]
mod tests {
    use map::file::map_from_yaml;

    use super::*;

    const RULES: &str = "alerts/rules/tracemap-health.yaml";
    const DASHBOARD: &str = "dashboards/service-cart.json";

    fn map_of(edges: &str) -> Map {
        map_from_yaml(&format!("version: 1\nedges: [{edges}]\n")).unwrap()
    }

    #[test]
    fn a_new_directory_has_what_needs_no_map_before_there_is_one_and_an_old_one_keeps_what_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let settings = GenerateSettings {
            out: Some(dir.path().to_owned()),
            ..GenerateSettings::default()
        };
        let (empty, full) = (map_of(""), map_of("{client: user, server: cart}"));
        let has = |file: &str| dir.path().join(file).exists();
        let now = Instant::now();
        let (mut publisher, _) = Publisher::new(settings.clone());
        publisher.publish(&empty, None, now);
        assert_eq!((has(RULES), has(DASHBOARD)), (true, false));
        assert!(publisher.is_due(now), "what comes first is not waited for");
        publisher.publish(&full, None, now);
        assert!(has(DASHBOARD));
        let (mut restarted, _) = Publisher::new(settings);
        restarted.publish(&empty, None, now);
        assert!(has(DASHBOARD), "a restart without a map takes nothing away");
    }
}
