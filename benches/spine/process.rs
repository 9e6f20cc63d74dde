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

use crate::entry::READY_EVERY;
use crate::{Failure, http, peers};

/// Clock ticks a second in `/proc/<pid>/stat`; Linux shows 100 on every machine that we build for.
const TICKS: f64 = 100.0;
/// Longer than any start or end takes; reached only where something is wrong.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running process; dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Contestant(Child);

impl Contestant {
    /// Starts the `tracemap` command of this build; what it logs goes to `log`.
    pub(crate) fn tracemap(args: &[&str], config: &Path, log: &Path) -> Result<Self, Failure> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracemap"));
        command.args(args).arg("--config").arg(config);
        Self::start(&mut command, log)
    }

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

    /// Starts this very program as a peer; returns it with the address that it listens at.
    pub(crate) fn peer(role: peers::Role) -> Result<(Self, SocketAddr), Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["--serve", role.as_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut contestant = Self(command.spawn()?);
        let output = contestant
            .0
            .stdout
            .take()
            .ok_or("the peer has no standard output")?;
        let mut address = String::new();
        BufReader::new(output).read_line(&mut address)?;
        Ok((contestant, address.trim().parse()?))
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

    /// User and system seconds of all its threads so far, those that ended included.
    pub(crate) fn cpu_seconds(&self) -> Result<f64, Failure> {
        let stat = read_to_string(format!("/proc/{}/stat", self.0.id()))?;
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

    /// The same of the threads that run, to a fraction of a microsecond. Threads that ended are not in it.
    pub(crate) fn cpu_seconds_of_threads(&self) -> Result<f64, Failure> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.0.id()))?;
        let of_thread = |thread: std::io::Result<std::fs::DirEntry>| {
            // A thread may end between being listed and being read.
            let stat = read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            stat.split_whitespace().next()?.parse::<f64>().ok()
        };
        Ok(threads.filter_map(of_thread).sum::<f64>() / 1e9)
    }

    /// MiB of memory now resident, and the most that ever were.
    pub(crate) fn rss_mib(&self) -> Result<(f64, f64), Failure> {
        let status = read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let kib = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        let both = kib("VmRSS:")
            .zip(kib("VmHWM:"))
            .ok_or("the process shows no memory: did it end?")?;
        Ok((both.0 / 1024.0, both.1 / 1024.0))
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
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
