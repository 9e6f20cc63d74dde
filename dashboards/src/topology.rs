//! The map as dashboards ask it: who is beside whom, who vanished, who has a dashboard of its own.
//!
//! In: a map and settings. Out: an index that is built once and asked for every dashboard.
//! Left out on purpose: a clock. The map's own time is that of the latest request in it: a service is gone when others
//! went on without it, and nobody is gone because the whole system rests, or because the map is old.

use std::collections::{BTreeMap, BTreeSet};

use map::model::UnixNanos;
use map::services::settings_of;
use map::{EdgeKey, Map, NodeId, NodeKind, Objective};

use crate::identity;
use crate::promql::Times;
use crate::settings::{DashboardSettings, Files};

/// Whether a node is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Seen lately, or its map has no times, as one written by hand.
    Present,
    /// Not seen since, while others were.
    Vanished {
        /// When it was seen last.
        since: UnixNanos,
    },
    /// Not seen for so long that it has no dashboard.
    Retired,
}

/// A map with what follows from its shape.
#[derive(Debug)]
pub(crate) struct Topology<'a> {
    pub(crate) map: &'a Map,
    pub(crate) settings: &'a DashboardSettings,
    pub(crate) times: Times,
    /// True where one dashboard serves all services, and one all queues.
    pub(crate) templated: bool,
    callers: BTreeMap<&'a NodeId, Vec<&'a EdgeKey>>,
    callees: BTreeMap<&'a NodeId, Vec<&'a EdgeKey>>,
    entry_points: BTreeSet<NodeId>,
    seen: BTreeMap<&'a NodeId, UnixNanos>,
    now: UnixNanos,
    /// How many dashboards have a title, case aside.
    titles: BTreeMap<String, u32>,
}

impl<'a> Topology<'a> {
    pub(crate) fn new(map: &'a Map, settings: &'a DashboardSettings) -> Self {
        let (mut callers, mut callees) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        let mut by_edges: BTreeMap<&NodeId, UnixNanos> = BTreeMap::new();
        for (key, edge) in &map.edges {
            callers.entry(&key.server).or_default().push(key);
            callees.entry(&key.client).or_default().push(key);
            for end in [&key.client, &key.server] {
                let last = by_edges.entry(end).or_default();
                *last = edge.seen.last.max(*last);
            }
        }
        let seen = map.nodes.iter().map(|(id, node)| {
            let told = by_edges.get(id).copied().unwrap_or(0);
            let last = if node.kind == NodeKind::Service && node.seen.last > 0 {
                node.seen.last
            } else {
                node.seen.last.max(told)
            };
            (id, last)
        });
        let mut topology = Self {
            map,
            settings,
            times: Times(settings.histograms),
            templated: false,
            callers,
            callees,
            entry_points: map.entry_points(),
            now: by_edges.values().copied().max().unwrap_or(0),
            seen: seen.collect(),
            titles: BTreeMap::new(),
        };
        topology.now = topology
            .seen
            .values()
            .copied()
            .max()
            .unwrap_or(0)
            .max(topology.now);
        let entities = topology.services().chain(topology.queues()).count();
        topology.templated = match settings.files {
            Files::PerEntity => false,
            Files::Templated => true,
            Files::Auto => entities > settings.max_per_entity as usize,
        };
        let mut titles: BTreeMap<String, u32> = BTreeMap::new();
        for id in topology.services().chain(topology.queues()) {
            *titles.entry(identity::folded(id)).or_default() += 1;
        }
        topology.titles = titles;
        topology
    }

    /// Services that have a dashboard, vanished ones among them.
    pub(crate) fn services(&self) -> impl Iterator<Item = &'a NodeId> + '_ {
        self.of_kind(NodeKind::Service)
    }

    /// Broker destinations that have a dashboard.
    pub(crate) fn queues(&self) -> impl Iterator<Item = &'a NodeId> + '_ {
        self.of_kind(NodeKind::Destination)
    }

