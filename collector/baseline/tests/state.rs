//! What is saved, and what everything may occupy.
//!
//! In: requests from a seed. Out: the same verdicts after a restart, and bytes within the bound.
//! Left out on purpose: the allocator's overhead.

mod support;

use baseline::{Baselines, Entity, Measure, Operation, SavedBaselines, Settings, Version};
use support::{CART, DAY, HOUR, MINUTE, Numbers, SECOND, START, Seeded, Shop, V2, daily};

fn restored(shop: &Shop) -> Shop {
    let text = serde_json::to_string(&shop.baselines.save(&Numbers::up_to(20))).unwrap();
    let saved: SavedBaselines = serde_json::from_str(&text).unwrap();
    Shop {
        baselines: Baselines::restore(Settings::default(), saved, &mut Numbers::default()),
        random: Seeded(shop.random.0),
        ..*shop
    }
}

#[test]
fn a_restart_in_the_middle_of_anything_changes_no_verdict() {
    let mut shop = Shop::new(Settings::default());
    let slow_from = START + 8 * DAY;
    let latency = |now| daily(now) * if now > slow_from { 1.4 } else { 1.0 };
    // Mid-interval, in the first learning, in a shift, with an open ticket, and with a new version on its way.
    let moments = [
        MINUTE * 3,
        3 * DAY + 7 * MINUTE,
        8 * DAY + 3 * HOUR,
        8 * DAY + 7 * HOUR,
        8 * DAY + 8 * HOUR,
    ];
    for (i, moment) in moments.into_iter().enumerate() {
        shop.run(START + moment, latency);
        if i == 4 {
            shop.version = V2;
            shop.ask(0.1);
        }
        let mut other = restored(&shop);
        assert_eq!(
            other.baselines.save(&Numbers::up_to(20)),
            shop.baselines.save(&Numbers::up_to(20))
        );
        assert_eq!(
            other.baselines.stats().bytes,
            shop.baselines.stats().bytes,
            "at {moment}"
        );
        assert_eq!(
            other.baselines.stats().hour_bytes,
            shop.baselines.stats().hour_bytes
        );
        assert!(other.baselines.tickets().eq(shop.baselines.tickets()));
        let end = shop.now + DAY;
        let mut twin = restored(&shop);
        while twin.now < end {
            let seconds = latency(twin.now);
            assert_eq!(twin.ask(seconds), other.ask(seconds));
        }
        let mut kept = restored(&shop);
        for _ in 0..5000 {
            let seconds = latency(kept.now);
            assert_eq!(shop.ask(seconds), kept.ask(seconds), "at {moment}");
        }
        assert!(kept.baselines.tickets().eq(shop.baselines.tickets()));
    }
}

#[test]
fn a_damaged_file_is_no_panic_and_no_baseline() {
    let mut shop = Shop::new(Settings::default());
    shop.run(START + 2 * DAY, daily);
    let good = serde_json::to_value(shop.baselines.save(&Numbers::up_to(20))).unwrap();
    let mut bad = 0;
    for (path, value) in [
        ("/entities/0/operations/0/learned/own/chunk/first", 65_000.into()),
        (
            "/entities/0/operations/0/learned/own/past/all/unit",
            (-1.0).into(),
        ),
        (
            "/entities/0/operations/0/learned/own/past/slots/slots/0/hour",
            200.into(),
        ),
        (
            "/entities/0/operations/0/learned/own/past/slots/slots/0/first",
            60_000.into(),
        ),
        (
            "/entities/0/operations/0/learned/total/past",
            serde_json::Value::Null,
        ),
        ("/entities/0/windows/rings/1/steps", serde_json::json!([])),
        ("/entities/0/name", "who".into()),
        ("/entities/0/windows/step", u64::MAX.into()),
        ("/entities/0/windows/counts/own_slow", u32::MAX.into()),
        ("/entities/0/operations/0/learned/count", u32::MAX.into()),
    ] {
        let mut damaged = good.clone();
        *damaged.pointer_mut(path).expect(path) = value;
        let saved: SavedBaselines = serde_json::from_value(damaged).expect(path);
        let mut baselines = Baselines::restore(Settings::default(), saved, &mut Numbers::default());
        bad += usize::from(baselines.learned(CART).is_none());
        for second in 0..2000 {
            let now = START + 2 * DAY + second * SECOND;
            baselines.judge(CART, support::ADD, support::V1, &support::lasting(0.1, 0.1), now);
        }
        baselines.degraded(CART, Measure::Own, START + 3 * DAY);
        assert!(baselines.learned(CART).is_some(), "it learns anew: {path}");
    }
    assert_eq!(bad, 6, "all whose baseline was damaged");
}

#[test]
fn ten_thousand_entities_of_fifty_operations_stay_within_the_bound() {
    let settings = Settings {
        max_bytes: 48 << 20,
        min_requests: 3,
        learn: std::time::Duration::from_secs(1),
        ..Settings::default()
    };
    let mut baselines = Baselines::new(settings.clone());
    let mut random = Seeded(3);
    let mut now = START;
    for round in 0..6u64 {
        for entity in 0..10_000 {
            for operation in 0..50 {
                let outlier = if random.next().is_multiple_of(50) {
                    1000.0
                } else {
                    1.0
                };
                let seconds = 0.001 * 2f64.powi((random.next() % 4) as i32) * random.noise() * outlier;
                let (entity, operation) = (Entity(entity), Operation(operation));
                baselines.judge(
                    entity,
                    operation,
                    Version::UNKNOWN,
                    &support::lasting(seconds, seconds * 2.0),
                    now,
                );
            }
            now += 30 * SECOND / 100;
        }
        let stats = baselines.stats();
        assert!(stats.bytes <= settings.max_bytes, "{stats:?} in round {round}");
        assert!(stats.hour_bytes <= settings.max_bytes / 2, "{stats:?}");
    }
    let stats = baselines.stats();
    assert!(
        stats.operations > 32_000 && stats.folded_requests > 0,
        "{stats:?}"
    );
    assert!(
        stats.judged > stats.operations / 4,
        "the bound leaves room to learn: {stats:?}"
    );
}
