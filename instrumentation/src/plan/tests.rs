//! In: maps of a few edges. Out: what the plan makes of them.
//! Left out on purpose: the optimum, see `optimise`.

use map::file::map_from_yaml;
use map::roots::Passed;
use map::{Evidence, Seen};

use super::*;

const HOUR: u64 = 3_600_000_000_000;

/// `web` serves users, calls `cart`, which asks `redis` thirty times; one of two hundred goes on to `pay`.
fn shop() -> Map {
    let text = "version: 1\nedges:\n- {client: user, server: web}\n- {client: web, server: cart}\n\
                - {client: cart, server: redis, connection_type: database}\n- {client: web, server: pay}\n\
                services: {cart: {team: shop}, pay: {team: money}, web: {team: shop}}\n";
    let mut map = map_from_yaml(text).expect("a map");
    for (key, edge) in &mut map.edges {
        let (rate, seconds) = match key.server.as_str() {
            "redis" => (6_000.0, 0.001),
            "pay" => (1.0, 0.2),
            _ => (200.0, 0.02),
        };
        edge.stats.requests = rate * 3_600.0;
        edge.seen = Seen {
            first: HOUR,
            last: 2 * HOUR,
        };
        for n in 0..1_000 {
            let of = if n % 50 == 0 && key.server.as_str() == "pay" {
                40.0
            } else {
                1.0
            };
            edge.stats.client.observe(seconds * of);
            edge.stats.own.observe(seconds * of);
            edge.stats.server.observe(seconds * of);
        }
        if key.server.as_str() == "redis" {
            edge.stats.fan_out.observe(30.0);
        }
        let agents = key.client.as_str() != NodeId::USER;
        edge.evidence = Evidence {
            counted: if agents { 1_000 } else { 0 },
            paired: 1_000,
            ..Evidence::default()
        };
    }
    let key = |client: &str, server: &str| {
        let found = map
            .edges
            .keys()
            .find(|key| key.client.as_str() == client && key.server.as_str() == server);
        found.expect("an edge").clone()
    };
    let passes = |requests: f64| {
        move |(key, each): (EdgeKey, f64)| {
            let passed = Passed {
                traces: requests,
                requests: requests * each,
            };
            (key, passed)
        }
    };
    let (all, few) = (199.0 * 3_600.0, 3_600.0);
    let browse = vec![
        (key("user", "web"), 1.0),
        (key("web", "cart"), 1.0),
        (key("cart", "redis"), 30.0),
    ];
    let order = [browse.clone(), vec![(key("web", "pay"), 1.0)]].concat();
    let root = |traces: f64, spans: f64, edges: Vec<(EdgeKey, f64)>| Root {
        traces,
        looked: traces,
        spans: traces * spans,
        edges: edges.into_iter().map(passes(traces)).collect(),
        ..Root::default()
    };
    let at = |operation: &str| RootKey {
        node: "web".into(),
        operation: operation.to_owned(),
    };
    map.roots = BTreeMap::from([
        (at("GET /cart"), root(all, 33.0, browse)),
        (at("POST /order"), root(few, 35.0, order)),
    ]);
    map
}

fn with(spans_per_second: f64) -> PlanSettings {
    PlanSettings {
        budget: Budget {
            spans_per_second: Some(spans_per_second),
            ..Budget::default()
        },
        ..PlanSettings::default()
    }
}

fn mode(plan: &Plan, server: &str) -> Mode {
    let found = plan.edges.iter().find(|edge| edge.server.as_str() == server);
    found.expect("an edge").mode
}

fn share(plan: &Plan, operation: &str) -> f64 {
    let found = plan
        .roots
        .iter()
        .find(|root| root.operation.as_deref() == Some(operation));
    found.expect("a root").share
}

