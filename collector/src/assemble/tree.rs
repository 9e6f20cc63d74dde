//! The spans of one trace with their parents resolved and grouped into visits.
//!
//! In: spans in any order, with shared ids, missing parents and even cycles. Out: [`Tree`], in which every span has
//! at most one parent, every parent chain ends, and every span knows its visit's entry.
//! Left out on purpose: meaning. Which spans are calls is said in `calls`, what surrounds them in `layers`.

use otlp::Kind;

use super::ids::Ids;
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
    /// Spans that have a service, each after its parent.
    pub(super) top_down: Vec<Index>,
    /// Spans by their ids.
    pub(super) ids: Ids<'a>,
}

impl<'a> Tree<'a> {
    /// Resolves a trace. Linear in the number of spans, whatever its depth and width.
    pub fn grow(spans: &'a [Span]) -> Self {
        let n = spans.len();
        let mut tree = Self {
            spans,
            parent: vec![None; n],
            bridged: vec![false; n],
            orphan: vec![false; n],
            entry: (0..n).collect(),
            children: vec![Vec::new(); n],
            kindless: spans.iter().all(|s| s.kind == Kind::Unspecified),
            top_down: Vec::with_capacity(n),
            ids: Ids::new(spans),
        };
        let mut climbs = vec![Climb::New; n];
        for i in (0..n).filter(|&i| spans[i].service.is_some()) {
            tree.resolve(i, &mut climbs);
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

    /// The parent of another service.
    pub fn remote_parent(&self, i: Index) -> Option<Index> {
        self.parent[i].filter(|&parent| !self.same_service(parent, i))
    }

    fn resolve(&mut self, i: Index, climbs: &mut [Climb]) {
        if let Some(half) = self.ids.other_half(i) {
            self.parent[i] = Some(half);
            return;
        }
        let Some(wanted) = self.spans[i].parent else {
            return;
        };
        let named = self.ids.parent(i, wanted);
        let found = match named {
            Some(silent) if self.spans[silent].service.is_none() => {
                self.bridged[i] = true;
                self.climb(silent, climbs)
                    .and_then(|wanted| self.ids.parent(i, wanted))
            }
            other => other,
        };
        // A chain that ends in a root without a service has a caller, but nobody knows who.
        self.parent[i] = found.filter(|&parent| self.spans[parent].service.is_some());
        self.orphan[i] = self.parent[i].is_none();
    }

    /// The id of the nearest ancestor of `from` that has a service; each step is taken once per trace.
    fn climb(&self, from: Index, climbs: &mut [Climb]) -> Option<SpanId> {
        let (mut at, mut path) = (from, Vec::new());
        let found = loop {
            match climbs[at] {
                Climb::Done(found) => break found,
                Climb::OnPath => break None,
                Climb::New => {}
            }
            climbs[at] = Climb::OnPath;
            path.push(at);
            let Some(wanted) = self.spans[at].parent else {
                break None;
            };
            match self.ids.parent(at, wanted) {
                Some(parent) if self.spans[parent].service.is_some() => break Some(wanted),
                Some(parent) => at = parent,
                None => break None,
            }
        };
        for i in path {
            climbs[i] = Climb::Done(found);
        }
        found
    }

    /// Cuts each parent chain that comes back to itself, at the span that began first.
    fn cut_cycles(&mut self) {
        let mut state = vec![Walk::New; self.spans.len()];
        for from in 0..self.spans.len() {
            let (mut at, mut path) = (from, Vec::new());
            while state[at] == Walk::New {
                state[at] = Walk::OnPath;
                path.push(at);
                match self.parent[at] {
                    Some(parent) => at = parent,
                    None => break,
                }
            }
            if state[at] == Walk::OnPath && self.parent[at].is_some() {
                let ring = path.iter().skip_while(|&&i| i != at);
                let age = |&&i: &&Index| (self.spans[i].start, self.spans[i].id, &self.spans[i].service);
                if let Some(&first) = ring.min_by_key(age) {
                    self.parent[first] = None;
                    self.orphan[first] = true;
                }
            }
            for i in path {
                state[i] = Walk::Done;
            }
        }
    }

    fn find_entries(&mut self) {
        let roots = |&i: &Index| self.parent[i].is_none() && self.spans[i].service.is_some();
        let mut stack: Vec<Index> = (0..self.spans.len()).filter(roots).collect();
        while let Some(i) = stack.pop() {
            self.top_down.push(i);
            for &child in &self.children[i] {
                self.entry[child] = if self.same_service(i, child) {
                    self.entry[i]
                } else {
                    child
                };
                stack.push(child);
            }
        }
    }
}

/// What is known of the way up from a span without a service.
#[derive(Clone, Copy)]
enum Climb {
    New,
    OnPath,
    /// Ended at a span with a service, by its id, or nowhere.
    Done(Option<SpanId>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    New,
    OnPath,
    Done,
}
