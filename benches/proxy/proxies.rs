//! The contestants: found, started, and asked whether they did the work.
//!
//! In: programs. Out: a running [`Proxy`] before the service, with a sink of its own where it traces.
//! Left out on purpose: what is measured of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use map::catalogue as names;
use serde::Serialize;
use tempfile::TempDir;

use crate::client::Protocol;
use crate::envoy::{Batches, Tracing};
use crate::process::{Contestant, READY_EVERY, free_addresses, until};
use crate::servers::Role;
use crate::{Failure, envoy, http, nginx};

/// Threads, or worker processes, of each contestant.
pub(crate) const WORKERS: usize = 2;
const ASK_EVERY: Duration = Duration::from_millis(50);
/// The contestant that the goals are about, and the one that does as little as nginx.
pub(crate) const AGENT: &str = "agent, all traced";
pub(crate) const AGENT_UNTRACED: &str = "agent, no tracing";
pub(crate) const ENVOY: &str = "envoy, all traced";

/// One way to set up a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) name: &'static str,
    program: Program,
    pub(crate) traced: bool,
}

#[derive(Clone, Copy, Debug)]
enum Program {
    /// With so many threads for requests.
    Agent(usize),
    Envoy(Batches),
    Nginx,
}

const SETUPS: [Setup; 7] = [
    Setup {
        name: AGENT,
        program: Program::Agent(WORKERS),
        traced: true,
    },
    Setup {
        name: "agent, all traced, 1 thread",
        program: Program::Agent(1),
        traced: true,
    },
    Setup {
        name: ENVOY,
        program: Program::Envoy(Batches::Large),
        traced: true,
    },
    Setup {
        name: "envoy, all traced, 5 a batch",
        program: Program::Envoy(Batches::Default),
        traced: true,
    },
    Setup {
        name: AGENT_UNTRACED,
        program: Program::Agent(WORKERS),
        traced: false,
    },
    Setup {
        name: "envoy, no tracing",
        program: Program::Envoy(Batches::Large),
        traced: false,
    },
    Setup {
        name: "nginx, no tracing",
        program: Program::Nginx,
        traced: false,
    },
];

/// What there is to measure.
pub(crate) struct Programs {
    agent: PathBuf,
    envoy: Option<PathBuf>,
    nginx: Option<PathBuf>,
    filter: String,
}

/// A program as it lies on disk.
#[derive(Debug, Serialize)]
pub(crate) struct ProgramFigure {
    pub(crate) name: &'static str,
    /// As it says itself; the agent is this build's.
    pub(crate) version: String,
    /// MiB of the file.
    pub(crate) mib: f64,
    /// MiB without symbols and debug information; absent without `strip`.
    pub(crate) stripped_mib: Option<f64>,
}

impl Programs {
    /// Those that were named, else those on the PATH; of the contestants only those whose name has `filter` in it.
    pub(crate) fn find(
        agent: Option<&Path>,
        envoy: Option<&Path>,
        nginx: Option<&Path>,
        filter: &str,
    ) -> Result<Self, Failure> {
        let agent = agent.map(Path::to_path_buf).or_else(built_agent).ok_or(
            "there is no `tracemap-agent`: build it with `cargo build --profile dist -p tracemap-agent`, or name one with \
             `--agent`",
        )?;
        let peer = |name: &str, named: Option<&Path>| {
            let found = named.map(Path::to_path_buf).or_else(|| on_path(name));
            if found.is_none() {
                eprintln!(
                    "proxy: there is no `{name}` on the PATH, so there is a contestant fewer: `--peer-{name} PATH`"
                );
            }
            found
        };
        Ok(Self {
            agent,
            envoy: peer("envoy", envoy),
            nginx: peer("nginx", nginx),
            filter: filter.to_owned(),
        })
    }

    /// The contestants whose programs are there.
    pub(crate) fn setups(&self) -> Vec<Setup> {
        let there = |setup: &Setup| {
            setup.name.contains(&self.filter)
                && match setup.program {
                    Program::Agent(_) => true,
                    Program::Envoy(_) => self.envoy.is_some(),
                    Program::Nginx => self.nginx.is_some(),
                }
        };
        SETUPS.into_iter().filter(there).collect()
    }

    /// The programs themselves.
    pub(crate) fn figures(&self) -> Result<Vec<ProgramFigure>, Failure> {
        let all = [
            ("tracemap-agent", Some(&self.agent), "--version"),
            ("envoy", self.envoy.as_ref(), "--version"),
            ("nginx", self.nginx.as_ref(), "-v"),
        ];
        let there = all
            .into_iter()
            .filter_map(|(name, path, flag)| Some((name, path?, flag)));
        there
            .map(|(name, path, flag)| {
                let output = Command::new(path).arg(flag).output()?;
                let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
                Ok(ProgramFigure {
                    name,
                    version: version_in(&said),
                    mib: mib(path)?,
                    stripped_mib: stripped_mib(path),
                })
            })
            .collect()
    }

