//! What a shard promises: the same closings wherever ticks fall, replays that repeat, links across shards, bounds.

use std::time::Duration;

use otlp::{Kind, StatusCode};
use proptest::prelude::*;

use super::*;
use crate::names::{Node, Operation};
use crate::skew::{Skews, Waits};
use crate::span::{Extra, Message, MessageRole, Span, place_id};

const SECOND: u64 = 1_000_000_000;

fn span(service: &str, kind: Kind, id: u64, parent_id: u64) -> Span {
    Span {
        id,
        parent_id,
        operation: Operation::of(Some(Node::service(service.into())), "op"),
        start: id * 1_000_000,
        end: id * 1_000_000 + 5_000_000,
        peer: None,
        extra: None,
        weight: 1.0,
        kind,
        status: StatusCode::Unset,
        counted: false,
    }
}

fn received(trace: u8, span: Span) -> Received {
    Received {
        trace: [trace; 16],
        span,
        place: Place::default(),
    }
}

fn batch(time: u64, spans: Vec<Received>) -> Batch {
    Batch {
        time,
        position: time,
        spans,
        workloads: Arc::default(),
    }
}

fn told(shard: &mut Shard) -> Vec<String> {
    let closings = shard.report().closings;
    closings.iter().map(|closing| format!("{closing:?}")).collect()
}

/// A consumer of trace 2 whose link names span 1 of trace `producer`.
fn consumer(producer: u8) -> Received {
    let mut span = span("mail", Kind::Consumer, 9, 0);
    span.extra = Some(Box::new(Extra {
        message: Some(Message {
            role: MessageRole::Process,
            destination: None,
            count: None,
        }),
        links: vec![([producer; 16], 1)],
        ..Extra::default()
    }));
    received(2, span)
}

/// Hands on what shards say to each other until they are silent.
fn talk(shards: &mut [Shard]) {
    loop {
        let said: Vec<_> = shards.iter_mut().flat_map(Shard::messages).collect();
        if said.is_empty() {
            return;
        }
        for (to, message) in said {
            shards[to].receive(message);
        }
    }
}

fn flows(shard: &mut Shard) -> usize {
    shard.report().closings.iter().map(|c| c.added.flows.len()).sum()
}

#[test]
fn a_link_is_followed_into_another_shard_whichever_side_closes_first() {
    let other = (3..255u8)
        .find(|t| shard_of(&[*t; 16], 2) != shard_of(&[2; 16], 2))
        .unwrap();
    let (ours, theirs) = (shard_of(&[2; 16], 2), shard_of(&[other; 16], 2));
    for (first, second) in [(0, 10), (10, 0), (0, 0)] {
        let mut shards = [0, 1].map(|index| Shard::new(index, 2, TableSettings::default()));
        for now in 0..20 {
            if now == first {
                let spans = vec![received(other, span("shop", Kind::Producer, 1, 0))];
                shards[theirs].take(batch(now * SECOND, spans));
            }
            if now == second {
                shards[ours].take(batch(now * SECOND, vec![consumer(other)]));
            }
            for shard in &mut shards {
                shard.advance(now * SECOND);
            }
            talk(&mut shards);
        }
        assert_eq!(
            flows(&mut shards[ours]),
            1,
            "producer at {first} s, consumer at {second} s"
        );
    }
}

/// Spans of traces 3 and 2 that sent and received messages which the broker named, and no context passed between them.
fn by_place(sent: &[&str], received_too: &[&str]) -> [Received; 2] {
    let ids = |places: &[&str]| places.iter().map(|place| place_id(place.as_bytes())).collect();
    let message = |role| {
        let destination = Some(Node::destination("orders"));
        Some(Message {
            role,
            destination,
            count: None,
        })
    };
    let mut producer = span("shop", Kind::Producer, 1, 0);
    producer.extra = Some(Box::new(Extra {
        message: message(MessageRole::Send),
        places: ids(sent),
        ..Extra::default()
    }));
    let mut consumer = span("mail", Kind::Client, 9, 0);
    consumer.extra = Some(Box::new(Extra {
        message: message(MessageRole::Receive),
        links: ids(received_too),
        ..Extra::default()
    }));
    [received(3, producer), received(2, consumer)]
}

