//! Names that people link to stay while everything around them changes (DESIGN §3.7).

use std::collections::{BTreeMap, BTreeSet};

use dashboards::{DashboardSettings, generate, overview_uid, service_uid, uids};
use map::{ConnectionType, Edge, EdgeKey, Map, Node, NodeId, NodeKind};
use serde_json::Value;

use crate::sample::{all_files, shop, text};

/// The generator `SplitMix64`; its seed is in the test, so that a failure comes again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).expect("less than n")
    }

    fn pick(&mut self, map: &Map) -> Option<NodeId> {
        let n = map.nodes.len();
        if n == 0 {
            None
        } else {
            map.nodes.keys().nth(self.below(n)).cloned()
        }
    }
}

/// Adds, removes or changes a node, an edge or an owner.
fn edit(map: &mut Map, random: &mut Random) {
    const KINDS: [NodeKind; 4] = [
        NodeKind::Service,
        NodeKind::Database,
        NodeKind::Destination,
        NodeKind::External,
    ];
    let name = format!("svc-{}", random.below(8));
    match random.below(6) {
        0 | 1 => {
            map.nodes.entry(name.as_str().into()).or_default();
        }
        2 => {
            map.nodes.remove(name.as_str());
            map.edges
                .retain(|key, _| key.client.as_str() != name && key.server.as_str() != name);
        }
        3 => {
            if let (Some(client), Some(server)) = (random.pick(map), random.pick(map)) {
                map.edges.insert(
                    EdgeKey::new(client, server, ConnectionType::Direct),
                    Edge::default(),
                );
            }
        }
        4 => {
            let kind = KINDS[random.below(KINDS.len())];
            map.nodes.insert(
                name.as_str().into(),
                Node {
                    kind,
                    ..Node::default()
                },
            );
        }
        _ => {
            map.services.entry(name).or_default().team = Some(format!("team-{}", random.below(5)));
        }
    }
}

#[test]
fn a_uid_and_a_file_stay_with_their_service_over_1000_edits_of_the_map() {
    let mut map = shop();
    let mut random = Random(20_261_121);
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for step in 0..1_000 {
        edit(&mut map, &mut random);
        let own = map
            .nodes
            .iter()
            .filter(|(_, node)| matches!(node.kind, NodeKind::Service | NodeKind::Destination))
            .count();
        let named = uids(&map, &DashboardSettings::default());
        assert_eq!(named.len(), own + 3, "step {step}");
        let distinct: BTreeSet<&String> = named.values().collect();
        assert_eq!(distinct.len(), named.len(), "step {step}");
        for (file, uid) in &named {
            let before = known.entry(file.clone()).or_insert_with(|| uid.clone());
            assert_eq!(before, uid, "step {step}, {file}");
        }
        if step % 100 == 0 {
            let files = generate(&map, &DashboardSettings::default());
            let written: BTreeMap<String, String> = files
                .into_iter()
                .map(|(file, json)| (file, head(&json).0))
                .collect();
            assert_eq!(written, named, "step {step}");
        }
    }
    assert!(known.len() > 12, "the edits made only {} dashboards", known.len());
}

/// Uid and title, by reading the first lines only: a thousand maps are a lot of JSON.
fn head(json: &str) -> (String, String) {
    let value = |line: &str, key: &str| -> Option<String> {
        let rest = line.strip_prefix("  ")?.strip_prefix(&format!("\"{key}\": "))?;
        serde_json::from_str(rest.trim_end_matches(',')).ok()
    };
    let find = |key| json.lines().find_map(|line| value(line, key)).expect(key);
    (find("uid"), find("title"))
}

#[test]
fn no_two_dashboards_share_a_uid_or_a_title_or_a_file() {
    for files in all_files() {
        let dashboards: Vec<Value> = files
            .values()
            .map(|json| serde_json::from_str(json).unwrap())
            .collect();
        for key in ["uid", "title"] {
            let distinct: BTreeSet<String> = dashboards
                .iter()
                .map(|d| text(d, key).trim().to_lowercase())
                .collect();
            assert_eq!(distinct.len(), files.len(), "{key}");
        }
        let folded: BTreeSet<String> = files.keys().map(|file| file.to_lowercase()).collect();
        assert_eq!(folded.len(), files.len(), "names differ in more than case");
    }
}

#[test]
fn the_public_uids_are_those_in_the_files() {
    let files = generate(&shop(), &DashboardSettings::default());
    assert_eq!(head(&files["dashboards/overview.json"]).0, overview_uid());
    assert_eq!(
        head(&files["dashboards/service-cart.json"]).0,
        service_uid(&"cart".into())
    );
}

#[test]
fn hostile_names_give_legal_file_names() {
    for file in all_files().iter().flat_map(BTreeMap::keys) {
        let name = file.strip_prefix("dashboards/").expect("one directory");
        assert!(name.len() <= 200, "{name}");
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        assert!(
            name.strip_suffix(".json")
                .is_some_and(|stem| stem.chars().all(legal)),
            "{name}"
        );
    }
}
