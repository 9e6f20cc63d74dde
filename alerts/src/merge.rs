//! Our routes within an Alertmanager configuration that belongs to somebody else.
//!
//! In: the text of that file, and what we want in it. Out: the same text with our part between marker comments: a
//! sub-tree under `route.routes`, our receivers, hours and templates. The first merge puts the parts in, the next
//! replaces what stands between the markers, wherever they have been moved to within their list; every other byte stays,
//! comments, order and anchors among them. So text is spliced and never written anew from what was read.
//! Left out on purpose: reading and writing the file, and what Alertmanager makes of the rest of it.
//!
//! Our sub-tree is put first under `route.routes`, so that no route of somebody else takes our alerts before; it takes
//! the alerts of our rules alone. Before anything is returned the result is read again: it must say what the file
//! said before, and besides it what we want and nothing else.

mod error;
mod splice;
mod tree;

use map::Map;
use serde::Serialize;

use crate::alertmanager::{Parts, names_of_silent};
use crate::settings::AlertSettings;

pub use error::MergeError;
use splice::{Edits, indent_of};
use tree::{Lines, Node, Value, parse};

/// What all names of ours begin with in somebody else's file.
pub const PREFIX: &str = "tracemap-";

/// A list of the configuration that holds a part of ours.
struct Section {
    /// Its key, and the name in its markers.
    key: &'static str,
    /// The mapping that holds the key: `route`, or the whole file.
    within: Option<&'static str>,
    /// Our items as YAML, each line with its end; empty where we have none.
    items: String,
    /// How many they are.
    count: usize,
    /// Names that are ours and nobody else's.
    names: Vec<String>,
}

/// The text of `existing` with our part in it, for the generated receivers that belong to `map` and `settings`.
///
/// `templates` is the path of the generated templates as that Alertmanager sees it; it is named only where a receiver of
/// ours uses them.
///
/// # Errors
/// A text that is no configuration, or cannot be extended without touching the rest of it; see [`MergeError`].
pub fn merge(
    existing: &str,
    map: &Map,
    settings: &AlertSettings,
    templates: &str,
) -> Result<String, MergeError> {
    // A byte order mark is no part of the first line.
    let text = existing.strip_prefix('\u{feff}').unwrap_or(existing);
    let mark = &existing[..existing.len() - text.len()];
    let sections = sections(map, settings, templates);
    let before = parse(text)?;
    check(&before)?;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let blocks = splice::blocks(&lines, &sections)?;
    let mut edits = Edits::new(&lines);
    for (section, block) in sections.iter().zip(&blocks) {
        match block {
            Some(block) => edits.replace(section, block),
            None if section.count > 0 => put_in(&mut edits, &before, section, &lines, &blocks)?,
            None => {}
        }
    }
    let (merged, ours) = edits.applied();
    let replaced: Vec<Lines> = blocks.into_iter().flatten().collect();
    verify(&before, &replaced, &merged, &sections, &ours)?;
    Ok(format!("{mark}{merged}"))
}

fn sections(map: &Map, settings: &AlertSettings, templates: &str) -> [Section; 4] {
    let parts = Parts::sub_tree(map, settings, PREFIX);
    let uses_text = parts
        .receivers
        .iter()
        .any(|receiver| !receiver.slack_configs.is_empty());
    let templates: Vec<&str> = uses_text.then_some(templates).into_iter().collect();
    let receivers = parts.receivers.iter().map(|r| r.name.clone()).collect();
    let intervals = parts.time_intervals.iter().map(|i| i.name.clone()).collect();
    let silent = names_of_silent(&parts.receivers);
    let note = silent
        .map(|names| format!("# These notify nobody until the settings give their address: {names}.\n"));
    let section = |key, within, (items, count), names| Section {
        key,
        within,
        items,
        count,
        names,
    };
    [
        section("templates", None, items(&templates), Vec::new()),
        section("time_intervals", None, items(&parts.time_intervals), intervals),
        section("routes", Some("route"), items(&[parts.route]), Vec::new()),
        Section {
            items: note.unwrap_or_default() + &items(&parts.receivers).0,
            ..section("receivers", None, items(&parts.receivers), receivers)
        },
    ]
}

