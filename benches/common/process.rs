//! Contestants as child processes: started, watched through `/proc`, ended.
//!
//! In: a command line. Out: a [`Contestant`] with its CPU time and memory.
//! Left out on purpose: systems without `/proc`; there is no other way to the figures that needs no privilege.

use std::fs::{File, read_to_string};
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Failure, http};

/// How often a process that starts is asked whether it is ready.
pub(crate) const READY_EVERY: Duration = Duration::from_millis(20);

/// Clock ticks a second in `/proc/<pid>/stat`; Linux shows 100 on every machine that we build for.
const TICKS: f64 = 100.0;
/// Longer than any start or end takes; reached only where something is wrong.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running process; dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Contestant(Child);

impl Contestant {
    /// Starts `command`; what it logs goes to `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self, Failure> {
        let log = File::create(log)?;
        Ok(Self(
            command
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .spawn()?,
        ))
    }

    /// Starts this very program as a peer; returns it with the addresses that it prints on its first line.
    pub(crate) fn peer<const N: usize>(role: &str) -> Result<(Self, [SocketAddr; N]), Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["--serve", role])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut contestant = Self(command.spawn()?);
        let output = contestant
            .0
            .stdout
            .take()
            .ok_or("the peer has no standard output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let addresses: Vec<SocketAddr> = line
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let addresses = addresses.try_into().map_err(|_| {
            format!(
                "the peer `{role}` printed `{}`, not {N} addresses",
                line.trim_end()
            )
        })?;
        Ok((contestant, addresses))
    }

    /// Waits until somebody takes connections at `address`.
    #[expect(
        clippy::disallowed_methods,
        reason = "the state is another process's, and it can only be tried again"
    )]
    pub(crate) fn listening(name: &str, address: SocketAddr) -> Result<(), Failure> {
        let started = Instant::now();
        while let Err(error) = TcpStream::connect(address) {
            if started.elapsed() > PATIENCE {
                return Err(format!("{name} does not listen at {address}: {error}").into());
            }
            std::thread::sleep(READY_EVERY);
        }
        Ok(())
    }

    /// Its process, and those that it started itself, as a server does that has a process for each worker.
    fn processes(&self) -> Vec<u32> {
        let own = self.0.id();
        let children = read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|id| id.parse().ok());
        std::iter::once(own).chain(children).collect()
    }

    /// User and system seconds of all its threads so far, those that ended included.
    pub(crate) fn cpu_seconds(&self) -> Result<f64, Failure> {
        self.processes().into_iter().map(cpu_seconds).sum()
    }

    /// The same of the threads that run, to a fraction of a microsecond. Threads that ended are not in it.
    pub(crate) fn cpu_seconds_of_threads(&self) -> Result<f64, Failure> {
        self.processes().into_iter().map(cpu_seconds_of_threads).sum()
    }

    /// MiB of memory now resident, and the most that ever were; what processes share is in each of them.
    pub(crate) fn rss_mib(&self) -> Result<(f64, f64), Failure> {
        let all: Vec<(f64, f64)> = self
            .processes()
            .into_iter()
            .map(rss_mib)
            .collect::<Result<_, _>>()?;
        Ok((
            all.iter().map(|(now, _)| now).sum(),
            all.iter().map(|(_, most)| most).sum(),
        ))
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        // Killed with its head, a worker would go on.
        let workers: Vec<String> = self.processes().iter().skip(1).map(u32::to_string).collect();
        if !workers.is_empty() {
            let _ = Command::new("kill").arg("-KILL").args(workers).status();
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn cpu_seconds(process: u32) -> Result<f64, Failure> {
    let stat = read_to_string(format!("/proc/{process}/stat"))?;
    // The name stands in parentheses and may hold anything; the fields are counted from behind it.
    let fields = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace();
    let ticks: Vec<f64> = fields
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS)
}

fn cpu_seconds_of_threads(process: u32) -> Result<f64, Failure> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task"))?;
    let of_thread = |thread: std::io::Result<std::fs::DirEntry>| {
        // A thread may end between being listed and being read.
        let stat = read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<f64>().ok()
    };
    Ok(threads.filter_map(of_thread).sum::<f64>() / 1e9)
}

fn rss_mib(process: u32) -> Result<(f64, f64), Failure> {
    let status = read_to_string(format!("/proc/{process}/status"))?;
    let kib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    let both = kib("VmRSS:")
        .zip(kib("VmHWM:"))
        .ok_or("the process shows no memory: did it end?")?;
    Ok((both.0 / 1024.0, both.1 / 1024.0))
}

/// Addresses on loopback that were free a moment ago.
pub(crate) fn free_addresses<const N: usize>() -> Result<[SocketAddr; N], Failure> {
    let listeners: Vec<TcpListener> = (0..N)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    let addresses: Vec<SocketAddr> = listeners
        .iter()
        .map(TcpListener::local_addr)
        .collect::<Result<_, _>>()?;
    addresses
        .try_into()
        .map_err(|_| "fewer addresses than listeners".into())
}

/// Looks at a page until `is_so` of its body; fails, saying `what` never was, long after it should have been.
#[expect(
    clippy::disallowed_methods,
    reason = "the state is another process's, and its page can only be asked again"
)]
pub(crate) fn until(
    what: &str,
    address: SocketAddr,
    path: &str,
    every: Duration,
    is_so: impl Fn(&str) -> bool,
) -> Result<String, Failure> {
    let started = Instant::now();
    loop {
        let seen = http::get(address, path);
        match seen {
            Ok(body) if is_so(&body) => return Ok(body),
            seen if started.elapsed() > PATIENCE => {
                let last = seen.map_or_else(|error| error.to_string(), |_| "another state".to_owned());
                return Err(format!("{what} within {} s; last seen: {last}", PATIENCE.as_secs()).into());
            }
            _ => std::thread::sleep(every),
        }
    }
}
