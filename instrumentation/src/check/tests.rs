//! Each kind of finding on a map that has nothing else wrong.
//!
//! In: a healthy map with statistics, and one flaw at a time. Out: that exactly the finding of the flaw is found, with its id.
//! Left out on purpose: where the statistics come from; the demo plants the same flaws in spans.

use expect_test::expect_file;
use map::file::map_from_yaml;
use map::{ConnectionType, Edge, EdgeKey, Map, Node, NodeKind, Objective, ServiceSettings};

use super::*;

const SHOP: &str = "version: 1\nnodes:\n  orders: {kind: destination}\nedges:\n\
    - {client: user, server: web}\n- {client: web, server: cart}\n- {client: web, server: stock}\n\
    - {client: cart, server: postgres, connection_type: database}\n\
    - {client: web, server: orders, connection_type: messaging_system}\n\
    - {client: orders, server: worker, connection_type: messaging_system}\n";

const TODAY: &str = "2026-06-01";

fn today() -> Date {
    TODAY.parse().unwrap()
}

/// A map with traffic on which nothing is wrong: a thousand requests everywhere, ten of which fail and are coped with.
fn healthy() -> Map {
    let mut map = map_from_yaml(SHOP).unwrap();
    map.edges.values_mut().for_each(busy);
    let services = map
        .nodes
        .values_mut()
        .filter(|node| node.kind == NodeKind::Service);
    services.for_each(|node| {
        node.stats.requests = 1000.0;
        node.stats.failed = 10.0;
    });
    map.nodes.get_mut("web").unwrap().stats.chains = vec![0, 0, 900, 100];
    map
}

fn busy(edge: &mut Edge) {
    edge.stats.requests = 1000.0;
    edge.stats.failed = 10.0;
    edge.stats.handled = 10.0;
    edge.evidence.paired = 1000;
    edge.examples = vec!["0af7651916cd43dd8448eb211c80319c".to_owned()];
    (0..1000).for_each(|i| {
        let seconds = 0.05 + f64::from(i) / 1e4;
        edge.stats.client.observe(seconds);
        edge.stats.server.observe(seconds);
        edge.stats.fan_out.observe(1.0);
    });
}

fn key(client: &str, server: &str) -> EdgeKey {
    EdgeKey::new(client.into(), server.into(), ConnectionType::Direct)
}

fn add(map: &mut Map, client: &str, server: &str) {
    let edge = map.edges.entry(key(client, server)).or_default();
    busy(edge);
    for id in [client, server] {
        let service = || {
            let mut node = Node::default();
            node.stats.requests = 1000.0;
            node
        };
        map.nodes.entry(id.into()).or_insert_with(service);
    }
}

fn edge<'a>(map: &'a mut Map, client: &str, server: &str) -> &'a mut Edge {
    let of = |key: &EdgeKey| key.client.as_str() == client && key.server.as_str() == server;
    map.edges
        .iter_mut()
        .find(|(key, _)| of(key))
        .expect("the shop has it")
        .1
}

type Flaw = fn(&mut Map);

