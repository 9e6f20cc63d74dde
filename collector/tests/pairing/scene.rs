//! A collector without its rim, driven by hand.
//!
//! In: spans as text, and time. Out: the map and the counters as text.
//! Left out on purpose: baselines; they have their own tests.

use std::fmt::Write as _;
use std::time::Duration;

use collector::engine::{Engine, EngineSettings};
use collector::ledger::{LedgerSettings, MapBudget};
use collector::table::TableSettings;
use expect_test::Expect;

use crate::dsl::request;

/// One second of the engine's clock.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// What the tests run with unless they say otherwise.
pub(crate) fn settings() -> EngineSettings {
    let baseline = baseline::Settings {
        learn: Duration::from_mins(10),
        ..baseline::Settings::default()
    };
    EngineSettings {
        table: TableSettings::default(),
        ledger: LedgerSettings::new(baseline, MapBudget::default(), map::Services::new()),
        shards: 1,
    }
}

/// An engine and its clock.
pub(crate) struct Scene {
    pub(crate) engine: Engine,
    pub(crate) now: u64,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::with(settings())
    }

    pub(crate) fn with(settings: EngineSettings) -> Self {
        Self {
            engine: Engine::new(settings),
            now: 0,
        }
    }

    /// Takes spans.
    pub(crate) fn take(mut self, text: &str) -> Self {
        self.engine
            .take(request(text), self.now)
            .expect("the table has room");
        self
    }

    /// Lets seconds pass, and closes what is due after each of them.
    pub(crate) fn pass(mut self, seconds: u64) -> Self {
        for _ in 0..seconds {
            self.now += SECOND;
            self.engine.tick(self.now);
        }
        self
    }

    /// Takes spans and lets their traces close.
    pub(crate) fn settle(self, text: &str) -> Self {
        self.take(text).pass(3)
    }

    /// The map's edges, flows and nodes.
    pub(crate) fn map(&self) -> String {
        let (map, mut text) = (self.engine.map(), String::new());
        for (key, edge) in &map.edges {
            let kind = key.connection_type.as_str();
            let _ = writeln!(
                text,
                "{} -> {} [{kind}] {}",
                key.client, key.server, edge.stats.requests
            );
        }
        for (key, flow) in &map.flows {
            let by = key.destination.as_ref().map_or("?", |d| d.as_str());
            let _ = writeln!(
                text,
                "flow {} -> {by} -> {} {}",
                key.producer, key.consumer, flow.requests
            );
        }
        for (id, node) in &map.nodes {
            let _ = writeln!(text, "{} {id} visits {}", node.kind, node.stats.requests);
        }
        text
    }

    /// Checks the map.
    pub(crate) fn has_map(self, expected: &Expect) -> Self {
        expected.assert_eq(&self.map());
        self
    }

    /// Checks the counters whose lines begin like one of `names`.
    pub(crate) fn has_series(self, names: &[&str], expected: &Expect) -> Self {
        let lines = self
            .series()
            .into_iter()
            .filter(|line| names.iter().any(|name| line.starts_with(name)));
        expected.assert_eq(&lines.fold(String::new(), |text, line| text + &line + "\n"));
        self
    }

    /// All samples of `/metrics`.
    pub(crate) fn series(&self) -> Vec<String> {
        self.engine
            .metrics()
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    }
}
