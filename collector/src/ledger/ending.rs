//! What ends: edges that are called otherwise now, edges that corrections took back, and what nothing was seen of for long.
//!
//! In: what the map no longer holds. Out: their series end, so that a scraper sees them go stale.
//! Left out on purpose: forgetting counts while an edge stays; only its end ends its counters.

use map::NodeKind;

use super::edges::{Gone, Renamed};
use super::{Ledger, counts::Family};

/// How often it is looked for what is stale, nanoseconds.
const SWEEP_EVERY: u64 = 60_000_000_000;

impl Ledger {
    /// Names edges anew after something was learned of their ends, and ends the series of names that are no longer used.
    pub(super) fn end_renamed(&mut self) {
        if !self.identity.take_relearn() {
            return;
        }
        let Renamed { gone, new } = self.edges.rename(&mut self.identity);
        for gone in &gone {
            self.end(gone);
        }
        // Under the new name, too, series begin at 0 and not with the next request: a counter's first value is lost.
        for key in &new {
            self.begin_series(key);
        }
        self.identity.forget_answers();
    }

    /// Ends edges that corrections took back. What they took back stays counted as long as there is room.
    pub(super) fn end_emptied(&mut self) {
        let emptied = std::mem::take(&mut self.emptied);
        if self.series.graph.len() > self.settings.budget.edges {
            for gone in &emptied {
                self.end(gone);
            }
        }
    }

    /// Ends the series of an edge that the map has no more; those that do not tell its connection go on where another
    /// edge has the same id.
    fn end(&mut self, gone: &Gone) {
        if self.edges.holds(&gone.key) {
            return;
        }
        self.series.end_graph(&gone.key);
        if !self.edges.holds_id(&gone.id) {
            self.end_entity(&gone.id);
        }
        self.identity.forget_answers();
    }

    fn end_entity(&mut self, id: &str) {
        if let Some(at) = self.series.end_entity(id) {
            self.recent.forget(at);
            self.judge.forget(at);
        }
    }

    /// Removes what nothing was seen of for long.
    pub(super) fn sweep(&mut self, now: u64) {
        if now < self.swept.saturating_add(SWEEP_EVERY) {
            return;
        }
        self.swept = now;
        let stale = u64::try_from(self.settings.stale_after.as_nanos()).unwrap_or(u64::MAX);
        let Some(before) = now.checked_sub(stale) else {
            return;
        };
        self.sweep_edges(before);
        self.sweep_nodes(before);
        self.roots.sweep(before);
        self.end_renamed();
    }

    fn sweep_edges(&mut self, before: u64) {
        let slots = self.edges.slots.iter();
        let old: Vec<u32> = slots
            .filter(|(_, slot)| slot.touched < before)
            .map(|(at, _)| at)
            .collect();
        for at in &old {
            let pair = self.edges.slots.get(*at).map(|slot| slot.pair);
            let gone = self.edges.remove(*at, &mut self.identity);
            self.drop_route(pair);
            if let Some(gone) = gone {
                self.end(&gone);
                self.counts.add(Family::Ended, "edge", 1);
            }
        }
        let slots = self.flows.slots.iter();
        let old: Vec<u32> = slots
            .filter(|(_, slot)| slot.touched < before)
            .map(|(at, _)| at)
            .collect();
        for at in &old {
            self.flows.remove(*at);
        }
        self.end_followed(&old);
    }

    /// Ends the service-graph series of producers and consumers that no flow joins any more.
    fn end_followed(&mut self, removed: &[u32]) {
        if removed.is_empty() {
            return;
        }
        let followed = self.flows.to_map(&self.identity);
        let joined = |key: &map::EdgeKey| {
            let mut flows = followed.keys();
            flows.any(|flow| flow.producer == key.client && flow.consumer == key.server)
        };
        let graph = self.series.graph_sorted().map(|(key, _)| key);
        let gone: Vec<map::EdgeKey> = graph
            .filter(|key| key.connection_type == map::ConnectionType::MessagingSystem && !joined(key))
            .cloned()
            .collect();
        for key in &gone {
            self.series.end_graph(key);
        }
        self.identity.forget_answers();
    }

    fn sweep_nodes(&mut self, before: u64) {
        let stale = self.nodes.iter().filter(|slot| {
            slot.touched < before
                && slot.node.kind == NodeKind::Service
                && !self.identity.has_edges(slot.node)
        });
        let stale: Vec<_> = stale.map(|slot| slot.node).collect();
        for node in stale {
            let id = self.identity.display(node);
            self.identity.unnote_service(node);
            self.nodes.remove(node);
            self.end_entity(id.as_str());
            self.series.end_spans(&id);
            self.counts.add(Family::Ended, "node", 1);
        }
    }
}