#[test]
fn without_a_budget_everything_is_traced() {
    let plan = of_map(&shop(), &PlanSettings::default(), None);
    assert!(plan.edges.iter().all(|edge| edge.mode == Mode::Span), "{plan:#?}");
    assert!(plan.roots.iter().all(|root| root.share >= 1.0));
    assert_eq!(plan.totals.budget_spans_per_second, None);
    assert_eq!(plan.gives_up, []);
    let document = plan.document(&shop());
    assert_eq!(
        document["edges"],
        serde_json::json!([]),
        "samplers that are configured stay"
    );
}

#[test]
fn all_roots_together_may_record_what_the_budget_allows_and_new_ones_a_tenth_of_it() {
    let plan = of_map(&shop(), &with(400.0), None);
    let limits = || plan.roots.iter().map(|root| root.limit().expect("a limit"));
    let spans: f64 = limits().map(|limit| limit.traces * limit.spans).sum();
    assert!((390.0..=404.0).contains(&spans), "{spans}: {}", plan.to_yaml());
    for (root, limit) in plan.roots.iter().zip(limits()) {
        let planned = root.share * root.traces_per_second;
        assert!(
            limit.traces >= 0.99 * planned && limit.traces < 1.1 * planned,
            "{root:?}"
        );
    }
    let roots: Vec<&PlannedRoot> = plan.roots.iter().collect();
    let new = otherwise(&roots);
    let limit = new.limit.expect("a limit");
    assert!(
        (limit.traces * limit.spans / spans - 0.1).abs() < 1e-6 && new.share >= 1.0,
        "{new:?}"
    );
    assert_eq!(otherwise(&[]).limit, None);
}

#[test]
fn a_team_s_budget_bounds_only_what_draws_on_it() {
    let mut settings = PlanSettings::default();
    let budget = Budget {
        spans_per_second: Some(0.5),
        ..Budget::default()
    };
    settings.teams.insert("money".to_owned(), budget);
    let plan = of_map(&shop(), &settings, None);
    let limit = |operation: &str| {
        let of = |root: &&PlannedRoot| root.operation.as_deref() == Some(operation);
        plan.roots.iter().find(of).expect("a root").limit()
    };
    assert!(
        limit("POST /order").is_some() && limit("GET /cart").is_none(),
        "{}",
        plan.to_yaml()
    );
}

#[test]
fn a_chatty_leaf_is_counted_a_rare_path_is_kept_and_a_busy_one_is_sampled() {
    let plan = of_map(&shop(), &with(400.0), None);
    assert_eq!(mode(&plan, "redis"), Mode::Count, "{}", plan.to_yaml());
    assert_eq!(mode(&plan, "pay"), Mode::Span);
    assert!(share(&plan, "POST /order") >= 1.0, "{}", plan.to_yaml());
    assert!(share(&plan, "GET /cart") < 1.0);
    assert!(plan.totals.planned_spans_per_second <= 400.0);
    assert!(plan.totals.planned_spans_per_second > 380.0, "{:?}", plan.totals);
    let redis = plan
        .gives_up
        .iter()
        .find(|given| given.id.contains("redis"))
        .expect("told");
    assert!(redis.what.contains("charged to cart"), "{redis:?}");
    assert!(redis.detection_delay.is_some());
}

#[test]
fn what_a_plan_costs_is_what_its_shares_and_modes_come_to() {
    let plan = of_map(&shop(), &with(400.0), None);
    let quiet = |key: &EdgeKey| {
        plan.edges
            .iter()
            .any(|edge| edge.server == key.server && edge.mode != Mode::Span)
    };
    let map = shop();
    let cost: f64 = map
        .roots
        .iter()
        .map(|(key, root)| {
            let left_out: f64 = root
                .edges
                .iter()
                .filter(|(key, _)| quiet(key))
                .map(|(key, passed)| {
                    let ends = if map.kind(&key.server).is_virtual() {
                        1.0
                    } else {
                        2.0
                    };
                    ends * passed.requests
                })
                .sum();
            share(&plan, &key.operation) * (root.spans - left_out) / 3_600.0
        })
        .sum();
    let told = plan.totals.planned_spans_per_second;
    assert!((cost - told).abs() < 0.01 * told, "{cost} of {told}");
}