/// The id of each finding, and the flaw that it finds.
const FLAWS: &[(&str, Flaw)] = &[
    ("shared-database:postgres", |map| {
        let shared = EdgeKey::new("stock".into(), "postgres".into(), ConnectionType::Database);
        busy(map.edges.entry(shared).or_default());
    }),
    ("deep-chain:web", |map| {
        let web = &mut map.nodes.get_mut("web").unwrap().stats;
        web.chains = vec![0, 0, 800, 150, 50];
        web.longest_chain = Some(map::Chain {
            nodes: ["web", "cart", "stock", "cart", "stock"].map(Into::into).to_vec(),
            trace: "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
        });
    }),
    ("cycle:cart,stock", |map| {
        add(map, "cart", "stock");
        add(map, "stock", "cart");
    }),
    ("fan-out:stock", |map| {
        (0..13).for_each(|i| add(map, "stock", &format!("shelf-{i}")));
    }),
    ("single-point:stock,web", |map| {
        (0..3).for_each(|i| {
            add(map, "web", &format!("part-{i}"));
            add(map, &format!("part-{i}"), "stock");
        });
        add(map, "cart", "stock");
    }),
    ("queue-without-consumer:orders", |map| {
        map.edges.retain(|key, _| key.client.as_str() != "orders");
    }),
    ("chatty:web->cart", |map| {
        let fan_out = &mut edge(map, "web", "cart").stats.fan_out;
        (0..1000).for_each(|_| fan_out.observe(6.0));
    }),
    ("n-plus-one:web->cart", |map| {
        let fan_out = &mut edge(map, "web", "cart").stats.fan_out;
        (0..40).for_each(|_| fan_out.observe(60.0));
    }),
    ("retry-storm:web->cart", |map| {
        edge(map, "web", "cart").stats.retries = 200.0;
    }),
    ("early-timeout:web->cart", |map| {
        let stats = &mut edge(map, "web", "cart").stats;
        (stats.given_up, stats.given_up_seconds) = (30.0, 3.0);
    }),
    ("long-wait:web->cart", |map| {
        let stats = &mut edge(map, "web", "cart").stats;
        (0..40).for_each(|_| stats.client.observe(30.0));
    }),
    ("unhandled-errors:web->cart", |map| {
        let stats = &mut edge(map, "web", "cart").stats;
        (stats.handled, stats.passed_on) = (0.0, 10.0);
    }),
    ("undeclared-edge:worker->stock", |map| add(map, "worker", "stock")),
    ("unseen-edge:cart->postgres", |map| {
        map.edges.retain(|key, _| key.server.as_str() != "postgres");
        map.nodes.remove("postgres");
    }),
    ("broken-context:web->cart", |map| {
        let hop = &mut edge(map, "web", "cart").evidence;
        (hop.paired, hop.client_only) = (600, 400);
        add(map, "user", "cart");
        let lost = &mut edge(map, "user", "cart").evidence;
        (lost.paired, lost.server_only) = (0, 400);
    }),
    ("orphans:stock", |map| {
        map.nodes.get_mut("stock").unwrap().stats.orphans = 300;
    }),
    ("unnamed-peer:web", |map| {
        map.nodes.get_mut("web").unwrap().stats.unnamed_peers = 700;
    }),
    ("missing-service-name:spans", |map| map.nameless_spans = 12),
    ("clock-skew:web->cart", |map| {
        let stats = &mut edge(map, "web", "cart").stats;
        (stats.skewed, stats.skew) = (800, -40.0);
    }),
];

/// What `change` makes to be found, with a contract that allows what the healthy map and `declared` have.
fn found_with(change: impl Fn(&mut Map), declared: impl Fn(&mut Map)) -> Report {
    let (mut map, mut contract) = (healthy(), healthy());
    change(&mut map);
    declared(&mut contract);
    check(&map, Some(&contract), &CheckSettings::default(), today())
}

fn ids(report: &Report) -> Vec<&str> {
    report
        .findings
        .iter()
        .map(|finding| finding.id.as_str())
        .collect()
}

#[test]
fn a_healthy_map_has_no_finding_and_nothing_is_left_unchecked() {
    let report = found_with(|_| (), |_| ());
    assert_eq!(report, Report::default());
    assert!(!report.fails(Severity::Info));
}

#[test]
fn each_flaw_is_found_and_nothing_else_is() {
    for (id, flaw) in FLAWS {
        // What a flaw adds is allowed, except where that is the flaw.
        let about_contract = id.starts_with("undeclared") || id.starts_with("unseen");
        let report = found_with(flaw, |map| {
            if !about_contract {
                flaw(map);
            }
        });
        assert_eq!(ids(&report), [*id]);
        let finding = &report.findings[0];
        assert!(finding.id.starts_with(finding.kind), "{finding:?}");
        assert!(!finding.message.is_empty() && !finding.action.is_empty());
    }
}

#[test]
fn every_kind_has_a_flaw_here_and_a_section_with_its_keys_in_the_guide() {
    let guide = include_str!("../../../docs/check.md");
    for kind in KINDS {
        let planted = FLAWS
            .iter()
            .filter(|(id, _)| id.split(':').next() == Some(kind.name))
            .count();
        assert_eq!(planted, 1, "{}", kind.name);
        let heading = format!("### `{}`", kind.name);
        let section = guide.split("\n### ").find(|part| part.starts_with(&heading[4..]));
        let section = section.unwrap_or_else(|| panic!("docs/check.md has no section `{}`", kind.name));
        for key in kind.keys {
            assert!(section.contains(&format!("`{key}`")), "{}: {key}", kind.name);
        }
    }
}

