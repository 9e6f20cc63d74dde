//! A program that uses an SDK: made ready once, then run.
//!
//! In: the sources and lock files of a language beside this file, and what is generated for it. Out: commands that send spans.
//! Left out on purpose: installing the languages themselves; `tests/run.sh` does that, and a missing one is a failure.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::sync::OnceCell;

use crate::support::until;

/// Fetching and compiling on a busy machine with a slow registry.
const PATIENCE: Duration = Duration::from_mins(10);

/// A language with an SDK, and the programs that log; the directory of each has manifests of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Language {
    Python,
    Node,
    Java,
    Go,
    /// Java with the integrations of logging, which are made for another release of the SDK.
    JavaLogs,
    /// Go with generated packages, which a newer Go than the SDK's test compiles.
    GoLogs,
    /// The OpenTelemetry Collector, of the parts that the generated pipeline names.
    Collector,
    /// The parser of Grafana Alloy.
    AlloySyntax,
}

impl Language {
    /// The directory of its client.
    fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
            Self::Java => "java",
            Self::Go => "go",
            Self::JavaLogs => "java-logs",
            Self::GoLogs => "go-logs",
            Self::Collector => "otelcol",
            Self::AlloySyntax => "alloy",
        }
    }

    /// The files that the client is made of.
    fn sources(self) -> &'static [&'static str] {
        match self {
            Self::Python => &["client.py", "log.py", "remap.py", "requirements.txt"],
            Self::Node => &["client.js", "log.js", "package.json", "package-lock.json"],
            Self::Java => &["Client.java", "pom.xml"],
            Self::Go | Self::GoLogs | Self::Collector | Self::AlloySyntax => &["main.go", "go.mod", "go.sum"],
            Self::JavaLogs => &["Log.java", "pom.xml"],
        }
    }

    /// What makes the client from a copy of its sources: only versions that the lock files name, and as little
    /// compiling as there can be.
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
            Self::Java => &[
                &[
                    "mvn",
                    "--batch-mode",
                    "--quiet",
                    "dependency:copy-dependencies",
                    "-DincludeScope=runtime",
                    "-DoutputDirectory=jars",
                ],
                &[
                    "javac",
                    "-Xlint:all",
                    "-Werror",
                    "-d",
                    "classes",
                    "-cp",
                    "jars/*",
                    "Client.java",
                ],
            ],
            // The integrations of logging name annotations that only their own build has, so warnings are no errors here.
            Self::JavaLogs => &[
                &[
                    "mvn",
                    "--batch-mode",
                    "--quiet",
                    "dependency:copy-dependencies",
                    "-DincludeScope=runtime",
                    "-DoutputDirectory=jars",
                ],
                &["javac", "-d", "classes", "-cp", "jars/*", "Log.java"],
            ],
            Self::Go => &[&["go", "build", "-mod=readonly", "-o", "client", "."]],
            Self::GoLogs | Self::Collector | Self::AlloySyntax => &[&[
                "go",
                "build",
                "-mod=readonly",
                "-ldflags=-s -w",
                "-o",
                "client",
                ".",
            ]],
        }
    }

    /// What runs the client.
    fn command(self) -> &'static [&'static str] {
        match self {
            Self::Python => &["venv/bin/python", "client.py"],
            Self::Node => &["node", "client.js"],
            Self::Java => &[
                "java",
                "-XX:TieredStopAtLevel=1",
                "-cp",
                "jars/*:classes",
                "Client",
            ],
            Self::JavaLogs => &["java", "-XX:TieredStopAtLevel=1"],
            Self::Go | Self::GoLogs | Self::Collector | Self::AlloySyntax => &["./client"],
        }
    }
}

/// A client that is ready to run.
pub(crate) struct Client {
    language: Language,
    dir: PathBuf,
}

impl Client {
    /// Fetches and compiles the client below `target`, unless that was done before with the same sources.
    ///
    /// # Panics
    /// Where a tool is missing or a step fails, with what it printed.
    pub(crate) async fn build(language: Language) -> Self {
        Self::build_with(language, &[]).await
    }

