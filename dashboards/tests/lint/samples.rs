//! Maps, and the files that are generated from them.
//!
//! In: the demo's map, and one made of names that have broken generators. Out: every file of each, read.
//! Left out on purpose: large maps; the same panels stand there more often.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use dashboards::{DashboardSettings, generate};
use map::file::map_from_yaml;
use map::{ConnectionType, Edge, EdgeKey, Flow, FlowKey, Map, Node, NodeKind};

use crate::document::Document;

/// Quotes, backslashes, line ends, Grafana's and `PromQL`'s own marks, other scripts, text from right to left, 4 KiB.
fn hostile_names() -> Vec<String> {
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
        "$1",
        "[[datasource]]",
        "{{id}}",
        "größe-本-🛒",
        "שלום\u{202e}عربي",
        "Cart",
        "cart",
        "}) or vector(1) #",
        "%2e%2f&x=1?y",
        "__proto__",
        ".*",
        "<script>alert(1)</script>",
        "| a | b |\n|---|---|",
        "\u{2028}\u{feff}",
    ];
    short
        .map(str::to_owned)
        .into_iter()
        .chain(["x".repeat(4096)])
        .collect()
}

/// Each name calls the next one, a database and a queue that the next one reads. One name of so many is taken.
fn hostile(one_of: usize) -> Map {
    let mut map = Map::default();
    let names: Vec<String> = hostile_names().into_iter().step_by(one_of).collect();
    for (name, next) in names.iter().zip(names.iter().cycle().skip(1)) {
        let (database, queue) = (format!("{name} db"), format!("{name} queue"));
        let nodes = [
            (name, NodeKind::Service),
            (&database, NodeKind::Database),
            (&queue, NodeKind::Destination),
        ];
        for (id, kind) in nodes {
            map.nodes.insert(
                id.as_str().into(),
                Node {
                    kind,
                    ..Node::default()
                },
            );
        }
        let edges = [
            (name, next, ConnectionType::Direct),
            (name, &database, ConnectionType::Database),
            (name, &queue, ConnectionType::MessagingSystem),
            (&queue, next, ConnectionType::MessagingSystem),
        ];
        for (client, server, how) in edges {
            let key = EdgeKey::new(client.as_str().into(), server.as_str().into(), how);
            map.edges.insert(key, Edge::default());
        }
        let flow = FlowKey {
            producer: name.as_str().into(),
            destination: Some(queue.as_str().into()),
            consumer: next.as_str().into(),
        };
        map.flows.insert(flow, Flow::default());
    }
    map
}

/// The map of the demo.
pub(crate) fn demo() -> Map {
    map_from_yaml(include_str!("demo.yaml")).expect("the sample is a map")
}

/// Generated files: text by file name. `settings` is JSON as the configuration has it.
pub(crate) fn files(map: &Map, settings: &str) -> BTreeMap<String, String> {
    let settings: DashboardSettings = serde_json::from_str(settings).expect("these settings exist");
    generate(map, &settings)
}

/// Every file of every sample, in every form.
pub(crate) fn all() -> &'static [Document] {
    static ALL: LazyLock<Vec<Document>> = LazyLock::new(generated);
    &ALL
}

fn generated() -> Vec<Document> {
    let both = r#"{"schema": "both", "files": "per_entity"}"#;
    let templated = r#"{"schema": "both", "files": "templated", "histograms": "native"}"#;
    let samples = [
        ("demo", demo(), both),
        ("demo from templates", demo(), templated),
        ("demo without traces", demo(), r#"{"traces": false}"#),
        // One form shows what all names do; the other is made from the same values.
        ("hostile", hostile(1), "{}"),
        ("hostile in both forms", hostile(5), both),
        ("hostile from templates", hostile(1), templated),
        ("empty", Map::default(), both),
    ];
    let read = |(name, map, settings): (&'static str, Map, &str)| {
        let files = files(&map, settings);
        files
            .into_iter()
            .map(move |(file, text)| Document::read(&format!("{name}: {file}"), &text))
    };
    samples.into_iter().flat_map(read).collect()
}

#[test]
fn both_forms_of_a_dashboard_have_the_same_panels_at_the_same_places() {
    use crate::document::Form;

    let of_form = |form| all().iter().filter(move |document| document.form == form);
    let classic: Vec<&Document> = of_form(Form::Classic).collect();
    let mut seen = 0;
    for v2 in of_form(Form::V2) {
        let file = v2.file.replace("dashboards-v2/", "dashboards/");
        let twin = classic.iter().find(|document| document.file == file);
        let twin = twin.unwrap_or_else(|| panic!("{} has no classic twin", v2.file));
        let panels = |document: &Document| -> Vec<_> {
            document
                .drawn()
                .map(|p| (p.kind.clone(), p.title.clone(), p.place.w, p.place.h))
                .collect()
        };
        assert_eq!(panels(v2), panels(twin), "{}", v2.file);
        seen += 1;
    }
    assert!(seen > 20, "only {seen} resources");
}
