//! What the pairing tests do not reach: critical path, retries, fan-out and hints.
//!
//! In: spans, drawn by hand or by chance. Out: what is said of them.
//! Left out on purpose: who pairs with whom; that is tested from outside.

use map::NodeKind;
use otlp::{Kind, StatusCode};
use proptest::prelude::*;

use super::*;
use crate::names::{End, Version};
use crate::span::{Extra, Hint, Message, MessageRole};

const MS: u64 = 1_000_000;

struct Nothing;

impl Surroundings for Nothing {
    fn producer(&self, _: TraceId, _: SpanId) -> Option<Producer> {
        None
    }

    fn is_workload(&self, _: Address) -> bool {
        false
    }
}

fn service(name: &str) -> Node {
    Node::service(name.into())
}

/// A span of `name` from `start` to `end` milliseconds.
fn span(name: &str, kind: Kind, id: SpanId, parent_id: SpanId, start: u64, end: u64) -> Span {
    Span {
        id,
        parent_id,
        operation: Operation::of(Some(service(name)), "op"),
        start: start * MS,
        end: end * MS,
        peer: None,
        extra: None,
        weight: 1.0,
        kind,
        status: StatusCode::Unset,
        counted: false,
    }
}

fn failed(mut span: Span) -> Span {
    span.status = StatusCode::Error;
    span
}

/// The same span, whose far side is called so.
fn named(mut span: Span, peer: &str) -> Span {
    span.peer = Some(Node::of(&End::new(peer.into(), NodeKind::External)));
    span
}

/// The same span, with a message to or from `orders`.
fn message(mut span: Span, role: MessageRole) -> Span {
    span.extra = Some(Box::new(Extra {
        message: Some(Message {
            role,
            destination: Some(Node::destination("orders")),
            count: None,
        }),
        ..Extra::default()
    }));
    span
}

fn assembled(spans: &[Span]) -> Assembly {
    assemble([1; 16], spans, &Nothing, &mut Workspace::default())
}

/// Milliseconds on the critical path, by visit and by edge.
fn path(spans: &[Span]) -> Vec<String> {
    let said = assembled(spans);
    let ms = |seconds: f64| (seconds * 1e3).round();
    let on = |seconds: f64| seconds > 0.0;
    let name = |node: Option<Node>| node.map_or("-", |node| node.get().id.as_str());
    let visits = said.visits.iter().filter(|v| on(v.critical));
    let visits = visits.map(|v| format!("{} {}", name(v.operation.service), ms(v.critical)));
    let calls = said.calls.iter().filter(|c| on(c.critical));
    let calls = calls.map(|c| format!("{}->{} {}", c.client.id, c.server.id, ms(c.critical)));
    let mut lines: Vec<String> = visits.chain(calls).collect();
    lines.sort();
    lines
}

#[test]
fn the_critical_path_goes_back_from_the_response_through_what_ended_last() {
    let spans = [
        span("web", Kind::Server, 1, 0, 0, 100),
        span("web", Kind::Client, 2, 1, 10, 40),
        span("quick", Kind::Server, 3, 2, 15, 35),
        span("web", Kind::Client, 4, 1, 20, 90),
        span("slow", Kind::Server, 5, 4, 25, 85),
    ];
    assert_eq!(
        path(&spans),
        ["slow 60", "web 30", "web->slow 10"],
        "`quick` ran beside `slow`"
    );
}

#[test]
fn a_call_that_another_version_repeats_is_a_retry_and_a_call_without_callee_has_no_version() {
    let version = |mut span: Span, version| {
        let service = span.operation.service.unwrap();
        span.operation = span.operation.with_version(Version::of(service, version));
        span
    };
    let spans = [
        version(span("web", Kind::Server, 1, 0, 0, 100), "7"),
        version(span("web", Kind::Client, 2, 1, 10, 40), "7"),
        version(failed(span("cart", Kind::Server, 3, 2, 15, 35)), "1"),
        version(span("web", Kind::Client, 4, 1, 50, 90), "7"),
        version(span("cart", Kind::Server, 5, 4, 55, 85), "2"),
        version(named(span("web", Kind::Client, 6, 1, 91, 95), "db"), "7"),
    ];
    let said = assembled(&spans);
    let mut calls: Vec<_> = said.calls.iter().filter(|call| call.visit == 1).collect();
    calls.sort_by_key(|call| call.start);
    let versions = calls
        .iter()
        .map(|call| (call.operation.version().as_str(), call.retry));
    assert_eq!(
        versions.collect::<Vec<_>>(),
        [(Some("1"), false), (Some("2"), true), (None, false)]
    );
    assert_eq!(
        said.fan_outs.iter().map(|fan| fan.calls).collect::<Vec<_>>(),
        [2, 1]
    );
}

