//! Names that spans repeat: nodes and operations, each kept once for the life of the process.
//!
//! In: names as spans write them. Out: [`Node`] and [`Operation`], which are copied like a number, are compared by
//! identity, and need no lock to be read.
//! Left out on purpose: forgetting. Names are never freed, so their number and length are bounded; what comes beyond
//! the bound is one name, [`OVERFLOW`], and counted.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use map::{NodeId, NodeKind};

/// The name of everything beyond a budget.
pub const OVERFLOW: &str = "__overflow__";

/// At most this many names of each sort, and this many bytes of text.
const MAX_NAMES: usize = 1 << 17;
const MAX_BYTES: usize = 32 << 20;
/// Longer names are cut here: no label of a series and no line of a page is longer.
const MAX_NAME_BYTES: usize = 512;

/// A value that is kept once. Equal names are the same name.
pub struct Name<T: 'static>(&'static Entry<T>);

struct Entry<T> {
    index: u32,
    value: T,
}

/// Somebody who calls or is called, as spans name it; the map may know it by another name.
pub type Node = Name<End>;
/// What a service does.
pub type Operation = Name<OperationKey>;

/// A node as spans name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct End {
    /// The node's id, before aliases.
    pub id: NodeId,
    /// The node's kind.
    pub kind: NodeKind,
    /// The address that was dialled, where only that names the node.
    pub address: Option<Arc<str>>,
}

/// An operation: a span's name, and the service that recorded it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationKey {
    /// `None` where the resource has no `service.name`.
    pub service: Option<Node>,
    /// The span's name.
    pub name: Arc<str>,
}

impl<T> Name<T> {
    /// Dense from 0 in the order of first sight, which differs from run to run: for tables, never for order.
    pub fn index(self) -> usize {
        self.0.index as usize
    }

    /// What is named, for as long as the process lives.
    pub fn get(self) -> &'static T {
        &self.0.value
    }
}

impl Node {
    /// The node of an end; the overflow node beyond the budget.
    pub fn of(end: &End) -> Self {
        let beyond = || End::new(NodeId::from(OVERFLOW), NodeKind::Overflow);
        NODES.get(end, end.id.as_str().len(), beyond)
    }

    /// A service that reports its own spans.
    pub fn service(id: NodeId) -> Self {
        Self::of(&End::new(id, NodeKind::Service))
    }

    /// A queue or topic.
    pub fn destination(name: &str) -> Self {
        Self::of(&End::new(NodeId::from(cut(name)), NodeKind::Destination))
    }

    /// Whoever is outside.
    pub fn user() -> Self {
        static USER: LazyLock<Node> = LazyLock::new(|| Node::of(&End::new(NodeId::user(), NodeKind::User)));
        *USER
    }

    /// A caller that did not report.
    pub fn unknown() -> Self {
        static UNKNOWN: LazyLock<Node> =
            LazyLock::new(|| Node::of(&End::new(NodeId::unknown(), NodeKind::Unknown)));
        *UNKNOWN
    }
}

impl End {
    /// A node that no address names.
    pub fn new(id: NodeId, kind: NodeKind) -> Self {
        Self {
            id,
            kind,
            address: None,
        }
    }
}

impl Operation {
    /// The operation `name` of a service; its overflow operation beyond the budget.
    pub fn of(service: Option<Node>, name: &str) -> Self {
        let key = |name: &str| OperationKey {
            service,
            name: name.into(),
        };
        let name = cut(name);
        OPERATIONS.get(&key(name), name.len(), || key(OVERFLOW))
    }
}

/// How often a name was asked for that was beyond the budget, since the process began.
pub fn beyond_budget() -> u64 {
    NODES.beyond.load(Ordering::Relaxed) + OPERATIONS.beyond.load(Ordering::Relaxed)
}

/// At most [`MAX_NAME_BYTES`] of a name, whole characters.
pub fn cut(name: &str) -> &str {
    name.get(..name.floor_char_boundary(MAX_NAME_BYTES))
        .unwrap_or(name)
}

static NODES: LazyLock<Interner<End>> = LazyLock::new(Interner::default);
static OPERATIONS: LazyLock<Interner<OperationKey>> = LazyLock::new(Interner::default);

struct Interner<T: 'static> {
    known: Mutex<Known<T>>,
    beyond: AtomicU64,
}

struct Known<T: 'static> {
    names: HashMap<&'static T, Name<T>>,
    bytes: usize,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        let known = Known {
            names: HashMap::new(),
            bytes: 0,
        };
        Self {
            known: Mutex::new(known),
            beyond: AtomicU64::new(0),
        }
    }
}

impl<T: Clone + Eq + Hash> Interner<T> {
    fn get(&self, value: &T, bytes: usize, beyond: impl FnOnce() -> T) -> Name<T> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = known.names.get(value) {
            return *name;
        }
        if known.names.len() < MAX_NAMES && known.bytes + bytes <= MAX_BYTES {
            return known.add(value.clone(), bytes);
        }
        self.beyond.fetch_add(1, Ordering::Relaxed);
        let overflow = beyond();
        match known.names.get(&overflow) {
            Some(name) => *name,
            None => known.add(overflow, 0),
        }
    }
}

impl<T: Eq + Hash> Known<T> {
    fn add(&mut self, value: T, bytes: usize) -> Name<T> {
        let index = self.names.len() as u32;
        let entry: &'static Entry<T> = Box::leak(Box::new(Entry { index, value }));
        self.bytes += bytes;
        self.names.insert(&entry.value, Name(entry));
        Name(entry)
    }
}

impl<T> Clone for Name<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Name<T> {}

impl<T> Deref for Name<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T> PartialEq for Name<T> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl<T> Eq for Name<T> {}

impl<T> Hash for Name<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(self.0.index);
    }
}

/// By what they say, so that an order does not depend on who came first.
impl<T: Ord> Ord for Name<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        if self == other {
            return std::cmp::Ordering::Equal;
        }
        self.0.value.cmp(&other.0.value)
    }
}

impl<T: Ord> PartialOrd for Name<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: fmt::Debug> fmt::Debug for Name<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.value.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once_and_ordered_by_what_it_says() {
        let service = Node::service("names-a".into());
        assert_eq!(service, Node::service("names-a".into()));
        let (late, early) = (
            Operation::of(Some(service), "z"),
            Operation::of(Some(service), "a"),
        );
        assert!(early < late);
        assert_eq!(Operation::of(Some(service), "z").index(), late.index());
        assert_ne!(Operation::of(None, "z"), late);
    }

    #[test]
    fn a_name_beyond_the_budget_is_the_overflow_and_counted() {
        let full: Interner<String> = Interner::default();
        let beyond = || OVERFLOW.to_owned();
        let first = full.get(&"first".to_owned(), MAX_BYTES, beyond);
        let second = full.get(&"second".to_owned(), 6, beyond);
        assert_eq!(
            (
                first.as_str(),
                second.as_str(),
                full.beyond.load(Ordering::Relaxed)
            ),
            ("first", OVERFLOW, 1)
        );
        assert_eq!(full.get(&"first".to_owned(), MAX_BYTES, beyond), first);
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let name = "é".repeat(300);
        assert_eq!(cut(&name).len(), 512);
        assert_eq!(cut(&name[..599 - 1]).len(), 512);
        assert_eq!(cut("short"), "short");
    }
}
