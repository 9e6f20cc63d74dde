//! A namespace that follows what a running collector generates.
//!
//! In: generated files as they change. Out: rounds of [`in_step`]; logs of what is wrong, once for as long as it is; counts.
//! Left out on purpose: giving up. What fails is tried again, later each time, with jitter; files that change meanwhile
//! wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ::kubernetes::{Fate, Key, Publisher, Reason, Report, delay};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{ClusterCounts, ClusterError, FILES, KubernetesPublishSettings, Options, in_step};
use crate::publish::Published;
use crate::settings::GenerateSettings;

/// The longest pause while the API server cannot be asked.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Publishes until `stop` is done.
pub(crate) async fn run(
    settings: KubernetesPublishSettings,
    generate: GenerateSettings,
    published: watch::Receiver<Arc<Published>>,
    counts: Arc<ClusterCounts>,
    stop: impl Future<Output = ()>,
) {
    let user_agent = concat!("tracemap-collector/", env!("CARGO_PKG_VERSION"));
    let publisher = match settings.publisher(user_agent, |name| std::env::var(name).ok()) {
        Ok(publisher) => publisher,
        Err(error) => {
            error!(%error, "nothing is published to Kubernetes");
            return;
        }
    };
    let follower = Follower {
        publisher,
        generate,
        resync: settings.resync.get(),
        counts,
        failures: 0,
        is_away: false,
        told: BTreeSet::new(),
    };
    tokio::select! {
        () = stop => {}
        () = follower.follow(published) => {}
    }
}

struct Follower {
    publisher: Publisher,
    generate: GenerateSettings,
    resync: Duration,
    counts: Arc<ClusterCounts>,
    /// Rounds in a row that were not all good.
    failures: u32,
    /// Whether it was told that the API server cannot be asked.
    is_away: bool,
    /// What was told of objects.
    told: BTreeSet<String>,
}

impl Follower {
    async fn follow(mut self, mut published: watch::Receiver<Arc<Published>>) {
        loop {
            let now = published.borrow_and_update().clone();
            // Nothing was generated yet: what an earlier run published stays.
            if now.files.is_empty() {
                if published.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let options = Options {
                keep_gone: self.generate.grafana.keep_gone.get(),
                dry_run: false,
                now: SystemTime::now(),
            };
            let round = in_step(&mut self.publisher, &now.files, &self.generate, options).await;
            let pause = self.after(round);
            let until = Instant::now() + pause;
            if self.failures > 0 {
                tokio::time::sleep_until(until).await;
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = differs(&mut published, &now) => {}
            }
        }
    }

    /// Counts and tells what became of a round; how long to wait before the next.
    fn after(&mut self, round: Result<Report, ClusterError>) -> Duration {
        match round {
            Ok(report) => {
                if std::mem::take(&mut self.is_away) {
                    info!("the API server answers again");
                }
                self.counts.done(&report, SystemTime::now());
                self.tell(&report);
                if report.problems().next().is_none() {
                    self.failures = 0;
                    return self.resync;
                }
                self.failures = self.failures.saturating_add(1);
                delay(self.failures, self.resync, Duration::ZERO, rand::random())
            }
            Err(ClusterError::Server(failure)) => {
                self.counts.failed(failure.reason);
                self.failures = self.failures.saturating_add(1);
                if !std::mem::replace(&mut self.is_away, true) {
                    let (reason, cause) = (failure.reason.as_str(), &failure.cause);
                    warn!(reason, %cause, "objects do not follow the map: the API server cannot be asked");
                }
                let longest = LONGEST_PAUSE.min(self.resync);
                delay(self.failures, longest, failure.retry_after, rand::random())
            }
            Err(error) => {
                self.counts.failed(Reason::Malformed);
                self.failures = self.failures.saturating_add(1);
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                error!(%error, cause = cause.unwrap_or_default(), "objects do not follow the map");
                self.resync
            }
        }
    }

    fn tell(&mut self, report: &Report) {
        let applied = report.count(|fate| *fate == Fate::Applied);
        let removed = report.count(|fate| *fate == Fate::Removed);
        if applied + removed > 0 {
            info!(applied, removed, "objects in the cluster follow the map");
        }
        // Many objects may have one problem, such as a role that is missing.
        let mut found: BTreeMap<String, Vec<&Key>> = BTreeMap::new();
        for step in report.problems() {
            found.entry(step.fate.to_string()).or_default().push(&step.key);
        }
        for (problem, keys) in found.iter().filter(|(problem, _)| !self.told.contains(*problem)) {
            let (object, others) = (keys.first().map(ToString::to_string), keys.len() - 1);
            let object = object.unwrap_or_default();
            error!(object, others, problem, "an object does not follow the map");
        }
        if found.is_empty() && !self.told.is_empty() {
            info!("all objects follow the map again");
        }
        self.told = found.into_keys().collect();
    }
}

/// Until a file that holds objects is another than in `before`; for ever where nobody generates any longer.
async fn differs(published: &mut watch::Receiver<Arc<Published>>, before: &Published) {
    let is_other = |now: &Arc<Published>| {
        let differs = |(file, _): &(&str, _)| now.files.get(*file) != before.files.get(*file);
        FILES.iter().any(differs)
    };
    if published.wait_for(is_other).await.is_err() {
        std::future::pending::<()>().await;
    }
}
