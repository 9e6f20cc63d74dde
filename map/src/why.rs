//! Why an edge is on the map, or why it is not (DESIGN §3.9).
//!
//! In: the map and two names. Out: [`Why`], which says what was found and what to change.
//! Left out on purpose: looking at spans. What the map did not keep cannot be told here.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use crate::id::{EdgeKey, NodeId, NodeKind};
use crate::model::{Edge, Map};

/// The answer to "why is there an edge from A to B, or none?"
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// There is one.
    Edge {
        /// Which.
        key: EdgeKey,
        /// Its evidence, when it was seen, and examples.
        edge: Box<Edge>,
    },
    /// The map has no such node.
    UnknownNode {
        /// As it was asked for.
        name: String,
        /// The nearest names that the map has.
        nearest: Vec<NodeId>,
    },
    /// Several services answer at the address, so it names none of them.
    SharedAddress {
        /// The address.
        address: NodeId,
        /// Who answers there.
        services: Vec<NodeId>,
    },
    /// The edge leads the other way.
    Reversed {
        /// The edge that there is.
        key: EdgeKey,
    },
    /// A reaches B only through others.
    Through {
        /// The shortest way, both ends included.
        path: Vec<NodeId>,
    },
    /// B is called by somebody who did not report: perhaps A, whose context did not arrive.
    Orphans {
        /// Who is called.
        server: NodeId,
        /// How often its caller was missing.
        requests: u64,
    },
    /// A calls somebody whom its spans do not name: perhaps B.
    UnnamedPeers {
        /// Who calls.
        client: NodeId,
        /// How often.
        calls: u64,
    },
    /// A's further callees were folded together because a budget was spent.
    Overflow {
        /// Who calls.
        client: NodeId,
    },
    /// A reports no calls at all.
    NoCalls {
        /// Who should call.
        client: NodeId,
        /// True where it reports no spans either, because only its callers tell of it.
        is_virtual: bool,
    },
    /// Nothing speaks for the edge.
    NoTrace {
        /// Who should call.
        client: NodeId,
        /// Who should be called.
        server: NodeId,
    },
}

impl Map {
    /// Why there is an edge from `client` to `server`, or the most likely reason why there is none.
    ///
    /// Names are ids, or addresses that turned out to be a service's.
    pub fn why(&self, client: &str, server: &str) -> Why {
        let (client, server) = match (self.known(client), self.known(server)) {
            (Ok(client), Ok(server)) => (client, server),
            (Err(why), _) | (_, Err(why)) => return why,
        };
        let between = |from: &NodeId, to: &NodeId| {
            self.edges
                .iter()
                .find(|(key, _)| key.client == *from && key.server == *to)
        };
        if let Some((key, edge)) = between(&client, &server) {
            return Why::Edge {
                key: key.clone(),
                edge: Box::new(edge.clone()),
            };
        }
        if let Some(why) = [&server, &client].into_iter().find_map(|id| self.shared(id)) {
            return why;
        }
        if let Some((key, _)) = between(&server, &client) {
            return Why::Reversed { key: key.clone() };
        }
        if let Some(path) = self.path(&client, &server) {
            return Why::Through { path };
        }
        self.why_not(client, server)
    }

    fn why_not(&self, client: NodeId, server: NodeId) -> Why {
        let orphans = self.nodes.get(&server).map_or(0, |node| node.stats.orphans);
        let unnamed = self.nodes.get(&client).map_or(0, |node| node.stats.unnamed_peers);
        let callees: Vec<NodeKind> = self
            .callees(&client)
            .map(|(key, _)| self.kind(&key.server))
            .collect();
        if callees.contains(&NodeKind::Overflow) {
            return Why::Overflow { client };
        }
        if unnamed > 0 {
            return Why::UnnamedPeers {
                client,
                calls: unnamed,
            };
        }
        if orphans > 0 {
            return Why::Orphans {
                server,
                requests: orphans,
            };
        }
        if callees.is_empty() {
            let is_virtual = self.kind(&client).is_virtual();
            return Why::NoCalls { client, is_virtual };
        }
        Why::NoTrace { client, server }
    }

    /// The node of an id or of an alias.
    fn known(&self, name: &str) -> Result<NodeId, Why> {
        if let Some((id, _)) = self.nodes.get_key_value(name) {
            return Ok(id.clone());
        }
        let aliased = self.nodes.iter().find(|(_, node)| node.aliases.contains(name));
        aliased.map(|(id, _)| id.clone()).ok_or_else(|| {
            let mut nearest: Vec<&NodeId> = self.nodes.keys().collect();
            nearest.sort_by_cached_key(|id| distance(id.name(), name).min(distance(id.as_str(), name)));
            Why::UnknownNode {
                name: name.to_owned(),
                nearest: nearest.into_iter().take(3).cloned().collect(),
            }
        })
    }

    fn shared(&self, id: &NodeId) -> Option<Why> {
        let services: Vec<NodeId> = self.nodes.get(id)?.shared_by.iter().cloned().collect();
        (!services.is_empty()).then(|| Why::SharedAddress {
            address: id.clone(),
            services,
        })
    }