#[test]
fn messages_that_a_broker_named_are_joined_whichever_side_comes_first_and_wherever_the_name_falls() {
    let (sent, got) = (["kafka:orders/0@17", "kafka:orders/0@18"], ["kafka:orders/0@18"]);
    for shards in 1..5 {
        for (first, second) in [(0, 10), (10, 0), (0, 0)] {
            let mut all: Vec<_> = (0..shards)
                .map(|index| Shard::new(index, shards, TableSettings::default()))
                .collect();
            let [producer, consumer] = by_place(&sent, &got);
            let of = |trace: u8| shard_of(&[trace; 16], shards);
            for now in 0..20 {
                if now == first {
                    all[of(3)].take(batch(now * SECOND, vec![producer.clone()]));
                }
                if now == second {
                    all[of(2)].take(batch(now * SECOND, vec![consumer.clone()]));
                }
                for shard in &mut all {
                    shard.advance(now * SECOND);
                }
                talk(&mut all);
            }
            let closings = all[of(2)].report().closings;
            let flows: Vec<_> = closings.iter().flat_map(|c| &c.added.flows).collect();
            assert_eq!(
                flows.len(),
                1,
                "{shards} shards, {first} s, {second} s: {flows:?}"
            );
            assert_eq!(flows[0].producer, Node::service("shop".into()));
        }
    }
}

#[test]
fn a_name_that_nobody_sent_joins_nothing() {
    let mut shard = Shard::new(0, 1, TableSettings::default());
    let [producer, consumer] = by_place(&["kafka:orders/0@17"], &["kafka:orders/1@17"]);
    shard.take(batch(0, vec![producer, consumer]));
    shard.advance(60 * SECOND);
    assert_eq!(flows(&mut shard), 0);
}

#[test]
fn a_flow_stays_when_its_producer_is_forgotten() {
    let mut shard = Shard::new(0, 1, TableSettings::default());
    shard.take(batch(0, vec![received(3, span("shop", Kind::Producer, 1, 0))]));
    shard.take(batch(50 * SECOND, vec![consumer(3)]));
    shard.take(batch(
        70 * SECOND,
        vec![received(2, span("mail", Kind::Internal, 10, 9))],
    ));
    shard.advance(80 * SECOND);
    let closings = shard.report().closings;
    assert!(closings.iter().any(|c| c.late), "{closings:?}");
    assert!(
        closings.iter().all(|c| c.removed.flows.is_empty()),
        "{closings:?}"
    );
}

#[test]
fn a_trace_that_is_too_large_is_closed_and_what_comes_then_is_counted() {
    let settings = TableSettings {
        max_trace_bytes: Some(0),
        ..TableSettings::default()
    };
    let mut shard = Shard::new(0, 1, settings);
    let spans = 40_000;
    let all = (1..=spans).map(|id| received(1, span("a", Kind::Internal, id, id - 1)));
    shard.take(batch(0, all.collect()));
    let report = shard.report();
    assert_eq!(report.closings.len(), 1);
    assert_eq!(u64::from(report.closings[0].spans), report.outcomes.kept);
    assert_eq!(report.outcomes.kept + report.outcomes.beyond, spans);
    assert!(shard.bytes() <= (1 << 20) + 1024, "{} bytes", shard.bytes());
    let metered: f64 = report.spans.iter().map(|delta| delta.calls).sum();
    assert_eq!(metered as u64, spans);
}

#[test]
fn beyond_its_budget_a_shard_closes_open_traces_early_and_loses_none() {
    let settings = TableSettings {
        max_bytes: 10_000,
        ..TableSettings::default()
    };
    let mut shard = Shard::new(0, 1, settings);
    for trace in 1..=200 {
        shard.take(batch(
            u64::from(trace),
            vec![received(trace, span("a", Kind::Server, 1, 0))],
        ));
        assert!(shard.bytes() <= 14_000, "{} bytes", shard.bytes());
    }
    shard.finish(SECOND);
    let visits: usize = shard.report().closings.iter().map(|c| c.added.visits.len()).sum();
    assert_eq!(visits, 200);
}

#[test]
fn millions_of_spans_with_one_id_are_duplicates_of_one_and_cost_nothing() {
    let mut shard = Shard::new(0, 1, TableSettings::default());
    for _ in 0..100 {
        let same = std::iter::repeat_n(received(1, span("a", Kind::Server, 1, 0)), 1000);
        shard.take(batch(0, same.collect()));
    }
    let outcomes = shard.report().outcomes;
    assert_eq!((outcomes.kept, outcomes.duplicate), (1, 99_999));
}

#[test]
fn a_long_trace_that_comes_twice_is_taken_once() {
    let mut shard = Shard::new(0, 1, TableSettings::default());
    let all: Vec<_> = (1..=100)
        .map(|id| received(1, span("a", Kind::Internal, id, id - 1)))
        .collect();
    shard.take(batch(0, all.clone()));
    shard.take(batch(SECOND, all));
    let outcomes = shard.report().outcomes;
    assert_eq!((outcomes.kept, outcomes.duplicate), (100, 100));
}

