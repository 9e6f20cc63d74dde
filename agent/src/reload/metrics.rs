//! What the agent says of its own configuration on `/metrics`.
//!
//! In: how each attempt to take over another configuration, or a plan, ended. Out: series.
//! Left out on purpose: what was wrong. That is in the log, with lines and keys.

use std::time::{SystemTime, UNIX_EPOCH};

use map::catalogue as names;
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// Series about configurations and plans.
#[derive(Debug, Clone)]
pub(crate) struct ReloadMetrics {
    reloads: IntCounterVec,
    successful: IntGauge,
    success_seconds: IntGauge,
    plan_polls: IntCounterVec,
    plan_seconds: IntGauge,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReloadOutcome {
    /// The new configuration is in force.
    Applied,
    /// It has problems; the one before stays.
    Rejected,
}

/// What became of a question for the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlanOutcome {
    /// A new plan is in force.
    Applied,
    /// It is the one that was known.
    Unchanged,
    /// It has problems; the one before stays.
    Rejected,
    /// There was no answer that holds a plan.
    Failed,
}

impl PlanOutcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }
}

impl ReloadMetrics {
    /// Series that say that the configuration now in force was read well.
    ///
    /// # Errors
    /// The library refuses a name, or has it twice.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let help = |name| names::find(name).map_or("", |series| series.help);
        let gauge = |name| {
            let gauge = IntGauge::new(name, help(name))?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let counter = |name| {
            let counter = IntCounterVec::new(Opts::new(name, help(name)), &["outcome"])?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let reloads = counter(names::AGENT_CONFIG_RELOADS)?;
        for outcome in [ReloadOutcome::Applied, ReloadOutcome::Rejected] {
            reloads.with_label_values(&[outcome.as_str()]);
        }
        let metrics = Self {
            reloads,
            successful: gauge(names::AGENT_CONFIG_LAST_RELOAD_SUCCESSFUL)?,
            success_seconds: gauge(names::AGENT_CONFIG_LAST_RELOAD_SUCCESS_SECONDS)?,
            plan_polls: counter(names::AGENT_PLAN_POLLS)?,
            plan_seconds: gauge(names::AGENT_PLAN_LAST_SUCCESS_SECONDS)?,
        };
        metrics.succeeded();
        Ok(metrics)
    }

    /// Notes how an attempt ended.
    pub(crate) fn ended(&self, outcome: ReloadOutcome) {
        self.reloads.with_label_values(&[outcome.as_str()]).inc();
        match outcome {
            ReloadOutcome::Applied => self.succeeded(),
            ReloadOutcome::Rejected => self.successful.set(0),
        }
    }

    /// Notes what became of a question for the plan.
    pub(crate) fn plan(&self, outcome: PlanOutcome) {
        self.plan_polls.with_label_values(&[outcome.as_str()]).inc();
        if matches!(outcome, PlanOutcome::Applied | PlanOutcome::Unchanged) {
            self.plan_seconds.set(now());
        }
    }

    fn succeeded(&self) {
        self.success_seconds.set(now());
        self.successful.set(1);
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

impl ReloadOutcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Rejected => "rejected",
        }
    }
}
