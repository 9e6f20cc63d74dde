//! What the map says of one edge: counts and times that corrections take back.
//!
//! In: calls, added and taken back. Out: [`EdgeStats`].
//! Left out on purpose: weights of times; a histogram of the map counts requests that were seen.

use map::EdgeStats;
use serde::{Deserialize, Serialize};

use super::edges::Times;
use crate::assemble::Call;
use crate::series::{Observed, Timing};

/// Counts and latencies of an edge, on the grid of its series, which takes half the room of the map's histograms.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) requests: f64,
    pub(super) failed: f64,
    retries: f64,
    critical: f64,
    pub(super) client: Timing,
    server: Timing,
    own: Timing,
    /// Only edges by way of a broker have it.
    queue: Option<Box<Timing>>,
    /// Calls instead of seconds.
    fan_out: Option<Box<Timing>>,
    #[serde(default)]
    wrong: Wrong,
}

/// What requests tell of their caller and of the clocks when they do not go well.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Wrong {
    handled: f64,
    passed_on: f64,
    given_up: f64,
    given_up_seconds: f64,
    skewed: u64,
    skew: f64,
    without_context: u64,
}

impl Wrong {
    /// Most calls tell nothing of the sort.
    #[inline]
    fn concerns(call: &Call) -> bool {
        call.failed || call.skew != 0.0 || call.without_context
    }

    /// Adds a call, or with a `sign` of -1 takes it back.
    #[cold]
    fn count(&mut self, call: &Call, sign: f64) {
        let weight = f64::from(call.weight) * sign;
        let add = |sum: &mut f64, value: f64| *sum = (*sum + value).max(0.0);
        match call.passed_on {
            Some(true) => add(&mut self.passed_on, weight),
            Some(false) => add(&mut self.handled, weight),
            None => {}
        }
        if let Some(after) = gave_up(call) {
            add(&mut self.given_up, weight);
            add(&mut self.given_up_seconds, weight * after);
        }
        let one = |count: u64| {
            if sign < 0.0 {
                count.saturating_sub(1)
            } else {
                count + 1
            }
        };
        if call.skew != 0.0 {
            self.skewed = one(self.skewed);
            self.skew += f64::from(call.skew) * sign;
        }
        if call.without_context {
            self.without_context = one(self.without_context);
        }
    }
}

/// After how many seconds the caller gave up: it says that the call failed, and the callee was busy with it for longer. Spans of
/// one length to a millisecond ended together.
fn gave_up(call: &Call) -> Option<f64> {
    let (client, server) = call.client_seconds.zip(call.server_seconds)?;
    (call.failed && server > client + 0.001).then_some(client)
}

impl Tally {
    /// Adds a call.
    #[inline]
    pub(super) fn add(&mut self, call: &Call, times: &Times) {
        let weight = f64::from(call.weight);
        if !call.counted_elsewhere {
            self.requests += weight;
            self.failed += if call.failed { weight } else { 0.0 };
        }
        self.retries += if call.retry { weight } else { 0.0 };
        self.critical += call.critical_each() * weight;
        if Wrong::concerns(call) {
            self.wrong.count(call, 1.0);
        }
        if let Some(client) = times.client.filter(|_| !call.counted_elsewhere) {
            self.client.observe(client, 1.0);
        }
        if let Some(server) = times.server {
            self.server.observe(server, 1.0);
        }
        if let Some(own) = times.own {
            self.own.observe(own, 1.0);
        }
        if let Some(queue) = times.queue {
            self.queue.get_or_insert_default().observe(queue, 1.0);
        }
    }

    /// Takes a call back.
    pub(super) fn take_back(&mut self, call: &Call, times: &Times) {
        let weight = f64::from(call.weight);
        if !call.counted_elsewhere {
            self.requests = (self.requests - weight).max(0.0);
            self.failed = (self.failed - if call.failed { weight } else { 0.0 }).max(0.0);
            times.client.inspect(|s| self.client.take_back(*s));
        }
        self.retries = (self.retries - if call.retry { weight } else { 0.0 }).max(0.0);
        self.critical = (self.critical - call.critical_each() * weight).max(0.0);
        if Wrong::concerns(call) {
            self.wrong.count(call, -1.0);
        }
        times.server.inspect(|s| self.server.take_back(*s));
        times.own.inspect(|s| self.own.take_back(*s));
        if let Some((queue, seen)) = self.queue.as_mut().zip(times.queue) {
            queue.take_back(seen);
        }
    }

    /// Reads what a call with these times is about to be added to.
    #[inline]
    pub(super) fn read(&self, times: &Times) -> u64 {
        let buckets =
            self.client.read(times.client) ^ self.server.read(times.server) ^ self.own.read(times.own);
        self.requests.to_bits() ^ buckets
    }

    /// Adds the calls of one visit of the caller.
    pub(super) fn fan_out(&mut self, calls: u32) {
        let seen = Observed::of(f64::from(calls));
        self.fan_out.get_or_insert_default().observe(seen, 1.0);
    }

    /// Takes them back.
    pub(super) fn take_fan_out_back(&mut self, calls: u32) {
        if let Some(fan_out) = &mut self.fan_out {
            fan_out.take_back(Observed::of(f64::from(calls)));
        }
    }

    /// As the map has it.
    pub(super) fn to_stats(&self) -> EdgeStats {
        let boxed =
            |timing: &Option<Box<Timing>>| timing.as_ref().map(|t| t.to_histogram()).unwrap_or_default();
        EdgeStats {
            requests: self.requests,
            failed: self.failed,
            client: self.client.to_histogram(),
            server: self.server.to_histogram(),
            own: self.own.to_histogram(),
            queue: boxed(&self.queue),
            retries: self.retries,
            fan_out: boxed(&self.fan_out),
            critical: self.critical,
            handled: self.wrong.handled,
            passed_on: self.wrong.passed_on,
            given_up: self.wrong.given_up,
            given_up_seconds: self.wrong.given_up_seconds,
            skewed: self.wrong.skewed,
            skew: self.wrong.skew,
            without_context: self.wrong.without_context,
        }
    }

    /// Bytes that it occupies beside itself.
    pub(super) fn footprint(&self) -> usize {
        let boxed =
            |timing: &Option<Box<Timing>>| timing.as_ref().map_or(0, |t| size_of::<Timing>() + t.footprint());
        let rest = boxed(&self.queue) + boxed(&self.fan_out);
        self.client.footprint() + self.server.footprint() + self.own.footprint() + rest
    }
}
