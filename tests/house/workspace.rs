//! The dependency graph of this workspace.
//!
//! In: `cargo metadata` for the machine that runs the tests. Out: members, and the shortest path from one to anything.
//! Left out on purpose: what only tests use.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::process::Command;

use serde_json::Value;

/// Packages and whom they use outside tests.
pub(crate) struct Workspace {
    /// Package name by package id; members by the short name under which the code uses them.
    names: BTreeMap<String, String>,
    members: BTreeSet<String>,
    uses: BTreeMap<String, Vec<String>>,
}

impl Workspace {
    /// Asks cargo. Needs no network once the workspace was built.
    pub(crate) fn read() -> Self {
        let host = said(&["-vV"]);
        let host = host
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .expect("cargo says its host");
        let text = said(&[
            "metadata",
            "--locked",
            "--format-version",
            "1",
            "--filter-platform",
            host,
        ]);
        Self::from_metadata(&serde_json::from_str(&text).expect("cargo metadata is JSON"))
    }

    fn from_metadata(metadata: &Value) -> Self {
        let ids: BTreeSet<String> = list(&metadata["workspace_members"]).map(text).collect();
        let name = |package: &Value| {
            let (id, name) = (text(&package["id"]), text(&package["name"]));
            let short = name
                .strip_prefix("tracemap-")
                .filter(|_| ids.contains(&id))
                .unwrap_or(&name)
                .to_owned();
            (id, short)
        };
        let names: BTreeMap<String, String> = list(&metadata["packages"]).map(name).collect();
        let uses =
            list(&metadata["resolve"]["nodes"]).map(|node| (text(&node["id"]), product_dependencies(node)));
        Self {
            members: ids,
            uses: uses.collect(),
            names,
        }
    }

    /// Names of the packages of this workspace, sorted.
    pub(crate) fn members(&self) -> Vec<String> {
        let mut names: Vec<String> = self.members.iter().map(|id| self.names[id].clone()).collect();
        names.sort();
        names
    }

    /// The members that a member names itself.
    pub(crate) fn members_used_by(&self, member: &str) -> Vec<String> {
        let used = self.uses[self.member(member)].iter();
        used.filter(|id| self.members.contains(*id))
            .map(|id| self.names[id].clone())
            .collect()
    }

    /// The shortest path from a member to the package `to`, both ends included; `None` where it does not reach it.
    pub(crate) fn path(&self, member: &str, to: &str) -> Option<Vec<String>> {
        let start = self.member(member);
        let mut from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(at) = queue.pop_front() {
            if at != start && self.names[at] == to {
                return Some(self.walk_back(at, start, &from));
            }
            for next in self.uses.get(at).into_iter().flatten() {
                if next != start && !from.contains_key(next.as_str()) {
                    from.insert(next, at);
                    queue.push_back(next);
                }
            }
        }
        None
    }

    fn walk_back(&self, end: &str, start: &str, from: &BTreeMap<&str, &str>) -> Vec<String> {
        let mut ids = vec![end];
        while let Some(before) = ids.last().filter(|at| **at != start).and_then(|at| from.get(at)) {
            ids.push(before);
        }
        ids.iter().rev().map(|id| self.names[*id].clone()).collect()
    }

    fn member(&self, name: &str) -> &str {
        let found = self.members.iter().find(|id| self.names[*id] == name);
        found.unwrap_or_else(|| panic!("`{name}` is no member of the workspace: {:?}", self.members()))
    }
}

fn product_dependencies(node: &Value) -> Vec<String> {
    let in_product = |dependency: &&Value| list(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null());
    list(&node["deps"])
        .filter(in_product)
        .map(|dependency| text(&dependency["pkg"]))
        .collect()
}

fn said(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(args)
        .current_dir(super::root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("cargo speaks UTF-8")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