#[test]
fn calls_one_after_the_other_are_all_on_the_critical_path() {
    let spans = [
        span("web", Kind::Server, 1, 0, 0, 100),
        span("web", Kind::Client, 2, 1, 10, 40),
        span("first", Kind::Server, 3, 2, 15, 35),
        span("web", Kind::Client, 4, 1, 50, 90),
        span("second", Kind::Server, 5, 4, 50, 90),
    ];
    assert_eq!(path(&spans), ["first 20", "second 40", "web 30", "web->first 10"]);
}

#[test]
fn nobody_waits_for_what_outlives_its_parent_in_the_same_service_or_for_consumers() {
    let consumer = message(span("mail", Kind::Consumer, 4, 3, 30, 90), MessageRole::Process);
    let producer = message(span("web", Kind::Producer, 3, 1, 20, 95), MessageRole::Send);
    let spans = [
        span("web", Kind::Server, 1, 0, 0, 100),
        span("web", Kind::Internal, 2, 1, 10, 500),
        producer,
        consumer,
    ];
    assert_eq!(
        path(&spans),
        ["web 25", "web->orders 75"],
        "the sending is waited for"
    );
}

#[test]
fn a_callee_whose_clock_is_ahead_is_clipped_to_its_caller() {
    let spans = [
        span("web", Kind::Server, 1, 0, 0, 100),
        span("web", Kind::Client, 2, 1, 10, 90),
        span("cart", Kind::Server, 3, 2, 20, 95),
    ];
    assert_eq!(path(&spans), ["cart 70", "web 20", "web->cart 10"]);
}

#[test]
fn a_call_repeats_the_failed_one_before_it_and_no_other() {
    let attempt = |id: u64, from: u64, error: bool| {
        let (mut client, server) = (
            span("web", Kind::Client, id, 1, from, from + 8),
            span("cart", Kind::Server, id + 1, id, from + 1, from + 7),
        );
        if error {
            client = failed(client);
        }
        [client, server]
    };
    let mut spans = vec![span("web", Kind::Server, 1, 0, 0, 100)];
    for (id, from, error) in [(10, 0, true), (20, 10, true), (30, 20, false), (40, 30, false)] {
        spans.extend(attempt(id, from, error));
    }
    spans.extend(attempt(50, 5, false)); // began before the first had failed
    let said = assembled(&spans);
    let mut retries: Vec<_> = said
        .calls
        .iter()
        .filter(|c| c.retry)
        .filter_map(|c| c.calling)
        .collect();
    retries.sort_unstable();
    assert_eq!(retries, [20, 30]);
    let fans: Vec<_> = said
        .fan_outs
        .iter()
        .map(|f| (f.visit, f.client, f.server, f.calls))
        .collect();
    assert_eq!(fans, [(1, service("web"), service("cart"), 5)]);
}

#[test]
fn a_call_is_a_retry_where_its_span_says_so() {
    let mut client = span("web", Kind::Client, 2, 1, 10, 90);
    client.extra = Some(Box::new(Extra {
        resend: 1,
        ..Extra::default()
    }));
    let spans = [client, span("cart", Kind::Server, 3, 2, 20, 80)];
    assert!(assembled(&spans).calls.iter().all(|call| call.retry));
}

fn hinted(mut span: Span, counted: bool, message: Option<Message>) -> Span {
    span.extra = Some(Box::new(Extra {
        hint: Some(Hint {
            caller: service("web"),
            sent: 5 * MS,
            counted,
        }),
        message,
        ..Extra::default()
    }));
    span
}