#[test]
fn one_less_than_the_threshold_is_no_finding() {
    let quiet: &[Flaw] = &[
        |map| map.nodes.get_mut("web").unwrap().stats.chains = vec![0, 0, 0, 1000],
        |map| (0..12).for_each(|i| add(map, "stock", &format!("shelf-{i}"))),
        |map| {
            // A chain is no hub: each has one caller.
            add(map, "stock", "a");
            "abcdefg"
                .chars()
                .zip("bcdefgh".chars())
                .for_each(|(a, b)| add(map, &a.to_string(), &b.to_string()));
        },
        |map| edge(map, "web", "cart").stats.retries = 99.0,
        |map| edge(map, "web", "cart").stats.given_up = 9.0,
        |map| {
            let stats = &mut edge(map, "web", "cart").stats;
            (stats.handled, stats.passed_on) = (2.0, 8.0);
        },
        |map| {
            // Both sides miss their other half, and still not because one calls the other: nothing arrived from nowhere.
            let hop = &mut edge(map, "web", "cart").evidence;
            (hop.paired, hop.client_only) = (600, 400);
        },
        |map| map.nodes.get_mut("stock").unwrap().stats.orphans = 49,
        |map| map.nodes.get_mut("web").unwrap().stats.unnamed_peers = 4,
        |map| {
            let stats = &mut edge(map, "web", "cart").stats;
            (stats.skewed, stats.skew) = (800, 3.9);
        },
        |map| {
            let stats = &mut edge(map, "web", "cart").stats;
            (0..9).for_each(|_| stats.client.observe(30.0));
        },
    ];
    for (i, change) in quiet.iter().enumerate() {
        assert_eq!(ids(&found_with(change, change)), [""; 0], "{i}");
    }
}

#[test]
fn a_map_without_statistics_is_judged_by_its_shape_and_says_what_was_not_checked() {
    let chain = "a>b b>c c>d d>e"
        .split(' ')
        .filter_map(|call| call.split_once('>'));
    let mut map = map_from_yaml("version: 1\nedges:\n- {client: user, server: a}\n").unwrap();
    chain.for_each(|(client, server)| drop(map.edges.insert(key(client, server), Edge::default())));
    let report = check(&map, None, &CheckSettings::default(), today());
    assert_eq!(ids(&report), ["deep-chain:a"]);
    let finding = &report.findings[0];
    assert_eq!(finding.severity, Severity::Info);
    assert!(
        finding
            .message
            .contains("no statistics say whether any request goes it"),
        "{}",
        finding.message
    );
    let not_checked: Vec<&str> = report.not_checked.iter().map(|not| not.kind).collect();
    assert!(
        not_checked.contains(&"chatty") && not_checked.contains(&"undeclared-edge"),
        "{not_checked:?}"
    );
    assert!(!not_checked.contains(&"cycle"));
    assert!(to_text(&report).contains("it was written by hand"));
}

#[test]
fn a_promise_makes_a_wait_too_long_that_else_is_none() {
    let promised = |map: &mut Map| {
        let objective = Objective {
            latency: config::HumanDuration::from_millis(100),
            target: 0.99,
            window: config::HumanDuration::from_secs(86_400),
        };
        let settings = ServiceSettings {
            objectives: vec![objective],
            ..ServiceSettings::default()
        };
        map.services.insert("web".to_owned(), settings);
    };
    let report = found_with(promised, promised);
    let expected = [
        "long-wait:cart->postgres",
        "long-wait:web->cart",
        "long-wait:web->orders",
        "long-wait:web->stock",
    ];
    assert_eq!(
        ids(&report),
        expected,
        "all of them wait for the entry point `web`"
    );
    assert!(
        report.findings[0].message.contains("`web` promises 100 ms"),
        "{}",
        report.findings[0].message
    );
}

#[test]
fn two_services_that_report_and_were_never_seen_to_call_are_suspected_to_lose_their_context() {
    let report = found_with(
        |map| map.edges.retain(|key, _| key.server.as_str() != "stock"),
        |_| (),
    );
    assert_eq!(ids(&report), ["broken-context:web->stock"]);
    assert_eq!(report.findings[0].severity, Severity::Warning);
}

