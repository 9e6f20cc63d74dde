//! Which node an end of a call is, after aliases, clashes of names and the budget.
//!
//! In: the ends of calls and flows. Out: ids of nodes and keys of edges and flows, the same for the same request as
//! long as nothing new is learned of its ends.
//! Left out on purpose: learning; that is the builder's.

use std::sync::Arc;

use map::{ConnectionType, EdgeKey, FlowKey, NodeId, NodeKind};

use super::{Builder, Claim, OVERFLOW, clashing, is_reserved};
use crate::assemble::{Call, End, FlowSeen};

impl Builder {
    pub(super) fn key(&self, call: &Call) -> EdgeKey {
        let (client, client_kind) = self.name(&call.client, None);
        let (server, server_kind) = self.name(&call.server, Some(&client));
        let connection = call.connection.unwrap_or(match (client_kind, server_kind) {
            (NodeKind::User | NodeKind::Unknown, _) => ConnectionType::VirtualNode,
            (_, kind) => kind.connection_type(),
        });
        let key = EdgeKey::new(client, server, connection);
        if self.map.edges.len() < self.budget.edges || self.map.edges.contains_key(&key) {
            return key;
        }
        EdgeKey::new(key.client, NodeId::from(OVERFLOW), ConnectionType::VirtualNode)
    }

    pub(super) fn flow_key(&self, seen: &FlowSeen) -> FlowKey {
        let destination = |id: &NodeId| {
            let end = End {
                id: id.clone(),
                kind: NodeKind::Destination,
                address: None,
            };
            self.name(&end, None).0
        };
        let key = FlowKey {
            producer: self.service(&seen.producer),
            destination: seen.destination.as_ref().map(destination),
            consumer: self.service(&seen.consumer),
        };
        if self.map.flows.len() < self.budget.edges || self.map.flows.contains_key(&key) {
            return key;
        }
        FlowKey {
            producer: NodeId::from(OVERFLOW),
            destination: None,
            consumer: NodeId::from(OVERFLOW),
        }
    }

    /// The node of a service: itself, or the overflow node where it came when the budget was spent.
    pub(super) fn service(&self, id: &NodeId) -> NodeId {
        let fits =
            self.map.nodes.len() < self.budget.nodes || self.map.nodes.contains_key(id) || is_reserved(id);
        if fits { id.clone() } else { NodeId::from(OVERFLOW) }
    }

    /// A peer that is named like its own caller is another node: a keyspace or host that shares the service's name.
    fn name(&self, end: &End, caller: Option<&NodeId>) -> (NodeId, NodeKind) {
        match end.kind {
            NodeKind::User | NodeKind::Unknown => return (end.id.clone(), end.kind),
            NodeKind::Service => {
                let id = self.service(&end.id);
                let kind = if id.as_str() == OVERFLOW {
                    NodeKind::Overflow
                } else {
                    NodeKind::Service
                };
                return (id, kind);
            }
            NodeKind::External => {
                let named = || {
                    self.service_named(&end.id)
                        .filter(|service| Some(service) != caller)
                };
                if let Some(service) = end.address.as_ref().and_then(|a| self.holder(a)).or_else(named) {
                    return (service, NodeKind::Service);
                }
            }
            _ => {}
        }
        let id = match self.map.nodes.get(&end.id) {
            Some(node) if node.kind != end.kind => clashing(&end.id, end.kind),
            _ if is_reserved(&end.id) => clashing(&end.id, end.kind),
            _ => end.id.clone(),
        };
        if self.map.nodes.len() >= self.budget.nodes && !self.map.nodes.contains_key(&id) {
            return (NodeId::from(OVERFLOW), NodeKind::Overflow);
        }
        (id, end.kind)
    }

    /// The one service that answers at an address.
    fn holder(&self, address: &Arc<str>) -> Option<NodeId> {
        match self.addresses.get(address) {
            Some(Claim::One(service)) => Some(service.clone()),
            _ => None,
        }
    }

    /// The service of this id, else the only one of this bare name.
    fn service_named(&self, id: &NodeId) -> Option<NodeId> {
        let is_service = self
            .map
            .nodes
            .get(id)
            .is_some_and(|node| node.kind == NodeKind::Service);
        if is_service {
            Some(id.clone())
        } else {
            self.unique_by_bare_name(id.as_str())
        }
    }

    pub(super) fn note_bare_name(&mut self, id: &NodeId) {
        self.bare_names
            .entry(Arc::from(id.name()))
            .or_default()
            .insert(id.clone());
    }

    pub(super) fn unique_by_bare_name(&self, name: &str) -> Option<NodeId> {
        let services = self.bare_names.get(name).filter(|services| services.len() == 1)?;
        services.first().cloned()
    }
}