#[test]
fn a_team_has_a_budget_of_its_own() {
    let mut settings = with(10_000.0);
    let of_team = Budget {
        spans_per_second: Some(50.0),
        ..Budget::default()
    };
    settings.teams.insert("shop".to_owned(), of_team);
    let plan = of_map(&shop(), &settings, None);
    let shop_team = &plan.totals.teams["shop"];
    assert!(shop_team.planned_spans_per_second <= 50.0, "{:?}", plan.totals);
    assert!(shop_team.planned_spans_per_second > 40.0, "{:?}", plan.totals);
    settings.teams.insert("nobody".to_owned(), of_team);
    let found = unknown_teams(&shop(), &settings, "generate.plan");
    assert_eq!(found.len(), 1);
    assert!(found[0].message.contains("`nobody`"), "{found:?}");
}

#[test]
fn what_is_degraded_now_gets_more_of_its_traces() {
    let map = shop();
    let key = map
        .edges
        .keys()
        .find(|key| key.server.as_str() == "pay")
        .expect("an edge")
        .clone();
    let (nothing, operations) = (BTreeMap::new(), BTreeMap::new());
    let degraded = BTreeMap::from([(key, 1.0)]);
    let of = |degraded| {
        let sight = Sight {
            map: &map,
            roots: &map.roots,
            seconds: 3_600.0,
            now: 2 * HOUR,
            degraded,
            operations: &operations,
            span_bytes: 700.0,
            unforeseen: 1.0,
        };
        share(&plan(&sight, &with(3.0), None), "POST /order")
    };
    assert!(
        of(&degraded) > 1.3 * of(&nothing),
        "{} {}",
        of(&degraded),
        of(&nothing)
    );
}

#[test]
fn pins_hold_whatever_the_budget() {
    let mut map = shop();
    let cart = map.services.entry("cart".to_owned()).or_default();
    cart.plan.edges.insert("redis".to_owned(), Mode::Span);
    let web = map.services.entry("web".to_owned()).or_default();
    web.plan.share = Some(0.5);
    assert_eq!(pin_problems(&map), []);
    let plan = of_map(&map, &with(100.0), None);
    assert_eq!(mode(&plan, "redis"), Mode::Span);
    assert!(plan.roots.iter().all(|root| (root.share - 0.5).abs() < 1e-9));
    // Nor do agents hold them back, or ask for all of what is new.
    assert!(
        plan.roots.iter().all(|root| root.limit().is_none()),
        "{}",
        plan.to_yaml()
    );
    let roots: Vec<&PlannedRoot> = plan.roots.iter().collect();
    assert_eq!(
        otherwise(&roots),
        Otherwise {
            share: 0.5,
            limit: None
        }
    );
}

#[test]
fn pins_that_cannot_hold_are_refused_with_what_would_be_right() {
    let mut map = shop();
    let cart = map.services.entry("cart".to_owned()).or_default();
    cart.plan.edges.insert("mysql".to_owned(), Mode::Log);
    let edge = map
        .edges
        .iter_mut()
        .find(|(key, _)| key.server.as_str() == "pay")
        .expect("an edge")
        .1;
    edge.evidence.counted = 0;
    let web = map.services.entry("web".to_owned()).or_default();
    web.plan.edges.insert("pay".to_owned(), Mode::Log);
    let found: Vec<String> = pin_problems(&map).into_iter().map(|of| of.message).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("does not call `mysql`"));
    assert!(found[1].contains("no agent counts that edge"));
}

#[test]
fn a_budget_without_room_for_what_must_be_kept_says_so() {
    let settings = with(0.05);
    let plan = of_map(&shop(), &settings, None);
    assert!(plan.totals.planned_spans_per_second <= 0.05, "{:?}", plan.totals);
    let told = shortage(&plan, &settings).expect("a shortage");
    assert!(told.message.contains("0.05 spans/s"), "{told:?}");
    assert_eq!(plan.gives_up[0].id, "plan");
    assert_eq!(shortage(&of_map(&shop(), &with(400.0), None), &with(400.0)), None);
}

