//! Another configuration for an agent that runs.
//!
//! In: SIGHUP, a changed file, or a configuration from whoever runs the agent. Out: the agent as that says, or as before and
//! one error that tells every problem; counted either way.
//! Left out on purpose: parts of a configuration. It is read and checked whole, and holds whole or not at all; only what a
//! running agent cannot change stays as it was, and is named.

mod apply;
mod changes;
mod current;
mod doors;
mod export;
mod metrics;
mod planned;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::config::ConfigErrors;
use tracing::{error, info, warn};

pub(crate) use apply::{AllDoors, Generation, Kept};
pub(crate) use current::Current;
pub(crate) use doors::Wanted;
#[cfg(test)]
pub(crate) use export::Way;
pub(crate) use export::{Export, Ledger, Outlet};
pub(crate) use metrics::{PlanOutcome, ReloadMetrics};
pub(crate) use planned::Planned;

use changes::{Changes, Content};
use metrics::ReloadOutcome;

use crate::config::AgentConfig;
use crate::run::{AgentError, Running};

/// Where an agent's configuration is read again.
#[derive(Clone)]
pub struct ConfigSource {
    file: Option<PathBuf>,
    /// The file's content when this was made.
    known: Option<Content>,
    every: Duration,
    read: Arc<dyn Fn() -> Result<AgentConfig, ConfigErrors> + Send + Sync>,
}

impl ConfigSource {
    /// `read` gives the configuration as it stands now, checked; it is asked whenever the content of `file` has changed from
    /// what it is now, and on SIGHUP. So this is made before the file is read for the first time.
    pub fn new(
        file: Option<PathBuf>,
        read: impl Fn() -> Result<AgentConfig, ConfigErrors> + Send + Sync + 'static,
    ) -> Self {
        Self {
            known: file.as_deref().and_then(Content::now),
            file,
            every: changes::EVERY,
            read: Arc::new(read),
        }
    }

    /// Looks at the file this often, in place of every second. A change is seen after two looks.
    #[must_use]
    pub fn every(self, every: Duration) -> Self {
        Self { every, ..self }
    }

    /// The same, with what `adapt` makes of each configuration.
    #[must_use]
    pub fn adapted(self, adapt: impl Fn(AgentConfig) -> AgentConfig + Send + Sync + 'static) -> Self {
        let read = self.read;
        Self {
            read: Arc::new(move || read().map(&adapt)),
            ..self
        }
    }

    /// The configuration as it stands now.
    ///
    /// # Errors
    /// Every problem that it has.
    pub fn read_now(&self) -> Result<AgentConfig, ConfigErrors> {
        (self.read)()
    }

    async fn read(&self) -> Result<AgentConfig, String> {
        let read = self.read.clone();
        let read = tokio::task::spawn_blocking(move || read().map_err(|errors| errors.to_string()));
        read.await.unwrap_or_else(|error| Err(error.to_string()))
    }
}

/// What a running agent could not change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reloaded {
    /// Keys that a restart would change. They are as they were.
    pub needs_restart: Vec<&'static str>,
}

impl Running {
    /// Goes on as `config` says. No request is lost by it: those in flight end as they began, listeners that stay keep their
    /// connections, those that are gone are drained. The access log is opened again, so that a file that was moved away
    /// gets no more lines.
    ///
    /// # Errors
    /// Every problem of `config`, or the first thing of it that cannot be had; then everything stays as it was.
    pub async fn reload(&mut self, mut config: AgentConfig) -> Result<Reloaded, AgentError> {
        let findings = config.check_with(&self.detected);
        let result = if findings.is_empty() {
            let needs_restart = put_back(&self.config, &mut config);
            let applied = Box::pin(self.apply(config)).await;
            applied.map(|()| Reloaded { needs_restart })
        } else {
            Err(AgentError::Config(findings))
        };
        let outcome = match &result {
            Ok(_) => ReloadOutcome::Applied,
            Err(_) => ReloadOutcome::Rejected,
        };
        self.kept.reloads.ended(outcome);
        result
    }

    /// Keeps the agent as `source` and the plan say until `shutdown`. Without a source SIGHUP ends the process, as it ends
    /// any that does not listen for it.
    pub async fn follow(&mut self, source: Option<ConfigSource>, shutdown: impl Future<Output = ()>) {
        let mut shutdown = std::pin::pin!(shutdown);
        let file = source.as_ref().and_then(|source| {
            let file = source.file.clone()?;
            Some(Changes::of(file, source.known, source.every))
        });
        let mut changes = file;
        let mut hangup = source.as_ref().map_or_else(Hangup::default, |_| Hangup::new());
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                () = self.planned.next() => {
                    self.follow_plan().await;
                    continue;
                }
                () = hangup.next() => {
                    if let Some(changes) = &mut changes {
                        changes.told().await;
                    }
                }
                () = next(changes.as_mut()) => {}
            }
            if let Some(source) = &source {
                self.reload_from(source).await;
            }
        }
    }

    /// Goes on with the configuration in force under another plan.
    async fn follow_plan(&mut self) {
        match Box::pin(self.apply((*self.config).clone())).await {
            Ok(()) => info!("plan taken over"),
            Err(error) => {
                let problems = crate::run::told(&error);
                error!(%problems, "plan not taken over: the one before stays");
                self.planned.try_again();
            }
        }
    }

    async fn reload_from(&mut self, source: &ConfigSource) {
        let config = match source.read().await {
            Ok(config) => config,
            Err(problems) => {
                self.kept.reloads.ended(ReloadOutcome::Rejected);
                error!(%problems, "configuration not taken over: the one before stays");
                return;
            }
        };
        match self.reload(config).await {
            Ok(Reloaded { needs_restart }) => {
                info!(inbound = ?self.inbound_addrs, outbound = ?self.outbound_addrs, "configuration taken over");
                if !needs_restart.is_empty() {
                    let keys = needs_restart.join(", ");
                    warn!(%keys, "these keys stay as they were until the agent is started again");
                }
            }
            Err(error) => {
                let problems = crate::run::told(&error);
                error!(%problems, "configuration not taken over: the one before stays");
            }
        }
    }
}

/// Undoes in `config` what a running agent cannot change; the keys.
fn put_back(before: &AgentConfig, config: &mut AgentConfig) -> Vec<&'static str> {
    let mut keys = Vec::new();
    if config.threads != before.threads {
        config.threads = before.threads;
        keys.push("agent.threads");
    }
    if config.edges.max_peers != before.edges.max_peers {
        config.edges.max_peers = before.edges.max_peers;
        keys.push("agent.edges.max_peers");
    }
    keys
}

async fn next(changes: Option<&mut Changes>) {
    match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
}

/// SIGHUP, where there is such a thing.
#[derive(Default)]
struct Hangup {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl Hangup {
    fn new() -> Self {
        Self {
            #[cfg(unix)]
            signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok(),
        }
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}
