//! What passes on each edge, counted whatever its mode and whatever is sampled.
//!
//! In: outbound requests as they end. Out: a [`Window`] of requests, failures and latencies by edge, each time one is asked
//! for; all windows together hold every request once.
//! Left out on purpose: inbound requests (the caller's agent counts them), and whoever is beyond the bound of peers: those
//! share one far side, [`OVERFLOW`].

pub(crate) mod encode;
pub(crate) mod report;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use map::Histogram;

use crate::peer::{OVERFLOW, Peer};

/// An edge: the caller's node id, and the far side as CLIENT spans name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Edge {
    /// Node id of the workload.
    pub(crate) client: Arc<str>,
    /// `server.address`.
    pub(crate) address: String,
    /// `server.port`.
    pub(crate) port: u16,
}

/// Seconds of the requests of one edge, by outcome.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Latencies {
    pub(crate) succeeded: Histogram,
    pub(crate) failed: Histogram,
}

/// What was counted from `start_unix_nano` until `end_unix_nano`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Window {
    pub(crate) start_unix_nano: u64,
    pub(crate) end_unix_nano: u64,
    pub(crate) edges: HashMap<Edge, Latencies>,
}

/// The counts of all workloads since the last window.
#[derive(Debug)]
pub(crate) struct EdgeCounts {
    table: Mutex<Table>,
    most: usize,
}

#[derive(Debug, Default)]
struct Table {
    since: u64,
    edges: HashMap<Edge, Latencies>,
}

/// Under which far side a request was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Its own.
    Own,
    /// The one that all peers beyond the bound share.
    Overflow,
}

impl Edge {
    pub(crate) fn to(client: Arc<str>, peer: Peer) -> Self {
        Self {
            client,
            address: peer.address,
            port: peer.port,
        }
    }

    /// Whether its far side stands for all beyond the bound.
    pub(crate) fn is_overflow(&self) -> bool {
        self.address == OVERFLOW
    }
}

impl EdgeCounts {
    /// Counts from `now_unix_nano` on; of at most `most` edges at a time.
    pub(crate) fn new(most: usize, now_unix_nano: u64) -> Self {
        Self {
            table: Mutex::new(Table {
                since: now_unix_nano,
                edges: HashMap::new(),
            }),
            most,
        }
    }

    /// Counts one request.
    pub(crate) fn count(&self, mut edge: Edge, failed: bool, seconds: f64) -> Counted {
        let mut table = self.lock();
        let own = table.edges.len() < self.most || table.edges.contains_key(&edge);
        if !own {
            (edge.address, edge.port) = (OVERFLOW.to_owned(), 0);
        }
        let latencies = table.edges.entry(edge).or_default();
        let histogram = if failed {
            &mut latencies.failed
        } else {
            &mut latencies.succeeded
        };
        histogram.observe(seconds);
        if own { Counted::Own } else { Counted::Overflow }
    }

    /// Everything since the last window; `None` where nothing was counted.
    pub(crate) fn take(&self, now_unix_nano: u64) -> Option<Window> {
        let mut table = self.lock();
        let start_unix_nano = std::mem::replace(&mut table.since, now_unix_nano);
        let edges = std::mem::take(&mut table.edges);
        (!edges.is_empty()).then(|| Window {
            start_unix_nano: start_unix_nano.min(now_unix_nano),
            end_unix_nano: now_unix_nano,
            edges,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(host: &str) -> Edge {
        let peer = Peer::of(&host.parse().expect("an authority"));
        Edge::to("shop/cart".into(), peer)
    }

    #[test]
    fn windows_follow_each_other_without_a_gap_and_hold_each_request_once() {
        let counts = EdgeCounts::new(8, 10);
        assert_eq!(counts.take(20), None);
        counts.count(edge("db:1"), false, 0.5);
        counts.count(edge("db:1"), true, 0.25);
        let window = counts.take(30).expect("a window");
        assert_eq!((window.start_unix_nano, window.end_unix_nano), (20, 30));
        let latencies = &window.edges[&edge("db:1")];
        assert_eq!((latencies.succeeded.count(), latencies.failed.count()), (1, 1));
        assert!((latencies.succeeded.sum() - 0.5).abs() < f64::EPSILON);
        assert_eq!(counts.take(40), None);
    }

    #[test]
    fn peers_beyond_the_bound_share_one_far_side_and_known_ones_keep_theirs() {
        let counts = EdgeCounts::new(1, 0);
        assert_eq!(counts.count(edge("a"), false, 1.0), Counted::Own);
        assert_eq!(counts.count(edge("b"), false, 1.0), Counted::Overflow);
        assert_eq!(counts.count(edge("c"), true, 1.0), Counted::Overflow);
        assert_eq!(counts.count(edge("a"), false, 1.0), Counted::Own);
        let window = counts.take(1).expect("a window");
        let mut told: Vec<_> = window
            .edges
            .iter()
            .map(|(edge, latencies)| {
                (
                    edge.address.as_str(),
                    latencies.succeeded.count(),
                    latencies.failed.count(),
                )
            })
            .collect();
        told.sort_unstable();
        assert_eq!(told, [(OVERFLOW, 1, 1), ("a", 2, 0)]);
    }
}
