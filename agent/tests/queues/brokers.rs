//! Brokers and clients as processes of their own, and an agent between them.
//!
//! In: a program with its arguments, or a script with its packages. Out: a broker that listens, until dropped; what a client
//! printed; spans.
//! Left out on purpose: installing brokers and languages. `tests/run.sh` does that, and a missing one is a failure.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use agent::Running;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;

use crate::support::{Collector, Seen, soon, start};

/// Longer than a broker takes to start on a busy machine, or a registry to answer.
const PATIENCE: Duration = Duration::from_mins(5);

/// A broker that runs until this is dropped, in a directory of its own.
pub(crate) struct Broker {
    pub(crate) port: u16,
    pub(crate) dir: TempDir,
    child: Child,
}

/// A port that was free just now. A broker that takes its ports from a file cannot choose one itself.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    listener.local_addr().expect("its address").port()
}

/// A program of the `PATH`, or of Debian's `/usr/sbin`; killed when dropped, silent but for the file `log` in `dir`.
pub(crate) fn program(name: &str, dir: &Path) -> Command {
    let sbin = Path::new("/usr/sbin").join(name);
    let mut command = if sbin.exists() {
        Command::new(sbin)
    } else {
        Command::new(name)
    };
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .expect("a log");
    command
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log)
        .kill_on_drop(true);
    command
}

impl Broker {
    /// Starts what `command` makes of a fresh directory and a free port, and waits until it listens there.
    ///
    /// # Panics
    /// Where it does not; with what it logged.
    pub(crate) async fn start(command: impl FnOnce(&Path, u16) -> Command) -> Self {
        let (dir, port) = (tempfile::tempdir().expect("a directory"), free_port());
        let child = spawn(&mut command(dir.path(), port));
        let mut broker = Self { port, dir, child };
        broker.listens().await;
        broker
    }

    /// Kills it without a word, and starts it anew with `command` on the same port and what it left in its directory.
    pub(crate) async fn restart(&mut self, command: impl FnOnce(&Path, u16) -> Command) {
        self.kill().await;
        self.child = spawn(&mut command(self.dir.path(), self.port));
        self.listens().await;
    }

    /// Kills it without a word.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    async fn listens(&mut self) {
        let address = self.address();
        let listens = async {
            while TcpStream::connect(address).await.is_err() {
                if let Ok(Some(ended)) = self.child.try_wait() {
                    panic!("the broker ended ({ended}): {}", log(self.dir.path()));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let listened = tokio::time::timeout(PATIENCE, listens).await;
        assert!(
            listened.is_ok(),
            "the broker never listened: {}",
            log(self.dir.path())
        );
    }
}

fn spawn(command: &mut Command) -> Child {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    command.spawn().unwrap_or_else(|error| {
        panic!("cannot start `{program}` ({error}): `bash tests/run.sh` installs what tests need")
    })
}

fn log(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("log")).unwrap_or_default()
}

/// An agent for the service `cart` before a broker; `keys` are more keys of its `queues`.
pub(crate) async fn before(protocol: &str, broker: SocketAddr, keys: &str, collector: &Collector) -> Running {
    start(&format!(
        "{{ service: cart, admin: {{ listen: '127.0.0.1:0' }}, outbound: {{ listen: '127.0.0.1:0' }},
           export: {{ endpoint: '{}', delay: 0s }},
           queues: [{{ protocol: {protocol}, listen: '127.0.0.1:0', upstream: '{broker}', {keys} }}] }}",
        collector.endpoint()
    ))
    .await
}

