//! One page for each alert: what it means, why it matters, what to look at first, in this map.
//!
//! In: an alert's story and the map. Out: Markdown, in the map's order.
//! Left out on purpose: numbers. They change with the hour, and the page is read beside the alert, which has them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use map::services::settings_of;
use map::{Map, NodeId};

use crate::rules::{Story, stories};

/// The pages of all alerts, by name of the alert.
pub(crate) fn pages(map: &Map) -> impl Iterator<Item = (&'static str, String)> {
    let topology = topology(map);
    stories().map(move |story| (story.name, page(story) + &topology))
}

fn page(story: &Story) -> String {
    let Story {
        name,
        meaning,
        at_night,
        first,
        silenced_by,
    } = story;
    let mut text =
        format!("# {name}\n\n{meaning}\n\n## Why it matters\n\n{at_night}\n\n## Look at first\n\n");
    for (number, step) in first.iter().enumerate() {
        let _ = writeln!(text, "{}. {step}", number + 1);
    }
    let _ = write!(text, "\n## What silences it\n\n{silenced_by}\n\n## The map\n\n");
    text
}

fn topology(map: &Map) -> String {
    let entry_points = map.entry_points();
    let nodes: Vec<&NodeId> = map.nodes.keys().filter(|id| !is_nobody(id)).collect();
    if nodes.is_empty() {
        return "The map holds no node yet.\n".to_owned();
    }
    let mut callers: Ids<'_> = BTreeMap::new();
    let mut callees: Ids<'_> = BTreeMap::new();
    for key in map.edges.keys() {
        callers.entry(&key.server).or_default().insert(&key.client);
        callees.entry(&key.client).or_default().insert(&key.server);
    }
    let felt_at = felt_at(map, &entry_points);
    let mut text = format!(
        "Entry points, where users come in: {}.\n\n",
        list(Some(&entry_points.iter().collect()))
    );
    text += "| node | kind | team | tier | called by | calls | felt at | runbook |\n|---|---|---|---|---|---|---|---|\n";
    for id in nodes {
        let owner = map.owner(id);
        let runbook = settings_of(&map.services, id).and_then(|s| s.runbook.as_deref());
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            code(id),
            map.kind(id),
            cell(&owner.team),
            cell(&owner.tier),
            list(callers.get(id)),
            list(callees.get(id)),
            list(felt_at.get(id)),
            cell(runbook.unwrap_or_default())
        );
    }
    text
}

type Ids<'a> = BTreeMap<&'a NodeId, BTreeSet<&'a NodeId>>;

/// For each node the entry points that wait for it.
fn felt_at<'a>(map: &Map, entry_points: &'a BTreeSet<NodeId>) -> BTreeMap<NodeId, BTreeSet<&'a NodeId>> {
    let mut felt: BTreeMap<NodeId, BTreeSet<&NodeId>> = BTreeMap::new();
    for pair in map::reach::reach(map, usize::MAX).0 {
        if let Some(entry_point) = entry_points.get(&pair.id) {
            felt.entry(pair.culprit).or_default().insert(entry_point);
        }
    }
    felt
}

fn is_nobody(id: &NodeId) -> bool {
    matches!(id.as_str(), NodeId::USER | NodeId::UNKNOWN)
}

fn list(ids: Option<&BTreeSet<&NodeId>>) -> String {
    let ids: Vec<String> = ids.into_iter().flatten().map(|id| code(id)).collect();
    if ids.is_empty() {
        "none".to_owned()
    } else {
        ids.join(", ")
    }
}

fn code(id: &NodeId) -> String {
    format!("`{}`", cell(id.as_str()).replace('`', "'"))
}

/// Text that stays in its cell.
fn cell(text: &str) -> String {
    text.replace(['\n', '\r'], " ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_who_owns_a_node_and_where_its_slowness_is_felt() {
        let map = map::file::map_from_yaml(
            "version: 1\nedges:\n- {client: user, server: web}\n- {client: web, server: cart}\n\
             - {client: cart, server: 'a|b', connection_type: database}\n\
             services:\n  cart: {team: shop, tier: 1, runbook: 'https://wiki/cart'}\n",
        )
        .unwrap();
        let (name, text) = pages(&map).next().unwrap();
        assert!(text.starts_with(&format!("# {name}\n")), "{text}");
        assert!(text.contains("where users come in: `web`.\n"), "{text}");
        assert!(
            text.contains("| `cart` | service | shop | 1 | `web` | `a\\|b` | `web` | https://wiki/cart |\n"),
            "{text}"
        );
        assert!(
            text.contains("| `a\\|b` | database | shop | 1 | `cart` | none | `web` |  |\n"),
            "{text}"
        );
    }
}
