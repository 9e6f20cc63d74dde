//! Which node somebody is: addresses, names that clash, budgets, namespaces.

use collector::ledger::MapBudget;
use expect_test::expect;

use crate::scene::{Scene, settings};

#[test]
fn a_peer_whose_address_turns_out_to_be_a_services_own_becomes_that_service() {
    Scene::new()
        .settle(
            "T1 web SERVER 1 0..100ms\n T1 web CLIENT 2<-1 10..90ms server.address=10.0.0.7 server.port=8080",
        )
        .has_map(&expect![[r#"
            user -> web [virtual_node] 1
            web -> 10.0.0.7:8080 [virtual_node] 1
            external 10.0.0.7:8080 visits 0
            user user visits 0
            service web visits 1
        "#]])
        .settle("T2 cart SERVER 3 0..10ms server.address=10.0.0.7 server.port=8080")
        .settle(
            "T3 web SERVER 1 0..100ms\n T3 web CLIENT 2<-1 10..90ms server.address=10.0.0.7 server.port=8080",
        )
        .has_map(&expect![[r#"
            user -> cart [virtual_node] 1
            user -> web [virtual_node] 2
            web -> cart [] 2
            service cart visits 1
            user user visits 0
            service web visits 2
        "#]])
        .has_series(
            &["traces_service_graph_request_total"],
            &expect![[r#"
            traces_service_graph_request_total{client="user",server="cart",connection_type="virtual_node"} 1
            traces_service_graph_request_total{client="user",server="web",connection_type="virtual_node"} 2
            traces_service_graph_request_total{client="web",server="cart",connection_type=""} 1
        "#]],
        );
}

#[test]
fn an_address_that_several_services_answer_at_names_none_of_them() {
    Scene::new()
        .settle("T1 cart SERVER 1 0..10ms server.address=shop.example.com")
        .settle("T2 stock SERVER 1 0..10ms server.address=shop.example.com")
        .settle("T3 web CLIENT 1 0..10ms server.address=shop.example.com")
        .has_map(&expect![[r#"
            user -> cart [virtual_node] 1
            user -> stock [virtual_node] 1
            web -> shop.example.com [virtual_node] 1
            service cart visits 1
            external shop.example.com visits 0
            service stock visits 1
            user user visits 0
            service web visits 0
        "#]]);
}

#[test]
fn a_peer_named_like_a_service_is_that_service_before_and_after_it_reports() {
    Scene::new()
        .settle("T1 web CLIENT 1 0..10ms peer.service=cart")
        .settle("T2 cart SERVER 1 0..10ms ns=shop")
        .settle("T3 web CLIENT 1 0..10ms peer.service=cart")
        .has_map(&expect![[r#"
            user -> shop/cart [virtual_node] 1
            web -> shop/cart [] 2
            service shop/cart visits 1
            user user visits 0
            service web visits 0
        "#]]);
}

#[test]
fn the_counter_of_an_edge_whose_peer_becomes_a_service_of_the_same_name_does_not_fall() {
    Scene::new()
        .settle("T1 web CLIENT 1 0..10ms peer.service=cart")
        .has_series(
            &["tracemap_own_seconds_count{id=\"web->cart\""],
            &expect![[r#"
            tracemap_own_seconds_count{id="web->cart",kind="edge",client="web",server="cart"} 1
        "#]],
        )
        .settle("T2 cart SERVER 1 0..10ms")
        .has_series(
            &["tracemap_own_seconds_count{id=\"web->cart\""],
            &expect![[r#"
            tracemap_own_seconds_count{id="web->cart",kind="edge",client="web",server="cart"} 1
        "#]],
        );
}

#[test]
fn a_peer_named_like_its_own_caller_is_another_node() {
    Scene::new()
        .settle("cart CLIENT 1 0..10ms peer.service=cart")
        .has_map(&expect![[r#"
        cart -> cart (external) [virtual_node] 1
        service cart visits 0
        external cart (external) visits 0
    "#]]);
}

#[test]
fn a_database_and_a_service_of_one_name_are_two_nodes_in_either_order() {
    let database = "T1 web CLIENT 1 0..10ms peer.service=orders db.system=redis";
    let service = "T2 orders SERVER 1 0..10ms";
    let found = Scene::new()
        .settle(service)
        .settle(database)
        .has_map(&expect![[r#"
        user -> orders [virtual_node] 1
        web -> orders (cache) [database] 1
        service orders visits 1
        cache orders (cache) visits 0
        user user visits 0
        service web visits 0
    "#]]);
    assert_eq!(Scene::new().settle(database).settle(service).map(), found.map());
}

#[test]
fn a_queue_named_like_a_service_keeps_its_messages_in_either_order() {
    let message = "T1 shop PRODUCER 1 0..10ms messaging.destination.name=orders
                   T1 mail CONSUMER 2<-1 20..30ms messaging.destination.name=orders";
    let service = "T2 orders SERVER 1 0..10ms";
    let found = Scene::new().settle(service).settle(message).has_map(&expect![[r#"
        orders (destination) -> mail [messaging_system] 1
        shop -> orders (destination) [messaging_system] 1
        user -> orders [virtual_node] 1
        flow shop -> orders (destination) -> mail 1
        service mail visits 1
        service orders visits 1
        destination orders (destination) visits 0
        service shop visits 0
        user user visits 0
    "#]]);
    assert_eq!(Scene::new().settle(message).settle(service).map(), found.map());
}

#[test]
fn a_service_named_user_is_not_the_user() {
    Scene::new()
        .settle("web SERVER 1 0..100ms\n user SERVER 2<-1 10..90ms\n cart SERVER 3<-2 20..80ms")
        .has_map(&expect![[r#"
            user -> web [virtual_node] 1
            user (service) -> cart [] 1
            web -> user (service) [] 1
            service cart visits 1
            user user visits 0
            service user (service) visits 1
            service web visits 1
        "#]]);
}

#[test]
fn namespace_and_environment_are_part_of_a_services_id() {
    Scene::new()
        .settle("web SERVER 1 0..100ms ns=shop env=prod\n web SERVER 2<-1 0..100ms env=prod")
        .has_map(&expect![[r#"
            prod/shop/web -> prod/web [] 1
            user -> prod/shop/web [virtual_node] 1
            service prod/shop/web visits 1
            service prod/web visits 1
            user user visits 0
        "#]]);
}

#[test]
fn a_root_that_a_workload_called_is_called_by_unknown() {
    Scene::new()
        .settle("T1 web SERVER 1 0..100ms ip=10.0.0.5")
        .settle("T2 cart SERVER 1 0..100ms network.peer.address=10.0.0.5")
        .has_map(&expect![[r#"
            unknown -> cart [virtual_node] 1
            user -> web [virtual_node] 1
            service cart visits 1
            unknown unknown visits 0
            user user visits 0
            service web visits 1
        "#]]);
}

#[test]
fn beyond_the_budget_nodes_are_folded_together_and_no_request_is_lost() {
    let mut settings = settings();
    settings.ledger.budget = MapBudget { nodes: 3, edges: 100 };
    Scene::with(settings)
        .settle(
            r"
            T1 web SERVER 1 0..100ms
            T1 web CLIENT 2<-1 0..10ms server.address=a.example.com
            T1 web CLIENT 3<-1 10..20ms server.address=b.example.com
            T1 web CLIENT 4<-1 20..30ms server.address=c.example.com
            ",
        )
        .settle("T2 late SERVER 1 0..10ms\n T2 later SERVER 2<-1 0..9ms")
        .has_map(&expect![[r#"
            __overflow__ -> __overflow__ [virtual_node] 1
            user -> __overflow__ [virtual_node] 1
            user -> web [virtual_node] 1
            web -> __overflow__ [virtual_node] 2
            web -> a.example.com [virtual_node] 1
            overflow __overflow__ visits 2
            external a.example.com visits 0
            user user visits 0
            service web visits 1
        "#]])
        .has_series(&["traces_service_graph_request_total", "traces_spanmetrics_calls_total"], &expect![[r#"
            traces_service_graph_request_total{client="__overflow__",server="__overflow__",connection_type="virtual_node"} 1
            traces_service_graph_request_total{client="user",server="__overflow__",connection_type="virtual_node"} 1
            traces_service_graph_request_total{client="user",server="web",connection_type="virtual_node"} 1
            traces_service_graph_request_total{client="web",server="__overflow__",connection_type="virtual_node"} 2
            traces_service_graph_request_total{client="web",server="a.example.com",connection_type="virtual_node"} 1
            traces_spanmetrics_calls_total{service="__overflow__",span_name="op",span_kind="SPAN_KIND_SERVER",status_code="STATUS_CODE_UNSET"} 2
            traces_spanmetrics_calls_total{service="web",span_name="op",span_kind="SPAN_KIND_SERVER",status_code="STATUS_CODE_UNSET"} 1
            traces_spanmetrics_calls_total{service="web",span_name="op",span_kind="SPAN_KIND_CLIENT",status_code="STATUS_CODE_UNSET"} 3
        "#]]);
}

#[test]
fn beyond_the_budget_edges_are_folded_together_and_no_request_is_lost() {
    let mut settings = settings();
    settings.ledger.budget = MapBudget { nodes: 100, edges: 2 };
    Scene::with(settings)
        .settle(
            r"
            web SERVER 1 0..100ms
            web CLIENT 2<-1 0..10ms server.address=a.example.com
            web CLIENT 3<-1 10..20ms server.address=b.example.com
            web CLIENT 4<-1 20..30ms server.address=c.example.com
            ",
        )
        .has_map(&expect![[r#"
            user -> web [virtual_node] 1
            web -> __overflow__ [virtual_node] 2
            web -> a.example.com [virtual_node] 1
            overflow __overflow__ visits 0
            external a.example.com visits 0
            user user visits 0
            service web visits 1
        "#]]);
}