#[test]
fn a_late_root_that_moves_the_critical_path_corrects_no_visit() {
    let mut shard = Shard::new(0, 1, TableSettings::default());
    shard.take(batch(0, vec![received(1, span("cart", Kind::Server, 3, 2))]));
    shard.advance(5 * SECOND);
    let before = shard.report().closings;
    assert!(before[0].added.visits[0].critical > 0.0);
    let mut root = span("web", Kind::Server, 2, 0);
    root.end = root.start + 1;
    shard.take(batch(6 * SECOND, vec![received(1, root)]));
    shard.advance(10 * SECOND);
    let closings = shard.report().closings;
    let visits = (closings[0].removed.visits.len(), closings[0].added.visits.len());
    assert_eq!((visits, closings[0].removed.calls.len()), ((0, 1), 1));
}

#[test]
fn a_replay_that_is_muted_says_only_what_comes_after_it() {
    let spans = |from: u64| (from..from + 3).map(|id| received(1, span("a", Kind::Server, id, 0)));
    let run = |mute: bool| {
        let mut shard = Shard::new(0, 1, TableSettings::default());
        shard.set_muted(mute);
        shard.take(batch(0, spans(1).collect()));
        shard.advance(5 * SECOND);
        let before = shard.report();
        assert_eq!(before.is_empty(), mute);
        shard.set_muted(false);
        shard.take(batch(6 * SECOND, spans(3).collect()));
        shard.advance(20 * SECOND);
        let report = shard.report();
        (format!("{:?}", report.closings), report.outcomes)
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn the_oldest_position_is_that_of_the_oldest_trace_in_the_table() {
    let mut shard = Shard::new(0, 1, TableSettings::default());
    shard.take(batch(SECOND, vec![received(1, span("a", Kind::Server, 1, 0))]));
    shard.take(batch(
        30 * SECOND,
        vec![received(2, span("a", Kind::Server, 1, 0))],
    ));
    assert_eq!(shard.oldest_position(), Some(SECOND));
    shard.advance(64 * SECOND);
    assert_eq!(
        shard.oldest_position(),
        Some(30 * SECOND),
        "the first was kept for a minute after 3 s"
    );
    shard.advance(200 * SECOND);
    assert_eq!(
        (shard.oldest_position(), shard.len(), shard.bytes()),
        (None, (0, 0), 0)
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn wherever_ticks_fall_the_same_is_closed_in_the_same_order(
        batches in prop::collection::vec((prop::collection::vec((1..6u8, 1..6u64, 0..6u64), 0..5), 0..4_000u64), 1..20),
        ticks in prop::collection::vec(0..40_000u64, 0..40),
    ) {
        let settings = TableSettings { keep: Duration::from_secs(5), max_open: Duration::from_secs(6), ..TableSettings::default() };
        let mut plain = Shard::new(0, 1, settings);
        let mut ticked = Shard::new(0, 1, settings);
        let mut ticks = ticks;
        ticks.sort_unstable();
        let (mut now, mut said) = (0, Vec::new());
        for (spans, gap) in batches {
            now += gap * 1_000_000;
            while ticks.first().is_some_and(|tick| tick * 1_000_000 <= now) {
                ticked.advance(ticks.remove(0) * 1_000_000);
                said.extend(told(&mut ticked));
            }
            let spans: Vec<_> = spans.into_iter().map(|(trace, id, parent)| received(trace, span("a", Kind::Server, id, parent))).collect();
            plain.take(batch(now, spans.clone()));
            ticked.take(batch(now, spans));
        }
        for shard in [&mut plain, &mut ticked] {
            shard.advance(now + 100 * SECOND);
        }
        said.extend(told(&mut ticked));
        prop_assert_eq!(told(&mut plain), said);
        prop_assert_eq!((plain.bytes(), plain.len()), (0, (0, 0)));
    }
}

/// Trace `number`: a call at `at` whose other half comes `skew` later.
fn slow_pair(shard: &mut Shard, number: u8, at: u64, skew: u64) -> Vec<bool> {
    let mut server = span("cart", Kind::Server, 2, 1);
    let mut client = span("web", Kind::Client, 1, 0);
    (server.id, client.id) = (u64::from(number) << 8 | 2, u64::from(number) << 8 | 1);
    server.parent_id = client.id;
    shard.take(batch(at, vec![received(number, client)]));
    shard.take(batch(at + skew, vec![received(number, server)]));
    shard.advance(at + skew + 40 * SECOND);
    let report = shard.report();
    assert_eq!(report.outcomes.kept + report.outcomes.late, 2);
    report.closings.iter().map(|closing| closing.late).collect()
}

fn learned(reports: impl IntoIterator<Item = Report>) -> Arc<Waits> {
    let mut skews = Skews::new(Duration::from_secs(2), Duration::from_secs(30));
    reports.into_iter().for_each(|report| skews.note(&report));
    Arc::new(skews.waits())
}

/// What shards report of three traces whose server halves come five seconds after their client halves.
fn habit() -> Arc<Waits> {
    let mut shard = Shard::new(0, 1, TableSettings::default());
    let reports = (1..=3u8).map(|number| {
        let at = u64::from(number) * 60 * SECOND;
        let mut server = span("cart", Kind::Server, 2, 1);
        server.start += 1;
        shard.take(batch(at, vec![received(number, span("web", Kind::Client, 1, 0))]));
        shard.take(batch(at + 5 * SECOND, vec![received(number, server)]));
        shard.advance(at + 20 * SECOND);
        shard.report()
    });
    learned(reports)
}

#[test]
fn a_half_that_uses_to_come_late_is_waited_for_and_its_trace_closes_once() {
    let mut shard = Shard::new(0, 1, TableSettings::default());
    assert_eq!(slow_pair(&mut shard, 9, 100 * SECOND, 5 * SECOND), [false, true]);
    shard.set_waits(habit());
    assert_eq!(slow_pair(&mut shard, 10, 200 * SECOND, 5 * SECOND), [false]);
    assert_eq!(
        slow_pair(&mut shard, 11, 300 * SECOND, 9 * SECOND),
        [false, true],
        "later than it uses to"
    );
}

#[test]
fn whoever_lacks_no_half_is_not_waited_for_longer() {
    let mut shard = Shard::new(0, 1, TableSettings::default());
    shard.set_waits(habit());
    let pair = [span("web", Kind::Client, 1, 0), span("cart", Kind::Server, 2, 1)];
    shard.take(batch(10 * SECOND, pair.map(|span| received(1, span)).to_vec()));
    let lone = span("web", Kind::Client, 1, 0);
    shard.take(batch(10 * SECOND, vec![received(2, lone)]));
    shard.advance(13 * SECOND);
    let closed: Vec<TraceId> = shard
        .report()
        .closings
        .iter()
        .map(|closing| closing.trace)
        .collect();
    assert_eq!(closed, [[1; 16]]);
}

#[test]
fn halves_that_come_together_teach_nothing_and_late_ones_are_learned_once() {
    let mut shard = Shard::new(0, 1, TableSettings::default());
    let mut skews = Vec::new();
    for (at, half) in [
        (0, span("web", Kind::Client, 1, 0)),
        (400, span("cart", Kind::Server, 2, 1)),
        (5_400, span("cart", Kind::Client, 3, 2)),
        (12_400, span("stock", Kind::Server, 4, 3)),
        (40_400, span("stock", Kind::Internal, 5, 4)),
    ] {
        shard.take(batch(at * 1_000_000, vec![received(1, half)]));
        skews.extend(shard.report().skews);
    }
    shard.advance(60 * SECOND);
    skews.extend(shard.report().skews);
    let named: Vec<_> = skews
        .iter()
        .map(|(operation, nanos)| (operation.service.unwrap().id.to_string(), nanos / 1_000_000))
        .collect();
    let expected = [("cart", 5_400 - 400), ("cart", 7_000), ("stock", 28_000)];
    assert_eq!(
        named,
        expected.map(|(service, millis)| (service.to_owned(), millis))
    );
}

#[test]
fn pauses_are_within_the_budget_and_given_back_with_their_traces() {
    let mut shard = Shard::new(0, 1, TableSettings::default());
    shard.take(batch(0, vec![received(1, span("web", Kind::Client, 1, 0))]));
    let before = shard.bytes();
    shard.take(batch(SECOND, vec![received(1, span("cart", Kind::Server, 2, 1))]));
    assert!(
        shard.bytes() > before + size_of::<Span>() + 64,
        "{} bytes",
        shard.bytes()
    );
    shard.advance(100 * SECOND);
    assert!(shard.is_empty() && shard.bytes() == 0, "{} bytes", shard.bytes());
}

#[test]
fn traces_that_there_was_no_room_for_are_counted() {
    let settings = TableSettings {
        max_bytes: 10_000,
        ..TableSettings::default()
    };
    let mut shard = Shard::new(0, 1, settings);
    let one = |trace| vec![received(trace, span("a", Kind::Server, 1, 0))];
    (1..=5).for_each(|trace| shard.take(batch(0, one(trace))));
    shard.advance(3 * SECOND);
    assert_eq!(shard.report().cut_short, CutShort::default());
    (6..=60).for_each(|trace| shard.take(batch(3 * SECOND, one(trace))));
    let cut_short = shard.report().cut_short;
    let (open, kept) = shard.len();
    assert_eq!(cut_short.closed, 55 - open as u64);
    assert_eq!(cut_short.forgotten, 60 - (open + kept) as u64);
    assert!(cut_short.closed > 0 && cut_short.forgotten > 5);
}