    /// The same with generated files among its sources, by their paths.
    pub(crate) async fn build_with(language: Language, generated: &[(&str, &str)]) -> Self {
        // Tests run beside each other, and some share a client.
        static READY: [OnceCell<()>; 8] = [const { OnceCell::const_new() }; 8];
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("sdk")
            .join(language.name());
        READY[language as usize]
            .get_or_init(|| build(language, &dir, generated))
            .await;
        Self { language, dir }
    }

    /// Where it was made, with what it was made of.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Places orders and waits for the end; how many spans the SDK delivered, or what it complained of.
    pub(crate) async fn run(&self, protocol: &str, endpoint: &str, orders: u64) -> Result<u64, String> {
        let orders = orders.to_string();
        let words = [self.language.command(), &[protocol, endpoint, &orders]].concat();
        let told = run(&words, &self.dir).await?;
        told.trim()
            .parse()
            .map_err(|_| format!("no number of spans but `{told}`"))
    }
}

async fn build(language: Language, dir: &Path, generated: &[(&str, &str)]) {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/sdk")
        .join(language.name());
    let read = |name: &str| std::fs::read(sources.join(name)).expect("the client's sources are here");
    let sources = language.sources().iter().map(|name| (*name, read(name)));
    let generated = generated
        .iter()
        .map(|(name, text)| (*name, text.as_bytes().to_vec()));
    let contents: Vec<(&str, Vec<u8>)> = sources.chain(generated).collect();
    let made_of: Vec<u8> = contents
        .iter()
        .flat_map(|(_, content)| content.iter().copied())
        .collect();
    let done = dir.join("made-of");
    if std::fs::read(&done).is_ok_and(|before| before == made_of) {
        return;
    }
    let _ = std::fs::remove_dir_all(dir);
    std::fs::create_dir_all(dir).expect("`target` is writable");
    for (name, content) in &contents {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().expect("a file has a directory"))
            .expect("`target` is writable");
        std::fs::write(path, content).expect("`target` is writable");
    }
    for step in language.steps() {
        run(step, dir)
            .await
            .unwrap_or_else(|told| panic!("`{}` failed: {told}", step.join(" ")));
    }
    std::fs::write(done, made_of).expect("`target` is writable");
}

/// Runs a command to its end; what it wrote to standard output, or everything that it wrote if it failed.
pub(crate) async fn run(words: &[&str], dir: &Path) -> Result<String, String> {
    let [mut out, mut errors] =
        std::array::from_fn(|_| tempfile::tempfile().expect("there is room for a file"));
    let (program, args) = words.split_first().expect("a command has a program");
    let handle = |file: &File| Stdio::from(file.try_clone().expect("a file handle can be cloned"));
    let spawned = Command::new(found(program, dir))
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(handle(&out))
        .stderr(handle(&errors))
        .spawn();
    let mut running = Running(spawned.map_err(|error| cannot_start(program, &error))?);
    let status = until(&format!("`{program}` to end"), PATIENCE, async || running.ended()).await;
    let (out, errors) = (text(&mut out), text(&mut errors));
    if status.success() {
        Ok(out)
    } else {
        Err(format!("{status}\n{out}{errors}"))
    }
}

/// A program of the client's own directory, or one that the `PATH` has. Where Go is older than generated code needs,
/// `tests/deploy/tools.sh` has fetched a newer one.
fn found(program: &str, dir: &Path) -> PathBuf {
    let newer = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/deploy/go/bin/go");
    if program == "go" && newer.exists() {
        return newer;
    }

    if program.contains('/') {
        dir.join(program)
    } else {
        program.into()
    }
}

fn cannot_start(program: &str, error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => {
            format!("`{program}` is not installed: `bash tests/run.sh` installs what tests need")
        }
        _ => format!("cannot start `{program}`: {error}"),
    }
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bytes))
        .expect("what was written can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A child process; killed when dropped.
struct Running(Child);

impl Running {
    fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("the child can be waited for")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