fn items(list: &[impl Serialize]) -> (String, usize) {
    if list.is_empty() {
        return (String::new(), 0);
    }
    let text = serde_yaml::to_string(&list).expect("plain data of strings serialises");
    (text, list.len())
}

/// What every configuration has, and no key twice where we put something in.
fn check(root: &Node) -> Result<(), MergeError> {
    if !matches!(root.value, Value::Map(_)) {
        return Err(MergeError::Empty);
    }
    let (key, route) = root.entry("route").ok_or(MergeError::Lacks { key: "route" })?;
    root.entry("receivers")
        .ok_or(MergeError::Lacks { key: "receivers" })?;
    for mapping in [root, route] {
        if let Some((key, line)) = mapping.twice() {
            let key = key.to_owned();
            return Err(MergeError::Twice { key, line });
        }
    }
    let in_lines = matches!(&route.value, Value::Map(_)) && !route.inline && !root.inline;
    let line = key.line;
    in_lines
        .then_some(())
        .ok_or(MergeError::Inline { key: "route", line })
}

/// Puts a section in for the first time: right below the key of its list, or as a list of its own.
fn put_in(
    edits: &mut Edits<'_>,
    root: &Node,
    section: &Section,
    lines: &[&str],
    blocks: &[Option<Lines>],
) -> Result<(), MergeError> {
    let unsafe_here = || MergeError::Unsafe { section: section.key };
    let (route_key, route) = root.entry("route").ok_or(MergeError::Lacks { key: "route" })?;
    let holder = if section.within.is_some() { route } else { root };
    if let Some((key, list)) = holder.entry(section.key) {
        if list.items().is_empty() || list.inline {
            let (key, line) = (section.key, key.line);
            return Err(MergeError::Inline { key, line });
        }
        let item = splice::first_item(lines, key.line).ok_or_else(unsafe_here)?;
        edits.insert(section, key.line, indent_of(item), false);
    } else if section.within.is_some() {
        let first = route.line.checked_sub(1).and_then(|at| lines.get(at));
        edits.insert(
            section,
            route_key.line,
            indent_of(first.ok_or_else(unsafe_here)?),
            true,
        );
    } else {
        let line = route_key.line.checked_sub(1).ok_or_else(unsafe_here)?;
        let indent = indent_of(lines.get(line).ok_or_else(unsafe_here)?);
        edits.insert(
            section,
            splice::above_its_comment(lines, line, blocks),
            indent,
            true,
        );
    }
    Ok(())
}

/// Reads the result again, and believes it only where it says what it should.
fn verify(
    before: &Node,
    replaced: &[Lines],
    merged: &str,
    sections: &[Section],
    ours: &[(&'static str, Lines)],
) -> Result<(), MergeError> {
    let first = sections
        .iter()
        .find(|section| section.count > 0)
        .map_or("routes", |s| s.key);
    let garbled = |_| MergeError::Unsafe { section: first };
    let after = parse(merged).map_err(garbled)?;
    check(&after)?;
    let written: Vec<Lines> = ours.iter().map(|(_, lines)| lines.clone()).collect();
    for section in sections {
        let holder = match section.within {
            Some(key) => after.entry(key).map(|(_, value)| value),
            None => Some(&after),
        };
        let list = holder
            .and_then(|holder| holder.entry(section.key))
            .map(|(_, list)| list);
        let items = list.map(Node::items).unwrap_or_default();
        let block = ours
            .iter()
            .find(|(key, _)| *key == section.key)
            .map(|(_, lines)| lines);
        let is_ours = |item: &&Node| block.is_some_and(|lines| item.is_within(lines));
        if items.iter().filter(is_ours).count() != section.count {
            return Err(MergeError::Unsafe { section: section.key });
        }
        let others = items.iter().filter(|item| !is_ours(item));
        let mut named = others.filter_map(|item| item.entry("name")).map(|(_, name)| name);
        if let Some(name) = named.find(|name| {
            name.text()
                .is_some_and(|text| section.names.iter().any(|n| n == text))
        }) {
            let (line, name) = (name.line, name.text().unwrap_or_default().to_owned());
            return Err(MergeError::Name { name, line });
        }
    }
    if before.told(replaced) == after.told(&written) {
        Ok(())
    } else {
        Err(MergeError::Unsafe { section: first })
    }
}
