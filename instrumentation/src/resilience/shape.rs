//! Who waits for whom, as a graph without cycles.
//!
//! In: the map. Out: its calls by index, callers before their callees, with the calls that close a cycle told
//! apart.
//! Left out on purpose: messages. Whoever sends waits for the broker and not for who reads; nobody waits for
//! a consumer.

use std::collections::BTreeMap;

use map::{ConnectionType, EdgeKey, Map, NodeId, NodeKind};

/// A call that somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call<'a> {
    pub(super) key: &'a EdgeKey,
    /// Index of the caller in [`Shape::nodes`].
    pub(super) client: usize,
    /// Index of the callee.
    pub(super) server: usize,
    /// It leads back to somebody who already waits. How deep such calls go the map does not say.
    pub(super) closes_cycle: bool,
    /// Caller and callee wait for each other in the end.
    pub(super) in_cycle: bool,
}

/// The calls of a map.
#[derive(Debug)]
pub(super) struct Shape<'a> {
    pub(super) nodes: Vec<&'a NodeId>,
    pub(super) calls: Vec<Call<'a>>,
    /// Whether work enters the system here.
    pub(super) is_entry: Vec<bool>,
    /// Indices of calls by caller.
    pub(super) out: Vec<Vec<usize>>,
    /// Indices of calls by callee.
    pub(super) into: Vec<Vec<usize>>,
    /// Every caller before its callees, but for calls that close a cycle.
    pub(super) order: Vec<usize>,
}

/// True where the caller waits for an answer.
pub(super) fn is_waited_for(map: &Map, key: &EdgeKey) -> bool {
    let sends = key.connection_type != ConnectionType::MessagingSystem
        || map.kind(&key.server) == NodeKind::Destination;
    sends && map.kind(&key.client) != NodeKind::Destination
}

impl<'a> Shape<'a> {
    /// Begins at entry points, so that a cycle is cut where it leads back towards them.
    pub(super) fn new(map: &'a Map) -> Self {
        let keys: Vec<&EdgeKey> = map.edges.keys().filter(|key| is_waited_for(map, key)).collect();
        let mut index: BTreeMap<&NodeId, usize> = map.nodes.keys().map(|id| (id, 0)).collect();
        index.extend(keys.iter().flat_map(|key| [(&key.client, 0), (&key.server, 0)]));
        let nodes: Vec<&NodeId> = index.keys().copied().collect();
        index.values_mut().enumerate().for_each(|(i, at)| *at = i);
        let (mut out, mut into) = (vec![Vec::new(); nodes.len()], vec![Vec::new(); nodes.len()]);
        let calls = keys.iter().enumerate().map(|(i, key)| {
            let (client, server) = (index[&key.client], index[&key.server]);
            out[client].push(i);
            into[server].push(i);
            Call {
                key,
                client,
                server,
                closes_cycle: false,
                in_cycle: false,
            }
        });
        let calls = calls.collect();
        let entries = map.entry_points();
        let mut shape = Self {
            is_entry: nodes.iter().map(|id| entries.contains(*id)).collect(),
            nodes,
            calls,
            out,
            into,
            order: Vec::new(),
        };
        let first: Vec<usize> = [NodeId::user(), NodeId::unknown()]
            .iter()
            .chain(&entries)
            .filter_map(|id| index.get(id).copied())
            .collect();
        shape.sort(&first);
        shape.mark_cycles();
        shape
    }

    /// Depth first, without recursion: a chain may be as long as the map is large.
    fn sort(&mut self, first: &[usize]) {
        #[derive(Clone, Copy, PartialEq)]
        enum State {
            New,
            Open,
            Done,
        }
        let mut state = vec![State::New; self.nodes.len()];
        let all = first.iter().copied().chain(0..self.nodes.len());
        for start in all {
            if state[start] != State::New {
                continue;
            }
            state[start] = State::Open;
            let mut path = vec![(start, 0)];
            while let Some((at, next)) = path.last_mut() {
                let Some(&call) = self.out[*at].get(*next) else {
                    state[*at] = State::Done;
                    self.order.push(*at);
                    path.pop();
                    continue;
                };
                *next += 1;
                let server = self.calls[call].server;
                match state[server] {
                    State::Done => {}
                    State::Open => self.calls[call].closes_cycle = true,
                    State::New => {
                        state[server] = State::Open;
                        path.push((server, 0));
                    }
                }
            }
        }
        self.order.reverse();
    }

    /// Strongly connected components, after Kosaraju: backwards along calls, in the order of [`Shape::sort`].
    fn mark_cycles(&mut self) {
        let mut component = vec![usize::MAX; self.nodes.len()];
        for &root in &self.order {
            let mut open = vec![root];
            while let Some(at) = open.pop() {
                if component[at] == usize::MAX {
                    component[at] = root;
                    open.extend(self.into[at].iter().map(|&call| self.calls[call].client));
                }
            }
        }
        for call in &mut self.calls {
            call.in_cycle = component[call.client] == component[call.server];
        }
    }

    /// Marks `from` and all who wait for it with `by`. Nodes that are marked already stay so, and are not
    /// looked at again.
    pub(super) fn mark_callers(&self, from: usize, by: usize, marked: &mut [Option<usize>]) {
        let callers = |at: usize| self.into[at].iter().map(|&call| self.calls[call].client);
        mark(from, by, marked, callers);
    }

    /// Marks `from` and all that it waits for with `by`, likewise.
    pub(super) fn mark_callees(&self, from: usize, by: usize, marked: &mut [Option<usize>]) {
        let callees = |at: usize| self.out[at].iter().map(|&call| self.calls[call].server);
        mark(from, by, marked, callees);
    }
}

fn mark<I: Iterator<Item = usize>>(
    from: usize,
    by: usize,
    marked: &mut [Option<usize>],
    next: impl Fn(usize) -> I,
) {
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        if marked[at].is_none() {
            marked[at] = Some(by);
            open.extend(next(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use map::file::map_from_yaml;

    use super::*;

    #[test]
    fn a_cycle_is_cut_where_it_leads_back_to_the_entry_point_and_messages_are_not_waited_for() {
        let map = map_from_yaml(
            "version: 1\nnodes: {orders: {kind: destination}}\nedges:\n- {client: c, server: a}\n- \
             {client: user, server: a}\n\
             - {client: a, server: b}\n- {client: b, server: c}\n\
             - {client: c, server: orders, connection_type: messaging_system}\n\
             - {client: orders, server: a, connection_type: messaging_system}\n\
             - {client: c, server: d, connection_type: messaging_system}\n",
        )
        .unwrap();
        let shape = Shape::new(&map);
        let told = |which: fn(&Call<'_>) -> bool| -> Vec<String> {
            let calls = shape.calls.iter().filter(|call| which(call));
            calls
                .map(|call| format!("{}{}", call.key.client, call.key.server))
                .collect()
        };
        assert_eq!(told(|_| true), ["ab", "bc", "ca", "corders", "usera"]);
        assert_eq!(told(|call| call.closes_cycle), ["ca"]);
        assert_eq!(told(|call| call.in_cycle), ["ab", "bc", "ca"]);
    }
}
