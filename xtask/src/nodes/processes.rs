//! The collector, the agents and what keeps their rules, as a node of a cluster runs them.
//!
//! In: hosts, the command `tracemap`, the script of `deploy/redirect`. Out: processes that are started and ended in the order of
//! the chart, and their series.
//! Left out on purpose: containers. Users and capabilities are the chart's, file systems are not.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use super::hosts::Host;
use super::topology::{Node, Topology};
use super::{Failure, Plan};
use crate::kills::harness::verdict::get;

/// The chart's user.
const USER: u32 = 10_001;
/// Longer than any start or end takes; reached only where something is wrong.
const PATIENCE: Duration = Duration::from_mins(3);
const ASK_EVERY: Duration = Duration::from_millis(20);
/// What an agent may let wait on disk, and the size of the file system below.
const BUFFER: &str = "64MiB";
const DISK: &str = "96m";

/// A child that is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    what: String,
    log: PathBuf,
}

impl Process {
    fn start(mut command: Command, what: String, dir: &Path) -> Result<Self, Failure> {
        let log = dir.join(format!("{what}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .map_err(|error| format!("cannot start {what}: {error}"))?;
        Ok(Self { child, what, log })
    }

    /// An error with its last words where it ended by itself.
    pub(crate) fn assert_running(&mut self) -> Result<(), Failure> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("{} ended with {status}:\n{}", self.what, self.output()).into()),
        }
    }

    /// Asks it to end by SIGTERM, and waits until it has, which must be without an error.
    pub(crate) async fn end(mut self) -> Result<(), Failure> {
        self.assert_running()?;
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let asked = Instant::now();
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("{} ended with {status}", self.what).into()),
                None if asked.elapsed() > PATIENCE => {
                    return Err(format!("{} does not end:\n{}", self.what, self.output()).into());
                }
                None => tokio::time::sleep(ASK_EVERY).await,
            }
        }
    }

    /// SIGKILL, and its remains are gone when this returns.
    pub(crate) fn kill(mut self) -> Result<(), Failure> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn output(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where everything lies: a copy of the command, configurations, logs, data.
pub(crate) struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new(plan: &Plan) -> Result<Self, Failure> {
        let dir = tempfile::tempdir()?;
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))?;
        let place = Self { dir };
        // The directory it was built in need not be open to the agents' user.
        let (from, to) = (&plan.tracemap, place.path("tracemap"));
        std::fs::hard_link(from, &to).or_else(|_| std::fs::copy(from, &to).map(drop))?;
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let path = self.path(name);
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// A file system of its own for what waits at an agent.
    pub(crate) fn disk(&self, node: &Node) -> Result<Disk, Failure> {
        let path = self.path(&format!("disk{}", node.number));
        std::fs::create_dir(&path)?;
        let size = format!("size={DISK},mode=0755");
        let made = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tracemap-nodes"])
            .arg(&path)
            .status()?;
        if !made.success() {
            return Err("no file system in memory can be mounted for an agent's buffer".into());
        }
        let disk = Disk(path);
        std::fs::create_dir(disk.buffer())?;
        chown(disk.buffer(), Some(USER), Some(USER))?;
        Ok(disk)
    }
}

/// A small file system, unmounted when this is dropped.
pub(crate) struct Disk(PathBuf);

impl Disk {
    fn buffer(&self) -> PathBuf {
        self.0.join("buffer")
    }

    /// Leaves no room on it until [`Disk::empty`].
    pub(crate) fn fill(&self) -> Result<(), Failure> {
        let mut filler = File::create(self.0.join("filler"))?;
        match std::io::copy(&mut std::io::repeat(b'x'), &mut filler) {
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => Ok(()),
            other => Err(format!("the disk did not fill: {other:?}").into()),
        }
    }

    pub(crate) fn empty(&self) -> Result<(), Failure> {
        Ok(std::fs::remove_file(self.0.join("filler"))?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// The collector's host and files.
pub(crate) struct CollectorSeat<'a> {
    place: &'a Place,
    host: &'a Host,
    config: PathBuf,
}

impl<'a> CollectorSeat<'a> {
    pub(crate) fn new(place: &'a Place, topology: &'a Topology, plan: &Plan) -> Result<Self, Failure> {
        let text = format!(
            "collector:\n  otlp: {{ grpc: '0.0.0.0:4317', http: '0.0.0.0:4318' }}\n  web: {{ listen: '0.0.0.0:7070' }}\n  \
             data_dir: '{}'\n  pairing: {{ wait: {}ms, max_memory: 1GiB }}\n  \
             sampling: {{ policies: [{{ name: all, type: always_sample }}] }}\n",
            place.path("data").display(),
            plan.wait.as_millis()
        );
        Ok(Self {
            place,
            host: &topology.collector,
            config: place.config("collector.yaml", &text)?,
        })
    }

    pub(crate) async fn start(&self) -> Result<Process, Failure> {
        let mut command = self
            .host
            .prepared(&self.place.path("tracemap").display().to_string());
        command.arg("collector").arg("--config").arg(&self.config);
        let mut process = Process::start(command, "collector".to_owned(), self.place.dir.path())?;
        ready(self.host, Topology::collector_at(7070), &mut process).await?;
        Ok(process)
    }
}

/// A node's files, and what runs there.
pub(crate) struct NodeSeat<'a> {
    place: &'a Place,
    pub(crate) node: &'a Node,
    pub(crate) disk: Disk,
    config: PathBuf,
    /// `tracemap-redirect.sh`.
    script: PathBuf,
    running: Option<(Process, Process)>,
    /// What keeps the rules of an agent that was killed.
    killed: Option<Process>,
    /// Spans that the agents which have ended had dropped by then.
    dropped: u64,
}

impl<'a> NodeSeat<'a> {
    pub(crate) fn new(place: &'a Place, node: &'a Node, plan: &Plan) -> Result<Self, Failure> {
        let disk = place.disk(node)?;
        let workload = |pod: &super::topology::Pod| {
            format!("  - {{ service: {}, addresses: [{}] }}\n", pod.name, pod.address)
        };
        let text = format!(
            "agent:\n  workloads:\n{}  node:\n    outbound: {{ listen: '0.0.0.0:15001' }}\n    \
             inbound: {{ listen: '0.0.0.0:15006' }}\n  \
             otlp: {{ grpc: '0.0.0.0:4317', http: '0.0.0.0:4318' }}\n  admin: {{ listen: '0.0.0.0:7071' }}\n  \
             drain_delay: {}ms\n  export:\n    endpoint: 'http://{}'\n    compression: zstd\n    \
             buffer: {{ path: '{}', max_size: {BUFFER} }}\n",
            node.pods.iter().map(workload).collect::<String>(),
            plan.drain_delay.as_millis(),
            Topology::collector_at(4317),
            disk.buffer().display(),
        );
        let config = place.config(&format!("agent{}.yaml", node.number), &text)?;
        Ok(Self {
            place,
            node,
            disk,
            config,
            script: plan.script.clone(),
            running: None,
            killed: None,
            dropped: 0,
        })
    }

