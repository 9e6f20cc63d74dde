//! A service under load, request by request, from a seed.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use baseline::{Baselines, Entity, Lookup, Names, Observation, Operation, Settings, Verdict, Version};

pub const SECOND: u64 = 1_000_000_000;
pub const MINUTE: u64 = 60 * SECOND;
pub const HOUR: u64 = 60 * MINUTE;
pub const DAY: u64 = 24 * HOUR;
/// A Monday, 00:00 UTC.
pub const START: u64 = 1_800_230_400 * SECOND;

pub const CART: Entity = Entity(0);
pub const ADD: Operation = Operation(0);
pub const V1: Version = Version(1);
pub const V2: Version = Version(2);

/// Numbers that look random and are the same each time (Vigna's splitmix64).
pub struct Seeded(pub u64);

impl Seeded {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// About 1, with a standard deviation of 0.05, as sums of twelve uniform numbers are.
    pub fn noise(&mut self) -> f64 {
        let uniform = |bits: u64| (bits >> 11) as f64 / (1u64 << 53) as f64;
        let sum: f64 = (0..12).map(|_| uniform(self.next())).sum();
        1.0 + (sum - 6.0) * 0.05
    }
}

/// One operation, asked at a fixed rate.
pub struct Shop {
    pub baselines: Baselines,
    pub random: Seeded,
    pub now: u64,
    pub every: u64,
    pub version: Version,
}

impl Shop {
    pub fn new(settings: Settings) -> Self {
        Self {
            baselines: Baselines::new(settings),
            random: Seeded(7),
            now: START,
            every: 5 * SECOND,
            version: V1,
        }
    }

    pub fn ask(&mut self, seconds: f64) -> Option<Verdict> {
        self.now += self.every;
        let took = seconds * self.random.noise();
        self.baselines
            .judge(CART, ADD, self.version, &lasting(took, took), self.now)
    }

    /// Asks until `end`, `seconds` being the latency at a time; returns the minutes that were degraded.
    pub fn run(&mut self, end: u64, seconds: impl Fn(u64) -> f64) -> u64 {
        let (mut degraded, mut minute) = (0, self.now / MINUTE);
        while self.now < end {
            self.ask(seconds(self.now));
            if self.now / MINUTE > minute {
                minute = self.now / MINUTE;
                degraded += u64::from(self.is_degraded());
            }
        }
        degraded
    }

    pub fn is_degraded(&self) -> bool {
        let evidence = self.baselines.degraded(CART, baseline::Measure::Own, self.now);
        evidence.is_some()
    }
}

/// Twice as slow from 9 to 17 o'clock.
pub fn daily(now: u64) -> f64 {
    let hour = now / HOUR % 24;
    if (9..17).contains(&hour) { 0.2 } else { 0.1 }
}

/// Names that say their number.
#[derive(Default)]
pub struct Numbers(Vec<String>);

impl Numbers {
    pub fn up_to(many: usize) -> Self {
        Self((0..many).map(|number| format!("n{number}")).collect())
    }

    fn of(name: &str) -> Option<u32> {
        name.strip_prefix('n')?.parse().ok()
    }
}

impl Names for Numbers {
    fn entity(&self, entity: Entity) -> Option<&str> {
        self.0.get(entity.0 as usize).map(String::as_str)
    }
    fn operation(&self, operation: Operation) -> Option<&str> {
        self.0.get(operation.0 as usize).map(String::as_str)
    }
    fn version(&self, version: Version) -> Option<&str> {
        self.0.get(usize::from(version.0)).map(String::as_str)
    }
}

impl Lookup for Numbers {
    fn entity(&mut self, name: &str) -> Option<Entity> {
        Self::of(name).map(Entity)
    }
    fn operation(&mut self, name: &str) -> Option<Operation> {
        Self::of(name).map(Operation)
    }
    fn version(&mut self, name: &str) -> Option<Version> {
        Self::of(name).map(|number| Version(number as u16))
    }
}

/// A request without a failure.
pub fn lasting(own: f64, total: f64) -> Observation {
    Observation {
        own,
        total,
        ..Observation::default()
    }
}
