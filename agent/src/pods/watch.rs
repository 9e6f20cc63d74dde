//! The pods of the node as they come, change and go.
//!
//! In: lists and events of the API server, for as long as the agent runs. Out: what is [`Known`] after each.
//! Left out on purpose: giving up. What fails is asked again, later each time, with jitter: the agents of all nodes lose an
//! API server at the same moment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kubernetes::{Failure, Reason};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::api::Api;
use super::metrics::Restart;
use super::objects::{Event, Object, Said};
use super::{Known, KnownPod, PodMetrics};

/// How long the API server is asked to keep a watch open, and up to how much longer, so that not all agents begin another one
/// at the same time.
const WATCH: u64 = 240;
const WATCH_JITTER: u64 = 120;
/// How much later it must have ended.
const GRACE: Duration = Duration::from_secs(30);
/// A watch that lasted so long worked.
const WORKED: Duration = Duration::from_secs(5);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// Where in the history of all pods this is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Nowhere: they are listed first.
    Unknown {
        /// What the API server has in memory may be older than what was seen.
        recent: bool,
    },
    /// Everything up to this version is known.
    At(String),
}

/// Watches the pods of one node.
pub(super) struct Watch {
    api: Api,
    label: String,
    max: usize,
    metrics: PodMetrics,
    known: watch::Sender<Arc<Known>>,
    /// In the order in which they came.
    pods: Vec<Arc<KnownPod>>,
    place: Place,
    /// Failures since something was last heard.
    failures: u32,
    /// Whether that was told.
    failing: bool,
}

impl Watch {
    /// `label` names a pod's service; more than `max` pods are not known.
    pub(super) fn new(
        api: Api,
        (label, max): (String, u32),
        metrics: PodMetrics,
        known: watch::Sender<Arc<Known>>,
    ) -> Self {
        Self {
            api,
            label,
            max: usize::try_from(max).unwrap_or(usize::MAX),
            metrics,
            known,
            pods: Vec::new(),
            place: Place::Unknown { recent: false },
            failures: 0,
            failing: false,
        }
    }

