//! The collector, or agent, that is killed.
//!
//! In: the command `tracemap` and a directory. Out: a process that begins where the one before it ended.
//! Left out on purpose: waiting until it has ended gracefully. That is what the other tests do.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Failure, verdict};

/// Longer than any replay takes; reached only where something is wrong.
const PATIENCE: Duration = Duration::from_mins(2);
const ASK_EVERY: Duration = Duration::from_millis(20);

/// Where each collector in turn listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) web: SocketAddr,
}

impl Addresses {
    /// Addresses on loopback that were free a moment ago.
    pub(crate) fn free() -> Result<Self, Failure> {
        let listeners = (0..3).map(|_| TcpListener::bind("127.0.0.1:0"));
        let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
        let address = |at: usize| {
            listeners
                .get(at)
                .ok_or("too few listeners")?
                .local_addr()
                .map_err(Failure::from)
        };
        Ok(Self {
            grpc: address(0)?,
            http: address(1)?,
            web: address(2)?,
        })
    }

    /// A configuration that keeps every trace; the path of the file.
    pub(crate) fn write_config(&self, dir: &Path, wait: Duration) -> Result<PathBuf, Failure> {
        let Self { grpc, http, web } = self;
        let (data, wait) = (dir.join("data"), wait.as_millis());
        let text = format!(
            "collector:\n  otlp: {{ grpc: '{grpc}', http: '{http}' }}\n  web: {{ listen: '{web}' }}\n  data_dir: '{}'\n  \
             pairing: {{ wait: {wait}ms, max_memory: 1GiB }}\n  \
             sampling: {{ policies: [{{ name: all, type: always_sample }}] }}\n",
            data.display()
        );
        let path = dir.join("tracemap.yaml");
        std::fs::write(&path, text)?;
        Ok(path)
    }
}

/// A running collector or agent; dropped, it is killed.
pub(crate) struct Victim {
    child: Child,
    what: &'static str,
    log: PathBuf,
    web: SocketAddr,
    started: Instant,
}

impl Victim {
    /// Starts `what`, a command of `tracemap`; it may take a while until it is ready, which `web` says.
    pub(crate) fn start(
        tracemap: &Path,
        what: &'static str,
        config: &Path,
        web: SocketAddr,
    ) -> Result<Self, Failure> {
        let log = config.with_file_name(format!("{what}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        let started = Instant::now();
        let child = Command::new(tracemap)
            .arg(what)
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .map_err(|error| format!("cannot start `{}`: {error}", tracemap.display()))?;
        Ok(Self {
            child,
            what,
            log,
            web,
            started,
        })
    }

    /// Waits until it takes spans; how long that took since its start.
    pub(crate) async fn ready(&mut self) -> Result<Duration, Failure> {
        while !self.is_ready().await {
            self.assert_running()?;
            if self.started.elapsed() > PATIENCE {
                return Err(format!("not ready within {PATIENCE:?}:\n{}", self.output()).into());
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        Ok(self.started.elapsed())
    }

    /// Whether it takes spans.
    pub(crate) async fn is_ready(&self) -> bool {
        verdict::get(self.web, "/readyz", "*/*").await.is_ok()
    }

    /// An error with its last words where it ended by itself.
    pub(crate) fn assert_running(&mut self) -> Result<(), Failure> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("the {} ended with {status}:\n{}", self.what, self.output()).into()),
        }
    }

    /// Asks it to end, by SIGTERM.
    pub(crate) fn terminate(&self) -> Result<(), Failure> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        Ok(())
    }

    /// SIGKILL, and its remains are gone when this returns.
    pub(crate) fn kill(mut self) -> Result<(), Failure> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// The end of what all of them wrote so far.
    pub(crate) fn output(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