#[test]
fn a_request_whose_caller_did_not_report_is_an_edge_from_whom_it_names() {
    let said = assembled(&[hinted(span("cart", Kind::Server, 3, 2, 20, 80), true, None)]);
    let [call] = said.calls[..] else {
        panic!("one call: {said:?}")
    };
    assert_eq!(
        (call.client, call.server, call.evidence),
        (service("web"), service("cart"), Basis::Hinted)
    );
    assert!(call.counted_elsewhere && call.client_seconds.is_none());
}

#[test]
fn where_the_caller_reported_its_hint_only_confirms_and_says_who_counts() {
    for counted in [true, false] {
        let spans = [
            span("web", Kind::Client, 2, 0, 10, 90),
            hinted(span("cart", Kind::Server, 3, 2, 20, 80), counted, None),
        ];
        let said = assembled(&spans);
        let evidence: Vec<_> = said
            .calls
            .iter()
            .map(|c| (c.evidence, c.counted_elsewhere))
            .collect();
        assert_eq!(evidence, [(Basis::Paired, counted)]);
    }
}

#[test]
fn a_message_whose_sender_did_not_report_has_its_time_in_the_queue_from_the_hint() {
    let message = Message {
        role: MessageRole::Process,
        destination: Some(Node::destination("orders")),
        count: None,
    };
    let said = assembled(&[hinted(
        span("mail", Kind::Consumer, 3, 2, 20, 80),
        true,
        Some(message),
    )]);
    let ends: Vec<_> = said
        .calls
        .iter()
        .map(|c| (c.client, c.server, c.counted_elsewhere))
        .collect();
    let orders = Node::destination("orders");
    assert_eq!(
        ends,
        [(orders, service("mail"), false), (service("web"), orders, true)]
    );
    assert_eq!(said.calls[0].queue, Some(0.015));
    assert_eq!(
        (said.flows[0].producer, said.flows[0].consumer),
        (service("web"), service("mail"))
    );
}

/// The same span of a batch: of so many messages, with links that are each of so many.
fn batch(mut span: Span, role: MessageRole, count: Option<u32>, links: &[(u64, u32)]) -> Span {
    span = message(span, role);
    let extra = span.extra.as_mut().unwrap();
    extra.message.as_mut().unwrap().count = count;
    extra.links = links.iter().map(|(id, _)| ([1; 16], *id)).collect();
    extra.times = links.iter().map(|(_, times)| *times).collect();
    span
}

/// Every way with its messages and its evidence, and how many messages were followed from end to end.
fn messages(spans: &[Span]) -> (Vec<String>, u32) {
    let said = assembled(spans);
    let line = |call: &Call| {
        let Call {
            client,
            server,
            weight,
            evidence,
            ..
        } = call;
        format!("{}->{} {weight} {}", client.id, server.id, evidence.as_str())
    };
    let mut calls: Vec<_> = said.calls.iter().map(line).collect();
    calls.sort();
    let followed: f32 = said.flows.iter().map(|flow| flow.weight).sum();
    (calls, followed.round() as u32)
}

fn sent(id: u64, count: Option<u32>) -> Span {
    batch(
        span("shop", Kind::Producer, id, 0, 0, 10),
        MessageRole::Send,
        count,
        &[],
    )
}

fn polled(count: Option<u32>, links: &[(u64, u32)]) -> Span {
    batch(
        span("mail", Kind::Client, 9, 0, 20, 30),
        MessageRole::Receive,
        count,
        links,
    )
}

#[test]
fn a_batch_is_as_many_messages_as_it_says_and_each_link_as_many_as_that_says() {
    let spans = [
        sent(2, Some(60)),
        sent(3, None),
        polled(Some(41), &[(2, 40), (3, 1)]),
    ];
    let ways = [
        "orders->mail 1 linked",
        "orders->mail 40 linked",
        "shop->orders 1 client_only",
        "shop->orders 60 client_only",
    ];
    assert_eq!(messages(&spans), (ways.map(str::to_owned).to_vec(), 41));
}

#[test]
fn messages_of_a_batch_that_no_link_explains_came_from_the_destination_all_the_same() {
    let (ways, flows) = messages(&[sent(2, Some(60)), polled(Some(70), &[(2, 60), (4, 3)])]);
    assert_eq!(
        ways,
        [
            "orders->mail 10 server_only",
            "orders->mail 60 linked",
            "shop->orders 60 client_only"
        ]
    );
    assert_eq!(flows, 60);
    assert_eq!(
        messages(&[polled(Some(70), &[])]).0,
        ["orders->mail 70 server_only"]
    );
}

