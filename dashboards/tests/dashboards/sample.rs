//! Maps to generate from, and the files as JSON.

use std::collections::BTreeMap;

use dashboards::{DashboardSettings, generate};
use map::file::map_from_yaml;
use map::{ConnectionType, Edge, EdgeKey, Map, Node, NodeKind};
use serde_json::Value;

/// A shop with a database and a queue.
pub(crate) fn shop() -> Map {
    map_from_yaml(include_str!("shop.yaml")).expect("the sample is a map")
}

/// Names that have broken generators: quotes, slashes, line ends, variables, other scripts, 300 characters.
pub(crate) fn hostile_names() -> Vec<String> {
    let short = [
        "",
        "\"",
        "a\"b'c`d",
        "back\\slash\\",
        "prod/shop/cart",
        "../../etc/passwd",
        "line\nend\r\ttab\0nul\u{7f}",
        "${datasource}",
        "$__rate_interval",
        "[[datasource]]",
        "{{id}}",
        "größe-本-🛒",
        "Cart",
        "cart",
        "cart--",
        "}) or vector(1) #",
        "%2e%2f&x=1?y",
        "__proto__",
        ".*",
        "con",
    ];
    let long = ["x".repeat(300), "本".repeat(300)];
    short.map(str::to_owned).into_iter().chain(long).collect()
}

/// Each hostile name calls the next and a hostile database, so that each stands as caller and callee.
pub(crate) fn hostile() -> Map {
    let mut map = Map::default();
    let names = hostile_names();
    for (name, next) in names.iter().zip(names.iter().cycle().skip(1)) {
        map.nodes.insert(name.as_str().into(), Node::default());
        let database = format!("{name} db");
        map.nodes.insert(
            database.as_str().into(),
            Node {
                kind: NodeKind::Database,
                ..Node::default()
            },
        );
        let to = |server: &str, how| EdgeKey::new(name.as_str().into(), server.into(), how);
        map.edges
            .insert(to(next, ConnectionType::Direct), Edge::default());
        map.edges
            .insert(to(&database, ConnectionType::Database), Edge::default());
    }
    map
}

/// Files of the shop, of hostile names and of nothing at all, as generated.
pub(crate) fn all_files() -> Vec<BTreeMap<String, String>> {
    [shop(), hostile(), Map::default()]
        .iter()
        .map(|map| generate(map, &DashboardSettings::default()))
        .collect()
}

/// Every file of every sample, as JSON.
pub(crate) fn all_dashboards() -> Vec<(String, Value)> {
    let read = |(file, json): (String, String)| {
        let value = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{file} is no JSON: {e}"));
        (file, value)
    };
    all_files().into_iter().flatten().map(read).collect()
}

/// Panels of a dashboard, rows left out.
pub(crate) fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(dashboard, "panels").filter(|panel| panel["type"] != "row")
}

/// The items of a list below a key; nothing where there is none.
pub(crate) fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[key].as_array().into_iter().flatten()
}

/// The text below a key; empty where there is none.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}
