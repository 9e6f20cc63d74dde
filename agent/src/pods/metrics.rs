//! What the agent says of its watch of pods on `/metrics`.
//!
//! In: what became of each question. Out: series, there from the beginning, 0 where nobody watches.
//! Left out on purpose: names of pods.

use std::time::{SystemTime, UNIX_EPOCH};

use kubernetes::Reason;
use map::catalogue as names;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Series about pods.
#[derive(Debug, Clone)]
pub(crate) struct PodMetrics {
    pods: IntGauge,
    last_sync: IntGauge,
    restarts: IntCounterVec,
    left_out: IntCounter,
}

/// Why the pods are listed again, or watched from where the watch was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restart {
    /// The API server ended the watch in good order, as it was asked to.
    Ended,
    /// Nothing came before the watch should have ended.
    Silent,
    /// The API server could not be asked, or said something else.
    Failed(Reason),
}

impl Restart {
    fn all() -> impl Iterator<Item = Self> {
        [Self::Ended, Self::Silent]
            .into_iter()
            .chain(Reason::ALL.into_iter().map(Self::Failed))
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Silent => "silent",
            Self::Failed(reason) => reason.as_str(),
        }
    }
}

impl PodMetrics {
    /// # Errors
    /// The library refuses a name, or has it twice.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let help = |name| names::find(name).map_or("", |series| series.help);
        let gauge = |name| {
            let gauge = IntGauge::new(name, help(name))?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let left_out = IntCounter::new(names::AGENT_PODS_LEFT_OUT, help(names::AGENT_PODS_LEFT_OUT))?;
        registry.register(Box::new(left_out.clone()))?;
        let name = names::AGENT_POD_WATCH_RESTARTS;
        let restarts = IntCounterVec::new(Opts::new(name, help(name)), &["reason"])?;
        registry.register(Box::new(restarts.clone()))?;
        for reason in Restart::all() {
            restarts.with_label_values(&[reason.as_str()]);
        }
        Ok(Self {
            pods: gauge(names::AGENT_PODS)?,
            last_sync: gauge(names::AGENT_PODS_LAST_SYNC_SECONDS)?,
            restarts,
            left_out,
        })
    }

    pub(super) fn known(&self, pods: usize) {
        self.pods.set(i64::try_from(pods).unwrap_or(i64::MAX));
    }

    /// The API server said something of its pods.
    pub(super) fn synced(&self) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_sync
            .set(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    }

    pub(super) fn restarted(&self, reason: Restart) {
        self.restarts.with_label_values(&[reason.as_str()]).inc();
    }

    pub(super) fn left_out(&self) {
        self.left_out.inc();
    }
}
