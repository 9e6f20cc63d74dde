//! Every number that a simulated run is drawn from.
//!
//! In: nothing. Out: tables of values, each with its weight, and the times of a run.
//! Left out on purpose: services whose own time is below 5 ms, since the collector calls no shift below its margin of
//! 5 ms slow; timeouts that a slow callee runs into; latency that follows the load.

use super::draw::LogNormal;
use super::system::Shape;

/// Values and how often each is drawn among all.
pub(super) type Table<T> = &'static [(T, u32)];

/// How long a system is watched before anything may happen to it, seconds.
pub(super) const BASELINE_SECONDS: u64 = 2_400;
/// How long it is watched after that, seconds: a fault and its end.
pub(super) const WATCHED_SECONDS: u64 = 900;

/// What the graph looks like.
pub(super) const SHAPES: Table<Shape> = &[
    (Shape::Chain, 1),
    (Shape::FanOut, 1),
    (Shape::Shared, 1),
    (Shape::Cycle, 1),
    (Shape::Database, 1),
];
/// How many faults a run has.
pub(super) const FAULTS: Table<usize> = &[(0, 4), (1, 13), (2, 3)];
/// By what the own time of the node at fault is multiplied.
pub(super) const FACTORS: Table<f64> = &[(1.5, 2), (2.0, 2), (3.0, 3), (5.0, 3), (10.0, 2)];
/// How long a fault lasts, minutes.
pub(super) const FAULT_MINUTES: Table<u64> = &[(5, 1), (8, 1), (12, 1)];
/// How long it lasts when a run is played again whose culprit was not named: a ticket opens after a quarter of an hour.
pub(super) const LONG_FAULT_MINUTES: u64 = 30;

/// Requests a second that reach the collector over all entry points: those that were made times the sampled share.
pub(super) const SEEN_PER_SECOND: Table<f64> = &[(0.5, 1), (1.0, 2), (2.0, 2)];
/// Share of the traces that the sender keeps, by the head of the trace.
pub(super) const SAMPLED: Table<f64> = &[(1.0, 4), (0.5, 1), (0.25, 1), (0.1, 2), (0.05, 1), (0.01, 2)];
/// Share of the spans that never arrive, each by itself.
pub(super) const LOST: Table<f64> = &[(0.0, 3), (0.002, 1), (0.01, 1), (0.03, 1)];
/// Share of the calls that fail early and are made once more.
pub(super) const RETRIED: Table<f64> = &[(0.0, 2), (0.01, 1), (0.03, 1)];
/// By how much of its mean the load of a day rises and falls.
pub(super) const SEASON: Table<f64> = &[(0.0, 1), (0.3, 1), (0.6, 1)];
/// Whether a service gets a new version during the run, which changes nothing.
pub(super) const DEPLOYED: Table<bool> = &[(true, 2), (false, 3)];

/// Median of an operation's own time, milliseconds.
pub(super) const OWN_MEDIAN: Table<f64> = &[(5.0, 1), (10.0, 2), (20.0, 2), (40.0, 2), (80.0, 1)];
/// Standard deviation of the logarithm of own times: the 95th percentile is 1.4, 1.8 and 2.3 times the median.
pub(super) const OWN_SPREAD: Table<f64> = &[(0.2, 1), (0.35, 2), (0.5, 1)];
/// What a call spends on the network, both ways together.
pub(super) const NETWORK: LogNormal = LogNormal {
    median: 1.0,
    spread: 0.5,
};
/// How long a caller waits before it calls again, milliseconds.
pub(super) const BACK_OFF: f64 = 10.0;
/// How much of its own time an operation spends on a request that it refuses.
pub(super) const REFUSED: f64 = 0.3;

/// Operations of a service.
pub(super) const OPERATIONS: Table<usize> = &[(1, 1), (2, 2), (3, 2)];
/// How often an operation makes one of its calls.
pub(super) const CALLED: Table<f64> = &[(1.0, 3), (0.5, 1)];
/// Share of the operations of a caller that use a callee at all.
pub(super) const USES: f64 = 0.75;
/// Share of the operations with several calls that make them at once.
pub(super) const PARALLEL: f64 = 0.4;
/// Share of the services that call nobody which get a database.
pub(super) const WITH_DATABASE: f64 = 0.3;
/// Share of the systems with a second service that users call.
pub(super) const SECOND_ENTRY: f64 = 0.3;
