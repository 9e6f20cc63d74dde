//! Names that spans repeat: nodes, operations and versions, each kept once for the life of the process.
//!
//! In: names as spans write them. Out: [`Node`], [`Operation`] and [`Version`], which are copied like a number, are
//! compared by identity, and need no lock to be read.
//! Left out on purpose: forgetting. Names are never freed, so their number and length are bounded, and a tenant brings no
//! more new ones than its [`Share`]; what comes beyond the bound is one name, [`OVERFLOW`], or no version, and counted.

mod share;
mod table;

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use map::{NodeId, NodeKind};

use share::Part;
pub use share::Share;
use table::Table;

/// The name of everything beyond a budget.
pub const OVERFLOW: &str = "__overflow__";

/// At most this many names of each sort, and this many bytes of text.
const MAX_NAMES: usize = 1 << 17;
const MAX_BYTES: usize = 32 << 20;
/// At most this many versions, of all services and of one; a service that names a new one with each request ends here.
const MAX_VERSIONS: usize = u16::MAX as usize;
const MAX_VERSIONS_OF_SERVICE: usize = 1 << 10;
const MAX_VERSION_BYTES: usize = 4 << 20;
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

/// What a service does, and in which version of it.
///
/// Two versions of one operation are not equal, yet have one [`Operation::index`]: whoever asks whether the same thing
/// was done compares that.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Operation {
    index: u32,
    version: Version,
}

/// `service.version` of a resource, as a number that every service shares: 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Version(u16);

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
        Self::within(end, None)
    }

    fn within(end: &End, part: Option<&Part>) -> Self {
        let beyond = || End::new(NodeId::from(OVERFLOW), NodeKind::Overflow);
        Self(NODES.get(end, end.id.as_str().len(), part, beyond))
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
    /// The operation `name` of a service, of no version; its overflow operation beyond the budget.
    pub fn of(service: Option<Node>, name: &str) -> Self {
        Self::within(service, name, None)
    }

    fn within(service: Option<Node>, name: &str, part: Option<&Part>) -> Self {
        let key = |name: &str| OperationKey {
            service,
            name: name.into(),
        };
        let name = cut(name);
        Self {
            index: OPERATIONS
                .get(&key(name), name.len(), part, || key(OVERFLOW))
                .index,
            version: Version::NONE,
        }
    }

    /// The same, as this version does it.
    #[must_use]
    pub fn with_version(self, version: Version) -> Self {
        Self { version, ..self }
    }

    /// Which version does it.
    pub fn version(self) -> Version {
        self.version
    }

    /// Dense from 0 in the order of first sight, which differs from run to run: for tables, never for order. All
    /// versions share it.
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// What is named, for as long as the process lives.
    #[inline]
    pub fn get(self) -> &'static OperationKey {
        &OPERATION_TABLE.get(self.index).value
    }
}

impl Deref for Operation {
    type Target = OperationKey;

    fn deref(&self) -> &OperationKey {
        self.get()
    }
}

/// By what they say, so that an order does not depend on who came first.
impl Ord for Operation {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        if self == other {
            return std::cmp::Ordering::Equal;
        }
        let (version, others) = (self.version.as_str(), other.version.as_str());
        self.get().cmp(other.get()).then_with(|| version.cmp(&others))
    }
}

impl PartialOrd for Operation {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)?;
        self.version
            .as_str()
            .map_or(Ok(()), |version| write!(f, "@{version}"))
    }
}

impl Version {
    /// The resource does not say it, or it came beyond the budget.
    pub const NONE: Self = Self(0);

    /// The version of a service, of all names that there is room for; see [`Share::version`].
    pub fn of(service: Node, version: &str) -> Self {
        Share::whole().version(service, version)
    }

    /// The version of this name, whosever it is, as files write it; none beyond the budget of all services.
    pub fn named(version: &str) -> Self {
        Self::within(version, None)
    }

    fn within(version: &str, part: Option<&Part>) -> Self {
        let version = cut(version);
        let found = VERSIONS.find_or_add(&Box::from(version), version.len(), part);
        found.map_or(Self::NONE, Self::at)
    }

    /// Its name; `None` for none.
    pub fn as_str(self) -> Option<&'static str> {
        let index = self.0.checked_sub(1)?;
        Some(&VERSION_TABLE.find(index.into())?.value)
    }

    /// The version of a number that [`Version::number`] gave.
    pub fn from_number(number: u16) -> Self {
        Self(number)
    }

    /// Dense from 1 in the order of first sight; 0 for none.
    pub fn number(self) -> u16 {
        self.0
    }

    fn at(entry: &Entry<Box<str>>) -> Self {
        Self(entry.index as u16 + 1)
    }
}

/// How often a name was asked for that was beyond the budget of all, since the process began, and no [`Share`] counted it.
pub fn beyond_budget() -> u64 {
    let beyond = [&NODES.beyond, &OPERATIONS.beyond, &VERSIONS.beyond];
    beyond.map(|count| count.load(Ordering::Relaxed)).iter().sum()
}