    /// Until `stop`.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.watch() => {}
        }
    }

    async fn watch(&mut self) {
        loop {
            let began = Instant::now();
            let ended = self.go_on().await;
            if began.elapsed() >= WORKED {
                self.failures = 0;
            }
            let delay = self.after(&ended);
            tokio::time::sleep(delay).await;
        }
    }

    /// Lists the pods where that must be, then watches them until the watch ends.
    async fn go_on(&mut self) -> Ended {
        match self.hear().await {
            Ok(Some(())) => Ended::new(Restart::Ended, "the watch has ended"),
            Ok(None) => Ended::new(Restart::Silent, "the watch did not end when it should have"),
            Err(failure) => Ended {
                why: Restart::Failed(failure.reason),
                retry_after: failure.retry_after,
                cause: failure.cause,
            },
        }
    }

    /// `None` where the watch has not ended in time.
    async fn hear(&mut self) -> Result<Option<()>, Failure> {
        let version = match &self.place {
            Place::At(version) => version.clone(),
            Place::Unknown { recent } => self.list(*recent).await?,
        };
        let seconds = WATCH + rand::random_range(0..=WATCH_JITTER);
        let mut lines = self.api.watch(&version, seconds).await?;
        let heard = async {
            while let Some(line) = lines.next().await? {
                self.event(&line)?;
            }
            Ok(())
        };
        let deadline = Duration::from_secs(seconds) + GRACE;
        tokio::time::timeout(deadline, heard).await.ok().transpose()
    }

    /// Puts the pods that there are in place of those that were known; their version.
    async fn list(&mut self, recent: bool) -> Result<String, Failure> {
        let before = std::mem::take(&mut self.pods);
        match self.pages(recent, &before).await {
            Ok(version) => {
                self.publish();
                self.place = Place::At(version.clone());
                self.heard();
                Ok(version)
            }
            Err(failure) => {
                self.pods = before;
                Err(failure)
            }
        }
    }

    async fn pages(&mut self, recent: bool, before: &[Arc<KnownPod>]) -> Result<String, Failure> {
        let mut next = None;
        loop {
            let page = self.api.page(recent, next.as_deref()).await?;
            for object in page.items.into_iter().flatten() {
                let Some(Said::Pod(pod)) = object.said(&self.label) else {
                    continue;
                };
                if self.pods.len() >= self.max {
                    self.metrics.left_out();
                    continue;
                }
                let same = before.iter().find(|known| known.pod == pod).cloned();
                self.pods
                    .push(same.unwrap_or_else(|| Arc::new(KnownPod::new(pod))));
            }
            next = page.metadata.next.filter(|next| !next.is_empty());
            if next.is_none() {
                let nowhere = || Failure::new(Reason::Malformed, "a list of pods has no version");
                return page.metadata.resource_version.ok_or_else(nowhere);
            }
        }
    }

    fn event(&mut self, line: &[u8]) -> Result<(), Failure> {
        let event = Event::read(line).map_err(|error| Failure::new(Reason::Malformed, error))?;
        let (object, gone) = match event {
            Event::Error(code) => return Err(Failure::of_status(code)),
            Event::Other => return Ok(()),
            Event::Is(object) => (object, false),
            Event::Gone(object) => (object, true),
            Event::Bookmark(object) => {
                self.advance(&object);
                return Ok(());
            }
        };
        self.advance(&object);
        let said = if gone {
            object.uid().map(|uid| Said::Nothing(uid.to_owned()))
        } else {
            object.said(&self.label)
        };
        if said.is_some_and(|said| self.take(said)) {
            self.publish();
        }
        Ok(())
    }

    fn advance(&mut self, object: &Object) {
        if let Some(version) = object.version() {
            self.place = Place::At(version.to_owned());
        }
        self.heard();
    }

    /// Whether anything is different now.
    fn take(&mut self, said: Said) -> bool {
        let uid = match &said {
            Said::Pod(pod) => &pod.uid,
            Said::Nothing(uid) => uid,
        };
        let place = self.pods.iter().position(|known| known.pod.uid == *uid);
        match (said, place) {
            (Said::Nothing(_), None) => return false,
            (Said::Nothing(_), Some(place)) => drop(self.pods.remove(place)),
            (Said::Pod(_), None) if self.pods.len() >= self.max => {
                self.metrics.left_out();
                return false;
            }
            (Said::Pod(pod), None) => self.pods.push(Arc::new(KnownPod::new(pod))),
            (Said::Pod(pod), Some(place)) => {
                let known = self.pods.get_mut(place).filter(|known| known.pod != pod);
                let Some(known) = known else {
                    return false;
                };
                *known = Arc::new(KnownPod::new(pod));
            }
        }
        true
    }

    fn publish(&self) {
        self.metrics.known(self.pods.len());
        self.known
            .send_replace(Arc::new(Known::of(self.pods.iter().cloned())));
    }

    /// The API server said something of its pods.
    fn heard(&mut self) {
        self.failures = 0;
        self.metrics.synced();
        if std::mem::take(&mut self.failing) {
            info!(pods = self.pods.len(), "pods are watched again");
        }
    }

    /// Counts why something ended; how long to wait before it is tried again, and from where.
    fn after(&mut self, ended: &Ended) -> Duration {
        let (why, cause) = (ended.why, &ended.cause);
        self.metrics.restarted(why);
        let first = self.failures == 0;
        self.failures = self.failures.saturating_add(1);
        let is_in_order = matches!(why, Restart::Ended | Restart::Failed(Reason::Expired));
        if let Restart::Failed(Reason::Expired | Reason::TooLarge | Reason::Malformed) = why {
            self.place = Place::Unknown { recent: true };
        }
        if is_in_order {
            debug!(reason = why.as_str(), "watch of pods ended");
        } else if std::mem::replace(&mut self.failing, true) {
            debug!(reason = why.as_str(), %cause, "pods are still not watched");
        } else {
            warn!(reason = why.as_str(), %cause, "pods are not watched: those known stay as they are");
        }
        if first && is_in_order {
            return Duration::ZERO;
        }
        kubernetes::delay(self.failures, LONGEST_DELAY, ended.retry_after, rand::random())
    }
}

/// Why a watch is over.
struct Ended {
    why: Restart,
    /// How long the API server asks to be left alone.
    retry_after: Duration,
    cause: String,
}

impl Ended {
    fn new(why: Restart, cause: &str) -> Self {
        Self {
            why,
            retry_after: Duration::ZERO,
            cause: cause.to_owned(),
        }
    }
}