fn silence(id: &str, until: &str) -> Silence {
    Silence {
        id: id.to_owned(),
        reason: "agreed with the shop team".to_owned(),
        until: until.parse().unwrap(),
    }
}

#[test]
fn a_silence_holds_until_its_day_is_over_and_says_when_it_is_of_no_use() {
    let mut map = healthy();
    for flaw in ["retry-storm", "unhandled-errors", "clock-skew"] {
        FLAWS
            .iter()
            .filter(|(id, _)| id.starts_with(flaw))
            .for_each(|(_, flaw)| flaw(&mut map));
    }
    let settings = CheckSettings {
        silences: vec![
            silence("retry-storm:web->cart", TODAY),
            silence("unhandled-errors:web->cart", "2026-05-31"),
            silence("cycle:a,b", "2027-01-01"),
            silence("undeclared-edge:a->b", "2027-01-01"),
        ],
        ..CheckSettings::default()
    };
    let report = check(&map, None, &settings, today());
    assert_eq!(
        ids(&report),
        ["clock-skew:web->cart", "unhandled-errors:web->cart"]
    );
    assert_eq!(report.silenced[0].finding.id, "retry-storm:web->cart");
    let notes = report.notes.join("\n");
    assert!(
        notes.contains("`unhandled-errors:web->cart`: over since 2026-05-31"),
        "{notes}"
    );
    assert!(notes.contains("`cycle:a,b`: there is no such finding"), "{notes}");
    assert!(
        notes.contains("`undeclared-edge:a->b`: not looked for"),
        "{notes}"
    );
}

#[test]
fn a_silence_without_reason_and_a_share_that_is_none_are_refused_with_their_key() {
    let settings = CheckSettings {
        silences: vec![Silence {
            reason: " ".to_owned(),
            ..silence("cycel:a,b", TODAY)
        }],
        retries: 10.0,
        ..CheckSettings::default()
    };
    let told: Vec<String> = settings
        .check("generate.check")
        .into_iter()
        .map(|f| f.path)
        .collect();
    let expected = [
        "generate.check.retries",
        "generate.check.silences[0].reason",
        "generate.check.silences[0].id",
    ];
    assert_eq!(told, expected);
    assert!(CheckSettings::default().check("generate.check").is_empty());
}

#[test]
fn findings_that_came_and_went_are_told_apart_from_those_that_stayed() {
    let with = |kinds: &[&str]| {
        let mut map = healthy();
        let of = |id: &str| kinds.iter().any(|kind| id.starts_with(kind));
        FLAWS
            .iter()
            .filter(|(id, _)| of(id))
            .for_each(|(_, flaw)| flaw(&mut map));
        check(&map, None, &CheckSettings::default(), today())
    };
    let diff = compare::compare(
        &with(&["retry-storm", "clock-skew"]),
        &with(&["clock-skew", "orphans"]),
    );
    let ids = |of: &[Finding]| of.iter().map(|finding| finding.id.clone()).collect::<Vec<_>>();
    assert_eq!(
        (ids(&diff.new), ids(&diff.gone)),
        (
            vec!["orphans:stock".to_owned()],
            vec!["retry-storm:web->cart".to_owned()]
        )
    );
}

/// Everything wrong at once, one finding silenced.
fn wrong() -> Report {
    let mut map = healthy();
    for (_, flaw) in FLAWS {
        flaw(&mut map);
    }
    let settings = CheckSettings {
        silences: vec![
            silence("cycle:cart,stock", "2027-01-01"),
            silence("orphans:web", "2027-01-01"),
        ],
        ..CheckSettings::default()
    };
    check(&map, Some(&healthy()), &settings, today())
}

#[test]
fn the_report_reads_well_in_all_its_forms() {
    let report = wrong();
    expect_file!["tests/report.txt"].assert_eq(&to_text(&report));
    expect_file!["tests/report.json"].assert_eq(&report.to_json());
    expect_file!["tests/report.sarif"].assert_eq(&to_sarif(&report, "maps/the shop.yaml", "1.0.0"));
}
