//! All series that come from spans, and which of them there are.
//!
//! In: names of nodes, edges and spans. Out: numbers under which their series are counted, and the series sorted.
//! Left out on purpose: when a series ends; the ledger knows what left the map.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use map::{EdgeKey, NodeId};
use serde::{Deserialize, Serialize};

use super::{EntityKind, EntitySeries, GraphSeries, Slab, SpanKey, SpanSeries, Timing};
use crate::names::OVERFLOW;

/// How many series of span metrics there may be.
#[derive(Clone, Copy, Debug)]
pub struct SeriesLimits {
    /// Of all services together; beyond it new span names share one name per service.
    pub spans: usize,
    /// Of one service.
    pub spans_of_service: usize,
}

impl Default for SeriesLimits {
    fn default() -> Self {
        Self {
            spans: 20_000,
            spans_of_service: 2_000,
        }
    }
}

/// All series that come from spans.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub struct SeriesStore {
    /// Tempo's service graph.
    pub graph: Slab<GraphSeries>,
    /// Ours.
    pub entities: Slab<EntitySeries>,
    /// Tempo's span metrics.
    pub spans: Slab<SpanSeries>,
    graph_by_key: BTreeMap<EdgeKey, u32>,
    entity_by_id: BTreeMap<Arc<str>, u32>,
    span_by_key: BTreeMap<SpanKey, u32>,
    names_of_service: HashMap<NodeId, usize>,
}

impl SeriesStore {
    /// The number of an edge of the service graph; at 0 from first sight.
    pub fn graph_of(&mut self, key: &EdgeKey) -> u32 {
        if let Some(at) = self.graph_by_key.get(key) {
            return *at;
        }
        let at = self.graph.insert(GraphSeries::new(key.clone()));
        self.graph_by_key.insert(key.clone(), at);
        at
    }

    /// The number of a node's series; at 0 from first sight.
    pub fn node_of(&mut self, id: &NodeId) -> u32 {
        self.entity(id.as_str(), EntityKind::Service, "", "")
    }

    /// The number of an edge's series, by the id of the edge.
    pub fn edge_of(&mut self, id: &str, key: &EdgeKey) -> u32 {
        self.entity(id, EntityKind::Edge, key.client.as_str(), key.server.as_str())
    }

    fn entity(&mut self, id: &str, kind: EntityKind, client: &str, server: &str) -> u32 {
        if let Some(at) = self.entity_by_id.get(id) {
            return *at;
        }
        let id: Arc<str> = id.into();
        let series = EntitySeries::new(Arc::clone(&id), kind, client.into(), server.into());
        let at = self.entities.insert(series);
        self.entity_by_id.insert(id, at);
        at
    }

    /// The number of a span metric, and whether its name had to be given up because a limit was reached.
    pub fn span_of(&mut self, mut key: SpanKey, limits: SeriesLimits) -> (u32, bool) {
        if let Some(at) = self.span_by_key.get(&key) {
            return (*at, false);
        }
        let of_service = self.names_of_service.get(&key.service).copied().unwrap_or(0);
        let full = self.spans.len() >= limits.spans || of_service >= limits.spans_of_service;
        if full {
            key.name = OVERFLOW.into();
            if let Some(at) = self.span_by_key.get(&key) {
                return (*at, true);
            }
        }
        let at = self.spans.insert(SpanSeries::default());
        *self.names_of_service.entry(key.service.clone()).or_default() += 1;
        self.span_by_key.insert(key, at);
        (at, full)
    }

    /// The number of an entity, where it has series.
    pub fn find_entity(&self, id: &str) -> Option<u32> {
        self.entity_by_id.get(id).copied()
    }

    /// Ends the service-graph series of an edge that no longer exists; a scraper sees them go stale.
    pub fn end_graph(&mut self, key: &EdgeKey) {
        self.graph_by_key.remove(key).map(|at| self.graph.remove(at));
    }

    /// Ends our own series of a node or edge whose id no longer exists; returns their number.
    pub fn end_entity(&mut self, id: &str) -> Option<u32> {
        let at = self.entity_by_id.remove(id)?;
        self.entities.remove(at);
        Some(at)
    }

    /// Ends the span metrics of a service that is gone.
    pub fn end_spans(&mut self, service: &NodeId) {
        let spans = &mut self.spans;
        self.span_by_key.retain(|key, at| {
            let stays = key.service != *service;
            if !stays {
                spans.remove(*at);
            }
            stays
        });
        self.names_of_service.remove(service);
    }