#[test]
fn every_operation_keeps_what_alerts_must_judge() {
    let settings = with(60.0);
    let plan = of_map(&shop(), &settings, None);
    for root in &plan.roots {
        let judged = root.share * root.traces_per_second * 300.0;
        assert!(judged >= 59.0, "{root:?}");
    }
}

#[test]
fn noise_changes_no_plan_and_growth_does() {
    let settings = with(400.0);
    let first = of_map(&shop(), &settings, None);
    let mut map = shop();
    for root in map.roots.values_mut() {
        let factor = 1.04;
        root.traces *= factor;
        root.looked *= factor;
        root.spans *= factor;
        for passed in root.edges.values_mut() {
            passed.traces *= factor;
            passed.requests *= factor;
        }
    }
    let second = of_map(&map, &settings, Some(&first));
    assert_eq!(second.revision, first.revision);
    for root in map.roots.values_mut() {
        root.traces *= 2.0;
        root.looked *= 2.0;
        root.spans *= 2.0;
        for passed in root.edges.values_mut() {
            passed.traces *= 2.0;
            passed.requests *= 2.0;
        }
    }
    let third = of_map(&map, &settings, Some(&second));
    assert_ne!(third.revision, first.revision);
    assert!(
        third.totals.planned_spans_per_second <= 400.0,
        "{:?}",
        third.totals
    );
}

#[test]
fn the_file_reads_back_and_the_same_map_gives_the_same_bytes() {
    let plan = of_map(&shop(), &with(400.0), None);
    assert_eq!(Plan::from_yaml(&plan.to_yaml()), Some(plan.clone()));
    assert_eq!(of_map(&shop(), &with(400.0), None).to_yaml(), plan.to_yaml());
    assert_eq!(Plan::from_yaml("version: 2\n"), None);
}

#[test]
fn a_map_without_roots_is_estimated_from_its_edges() {
    let mut map = shop();
    map.roots.clear();
    let plan = of_map(&map, &with(400.0), None);
    assert_eq!(mode(&plan, "redis"), Mode::Count, "{}", plan.to_yaml());
    let root = &plan.roots[0];
    assert_eq!((root.node.as_str(), root.operation.as_deref()), ("web", None));
    assert!(plan.totals.planned_spans_per_second > 380.0, "{:?}", plan.totals);
}

#[test]
fn a_map_without_numbers_is_traced_whole() {
    let map = map_from_yaml("version: 1\nedges: [{client: user, server: web}]\n").expect("a map");
    let plan = of_map(&map, &with(1.0), None);
    assert_eq!(plan.roots, []);
    assert_eq!(mode(&plan, "web"), Mode::Span);
    assert!(plan.edges[0].reason.contains("no trace passed it lately"));
}

#[test]
fn the_document_for_agents_has_both_ends_and_the_shares() {
    let map = shop();
    let document = of_map(&map, &with(400.0), None).document(&map);
    let edges = document["edges"].as_array().expect("edges");
    let redis = edges
        .iter()
        .find(|edge| edge["callee"] == "redis")
        .expect("redis");
    assert_eq!(
        (&redis["caller"], &redis["mode"]),
        (&"cart".into(), &"count".into())
    );
    let web = edges.iter().find(|edge| edge["callee"] == "web").expect("web");
    assert_eq!(web["caller"], "user");
    let operations = web["operations"].as_array().expect("operations");
    let order = operations
        .iter()
        .find(|of| of["operation"] == "POST /order")
        .expect("an operation");
    assert_eq!(order["share"], 1.0);
}

#[test]
fn a_delay_is_what_seven_slow_requests_take() {
    let of = |rate| detection_delay(rate).map(|delay| delay.to_string());
    assert_eq!(of(1.0).as_deref(), Some("7s"));
    assert_eq!(of(0.01).as_deref(), Some("700s"));
    assert_eq!(of(0.0), None);
}
