//! Spans that come late, twice or never: the map is corrected, the counters are not.

use expect_test::expect;

use crate::scene::Scene;

const COUNTS: &[&str] = &[
    "traces_service_graph_request_total",
    "tracemap_collector_map_corrections_total",
    "tracemap_collector_spans_total",
];

#[test]
fn a_server_half_that_comes_late_corrects_the_map_and_leaves_the_counters() {
    Scene::new()
        .settle("web SERVER 1 0..100ms\n web CLIENT 2<-1 10..90ms server.address=cart server.port=8080")
        .has_map(&expect![[r#"
            user -> web [virtual_node] 1
            web -> cart:8080 [virtual_node] 1
            external cart:8080 visits 0
            user user visits 0
            service web visits 1
        "#]])
        .settle("cart SERVER 3<-2 20..80ms")
        .has_map(&expect![[r#"
            user -> web [virtual_node] 1
            web -> cart [] 1
            service cart visits 1
            user user visits 0
            service web visits 1
        "#]])
        .has_series(COUNTS, &expect![[r#"
            traces_service_graph_request_total{client="user",server="web",connection_type="virtual_node"} 1
            traces_service_graph_request_total{client="web",server="cart",connection_type=""} 0
            traces_service_graph_request_total{client="web",server="cart:8080",connection_type="virtual_node"} 1
            tracemap_collector_spans_total{outcome="mapped"} 2
            tracemap_collector_spans_total{outcome="mapped_late"} 1
            tracemap_collector_spans_total{outcome="duplicate"} 0
            tracemap_collector_spans_total{outcome="no_service_name"} 0
            tracemap_collector_spans_total{outcome="rejected"} 0
            tracemap_collector_map_corrections_total{kind="visit"} 0
            tracemap_collector_map_corrections_total{kind="call"} 1
            tracemap_collector_map_corrections_total{kind="flow"} 0
        "#]]);
}

#[test]
fn the_visit_of_a_late_server_half_still_counts() {
    Scene::new()
        .settle("web SERVER 1 0..100ms\n web CLIENT 2<-1 10..90ms server.address=cart")
        .settle("cart SERVER 3<-2 20..80ms")
        .has_series(
            &["tracemap_total_seconds_count"],
            &expect![[r#"
            tracemap_total_seconds_count{id="cart",kind="service",client="",server=""} 1
            tracemap_total_seconds_count{id="user->web",kind="edge",client="user",server="web"} 1
            tracemap_total_seconds_count{id="web",kind="service",client="",server=""} 1
            tracemap_total_seconds_count{id="web->cart",kind="edge",client="web",server="cart"} 1
        "#]],
        );
}

#[test]
fn a_client_half_that_comes_late_takes_the_call_over_from_unknown() {
    Scene::new()
        .settle("cart SERVER 3<-2 20..80ms")
        .has_map(&expect![[r#"
            unknown -> cart [virtual_node] 1
            service cart visits 1
            unknown unknown visits 0
        "#]])
        .settle("web SERVER 1 0..100ms\n web CLIENT 2<-1 10..90ms")
        .has_map(&expect![[r#"
            user -> web [virtual_node] 1
            web -> cart [] 1
            service cart visits 1
            user user visits 0
            service web visits 1
        "#]])
        .has_series(COUNTS, &expect![[r#"
            traces_service_graph_request_total{client="unknown",server="cart",connection_type="virtual_node"} 1
            traces_service_graph_request_total{client="user",server="web",connection_type="virtual_node"} 1
            traces_service_graph_request_total{client="web",server="cart",connection_type=""} 0
            tracemap_collector_spans_total{outcome="mapped"} 1
            tracemap_collector_spans_total{outcome="mapped_late"} 2
            tracemap_collector_spans_total{outcome="duplicate"} 0
            tracemap_collector_spans_total{outcome="no_service_name"} 0
            tracemap_collector_spans_total{outcome="rejected"} 0
            tracemap_collector_map_corrections_total{kind="visit"} 0
            tracemap_collector_map_corrections_total{kind="call"} 1
            tracemap_collector_map_corrections_total{kind="flow"} 0
        "#]]);
}

#[test]
fn of_two_late_halves_under_one_calling_span_only_the_second_is_counted_anew() {
    Scene::new()
        .settle("web SERVER 1 0..100ms\n web CLIENT 2<-1 10..90ms server.address=cart")
        .settle("cart SERVER 3<-2 20..40ms error\n cart SERVER 4<-2 50..80ms")
        .has_series(
            &[
                "traces_service_graph_request_total",
                "tracemap_total_seconds_count",
            ],
            &expect![[r#"
            traces_service_graph_request_total{client="user",server="web",connection_type="virtual_node"} 1
            traces_service_graph_request_total{client="web",server="cart",connection_type=""} 1
            tracemap_total_seconds_count{id="cart",kind="service",client="",server=""} 2
            tracemap_total_seconds_count{id="user->web",kind="edge",client="user",server="web"} 1
            tracemap_total_seconds_count{id="web",kind="service",client="",server=""} 1
            tracemap_total_seconds_count{id="web->cart",kind="edge",client="web",server="cart"} 2
        "#]],
        );
}

#[test]
fn a_late_visit_that_shares_its_id_with_a_corrected_one_is_counted() {
    Scene::new()
        .settle("web SERVER 2 0..100ms")
        .settle("web CLIENT 7<-2 10..90ms\n cart SERVER 2<-7 20..80ms")
        .has_series(
            &["tracemap_total_seconds_count"],
            &expect![[r#"
            tracemap_total_seconds_count{id="cart",kind="service",client="",server=""} 1
            tracemap_total_seconds_count{id="user->web",kind="edge",client="user",server="web"} 1
            tracemap_total_seconds_count{id="web",kind="service",client="",server=""} 1
            tracemap_total_seconds_count{id="web->cart",kind="edge",client="web",server="cart"} 1
        "#]],
        );
}

#[test]
fn a_span_that_comes_twice_counts_once_before_and_after_its_trace_was_closed() {
    let spans = "web SERVER 1 0..100ms\n web CLIENT 2<-1 10..90ms\n cart SERVER 3<-2 20..80ms";
    Scene::new()
        .take(spans)
        .settle(spans)
        .settle(spans)
        .has_map(&expect![[r#"
        user -> web [virtual_node] 1
        web -> cart [] 1
        service cart visits 1
        user user visits 0
        service web visits 1
    "#]])
        .has_series(
            COUNTS,
            &expect![[r#"
        traces_service_graph_request_total{client="user",server="web",connection_type="virtual_node"} 1
        traces_service_graph_request_total{client="web",server="cart",connection_type=""} 1
        tracemap_collector_spans_total{outcome="mapped"} 3
        tracemap_collector_spans_total{outcome="mapped_late"} 0
        tracemap_collector_spans_total{outcome="duplicate"} 6
        tracemap_collector_spans_total{outcome="no_service_name"} 0
        tracemap_collector_spans_total{outcome="rejected"} 0
        tracemap_collector_map_corrections_total{kind="visit"} 0
        tracemap_collector_map_corrections_total{kind="call"} 0
        tracemap_collector_map_corrections_total{kind="flow"} 0
    "#]],
        );
}

#[test]
fn late_spans_without_a_service_are_in_one_counter_and_none_falls() {
    Scene::new()
        .settle("web SERVER 1 0..100ms")
        .has_series(
            &["tracemap_collector_spans_total"],
            &expect![[r#"
            tracemap_collector_spans_total{outcome="mapped"} 1
            tracemap_collector_spans_total{outcome="mapped_late"} 0
            tracemap_collector_spans_total{outcome="duplicate"} 0
            tracemap_collector_spans_total{outcome="no_service_name"} 0
            tracemap_collector_spans_total{outcome="rejected"} 0
        "#]],
        )
        .settle("- CLIENT 2<-1 10..90ms")
        .has_series(
            &["tracemap_collector_spans_total"],
            &expect![[r#"
            tracemap_collector_spans_total{outcome="mapped"} 1
            tracemap_collector_spans_total{outcome="mapped_late"} 0
            tracemap_collector_spans_total{outcome="duplicate"} 0
            tracemap_collector_spans_total{outcome="no_service_name"} 1
            tracemap_collector_spans_total{outcome="rejected"} 0
        "#]],
        );
}

#[test]
fn a_late_span_just_before_its_trace_is_forgotten_still_corrects_the_map() {
    // The trace is closed after 2 s, kept for 60 s more, and the late half falls quiet only after that.
    Scene::new()
        .settle("web SERVER 1 0..100ms\n web CLIENT 2<-1 10..90ms server.address=cart")
        .pass(58)
        .take("cart SERVER 3<-2 20..80ms")
        .pass(5)
        .has_map(&expect![[r#"
            user -> web [virtual_node] 1
            web -> cart [] 1
            service cart visits 1
            user user visits 0
            service web visits 1
        "#]]);
}

#[test]
fn a_late_span_of_a_trace_that_has_to_make_room_still_corrects_the_map() {
    let first = "T1 web SERVER 1 0..100ms\n T1 web CLIENT 2<-1 10..90ms server.address=cart";
    let mut settings = crate::scene::settings();
    settings.table.max_bytes = table_bytes(&Scene::new().settle(first)) as usize;
    Scene::with(settings)
        .settle(first)
        .take("T1 cart SERVER 3<-2 20..80ms")
        .take("T2 other SERVER 1 0..1ms")
        .has_series(
            &["tracemap_collector_traces{"],
            &expect![[r#"
            tracemap_collector_traces{state="open"} 1
            tracemap_collector_traces{state="kept"} 0
        "#]],
        )
        .pass(1)
        .has_map(&expect![[r#"
            user -> web [virtual_node] 1
            web -> cart [] 1
            service cart visits 1
            service other visits 0
            user user visits 0
            service web visits 1
        "#]]);
}

fn table_bytes(scene: &Scene) -> f64 {
    let line = scene
        .series()
        .into_iter()
        .find(|l| l.starts_with("tracemap_collector_trace_table_bytes"));
    line.and_then(|l| l.rsplit(' ').next()?.parse().ok())
        .expect("the table tells its bytes")
}

#[test]
fn a_table_at_its_budget_refuses_while_its_traces_are_open_and_takes_again_when_they_closed() {
    let mut settings = crate::scene::settings();
    settings.table.max_bytes = 1;
    let mut scene = Scene::with(settings).take("T1 web SERVER 1 0..100ms");
    let again = || crate::dsl::request("T2 web SERVER 1 0..100ms");
    assert!(
        scene.engine.take(again(), scene.now).is_err(),
        "the first trace is still open"
    );
    scene = scene.pass(3);
    assert!(
        scene.engine.take(again(), scene.now).is_ok(),
        "the first trace may be forgotten now"
    );
}

#[test]
fn a_closed_trace_is_part_of_the_budget_until_it_is_forgotten() {
    let mut scene = Scene::new().take("web SERVER 1 0..100ms\n web CLIENT 2<-1 10..90ms server.address=a");
    let open = table_bytes(&scene);
    scene = scene.pass(3);
    assert!(
        table_bytes(&scene) >= open,
        "a closed trace keeps its spans: {open} and {}",
        table_bytes(&scene)
    );
    scene = scene.pass(70);
    assert!(
        table_bytes(&scene) < 1.0,
        "a forgotten trace occupies nothing: {}",
        table_bytes(&scene)
    );
}