    /// Starts one before `upstream`, and returns when it takes connections.
    pub(crate) fn start(&self, setup: Setup, upstream: SocketAddr) -> Result<Proxy, Failure> {
        let scratch = tempfile::tempdir()?;
        let sink = setup.traced.then(Sink::start).transpose()?;
        let [http1, own] = free_addresses()?;
        let (config, log) = (scratch.path().join("config"), scratch.path().join("log"));
        let missing = || format!("there is no program for `{}`", setup.name);
        let (text, mut command) = match setup.program {
            Program::Agent(threads) => {
                let mut command = Command::new(&self.agent);
                // The threads beside those for requests.
                command
                    .arg("--config")
                    .arg(&config)
                    .env("TOKIO_WORKER_THREADS", WORKERS.to_string());
                (
                    agent_config(threads, http1, own, upstream, sink.as_ref()),
                    command,
                )
            }
            Program::Envoy(batches) => {
                let tracing = sink.as_ref().map(|sink| Tracing {
                    sink: sink.grpc,
                    batches,
                });
                let program = self.envoy.as_ref().ok_or_else(missing)?;
                (
                    envoy::config(http1, upstream, tracing),
                    envoy::command(program, &config),
                )
            }
            Program::Nginx => {
                let program = self.nginx.as_ref().ok_or_else(missing)?;
                (
                    nginx::config(http1, own, upstream, scratch.path()),
                    nginx::command(program, &config, scratch.path()),
                )
            }
        };
        std::fs::write(&config, text)?;
        let process = Contestant::start(&mut command, &log)?;
        Contestant::listening(setup.name, http1).map_err(|error| {
            format!(
                "{error}; its log: {}",
                std::fs::read_to_string(&log).unwrap_or_default()
            )
        })?;
        let (http2, admin) = match setup.program {
            Program::Nginx => (own, None),
            Program::Envoy(_) => (http1, None),
            Program::Agent(_) => (http1, Some(own)),
        };
        Ok(Proxy {
            setup,
            process,
            http1,
            http2,
            admin,
            sink,
            requests: 0,
            _scratch: scratch,
        })
    }
}

/// A running contestant.
pub(crate) struct Proxy {
    pub(crate) setup: Setup,
    pub(crate) process: Contestant,
    http1: SocketAddr,
    http2: SocketAddr,
    admin: Option<SocketAddr>,
    sink: Option<Sink>,
    requests: u64,
    _scratch: TempDir,
}

impl Proxy {
    /// Where it speaks `protocol`.
    pub(crate) fn address(&self, protocol: Protocol) -> SocketAddr {
        match protocol {
            Protocol::Http1 => self.http1,
            Protocol::Http2 => self.http2,
        }
    }

    /// Notes requests that were answered, and waits until the span of each is at the sink; there must not be one more.
    pub(crate) fn answered(&mut self, requests: u64) -> Result<(), Failure> {
        self.requests += requests;
        let Some(sink) = &self.sink else {
            return Ok(());
        };
        let (name, expected) = (self.setup.name, self.requests as f64);
        let has_all = |page: &str| spans(page) >= expected;
        let what = format!("no figure: `{name}` did not send the {expected} spans of its requests");
        let page = until(&what, sink.page, "/", ASK_EVERY, has_all)?;
        if spans(&page) > expected {
            return Err(format!(
                "no figure: of {expected} requests `{name}` sent {} spans",
                spans(&page)
            )
            .into());
        }
        let dropped = self.dropped()?.unwrap_or_default();
        if dropped > 0.0 {
            return Err(format!("no figure: `{name}` dropped {dropped} spans").into());
        }
        Ok(())
    }

    /// Spans that it says it dropped; `None` of those that do not say.
    pub(crate) fn dropped(&self) -> Result<Option<f64>, Failure> {
        let page = self.admin.map(|admin| http::get(admin, "/metrics")).transpose()?;
        Ok(page.map(|page| http::sum(&page, names::AGENT_SPANS_DROPPED, "")))
    }

    /// Takes its sink away, to be killed by being dropped.
    pub(crate) fn take_sink(&mut self) -> Option<Sink> {
        self.sink.take()
    }
}

/// Where spans are checked and counted.
pub(crate) struct Sink {
    _process: Contestant,
    grpc: SocketAddr,
    page: SocketAddr,
}

impl Sink {
    fn start() -> Result<Self, Failure> {
        let (process, [grpc, page]) = Contestant::peer(Role::Sink.as_str())?;
        until("the sink was not ready", page, "/", READY_EVERY, |_| true)?;
        Ok(Self {
            _process: process,
            grpc,
            page,
        })
    }
}

fn spans(page: &str) -> f64 {
    http::sum(page, "spans", "")
}

/// Spans of everything, or context that passes and nothing else.
fn agent_config(
    threads: usize,
    listen: SocketAddr,
    admin: SocketAddr,
    upstream: SocketAddr,
    sink: Option<&Sink>,
) -> String {
    let tells = match sink {
        Some(sink) => format!("export: {{ endpoint: 'http://{}' }}", sink.grpc),
        None => "edges: { mode: count }".to_owned(),
    };
    format!(
        "agent:\n  service: shop\n  threads: {threads}\n  routes: ['/items/{{id}}']\n  inbound: [{{ listen: {listen}, upstream: 'http://{upstream}' }}]\n  \
         admin: {{ listen: {admin} }}\n  {tells}\n"
    )
}

/// What this build has, the shipped profile first.
fn built_agent() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_BIN_EXE_tracemap")).parent()?;
    let shipped = beside.parent()?.join("dist/tracemap-agent");
    [shipped, beside.join("tracemap-agent")]
        .into_iter()
        .find(|path| path.is_file())
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// The first word of what a program says of itself that begins with a digit or has a version between slashes.
fn version_in(said: &str) -> String {
    let parts = said.split_whitespace().flat_map(|word| word.split('/'));
    let version = |part: &&str| part.contains('.') && part.starts_with(|c: char| c.is_ascii_digit());
    parts.into_iter().find(version).unwrap_or_default().to_owned()
}

fn mib(path: &Path) -> Result<f64, Failure> {
    Ok(std::fs::metadata(path)?.len() as f64 / f64::from(1 << 20))
}

fn stripped_mib(path: &Path) -> Option<f64> {
    let scratch = tempfile::tempdir().ok()?;
    let stripped = scratch.path().join("stripped");
    let done = Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(path)
        .output()
        .ok()?;
    done.status.success().then(|| mib(&stripped).ok())?
}
