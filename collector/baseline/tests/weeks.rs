//! Weeks of a service's life: its rhythm, a shift, a new version.
//!
//! In: requests from a seed. Out: when it counts as degraded. Left out on purpose: real traces, which the backtest has.

mod support;

use baseline::{Entity, Measure, Operation, Settings, Source, Version};
use support::{ADD, CART, DAY, HOUR, MINUTE, START, Shop, V1, V2, daily};

fn flat(_: u64) -> f64 {
    0.1
}

#[test]
fn a_daily_rhythm_does_not_page_with_hour_slots_and_would_without() {
    let with = |hours| {
        let mut shop = Shop::new(Settings {
            hours,
            ..Settings::default()
        });
        shop.run(START + 7 * DAY, daily);
        shop.run(START + 14 * DAY, daily)
    };
    assert_eq!(with(true), 0);
    assert!(with(false) > 60, "{} minutes", with(false));
}

#[test]
fn an_hour_is_judged_by_its_own_past_so_that_a_slow_night_shows() {
    let mut shop = Shop::new(Settings::default());
    shop.run(START + 9 * DAY, daily);
    let learned = shop.baselines.learned(CART).unwrap();
    assert_eq!(learned.source, Source::HourOfWeek);
    assert!(learned.own > 0.11 && learned.own < 0.16, "{learned:?}");
    let slow_night = shop.run(START + 9 * DAY + HOUR, |_| 0.2);
    assert!(
        slow_night > 55,
        "{slow_night} minutes, although the day is always so slow"
    );
}

#[test]
fn a_shift_raises_a_ticket_after_six_hours_is_learned_after_twelve_and_then_healthy() {
    let mut shop = Shop::new(Settings::default());
    let step = START + 8 * DAY + 2 * HOUR + 17 * MINUTE;
    assert_eq!(shop.run(step, flat), 0);
    let slower = |_| 0.13;
    let degraded = shop.run(step + 6 * HOUR - 10 * MINUTE, slower);
    assert!(degraded >= 5 * 60 + 45, "{degraded} minutes of 350");
    assert_eq!(shop.baselines.tickets().count(), 0);
    shop.run(step + 6 * HOUR + 10 * MINUTE, slower);
    let ticket = shop.baselines.tickets().next().unwrap();
    assert_eq!(
        (ticket.entity, ticket.operation, ticket.measure),
        (CART, ADD, Measure::Own)
    );
    assert!(ticket.since.abs_diff(step) <= 5 * MINUTE, "{ticket:?}");
    assert!(
        ticket.new / ticket.old > 1.2 && ticket.new / ticket.old < 1.4,
        "{ticket:?}"
    );
    assert!(!ticket.pinned && shop.is_degraded());
    shop.run(step + 12 * HOUR + 30 * MINUTE, slower);
    assert_eq!(shop.baselines.tickets().count(), 0);
    assert_eq!(
        shop.run(step + 10 * DAY, slower),
        0,
        "it is the normal of all hours now"
    );
}

#[test]
fn a_pinned_baseline_stays_as_it_is_and_its_shift_stays_degraded() {
    let mut shop = Shop::new(Settings::default());
    shop.run(START + 8 * DAY, flat);
    shop.baselines.pin(CART, true);
    let before = shop.baselines.learned(CART).unwrap();
    shop.run(START + 10 * DAY, |_| 0.13);
    assert!(shop.is_degraded());
    let tickets: Vec<_> = shop.baselines.tickets().collect();
    assert!(tickets.iter().all(|ticket| ticket.pinned) && !tickets.is_empty());
    let after = shop.baselines.learned(CART).unwrap();
    assert!(
        (after.own / before.own - 1.0).abs() < 0.05,
        "{before:?} {after:?}"
    );
    shop.baselines.pin(CART, false);
    shop.run(START + 11 * DAY, |_| 0.13);
    assert!(!shop.is_degraded(), "let go, it is learned");
}

