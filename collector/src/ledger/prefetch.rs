//! What a trace is about to be counted in, fetched from memory at once.
//!
//! In: the calls of a trace, and where they are counted. Out: nothing but warm caches.
//! A call is counted in an edge, two series and a baseline. On a map of ten thousand edges none of them is in a cache, and
//! counted one after the other each call would wait for memory by itself. Read before, they wait together.
//! Left out on purpose: prefetch instructions, which need `unsafe`; a value that is read and not used does as well.

use std::hint::black_box;

use super::{Ledger, Way};
use crate::assemble::Call;

/// With fewer edges all are in a cache anyway.
const FROM_EDGES: usize = 512;

impl Ledger {
    /// Fetches what `calls` are counted in.
    pub(super) fn prefetch(&self, calls: &[Call], ways: &[Way]) {
        if self.edges.slots.len() < FROM_EDGES {
            return;
        }
        let read = calls.iter().zip(ways).map(|(call, way)| self.read(call, way));
        black_box(read.fold(0, std::ops::BitXor::bitxor));
    }

    #[inline]
    fn read(&self, call: &Call, Way { route, times }: &Way) -> u64 {
        let edge = self.edges.slots.get(route.edge);
        let edge = edge.map_or(0, |slot| {
            slot.touched ^ slot.seen.last ^ slot.evidence.paired ^ slot.stats.read(times)
        });
        let graph = route.graph.and_then(|at| self.series.graph.get(at));
        let graph = graph.map_or(0, |series| {
            let buckets = series.client.read(times.client) ^ series.server.read(times.server);
            series.requests.to_bits() ^ buckets ^ series.exemplars.read(call.client_seconds)
        });
        let entity = self.series.entities.get(route.entity);
        let entity = entity.map_or(0, |series| {
            let buckets = series.own.read(times.own) ^ series.total.read(times.client);
            series.requests.to_bits() ^ series.judged ^ buckets ^ series.exemplars.read(call.client_seconds)
        });
        edge ^ graph ^ entity ^ self.judge.read(route.entity, call.operation)
    }
}
