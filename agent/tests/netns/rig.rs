//! Hosts made of network namespaces, an agent in one of them, and the rules that users are given.

use std::fmt::Write as _;
use std::fs::File;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::support::{Collector, PATIENCE};

/// The user that the agent runs as.
pub(crate) const AGENT_UID: &str = "15001";
/// The script that users are given.
pub(crate) const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../deploy/redirect/tracemap-redirect.sh"
);

/// Says what is missing where something is.
pub(crate) fn needs() {
    assert!(
        rustix::process::geteuid().is_root(),
        "these tests make network namespaces and rules: run them as root"
    );
    for tool in ["ip", "iptables", "ip6tables", "setpriv", "curl", "openssl"] {
        let found = Command::new("sh")
            .args(["-c", &format!("command -v {tool}")])
            .output();
        assert!(
            found.is_ok_and(|found| found.status.success()),
            "these tests need `{tool}`, which is not installed"
        );
    }
}

/// A host: a network namespace with a thread that lives in it.
pub(crate) struct Host {
    pub(crate) name: String,
    runtime: Handle,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    pub(crate) fn new(role: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        needs();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("tm{}-{number}-{role}", std::process::id());
        ip(&["netns", "add", &name]);
        let (told, runtime) = mpsc::channel();
        let (end, ended) = oneshot::channel();
        let path = PathBuf::from("/run/netns").join(&name);
        let thread = std::thread::spawn(move || {
            let namespace = File::open(path).expect("the namespace");
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("into the namespace");
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            told.send(runtime.handle().clone()).expect("somebody waits");
            let _ = runtime.block_on(ended);
        });
        let runtime = runtime.recv().expect("a runtime");
        let host = Self {
            name,
            runtime,
            end: Some(end),
            thread: Some(thread),
        };
        host.sh(
            "ip link set lo up; sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0",
        );
        host
    }

    /// Runs `future` on this host, for as long as anything takes here.
    pub(crate) fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let (answer, answered) = mpsc::channel();
        let task = self.runtime.spawn(async move {
            let _ = answer.send(tokio::time::timeout(PATIENCE, future).await);
        });
        match answered.recv() {
            Ok(Ok(value)) => value,
            Ok(Err(_)) => panic!("it took too long on `{}`", self.name),
            Err(_) => {
                // It panicked, and says why.
                let panic = futures_panic(&self.runtime, task);
                std::panic::resume_unwind(panic);
            }
        }
    }

    /// Runs a program on this host; what it said.
    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = self.prepared(program);
        command.args(arguments).output().expect("a program")
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
    pub(crate) fn sh(&self, script: &str) -> String {
        let output = self.command("sh", &["-ec", script]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`{script}` on `{}`: {said}", self.name);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs the script that users are given; whether it succeeded, and what it said.
    pub(crate) fn redirect(&self, arguments: &str) -> (bool, String) {
        let output = self.command("sh", &["-c", &format!("sh {SCRIPT} {arguments}")]);
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }

    /// Asks for `url` with curl; status and body. Panics where there is no answer.
    pub(crate) fn curl(&self, arguments: &[&str]) -> String {
        let output = self.command("curl", &[&["-sS", "--max-time", "15"], arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "curl {arguments:?} on `{}`: {said}",
            self.name
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Every rule and every rule of routing.
    pub(crate) fn rules(&self) -> String {
        let tables = ["iptables", "ip6tables"]
            .map(|tool| format!("for table in nat mangle; do {tool} -t $table -S; done; "));
        self.sh(&format!(
            "{}ip rule; ip -6 rule; ip route show table all; ip -6 route show table all",
            tables.concat()
        ))
    }
}

fn futures_panic(runtime: &Handle, task: tokio::task::JoinHandle<()>) -> Box<dyn std::any::Any + Send> {
    let (told, answer) = mpsc::channel();
    runtime.spawn(async move {
        let _ = told.send(task.await);
    });
    match answer.recv() {
        Ok(Err(error)) if error.is_panic() => error.into_panic(),
        other => Box::new(format!("the task ended without an answer: {other:?}")),
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("`ip`");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments:?}: {said}");
}

/// Joins two hosts by a cable of which each end has its addresses.
pub(crate) fn cable(one: &Host, ones: &[&str], other: &Host, others: &[&str]) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let names = [format!("to{number}a"), format!("to{number}b")];
    ip(&[
        "link",
        "add",
        &names[0],
        "netns",
        &one.name,
        "type",
        "veth",
        "peer",
        "name",
        &names[1],
        "netns",
        &other.name,
    ]);
    for (host, name, addresses) in [(one, &names[0], ones), (other, &names[1], others)] {
        let mut script = format!("ip link set {name} up\n");
        for address in addresses {
            let nodad = if address.contains(':') { " nodad" } else { "" };
            let _ = writeln!(script, "ip address add {address} dev {name}{nodad}");
        }
        host.sh(&script);
    }
}

/// One host with an agent, one with everybody else. Both know each other by IPv4 and IPv6.
pub(crate) struct Pair {
    pub(crate) app: Host,
    pub(crate) far: Host,
    pub(crate) collector: Collector,
    agent: Option<AgentProcess>,
}

pub(crate) const APP: &str = "10.99.0.1";
pub(crate) const FAR: &str = "10.99.0.2";
pub(crate) const APP6: &str = "fd99::1";
pub(crate) const FAR6: &str = "fd99::2";

impl Pair {
    /// With rules as the script makes them from `rules`, and an agent with `config`, in which spans go to the collector.
    pub(crate) fn new(rules: &str, config: &str) -> Self {
        let pair = Self::without_agent();
        let (made, said) = pair.app.redirect(rules);
        assert!(made, "{said}");
        pair.with_agent(config)
    }

    pub(crate) fn without_agent() -> Self {
        let (app, far) = (Host::new("app"), Host::new("far"));
        cable(
            &app,
            &["10.99.0.1/24", "fd99::1/64"],
            &far,
            &["10.99.0.2/24", "fd99::2/64"],
        );
        let collector = far.run(Collector::start_at(at(FAR, 4317)));
        Self {
            app,
            far,
            collector,
            agent: None,
        }
    }

    pub(crate) fn with_agent(mut self, config: &str) -> Self {
        self.agent = Some(AgentProcess::start(&self.app, config, &self.collector));
        self
    }

    /// Ends the agent as a crash does.
    pub(crate) fn kill_agent(&mut self) {
        self.agent = None;
    }

    /// What the agent says of a series about redirected connections.
    pub(crate) fn redirected(&self, direction: &str, outcome: &str) -> f64 {
        redirected(&self.app, direction, outcome)
    }

    /// Waits until that is `value`.
    pub(crate) fn until_redirected(&self, direction: &str, outcome: &str, value: f64) {
        until(&format!("{outcome} {value}"), || {
            (self.redirected(direction, outcome) - value).abs() < f64::EPSILON
        });
    }
}

/// What the agent on `host` says of a series about redirected connections; 0 where it says nothing.
pub(crate) fn redirected(host: &Host, direction: &str, outcome: &str) -> f64 {
    let text = host.curl(&["http://127.0.0.1:7071/metrics"]);
    let series = format!(
        "tracemap_agent_redirected_connections_total{{direction=\"{direction}\",outcome=\"{outcome}\"}} "
    );
    let line = text.lines().find_map(|line| line.strip_prefix(series.as_str()));
    line.map_or(0.0, |value| value.trim().parse().expect("a number"))
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what} never came");
        std::thread::yield_now();
    }
}

/// An address with a port.
pub(crate) fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse::<IpAddr>().expect("an address"), port)
}

