//! Examples of the longest chains of services: whom a request passed.
//!
//! In: visits that begin a chain longer than any known of their service, and the calls of their trace. Out: [`map::Chain`]s.
//! It runs where a chain is longer than the last example, or as long once in 256 times, so it may take its time.
//! Left out on purpose: chains of which a late span tells: what is added then is a part of the trace only. They are counted.

use std::collections::{HashMap, HashSet};

use map::{Chain, LONGEST_CHAIN, NodeId};

use super::Ledger;
use super::edges::hex;
use crate::assemble::{Call, Visit};
use crate::shard::Closing;
use crate::span::SpanId;

impl Ledger {
    /// Keeps the ways of the chains that `deeper` names.
    #[cold]
    pub(super) fn note_chains(&mut self, closing: &Closing) {
        for visit in std::mem::take(&mut self.deeper) {
            let service = self.identity.service(super::service_of(&visit));
            let Some(at) = self.nodes.find(service) else {
                continue;
            };
            let begin = self.identity.display(service);
            let nodes = self.longest_way(begin, &visit, &closing.added.calls);
            let stats = &mut self.nodes.get_mut(at).stats;
            let known = stats.longest_chain.as_ref().map_or(1, |chain| chain.nodes.len());
            if nodes.len() > 1 && nodes.len() >= known {
                let trace = hex(&closing.trace);
                stats.longest_chain = Some(Chain { nodes, trace });
            }
        }
    }

    /// Level by level from the visit on: of the last level's calls, the way to the first. Spans that share an id may seem to call
    /// themselves, so nobody is passed twice.
    fn longest_way(&mut self, begin: NodeId, visit: &Visit, calls: &[Call]) -> Vec<NodeId> {
        let mut by_caller: HashMap<SpanId, Vec<usize>> = HashMap::new();
        let between = |call: &Call| call.visit != 0 && call.server_seconds.is_some();
        for (at, call) in calls.iter().enumerate().filter(|(_, call)| between(call)) {
            by_caller.entry(call.visit).or_default().push(at);
        }
        let mut seen = HashSet::from([visit.span]);
        // (the call, the place in `ways` of the one before it)
        let mut ways: Vec<(usize, Option<usize>)> = Vec::new();
        let mut level: Vec<(SpanId, Option<usize>)> = vec![(visit.span, None)];
        let mut last = None;
        while !level.is_empty() {
            let mut next = Vec::new();
            for (caller, before) in level {
                for &at in by_caller.get(&caller).into_iter().flatten() {
                    ways.push((at, before));
                    let way = Some(ways.len() - 1);
                    if !seen.insert(calls[at].span) {
                        continue;
                    }
                    if next.is_empty() {
                        last = way;
                    }
                    next.push((calls[at].span, way));
                }
            }
            level = next;
        }
        let mut nodes = Vec::new();
        while let Some((at, before)) = last.and_then(|way| ways.get(way)).copied() {
            let call = &calls[at];
            let route = self.route((call.client, call.server, call.connection));
            nodes.extend(
                self.edges
                    .slots
                    .get(route.edge)
                    .map(|slot| slot.key.server.clone()),
            );
            last = before;
        }
        nodes.push(begin);
        nodes.reverse();
        nodes.truncate(LONGEST_CHAIN + 1);
        nodes
    }
}