    fn of_kind(&self, kind: NodeKind) -> impl Iterator<Item = &'a NodeId> + '_ {
        let nodes = self.map.nodes.iter().filter(move |(_, node)| node.kind == kind);
        nodes
            .map(|(id, _)| id)
            .filter(|id| self.presence(id) != Presence::Retired)
    }

    /// Edges that lead to a node, by the caller's id.
    pub(crate) fn callers(&self, id: &NodeId) -> &[&'a EdgeKey] {
        self.callers.get(id).map_or(&[], Vec::as_slice)
    }

    /// Edges that lead away from a node, by the callee's id.
    pub(crate) fn callees(&self, id: &NodeId) -> &[&'a EdgeKey] {
        self.callees.get(id).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn presence(&self, id: &NodeId) -> Presence {
        let since = self.seen.get(id).copied().unwrap_or(0);
        if since == 0 {
            return Presence::Present;
        }
        let silent = u128::from(self.now.saturating_sub(since));
        let retire = self.settings.retire_after.get().as_nanos();
        if retire > 0 && silent >= retire {
            Presence::Retired
        } else if silent >= self.settings.vanished_after.get().as_nanos().max(1) {
            Presence::Vanished { since }
        } else {
            Presence::Present
        }
    }

    /// True where work enters the system at a node.
    pub(crate) fn is_entry_point(&self, id: &NodeId) -> bool {
        self.entry_points.contains(id)
    }

    /// True where another node's title would differ from this one's in case only.
    pub(crate) fn has_twin(&self, id: &NodeId) -> bool {
        self.titles.get(&identity::folded(id)).is_some_and(|n| *n > 1)
    }

    /// What people promised for a node.
    pub(crate) fn objectives(&self, id: &NodeId) -> &'a [Objective] {
        settings_of(&self.map.services, id).map_or(&[], |stated| &stated.objectives)
    }

    /// True where anything is promised.
    pub(crate) fn has_objectives(&self) -> bool {
        self.map
            .services
            .values()
            .any(|stated| !stated.objectives.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use map::file::map_from_yaml;

    use super::*;

    const HOUR: u64 = 3_600_000_000_000;

    fn map(cart_silent_for: u64) -> Map {
        let yaml = "version: 1\nedges:\n- {client: user, server: web}\n- {client: web, server: cart}\n";
        let mut map = map_from_yaml(yaml).unwrap();
        let now = 1_000 * HOUR;
        for (id, node) in &mut map.nodes {
            let silent = if id.as_str() == "cart" { cart_silent_for } else { 0 };
            node.seen.note(now - silent);
        }
        map
    }

    #[test]
    fn a_service_that_others_went_on_without_has_vanished_and_is_retired_later() {
        let settings = DashboardSettings::default();
        let presence = |silent| Topology::new(&map(silent), &settings).presence(&"cart".into());
        assert_eq!(presence(HOUR - 1), Presence::Present);
        assert_eq!(presence(HOUR), Presence::Vanished { since: 999 * HOUR });
        assert_eq!(presence(24 * HOUR), Presence::Retired);
    }

    #[test]
    fn nobody_vanishes_from_a_map_without_times_and_0s_never_retires() {
        let settings = DashboardSettings {
            retire_after: config::HumanDuration::from_secs(0),
            ..DashboardSettings::default()
        };
        let map = map(500 * HOUR);
        let topology = Topology::new(&map, &settings);
        assert_eq!(
            topology.presence(&"cart".into()),
            Presence::Vanished { since: 500 * HOUR }
        );
        let plain = map_from_yaml("version: 1\nedges:\n- {client: web, server: cart}\n").unwrap();
        assert_eq!(
            Topology::new(&plain, &settings).presence(&"cart".into()),
            Presence::Present
        );
    }

    #[test]
    fn beyond_the_bound_templates_serve_all() {
        let map = map(0);
        let templated = |max_per_entity| {
            let settings = DashboardSettings {
                max_per_entity,
                ..DashboardSettings::default()
            };
            Topology::new(&map, &settings).templated
        };
        assert!(!templated(2), "web and cart are two");
        assert!(templated(1));
    }
}