    /// Bytes that all series occupy, about; text that they share is counted once each.
    pub fn footprint(&self) -> usize {
        let boxed =
            |timing: &Option<Box<Timing>>| timing.as_ref().map_or(0, |t| size_of::<Timing>() + t.footprint());
        let graph = |s: &GraphSeries| s.client.footprint() + s.server.footprint() + boxed(&s.queue);
        let entity = |s: &EntitySeries| s.own.footprint() + s.total.footprint() + boxed(&s.queue);
        let span = |s: &SpanSeries| size_of_val(s.exponential.counts());
        self.graph
            .iter()
            .map(|(_, s)| size_of::<GraphSeries>() + graph(s))
            .sum::<usize>()
            + self
                .entities
                .iter()
                .map(|(_, s)| size_of::<EntitySeries>() + s.id.len() * 2 + entity(s))
                .sum::<usize>()
            + self
                .spans
                .iter()
                .map(|(_, s)| size_of::<SpanSeries>() + span(s))
                .sum::<usize>()
    }

    /// The service graph, sorted.
    pub fn graph_sorted(&self) -> impl Iterator<Item = (&EdgeKey, &GraphSeries)> {
        self.graph_by_key
            .iter()
            .filter_map(|(key, at)| Some((key, self.graph.get(*at)?)))
    }

    /// Nodes and edges, sorted by id, with their numbers.
    pub fn entities_sorted(&self) -> impl Iterator<Item = (u32, &EntitySeries)> {
        self.entity_by_id
            .values()
            .filter_map(|at| Some((*at, self.entities.get(*at)?)))
    }

    /// The span metrics, sorted.
    pub fn spans_sorted(&self) -> impl Iterator<Item = (&SpanKey, &SpanSeries)> {
        self.span_by_key
            .iter()
            .filter_map(|(key, at)| Some((key, self.spans.get(*at)?)))
    }
}

/// As it is saved: without the numbers.
#[derive(Serialize, Deserialize)]
struct Saved {
    graph: Vec<GraphSeries>,
    entities: Vec<EntitySeries>,
    spans: Vec<(SpanKey, SpanSeries)>,
}

impl From<SeriesStore> for Saved {
    fn from(store: SeriesStore) -> Self {
        Self {
            graph: store.graph_sorted().map(|(_, series)| series.clone()).collect(),
            entities: store
                .entities_sorted()
                .map(|(_, series)| series.clone())
                .collect(),
            spans: store
                .spans_sorted()
                .map(|(key, series)| (key.clone(), series.clone()))
                .collect(),
        }
    }
}

impl From<Saved> for SeriesStore {
    fn from(saved: Saved) -> Self {
        let mut store = Self::default();
        for series in saved.graph {
            let key = series.key.clone();
            let at = store.graph.insert(series);
            store.graph_by_key.insert(key, at);
        }
        for series in saved.entities {
            let id = Arc::clone(&series.id);
            let at = store.entities.insert(series);
            store.entity_by_id.insert(id, at);
        }
        for (key, series) in saved.spans {
            let at = store.spans.insert(series);
            *store.names_of_service.entry(key.service.clone()).or_default() += 1;
            store.span_by_key.insert(key, at);
        }
        store
    }
}

#[cfg(test)]
mod tests {
    use otlp::{Kind, StatusCode};

    use super::*;

    fn key(service: &str, name: &str) -> SpanKey {
        SpanKey {
            service: service.into(),
            name: name.into(),
            kind: Kind::Server.into(),
            status: StatusCode::Unset.into(),
        }
    }

    #[test]
    fn beyond_a_limit_span_names_of_a_service_share_one_and_other_services_have_room() {
        let limits = SeriesLimits {
            spans: 100,
            spans_of_service: 2,
        };
        let mut store = SeriesStore::default();
        let found = ["a", "b", "c", "d", "a"].map(|name| store.span_of(key("web", name), limits));
        assert_eq!(found, [(0, false), (1, false), (2, true), (2, true), (0, false)]);
        assert_eq!(store.span_of(key("cart", "c"), limits), (3, false));
    }

    #[test]
    fn a_series_that_ended_is_not_written_and_its_successor_starts_at_0() {
        let mut store = SeriesStore::default();
        let edge = EdgeKey::new("a".into(), "b".into(), map::ConnectionType::Direct);
        let at = store.graph_of(&edge);
        store.graph.get_mut(at).unwrap().count(3.0, false);
        store.end_graph(&edge);
        assert_eq!(store.graph_sorted().count(), 0);
        let at = store.graph_of(&edge);
        assert_eq!(store.graph.get(at).unwrap().requests.to_bits(), 0.0f64.to_bits());
    }
}