    fn path(&self, from: &NodeId, to: &NodeId) -> Option<Vec<NodeId>> {
        let mut callees: BTreeMap<&NodeId, Vec<&NodeId>> = BTreeMap::new();
        self.edges
            .keys()
            .for_each(|key| callees.entry(&key.client).or_default().push(&key.server));
        let (mut before, mut queue) = (BTreeMap::from([(from, from)]), VecDeque::from([from]));
        while let Some(at) = queue.pop_front() {
            if at == to {
                let step = |id: &&NodeId| before.get(id).copied().filter(|caller| caller != id);
                let back = std::iter::successors(Some(at), step);
                let mut path: Vec<NodeId> = back.cloned().collect();
                path.reverse();
                return Some(path);
            }
            for callee in callees.get(at).into_iter().flatten() {
                if !before.contains_key(callee) {
                    before.insert(callee, at);
                    queue.push_back(callee);
                }
            }
        }
        None
    }
}

/// Letters to add, drop or change (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.chars().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |ids: &[NodeId], by: &str| {
            ids.iter()
                .map(|id| format!("`{id}`"))
                .collect::<Vec<_>>()
                .join(by)
        };
        match self {
            Self::Edge { key, edge } => {
                let e = &edge.evidence;
                write!(
                    f,
                    "`{}` calls `{}`: {} requests, {} failed; ",
                    key.client, key.server, edge.stats.requests, edge.stats.failed
                )?;
                write!(
                    f,
                    "{} paired, {} hinted, {} linked, {} by the client only, {} by the server only, {} bridged, {} counted by an agent; ",
                    e.paired, e.hinted, e.linked, e.client_only, e.server_only, e.bridged, e.counted
                )?;
                write!(
                    f,
                    "first seen {}, last seen {} (nanoseconds since 1970); traces {}",
                    edge.seen.first,
                    edge.seen.last,
                    edge.examples.join(", ")
                )
            }
            Self::UnknownNode { name, nearest } => {
                write!(
                    f,
                    "the map has no node `{name}`; the nearest names are {}",
                    list(nearest, ", ")
                )
            }
            Self::SharedAddress { address, services } => {
                write!(
                    f,
                    "`{address}` names nobody, since {} all answer there: set `peer.service` on the calling spans",
                    list(services, ", ")
                )
            }
            Self::Reversed { key } => write!(
                f,
                "the edge leads the other way: `{}` calls `{}`",
                key.client, key.server
            ),
            Self::Through { path } => write!(f, "there is no direct call, but a way: {}", list(path, " -> ")),
            Self::Orphans { server, requests } => {
                write!(
                    f,
                    "`{server}` was called {requests} times by a caller that did not report: let the caller send `traceparent` and export its spans"
                )
            }
            Self::UnnamedPeers { client, calls } => {
                write!(
                    f,
                    "{calls} CLIENT spans of `{client}` name no far side: set `server.address` or `peer.service` on them"
                )
            }
            Self::Overflow { client } => {
                write!(
                    f,
                    "callees of `{client}` were folded into the overflow node: raise the map's budget of nodes or edges"
                )
            }
            Self::NoCalls {
                client,
                is_virtual: true,
            } => {
                write!(
                    f,
                    "`{client}` reports no spans, only its callers tell of it: instrument it or put an agent before it"
                )
            }
            Self::NoCalls {
                client,
                is_virtual: false,
            } => {
                write!(
                    f,
                    "`{client}` reports no span of kind CLIENT or PRODUCER: instrument its outgoing calls or route them through an agent"
                )
            }
            Self::NoTrace { client, server } => {
                write!(
                    f,
                    "no span tells of a call from `{client}` to `{server}`, and both report otherwise: it does not happen, or was sampled out before"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::map_from_yaml;

    const SHOP: &str = "version: 1\nnodes:\n  idle: {kind: service}\n  gate: {kind: external}\nedges:\n\
        - {client: web, server: cart}\n- {client: cart, server: stock}\n- {client: cart, server: gate, connection_type: virtual_node}\n";

    fn check(client: &str, server: &str, said: &str) {
        let mut map = map_from_yaml(SHOP).unwrap();
        map.nodes
            .get_mut("cart")
            .unwrap()
            .aliases
            .insert("10.0.0.7:80".to_owned());
        map.nodes
            .get_mut("gate")
            .unwrap()
            .shared_by
            .extend(["web".into(), "stock".into()]);
        let why = map.why(client, server).to_string();
        assert!(why.contains(said), "{why}");
    }

    #[test]
    fn an_edge_or_its_absence_is_explained() {
        check("web", "cart", "`web` calls `cart`: 0 requests");
        check("web", "10.0.0.7:80", "`web` calls `cart`");
        check("web", "cort", "no node `cort`; the nearest names are `cart`");
        check("cart", "web", "the other way");
        check("web", "stock", "`web` -> `cart` -> `stock`");
        check(
            "web",
            "gate",
            "`gate` names nobody, since `stock`, `web` all answer there",
        );
        check("idle", "web", "`idle` reports no span of kind CLIENT");
        check("cart", "idle", "no span tells of a call from `cart` to `idle`");
    }

    #[test]
    fn missing_halves_are_named_as_the_likely_reason() {
        let mut map = map_from_yaml(SHOP).unwrap();
        map.nodes.get_mut("idle").unwrap().stats.orphans = 4;
        assert_eq!(
            map.why("web", "idle"),
            Why::Orphans {
                server: "idle".into(),
                requests: 4
            }
        );
        map.nodes.get_mut("web").unwrap().stats.unnamed_peers = 2;
        assert_eq!(
            map.why("web", "idle"),
            Why::UnnamedPeers {
                client: "web".into(),
                calls: 2
            }
        );
    }
}
