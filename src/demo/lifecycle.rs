//! The order in which the shop stops: users first, then services, then the queue, then what they all stand on.
//!
//! In: the tasks, by stage, and a future that ends when the shop shall. Out: a shop whose requests were answered and
//! whose orders were stored, as far as that goes within [`STAGE_LIMIT`] a stage.
//! Left out on purpose: restarting what died. A task that ends early leaves the rest running.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;

/// How long each stage may take before it is cut off.
const STAGE_LIMIT: Duration = Duration::from_secs(2);

/// How far the shop has stopped. In order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Not at all.
    Running,
    /// No new users.
    UsersLeave,
    /// Services finish what they have and close.
    ServicesClose,
}

/// The shop's tasks.
pub(super) struct Lifecycle {
    stage: watch::Sender<Stage>,
    /// End after [`Stage::UsersLeave`].
    pub(super) users: JoinSet<()>,
    /// End after [`Stage::ServicesClose`].
    pub(super) services: JoinSet<()>,
    /// End when the services have: nobody can send orders any more.
    pub(super) workers: JoinSet<()>,
    /// Are aborted last.
    pub(super) ground: JoinSet<()>,
}

impl Lifecycle {
    /// Without tasks.
    pub(super) fn new() -> Self {
        Self {
            stage: watch::Sender::new(Stage::Running),
            users: JoinSet::new(),
            services: JoinSet::new(),
            workers: JoinSet::new(),
            ground: JoinSet::new(),
        }
    }

    /// Ends when the shop has come to `stage`, or when nobody is left to bring it there.
    pub(super) fn reached(&self, stage: Stage) -> impl Future<Output = ()> + Send + 'static {
        let mut stages = self.stage.subscribe();
        async move {
            let _ = stages.wait_for(|now| *now >= stage).await;
        }
    }

    /// Waits for `shutdown`, then stops everything in order.
    pub(super) async fn run(mut self, shutdown: impl Future<Output = ()>) {
        shutdown.await;
        self.stage.send_replace(Stage::UsersLeave);
        finish("users", &mut self.users).await;
        self.stage.send_replace(Stage::ServicesClose);
        finish("services", &mut self.services).await;
        finish("workers", &mut self.workers).await;
        self.ground.shutdown().await;
    }
}

async fn finish(stage: &'static str, tasks: &mut JoinSet<()>) {
    let all_done = async { while tasks.join_next().await.is_some() {} };
    if timeout(STAGE_LIMIT, all_done).await.is_err() {
        warn!(
            stage,
            tasks = tasks.len(),
            "part of the demo shop was cut off while it stopped"
        );
        tasks.shutdown().await;
    }
}