/// An agent in a process of its own, as the user that the rules leave alone, with no capability but `CAP_NET_ADMIN` and that
/// only where it is needed.
pub(crate) struct AgentProcess {
    child: Child,
    directory: tempfile::TempDir,
}

impl AgentProcess {
    pub(crate) fn start(host: &Host, config: &str, collector: &Collector) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("agent.yaml");
        let whole = format!(
            "agent:\n  export: {{ endpoint: '{}', delay: 0s, drain: 1s }}\n{}\n",
            collector.endpoint(),
            indented(config)
        );
        std::fs::write(&path, &whole).expect("written");
        open_to_all(directory.path());
        let capabilities: &[&str] = if config.contains("tproxy") || config.contains("mark:") {
            &[
                "--inh-caps",
                "-all,+net_admin",
                "--ambient-caps",
                "-all,+net_admin",
            ]
        } else {
            &["--inh-caps", "-all", "--ambient-caps", "-all"]
        };
        let child = host
            .prepared("setpriv")
            .args(["--reuid", AGENT_UID, "--regid", AGENT_UID, "--clear-groups"])
            .args(capabilities)
            .arg(binary())
            .arg("--config")
            .arg(&path)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("RUST_LOG", "debug")
            .stdout(Stdio::null())
            .stderr(File::create(directory.path().join("log")).expect("a file"))
            .spawn()
            .expect("an agent");
        let mut agent = Self { child, directory };
        until("the agent", || {
            let ended = agent.child.try_wait().expect("a child");
            let log = || std::fs::read_to_string(path.with_file_name("log")).unwrap_or_default();
            assert!(ended.is_none(), "the agent ended: {}", log());
            let ready = host.command("curl", &["-sf", "http://127.0.0.1:7071/readyz"]);
            ready.status.success()
        });
        agent
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            eprintln!("the agent's last words:\n{}", tail(&log, 40));
        }
    }
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn indented(config: &str) -> String {
    config
        .lines()
        .fold(String::new(), |out, line| out + "  " + line + "\n")
}

/// The agent where any user may run it; the directory it was built in need not be.
fn binary() -> &'static Path {
    static COPY: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = COPY.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        open_to_all(directory.path());
        let path = directory.path().join("tracemap-agent");
        std::fs::copy(env!("CARGO_BIN_EXE_tracemap-agent"), &path).expect("a copy");
        (directory, path)
    });
    path
}

fn open_to_all(directory: &Path) {
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).expect("permissions");
}
