//! The plan that an agent follows, across configurations.
//!
//! In: the section `plan`, and the plans that are fetched. Out: the last good one, and word of each new one.
//! Left out on purpose: what a plan says, see `plan.rs`.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::metrics::ReloadMetrics;
use crate::config::PlanConfig;
use crate::plan::{self, Asker, Plan};
use crate::sampling::Meters;
use crate::telemetry::Metrics;

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
}

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
    pub(crate) fn stands_before(&self, workloads: Vec<(String, Arc<Meters>)>) {
        self.asker.workloads.store(Arc::new(workloads));
        let revision = self.in_force.as_ref().and_then(|plan| plan.revision.clone());
        self.asker.applied.store(Arc::new(revision));
    }

    /// Waits for a plan that differs from the one before.
    pub(crate) async fn next(&mut self) {
        if let Some(plans) = &mut self.plans
            && plans.changed().await.is_ok()
        {
            self.plan.clone_from(&plans.borrow_and_update());
            return;
        }
        std::future::pending::<()>().await;
    }
}
