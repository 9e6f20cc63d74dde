//! One tenant's share of the names that a process has room for.
//!
//! In: names as a tenant's spans write them. Out: the same [`Node`], [`Operation`] and [`Version`] as everybody's, or the
//! overflow where the tenant has brought as many new names as its share allows, counted.
//! Left out on purpose: paying for what another tenant brought before: a name is kept once, and costs nothing more.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use map::{NodeId, NodeKind};

use super::{
    End, MAX_BYTES, MAX_NAMES, MAX_VERSION_BYTES, MAX_VERSIONS, MAX_VERSIONS_OF_SERVICE, Node, Operation,
    VERSIONS, Version, cut,
};

/// How many names one tenant may bring, and how many it brought.
#[derive(Debug)]
pub struct Share {
    nodes: Part,
    operations: Part,
    versions: Part,
    versions_of: Mutex<HashMap<Node, HashSet<Version>>>,
}

/// The same of one sort of names.
#[derive(Debug)]
pub(super) struct Part {
    max: usize,
    max_bytes: usize,
    names: AtomicUsize,
    bytes: AtomicUsize,
    /// How often one was asked for beyond it.
    pub(super) beyond: AtomicU64,
}

impl Part {
    fn new((part, all): (u64, u64), names: usize, bytes: usize) -> Self {
        let of = |whole: usize| usize::try_from(whole as u64 * part / all.max(1)).unwrap_or(whole);
        Self {
            max: of(names),
            max_bytes: of(bytes),
            names: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            beyond: AtomicU64::new(0),
        }
    }

    /// Takes room for a name of so many bytes; false where there is none. Called with the names locked.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let (names, held) = (
            self.names.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        );
        let fits = names < self.max && held + bytes <= self.max_bytes;
        if fits {
            self.names.store(names + 1, Ordering::Relaxed);
            self.bytes.store(held + bytes, Ordering::Relaxed);
        }
        fits
    }
}

impl Share {
    /// `part` of `all`.
    pub fn new(part: u64, all: u64) -> Self {
        let of = (part, all);
        Self {
            nodes: Part::new(of, MAX_NAMES, MAX_BYTES),
            operations: Part::new(of, MAX_NAMES, MAX_BYTES),
            versions: Part::new(of, MAX_VERSIONS, MAX_VERSION_BYTES),
            versions_of: Mutex::default(),
        }
    }

    /// All of it, which every reader has that belongs to no tenant.
    pub fn whole() -> Arc<Self> {
        static WHOLE: LazyLock<Arc<Share>> = LazyLock::new(|| Arc::new(Share::new(1, 1)));
        Arc::clone(&WHOLE)
    }

    /// The node of an end; the overflow node beyond the share.
    pub fn node(&self, end: &End) -> Node {
        Node::within(end, Some(&self.nodes))
    }

    /// A service that reports its own spans.
    pub fn service(&self, id: NodeId) -> Node {
        self.node(&End::new(id, NodeKind::Service))
    }

    /// A queue or topic.
    pub fn destination(&self, name: &str) -> Node {
        self.node(&End::new(NodeId::from(cut(name)), NodeKind::Destination))
    }

    /// The operation `name` of a service, of no version; its overflow operation beyond the share.
    pub fn operation(&self, service: Option<Node>, name: &str) -> Operation {
        Operation::within(service, name, Some(&self.operations))
    }

    /// The version of a service; none where nothing is said, or beyond the budget of the service or the share.
    pub fn version(&self, service: Node, version: &str) -> Version {
        let version = cut(version);
        if version.is_empty() {
            return Version::NONE;
        }
        let mut of_services = self.versions_of.lock().unwrap_or_else(PoisonError::into_inner);
        let known = of_services.entry(service).or_default();
        let before = VERSIONS.find(&Box::from(version)).map(Version::at);
        if let Some(before) = before.filter(|before| known.contains(before)) {
            return before;
        }
        if known.len() >= MAX_VERSIONS_OF_SERVICE {
            self.versions.beyond.fetch_add(1, Ordering::Relaxed);
            return Version::NONE;
        }
        let found = Version::within(version, Some(&self.versions));
        known.insert(found);
        found
    }

    /// How often a name was asked for that was beyond the share.
    pub fn beyond(&self) -> u64 {
        let parts = [&self.nodes, &self.operations, &self.versions];
        parts.map(|part| part.beyond.load(Ordering::Relaxed)).iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::OVERFLOW;
    use super::*;

    #[test]
    fn a_service_of_versions_without_end_has_none_beyond_its_budget_and_others_have_theirs() {
        let share = Share::new(1, 1);
        let (wild, tame) = (
            share.service("names-wild".into()),
            share.service("names-tame".into()),
        );
        let of = |n: usize| share.version(wild, &format!("build-{n}"));
        let first = of(0);
        assert!((1..MAX_VERSIONS_OF_SERVICE).all(|n| of(n) != Version::NONE));
        assert!((0..10).all(|n| of(MAX_VERSIONS_OF_SERVICE + n) == Version::NONE));
        assert_eq!(share.beyond(), 10, "it is counted");
        assert_eq!(of(0), first, "what was known stays known");
        assert_ne!(share.version(tame, "build-1024"), Version::NONE);
        let another = Share::new(1, 1);
        assert_ne!(
            another.version(wild, "build-1025"),
            Version::NONE,
            "another tenant's service of that name has its own"
        );
    }

    #[test]
    fn who_brings_names_without_end_has_the_overflow_beyond_its_share_and_others_are_as_before() {
        // A share of 13 names.
        let (noisy, quiet) = (Share::new(1, 10_000), Share::new(1, 10_000));
        let service = noisy.service("names-share".into());
        let of = |share: &Share, n: usize| share.operation(Some(service), &format!("share-{n}"));
        let named = |n: usize| &*of(&noisy, n).name != OVERFLOW;
        assert_eq!((0..100).filter(|n| named(*n)).count(), 13);
        assert_eq!(noisy.beyond(), 87);
        assert_eq!(&*of(&quiet, 99).name, "share-99");
        assert_eq!(quiet.beyond(), 0);
        assert_eq!(&*of(&noisy, 99).name, "share-99", "what is known costs nothing");
    }
}
