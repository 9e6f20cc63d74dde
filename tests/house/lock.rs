//! Versions in `Cargo.lock`.
//!
//! In: the lock file. Out: names and versions, and the versions below which a crate has a known fault.
//! Left out on purpose: features and platforms. What is locked may be built by somebody.

use std::fmt;
use std::path::Path;

/// The crate, its first good version, and what is wrong below. deny.toml bans the same.
pub(crate) const MINIMUM_VERSIONS: &[(&str, &str, &str)] = &[
    ("aws-lc-sys", "0.39.0", "RUSTSEC-2026-0044 to 0048"),
    ("bytes", "1.11.1", "RUSTSEC-2026-0007"),
    ("crossbeam-channel", "0.5.15", "a double free on drop"),
    ("h2", "0.4.16", "RUSTSEC-2026-0258"),
    ("lru", "0.18.2", "unsound iterators"),
    ("lz4_flex", "0.12.1", "RUSTSEC-2026-0041"),
    ("memmap2", "0.9.11", "unsound ranges"),
    ("object_store", "0.10.2", "tokens in logs"),
    ("protobuf", "3.7.2", "unbounded recursion"),
    ("rkyv", "0.8.17", "unsound access"),
    ("rustls", "0.23.46", "RUSTSEC-2026-0285 and 0346 to 0349"),
    (
        "rustls-webpki",
        "0.103.16",
        "RUSTSEC-2026-0049, 0098, 0099, 0104 and 0382",
    ),
    ("scc", "3.8.4", "unsound iteration"),
    ("time", "0.3.47", "a stack overflow on long input"),
    ("tokio", "1.44.2", "RUSTSEC-2025-0023"),
    ("tonic", "0.14.3", "no limit on decompressed messages"),
    (
        "tracing-subscriber",
        "0.3.20",
        "RUSTSEC-2025-0055: escape sequences of peers in logs",
    ),
    ("webpki-roots", "1.0.10", "RUSTSEC-2026-0381"),
];

/// `major.minor.patch`; what follows is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version([u64; 3]);

impl Version {
    pub(crate) fn parse(text: &str) -> Self {
        let numbers = text.split(['-', '+']).next().unwrap_or_default();
        let mut parts = numbers
            .split('.')
            .map(|part| part.parse().expect("a version is made of numbers"));
        Self(std::array::from_fn(|_| parts.next().unwrap_or(0)))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// Every package of a lock file.
pub(crate) fn packages(path: &Path) -> Vec<(String, Version)> {
    let lock = std::fs::read_to_string(path).expect("Cargo.lock is read");
    let value = |line: &str, key: &str| Some(line.strip_prefix(key)?.trim_matches('"').to_owned());
    let names = lock.lines().filter_map(|line| value(line, "name = "));
    // The file's own format version has no quotes.
    let versions = lock
        .lines()
        .filter(|line| line.ends_with('"'))
        .filter_map(|line| value(line, "version = "));
    names
        .zip(versions.map(|version| Version::parse(&version)))
        .collect()
}

#[test]
fn versions_are_compared_by_number() {
    assert!(Version::parse("0.4.20") > Version::parse("0.4.16"));
    assert!(Version::parse("0.10.0") > Version::parse("0.9.11"));
    assert!(Version::parse("1.0.0-rc.1") >= Version::parse("1"));
}
