//! An agent as a process of its own, under a proof's load.
//!
//! In: the program `tracemap-agent`, a service, and what else its configuration says. Out: addresses, counters, memory, files.
//! Left out on purpose: what is asked of it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Failure, output, root};

/// Longer than any start takes; reached only where something is wrong.
const PATIENCE: Duration = Duration::from_mins(1);
const ASK_EVERY: Duration = Duration::from_millis(50);

/// A running agent; killed when dropped.
pub(crate) struct AgentProcess {
    child: Child,
    pub(crate) inbound: SocketAddr,
    pub(crate) outbound: SocketAddr,
    admin: SocketAddr,
    _dir: TempDir,
}

/// Builds the agent alone and says where cargo put it.
pub(crate) fn build() -> Result<PathBuf, Failure> {
    let cargo = || {
        let mut command = Command::new("cargo");
        command.current_dir(root());
        command
    };
    output(cargo().args(["build", "--release", "--locked", "--package", "tracemap-agent"]))?;
    let metadata = output(cargo().args(["metadata", "--locked", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_slice(&metadata)?;
    let target = metadata["target_directory"]
        .as_str()
        .ok_or("`cargo metadata` names no target directory")?;
    Ok(Path::new(target).join("release/tracemap-agent"))
}

impl AgentProcess {
    /// Starts it before `service`; `more` are further keys of the section `agent`, each on a line.
    pub(crate) fn start(program: &Path, service: SocketAddr, more: &str) -> Result<Self, Failure> {
        let dir = tempfile::tempdir()?;
        let free = || -> Result<SocketAddr, Failure> { Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?) };
        let (inbound, outbound, admin) = (free()?, free()?, free()?);
        let path = dir.path().join("agent.yaml");
        let text = format!(
            "agent:\n  service: cart\n  admin: {{ listen: '{admin}' }}\n  outbound: {{ listen: '{outbound}' }}\n  \
             inbound: [{{ listen: '{inbound}', upstream: 'http://{service}' }}]\n{more}"
        );
        std::fs::write(&path, text)?;
        let mut command = Command::new(program);
        command.arg("--config").arg(&path).env("RUST_LOG", "off");
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start `{}`: {error}", program.display()))?;
        let mut agent = Self {
            child,
            inbound,
            outbound,
            admin,
            _dir: dir,
        };
        agent.until_ready()?;
        Ok(agent)
    }

    fn until_ready(&mut self) -> Result<(), Failure> {
        let until = Instant::now() + PATIENCE;
        while self.get("/readyz").is_err() {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the agent ended with {status} before it was ready").into());
            }
            if Instant::now() > until {
                return Err("the agent was not ready in time".into());
            }
            pause(ASK_EVERY);
        }
        Ok(())
    }

    fn get(&self, path: &str) -> Result<String, Failure> {
        let mut stream = TcpStream::connect_timeout(&self.admin, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// The sum of the series that begin so.
    pub(crate) fn metric(&self, series: &str) -> Result<u64, Failure> {
        let text = self.get("/metrics")?;
        let lines = text.lines().filter(|line| line.starts_with(series));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(values.sum::<f64>() as u64)
    }

    /// Waits until a sum of series is `value`; what it was in the end.
    pub(crate) fn until_metric(&self, series: &str, value: u64) -> Result<u64, Failure> {
        let until = Instant::now() + PATIENCE;
        loop {
            let now = self.metric(series)?;
            if now == value || Instant::now() > until {
                return Ok(now);
            }
            pause(ASK_EVERY);
        }
    }

    /// Resident memory, KiB.
    pub(crate) fn rss_kib(&self) -> Result<u64, Failure> {
        rss_kib(self.child.id())
    }

    /// Its process id, for who samples it from another thread.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Open files.
    pub(crate) fn files(&self) -> Result<usize, Failure> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }
}

/// Waits before it is asked again.
#[expect(
    clippy::disallowed_methods,
    reason = "another process is asked from outside any runtime, and tells nobody when it is there"
)]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Resident memory of a process, KiB.
pub(crate) fn rss_kib(process: u32) -> Result<u64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.ok_or_else(|| "`/proc` says nothing of the agent's memory".into())
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
