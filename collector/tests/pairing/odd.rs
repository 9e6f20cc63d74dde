//! Traces that no sound instrumentation makes: cycles, great depth, great width.

use std::fmt::Write as _;

use collector::engine::Engine;
use collector::read::Extracted;
use expect_test::expect;
use map::{ConnectionType, EdgeKey};

use crate::dsl::{assembled, check, request, spans, told};
use crate::scene::{SECOND, settings};

#[test]
fn a_span_that_is_its_own_parent_is_called_by_unknown() {
    check(
        "web SERVER 1<-1 0..100ms",
        &expect![[r#"
        call unknown -> web server_only server 100ms
        visit web `op` 100ms own 100ms
    "#]],
    );
}

#[test]
fn a_ring_of_parents_is_cut_at_the_span_that_began_first() {
    check(
        "b SERVER 2<-1 20..80ms\n a SERVER 1<-2 0..100ms",
        &expect![[r#"
        call a -> b paired server 60ms
        call unknown -> a server_only server 100ms
        visit a `op` 100ms own 40ms
        visit b `op` 60ms own 60ms
    "#]],
    );
    check(
        "c SERVER 3<-2 20..40ms\n a SERVER 1<-3 0..100ms\n b SERVER 2<-1 10..90ms",
        &expect![[r#"
        call a -> b paired server 80ms
        call b -> c paired server 20ms
        call unknown -> a server_only server 100ms
        visit a `op` 100ms own 20ms
        visit b `op` 80ms own 60ms
        visit c `op` 20ms own 20ms
    "#]],
    );
}

#[test]
fn a_ring_without_a_service_leads_nowhere() {
    check(
        "- - 1<-2 0..100ms\n - - 2<-1 0..100ms\n web SERVER 3<-2 0..100ms",
        &expect![[r#"
        call unknown -> web server_only server 100ms
        visit web `op` 100ms own 100ms
    "#]],
    );
}

#[test]
fn the_same_spans_say_the_same_in_any_order() {
    let text = "a CLIENT 1 0..90ms\n b CLIENT 1 5..85ms\n c SERVER 1 10..80ms\n d SERVER 2<-1 20..70ms\n e SERVER 1 9..70ms";
    let mut all = spans(text);
    let first = told(&assembled(&all));
    for _ in 0..all.len() {
        all.rotate_left(1);
        assert_eq!(told(&assembled(&all)), first);
        all.reverse();
        assert_eq!(told(&assembled(&all)), first);
    }
}

/// The spans of a trace, by their number.
type Shape = fn(usize) -> String;

/// Shapes that a careless walk up or down makes quadratic, by the number of spans.
const SHAPES: &[(&str, Shape)] = &[
    ("a chain of one service", |n| chain(n, |_| "a INTERNAL")),
    ("a chain of services in turn", |n| {
        chain(n, |i| ["a SERVER", "b SERVER", "c INTERNAL"][i % 3])
    }),
    (
        "a chain of spans without a service, one in two of them a parent",
        |n| {
            let mut text = chain(n / 2, |_| "- -");
            (1..=n / 2).for_each(|i| {
                let _ = writeln!(text, "a SERVER {}<-{i} 0..9ms", n + i);
            });
            text
        },
    ),
    ("nested calls", |n| chain(n, |_| "a CLIENT")),
    ("nested sendings", |n| {
        chain(n, |i| ["a PRODUCER", "a INTERNAL"][i % 2])
    }),
    ("nested consumers", |n| {
        chain(n, |i| ["a CONSUMER", "a INTERNAL"][i % 2])
    }),
    ("calls at every depth", |n| {
        let mut text = chain(n / 2, |_| "a INTERNAL");
        (1..=n / 2).for_each(|i| {
            let _ = writeln!(
                text,
                "a CLIENT {}<-{i} 0..9ms server.address=x\nb SERVER {}<-{i} 0..9ms",
                n + i,
                3 * n + i
            );
        });
        text
    }),
    ("a fan", |n| fan(n, "b SERVER")),
    ("a fan of calls to virtual nodes", |n| fan(n, "a CLIENT")),
    ("a fan of linked consumers", |n| {
        let mut text = fan(n / 2, "a PRODUCER");
        (2..n / 2).for_each(|i| {
            let _ = writeln!(text, "c CONSUMER {} 0..9ms link={i}", n + i);
        });
        text
    }),
    ("one id for all", |n| {
        (0..n).fold(String::new(), |mut text, i| {
            let _ = writeln!(text, "s{i} SERVER 1<-1 0..9ms");
            text
        })
    }),
];

/// Spans of a trace that quadratic work would hold up for hours and linear work for a moment.
const LARGE: usize = 100_000;

#[test]
fn a_trace_of_a_hundred_thousand_spans_is_assembled_whatever_its_shape() {
    for (name, shape) in SHAPES {
        let assembly = assembled(&spans(&shape(LARGE)));
        let found = assembly.visits.len() + assembly.calls.len();
        assert!(found > 0 || assembly.unnamed_peers > 0, "{name}");
    }
}

#[test]
fn a_large_trace_that_comes_twice_and_whose_root_comes_late_is_paired_once() {
    let fan = fan(LARGE, "b SERVER");
    let (root, rest) = fan.split_once('\n').expect("a fan has a root");
    let (root, rest) = (request(root), request(rest));
    let mut engine = Engine::new(settings());
    for (spans, now) in [(&rest, 1), (&rest, 10), (&root, 20), (&rest, 30)] {
        let again = Extracted {
            spans: spans.spans.clone(),
            ..Extracted::default()
        };
        assert!(engine.take(again, now * SECOND).is_ok());
        engine.tick((now + 3) * SECOND);
    }
    let key = EdgeKey::new("a".into(), "b".into(), ConnectionType::Direct);
    assert_eq!(engine.map().edges[&key].evidence.paired, LARGE as u64 - 1);
}

fn chain(n: usize, who: impl Fn(usize) -> &'static str) -> String {
    let mut text = format!("{} 1 0..9ms\n", who(0));
    for i in 1..n {
        let _ = writeln!(text, "{} {}<-{i} 0..9ms", who(i), i + 1);
    }
    text
}

fn fan(n: usize, who: &str) -> String {
    let mut text = "a SERVER 1 0..9ms\n".to_owned();
    for i in 1..n {
        let _ = writeln!(
            text,
            "{who} {}<-1 0..9ms server.address=x messaging.destination.name=q",
            i + 1
        );
    }
    text
}
