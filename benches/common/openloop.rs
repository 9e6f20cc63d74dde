//! Clients that keep to a schedule, whatever the answers do.
//!
//! In: clients that are connected, and how often. Out: the latency of every request from the instant it was due.
//! Left out on purpose: a runtime. Each connection is a thread that blocks, so that neither timers of a millisecond nor a
//! scheduler of our own stand between a request and its due time; connections have their requests fixed in advance, so
//! a slow answer delays those behind it and they say so.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;

/// From the moment all clients are connected to the first due time.
const LEAD: Duration = Duration::from_millis(20);

/// One connection, kept alive, with one request on it at a time.
pub(crate) trait Client: Send {
    /// Sends request `number` and reads its answer to the end; an answer that was not asked for is a failure.
    fn request(&mut self, number: u64) -> Result<(), Failure>;
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
    /// As many clients as it has connections.
    pub(crate) fn clients<C>(&self, connect: impl Fn() -> Result<C, Failure>) -> Result<Vec<C>, Failure> {
        (0..self.connections).map(|_| connect()).collect()
    }

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

/// Runs one turn over `clients`, as many as `schedule` has connections. `first` numbers its requests.
pub(crate) fn run<C: Client>(clients: &mut [C], schedule: Schedule, first: u64) -> Result<Turn, Failure> {
    let all_ready = Barrier::new(clients.len());
    let ready = &all_ready;
    let turns = thread::scope(|scope| {
        let start = |(index, client)| {
            let first = first + schedule.each() * index as u64;
            scope.spawn(move || {
                ready.wait();
                keep_to(client, schedule, index, first)
            })
        };
        let running: Vec<_> = clients.iter_mut().enumerate().map(start).collect();
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

fn keep_to(client: &mut impl Client, schedule: Schedule, index: usize, first: u64) -> Result<Turn, Failure> {
    let start = Instant::now() + LEAD;
    let mut turn = Turn::default();
    for number in 0..schedule.each() {
        let due = start + schedule.due(index, number);
        sleep_until(due);
        turn.lateness.push(due.elapsed().as_nanos() as u64);
        client.request(first + number)?;
        turn.latency.push(due.elapsed().as_nanos() as u64);
    }
    Ok(turn)
}
