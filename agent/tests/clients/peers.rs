//! A program that is a service or its caller: made ready once, then run.
//!
//! In: the sources and lock files of a language beside this file. Out: a running service's ports, or a caller's verdict.
//! Left out on purpose: installing the languages themselves; `tests/run.sh` does that, and a missing one is a failure.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use agent::Running;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;

use crate::support::soon;

/// Fetching and compiling on a busy machine with a slow registry.
const PATIENCE: Duration = Duration::from_mins(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Python,
    Node,
    Go,
}

impl Language {
    fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
            Self::Go => "go",
        }
    }

    fn sources(self) -> &'static [&'static str] {
        match self {
            Self::Python => &["peer.py", "requirements.txt"],
            Self::Node => &["peer.js", "package.json", "package-lock.json"],
            Self::Go => &["main.go", "go.mod", "go.sum"],
        }
    }

    /// Only versions that the lock files name, and as little compiling as there can be.
    fn steps(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Python => &[
                &["python3", "-m", "venv", "venv"],
                &[
                    "venv/bin/python",
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--require-hashes",
                    "--only-binary=:all:",
                    "--requirement=requirements.txt",
                ],
            ],
            Self::Node => &[&["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]],
            Self::Go => &[&["go", "build", "-mod=readonly", "-o", "peer", "."]],
        }
    }

    fn command(self) -> &'static [&'static str] {
        match self {
            Self::Python => &["venv/bin/python", "peer.py"],
            Self::Node => &["node", "peer.js"],
            Self::Go => &["./peer"],
        }
    }
}

/// A program that is ready to run.
pub(crate) struct Peer {
    pub(crate) language: Language,
    dir: PathBuf,
}

/// A service that runs until this is dropped.
pub(crate) struct Service {
    pub(crate) http: u16,
    pub(crate) grpc: u16,
    pub(crate) websocket: bool,
    _child: Child,
}

impl Peer {
    /// Fetches and compiles below `target`, unless that was done before with the same sources.
    ///
    /// # Panics
    /// Where a tool is missing or a step fails, with what it printed.
    pub(crate) async fn build(language: Language) -> Self {
        static READY: [OnceCell<()>; 3] = [const { OnceCell::const_new() }; 3];
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("clients")
            .join(language.name());
        READY[language as usize]
            .get_or_init(|| build(language, &dir))
            .await;
        Self { language, dir }
    }

    /// Starts the service on ports of its own choice.
    pub(crate) async fn serve(&self) -> Service {
        let mut child = command(self.language.command(), &self.dir)
            .arg("serve")
            .stdout(Stdio::piped())
            .spawn()
            .expect("it was built");
        let mut line = String::new();
        let out = child.stdout.take().expect("piped");
        soon("the service's ports", BufReader::new(out).read_line(&mut line))
            .await
            .expect("a line");
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: `{line}`"));
        let port = |key: &str| {
            told[key]
                .as_u64()
                .and_then(|port| u16::try_from(port).ok())
                .expect("a port")
        };
        Service {
            http: port("http"),
            grpc: port("grpc"),
            websocket: told["websocket"] == true,
            _child: child,
        }
    }

    /// Calls the service behind `agent` in every way; the complaint where something was not as it must be.
    pub(crate) async fn call(&self, agent: &Running, websocket: bool) -> Result<String, String> {
        let [http, grpc, proxy] = [
            agent.inbound_addrs[0],
            agent.inbound_addrs[1],
            agent.outbound_addrs[0],
        ]
        .map(|address| address.to_string());
        let websocket = websocket.to_string();
        let words = [
            self.language.command(),
            &["call", &http, &grpc, &proxy, &websocket],
        ]
        .concat();
        run(&words, &self.dir, &[]).await
    }
}

async fn build(language: Language, dir: &Path) {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(language.name());
    let read = |name: &&str| std::fs::read(sources.join(name)).expect("the sources are here");
    let contents: Vec<_> = language.sources().iter().map(read).collect();
    let (done, made_of) = (dir.join("made-of"), contents.concat());
    if std::fs::read(&done).is_ok_and(|before| before == made_of) {
        return;
    }
    let _ = std::fs::remove_dir_all(dir);
    std::fs::create_dir_all(dir).expect("`target` is writable");
    for (name, content) in language.sources().iter().zip(&contents) {
        std::fs::write(dir.join(name), content).expect("`target` is writable");
    }
    for step in language.steps() {
        run(step, dir, &[])
            .await
            .unwrap_or_else(|told| panic!("`{}` failed: {told}", step.join(" ")));
    }
    std::fs::write(done, made_of).expect("`target` is writable");
}

/// Runs a command to its end; what it wrote to standard output, or everything that it wrote if it failed.
pub(crate) async fn run(words: &[&str], dir: &Path, env: &[(&str, &str)]) -> Result<String, String> {
    let running = command(words, dir).envs(env.iter().copied()).output();
    let output = tokio::time::timeout(PATIENCE, running)
        .await
        .map_err(|_| format!("`{}` did not end", words.join(" ")))?
        .map_err(|error| {
            let program = words.first().copied().unwrap_or_default();
            format!("cannot start `{program}` ({error}): `bash tests/run.sh` installs what tests need")
        })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(format!(
        "{}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    ))
}

/// A program of the peer's own directory or of the `PATH`; killed when dropped.
fn command(words: &[&str], dir: &Path) -> Command {
    let (program, args) = words.split_first().expect("a command has a program");
    let program = if program.contains('/') {
        dir.join(program)
    } else {
        program.into()
    };
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}