    /// Starts the agent, and once it listens what keeps the rules; returns when connections are redirected.
    pub(crate) async fn start(&mut self) -> Result<(), Failure> {
        let host = &self.node.host;
        let mut command = host.prepared("setpriv");
        let user = USER.to_string();
        command
            .args(["--reuid", &user, "--regid", &user, "--clear-groups"])
            .args([
                "--inh-caps",
                "-all",
                "--ambient-caps",
                "-all",
                "--bounding-set",
                "-all",
            ])
            .arg(self.place.path("tracemap"))
            .args(["agent", "--config"])
            .arg(&self.config);
        let what = format!("agent{}", self.node.number);
        let mut agent = Process::start(command, what, self.place.dir.path())?;
        ready(host, self.admin(), &mut agent).await?;
        let mut command = host.prepared("sh");
        command
            .arg(&self.script)
            .args(["node", "--keep", "on", "--pods", &self.node.network()])
            .args(["--inbound", "redirect", "--skip-outbound-ports", "4317,4318"])
            .args(["--skip-inbound-ports", "4317,4318"]);
        let what = format!("rules{}", self.node.number);
        let mut keeper = Process::start(command, what, self.place.dir.path())?;
        self.until_rules(true).await?;
        keeper.assert_running()?;
        self.running = Some((agent, keeper));
        Ok(())
    }

    /// Ends both as the kubelet does: what keeps the rules is the pod's container and ends first, the agent its sidecar.
    pub(crate) async fn end(&mut self) -> Result<(), Failure> {
        self.dropped += self.dropped_now().await?;
        let Some((agent, keeper)) = self.running.take() else {
            return Ok(());
        };
        keeper.end().await?;
        agent.end().await
    }

    /// Kills the agent, and waits until its rules are gone.
    pub(crate) async fn kill(&mut self) -> Result<(), Failure> {
        self.dropped += self.dropped_now().await?;
        let Some((agent, keeper)) = self.running.take() else {
            return Ok(());
        };
        agent.kill()?;
        self.killed = Some(keeper);
        self.until_rules(false).await
    }

    /// Starts an agent after one that was killed; what kept its rules ends first.
    pub(crate) async fn start_again(&mut self) -> Result<(), Failure> {
        if let Some(keeper) = self.killed.take() {
            keeper.end().await?;
        }
        self.start().await
    }

    /// Waits until the rules are there, or gone.
    async fn until_rules(&self, there: bool) -> Result<(), Failure> {
        let asked = Instant::now();
        let rules = || self.node.host.sh("iptables -w 10 -t nat -S PREROUTING");
        // Of all rules the last to come, and to go.
        while rules()?.contains("TRACEMAP_INBOUND") != there {
            if asked.elapsed() > PATIENCE {
                let word = if there { "no rules" } else { "rules" };
                return Err(format!("{word} on node {}", self.node.number).into());
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        Ok(())
    }

    /// Spans that its agents dropped, for whatever reason.
    pub(crate) async fn dropped(&self) -> Result<u64, Failure> {
        Ok(self.dropped + self.dropped_now().await?)
    }

    async fn dropped_now(&self) -> Result<u64, Failure> {
        self.series("tracemap_agent_spans_dropped_total{").await
    }

    /// The sum of the agent's series that begin so.
    pub(crate) async fn series(&self, family: &str) -> Result<u64, Failure> {
        let page = ask(&self.node.host, self.admin(), "/metrics").await?;
        let lines = page.lines().filter(|line| line.starts_with(family));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(values.sum::<f64>() as u64)
    }

    pub(crate) fn assert_running(&mut self) -> Result<(), Failure> {
        let Some((agent, keeper)) = &mut self.running else {
            return Ok(());
        };
        agent.assert_running()?;
        keeper.assert_running()
    }

    fn admin(&self) -> SocketAddr {
        self.node.at(7071)
    }
}

async fn ask(host: &Host, web: SocketAddr, path: &'static str) -> Result<String, Failure> {
    let body = host.run(async move { get(web, path, "*/*").await }).await??;
    Ok(String::from_utf8(body.into())?)
}

async fn ready(host: &Host, web: SocketAddr, process: &mut Process) -> Result<(), Failure> {
    let asked = Instant::now();
    while ask(host, web, "/readyz").await.is_err() {
        process.assert_running()?;
        if asked.elapsed() > PATIENCE {
            return Err(format!("{} is not ready:\n{}", process.what, process.output()).into());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    Ok(())
}
