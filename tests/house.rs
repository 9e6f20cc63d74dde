//! The house holds: who may use whom, what pure crates may touch, which versions are refused.
//!
//! In: `cargo metadata`, `Cargo.lock`, the sources and the examples of this workspace. Out: a failure that shows the path
//! or the line that broke a rule. The rules stand in ARCHITECTURE.md, the versions in deny.toml as well.
//! Left out on purpose: licences, and duplicates of a dependency; `cargo xtask deny` looks after those.

#[path = "house/examples.rs"]
mod examples;
#[path = "house/lock.rs"]
mod lock;
#[path = "house/sources.rs"]
mod sources;
#[path = "house/workspace.rs"]
mod workspace;

use std::path::{Path, PathBuf};

use lock::{MINIMUM_VERSIONS, Version};
use workspace::Workspace;

/// Who may use whom: a crate, and the crates of this workspace that it may name.
const MAY_USE: &[(&str, &[&str])] = &[
    ("config", &[]),
    ("propagation", &[]),
    ("otlp", &["config", "journal"]),
    ("map", &["config"]),
    ("dashboards", &["config", "map"]),
    ("alerts", &["config", "map"]),
    ("instrumentation", &["config", "map"]),
    ("grafana", &["config", "dashboards", "map", "otlp"]),
    ("kubernetes", &["otlp"]),
    (
        "agent",
        &[
            "config",
            "instrumentation",
            "kubernetes",
            "map",
            "otlp",
            "propagation",
        ],
    ),
    ("journal", &[]),
    ("baseline", &["map"]),
    ("exposition", &["config", "map", "otlp"]),
    ("sampling", &["config", "otlp"]),
    ("store", &["otlp"]),
    ("query", &["otlp", "store"]),
    (
        "collector",
        &[
            "alerts",
            "baseline",
            "config",
            "dashboards",
            "exposition",
            "grafana",
            "instrumentation",
            "journal",
            "kubernetes",
            "map",
            "otlp",
            "propagation",
            "query",
            "sampling",
            "store",
        ],
    ),
    (
        "tracemap",
        &[
            "agent",
            "alerts",
            "collector",
            "config",
            "dashboards",
            "grafana",
            "instrumentation",
            "kubernetes",
            "map",
            "otlp",
            "propagation",
        ],
    ),
    (
        "xtask",
        &[
            "alerts",
            "collector",
            "config",
            "instrumentation",
            "journal",
            "map",
        ],
    ),
];

/// Crates that are functions of their arguments.
const PURE: &[&str] = &[
    "propagation",
    "map",
    "dashboards",
    "alerts",
    "instrumentation",
    "config",
    "baseline",
];

/// Crates that use files and threads, and must not bring a runtime.
const NO_RUNTIME: &[&str] = &["journal"];

/// What brings sockets, or a runtime for them.
const IO: &[&str] = &["tokio", "hyper", "socket2", "mio", "async-std", "smol"];

