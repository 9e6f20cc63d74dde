//! The spans of one trace with their parents resolved and grouped into visits.
//!
//! In: spans in any order, with shared ids, missing parents and even cycles. Out: [`Tree`], in which every span has
//! at most one parent, every parent chain ends, and every span knows its visit's entry.
//! Left out on purpose: meaning. Which spans are calls is said in `calls`.

use std::collections::HashMap;

use otlp::Kind;

use crate::span::{Span, SpanId};

/// Index of a span in its trace.
pub(crate) type Index = usize;

/// The resolved trace.
pub struct Tree<'a> {
    /// The spans as they came.
    pub spans: &'a [Span],
    /// The parent, which has a service; `None` for roots, orphans and spans without a service.
    pub parent: Vec<Option<Index>>,
    /// True where the parent was found only across spans without a service.
    pub bridged: Vec<bool>,
    /// True where a parent was named and did not come.
    pub orphan: Vec<bool>,
    /// The entry span of the visit that a span belongs to.
    pub entry: Vec<Index>,
    /// Children by parent, in the order of `spans`.
    pub children: Vec<Vec<Index>>,
    /// True where no span of the trace says its kind, as in some recorded tables.
    pub kindless: bool,
}

impl<'a> Tree<'a> {
    /// Resolves a trace. Linear in the number of spans.
    pub fn grow(spans: &'a [Span]) -> Self {
        let ids = Ids::new(spans);
        let n = spans.len();
        let mut tree = Self {
            spans,
            parent: vec![None; n],
            bridged: vec![false; n],
            orphan: vec![false; n],
            entry: (0..n).collect(),
            children: vec![Vec::new(); n],
            kindless: spans.iter().all(|s| s.kind == Kind::Unspecified),
        };
        for i in (0..n).filter(|&i| spans[i].service.is_some()) {
            tree.resolve(i, &ids);
        }
        tree.cut_cycles();
        for i in 0..n {
            if let Some(parent) = tree.parent[i] {
                tree.children[parent].push(i);
            }
        }
        tree.find_entries();
        tree
    }

    /// True where `a` and `b` were recorded by the same service.
    pub fn same_service(&self, a: Index, b: Index) -> bool {
        self.spans[a].service == self.spans[b].service
    }

    /// Spans that have a service, by index.
    pub fn indices(&self) -> impl Iterator<Item = Index> + '_ {
        (0..self.spans.len()).filter(|&i| self.spans[i].service.is_some())
    }

    /// The parent in the same visit.
    pub fn parent_in_visit(&self, i: Index) -> Option<Index> {
        (self.entry[i] != i).then(|| self.parent[i]).flatten()
    }

    fn resolve(&mut self, i: Index, ids: &Ids<'_>) {
        if let Some(half) = ids.other_half(i) {
            self.parent[i] = Some(half);
            return;
        }
        let (mut child, mut steps) = (i, 0);
        while let Some(wanted) = self.spans[child].parent {
            let Some(parent) = ids.parent(i, child, wanted) else {
                self.orphan[i] = true;
                return;
            };
            if self.spans[parent].service.is_some() {
                self.parent[i] = Some(parent);
                self.bridged[i] = child != i;
                return;
            }
            steps += 1;
            if steps > self.spans.len() {
                return; // a cycle of spans without a service
            }
            child = parent;
        }
        // The chain ended in a root without a service: somebody called, but nobody knows who.
        self.orphan[i] = child != i;
    }

    /// Cuts each parent chain that comes back to itself, at the span that began first.
    fn cut_cycles(&mut self) {
        let mut state = vec![Visit::New; self.spans.len()];
        for from in 0..self.spans.len() {
            let (mut at, mut path) = (from, Vec::new());
            while state[at] == Visit::New {
                state[at] = Visit::OnPath;
                path.push(at);
                match self.parent[at] {
                    Some(parent) => at = parent,
                    None => break,
                }
            }
            if state[at] == Visit::OnPath && self.parent[at].is_some() {
                let ring = path.iter().skip_while(|&&i| i != at);
                if let Some(&first) = ring.min_by_key(|&&i| (self.spans[i].start, i)) {
                    self.parent[first] = None;
                    self.orphan[first] = true;
                }
            }
            path.into_iter().for_each(|i| state[i] = Visit::Done);
        }
    }

    fn find_entries(&mut self) {
        let mut stack: Vec<Index> = (0..self.spans.len()).filter(|&i| self.parent[i].is_none()).collect();
        while let Some(i) = stack.pop() {
            for &child in &self.children[i] {
                self.entry[child] = if self.same_service(i, child) { self.entry[i] } else { child };
                stack.push(child);
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    New,
    OnPath,
    Done,
}

/// Spans by id; halves that share an id stay together.
struct Ids<'a> {
    spans: &'a [Span],
    by_id: HashMap<SpanId, Shared>,
}

enum Shared {
    One(Index),
    Many(Vec<Index>),
}

impl Shared {
    fn as_slice(&self) -> &[Index] {
        match self {
            Self::One(i) => std::slice::from_ref(i),
            Self::Many(all) => all,
        }
    }
}

impl<'a> Ids<'a> {
    fn new(spans: &'a [Span]) -> Self {
        let mut by_id: HashMap<SpanId, Shared> = HashMap::with_capacity(spans.len());
        for (i, span) in spans.iter().enumerate() {
            by_id
                .entry(span.id)
                .and_modify(|held| match held {
                    Shared::One(first) => *held = Shared::Many(vec![*first, i]),
                    Shared::Many(all) => all.push(i),
                })
                .or_insert(Shared::One(i));
        }
        Self { spans, by_id }
    }

    fn with_id(&self, id: SpanId) -> &[Index] {
        self.by_id.get(&id).map_or(&[], Shared::as_slice)
    }

    /// The calling half of a B3 call whose two halves share one id: a CLIENT or PRODUCER span of another service.
    fn other_half(&self, i: Index) -> Option<Index> {
        let span = &self.spans[i];
        if !matches!(span.kind, Kind::Server | Kind::Consumer) {
            return None;
        }
        let is_half = |&&j: &&Index| {
            let other = &self.spans[j];
            j != i
                && matches!(other.kind, Kind::Client | Kind::Producer)
                && other.service.is_some()
                && other.service != span.service
        };
        self.with_id(span.id).iter().find(is_half).copied()
    }

    /// The span that `wanted` names for `child`, on behalf of `origin`: the half of the same service before others,
    /// a serving half before a calling one.
    fn parent(&self, origin: Index, child: Index, wanted: SpanId) -> Option<Index> {
        let rank = |&&j: &&Index| {
            let other = &self.spans[j];
            let same = other.service == self.spans[origin].service;
            let serves = matches!(other.kind, Kind::Server | Kind::Consumer);
            (same, serves, std::cmp::Reverse(j))
        };
        self.with_id(wanted).iter().filter(|&&j| j != child && j != origin).max_by_key(rank).copied()
    }
}
