//! The plan that an agent follows, across configurations.
//!
//! In: the section `plan`, and the plans that are fetched. Out: the last good one, and word of each new one.
//! Left out on purpose: what a plan says, see `plan.rs`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::metrics::ReloadMetrics;
use crate::config::PlanConfig;
use crate::plan::{self, Asker, Plan};
use crate::pods::PodWorkloads;
use crate::telemetry::Metrics;
use crate::workload::Workload;

/// The plan of one agent.
#[derive(Default)]
pub(crate) struct Planned {
    config: Option<PlanConfig>,
    /// The last good one.
    pub(crate) plan: Option<Arc<Plan>>,
    /// The one that requests meet.
    pub(crate) in_force: Option<Arc<Plan>>,
    plans: Option<watch::Receiver<Option<Arc<Plan>>>>,
    /// Who fetches; ends with this.
    fetching: JoinSet<()>,
    /// Who asks, as the collector shows it.
    asker: Arc<Asker>,
    /// When the last good one is tried again, which could not be taken over.
    again: Option<Instant>,
}

/// After so long a plan that could not be taken over is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(15);

impl Planned {
    /// Fetches as `config` says from now on. Another address means another plan, and until it has come none.
    pub(crate) fn follow(&mut self, config: Option<&PlanConfig>, metrics: (&ReloadMetrics, &Arc<Metrics>)) {
        if self.config.as_ref() == config {
            return;
        }
        let same_address = |before: &PlanConfig| config.is_some_and(|config| config.url == before.url);
        if !self.config.as_ref().is_some_and(same_address) {
            self.plan = None;
        }
        self.config = config.cloned();
        self.fetching = JoinSet::new();
        self.plans = config.cloned().map(|config| {
            let (plans, fetched) = watch::channel(self.plan.clone());
            let asker = self.asker.clone();
            self.fetching.spawn(plan::follow(
                config,
                plans,
                (metrics.0.clone(), metrics.1.clone()),
                asker,
            ));
            fetched
        });
    }

    /// Notes whom the agent stands before and what is in force, for the next question.
    pub(crate) fn stands_before(
        &mut self,
        workloads: Vec<Arc<Workload>>,
        pods: Option<Arc<Mutex<PodWorkloads>>>,
    ) {
        self.again = None;
        self.asker.workloads.store(Arc::new(workloads));
        self.asker.pods.store(pods);
        let revision = self.in_force.as_ref().and_then(|plan| plan.revision.clone());
        self.asker.applied.store(Arc::new(revision));
    }

    /// The last good one could not be taken over; what kept it may pass.
    pub(crate) fn try_again(&mut self) {
        self.again = Some(Instant::now() + TRY_AGAIN);
    }

    /// Waits for a plan that differs from the one before, or that is to be tried again.
    pub(crate) async fn next(&mut self) {
        let again = async {
            match self.again {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let Some(plans) = &mut self.plans else {
            return again.await;
        };
        let ended = tokio::select! {
            () = again => return,
            changed = plans.changed() => changed.is_err(),
        };
        if ended {
            std::future::pending::<()>().await;
        }
        self.plan.clone_from(&plans.borrow_and_update());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_plan_that_could_not_be_taken_over_is_tried_again_until_it_is() {
        let mut planned = Planned::default();
        let soon = Duration::from_mins(1);
        assert!(tokio::time::timeout(soon, planned.next()).await.is_err());
        planned.try_again();
        let began = Instant::now();
        planned.next().await;
        assert_eq!(began.elapsed(), TRY_AGAIN);
        planned.stands_before(Vec::new(), None);
        assert!(tokio::time::timeout(soon, planned.next()).await.is_err());
    }
}
