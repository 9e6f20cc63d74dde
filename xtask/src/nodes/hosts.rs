//! Hosts made of network namespaces.
//!
//! In: roles, cables, shell commands. Out: namespaces that go with their [`Host`], and runtimes whose sockets are in them.
//! Left out on purpose: file systems and processes of their own. A host's programs see this machine's.

use std::fs::File;
use std::future::Future;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::Failure;

/// What is called here; all of it is part of Debian.
const TOOLS: [&str; 6] = ["ip", "iptables", "setpriv", "mount", "umount", "sysctl"];

/// A network namespace, and a thread that lives in it; both end when this is dropped.
pub(crate) struct Host {
    name: String,
    runtime: Handle,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Says what is missing where something is.
pub(crate) fn check() -> Result<(), Failure> {
    if !rustix::process::geteuid().is_root() {
        return Err("network namespaces and rules are root's to make: run this as root".into());
    }
    for tool in TOOLS {
        let found = Command::new("sh")
            .args(["-c", &format!("command -v {tool}")])
            .stdout(Stdio::null())
            .status()?;
        if !found.success() {
            return Err(format!("`{tool}` is not installed").into());
        }
    }
    Ok(())
}

impl Host {
    pub(crate) fn new(role: &str) -> Result<Self, Failure> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("tmn{}-{number}-{role}", std::process::id());
        ip(&["netns", "add", &name])?;
        let path = PathBuf::from("/run/netns").join(&name);
        let (told, heard) = std::sync::mpsc::channel();
        let (end, ended) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = entered(&path);
            let handle = runtime.as_ref().map(|runtime| runtime.handle().clone());
            let _ = told.send(handle.map_err(ToString::to_string));
            if let Ok(runtime) = runtime {
                let _ = runtime.block_on(ended);
            }
        });
        let runtime = heard.recv()?;
        let host = Self {
            name,
            runtime: runtime?,
            end: Some(end),
            thread: Some(thread),
        };
        host.sh("ip link set lo up; sysctl -qw net.ipv4.ip_forward=1")?;
        Ok(host)
    }

    /// Where tasks of this host run.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Runs `future` on this host.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Failure> {
        Ok(self.runtime.spawn(future).await?)
    }

    /// A program that is to run on this host.
    pub(crate) fn prepared(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name, program])
            .stdin(Stdio::null());
        command
    }

    /// Runs shell commands on this host, which must succeed; what they said.
    pub(crate) fn sh(&self, script: &str) -> Result<String, Failure> {
        let output = self.prepared("sh").args(["-ec", script]).output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("`{script}` on `{}`: {}", self.name, said.trim()).into())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = ip(&["netns", "del", &self.name]);
    }
}

fn entered(namespace: &Path) -> std::io::Result<tokio::runtime::Runtime> {
    let namespace = File::open(namespace)?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
    Builder::new_current_thread().enable_all().build()
}

fn ip(arguments: &[&str]) -> Result<(), Failure> {
    let output = Command::new("ip").args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {arguments:?}: {}", said.trim()).into())
}

/// One end of a cable: the host, the name of its interface, the address with its network.
pub(crate) struct End<'a>(pub(crate) &'a Host, pub(crate) &'a str, pub(crate) &'a str);

/// Joins two hosts by a cable.
pub(crate) fn cable(one: &End<'_>, other: &End<'_>) -> Result<(), Failure> {
    let names = [
        "link",
        "add",
        "name",
        one.1,
        "netns",
        &one.0.name,
        "type",
        "veth",
        "peer",
        "name",
        other.1,
        "netns",
        &other.0.name,
    ];
    ip(&names)?;
    for End(host, interface, address) in [one, other] {
        host.sh(&format!(
            "ip address add {address} dev {interface}; ip link set {interface} up"
        ))?;
    }
    Ok(())
}