/// Unmaintained, each with what to use instead. They may help to build tests, never the product.
const KEEP_OUT: &[(&str, &str)] = &[
    ("async-std", "tokio"),
    ("atty", "std::io::IsTerminal"),
    ("backoff", "the retry of the crate `otlp`"),
    (
        "bincode",
        "serde_json for state, a format with a version for segments",
    ),
    ("fxhash", "foldhash, or the hasher of std"),
    ("instant", "std::time, in the binaries"),
    ("paste", "names that are written out"),
    ("rustls-pemfile", "the PEM reader of rustls-pki-types"),
    ("serde_yaml", "serde-saphyr, renamed in Cargo.toml"),
    ("serde_yaml_ng", "serde-saphyr, renamed in Cargo.toml"),
    ("serde_yml", "serde-saphyr, renamed in Cargo.toml"),
    ("unsafe-libyaml", "serde-saphyr, renamed in Cargo.toml"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where a member lies: at the top, or within the collector of which it is a part.
fn home(member: &str) -> std::path::PathBuf {
    let within = root().join("collector").join(member);
    if within.join("Cargo.toml").is_file() {
        within
    } else {
        root().join(member)
    }
}

#[test]
fn each_crate_uses_only_those_that_the_design_allows() {
    let workspace = Workspace::read();
    for member in workspace.members() {
        let (_, allowed) = MAY_USE
            .iter()
            .find(|(name, _)| *name == member)
            .unwrap_or_else(|| {
                panic!("`{member}` is not in MAY_USE: say there and in ARCHITECTURE.md whom it may use")
            });
        for used in workspace.members_used_by(&member) {
            assert!(
                allowed.contains(&used.as_str()),
                "`{member}` -> `{used}`: `{member}` may use only {allowed:?}"
            );
        }
    }
}

#[test]
fn only_the_all_in_one_command_brings_agent_and_collector_together() {
    let workspace = Workspace::read();
    let reaches = |from: &str, to: &str| workspace.path(from, to);
    for member in workspace.members().iter().filter(|member| *member != "tracemap") {
        let both = reaches(member, "agent").zip(reaches(member, "collector"));
        assert_eq!(both, None, "`{member}` reaches both");
    }
}

#[test]
fn pure_crates_reach_no_socket_and_no_runtime() {
    let workspace = Workspace::read();
    let without = PURE.iter().chain(NO_RUNTIME);
    for (from, to) in without.flat_map(|from| IO.iter().map(move |to| (from, to))) {
        let path = workspace.path(from, to).map(|path| path.join(" -> "));
        assert_eq!(path, None, "`{from}` must stay pure but reaches {to}");
    }
}

#[test]
fn the_search_for_paths_finds_those_that_exist() {
    let workspace = Workspace::read();
    let path = workspace.path("alerts", "serde").expect("alerts serialises");
    assert_eq!(
        (path.first().map(String::as_str), path.last().map(String::as_str)),
        (Some("alerts"), Some("serde"))
    );
    assert!(
        workspace.path("collector", "tokio").is_some(),
        "the collector has a runtime"
    );
    assert!(
        workspace.path("alerts", "promql-parser").is_none(),
        "what only tests use is not in the product"
    );
}

#[test]
fn pure_crates_have_no_clock_no_socket_and_no_file() {
    let wrong: Vec<String> = PURE
        .iter()
        .flat_map(|name| sources::impure_lines(&home(name).join("src")))
        .collect();
    assert!(
        wrong.is_empty(),
        "time, bytes and text are arguments in pure crates:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_crate_says_what_comes_in_what_goes_out_and_what_is_left_out() {
    let workspace = Workspace::read();
    for member in workspace
        .members()
        .iter()
        .filter(|member| !matches!(member.as_str(), "tracemap" | "xtask"))
    {
        let header = sources::header(&home(member).join("src/lib.rs"));
        for part in ["In: ", "Out: ", "Left out on purpose"] {
            assert!(
                header.contains(part),
                "the header of `{member}/src/lib.rs` has no `{part}`:\n{header}"
            );
        }
    }
}

#[test]
fn every_source_file_begins_with_a_header() {
    let workspace = Workspace::read();
    let dirs = workspace
        .members()
        .into_iter()
        .map(|member| match member.as_str() {
            "tracemap" => root().join("src"),
            name => home(name).join("src"),
        });
    let without: Vec<PathBuf> = dirs
        .flat_map(|dir| sources::files(&dir))
        .filter(|file| sources::header(file).is_empty())
        .collect();
    assert!(
        without.is_empty(),
        "these begin without a `//!` header: {without:?}"
    );
}

#[test]
fn no_locked_version_is_older_than_its_advisories_allow() {
    let locked = lock::packages(&root().join("Cargo.lock"));
    assert!(
        locked.iter().any(|(name, _)| name == "tokio"),
        "Cargo.lock was read"
    );
    for (name, minimum, why) in MINIMUM_VERSIONS {
        let minimum = Version::parse(minimum);
        for (_, found) in locked.iter().filter(|(locked, _)| locked == name) {
            assert!(
                *found >= minimum,
                "`{name}` is {found}, but below {minimum} it has {why}"
            );
        }
    }
}

#[test]
fn deny_toml_refuses_the_same_versions_and_crates() {
    let deny = std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml is read");
    let bans = MINIMUM_VERSIONS
        .iter()
        .map(|(name, minimum, _)| format!("name = \"{name}\", version = \"<{minimum}\""));
    let out = KEEP_OUT.iter().map(|(name, _)| format!("crate = \"{name}\""));
    let missing: Vec<String> = bans.chain(out).filter(|entry| !deny.contains(entry)).collect();
    assert!(missing.is_empty(), "deny.toml has no ban {missing:?}");
}

#[test]
fn nothing_unmaintained_is_in_the_product() {
    let workspace = Workspace::read();
    for member in workspace.members() {
        for (name, instead) in KEEP_OUT {
            let path = workspace.path(&member, name).map(|path| path.join(" -> "));
            assert_eq!(path, None, "`{name}` is unmaintained: use {instead}");
        }
    }
}
