//! Messages: producer, destination, consumer.

use expect_test::expect;

use crate::dsl::check;
use crate::scene::Scene;

#[test]
fn a_consumer_below_its_producer_is_a_message_with_the_time_in_the_queue() {
    check(
        r"
        shop PRODUCER 1 0..10ms messaging.destination.name=orders
        mail CONSUMER 2<-1 35..60ms messaging.destination.name=orders-queue error
        ",
        &expect![[r#"
            call orders (destination) -> mail paired server 25ms queue 25ms failed
            call shop -> orders (destination) client_only client 10ms own 10ms
            flow shop -> orders -> mail queue 25ms failed
            visit mail `op` 25ms own 25ms failed
        "#]],
    );
}

#[test]
fn a_consumer_that_links_to_its_producer_in_the_same_trace_is_a_message() {
    check(
        r"
        shop SERVER 1 0..20ms
        shop PRODUCER 2<-1 0..10ms messaging.destination.name=orders
        mail CONSUMER 3 35..60ms link=2 messaging.destination.name=orders
        ",
        &expect![[r#"
            call orders (destination) -> mail linked server 25ms queue 25ms
            call shop -> orders (destination) client_only client 10ms own 10ms
            call user -> shop server_only server 20ms
            flow shop -> orders -> mail queue 25ms
            visit mail `op` 25ms own 25ms
            visit shop `op` 20ms own 10ms
        "#]],
    );
}

#[test]
fn receive_and_process_are_one_message() {
    check(
        r"
        shop PRODUCER 1 0..10ms messaging.destination.name=orders
        mail CLIENT 2<-1 20..30ms messaging.system=kafka messaging.operation.type=receive messaging.destination.name=orders
        mail CONSUMER 3<-2 30..50ms messaging.destination.name=orders
        ",
        &expect![[r#"
            call orders (destination) -> mail paired server 20ms queue 20ms
            call shop -> orders (destination) client_only client 10ms own 10ms
            flow shop -> orders -> mail queue 20ms
            visit mail `op` 20ms own 20ms
        "#]],
    );
    check(
        r"
        T1 shop PRODUCER 1 0..10ms messaging.destination.name=orders
        mail CLIENT 2 20..30ms messaging.system=kafka messaging.operation.type=receive messaging.destination.name=orders link=1
        mail CONSUMER 3<-2 30..50ms messaging.destination.name=orders
        ",
        &expect![[r#"
            call orders (destination) -> mail linked server 10ms queue 10ms
            call shop -> orders (destination) client_only client 10ms own 10ms
            flow shop -> orders -> mail queue 10ms
            visit mail `op` 20ms own 20ms
        "#]],
    );
}

#[test]
fn every_message_of_a_batch_is_a_visit_and_the_polling_is_none() {
    check(
        r"
        mail CLIENT 1 0..1000ms messaging.system=kafka messaging.operation.type=receive messaging.destination.name=orders
        mail CONSUMER 2<-1 1000..1050ms messaging.destination.name=orders
        mail CLIENT 3<-2 1010..1030ms server.address=smtp
        mail CONSUMER 4<-1 1050..1070ms messaging.destination.name=orders
        ",
        &expect![[r#"
            call mail -> smtp (external) client_only client 20ms own 20ms
            call orders (destination) -> mail server_only server 20ms
            call orders (destination) -> mail server_only server 50ms
            visit mail `op` 20ms own 20ms
            visit mail `op` 50ms own 30ms
        "#]],
    );
}

#[test]
fn a_process_span_that_links_to_its_receive_span_is_no_message_to_itself() {
    check(
        r"
        mail CLIENT 2 20..30ms messaging.system=kafka messaging.operation.type=receive messaging.destination.name=orders
        mail CONSUMER 3<-2 30..50ms messaging.destination.name=orders link=2
        ",
        &expect![[r#"
            call orders (destination) -> mail server_only server 20ms
            visit mail `op` 20ms own 20ms
        "#]],
    );
}

#[test]
fn polling_a_queue_while_serving_makes_no_message_of_the_request() {
    check(
        r"
        web CLIENT 1 0..100ms
        cart SERVER 2<-1 10..90ms
        cart CLIENT 3<-2 20..30ms messaging.system=sqs messaging.operation.type=receive messaging.destination.name=jobs
        ",
        &expect![[r#"
            call jobs (destination) -> cart server_only server 10ms
            call web -> cart paired client 100ms server 80ms own 20ms
            visit cart `op` 80ms own 70ms
        "#]],
    );
}

#[test]
fn settling_a_message_is_neither_sending_nor_receiving() {
    check(
        r"
        mail CONSUMER 1 0..50ms messaging.destination.name=orders
        mail CLIENT 2<-1 40..45ms messaging.system=servicebus messaging.operation.type=settle messaging.destination.name=orders
        ",
        &expect![[r#"
            call orders (destination) -> mail server_only server 50ms
            visit mail `op` 50ms own 45ms
        "#]],
    );
}

#[test]
fn the_layers_of_a_sending_are_one_message() {
    check(
        r"
        shop SERVER 1 0..100ms
        shop PRODUCER 2<-1 10..50ms messaging.destination.name=orders
        shop INTERNAL 3<-2 11..49ms
        shop PRODUCER 4<-3 12..48ms messaging.destination.name=orders
        shop CLIENT 5<-4 13..47ms server.address=kafka server.port=9092
        mail CONSUMER 6<-4 60..90ms messaging.destination.name=orders
        mail CONSUMER 7<-6 61..89ms messaging.destination.name=orders
        ",
        &expect![[r#"
            call orders (destination) -> mail paired server 30ms queue 12ms
            call shop -> orders (destination) client_only client 40ms own 40ms
            call user -> shop server_only server 100ms
            flow shop -> orders -> mail queue 12ms
            visit mail `op` 30ms own 30ms
            visit shop `op` 100ms own 60ms
        "#]],
    );
}

#[test]
fn a_destination_that_one_side_names_stands_between_them_and_without_any_they_are_joined_directly() {
    check(
        "shop PRODUCER 1 0..10ms messaging.destination.name=orders\n mail CONSUMER 2<-1 35..60ms",
        &expect![[r#"
        call orders (destination) -> mail paired server 25ms queue 25ms
        call shop -> orders (destination) client_only client 10ms own 10ms
        flow shop -> orders -> mail queue 25ms
        visit mail `op` 25ms own 25ms
    "#]],
    );
    check(
        "shop PRODUCER 1 0..10ms\n mail CONSUMER 2<-1 35..60ms messaging.destination.name=orders",
        &expect![[r#"
        call orders (destination) -> mail paired server 25ms queue 25ms
        call shop -> orders (destination) client_only client 10ms own 10ms
        flow shop -> orders -> mail queue 25ms
        visit mail `op` 25ms own 25ms
    "#]],
    );
    check(
        "shop PRODUCER 1 0..10ms\n mail CONSUMER 2<-1 35..60ms",
        &expect![[r#"
        call shop -> mail paired server 25ms queue 25ms
        flow shop -> ? -> mail queue 25ms
        visit mail `op` 25ms own 25ms
    "#]],
    );
}

#[test]
fn a_destination_that_only_a_linked_consumer_names_still_has_its_producer() {
    check(
        "shop INTERNAL 1 0..10ms\n mail CONSUMER 2 35..60ms link=1 messaging.destination.name=orders",
        &expect![[r#"
        call orders (destination) -> mail linked server 25ms queue 25ms
        call shop -> orders (destination) linked
        flow shop -> orders -> mail queue 25ms
        visit mail `op` 25ms own 25ms
        visit shop `op` 10ms own 10ms
    "#]],
    );
}

#[test]
fn a_consumer_whose_producer_never_came_is_called_by_its_destination() {
    check(
        "mail CONSUMER 2<-9 35..60ms messaging.destination.name=orders",
        &expect![[r#"
        call orders (destination) -> mail server_only server 25ms
        visit mail `op` 25ms own 25ms
    "#]],
    );
    check(
        "mail CONSUMER 2<-9 35..60ms",
        &expect![[r#"
        visit mail `op` 25ms own 25ms
    "#]],
    );
}

#[test]
fn a_batch_with_three_links_is_three_messages() {
    Scene::new()
        .take("T2 shop PRODUCER 1 0..10ms messaging.destination.name=orders")
        .take("T3 shop PRODUCER 1 0..10ms messaging.destination.name=orders")
        .take("T4 web PRODUCER 1 0..10ms messaging.destination.name=orders")
        .settle("T1 mail CONSUMER 9 50..60ms messaging.destination.name=orders link=T2/1 link=T3/1 link=T4/1")
        .has_map(&expect![[r#"
            orders -> mail [messaging_system] 3
            shop -> orders [messaging_system] 2
            web -> orders [messaging_system] 1
            flow shop -> orders -> mail 2
            flow web -> orders -> mail 1
            service mail visits 1
            destination orders visits 0
            service shop visits 0
            service web visits 0
        "#]])
        .has_series(&["traces_service_graph_request_total"], &expect![[r#"
            traces_service_graph_request_total{client="shop",server="mail",connection_type="messaging_system"} 2
            traces_service_graph_request_total{client="web",server="mail",connection_type="messaging_system"} 1
        "#]]);
}

#[test]
fn a_link_finds_its_producer_in_a_trace_that_is_already_closed() {
    Scene::new()
        .settle("T2 shop PRODUCER 1 0..10ms messaging.destination.name=orders")
        .settle("T1 mail CONSUMER 9 50..60ms messaging.destination.name=orders link=T2/1")
        .has_map(&expect![[r#"
            orders -> mail [messaging_system] 1
            shop -> orders [messaging_system] 1
            flow shop -> orders -> mail 1
            service mail visits 1
            destination orders visits 0
            service shop visits 0
        "#]]);
}

#[test]
fn a_producer_that_comes_after_its_consumer_was_closed_is_joined_late() {
    Scene::new()
        .settle("T1 mail CONSUMER 9 50..60ms messaging.destination.name=orders link=T2/1")
        .has_map(&expect![[r#"
            orders -> mail [messaging_system] 1
            service mail visits 1
            destination orders visits 0
        "#]])
        .settle("T2 shop PRODUCER 1 0..10ms messaging.destination.name=orders")
        .has_map(&expect![[r#"
            orders -> mail [messaging_system] 1
            shop -> orders [messaging_system] 1
            flow shop -> orders -> mail 1
            service mail visits 1
            destination orders visits 0
            service shop visits 0
        "#]])
        .has_series(
            &["traces_service_graph_request_total", "tracemap_collector_map_corrections_total"],
            &expect![[r#"
                traces_service_graph_request_total{client="shop",server="mail",connection_type="messaging_system"} 1
                tracemap_collector_map_corrections_total{kind="visit"} 0
                tracemap_collector_map_corrections_total{kind="call"} 1
                tracemap_collector_map_corrections_total{kind="flow"} 0
            "#]],
        );
}

#[test]
fn a_link_into_another_trace_is_not_mistaken_for_a_span_of_this_one() {
    check(
        "shop INTERNAL 1 0..10ms\n mail CONSUMER 2 35..60ms link=T2/1 messaging.destination.name=orders",
        &expect![[r#"
            call orders (destination) -> mail server_only server 25ms
            visit mail `op` 25ms own 25ms
            visit shop `op` 10ms own 10ms
        "#]],
    );
}