#[test]
fn a_pinned_baseline_does_not_follow_a_service_that_became_faster() {
    let mut shop = Shop::new(Settings {
        hours: false,
        ..Settings::default()
    });
    shop.run(START + DAY, flat);
    shop.baselines.pin(CART, true);
    shop.run(START + DAY + 2 * HOUR, flat);
    let before = shop.baselines.learned(CART);
    shop.run(START + 4 * DAY, |_| 0.05);
    assert_eq!(shop.baselines.learned(CART), before);
}

#[test]
fn a_baseline_that_is_reset_is_learned_anew_and_a_pin_outlives_it() {
    let mut shop = Shop::new(Settings::default());
    shop.run(START + 8 * DAY, flat);
    shop.run(START + 8 * DAY + HOUR, |_| 0.13);
    assert!(shop.is_degraded());
    let full = shop.baselines.stats();
    shop.baselines.pin(CART, true);
    shop.baselines.reset(CART);
    assert!(!shop.is_degraded() && shop.baselines.is_pinned(CART));
    let none = shop.baselines.normals(CART).count();
    assert!(none == 0 && shop.baselines.learned(CART).is_none());
    let empty = shop.baselines.stats();
    assert!(empty.bytes < full.bytes / 2 && empty.hour_bytes == 0, "{empty:?}");

    shop.run(START + 8 * DAY + 2 * HOUR, |_| 0.13);
    assert!(!shop.is_degraded(), "what it was reset to is normal");
    let normal = shop.baselines.normals(CART).next().unwrap();
    assert!(normal.judged && normal.own.slow_above > 0.13, "{normal:?}");
    assert!(
        normal
            .own
            .median
            .is_some_and(|median| (median / 0.13 - 1.0).abs() < 0.1)
    );
    shop.run(START + 10 * DAY, |_| 0.26);
    assert!(shop.is_degraded(), "and held from then on");
}

#[test]
fn a_slow_operation_of_a_healthy_entity_is_not_learned_either() {
    let mut shop = Shop::new(Settings::default());
    let mut slow = 0;
    for request in 0..60_000u64 {
        let (rare, late) = (request % 20 == 0, request > 55_000);
        let operation = if rare { Operation(1) } else { ADD };
        let seconds = if rare && late { 0.3 } else { 0.1 } * shop.random.noise();
        shop.now += 2 * support::SECOND;
        let verdict =
            shop.baselines
                .judge(CART, operation, V1, &support::lasting(seconds, seconds), shop.now);
        slow += u32::from(late && verdict.is_some_and(|verdict| verdict.own_slow));
        assert!(
            !shop.is_degraded(),
            "one request in twenty is too few for the entity"
        );
    }
    assert!(slow >= 245, "{slow} of 250 slow requests stayed slow");
}

#[test]
fn a_shift_that_ends_within_six_hours_raises_nothing_and_is_not_learned() {
    let mut shop = Shop::new(Settings::default());
    shop.run(START + 8 * DAY, flat);
    let before = shop.baselines.learned(CART).unwrap().own;
    shop.run(START + 8 * DAY + 5 * HOUR, |_| 0.3);
    assert!(shop.is_degraded());
    shop.run(START + 8 * DAY + 5 * HOUR + 20 * MINUTE, flat);
    assert_eq!(shop.baselines.tickets().count(), 0);
    assert!(!shop.is_degraded());
    let after = shop.baselines.learned(CART).unwrap().own;
    assert!((after / before - 1.0).abs() < 0.05, "{before} {after}");
}

#[test]
fn a_rare_operation_stays_unjudged() {
    let mut shop = Shop::new(Settings::default());
    shop.every = HOUR;
    for _ in 0..199 {
        assert_eq!(shop.ask(0.1), None);
    }
    assert_eq!((shop.baselines.learned(CART), shop.is_degraded()), (None, false));
    assert_eq!(shop.ask(0.1), None, "the two hundredth is still learned from");
    assert!(shop.ask(0.1).is_some());
}

