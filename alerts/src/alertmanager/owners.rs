//! Teams whose pages would reach nobody.
//!
//! In: the map and settings. Out: one finding for each such team.
//! Left out on purpose: what follows from it. `tracemap generate` writes nothing; a collector whose map grows by itself
//! cannot stop for it, and its file names the receivers that notify nobody.

use std::collections::{BTreeMap, BTreeSet};

use config::Finding;
use map::{Map, NodeId, Owner};

use crate::settings::{AlertSettings, ReceiverSettings};

/// Whose pages reach nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unreachable {
    /// Teams that have no receiver while others have one: a slip, and each page of theirs would be lost in silence.
    pub refused: Vec<Finding>,
    /// What is allowed and should be said: that there is no receiver of pages at all, as before somebody sets one up;
    /// that nodes without a team have none.
    pub told: Vec<Finding>,
}

/// Whose pages reach nobody: teams of the map without an address of their own while there is no general one.
/// `path` is the key of the settings.
pub fn unreachable_owners(map: &Map, settings: &AlertSettings, path: &str) -> Unreachable {
    let mut found = Unreachable::default();
    let receivers = &settings.receivers;
    if has_general(receivers) {
        return found;
    }
    let reached = reached(receivers);
    if reached.is_empty() {
        found.told.push(Finding {
            path: format!("{path}.receivers.page"),
            message: "no page reaches anybody".to_owned(),
            hint: Some("set `receivers.page`, or an address for each team in `receivers.teams`".to_owned()),
        });
        return found;
    }
    let mut owned: BTreeMap<String, Vec<&NodeId>> = BTreeMap::new();
    let chargeable = |id: &&NodeId| !matches!(id.as_str(), NodeId::USER | NodeId::UNKNOWN);
    for id in map.nodes.keys().filter(chargeable) {
        owned.entry(map.owner(id).team).or_default().push(id);
    }
    for (team, nodes) in owned.iter().filter(|(team, _)| !reached.contains(team.as_str())) {
        if team == Owner::NOBODY {
            found.told.push(of_nobody(nodes, path));
        } else {
            found.refused.push(of_team(team, nodes, path));
        }
    }
    found
}

fn has_general(receivers: &ReceiverSettings) -> bool {
    receivers.page.is_some() || receivers.slack.as_ref().is_some_and(|slack| slack.page.is_some())
}

fn reached(receivers: &ReceiverSettings) -> BTreeSet<&str> {
    let channels = receivers.slack.iter().flat_map(|slack| slack.teams.keys());
    receivers
        .teams
        .keys()
        .chain(channels)
        .map(String::as_str)
        .collect()
}

fn of_team(team: &str, nodes: &[&NodeId], path: &str) -> Finding {
    Finding {
        path: format!("{path}.receivers.teams.{team}"),
        message: format!("pages of the team `{team}` reach nobody; it owns {}", some(nodes)),
        hint: Some("give it an address there, or set `receivers.page` for all".to_owned()),
    }
}

fn of_nobody(nodes: &[&NodeId], path: &str) -> Finding {
    Finding {
        path: format!("{path}.receivers.page"),
        message: format!("pages of nodes without a team reach nobody: {}", some(nodes)),
        hint: Some("set `receivers.page`, or name their team in `services`".to_owned()),
    }
}

fn some(nodes: &[&NodeId]) -> String {
    match nodes {
        [] => "none".to_owned(),
        [only] => format!("`{only}`"),
        [first, rest @ ..] => format!("`{first}` and {} more", rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is refused, then what is told after a `|`.
    fn unreachable(settings: &str) -> String {
        let map = map::file::map_from_yaml(
            "version: 1\nedges:\n- {client: user, server: web}\n- {client: web, server: cart}\n\
             - {client: web, server: pay}\n- {client: web, server: ads}\n\
             services:\n  web: {team: front}\n  cart: {team: shop}\n  pay: {team: shop}\n",
        )
        .unwrap();
        let settings: AlertSettings = config::load("test.yaml", settings, []).unwrap();
        let found = unreachable_owners(&map, &settings, "alerts");
        let said = |findings: Vec<Finding>| {
            let each = findings.into_iter().map(|f| format!("{}: {}", f.path, f.message));
            each.collect::<Vec<_>>().join("; ")
        };
        format!("{}|{}", said(found.refused), said(found.told))
    }

    #[test]
    fn a_team_without_an_address_is_named_with_its_key_once_others_have_one() {
        assert_eq!(unreachable(""), "|alerts.receivers.page: no page reaches anybody");
        assert_eq!(
            unreachable("receivers: {teams: {front: 'http://front'}}"),
            "alerts.receivers.teams.shop: pages of the team `shop` reach nobody; it owns `cart` and 1 more\
             |alerts.receivers.page: pages of nodes without a team reach nobody: `ads`"
        );
    }

    #[test]
    fn a_general_receiver_of_either_kind_reaches_every_team() {
        assert_eq!(unreachable("receivers: {page: 'http://pager'}"), "|");
        let slack = "receivers: {slack: {api_url_file: /s, page: '#oncall'}, teams: {front: 'http://front'}}";
        assert_eq!(unreachable(slack), "|");
        let own = "receivers: {slack: {api_url_file: /s, teams: {shop: '#shop', front: '#front'}}}";
        assert!(unreachable(own).starts_with("|alerts.receivers.page: pages of nodes without a team"));
    }
}
