//! Maps to generate from, and the files as JSON.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use dashboards::{DashboardSettings, Files, Histograms, generate};
use map::file::map_from_yaml;
use map::{ConnectionType, Edge, EdgeKey, Map, Node, NodeKind};
use serde_json::Value;

/// A shop with a database and a queue.
pub(crate) fn shop() -> Map {
    map_from_yaml(include_str!("shop.yaml")).expect("the sample is a map")
}

/// Names that have broken generators: quotes, slashes, line ends, variables, other scripts, 4 KiB.
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
        "cart ",
        "CART",
        "سلة التسوق",
        "\u{202e}trac\u{202c}",
        "a`b``c```",
        "<img src=x onerror=alert(1)>",
        "*bold* _it_ [link](http://x) | # h",
        "%n$1 $$ \\x24",
    ];
    let long = [
        "x".repeat(300),
        "本".repeat(300),
        "y".repeat(4096),
        "y".repeat(4097),
    ];
    short.map(str::to_owned).into_iter().chain(long).collect()
}

/// Each hostile name calls the next and a hostile database, so that each stands as caller and callee.
pub(crate) fn hostile() -> Map {
    let mut map = Map::default();
    let names = hostile_names();
    for (name, next) in names.iter().zip(names.iter().cycle().skip(1)) {
        map.nodes.insert(name.as_str().into(), Node::default());
        let queue = format!("{name} q");
        map.nodes.insert(
            queue.as_str().into(),
            Node {
                kind: NodeKind::Destination,
                ..Node::default()
            },
        );
        let key = EdgeKey::new(
            name.as_str().into(),
            queue.as_str().into(),
            ConnectionType::MessagingSystem,
        );
        map.edges.insert(key, Edge::default());
        let stated = map.services.entry(name.clone()).or_default();
        (stated.team, stated.runbook) = (Some(name.clone()), Some("https://runbooks.example/".to_owned()));
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

/// 1,000 services, each of which calls ten others.
pub(crate) fn large() -> Map {
    let name = |i: usize| format!("service-{:04}", i % 1000);
    let mut map = Map::default();
    for i in 0..1000 {
        map.nodes.insert(name(i).as_str().into(), Node::default());
        for step in 1..=10 {
            let (client, server) = (name(i), name(i + step * 37));
            let key = EdgeKey::new(
                client.as_str().into(),
                server.as_str().into(),
                ConnectionType::Direct,
            );
            map.edges.insert(key, Edge::default());
        }
    }
    map
}

/// Settings under which the files differ: one per entity, templates, native histograms.
pub(crate) fn all_settings() -> [DashboardSettings; 3] {
    let templated = DashboardSettings {
        files: Files::Templated,
        ..DashboardSettings::default()
    };
    let native = DashboardSettings {
        histograms: Histograms::Native,
        traces: false,
        ..DashboardSettings::default()
    };
    [DashboardSettings::default(), templated, native]
}

/// Files of the shop, of hostile names and of nothing at all, as generated under all settings.
pub(crate) fn all_files() -> &'static [BTreeMap<String, String>] {
    static FILES: LazyLock<Vec<BTreeMap<String, String>>> = LazyLock::new(|| {
        let maps = [shop(), hostile(), Map::default()];
        let settings = all_settings();
        let each = |map: &Map| settings.each_ref().map(|settings| generate(map, settings));
        maps.iter().flat_map(each).collect()
    });
    &FILES
}

/// Every file of every sample, as JSON.
pub(crate) fn all_dashboards() -> &'static [(String, Value)] {
    static DASHBOARDS: LazyLock<Vec<(String, Value)>> = LazyLock::new(|| {
        let read = |(file, json): (&String, &String)| {
            let value = serde_json::from_str(json).unwrap_or_else(|e| panic!("{file} is no JSON: {e}"));
            (file.clone(), value)
        };
        all_files().iter().flatten().map(read).collect()
    });
    &DASHBOARDS
}

/// Panels of a dashboard, rows left out.
pub(crate) fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(dashboard, "panels").filter(|panel| panel["type"] != "row")
}

/// Panels that show data: no texts either.
pub(crate) fn charts(dashboard: &Value) -> impl Iterator<Item = &Value> {
    panels(dashboard).filter(|panel| panel["type"] != "text")
}

/// The items of a list below a key; nothing where there is none.
pub(crate) fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[key].as_array().into_iter().flatten()
}

/// The text below a key; empty where there is none.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}