#[test]
fn a_request_is_slow_beyond_the_margin_and_the_expected_share_is_never_zero() {
    let mut shop = Shop::new(Settings::default());
    shop.run(START + HOUR, |_| 0.02);
    let normal = shop.ask(0.02).unwrap();
    assert!(!normal.own_slow && normal.own_expected > 0.0, "{normal:?}");
    let slow = shop.ask(0.03).unwrap();
    assert!(slow.own_slow && slow.total_slow, "{slow:?}");
    // Against the usual time and not against the edge, which is a margin above it.
    assert!((0.007..0.014).contains(&slow.own_excess), "{slow:?}");
    assert!(normal.own_excess.abs() < f64::EPSILON, "{normal:?}");
}

#[test]
fn a_new_version_is_judged_by_the_one_before_until_it_has_its_own() {
    let mut shop = Shop::new(Settings::default());
    shop.run(START + 8 * DAY, flat);
    shop.version = V2;
    assert!(shop.ask(0.1).is_some(), "judged from its first request on");
    let source = |shop: &Shop| shop.baselines.learned(CART).unwrap().source;
    assert_eq!(source(&shop), Source::PreviousVersion);
    shop.run(START + 8 * DAY + HOUR, flat);
    assert_ne!(source(&shop), Source::PreviousVersion);
}

#[test]
fn a_slower_new_version_is_degraded_and_does_not_teach_itself_to_be_normal() {
    let mut shop = Shop::new(Settings::default());
    shop.run(START + 8 * DAY, flat);
    shop.version = V2;
    shop.run(START + 8 * DAY + 5 * HOUR, |_| 0.2);
    assert!(shop.is_degraded());
    assert_eq!(
        shop.baselines.learned(CART).unwrap().source,
        Source::PreviousVersion
    );
}

#[test]
fn a_faster_new_version_is_held_to_its_own_speed() {
    let mut shop = Shop::new(Settings::default());
    shop.run(START + 8 * DAY, flat);
    shop.version = V2;
    shop.run(START + 8 * DAY + 2 * HOUR, |_| 0.05);
    shop.run(START + 8 * DAY + 3 * HOUR, |_| 0.1);
    assert!(shop.is_degraded(), "as slow as the old version was");
}

#[test]
fn two_versions_side_by_side_do_not_restart_learning() {
    let mut shop = Shop::new(Settings::default());
    shop.run(START + DAY, flat);
    for turn in 0..50_000u32 {
        shop.version = if turn % 2 == 0 { V1 } else { V2 };
        shop.ask(0.1);
    }
    assert!(!shop.is_degraded());
    assert_ne!(
        shop.baselines.learned(CART).unwrap().source,
        Source::PreviousVersion
    );
}

#[test]
fn operations_beyond_the_limit_share_one_baseline_and_are_counted() {
    let mut shop = Shop::new(Settings {
        max_operations: 3,
        ..Settings::default()
    });
    for request in 0..5000u32 {
        shop.now += MINUTE / 60;
        let operation = Operation(request % 10);
        shop.baselines.judge(
            CART,
            operation,
            Version::UNKNOWN,
            &support::lasting(0.1, 0.1),
            shop.now,
        );
    }
    let stats = shop.baselines.stats();
    assert_eq!((stats.operations, stats.folded_requests), (4, 3500));
    let shared = shop.baselines.judge(
        CART,
        Operation(77),
        Version::UNKNOWN,
        &support::lasting(0.5, 0.5),
        shop.now,
    );
    assert!(shared.unwrap().own_slow, "an operation seen for the first time");
}

#[test]
fn what_nobody_asks_for_is_forgotten_with_its_bytes() {
    let mut shop = Shop::new(Settings::default());
    shop.baselines.pin(CART, false);
    let empty = shop.baselines.stats().bytes;
    shop.run(START + 3 * DAY, daily);
    shop.baselines
        .judge(CART, Operation(9), V1, &support::lasting(0.1, 0.1), shop.now);
    assert_eq!(
        shop.baselines.sweep(shop.now + 2 * DAY),
        1,
        "the one that was asked for once"
    );
    assert_eq!(shop.baselines.sweep(shop.now + 9 * DAY), 1);
    shop.baselines.forget(CART);
    shop.baselines.forget(Entity(99));
    let stats = shop.baselines.stats();
    assert_eq!((stats.operations, stats.bytes, stats.hour_bytes), (0, empty, 0));
}