/// At most [`MAX_NAME_BYTES`] of a name, whole characters.
pub fn cut(name: &str) -> &str {
    name.get(..name.floor_char_boundary(MAX_NAME_BYTES))
        .unwrap_or(name)
}

static NODE_TABLE: Table<Entry<End>> = Table::new();
static OPERATION_TABLE: Table<Entry<OperationKey>> = Table::new();
static VERSION_TABLE: Table<Entry<Box<str>>> = Table::new();

static NODES: LazyLock<Interner<End>> = LazyLock::new(|| Interner::new(&NODE_TABLE, MAX_NAMES, MAX_BYTES));
static OPERATIONS: LazyLock<Interner<OperationKey>> =
    LazyLock::new(|| Interner::new(&OPERATION_TABLE, MAX_NAMES, MAX_BYTES));
static VERSIONS: LazyLock<Interner<Box<str>>> =
    LazyLock::new(|| Interner::new(&VERSION_TABLE, MAX_VERSIONS, MAX_VERSION_BYTES));

struct Interner<T: 'static> {
    known: Mutex<Known<T>>,
    table: &'static Table<Entry<T>>,
    max: usize,
    max_bytes: usize,
    beyond: AtomicU64,
}

struct Known<T: 'static> {
    names: HashMap<&'static T, &'static Entry<T>>,
    bytes: usize,
}

impl<T: Clone + Eq + Hash> Interner<T> {
    /// Of at most `max` names of `max_bytes` together, and as many more that stand for what is beyond.
    fn new(table: &'static Table<Entry<T>>, max: usize, max_bytes: usize) -> Self {
        let known = Known {
            names: HashMap::new(),
            bytes: 0,
        };
        Self {
            known: Mutex::new(known),
            table,
            max,
            max_bytes,
            beyond: AtomicU64::new(0),
        }
    }

    /// The name of a value; that of `beyond` where there is no room for it.
    fn get(
        &self,
        value: &T,
        bytes: usize,
        part: Option<&Part>,
        beyond: impl FnOnce() -> T,
    ) -> &'static Entry<T> {
        self.find_or_add(value, bytes, part).unwrap_or_else(|| {
            let (overflow, mut known) = (beyond(), self.lock());
            match known.names.get(&overflow) {
                Some(name) => name,
                None => known.add(self.table, overflow, 0),
            }
        })
    }

    /// The name of a value; `None`, and counted, where there is no room for it, or none in the `part` of whoever brings it.
    fn find_or_add(&self, value: &T, bytes: usize, part: Option<&Part>) -> Option<&'static Entry<T>> {
        let mut known = self.lock();
        if let Some(name) = known.names.get(value) {
            return Some(name);
        }
        let fits = known.names.len() < self.max && known.bytes + bytes <= self.max_bytes;
        if fits && part.is_none_or(|part| part.take(bytes)) {
            return Some(known.add(self.table, value.clone(), bytes));
        }
        let beyond = part.map_or(&self.beyond, |part| &part.beyond);
        beyond.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// The name of a value that was named before.
    fn find(&self, value: &T) -> Option<&'static Entry<T>> {
        self.lock().names.get(value).copied()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known<T>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Eq + Hash> Known<T> {
    fn add(&mut self, table: &'static Table<Entry<T>>, value: T, bytes: usize) -> &'static Entry<T> {
        let index = self.names.len() as u32;
        let entry = table.set(index, Entry { index, value });
        self.bytes += bytes;
        self.names.insert(&entry.value, entry);
        entry
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
    fn versions_of_an_operation_differ_and_share_its_number() {
        let service = Node::service("names-v".into());
        let plain = Operation::of(Some(service), "get");
        let [old, new] = ["1.9", "1.10"].map(|text| plain.with_version(Version::of(service, text)));
        assert_ne!(old, new);
        assert_eq!((old.index(), new.index()), (plain.index(), plain.index()));
        assert_eq!(
            (old.version().as_str(), plain.version().as_str(), &*new.name),
            (Some("1.9"), None, "get")
        );
        assert!(plain < new && new < old, "by what they say: {new:?}");
        assert_eq!(
            Version::named("1.9"),
            old.version(),
            "a name is one version, whosever it is"
        );
        assert_eq!(Version::of(service, ""), Version::NONE);
    }

    #[test]
    fn a_name_beyond_the_budget_is_the_overflow_and_counted() {
        let full = Interner::new(Box::leak(Box::new(Table::new())), MAX_NAMES, MAX_BYTES);
        let beyond = || OVERFLOW.to_owned();
        let first = full.get(&"first".to_owned(), MAX_BYTES, None, beyond);
        let second = full.get(&"second".to_owned(), 6, None, beyond);
        assert_eq!(
            (
                first.value.as_str(),
                second.value.as_str(),
                full.beyond.load(Ordering::Relaxed)
            ),
            ("first", OVERFLOW, 1)
        );
        assert_eq!(
            full.get(&"first".to_owned(), MAX_BYTES, None, beyond).index,
            first.index
        );
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let name = "é".repeat(300);
        assert_eq!(cut(&name).len(), 512);
        assert_eq!(cut(&name[..599 - 1]).len(), 512);
        assert_eq!(cut("short"), "short");
    }
}