#[test]
fn a_span_that_says_no_number_is_one_message_for_each_link_that_is_joined() {
    let spans = [
        sent(2, None),
        sent(3, None),
        polled(None, &[(2, 1), (3, 1), (4, 1)]),
    ];
    assert_eq!(
        messages(&spans).0,
        [
            "orders->mail 1 linked",
            "orders->mail 1 linked",
            "shop->orders 1 client_only",
            "shop->orders 1 client_only"
        ]
    );
    // More links than messages: each of them is a message that somebody sent.
    let spans = [sent(2, None), sent(3, None), polled(Some(1), &[(2, 1), (3, 1)])];
    assert_eq!(messages(&spans).1, 2);
}

#[test]
fn a_poll_that_got_nothing_and_a_batch_without_messages_are_no_messages() {
    assert_eq!(messages(&[sent(2, Some(0)), polled(Some(0), &[])]), (vec![], 0));
}

#[test]
fn messages_with_spans_of_their_own_are_not_counted_again_by_the_span_that_sends_them() {
    let all = batch(
        span("shop", Kind::Client, 4, 0, 11, 20),
        MessageRole::Send,
        Some(3),
        &[(2, 1), (3, 1)],
    );
    let (ways, _) = messages(&[sent(2, None), sent(3, None), all]);
    assert_eq!(ways, ["shop->orders 1 client_only"; 3]);
}

#[test]
fn a_trace_waits_once_for_a_batch_however_many_messages_it_has() {
    let send = batch(
        span("shop", Kind::Producer, 2, 1, 10, 30),
        MessageRole::Send,
        Some(60),
        &[],
    );
    let said = assembled(&[span("shop", Kind::Server, 1, 0, 0, 100), send]);
    let to_orders = said.calls.iter().find(|call| call.messages == 60);
    let charged = to_orders.map(|call| call.critical_each() * f64::from(call.weight));
    let ms = charged.map(|seconds| (seconds * 1e3).round());
    assert_eq!(ms, Some(20.0));
}

