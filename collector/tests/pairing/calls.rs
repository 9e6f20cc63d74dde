//! Who calls whom, by parent and child.

use expect_test::expect;

use crate::dsl::check;

#[test]
fn client_and_server_make_one_call_that_is_charged_what_neither_side_spent() {
    check(
        r#"
        web SERVER 1 0..100ms "GET /"
        web CLIENT 2<-1 10..90ms
        cart SERVER 3<-2 20..80ms error "GET /cart"
        "#,
        &expect![[r#"
            call user -> web server_only server 100ms
            call web -> cart paired client 80ms server 60ms own 20ms failed
            visit cart `GET /cart` 60ms own 60ms failed
            visit web `GET /` 100ms own 20ms
        "#]],
    );
}

#[test]
fn a_server_below_a_server_is_a_call_although_nobody_recorded_the_calling() {
    check(
        "web SERVER 1 0..100ms\n cart SERVER 2<-1 20..80ms",
        &expect![[r#"
        call user -> web server_only server 100ms
        call web -> cart paired server 60ms
        visit cart `op` 60ms own 60ms
        visit web `op` 100ms own 40ms
    "#]],
    );
}

#[test]
fn internal_spans_of_two_services_are_a_call_too() {
    check(
        "web INTERNAL 1 0..100ms\n web INTERNAL 2<-1 10..90ms\n cart INTERNAL 3<-2 20..80ms",
        &expect![[r#"
        call web -> cart paired client 80ms server 60ms own 20ms
        visit cart `op` 60ms own 60ms
        visit web `op` 100ms own 20ms
    "#]],
    );
}

#[test]
fn a_client_below_a_client_of_another_service_is_a_call() {
    check(
        "web CLIENT 1 0..100ms\n mesh CLIENT 2<-1 10..90ms\n cart SERVER 3<-2 20..80ms",
        &expect![[r#"
        call mesh -> cart paired client 80ms server 60ms own 20ms
        call web -> mesh paired client 100ms server 80ms own 20ms
        visit cart `op` 60ms own 60ms
    "#]],
    );
}

#[test]
fn spans_without_kinds_pair_and_their_root_is_called_by_the_user() {
    check(
        "web - 1 0..100ms\n web - 2<-1 10..90ms\n cart - 3<-2 20..80ms",
        &expect![[r#"
        call user -> web server_only server 100ms
        call web -> cart paired client 80ms server 60ms own 20ms
        visit cart `op` 60ms own 60ms
        visit web `op` 100ms own 20ms
    "#]],
    );
}

#[test]
fn two_halves_that_share_an_id_pair_and_their_children_belong_to_the_half_of_their_service() {
    check(
        r#"
        web SERVER 1 0..100ms
        web CLIENT 2<-1 10..90ms
        cart SERVER 2<-1 20..80ms
        cart CLIENT 3<-2 30..70ms db.system=redis server.address=cache
        "#,
        &expect![[r#"
            call cart -> redis@cache (cache) client_only client 40ms own 40ms
            call user -> web server_only server 100ms
            call web -> cart paired client 80ms server 60ms own 20ms
            visit cart `op` 60ms own 20ms
            visit web `op` 100ms own 20ms
        "#]],
    );
}

#[test]
fn a_child_of_a_shared_id_belongs_to_the_serving_half_where_no_half_is_of_its_service() {
    check(
        "web CLIENT 2 0..90ms\n cart SERVER 2 10..80ms\n stock SERVER 3<-2 20..70ms",
        &expect![[r#"
            call cart -> stock paired server 50ms
            call web -> cart paired client 90ms server 70ms own 20ms
            visit cart `op` 70ms own 20ms
            visit stock `op` 50ms own 50ms
        "#]],
    );
}

#[test]
fn a_shared_id_without_its_calling_half_leaves_the_call_to_the_parent() {
    check(
        "web SERVER 1 0..100ms\n cart SERVER 2<-1 20..80ms\n stock SERVER 3<-2 30..70ms",
        &expect![[r#"
        call cart -> stock paired server 40ms
        call user -> web server_only server 100ms
        call web -> cart paired server 60ms
        visit cart `op` 60ms own 20ms
        visit stock `op` 40ms own 40ms
        visit web `op` 100ms own 40ms
    "#]],
    );
}

#[test]
fn three_children_of_one_calling_span_are_three_calls() {
    check(
        r"
        web SERVER 1 0..100ms
        web INTERNAL 2<-1 10..90ms
        a SERVER 3<-2 20..40ms
        b SERVER 4<-2 20..50ms
        c SERVER 5<-2 20..60ms
        ",
        &expect![[r#"
            call user -> web server_only server 100ms
            call web -> a paired client 80ms server 20ms own 60ms
            call web -> b paired client 80ms server 30ms own 50ms
            call web -> c paired client 80ms server 40ms own 40ms
            visit a `op` 20ms own 20ms
            visit b `op` 30ms own 30ms
            visit c `op` 40ms own 40ms
            visit web `op` 100ms own 20ms
        "#]],
    );
}

#[test]
fn every_retry_is_a_call_and_only_the_failed_one_has_failed() {
    check(
        r"
        web SERVER 1 0..100ms
        web CLIENT 2<-1 10..30ms error
        cart SERVER 3<-2 15..25ms error
        web CLIENT 4<-1 40..80ms
        cart SERVER 5<-4 45..75ms
        ",
        &expect![[r#"
            call user -> web server_only server 100ms
            call web -> cart paired client 20ms server 10ms own 10ms failed
            call web -> cart paired client 40ms server 30ms own 10ms retry
            visit cart `op` 10ms own 10ms failed
            visit cart `op` 30ms own 30ms
            visit web `op` 100ms own 40ms
        "#]],
    );
}

#[test]
fn a_client_without_a_server_is_a_call_to_the_node_that_its_attributes_name() {
    check(
        r"
        web SERVER 1 0..100ms
        web CLIENT 2<-1 0..1ms service.peer.name=billing
        web CLIENT 3<-1 1..2ms peer.service=old-billing
        web CLIENT 4<-1 2..3ms db.system.name=postgresql db.namespace=shop server.address=db-1
        web CLIENT 5<-1 3..4ms db.system=mysql db.name=shop net.peer.name=db-2
        web CLIENT 6<-1 4..5ms server.address=api.example.com server.port=8443
        web CLIENT 7<-1 5..6ms net.peer.name=legacy.example.com net.peer.port=443
        web CLIENT 8<-1 6..7ms rpc.service=shop.Cart
        web CLIENT 9<-1 7..8ms http.url=http://pay.example.com:81/v1?card=1
        web CLIENT 10<-1 8..9ms
        ",
        &expect![[r#"
            call user -> web server_only server 100ms
            call web -> api.example.com:8443 (external) client_only client 1ms own 1ms
            call web -> billing (external) client_only client 1ms own 1ms
            call web -> legacy.example.com (external) client_only client 1ms own 1ms
            call web -> mysql:shop@db-2 (database) client_only client 1ms own 1ms
            call web -> old-billing (external) client_only client 1ms own 1ms
            call web -> pay.example.com:81 (external) client_only client 1ms own 1ms
            call web -> postgresql:shop@db-1 (database) client_only client 1ms own 1ms
            call web -> shop.Cart (external) client_only client 1ms own 1ms
            unnamed peers 1
            visit web `op` 100ms own 91ms
        "#]],
    );
}

#[test]
fn an_agent_and_a_library_record_one_call_to_a_virtual_node() {
    check(
        r"
        web SERVER 1 0..100ms
        web CLIENT 2<-1 10..90ms
        web CLIENT 3<-2 11..89ms server.address=api.example.com
        ",
        &expect![[r#"
            call user -> web server_only server 100ms
            call web -> api.example.com (external) client_only client 80ms own 80ms
            visit web `op` 100ms own 20ms
        "#]],
    );
}

#[test]
fn a_span_without_a_service_is_a_bridge_between_its_neighbours() {
    check(
        "web CLIENT 1 0..100ms\n - - 2<-1 10..90ms\n - - 3<-2 20..80ms\n cart SERVER 4<-3 30..70ms",
        &expect![[r#"
            call web -> cart bridged client 100ms server 40ms own 60ms
            visit cart `op` 40ms own 40ms
        "#]],
    );
}

#[test]
fn a_root_without_a_service_is_somebody_but_nobody_knows_who() {
    check(
        "- SERVER 1 0..100ms\n cart SERVER 2<-1 30..70ms",
        &expect![[r#"
        call unknown -> cart server_only server 40ms
        visit cart `op` 40ms own 40ms
    "#]],
    );
}

#[test]
fn a_server_whose_parent_never_came_is_called_by_unknown() {
    check(
        "cart SERVER 2<-9 30..70ms",
        &expect![[r#"
        call unknown -> cart server_only server 40ms
        visit cart `op` 40ms own 40ms
    "#]],
    );
}

#[test]
fn a_root_server_is_called_by_the_user() {
    check(
        "web SERVER 1 0..100ms client.address=203.0.113.9",
        &expect![[r#"
        call user -> web server_only server 100ms
        visit web `op` 100ms own 100ms
    "#]],
    );
}

#[test]
fn root_client_and_root_internal_are_called_by_nobody() {
    check(
        "cron CLIENT 1 0..100ms server.address=api.example.com",
        &expect![[r#"
        call cron -> api.example.com (external) client_only client 100ms own 100ms
    "#]],
    );
    check(
        "cron INTERNAL 1 0..100ms\n cron CLIENT 2<-1 10..90ms\n cart SERVER 3<-2 20..80ms",
        &expect![[r#"
        call cron -> cart paired client 80ms server 60ms own 20ms
        visit cart `op` 60ms own 60ms
        visit cron `op` 100ms own 20ms
    "#]],
    );
}

#[test]
fn a_sampled_call_stands_for_the_inverse_of_its_probability() {
    check(
        "web SERVER 1 0..100ms state=ot=th:c\n web CLIENT 2<-1 0..50ms state=ot=th:c\n cart SERVER 3<-2 0..40ms state=ot=th:8",
        &expect![[r#"
        call user -> web server_only server 100ms x4
        call web -> cart paired client 50ms server 40ms own 10ms x2
        visit cart `op` 40ms own 40ms x2
        visit web `op` 100ms own 50ms x4
    "#]],
    );
}

#[test]
fn clock_skew_reorders_nothing_and_makes_no_time_negative() {
    check(
        "web SERVER 1 0..100ms\n web CLIENT 2<-1 10..50ms\n cart SERVER 3<-2 -20..60ms",
        &expect![[r#"
            call user -> web server_only server 100ms
            call web -> cart paired client 40ms server 80ms own 0ns
            visit cart `op` 80ms own 80ms
            visit web `op` 100ms own 60ms
        "#]],
    );
}
