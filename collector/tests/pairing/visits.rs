//! One request to a service, and the time that it spent itself.

use expect_test::expect;

use crate::dsl::check;

#[test]
fn an_agent_around_a_library_is_one_visit_and_one_request() {
    check(
        r#"
        web SERVER 1 0..100ms "proxy"
        web SERVER 2<-1 2..98ms "GET /"
        web INTERNAL 3<-2 5..95ms
        web CLIENT 4<-3 10..60ms "library"
        web CLIENT 5<-4 12..58ms "agent"
        cart SERVER 6<-5 20..50ms "agent"
        cart SERVER 7<-6 21..49ms "GET /cart"
        "#,
        &expect![[r#"
            call user -> web server_only server 100ms
            call web -> cart paired client 50ms server 30ms own 20ms
            visit cart `agent` 30ms own 30ms
            visit web `proxy` 100ms own 50ms
        "#]],
    );
}

#[test]
fn parallel_calls_cost_their_union_and_not_their_sum() {
    check(
        r"
        web SERVER 1 0..100ms
        web CLIENT 2<-1 10..60ms server.address=a
        web CLIENT 3<-1 20..70ms server.address=b
        web CLIENT 4<-1 80..90ms server.address=c
        ",
        &expect![[r#"
            call user -> web server_only server 100ms
            call web -> a (external) client_only client 50ms own 50ms
            call web -> b (external) client_only client 50ms own 50ms
            call web -> c (external) client_only client 10ms own 10ms
            visit web `op` 100ms own 30ms
        "#]],
    );
}

#[test]
fn what_runs_on_after_the_entrys_end_is_not_subtracted() {
    check(
        "web SERVER 1 0..100ms\n web CLIENT 2<-1 90..500ms server.address=a",
        &expect![[r#"
        call user -> web server_only server 100ms
        call web -> a (external) client_only client 410ms own 410ms
        visit web `op` 100ms own 90ms
    "#]],
    );
    check(
        "web SERVER 1 0..100ms\n web CLIENT 2<-1 300..500ms server.address=a",
        &expect![[r#"
        call user -> web server_only server 100ms
        call web -> a (external) client_only client 200ms own 200ms
        visit web `op` 100ms own 100ms
    "#]],
    );
}

#[test]
fn a_consumers_work_is_not_subtracted_and_the_sending_is() {
    check(
        r"
        shop SERVER 1 0..100ms
        shop PRODUCER 2<-1 10..20ms messaging.destination.name=orders
        mail CONSUMER 3<-2 30..90ms messaging.destination.name=orders
        ",
        &expect![[r#"
            call orders (destination) -> mail paired server 60ms queue 10ms
            call shop -> orders (destination) client_only client 10ms own 10ms
            call user -> shop server_only server 100ms
            flow shop -> orders -> mail queue 10ms
            visit mail `op` 60ms own 60ms
            visit shop `op` 100ms own 90ms
        "#]],
    );
}

#[test]
fn a_proxy_that_reports_no_client_span_still_has_own_time() {
    check(
        "edge SERVER 1 0..100ms\n web SERVER 2<-1 10..90ms",
        &expect![[r#"
        call edge -> web paired server 80ms
        call user -> edge server_only server 100ms
        visit edge `op` 100ms own 20ms
        visit web `op` 80ms own 80ms
    "#]],
    );
}

#[test]
fn a_service_that_is_called_again_in_one_trace_has_two_visits() {
    check(
        "web SERVER 1 0..100ms\n cart SERVER 2<-1 10..90ms\n web SERVER 3<-2 20..80ms",
        &expect![[r#"
        call cart -> web paired server 60ms
        call user -> web server_only server 100ms
        call web -> cart paired server 80ms
        visit cart `op` 80ms own 20ms
        visit web `op` 100ms own 20ms
        visit web `op` 60ms own 60ms
    "#]],
    );
}

#[test]
fn an_orphaned_internal_span_is_no_visit() {
    check(
        "web INTERNAL 5<-4 0..100ms\n web CLIENT 6<-5 10..50ms server.address=a",
        &expect![[r#"
        call web -> a (external) client_only client 40ms own 40ms
    "#]],
    );
}