#[test]
fn a_batch_that_is_the_child_of_its_producer_is_all_of_that() {
    let process = batch(
        span("mail", Kind::Consumer, 9, 2, 20, 30),
        MessageRole::Process,
        Some(5),
        &[],
    );
    assert_eq!(
        messages(&[sent(2, Some(5)), process]),
        (
            vec![
                "orders->mail 5 paired".to_owned(),
                "shop->orders 5 client_only".to_owned()
            ],
            5
        )
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_critical_path_is_as_long_as_the_root_and_nothing_on_it_is_negative(
        drawn in prop::collection::vec((0..3usize, 1..6i32, 0..20u64, 0..1000u64, 0..1000u64, any::<bool>()), 0..30),
    ) {
        let mut spans = vec![span("a", Kind::Server, 100, 0, 200, 900)];
        for (i, (name, kind, parent, a, b, named)) in drawn.into_iter().enumerate() {
            let parent = if parent == 0 { 100 } else { parent };
            let mut span = span(["a", "b", "c"][name], Kind::from_number(kind), i as u64 + 1, parent, a.min(b), a.max(b));
            span.peer = named.then(|| Node::of(&End::new("db".into(), NodeKind::Database)));
            spans.push(span);
        }
        let said = assembled(&spans);
        let shares = said.visits.iter().map(|v| v.critical).chain(said.calls.iter().map(|c| c.critical));
        let shares: Vec<f64> = shares.collect();
        prop_assert!(shares.iter().all(|share| *share >= 0.0));
        let sum: f64 = shares.iter().sum();
        prop_assert!((sum - 0.7).abs() < 1e-9, "{} s of 0.7 s", sum);
    }
}

#[test]
fn a_call_that_an_agent_counts_adds_no_request_whoever_of_it_came() {
    let agents = |mut span: Span| {
        span.counted = true;
        span
    };
    let sdk = span("web", Kind::Client, 2, 1, 10, 90);
    let web = span("web", Kind::Server, 1, 0, 0, 100);
    let agent = agents(named(span("web", Kind::Client, 3, 2, 12, 88), "cart:80"));
    let cart = |parent| span("cart", Kind::Server, 4, parent, 20, 80);
    let other = named(span("web", Kind::Client, 5, 1, 92, 95), "mail:25");
    let cases: [(&str, Vec<Span>, bool); 5] = [
        ("both halves", vec![web.clone(), agent.clone(), cart(3)], true),
        (
            "an SDK's half around the agent's",
            vec![web.clone(), sdk.clone(), agent.clone(), cart(3)],
            true,
        ),
        (
            "the far side does not report",
            vec![web.clone(), sdk.clone(), agent],
            true,
        ),
        (
            "the near side was not sent",
            vec![hinted(cart(9), true, None)],
            true,
        ),
        ("no agent", vec![web.clone(), sdk, cart(2)], false),
    ];
    for (case, mut spans, counted) in cases {
        spans.push(other.clone());
        let said = assembled(&spans);
        for call in &said.calls {
            let expected = counted && call.server.id.as_str().starts_with("cart");
            assert_eq!(call.counted_elsewhere, expected, "{case}: {call:?}");
        }
        assert!(
            said.calls
                .iter()
                .any(|call| call.server.id.as_str().starts_with("cart")),
            "{case}"
        );
    }
}

/// Which services' visits are said to be complete.
fn complete(spans: &[Span]) -> Vec<(String, bool)> {
    let name = |visit: &Visit| {
        visit
            .operation
            .service
            .map_or(String::new(), |node| node.get().id.to_string())
    };
    assembled(spans)
        .visits
        .iter()
        .map(|visit| (name(visit), visit.complete))
        .collect()
}

#[test]
fn a_visit_whose_calling_span_was_lost_is_incomplete_and_so_is_who_waits_for_nobody_meanwhile() {
    let (web, cart) = (
        span("web", Kind::Server, 1, 0, 0, 100),
        span("cart", Kind::Server, 3, 2, 30, 60),
    );
    let whole = |spans: &[Span]| {
        complete(spans)
            .into_iter()
            .map(|(_, complete)| complete)
            .collect::<Vec<_>>()
    };
    assert_eq!(whole(&[web.clone(), cart.clone()]), [false, true]);
    let call = span("web", Kind::Client, 2, 1, 29, 61);
    assert_eq!(whole(&[web.clone(), call.clone(), cart.clone()]), [true, true]);
    // A middle hop that reports nothing: the call that covers it is there.
    let hidden = Span { id: 4, ..call };
    assert_eq!(whole(&[web.clone(), hidden, cart.clone()]), [true, true]);
    // A message is taken while nobody waits.
    let consumed = Span {
        kind: Kind::Consumer,
        ..cart
    };
    assert_eq!(whole(&[web, consumed]), [true, true]);
}

#[test]
fn with_more_orphans_than_are_looked_for_no_visit_is_believed_to_be_complete() {
    let orphans = |count: u64| {
        let mut spans = vec![span("web", Kind::Server, 1, 0, 0, 10)];
        spans.extend((0..count).map(|n| span("cart", Kind::Server, 100 + n, 50 + n, 20, 30)));
        complete(&spans).iter().all(|(_, complete)| *complete)
    };
    assert!(orphans(16));
    assert!(!orphans(17));
}

/// Of visits and calls, in their order, which failed by themselves.
fn by_themselves(spans: &[Span]) -> (Vec<bool>, Vec<bool>) {
    let said = assembled(spans);
    let visits = said.visits.iter().map(|visit| visit.own_failed).collect();
    let calls = said.calls.iter().filter(|call| call.calling.is_some());
    (visits, calls.map(|call| call.own_failed).collect())
}

#[test]
fn who_fails_after_a_call_that_failed_does_not_fail_by_itself() {
    let web = failed(span("web", Kind::Server, 1, 0, 0, 100));
    let call = failed(span("web", Kind::Client, 2, 1, 10, 90));
    let cart = span("cart", Kind::Server, 3, 2, 20, 80);
    let all = |cart: Span| by_themselves(&[web.clone(), call.clone(), cart]);
    assert_eq!(all(failed(cart.clone())), (vec![false, true], vec![false]));
    // The callee knows of nothing: the call failed on its way.
    assert_eq!(all(cart), (vec![false, false], vec![true]));
    assert_eq!(by_themselves(std::slice::from_ref(&web)), (vec![true], vec![]));
}

/// How deep the chains are that begin with visits of a service, less the visit itself; `None` of visits that were called.
fn chains(spans: &[Span]) -> Vec<(&'static str, Option<u8>)> {
    let said = assembled(spans);
    let of = |visit: &Visit| {
        let service = visit.operation.service.map_or("-", |node| node.get().id.as_str());
        (service, visit.chain.checked_sub(1))
    };
    said.visits.iter().map(of).collect()
}

#[test]
fn a_chain_is_as_long_as_its_longest_way_between_services_and_ends_at_a_broker() {
    let spans = [
        span("web", Kind::Server, 1, 0, 0, 100),
        span("web", Kind::Client, 2, 1, 10, 90),
        span("cart", Kind::Server, 3, 2, 15, 85),
        span("cart", Kind::Internal, 4, 3, 20, 80),
        named(span("cart", Kind::Client, 5, 4, 20, 30), "db"),
        message(span("cart", Kind::Producer, 6, 4, 40, 50), MessageRole::Send),
        message(span("worker", Kind::Consumer, 7, 6, 60, 90), MessageRole::Process),
        span("worker", Kind::Client, 8, 7, 65, 70),
        span("stock", Kind::Server, 9, 8, 66, 69),
        span("web", Kind::Client, 10, 1, 91, 95),
        span("ads", Kind::Server, 11, 10, 92, 94),
    ];
    assert_eq!(
        chains(&spans),
        [
            ("web", Some(1)),
            ("cart", None),
            ("worker", Some(1)),
            ("stock", None),
            ("ads", None)
        ]
    );
}

#[test]
fn a_chain_below_a_span_that_serves_nobody_begins_with_the_first_visit() {
    let spans = [
        span("load", Kind::Client, 1, 0, 0, 100),
        span("web", Kind::Server, 2, 1, 10, 90),
        span("web", Kind::Client, 3, 2, 20, 80),
        span("cart", Kind::Server, 4, 3, 30, 70),
    ];
    assert_eq!(chains(&spans), [("web", Some(1)), ("cart", None)]);
}

#[test]
fn a_chain_without_end_is_as_deep_as_can_be_counted() {
    let deep = (1..=600).map(|i| span(["a", "b"][i as usize % 2], Kind::Server, i, i - 1, 0, 100));
    let found = chains(&deep.collect::<Vec<_>>());
    assert_eq!(found[0], ("b", Some(254)));
}

#[test]
fn what_a_caller_makes_of_a_failure_is_told_where_the_caller_is_known() {
    let tried = |caller: Span| {
        let spans = [
            caller,
            failed(span("web", Kind::Client, 2, 1, 10, 40)),
            failed(span("cart", Kind::Server, 3, 2, 15, 35)),
        ];
        let told = assembled(&spans).calls;
        let call = told.iter().find(|call| call.client == service("web"));
        call.map(|call| call.passed_on)
    };
    let web = || span("web", Kind::Server, 1, 0, 0, 100);
    assert_eq!(tried(web()), Some(Some(false)), "it coped");
    assert_eq!(tried(failed(web())), Some(Some(true)), "it failed as well");
    let orphan = failed(span("web", Kind::Internal, 1, 99, 0, 100));
    assert_eq!(tried(orphan), Some(None), "of a piece of a visit nobody knows");
}

#[test]
fn a_clock_is_off_where_a_callee_begins_before_it_is_called_and_not_where_it_is_merely_slow() {
    let skew = |kind, start, end| {
        let spans = [
            span("web", Kind::Server, 1, 0, 0, 100),
            span("web", kind, 2, 1, 20, 60),
            span("cart", Kind::Server, 3, 2, start, end),
        ];
        let told = assembled(&spans).calls;
        let call = told.iter().find(|call| call.client == service("web"));
        (call.unwrap().skew * 1e3).round() as i32
    };
    assert_eq!(skew(Kind::Client, 25, 55), 0);
    assert_eq!(skew(Kind::Client, 12, 42), -8);
    assert_eq!(skew(Kind::Client, 35, 65), 5);
    assert_eq!(
        skew(Kind::Internal, 35, 65),
        0,
        "nobody says that it is waited for"
    );
    assert_eq!(skew(Kind::Client, 10, 90), 0, "the caller gave up");
}