/// The spans of `collector` once there are `number` that are so.
pub(crate) async fn spans(collector: &Collector, number: usize, is_it: impl Fn(&Seen) -> bool) -> Vec<Seen> {
    let found = async {
        loop {
            let found: Vec<_> = collector.all().into_iter().filter(|seen| is_it(seen)).collect();
            if found.len() >= number {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    soon(&format!("{number} spans"), found).await
}

/// Runs a script of `tests/queues/python` with the packages of its `requirements.txt`, made ready once below `target`; what it
/// printed.
///
/// # Panics
/// Where it fails, with what it printed.
pub(crate) async fn python(script: &str, arguments: &[&str]) -> String {
    static READY: OnceCell<PathBuf> = OnceCell::const_new();
    let python = READY.get_or_init(python_with_packages).await;
    let script = scripts().join(script);
    run(Command::new(python).arg(script).args(arguments)).await
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/queues/python")
}

async fn python_with_packages() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("queues-python");
    let requirements = scripts().join("requirements.txt");
    let wanted = std::fs::read(&requirements).expect("the requirements are here");
    let (python, done) = (dir.join("bin/python"), dir.join("made-of"));
    if std::fs::read(&done).is_ok_and(|before| before == wanted) {
        return python;
    }
    let _ = std::fs::remove_dir_all(&dir);
    run(Command::new("python3").args(["-m", "venv"]).arg(&dir)).await;
    let install = ["-m", "pip", "install", "--quiet", "--only-binary=:all:", "-r"];
    run(Command::new(&python).args(install).arg(&requirements)).await;
    std::fs::write(done, wanted).expect("`target` is writable");
    python
}

/// Runs a command to its end; what it printed.
///
/// # Panics
/// Where it fails or does not end, with all that it printed.
pub(crate) async fn run(command: &mut Command) -> String {
    let told = format!("{:?}", command.as_std());
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, running)
        .await
        .unwrap_or_else(|_| panic!("{told} did not end"))
        .unwrap_or_else(|error| {
            panic!("{told} not started ({error}): `bash tests/run.sh` installs what tests need")
        });
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{told}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// How many messages a client says were acknowledged.
pub(crate) struct Progress(PathBuf);

impl Progress {
    /// Of a client that keeps a file in `dir`.
    pub(crate) fn new(dir: &Path) -> Self {
        Self(dir.join("acknowledged"))
    }

    fn now(&self) -> u64 {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        text.parse().unwrap_or_default()
    }

    /// Waits for `more` acknowledgements from now on, where the client began.
    pub(crate) async fn goes_on_by(&self, more: u64) {
        let begun = async {
            while !self.0.exists() {
                tokio::task::yield_now().await;
            }
        };
        // Its packages may have to be fetched first.
        let begun = tokio::time::timeout(PATIENCE, begun).await;
        begun.expect("the client never began");
        let wanted = self.now() + more;
        let reached = async {
            while self.now() < wanted {
                tokio::task::yield_now().await;
            }
        };
        soon(&format!("acknowledgement {wanted}"), reached).await;
    }
}

/// Numbered messages of `script`, through `port`, while `meanwhile` happens to agent or broker; no acknowledged one may be
/// lost, and none may be there twice.
pub(crate) async fn nothing_is_lost<F: Future<Output = ()>>(
    script: &str,
    port: u16,
    direct: u16,
    meanwhile: impl FnOnce(Progress) -> F,
) {
    let dir = tempfile::tempdir().expect("a directory");
    let progress = Progress::new(dir.path());
    let (port, direct, place) = (
        port.to_string(),
        direct.to_string(),
        dir.path().display().to_string(),
    );
    let arguments = ["stream", &port, &direct, &place];
    let happen = async {
        meanwhile(progress).await;
        std::fs::write(dir.path().join("stop"), "").expect("a file");
    };
    let (told, ()) = tokio::join!(python(script, &arguments), happen);
    let told: Value = serde_json::from_str(&told).expect("an object");
    assert_eq!(
        (&told["lost"], &told["doubled"]),
        (&json!([]), &json!([])),
        "{told}"
    );
}

/// The agent as a process of its own, at a port that stays the same.
pub(crate) struct AgentProcess {
    dir: tempfile::TempDir,
    pub(crate) queue: SocketAddr,
    child: Child,
}

impl AgentProcess {
    pub(crate) async fn start(protocol: &str, broker: SocketAddr) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let queue: SocketAddr = ([127, 0, 0, 1], free_port()).into();
        let yaml = format!(
            "agent:\n  service: cart\n  admin: {{ listen: '127.0.0.1:0' }}\n  \
             queues: [{{ protocol: {protocol}, listen: '{queue}', upstream: '{broker}' }}]\n"
        );
        std::fs::write(dir.path().join("agent.yaml"), yaml).expect("a configuration");
        let child = agent_process(&dir.path().join("agent.yaml"), queue).await;
        Self { dir, queue, child }
    }

    /// Kills it without a word, and starts it anew.
    pub(crate) async fn restart(&mut self) {
        self.child.kill().await.expect("it can be killed");
        self.child = agent_process(&self.dir.path().join("agent.yaml"), self.queue).await;
    }
}

/// The agent as a process of its own, once it listens at `queue`.
pub(crate) async fn agent_process(config: &Path, queue: SocketAddr) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracemap-agent"));
    command.arg("--config").arg(config).env("RUST_LOG", "error");
    let child = spawn(command.kill_on_drop(true));
    let listens = async {
        while TcpStream::connect(queue).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    soon("the agent", listens).await;
    child
}
