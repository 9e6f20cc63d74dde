//! Clients that keep to a schedule, whatever the answers do.
//!
//! In: where to, what for, how often. Out: the latency of every request from the instant it was due.
//! Left out on purpose: a runtime. Each connection is a thread that blocks, so that neither timers of a millisecond nor a
//! scheduler of our own stand between a request and its due time; connections have their requests fixed in advance, so
//! a slow answer delays those behind it and they say so.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::peers::ANSWER_BYTES;

/// One answer in time must not take longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// From the moment all clients are connected to the first due time.
const LEAD: Duration = Duration::from_millis(20);

/// Where requests go: to `connect`, and from there, if that is a proxy, to `target`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) connect: SocketAddr,
    pub(crate) target: SocketAddr,
}

/// How often and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) rate: f64,
    pub(crate) length: Duration,
    pub(crate) connections: usize,
}

/// Every request of a turn, in nanoseconds, sorted.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// From due time to the last byte of the answer.
    pub(crate) latency: Vec<u64>,
    /// From due time to the start of sending: what the clients themselves add, and what earlier answers held up.
    pub(crate) lateness: Vec<u64>,
}

impl Schedule {
    /// Requests of a turn, the same for each connection.
    pub(crate) fn requests(&self) -> u64 {
        self.each() * self.connections as u64
    }

    fn each(&self) -> u64 {
        (self.rate * self.length.as_secs_f64() / self.connections as f64).round() as u64
    }

    /// When, after the start, a connection's `number`th request is due; connections are spread evenly.
    fn due(&self, connection: usize, number: u64) -> Duration {
        let position = number * self.connections as u64 + connection as u64;
        Duration::from_secs_f64(position as f64 / self.rate)
    }
}

/// Lets sleeps of this process end on time instead of up to 50 µs later, where the kernel allows that.
pub(crate) fn wake_up_on_time() {
    let _ = std::fs::write("/proc/self/timerslack_ns", "1");
}

#[expect(
    clippy::disallowed_methods,
    reason = "the schedule is the measurement, and the thread is this client's alone"
)]
fn sleep_until(due: Instant) {
    thread::sleep(due.saturating_duration_since(Instant::now()));
}

/// Runs one turn. `first_trace` numbers its traces, one for each request.
pub(crate) fn run(way: Way, schedule: Schedule, first_trace: u64) -> Result<Turn, Failure> {
    let all_connected = Barrier::new(schedule.connections);
    let connections: Vec<Client> = (0..schedule.connections)
        .map(|_| Client::connect(way))
        .collect::<io::Result<_>>()?;
    let (shared, each) = (&all_connected, schedule.each());
    let turns = thread::scope(|scope| {
        let start_all = |(index, client): (usize, Client)| {
            let first_trace = first_trace + each * index as u64;
            scope.spawn(move || {
                shared.wait();
                client.keep_to(schedule, index, Instant::now() + LEAD, first_trace)
            })
        };
        let running: Vec<_> = connections.into_iter().enumerate().map(start_all).collect();
        running
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a client panicked"))
            .collect::<Vec<_>>()
    });
    let mut all = Turn::default();
    for turn in turns {
        let turn: Turn = turn??;
        all.latency.extend(turn.latency);
        all.lateness.extend(turn.lateness);
    }
    all.latency.sort_unstable();
    all.lateness.sort_unstable();
    Ok(all)
}

/// One connection, kept alive.
struct Client {
    way: Way,
    write: TcpStream,
    read: BufReader<TcpStream>,
}

impl Client {
    fn connect(way: Way) -> io::Result<Self> {
        let write = TcpStream::connect(way.connect)?;
        write.set_nodelay(true)?;
        write.set_read_timeout(Some(PATIENCE))?;
        let read = BufReader::new(write.try_clone()?);
        Ok(Self { way, write, read })
    }

    fn keep_to(mut self, schedule: Schedule, index: usize, start: Instant, trace: u64) -> io::Result<Turn> {
        let mut turn = Turn::default();
        for number in 0..schedule.each() {
            let due = start + schedule.due(index, number);
            sleep_until(due);
            turn.lateness.push(due.elapsed().as_nanos() as u64);
            self.request(trace + number)?;
            turn.latency.push(due.elapsed().as_nanos() as u64);
        }
        Ok(turn)
    }

    /// Sends one request with a sampled parent, and reads its answer to the end.
    fn request(&mut self, trace: u64) -> io::Result<()> {
        let Way { connect, target } = self.way;
        let origin = if connect == target {
            String::new()
        } else {
            format!("http://{target}")
        };
        let head = format!(
            "GET {origin}/items/{} HTTP/1.1\r\nHost: {target}\r\nuser-agent: spine\r\n\
             traceparent: 00-{:032x}-{:016x}-01\r\n\r\n",
            trace % 1000,
            u128::from(trace) + 1,
            trace + 1
        );
        self.write.write_all(head.as_bytes())?;
        let mut line = String::new();
        self.read.read_line(&mut line)?;
        if line.split(' ').nth(1) != Some("200") {
            return Err(io::Error::other(format!(
                "the answer was `{}`, not 200",
                line.trim_end()
            )));
        }
        let mut length = 0;
        while line != "\r\n" {
            line.clear();
            if self.read.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let header = line
                .split_once(':')
                .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            length = header
                .and_then(|(_, value)| value.trim().parse().ok())
                .unwrap_or(length);
        }
        let mut body = [0; ANSWER_BYTES];
        if length != body.len() {
            return Err(io::Error::other(format!(
                "the answer has {length} bytes, not {ANSWER_BYTES}"
            )));
        }
        self.read.read_exact(&mut body)
    }
}
